//! Moves bytes from one TCP connection to another inside the kernel, through a pipe.
//!
//! Called by [`super::relay`] once a direction has proved to be a bulk one. A pipe is two descriptors
//! and up to 64 KiB of the kernel's memory, so a direction has one only while it moves bytes; empty
//! ones wait in a pool of the thread.
//!
//! Always holds: a thread has at most [`MAX_PIPES`] pipes, and a pipe that goes back to the pool is
//! empty. `SPLICE_F_MORE` is not used: it would hold back the end of a message.
#![expect(unsafe_code, reason = "neither the standard library nor tokio can splice")]

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use tokio::{io::Interest, net::TcpStream};

/// Most pipes of one thread; a direction that finds none goes on copying.
pub const MAX_PIPES: usize = 256;

/// Most empty pipes that a thread keeps.
const MAX_SPARE: usize = 32;

/// Most bytes of one call: what a pipe holds.
const CHUNK: usize = 64 * 1024;

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

static PIPES: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static EXHAUSTED: AtomicU64 = AtomicU64::new(0);

/// What the threads of this process have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Pipes open now.
    pub pipes: i64,
    /// Bytes moved.
    pub bytes: u64,
    /// Times that there was no pipe to be had.
    pub exhausted: u64,
}

/// The counts so far.
#[must_use]
pub fn counts() -> Counts {
    Counts {
        pipes: PIPES.load(Relaxed),
        bytes: BYTES.load(Relaxed),
        exhausted: EXHAUSTED.load(Relaxed),
    }
}

/// A pipe, with bytes of one direction or empty.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty pipe, if the thread may have one more.
    #[must_use]
    pub fn take() -> Option<Self> {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let pipe = spare.or_else(|| (OPEN.get() < MAX_PIPES).then(Self::open).flatten());
        if pipe.is_none() {
            EXHAUSTED.fetch_add(1, Relaxed);
        }
        pipe
    }

    fn open() -> Option<Self> {
        let mut ends: [RawFd; 2] = [-1; 2];
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: `ends` has room for the two descriptors that the call writes.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), flags) } != 0 {
            return None;
        }
        // SAFETY: the call has just opened this descriptor, and nobody else has it.
        let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
        // SAFETY: as above.
        let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
        OPEN.set(OPEN.get() + 1);
        PIPES.fetch_add(1, Relaxed);
        Some(Self { reader, writer, held: 0 })
    }

    /// Keeps the pipe for the next direction; one that holds bytes is closed.
    pub fn give_back(self) {
        if self.held == 0 {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < MAX_SPARE {
                    spare.push(self);
                }
            });
        }
    }

    /// Bytes in it.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Fills the empty pipe with what `from` has received, which is known to be readable; 0 at the
    /// end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing after all, or what the kernel says.
    pub fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let writer = self.writer.as_raw_fd();
        let count = from.try_io(Interest::READABLE, || splice(from.as_raw_fd(), writer, CHUNK))?;
        self.held = count;
        Ok(count)
    }

    /// Moves what `to` takes of the bytes in the pipe.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(cx))?;
            let (reader, held) = (self.reader.as_raw_fd(), self.held);
            match to.try_io(Interest::WRITABLE, || splice(reader, to.as_raw_fd(), held)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.held -= count.min(held);
                    BYTES.fetch_add(count as u64, Relaxed);
                    return Poll::Ready(Ok(count));
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {},
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // A thread that ends has no cell any more, and needs no count.
        let _ended = OPEN.try_with(|open| open.set(open.get().saturating_sub(1)));
        PIPES.fetch_sub(1, Relaxed);
    }
}

fn splice(from: RawFd, to: RawFd, count: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let none = std::ptr::null_mut;
    // SAFETY: both descriptors are open, as their owners are borrowed by the callers; neither has an
    // offset, so none is written.
    let moved = unsafe { libc::splice(from, none(), to, none(), count, flags) };
    usize::try_from(moved).map_err(|_negative| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_so_many_pipes_and_no_more() {
        let test = || {
            let mut pipes: Vec<_> = std::iter::from_fn(Pipe::take).collect();
            assert_eq!(pipes.len(), MAX_PIPES);
            assert!(Pipe::take().is_none());
            pipes.pop().unwrap().give_back();
            let again = Pipe::take();
            assert!(again.is_some());
            pipes.into_iter().for_each(Pipe::give_back);
            drop(again);
            assert_eq!(OPEN.get(), MAX_SPARE);
            assert!(counts().exhausted >= 2);
        };
        std::thread::spawn(test).join().unwrap();
    }
}
