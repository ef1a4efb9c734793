//! The streams that somebody reads or listens to here, and what is still to be done for each.
//!
//! Bounded by what the hub may have, twice: a stream that nobody reads any more stays until the store was told, and no
//! new one is told to the store before those.

use std::collections::{HashMap, HashSet};

use crate::sse::hub::Known;
use crate::types::{Entry, StreamId};

/// What the task knows.
#[derive(Default)]
pub(super) struct Book {
    streams: HashMap<StreamId, Followed>,
    /// The store is to be told something of these.
    to_tell: HashSet<StreamId>,
    /// To be compared with the store.
    looks: HashSet<StreamId>,
    /// The log has more than the hub.
    reads: HashMap<StreamId, Missing>,
    /// Bytes of all entries that wait in `reads`.
    ahead_bytes: usize,
}

/// One stream.
#[derive(Default)]
pub(super) struct Followed {
    /// Somebody reads here, or listens.
    readers: bool,
    listeners: bool,
    /// The store sends wakes of it.
    followed: bool,
    /// What the store was told of readers here.
    told: bool,
    /// That there are readers is to be told again, or asked again.
    repeat: bool,
    /// Counts the wakes about readers: an answer that was asked for before one is old.
    presence_wakes: u64,
    /// There was a wake that fits since the last tick.
    heard: bool,
    /// The last record that a wake was about, of which generation.
    heard_of: (u64, u64),
    /// Generation and whether it has ended, as listeners know it.
    pub(super) state: Option<(u64, bool)>,
    /// Looks in a row that found no row.
    pub(super) gone: u32,
}

/// Records of the log that the hub lacks.
#[derive(Default)]
pub(super) struct Missing {
    /// Up to this sequence at least.
    pub(super) target: u64,
    /// What came by wakes meanwhile, in order: it is published after what is read.
    pub(super) ahead: Vec<Entry>,
}

/// What to tell the store next, at most a batch of streams.
#[derive(Default)]
pub(super) struct Round {
    pub(super) presence: Vec<(StreamId, bool)>,
    pub(super) unfollow: Vec<StreamId>,
    pub(super) follow: Vec<StreamId>,
    pub(super) ask: Vec<StreamId>,
    /// Wakes about readers that came before the round, of `presence` and `ask`.
    presence_wakes: HashMap<StreamId, u64>,
}

/// Bytes of entries that are kept while what comes before them is read. Beyond that they are read as well.
const AHEAD_BYTES_MAX: usize = 4 * 1024 * 1024;

impl Book {
    /// How a stream stands in the hub now; none: nobody is there.
    pub(super) fn note(&mut self, stream: &StreamId, known: Option<Known>) {
        let (readers, listeners) = known.map_or((false, false), |known| (known.readers, known.listeners));
        if known.is_none() && !self.streams.contains_key(stream) {
            return;
        }
        let followed = self.streams.entry(stream.clone()).or_default();
        // A producer that comes is told what other replicas have, once its stream is followed.
        followed.repeat |= listeners && !followed.listeners;
        (followed.readers, followed.listeners) = (readers, listeners);
        self.to_tell.insert(stream.clone());
    }

    /// A wake came of a stream that nobody here wants: the store is told to stop.
    pub(super) fn stray(&mut self, stream: &StreamId) {
        self.streams.entry(stream.clone()).or_default().followed = true;
        self.to_tell.insert(stream.clone());
    }

    pub(super) fn streams(&self) -> Vec<StreamId> {
        self.streams.keys().cloned().collect()
    }

    pub(super) fn get(&mut self, stream: &StreamId) -> Option<&mut Followed> {
        self.streams.get_mut(stream)
    }

    /// All that is followed is to be looked at, and who has readers told and asked: nothing is known for sure any more.
    pub(super) fn lost(&mut self) {
        self.looks.extend(self.streams.iter().filter(|(_, it)| it.followed).map(|(stream, _)| stream.clone()));
        self.repeat_presence();
    }

    pub(super) fn look_at_silent(&mut self) {
        for (stream, followed) in &mut self.streams {
            // Those that the store could not be told to follow most of all.
            let wanted = followed.readers || followed.listeners;
            if wanted && !std::mem::take(&mut followed.heard) {
                self.looks.insert(stream.clone());
            }
        }
    }

    pub(super) fn repeat_presence(&mut self) {
        for (stream, followed) in &mut self.streams {
            if followed.readers || followed.listeners {
                followed.repeat = true;
                self.to_tell.insert(stream.clone());
            }
        }
    }

    /// What to tell the store next; none when there is nothing.
    pub(super) fn next_round(&mut self) -> Option<Round> {
        let mut round = Round::default();
        let batch = take(&mut self.to_tell);
        let some = !batch.is_empty();
        for stream in batch {
            let Some(it) = self.streams.get(&stream) else { continue };
            let wanted = it.readers || it.listeners;
            let tell = it.readers != it.told || (it.readers && it.repeat);
            let ask = it.listeners && it.repeat && !tell;
            match (wanted, it.followed) {
                (true, false) => round.follow.push(stream.clone()),
                (false, true) => round.unfollow.push(stream.clone()),
                (true, true) => {}
                (false, false) if !tell => self.forget(&stream),
                (false, false) => {}
            }
            let Some(it) = self.streams.get(&stream) else { continue };
            if tell || ask {
                round.presence_wakes.insert(stream.clone(), it.presence_wakes);
            }
            if tell {
                round.presence.push((stream, it.readers));
            } else if ask {
                round.ask.push(stream);
            }
        }
        some.then_some(round)
    }

    /// The round failed: what of it was not done is done again.
    pub(super) fn again(&mut self, round: Round) {
        let presence = round.presence.into_iter().map(|(stream, _)| stream);
        self.to_tell.extend(presence.chain(round.unfollow).chain(round.follow).chain(round.ask));
    }

    pub(super) fn followed(&mut self, streams: &[StreamId]) {
        for stream in streams {
            let Some(it) = self.streams.get_mut(stream) else { continue };
            it.followed = true;
            it.repeat |= it.listeners;
            self.looks.insert(stream.clone());
            self.to_tell.insert(stream.clone());
        }
    }

    pub(super) fn unfollowed(&mut self, streams: &[StreamId]) {
        for stream in streams {
            if let Some(it) = self.streams.get_mut(stream) {
                it.followed = false;
                self.to_tell.insert(stream.clone());
            }
        }
    }

    pub(super) fn told(&mut self, here: &[(StreamId, bool)]) {
        for (stream, readers) in here {
            if let Some(it) = self.streams.get_mut(stream) {
                (it.told, it.repeat) = (*readers, false);
                self.to_tell.insert(stream.clone());
            }
        }
    }

    pub(super) fn asked(&mut self, streams: &[StreamId]) {
        for stream in streams {
            if let Some(it) = self.streams.get_mut(stream) {
                it.repeat = false;
            }
        }
    }

    /// Whether an answer about readers is newer than all that was heard of them, and somebody listens.
    pub(super) fn is_news(&self, round: &Round, stream: &StreamId) -> bool {
        let it = self.streams.get(stream).filter(|it| it.listeners);
        it.is_some_and(|it| round.presence_wakes.get(stream) == Some(&it.presence_wakes))
    }

    /// A wake said whether there are readers.
    pub(super) fn presence_wake(&mut self, stream: &StreamId) {
        if let Some(it) = self.streams.get_mut(stream) {
            it.presence_wakes += 1;
        }
    }

    /// A wake said that `last` is in the log. One that does not go on from what wakes said before is no sign of life: the
    /// store may have forgotten, and is looked at.
    pub(super) fn heard(&mut self, stream: &StreamId, generation: u64, last: u64) {
        let Some(it) = self.streams.get_mut(stream) else { return };
        if (generation, last) > it.heard_of {
            it.heard = true;
        } else {
            self.looks.insert(stream.clone());
        }
        it.heard_of = (generation, last);
    }

    pub(super) fn look(&mut self, stream: &StreamId) {
        if self.streams.contains_key(stream) {
            self.looks.insert(stream.clone());
        }
    }

    pub(super) fn take_looks(&mut self) -> Vec<StreamId> {
        take(&mut self.looks)
    }

    /// The log has records up to `target` that the hub lacks.
    pub(super) fn read(&mut self, stream: &StreamId, target: u64) {
        if self.streams.contains_key(stream) {
            let missing = self.reads.entry(stream.clone()).or_default();
            missing.target = missing.target.max(target);
        }
    }

    /// Keeps `entry` for after the read that `stream` waits for. False when it waits for none.
    pub(super) fn keep(&mut self, stream: &StreamId, entry: &Entry) -> bool {
        let Some(missing) = self.reads.get_mut(stream) else { return false };
        missing.target = missing.target.max(entry.last());
        if self.ahead_bytes + weight(entry) <= AHEAD_BYTES_MAX {
            self.ahead_bytes += weight(entry);
            missing.ahead.push(entry.clone());
        }
        true
    }

    /// Streams that wait for a read; they stay until [`Book::take_read`].
    pub(super) fn reads(&self, max: usize) -> Vec<StreamId> {
        self.reads.keys().take(max).cloned().collect()
    }

    pub(super) fn take_read(&mut self, stream: &StreamId) -> Missing {
        let missing = self.reads.remove(stream).unwrap_or_default();
        self.ahead_bytes -= missing.ahead.iter().map(weight).sum::<usize>();
        missing
    }

    pub(super) fn has_work(&self) -> bool {
        !(self.looks.is_empty() && self.reads.is_empty())
    }

    fn forget(&mut self, stream: &StreamId) {
        self.streams.remove(stream);
        self.looks.remove(stream);
        self.take_read(stream);
    }
}

#[cfg(test)]
impl Book {
    pub(super) fn len(&self) -> usize {
        self.streams.len().max(self.to_tell.len()).max(self.looks.len()).max(self.reads.len())
    }
}

/// A batch of what is there.
fn take(streams: &mut HashSet<StreamId>) -> Vec<StreamId> {
    if streams.len() <= super::BATCH {
        return streams.drain().collect();
    }
    let batch: Vec<_> = streams.iter().take(super::BATCH).cloned().collect();
    batch.iter().for_each(|stream| {
        streams.remove(stream);
    });
    batch
}

fn weight(entry: &Entry) -> usize {
    entry.lines.len() + size_of::<Entry>()
}
