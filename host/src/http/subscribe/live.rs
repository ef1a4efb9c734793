//! One reader's way through the log: the ring while it keeps up, pages of the log while it does not.
//!
//! Pulled by the connection, so nothing is prepared for a reader that does not read: it holds one page at most, and what
//! it missed stays in the log.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep};

use super::clock::{Clock, Interrupted};
use super::source::{self, Source};
use crate::http::line::Moved;
use crate::metrics::{ReaderMeter, Resume};
use crate::sse::{Subscription, Taken, frame};
use crate::store::Page;
use crate::types::{Cursor, Entry};

/// A response body in the making.
pub(in crate::http) struct Live {
    source: Arc<dyn Source>,
    subscription: Subscription,
    clock: Clock,
    first: Option<Bytes>,
    /// The last record sent.
    position: Cursor,
    step: Step,
    /// The log was read to its end after joining: what is newer comes through the hub.
    caught_up: bool,
    /// The job was settled when the response began: its log does not grow.
    settled: bool,
    /// Reads in a row that found nothing although the hub sent for them.
    fruitless: u32,
    /// A hole in the log before this sequence is known, and the reader was reset for it.
    hole: u64,
    /// Where the last reset put the reader.
    reset_at: Option<Cursor>,
    /// Since when the log ends before the reader's position.
    beyond: Option<Instant>,
    pause: Duration,
    /// Records in the frames that are about to go.
    records: u64,
    meter: ReaderMeter,
    moved: Arc<Moved>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Follow,
    ReadLog,
    Reset,
    End,
}

/// Bytes of one read of the log: what one reader may hold.
const PAGE_BYTES_MAX: usize = 64 * 1024;

/// A store that forgot acknowledged records is given them back by the session that wrote them, if that still lives: so
/// long its readers stay where they are.
const RESCUE_WAIT: Duration = Duration::from_secs(3);

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(2);

impl Live {
    /// Sends `first`, then every record strictly after `position`. `settled`: the job has ended already.
    pub(in crate::http) fn new(
        source: Arc<dyn Source>,
        subscription: Subscription,
        position: Cursor,
        first: Bytes,
        settled: bool,
        moved: Arc<Moved>,
    ) -> Self {
        subscription.start(position);
        Live {
            clock: Clock::new(source.shutdown(), source.keep_alive()),
            meter: source.meter(),
            moved,
            source,
            subscription,
            first: Some(first),
            position,
            step: Step::Follow,
            caught_up: false,
            settled,
            fruitless: 0,
            hole: 0,
            reset_at: None,
            beyond: None,
            pause: PAUSE_MIN,
            records: 0,
        }
    }

    /// The frames, each when it is asked for.
    pub(in crate::http) fn into_stream(self) -> impl Stream<Item = Bytes> + Send + 'static {
        stream::unfold(self, |mut live| async move {
            let bytes = live.next().await?;
            live.meter.delivered(live.records, bytes.len());
            live.moved.records(std::mem::take(&mut live.records));
            Some((bytes, live))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let frames = match self.step {
                Step::Follow => self.follow().await,
                Step::ReadLog => self.read_log().await,
                Step::Reset => self.reset().await,
                Step::End => return None,
            };
            match frames {
                Ok(frames) if frames.is_empty() => {}
                Ok(frames) => {
                    self.clock.restart();
                    return Some(frames);
                }
                Err(Interrupted::KeepAlive) => return Some(Bytes::from_static(frame::KEEP_ALIVE)),
                Err(Interrupted::Shutdown) => {
                    self.moved.shutdown();
                    return None;
                }
            }
        }
    }

    async fn follow(&mut self) -> Result<Bytes, Interrupted> {
        match self.subscription.take(self.position) {
            Taken::Frames { bytes, records, last, ended } => {
                self.records += records;
                self.progress(last, ended);
                return Ok(bytes);
            }
            // Proof that nothing is left behind: the log is read until it ends, by a read that began after the join.
            // Whatever is appended after that read is published, or waked for, after the join.
            Taken::Nothing if !self.caught_up => self.step = Step::ReadLog,
            Taken::Nothing => {
                self.found();
                self.clock.race(self.subscription.changed()).await?;
            }
            Taken::ReadLog => {
                // First, so that it is not forgotten when the pause is interrupted.
                self.step = Step::ReadLog;
                if self.fruitless > 1 {
                    // The hub heard of more than the log has: a store that forgot. It need not be asked in a loop.
                    self.back_off().await?;
                }
            }
            Taken::Replaced(generation) => return Ok(self.replaced(generation)),
            Taken::Gone => self.step = Step::End,
        }
        Ok(Bytes::new())
    }

    async fn read_log(&mut self) -> Result<Bytes, Interrupted> {
        let read = self.source.read(self.subscription.stream(), self.position, PAGE_BYTES_MAX);
        match self.clock.race(read).await? {
            Ok(Page::Entries(entries)) => return Ok(self.page(&entries)),
            Ok(Page::Reset(end)) if end.generation != self.position.generation => {
                return Ok(self.replaced(end.generation));
            }
            // Reset already, to a state that is ahead of what the store still has: the log will grow past it.
            Ok(Page::Reset(_)) if self.reset_at == Some(self.position) => self.back_off().await?,
            Ok(Page::Reset(_)) => {
                let left = RESCUE_WAIT.saturating_sub(self.beyond.get_or_insert_with(Instant::now).elapsed());
                match left.is_zero() {
                    true => self.step = Step::Reset,
                    false => self.back_off_for(left).await?,
                }
            }
            Ok(Page::Gone) => self.step = Step::End,
            Err(error) => {
                tracing::debug!(stream = %self.subscription.stream(), %error, "cannot read the log");
                self.back_off().await?;
            }
        }
        Ok(Bytes::new())
    }

    /// The frames of what the reader lacks of these entries, up to a hole.
    fn page(&mut self, entries: &[Entry]) -> Bytes {
        let before = self.position;
        self.beyond = None;
        let mut frames = Vec::with_capacity(entries.iter().map(frame::encoded_bytes_max).sum());
        self.step = Step::Follow;
        for entry in entries {
            let first = entry.first.sequence;
            if first > self.position.sequence + 1 && first > self.hole {
                // Records are gone from the log: what comes before the hole is sent, then the reader is told.
                self.step = Step::ReadLog;
                if self.position == before {
                    self.hole = first;
                    self.step = Step::Reset;
                }
                break;
            }
            self.records += frame::encode(entry, self.position.sequence, &mut frames);
            let last = Cursor { sequence: entry.last().max(self.position.sequence), ..self.position };
            self.progress(last, entry.terminal().is_some());
        }
        if self.position == before && self.step == Step::Follow {
            self.caught_up = true;
            self.fruitless += 1;
            if self.settled {
                self.step = Step::End;
            }
        }
        frames.into()
    }

    /// The client cannot go on from where it is: it gets the present state.
    async fn reset(&mut self) -> Result<Bytes, Interrupted> {
        let generation = self.position.generation;
        let cut = source::cut(&*self.source, self.subscription.stream(), generation, true);
        match self.clock.race(cut).await? {
            Ok(Some((at, _))) if at.generation != generation => return Ok(self.replaced(at.generation)),
            Ok(Some((at, state))) => {
                self.meter.resumed(Resume::Reset);
                self.position = at;
                self.reset_at = Some(at);
                self.beyond = None;
                self.step = Step::ReadLog;
                return Ok(state.into());
            }
            Ok(None) => self.step = Step::End,
            Err(failure) => {
                tracing::debug!(stream = %self.subscription.stream(), %failure, "cannot take a snapshot");
                self.back_off().await?;
            }
        }
        Ok(Bytes::new())
    }

    fn replaced(&mut self, generation: u64) -> Bytes {
        self.step = Step::End;
        frame::reconcile(generation).into()
    }

    fn progress(&mut self, last: Cursor, ended: bool) {
        if last != self.position {
            self.found();
        }
        self.position = last;
        if ended {
            self.step = Step::End;
        }
    }

    fn found(&mut self) {
        self.fruitless = 0;
        self.pause = PAUSE_MIN;
    }

    async fn back_off(&mut self) -> Result<(), Interrupted> {
        self.back_off_for(PAUSE_MAX).await
    }

    async fn back_off_for(&mut self, pause_max: Duration) -> Result<(), Interrupted> {
        let pause = self.pause.min(pause_max);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.clock.race(sleep(pause)).await
    }
}
