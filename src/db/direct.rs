//! A socket on this machine whose answers are waited for in the call that reads them.
//!
//! To sleep in a reactor and be woken takes some microseconds, which are no part of a statement's latency.

use nix::sys::socket::{MsgFlags, recv};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Answers that take longer are waited for in the reactor, so that nothing else on the thread has to wait for them.
const DIRECTLY: Duration = Duration::from_millis(10);
/// How much is read at once.
const CHUNK: usize = 8192;
/// A `ReadyForQuery` message without its last byte, the state of the transaction.
const READY: [u8; 5] = [b'Z', 0, 0, 0, 5];

pub(super) struct Direct {
    /// Blocks, for no longer than [`DIRECTLY`].
    socket: UnixStream,
    /// The same socket as the reactor knows it.
    watched: tokio::net::UnixStream,
    /// Whether the server owes an answer, which is then waited for at once.
    awaiting: Arc<AtomicBool>,
    /// The last bytes that were read.
    tail: [u8; READY.len() + 1],
}

impl Direct {
    /// In a runtime. What comes second is true while the next read would wait for the server.
    pub(super) fn connect(path: &Path) -> io::Result<(Self, Arc<AtomicBool>)> {
        let socket = UnixStream::connect(path)?;
        socket.set_nonblocking(true)?;
        let watched = tokio::net::UnixStream::from_std(socket.try_clone()?)?;
        // Both are one: from now on the reactor's is never read through itself.
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(DIRECTLY))?;
        let awaiting = Arc::new(AtomicBool::new(false));
        let direct = Self {
            socket,
            watched,
            awaiting: Arc::clone(&awaiting),
            tail: [0; READY.len() + 1],
        };
        Ok((direct, awaiting))
    }

    /// Notes what was read; the server has answered when it is ready for the next request.
    fn note(&mut self, read: &[u8]) {
        let kept = self.tail.len();
        for byte in read.iter().skip(read.len().saturating_sub(kept)) {
            self.tail.rotate_left(1);
            if let Some(last) = self.tail.last_mut() {
                *last = *byte;
            }
        }
        if read.is_empty() || self.tail.starts_with(&READY) {
            self.awaiting.store(false, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Direct {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let length = out.remaining().min(CHUNK);
        let fd = this.socket.as_raw_fd();
        loop {
            let at_once = this.awaiting.load(Ordering::Relaxed);
            let unfilled = out.initialize_unfilled_to(length);
            let read = if at_once {
                recv(fd, unfilled, MsgFlags::empty()).map_err(io::Error::from)
            } else {
                ready!(this.watched.poll_read_ready(cx))?;
                this.watched.try_io(Interest::READABLE, || {
                    Ok(recv(fd, unfilled, MsgFlags::MSG_DONTWAIT)?)
                })
            };
            match read {
                Ok(count) => {
                    this.note(unfilled.get(..count).unwrap_or_default());
                    out.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    this.awaiting.store(false, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Requests are small: a write does not wait.
impl AsyncWrite for Direct {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut socket = &this.socket;
        this.tail = [0; READY.len() + 1];
        this.awaiting.store(true, Ordering::Relaxed);
        Poll::Ready(socket.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.shutdown(std::net::Shutdown::Write))
    }
}
