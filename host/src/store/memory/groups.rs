//! Consumer groups in this process. An entry is never taken out of a log, so a group keeps positions only.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::room::Need;
use super::stream::{Stream, within};
use super::{MemoryStore, done};
use crate::store::groups::GROUPS_MAX;
use crate::store::{GroupKey, Groups, NewGroup, Pending, StoreError, Unseen};
use crate::types::{Cursor, Entry};

/// What a group costs beside its name.
const GROUP_BYTES: u64 = 192;
/// What an entry that waits for its acknowledgement costs beside the consumer's name.
const HANDED_BYTES: u64 = 96;

/// One group of a generation.
pub(super) struct Group {
    /// Everything up to this sequence was given out.
    delivered: u64,
    /// Given out and not acknowledged, by the sequence of the entry's last record.
    pending: BTreeMap<u64, Handed>,
}

/// Who has an entry.
struct Handed {
    consumer: String,
    since_ms: u64,
    deliveries: u64,
}

impl Group {
    /// What a consumer gets next: what has been away since `since_max_ms` or longer, then what is new.
    fn next(&self, stream: &Stream, since_max_ms: Option<u64>, count: usize, bytes_max: usize) -> Vec<Entry> {
        let late = |handed: &Handed| since_max_ms.is_some_and(|since_max_ms| handed.since_ms <= since_max_ms);
        let late = self.pending.iter().filter(|(_, handed)| late(handed)).map(|(last, _)| last);
        let again = late.filter_map(|last| stream.entries_after(last - 1).next());
        let new = stream.entries_after(self.delivered);
        again.chain(new).take(count).take_while(within(bytes_max)).cloned().collect()
    }

    /// What [`Group::hand_out`] takes more of the room, and what it gives back.
    fn bytes_of(&self, entries: &[Entry], consumer: &str) -> (u64, u64) {
        let before = entries.iter().filter_map(|entry| self.pending.get(&entry.last()));
        (entries.len() as u64 * handed_bytes(consumer), before.map(Handed::bytes).sum())
    }

    fn hand_out(&mut self, entries: &[Entry], consumer: &str, now_ms: u64) {
        for last in entries.iter().map(Entry::last) {
            let deliveries = self.pending.get(&last).map_or(0, |handed| handed.deliveries) + 1;
            self.pending.insert(last, Handed { consumer: consumer.to_owned(), since_ms: now_ms, deliveries });
            self.delivered = self.delivered.max(last);
        }
    }

    fn bytes(&self, name: &str) -> u64 {
        group_bytes(name) + self.pending.values().map(Handed::bytes).sum::<u64>()
    }
}

impl Handed {
    fn bytes(&self) -> u64 {
        handed_bytes(&self.consumer)
    }
}

fn group_bytes(name: &str) -> u64 {
    GROUP_BYTES + name.len() as u64
}

fn handed_bytes(consumer: &str) -> u64 {
    HANDED_BYTES + consumer.len() as u64
}

impl MemoryStore {
    /// Does something with the stream of a group, if it has the group's generation.
    fn with_group<T>(&self, key: GroupKey<'_>, now_ms: u64, act: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let held = |stream: &Stream| key.generation.is_none_or(|generation| generation == stream.job.generation);
        self.with(key.stream, now_ms, |stream| held(stream).then(|| act(stream))).flatten()
    }

    fn create_group_now(&self, key: GroupKey<'_>, from_start: bool) -> Result<NewGroup, StoreError> {
        let name = key.name;
        let create = |stream: &mut Stream| {
            if stream.groups.contains_key(name) {
                return Ok(NewGroup::Existed);
            }
            if stream.groups.len() >= GROUPS_MAX {
                return Ok(NewGroup::TooMany);
            }
            self.resize(stream, group_bytes(name), 0)?;
            let delivered = if from_start { 0 } else { stream.job.head };
            stream.groups.insert(name.to_owned(), Group { delivered, pending: BTreeMap::new() });
            Ok(NewGroup::Made)
        };
        self.with_group(key, (self.clock)(), create).unwrap_or(Ok(NewGroup::NotFound))
    }

    fn delete_group_now(&self, key: GroupKey<'_>) -> Result<bool, StoreError> {
        let name = key.name;
        let delete = |stream: &mut Stream| match stream.groups.remove(name) {
            Some(group) => self.resize(stream, 0, group.bytes(name)).map(|()| true),
            None => Ok(false),
        };
        self.with_group(key, (self.clock)(), delete).unwrap_or(Ok(false))
    }

    fn read_group_now(
        &self,
        key: GroupKey<'_>,
        consumer: &str,
        count: usize,
        bytes_max: usize,
        redeliver_after: Duration,
    ) -> Result<Unseen, StoreError> {
        let (name, now_ms) = (key.name, (self.clock)());
        let since_max_ms = u64::try_from(redeliver_after.as_millis()).ok().and_then(|ms| now_ms.checked_sub(ms));
        let read = |stream: &mut Stream| {
            let Some(group) = stream.groups.get(name) else { return Ok(Unseen::default()) };
            let entries = group.next(stream, since_max_ms, count, bytes_max);
            let (more, less) = group.bytes_of(&entries, consumer);
            self.resize(stream, more, less)?;
            if let Some(group) = stream.groups.get_mut(name) {
                group.hand_out(&entries, consumer, now_ms);
            }
            Ok(Unseen { entries, malformed: 0 })
        };
        self.with_group(key, now_ms, read).unwrap_or_else(|| Ok(Unseen::default()))
    }

    fn pending_now(&self, key: GroupKey<'_>, limit: usize) -> Vec<Pending> {
        let now_ms = (self.clock)();
        let list = |stream: &mut Stream| {
            let generation = stream.job.generation;
            let pending = stream.groups.get(key.name).into_iter().flat_map(|group| &group.pending);
            let pending = pending.map(|(&sequence, handed)| Pending {
                id: Cursor { generation, sequence },
                consumer: handed.consumer.clone(),
                idle: Duration::from_millis(now_ms.saturating_sub(handed.since_ms)),
                deliveries: handed.deliveries,
            });
            pending.take(limit).collect()
        };
        self.with_group(key, now_ms, list).unwrap_or_default()
    }

    fn acknowledge_now(&self, key: GroupKey<'_>, ids: &[Cursor]) -> Result<u64, StoreError> {
        let acknowledge = |stream: &mut Stream| {
            let generation = stream.job.generation;
            let Some(group) = stream.groups.get_mut(key.name) else { return Ok(0) };
            let ours = ids.iter().filter(|id| id.generation == generation);
            let freed: Vec<_> = ours.filter_map(|id| group.pending.remove(&id.sequence)).collect();
            self.resize(stream, 0, freed.iter().map(Handed::bytes).sum())?;
            Ok(freed.len() as u64)
        };
        self.with_group(key, (self.clock)(), acknowledge).unwrap_or(Ok(0))
    }

    /// Makes a stream take so much more of the room, and so much less.
    fn resize(&self, stream: &mut Stream, more: u64, less: u64) -> Result<(), StoreError> {
        let bytes = stream.bytes + more - less;
        self.room.exchange(stream.bytes, bytes, Need::Usual)?;
        stream.bytes = bytes;
        Ok(())
    }
}

impl Groups for MemoryStore {
    fn create_group<'a>(
        &'a self,
        group: GroupKey<'a>,
        from_start: bool,
    ) -> BoxFuture<'a, Result<NewGroup, StoreError>> {
        done(self.create_group_now(group, from_start))
    }

    fn delete_group<'a>(&'a self, group: GroupKey<'a>) -> BoxFuture<'a, Result<bool, StoreError>> {
        done(self.delete_group_now(group))
    }

    fn read_group<'a>(
        &'a self,
        group: GroupKey<'a>,
        consumer: &'a str,
        count: usize,
        bytes_max: usize,
        redeliver_after: Duration,
    ) -> BoxFuture<'a, Result<Unseen, StoreError>> {
        done(self.read_group_now(group, consumer, count, bytes_max, redeliver_after))
    }

    fn pending<'a>(&'a self, group: GroupKey<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<Pending>, StoreError>> {
        done(Ok(self.pending_now(group, limit)))
    }

    fn acknowledge<'a>(&'a self, group: GroupKey<'a>, ids: &'a [Cursor]) -> BoxFuture<'a, Result<u64, StoreError>> {
        done(self.acknowledge_now(group, ids))
    }
}
