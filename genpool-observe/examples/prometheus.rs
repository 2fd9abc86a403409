//! A pool's figures for Prometheus, with only the standard library:
//!
//! ```sh
//! cargo run -p genpool-observe --example prometheus               # prints them
//! cargo run -p genpool-observe --example prometheus -- --serve    # serves http://127.0.0.1:9184/metrics
//! ```
//!
//! A service that already has the crate `metrics` and an exporter calls `genpool_observe::report` instead.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use genpool_core::Pool;

const ADDRESS: &str = "127.0.0.1:9184";
/// How long a client that sends nothing, sends slowly, or does not read the response may delay the next one.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest request, in bytes.
const LONGEST: usize = 8192;

/// Returns the figures in the text format of Prometheus, version 0.0.4.
fn text(pool: &Pool) -> String {
    let label = escaped(pool.name().unwrap_or("unnamed"));
    let mut text = String::new();
    for figure in genpool_observe::figures(pool) {
        let (name, says, kind, value) = (figure.name, figure.says, figure.kind, figure.value);
        let _ = writeln!(
            text,
            "# HELP {name} {says}\n# TYPE {name} {kind}\n{name}{{pool=\"{label}\"}} {value}"
        );
    }
    text
}

/// Escapes a label's value as the format requires.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Reads the head of a request, as far as it arrives in time.
fn head(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let (mut head, mut part) = (Vec::new(), [0; 1024]);
    while head.len() < LONGEST && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => break,
            len => head.extend(&part[..len]),
        }
    }
    Ok(head)
}

/// Returns whether a request asks for the figures.
fn is_ours(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let path = |target: &[u8]| target.split(|&byte| byte == b'?').next() == Some(b"/metrics");
    words.next() == Some(b"GET") && words.next().is_some_and(path)
}

fn answer(mut stream: TcpStream, pool: &Pool) -> io::Result<()> {
    let (status, body) = match is_ours(&head(&stream)?) {
        true => ("200 OK", text(pool)),
        false => ("404 Not Found", "see /metrics\n".to_owned()),
    };
    // The response is smaller than a socket's buffer, so one timeout covers all of it.
    stream.set_write_timeout(Some(PATIENCE))?;
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
        print!("{}", text(&pool));
        assert!(is_ours(b"GET /metrics?name=genpool_chunks HTTP/1.1\r\n"));
        assert!(!is_ours(b"GET /metrics.old HTTP/1.1\r\n") && !is_ours(b""));
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
