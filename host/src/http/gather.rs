//! Whole lines of a body that is still coming: as many as are there, without waiting for more.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

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
    /// The client went away: the cut line is dropped, the whole ones count.
    pub(super) broke_off: bool,
}

impl<'a> Gather<'a> {
    /// `line_bytes_max`: of one line, without its line break.
    pub(super) fn new(body: &'a mut Incoming, line_bytes_max: usize) -> Self {
        let splitter = LineSplitter::new(line_bytes_max, BATCH_BYTES_MAX);
        Gather { body, splitter, has_ended: false, broke_off: false }
    }

    /// The whole lines that are there, as soon as there are some; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, Broken> {
        loop {
            let mut has_yielded = false;
            poll_fn(|context| self.poll_lines(context, &mut has_yielded)).await;
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
                Poll::Ready(Some(Err(_))) => (self.has_ended, self.broke_off) = (true, true),
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
