//! A pool's figures for Prometheus, over the standard library alone:
//!
//! ```sh
//! cargo run -p genpool-observe --example prometheus               # prints them
//! cargo run -p genpool-observe --example prometheus -- --serve    # serves http://127.0.0.1:9184/metrics
//! ```
//!
//! A service that has the crate `metrics` and an exporter already calls `genpool_observe::report` instead.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use genpool_core::Pool;

const ADDRESS: &str = "127.0.0.1:9184";

/// The text format that Prometheus reads, version 0.0.4.
fn figures(pool: &Pool) -> String {
    let (stats, fragmentation) = (pool.stats(), pool.fragmentation());
    let figures = [
        ("genpool_size_bytes", "gauge", stats.size),
        ("genpool_used_bytes", "gauge", stats.used),
        ("genpool_free_bytes", "gauge", stats.free),
        ("genpool_cached_bytes", "gauge", stats.cached),
        ("genpool_chunks", "gauge", stats.chunks),
        ("genpool_draining_chunks", "gauge", stats.draining),
        ("genpool_free_runs", "gauge", fragmentation.free_runs),
        (
            "genpool_largest_free_run_bytes",
            "gauge",
            fragmentation.largest_run,
        ),
        ("genpool_bookkeeping_bytes", "gauge", stats.bookkeeping),
        ("genpool_exhausted_total", "counter", stats.exhausted),
        ("genpool_contended_total", "counter", stats.contended),
        ("genpool_lost_claims_total", "counter", stats.lost_claims),
        (
            "genpool_refused_frees_total",
            "counter",
            stats.refused_frees,
        ),
    ];
    let label = escaped(pool.name().unwrap_or("unnamed"));
    let mut text = String::new();
    for (name, kind, value) in figures {
        let _ = writeln!(
            text,
            "# TYPE {name} {kind}\n{name}{{pool=\"{label}\"}} {value}"
        );
    }
    text
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn answer(mut stream: TcpStream, pool: &Pool) -> std::io::Result<()> {
    // A client that says nothing, or has no end, holds up the next one no longer than this.
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut request = String::new();
    BufReader::new(std::io::Read::take(&stream, 8192)).read_line(&mut request)?;
    let (status, body) = if request.starts_with("GET /metrics") {
        ("200 OK", figures(pool))
    } else {
        ("404 Not Found", "see /metrics\n".to_owned())
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Arc::new(Pool::builder().order(12).name("buffers").build()?);
    pool.add(0x1000_0000, 1 << 20)?;
    let kept = pool.alloc(100_000)?;
    if std::env::args().all(|argument| argument != "--serve") {
        print!("{}", figures(&pool));
        return Ok(());
    }

    // The service itself.
    let worker = Arc::clone(&pool);
    thread::spawn(move || {
        for size in (1..60_000).step_by(977).cycle() {
            let buffer = worker.alloc(size);
            thread::sleep(Duration::from_millis(1));
            drop(buffer);
        }
    });
    let listener = TcpListener::bind(ADDRESS)?;
    println!("http://{ADDRESS}/metrics");
    for stream in listener.incoming() {
        if let Err(error) = stream.and_then(|stream| answer(stream, &pool)) {
            eprintln!("{error}");
        }
    }
    drop(kept);
    Ok(())
}
