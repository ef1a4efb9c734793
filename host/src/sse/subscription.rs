//! One reader of a stream: takes what the ring has after its position, and waits for more.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::hub::{Place, Seat};
use super::ring::{Held, Ring};
use crate::types::{Cursor, StreamId};

/// What the readers of one stream share.
#[derive(Debug)]
pub(super) struct State {
    /// The newest generation that the hub has heard of.
    pub(super) generation: u64,
    /// Its latest records.
    pub(super) ring: Ring,
    /// Counts the times that something may be in the log without being in the ring.
    pub(super) wakes: u64,
    /// The stream was forgotten.
    pub(super) gone: bool,
}

impl State {
    /// Moves on to `generation` if it is newer; true when it is.
    pub(super) fn raise(&mut self, generation: u64) -> bool {
        let newer = generation > self.generation;
        if newer {
            self.generation = generation;
            self.ring.clear();
        }
        newer
    }
}

/// A counted reader. Dropping it un-counts it.
#[derive(Debug)]
pub struct Subscription {
    seat: Seat,
    place: Arc<Place>,
    state: watch::Receiver<State>,
    wakes: u64,
}

/// What the hub has for a reader.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Frames of the records strictly after the position, up to `last`. No bytes: internal records only.
    Frames {
        /// One chunk, shared with all readers, or several small ones joined.
        bytes: Bytes,
        /// Records in them.
        records: u64,
        /// The position after them.
        last: Cursor,
        /// Whether `last` ends the generation.
        ended: bool,
    },
    /// Nothing newer was published since somebody is here. The log may have older records that the reader lacks.
    Nothing,
    /// The log has, or may have, more than the position, and the ring does not have all of it.
    ReadLog,
    /// This newer generation has the stream now.
    Replaced(u64),
    /// The stream was forgotten.
    Gone,
}

impl Subscription {
    pub(super) fn new(seat: Seat, place: Arc<Place>, mut state: watch::Receiver<State>) -> Self {
        let wakes = state.borrow_and_update().wakes;
        Subscription { seat, place, state, wakes }
    }

    /// The reader begins after `position`: whoever looks at the hub's readers sees it there.
    pub fn start(&self, position: Cursor) {
        self.place.reach(position);
    }

    /// What the ring has strictly after `after`, the reader's position: whoever asks for more has taken all up to it.
    pub fn take(&mut self, after: Cursor) -> Taken {
        self.place.reach(after);
        // Proof that no publish is lost between `take` and `changed`. The ring is the value of the watch: a publish
        // changes it and raises its version under the write lock; this call reads it and notes the version as seen
        // under the read lock. So a publish is either before this read, and in what it returns, or after it, and then
        // its version is not the noted one, whether or not anybody waited at that moment: `changed` returns at once.
        let state = self.state.borrow_and_update();
        if state.generation > after.generation {
            return Taken::Replaced(state.generation);
        }
        if state.generation < after.generation {
            // The log told the reader of a generation that the hub has not heard of yet. It will.
            return if state.gone { Taken::Gone } else { Taken::Nothing };
        }
        if state.wakes != self.wakes && !state.gone {
            self.wakes = state.wakes;
            return Taken::ReadLog;
        }
        match state.ring.after(after.sequence) {
            Held::Frames { bytes, records, last, ended } => {
                Taken::Frames { bytes, records, last: Cursor { sequence: last, ..after }, ended }
            }
            // What the ring still has is delivered before the end: the log is no longer there.
            Held::Nothing | Held::Elsewhere if state.gone => Taken::Gone,
            Held::Nothing => Taken::Nothing,
            Held::Elsewhere => Taken::ReadLog,
        }
    }

    /// Resolves when something may have changed since the last [`Subscription::take`]. May be dropped at any time.
    pub async fn changed(&mut self) {
        // An error says that the stream was forgotten: `take` says so too.
        let _ = self.state.changed().await;
    }

    /// The stream.
    pub fn stream(&self) -> &StreamId {
        self.seat.stream()
    }
}
