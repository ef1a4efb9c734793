//! Cuts a peer that takes nothing: one that stays connected and reads no byte would hold its buffers for ever.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::line::Stalled;

/// A connection with a clock for a peer that takes nothing.
pub(super) struct Stall<I> {
    io: I,
    stall_max: Duration,
    /// Made once, reset often.
    clock: Pin<Box<Sleep>>,
    running: bool,
    stalled: Stalled,
}

impl<I> Stall<I> {
    /// `stall_max`: how long the peer may take no byte while there are some for it.
    pub(super) fn new(io: I, stall_max: Duration) -> Self {
        let clock = Box::pin(sleep_until(Instant::now() + stall_max));
        Stall { io, stall_max, clock, running: false, stalled: Stalled::default() }
    }

    /// Set when the peer is cut because it takes nothing.
    pub(super) fn told(&self) -> Stalled {
        self.stalled.clone()
    }

    /// The peer takes nothing now: an error once that has lasted too long.
    fn stalled<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if !self.running {
            self.running = true;
            self.clock.as_mut().reset(Instant::now() + self.stall_max);
        }
        ready!(self.clock.as_mut().poll(context));
        self.stalled.set();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes")))
    }

    fn settle<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => self.stalled(context),
            // It took something, or is gone.
            done => {
                self.running = false;
                done
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Stall<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Stall<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(context, bytes);
        self.settle(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.settle(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_cut() {
        let (ours, _theirs) = duplex(4);
        let mut stall = Stall::new(ours, SHORT);
        let error = stall.write_all(b"more than four bytes").await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_takes_little_by_little_is_not_cut() {
        let (ours, mut theirs) = duplex(4);
        let mut stall = Stall::new(ours, 4 * SHORT);
        let reader = async {
            let mut taken = [0; 4];
            for _ in 0..8 {
                tokio::time::sleep(SHORT).await;
                theirs.read_exact(&mut taken).await.expect("four bytes at a time");
            }
        };
        let (written, ()) = tokio::join!(stall.write_all(&[0; 32]), reader);
        written.expect("each piece came in time");
    }

    #[tokio::test]
    async fn after_a_stall_that_ended_the_clock_starts_anew() {
        let (ours, mut theirs) = duplex(4);
        let mut stall = Stall::new(ours, SHORT);
        stall.write_all(b"four").await.expect("there is room");
        tokio::time::sleep(3 * SHORT).await;
        let mut taken = [0; 8];
        let (written, read) = tokio::join!(stall.write_all(b"more"), theirs.read_exact(&mut taken));
        written.expect("there was nothing to take before");
        read.expect("all of it");
    }
}
