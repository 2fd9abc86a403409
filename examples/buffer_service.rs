//! A TCP service whose threads share one pool of buffers. Each thread has its own cache, so that taking a buffer costs
//! a request only a few instructions. A buffer that is handed to another thread returns to the pool from there. The
//! clients are built in.
//!
//! The pool hands out offsets in an arena, not addresses, and only [`Buffer`] turns them into memory.
//! `genpool::dma::MemoryPool` does the same for memory that devices see.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use genpool::{AllocError, Allocation, Cache, Pool};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const ORDER: u32 = 10;
const GRANULE: usize = 1 << ORDER;
/// The length of the longest request. A longer one ends the connection.
const LONGEST: usize = 8 * GRANULE;
const CONNECTIONS: usize = 4;
const REQUESTS: usize = 5000;
/// Every `KEPT`-th request is kept for the archive.
const KEPT: usize = 16;
/// How many buffers may wait for the archive.
const QUEUE: usize = 64;
/// The longest wait for a buffer, and for a client that stops in the middle of a request.
const PATIENCE: Duration = Duration::from_secs(2);

/// Room for everything that can be held at a time, so that the pool is never full: what each thread's cache keeps, the
/// buffer that each thread uses, and the buffers of the archive.
const GRANULES: usize =
    CONNECTIONS * (Cache::MOST_GRANULES + LONGEST / GRANULE) + (QUEUE + 1) * (LONGEST / GRANULE);

/// The memory to which the pool's offsets refer. It lives as long as the process.
#[derive(Clone, Copy)]
struct Arena(NonNull<u8>);

// SAFETY: the memory belongs to the process, and `Buffer` controls all access to it.
unsafe impl Send for Arena {}

impl Arena {
    fn new(size: usize) -> Self {
        Self(NonNull::from(vec![0_u8; size].leak()).cast())
    }
}

/// A part of the arena that belongs to its holder alone.
///
/// # Invariants
///
/// The allocation is from a pool whose chunks lie in the arena and whose allocations are all `Buffer`s.
struct Buffer<'p> {
    allocation: Allocation<'p>,
    arena: Arena,
    len: usize,
}

impl Buffer<'_> {
    fn start(&self) -> NonNull<u8> {
        // SAFETY: the allocation lies in the arena.
        unsafe { self.arena.0.add(self.allocation.addr()) }
    }
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the range is in the arena, is initialised, and belongs to one live allocation, which overlaps no
        // other; `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.len) }
    }
}

/// Calls `alloc` until it succeeds, for no longer than `patience`. Not for signal handlers.
pub(crate) fn patiently<T>(
    patience: Duration,
    mut alloc: impl FnMut() -> Result<T, AllocError>,
) -> Result<T, AllocError> {
    let began = Instant::now();
    loop {
        let outcome = alloc();
        let left = patience.saturating_sub(began.elapsed());
        match outcome {
            Err(
                AllocError::Exhausted { .. }
                | AllocError::Taken { .. }
                | AllocError::Contended { .. },
            ) if !left.is_zero() => {
                thread::sleep(left.min(Duration::from_millis(1)));
            }
            outcome => return outcome,
        }
    }
}

/// Returns a buffer of `len` bytes, or an error if none becomes free in time.
fn buffer<'p>(cache: &mut Cache<'p>, arena: Arena, len: usize) -> Result<Buffer<'p>, AllocError> {
    let allocation = patiently(PATIENCE, || cache.alloc(len))?;
    Ok(Buffer {
        allocation,
        arena,
        len,
    })
}

/// Answers the requests of one client. A request is a length and that many bytes, which come back in upper case.
fn serve<'p>(
    mut client: TcpStream,
    pool: &'p Pool,
    arena: Arena,
    archive: &SyncSender<Buffer<'p>>,
) -> Result<usize, Failure> {
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut cache = pool.cache();
    let mut header = [0; 4];
    let mut served = 0;
    loop {
        if client.read_exact(&mut header).is_err() {
            return Ok(served); // the client has gone, or has no more requests
        }
        let len = u32::from_le_bytes(header) as usize;
        if len == 0 || len > LONGEST {
            client.shutdown(Shutdown::Both)?;
            return Ok(served);
        }
        let mut request = buffer(&mut cache, arena, len)?;
        client.read_exact(&mut request)?;
        request.make_ascii_uppercase();
        client.write_all(&request)?;
        if served % KEPT == 0 {
            // The archive drops the request, which returns its buffer to the pool from that thread.
            archive.send(request).map_err(|_| "the archive has gone")?;
        } else {
            cache.free(request.allocation);
        }
        served += 1;
    }
}

/// Sends requests of all lengths and checks the answers.
fn ask(mut service: TcpStream, number: usize) -> Result<usize, Failure> {
    service.set_nodelay(true)?;
    service.set_read_timeout(Some(PATIENCE))?;
    service.set_write_timeout(Some(PATIENCE))?;
    let mut bytes = 0;
    let mut answer = vec![0; LONGEST];
    for round in 0..REQUESTS {
        let len = 1 + (round * 257 + number * 4099) % LONGEST;
        let letter = b'a' + (round % 26) as u8;
        let mut request = u32::try_from(len)?.to_le_bytes().to_vec();
        request.resize(4 + len, letter);
        service.write_all(&request)?;
        service.read_exact(&mut answer[..len])?;
        let expected = letter.to_ascii_uppercase();
        if answer[..len].iter().any(|&byte| byte != expected) {
            return Err(format!("client {number}, request {round}: a wrong answer").into());
        }
        bytes += 2 * len;
    }
    Ok(bytes)
}

/// Keeps the buffers that it receives for a while, like a log that is written in batches.
fn keep(kept: &Receiver<Buffer<'_>>) -> usize {
    let mut bytes = 0;
    for buffer in kept {
        assert!(buffer.iter().all(u8::is_ascii_uppercase));
        bytes += buffer.len();
    }
    bytes
}

fn main() -> Result<(), Failure> {
    let arena = Arena::new(GRANULES * GRANULE);
    let pool = Pool::builder().order(ORDER).name("buffers").build()?;
    pool.add(0, GRANULES * GRANULE)?;

    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let began = Instant::now();
    let (moved, archived) = thread::scope(|threads| -> Result<_, Failure> {
        let (archive, kept) = sync_channel(QUEUE);
        let archivist = threads.spawn(move || keep(&kept));
        let (mut clients, mut servers) = (Vec::new(), Vec::new());
        for number in 0..CONNECTIONS {
            // Connected before the accept, so that `accept` does not wait for a client that failed.
            let service = TcpStream::connect(address)?;
            let (client, _) = listener.accept()?;
            clients.push(threads.spawn(move || ask(service, number)));
            let (archive, pool) = (archive.clone(), &pool);
            servers.push(threads.spawn(move || serve(client, pool, arena, &archive)));
        }
        drop(archive);

        let mut moved = 0;
        for client in clients {
            moved += client.join().map_err(|_| "a client panicked")??;
        }
        let mut served = 0;
        for server in servers {
            served += server.join().map_err(|_| "a server panicked")??;
        }
        assert_eq!(served, CONNECTIONS * REQUESTS);
        Ok((moved, archivist.join().map_err(|_| "the archive panicked")?))
    })?;

    let seconds = began.elapsed().as_secs_f64();
    let requests = (CONNECTIONS * REQUESTS) as f64;
    println!(
        "{CONNECTIONS} connections, {:.0} requests a second, {:.0} MiB a second, {} KiB archived",
        requests / seconds,
        moved as f64 / seconds / f64::from(1 << 20),
        archived >> 10,
    );
    let stats = pool.stats();
    println!("{stats:?}");
    assert_eq!((stats.exhausted, stats.used), (0, 0));
    println!("all {} bytes came back", pool.avail());
    Ok(())
}
