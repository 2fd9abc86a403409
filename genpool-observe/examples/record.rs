//! A service that records its load while it runs: `cargo run -p genpool-observe --example record -- FILE`. The default
//! file is `requests.trace` in the folder for temporary files.
//!
//! Three threads serve requests. One thread writes what was recorded to the file every few milliseconds, so the
//! recorder stays small. `genpool replay FILE` then times the same load with any algorithm. If a single thread uses a
//! pool, without a cache, `genpool verify FILE` accepts the trace address by address.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use genpool_core::Pool;
use genpool_observe::Recorder;

/// Serves requests. Each needs a header and a body of some length until it is answered.
fn serve(pool: &Pool, requests: usize, seed: usize) {
    let mut open = Vec::new();
    let mut length = seed;
    for _ in 0..requests {
        length = length.wrapping_mul(0x9e37).wrapping_add(0x79b9) % 60_000;
        if let Ok(request) = pool.alloc_many(&[128, length + 1]) {
            open.push(request);
        }
        if open.len() > 20 {
            // Some requests are answered before older ones.
            drop(open.swap_remove(length % open.len()));
        }
        if length.is_multiple_of(16) {
            thread::sleep(Duration::from_micros(100));
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => std::env::temp_dir().join("requests.trace"),
    };
    let mut file = BufWriter::new(File::create(&path)?);
    let (recorder, tap) = Recorder::new(1 << 14)?;
    let builder = Pool::builder().order(7).name("requests").observer(tap);
    let pool = builder.build()?;
    pool.add(0x1000_0000, 4 << 20)?;

    // Nothing is sent. The channel closes when the last serving thread ends, by a panic too.
    let (serving, done) = mpsc::channel::<()>();
    let written = thread::scope(|scope| {
        let (recorder, file) = (&recorder, &mut file);
        let writer = scope.spawn(move || {
            let mut written = 0;
            while done.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
                written += recorder.write_to(&mut *file)?;
            }
            Ok::<_, std::io::Error>(written)
        });
        for seed in 0..3 {
            let (pool, serving) = (&pool, serving.clone());
            scope.spawn(move || {
                serve(pool, 2000, seed);
                drop(serving);
            });
        }
        drop(serving);
        writer.join().map_err(|_| "the writer panicked")
    })??;
    let written = written + recorder.write_to(&mut file)?;
    println!(
        "{written} operations in {}, {} lost",
        path.display(),
        recorder.lost()
    );
    Ok(())
}
