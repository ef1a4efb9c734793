//! What the store says: it reaches readers and listeners here, or sends the task to the log.

use tokio::time::Instant;

use super::{Log, Task};
use crate::sse::Signal;
use crate::sse::hub::{Hub, Known};
use crate::store::Wake;
use crate::types::{Cursor, Entry, StreamId};

impl<L: Log + ?Sized> Task<'_, L> {
    pub(super) async fn hear(&self) {
        loop {
            let (wake, came) = self.wakes.next().await;
            self.take(wake, came);
            // A store that has many wakes ready never keeps the other loops from their turn.
            tokio::task::consume_budget().await;
        }
    }

    fn take(&self, wake: Wake, came: Instant) {
        match wake {
            Wake::Entry(stream, entry) => {
                if self.entry(&stream, &entry) {
                    self.meter.delivered(came.elapsed());
                }
            }
            Wake::Head(stream, end) => self.end(&stream, end),
            Wake::Gone(stream, generation) => self.hub.gone(&stream, generation),
            Wake::Resolved(stream, generation, answer) => {
                self.hub.signal(&stream, generation, Signal::Resolved(answer));
            }
            Wake::Ready(stream) => self.presence(&stream, Signal::Ready),
            Wake::SubscribersLeft(stream) => self.presence(&stream, Signal::SubscribersLeft),
            Wake::Lost => {
                self.meter.lost();
                // Where connections break a fail-over may be the reason.
                self.hub.doubt();
                self.book().lost();
                self.to_look.notify_one();
                self.to_tell.notify_one();
            }
        }
    }

    fn presence(&self, stream: &StreamId, signal: Signal) {
        self.book().presence_wake(stream);
        self.hub.signal(stream, Hub::EVERY_GENERATION, signal);
    }

    /// True when readers here were woken with records that they had not.
    fn entry(&self, stream: &StreamId, entry: &Entry) -> bool {
        let Some(known) = self.wanted(stream) else { return false };
        let generation = entry.first.generation;
        self.book().heard(stream, generation, entry.last());
        if generation < known.generation {
            return false;
        }
        if generation > known.generation {
            self.hub.publish(stream, entry);
            self.newer_generation(stream, known, generation);
            return known.readers;
        }
        let offered = self.offer(stream, known, entry);
        if !offered {
            let mut book = self.book();
            book.read(stream, entry.last());
            book.keep(stream, entry);
        }
        self.to_look.notify_one();
        // What this host wrote itself was published before it came back.
        offered && known.readers && known.last.is_none_or(|last| last < entry.last())
    }

    /// Publishes an entry of the known generation unless readers would lack what comes before it.
    pub(super) fn offer(&self, stream: &StreamId, known: Known, entry: &Entry) -> bool {
        let fits = known.last.is_none_or(|last| entry.first.sequence <= last + 1);
        if fits || !known.readers {
            self.hub.publish(stream, entry);
        }
        fits || !known.readers
    }

    fn end(&self, stream: &StreamId, end: Cursor) {
        let Some(known) = self.wanted(stream) else { return };
        if end.sequence > 0 {
            self.book().heard(stream, end.generation, end.sequence);
        }
        if end.generation > known.generation {
            self.hub.reached(stream, end);
            self.newer_generation(stream, known, end.generation);
        } else if end.generation == known.generation {
            self.reaches(stream, known, end);
            // What was written may have been the end of the job, or no record at all.
            if known.listeners {
                self.book().look(stream);
            }
        }
        self.to_look.notify_one();
    }

    /// The log of the known generation ends at `end` or later.
    pub(super) fn reaches(&self, stream: &StreamId, known: Known, end: Cursor) {
        match known.last {
            Some(last) if last >= end.sequence => {}
            Some(_) if known.readers => self.book().read(stream, end.sequence),
            _ => self.hub.reached(stream, end),
        }
    }

    /// Producers of older generations hear that they were replaced, one of this generation looks at its row.
    fn newer_generation(&self, stream: &StreamId, known: Known, generation: u64) {
        if known.listeners {
            self.hub.signal(stream, generation, Signal::Settled);
        }
    }

    /// How a stream stands here; one that nobody is here for is not followed for long.
    fn wanted(&self, stream: &StreamId) -> Option<Known> {
        let known = self.hub.known(stream);
        if known.is_none() {
            self.book().stray(stream);
            self.to_tell.notify_one();
        }
        known
    }
}
