//! Cuts a peer that begins to ask and does not come to the end, and one that asks nothing any more.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// Whose turn it is on one connection: the peer's, who may ask, or ours.
#[derive(Debug)]
pub(super) struct Turn {
    began: Instant,
    /// Requests whose head came to its end.
    asked: AtomicU64,
    /// Those that are not answered to the end yet.
    open: AtomicUsize,
    /// When the last of them was, in milliseconds after the begin.
    rests_since_ms: AtomicU64,
    /// Where requests and signs of life are mixed, so that bytes alone mean nothing.
    http2: AtomicBool,
}

/// A request that is not answered to the end yet.
#[derive(Debug)]
pub(super) struct Asked(Arc<Turn>);

impl Turn {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Turn {
            began: Instant::now(),
            asked: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            rests_since_ms: AtomicU64::new(0),
            http2: AtomicBool::new(false),
        })
    }

    /// A head has come.
    pub(super) fn ask(self: &Arc<Self>, version: http::Version) -> Asked {
        self.open.fetch_add(1, Ordering::AcqRel);
        self.http2.store(version == http::Version::HTTP_2, Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Relaxed);
        Asked(self.clone())
    }

    /// Resolves when nothing has been asked, or answered, for `rest_max`.
    pub(super) async fn rested(&self, rest_max: Duration) {
        loop {
            let left = match self.open.load(Ordering::Acquire) {
                0 => (self.began + Duration::from_millis(self.rests_since_ms.load(Ordering::Relaxed)) + rest_max)
                    .saturating_duration_since(Instant::now()),
                // When it ends in the meantime, it has not rested for too long when we look again.
                _ => rest_max,
            };
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    fn is_peers(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let ms = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.rests_since_ms.store(ms, Ordering::Relaxed);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection with a clock for the head of a request: from its first byte, or from the begin of the connection.
pub(super) struct Opening<I> {
    io: I,
    turn: Arc<Turn>,
    head_wait: Duration,
    clock: Pin<Box<Sleep>>,
    running: bool,
    /// What the turn counted when last looked at.
    asked: u64,
}

impl<I> Opening<I> {
    /// The clock runs from `began`: a handshake counts.
    pub(super) fn new(io: I, turn: Arc<Turn>, head_wait: Duration) -> Self {
        let clock = Box::pin(sleep_until(turn.began + head_wait));
        Opening { io, turn, head_wait, clock, running: true, asked: 0 }
    }

    /// Starts and stops the clock after a read that brought something or not.
    fn heard(&mut self, something: bool) {
        let asked = self.turn.asked.load(Ordering::Relaxed);
        if asked != self.asked {
            (self.asked, self.running) = (asked, false);
        }
        if something && !self.running && self.turn.is_peers() && !self.turn.http2.load(Ordering::Relaxed) {
            self.running = true;
            self.clock.as_mut().reset(Instant::now() + self.head_wait);
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Opening<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        self.heard(buffer.filled().len() > before);
        if polled.is_pending() && self.running && self.clock.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer sends no whole request")));
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Opening<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
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
    use http::Version;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_head_has_so_long_from_its_first_byte() {
        let (ours, mut theirs) = duplex(64);
        let turn = Turn::new();
        let mut opening = Opening::new(ours, turn.clone(), WAIT);
        let mut bytes = [0; 8];
        theirs.write_all(b"head").await.expect("room");
        assert_eq!(opening.read(&mut bytes).await.expect("bytes"), 4);
        let asked = turn.ask(Version::HTTP_11);
        let quiet = tokio::time::timeout(10 * WAIT, opening.read(&mut bytes)).await;
        assert!(quiet.is_err(), "no clock runs while we answer");
        drop(asked);
        let quiet = tokio::time::timeout(10 * WAIT, opening.read(&mut bytes)).await;
        assert!(quiet.is_err(), "nor before the next request begins");
        theirs.write_all(b"h").await.expect("room");
        assert_eq!(opening.read(&mut bytes).await.expect("a byte"), 1);
        let began = Instant::now();
        theirs.write_all(b"e").await.expect("room");
        assert_eq!(opening.read(&mut bytes).await.expect("a byte"), 1);
        let error = opening.read(&mut bytes).await.expect_err("no more comes");
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, WAIT), "a second byte is no progress");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_from_the_begin_is_cut() {
        let (ours, _theirs) = duplex(64);
        let mut opening = Opening::new(ours, Turn::new(), WAIT);
        let error = opening.read(&mut [0; 8]).await.expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_rests_from_the_end_of_the_last_answer() {
        let turn = Turn::new();
        let asked = turn.ask(Version::HTTP_2);
        let rested = tokio::time::timeout(9 * WAIT + WAIT / 2, turn.rested(WAIT)).await;
        assert!(rested.is_err(), "it is being answered");
        drop(asked);
        let began = Instant::now();
        turn.rested(WAIT).await;
        assert_eq!(began.elapsed(), WAIT);
    }
}
