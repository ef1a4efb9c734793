//! Whole lines of a body that is still coming: as many as are there, without waiting for more.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body as _;
use hyper::body::Incoming;

use super::lines::{Batch, Broken, LineSplitter};

/// Bytes that are handed over at a time.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// A body, and what has come of it.
pub(super) struct Gather<'a> {
    body: &'a mut Incoming,
    splitter: LineSplitter,
    has_ended: bool,
    idle_max: Duration,
    /// Why the body ended before its end: the cut line is dropped, the whole ones count.
    pub(super) cut: Option<Cut>,
}

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The client went away.
    BrokeOff,
    /// It is there, and has sent no whole line for too long.
    Idle,
}

impl<'a> Gather<'a> {
    /// `line_bytes_max`: of one line, without its line break. `idle_max`: how long none may come.
    pub(super) fn new(body: &'a mut Incoming, line_bytes_max: usize, idle_max: Duration) -> Self {
        let splitter = LineSplitter::new(line_bytes_max, BATCH_BYTES_MAX);
        Gather { body, splitter, has_ended: false, idle_max, cut: None }
    }

    /// The whole lines that are there, as soon as there are some; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, Broken> {
        loop {
            let mut has_yielded = false;
            let idle_max = self.idle_max;
            let lines = poll_fn(|context| self.poll_lines(context, &mut has_yielded));
            if tokio::time::timeout(idle_max, lines).await.is_err() {
                (self.has_ended, self.cut) = (true, Some(Cut::Idle));
            }
            let batch = self.splitter.take()?;
            if batch.is_some() || self.has_ended {
                return Ok(batch);
            }
        }
    }

    /// Lines handed over.
    pub(super) fn lines(&self) -> u64 {
        self.splitter.taken()
    }

    fn poll_lines(&mut self, context: &mut Context<'_>, has_yielded: &mut bool) -> Poll<()> {
        while !self.has_ended && !self.splitter.is_full() {
            match Pin::new(&mut *self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.splitter.feed(frame.data_ref().map_or(&[], |data| data));
                    *has_yielded = false;
                }
                Poll::Ready(Some(Err(_))) => (self.has_ended, self.cut) = (true, Some(Cut::BrokeOff)),
                Poll::Ready(None) => {
                    self.has_ended = true;
                    self.splitter.finish();
                }
                Poll::Pending if !self.splitter.has_lines() => return Poll::Pending,
                Poll::Pending if *has_yielded => return Poll::Ready(()),
                // hyper decodes the next chunk in this same task: let it run once before the lines go without it.
                Poll::Pending => {
                    *has_yielded = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }
}
