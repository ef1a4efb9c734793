//! What the hub and the task that hears of other replicas tell one another. Only used where a store is shared.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Hub, SHARDS};
use crate::types::{Cursor, StreamId};

/// Streams whose readers or listeners came or went since somebody looked. Names only: how things stand is asked then,
/// so that a hundred changes of one stream are one.
#[derive(Debug, Default)]
pub(super) struct Interest {
    changed: Mutex<Changed>,
    notify: Notify,
    doubt: AtomicBool,
}

#[derive(Debug, Default)]
struct Changed {
    streams: HashSet<StreamId>,
    /// There were more than may be noted: all of them are to be looked at.
    all: bool,
}

/// Names that are noted; of more than that it is only known that there are more.
const CHANGED_MAX: usize = 8 * 1024;

/// Which streams are to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sse) enum Changes {
    /// These.
    Of(Vec<StreamId>),
    /// All that have a channel, and all that had one.
    All,
}

/// How a stream stands here. `readers` and `listeners`: whether there are any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sse) struct Known {
    pub(in crate::sse) readers: bool,
    pub(in crate::sse) listeners: bool,
    /// The newest generation that was heard of; 0 for none.
    pub(in crate::sse) generation: u64,
    /// The end of what was published of it.
    pub(in crate::sse) last: Option<u64>,
}

impl Interest {
    fn changed(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// For a signal that concerns whoever listens, of whatever generation.
    pub const EVERY_GENERATION: u64 = 0;

    pub(super) fn note(&self, stream: &StreamId) {
        if !self.config.shared {
            return;
        }
        {
            let mut changed = self.interest.changed();
            if changed.all || changed.streams.contains(stream) {
                return;
            }
            if changed.streams.len() < CHANGED_MAX {
                changed.streams.insert(stream.clone());
            } else {
                *changed = Changed { streams: HashSet::new(), all: true };
            }
        }
        self.interest.notify.notify_one();
    }

    /// Resolves when there are changes, or were some lately. For one task.
    pub(in crate::sse) async fn interest_changed(&self) {
        self.interest.notify.notified().await;
    }

    /// What has changed since the last call.
    pub(in crate::sse) fn take_changes(&self) -> Changes {
        match std::mem::take(&mut *self.interest.changed()) {
            Changed { all: true, .. } => Changes::All,
            Changed { streams, .. } => Changes::Of(streams.into_iter().collect()),
        }
    }

    /// The store may have forgotten what it had accepted.
    pub(in crate::sse) fn doubt(&self) {
        self.interest.doubt.store(true, Ordering::Relaxed);
    }

    /// Whether there was a reason since the last call to believe that the store has forgotten something.
    pub fn take_doubt(&self) -> bool {
        self.interest.doubt.swap(false, Ordering::Relaxed)
    }

    /// The streams that somebody reads or listens to.
    pub(in crate::sse) fn streams(&self) -> Vec<StreamId> {
        let shards = self.shards[..SHARDS].iter();
        shards
            .flat_map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.keys().cloned().collect::<Vec<_>>()
            })
            .collect()
    }

    /// How a stream stands here; none when nobody reads or listens.
    pub(in crate::sse) fn known(&self, stream: &StreamId) -> Option<Known> {
        let shard = self.shard(stream);
        let channel = shard.get(stream)?;
        let state = channel.state.borrow();
        Some(Known {
            readers: !channel.subscribers.is_empty(),
            listeners: channel.listeners > 0,
            generation: state.generation,
            last: state.ring.last(),
        })
    }

    /// The log ends at `end` or later: readers that are behind it, and find nothing in the ring, look there.
    pub(in crate::sse) fn reached(&self, stream: &StreamId, end: Cursor) {
        let Some(state) = self.state(stream) else { return };
        state.send_if_modified(|state| {
            let newer = state.raise(end.generation);
            let ahead = state.generation == end.generation && state.ring.last().is_none_or(|last| last < end.sequence);
            if ahead {
                state.ring.skip(end.sequence);
            }
            newer | ahead
        });
    }

    /// The log ends at `end` although `published` was in it: the store forgot. What follows `end` continues the run again,
    /// and readers look at the log.
    pub(in crate::sse) fn forgotten(&self, stream: &StreamId, published: u64, end: Cursor) {
        let Some(state) = self.state(stream) else { return };
        state.send_if_modified(|state| {
            let same = state.generation == end.generation && state.ring.last() == Some(published);
            if same {
                state.ring.rewind(end.sequence);
                state.wakes += 1;
            }
            same
        });
    }
}
