//! A store that several replicas share, whose messages and answers can fail.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::{Log, Task};
use crate::metrics::WakeMeter;
use crate::sse::{Hub, HubConfig};
use crate::store::wakes::PRESENCE_EVERY;
use crate::store::{Head, Page, StoreError, Wake, Wakes};
use crate::types::{Cursor, Entry, RecordKind, Status, StreamId};

#[derive(Default)]
pub(super) struct World {
    room: Mutex<Room>,
}

#[derive(Default)]
pub(super) struct Room {
    pub(super) logs: HashMap<StreamId, (Head, Vec<Entry>)>,
    replicas: Vec<Replica>,
    present: HashMap<StreamId, HashMap<usize, Instant>>,
    /// No call succeeds.
    pub(super) down: bool,
    /// Messages get lost.
    pub(super) lossy: bool,
    pub(super) reads: usize,
    pub(super) heads: usize,
    pub(super) calls: usize,
    pub(super) told: usize,
}

#[derive(Default)]
struct Replica {
    followed: HashSet<StreamId>,
    queue: VecDeque<Wake>,
    notify: Arc<Notify>,
}

/// One replica's end of it.
pub(super) struct Side {
    world: Arc<World>,
    id: usize,
}

pub(super) fn stream(name: &str) -> StreamId {
    StreamId::parse(name).expect("a stream id")
}

pub(super) fn at(sequence: u64) -> Cursor {
    Cursor { generation: 1, sequence }
}

pub(super) fn record(sequence: u64) -> Entry {
    Entry { first: at(sequence), lines: "{}\n".into(), kinds: [].into(), count: 1 }
}

pub(super) fn last(sequence: u64) -> Entry {
    Entry { kinds: [RecordKind::Final].into(), ..record(sequence) }
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().expect("not poisoned")
    }

    /// Another replica that has no task yet.
    pub(super) fn side(self: &Arc<Self>) -> Arc<Side> {
        let mut room = self.room();
        room.replicas.push(Replica::default());
        Arc::new(Side { world: Arc::clone(self), id: room.replicas.len() - 1 })
    }

    /// Another replica at work.
    pub(super) fn replica(self: &Arc<Self>) -> (Arc<Hub>, tokio::task::JoinHandle<()>) {
        let hub = Arc::new(Hub::new(HubConfig { shared: true, ..HubConfig::default() }));
        let (side, its_hub) = (self.side(), Arc::clone(&hub));
        let task = tokio::spawn(async move { Task::new(&*side, &*side, &its_hub, WakeMeter::default()).work().await });
        (hub, task)
    }

    pub(super) fn create(&self, stream: &StreamId, generation: u64) {
        let cursor = Cursor { generation, sequence: 0 };
        let head = Head { cursor, status: Status::Running, revision: 1 };
        let mut room = self.room();
        room.logs.insert(stream.clone(), (head, Vec::new()));
        room.send(stream, &Wake::Head(stream.clone(), cursor));
    }

    pub(super) fn append(&self, stream: &StreamId, entry: Entry) {
        let mut room = self.room();
        let (head, log) = room.logs.get_mut(stream).expect("a row");
        head.cursor.sequence = entry.last();
        head.revision += 1;
        if entry.terminal().is_some() {
            head.status = Status::Complete;
        }
        log.push(entry.clone());
        room.send(stream, &Wake::Entry(stream.clone(), entry));
    }

    /// The same, and no message arrives.
    pub(super) fn append_unheard(&self, stream: &StreamId, entry: Entry) {
        let before = std::mem::replace(&mut self.room().lossy, true);
        self.append(stream, entry);
        self.room().lossy = before;
    }

    pub(super) fn say(&self, stream: &StreamId, wake: &Wake) {
        self.room().send(stream, wake);
    }
}

impl Room {
    fn send(&mut self, stream: &StreamId, wake: &Wake) {
        let heard = self.replicas.iter_mut().filter(|replica| replica.followed.contains(stream));
        for replica in heard.filter(|_| !self.lossy) {
            replica.queue.push_back(wake.clone());
            replica.notify.notify_one();
        }
    }

    pub(super) fn followed(&self, replica: usize) -> usize {
        self.replicas[replica].followed.len()
    }

    fn any(&mut self, stream: &StreamId) -> bool {
        let now = Instant::now();
        let present = self.present.entry(stream.clone()).or_default();
        present.retain(|_, told| now - *told < 3 * PRESENCE_EVERY);
        !present.is_empty()
    }

    fn answer<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> Result<T, StoreError> {
        self.calls += 1;
        if self.down { Err(StoreError::Unavailable("told to".to_owned())) } else { Ok(what(self)) }
    }
}

fn ready<'a, T: Send + 'a>(answer: T) -> BoxFuture<'a, T> {
    future::ready(answer).boxed()
}

impl Log for Side {
    fn heads<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>> {
        ready(self.world.room().answer(|room| {
            room.heads += 1;
            streams.iter().map(|stream| room.logs.get(stream).map(|(head, _)| *head)).collect()
        }))
    }

    fn read<'a>(&'a self, stream: &'a StreamId, after: Cursor, _: usize) -> BoxFuture<'a, Result<Page, StoreError>> {
        ready(self.world.room().answer(|room| {
            room.reads += 1;
            match room.logs.get(stream) {
                None => Page::Gone,
                Some((head, _)) if after > head.cursor || after.generation != head.cursor.generation => {
                    Page::Reset(head.cursor)
                }
                Some((_, log)) => {
                    Page::Entries(log.iter().filter(|entry| entry.last() > after.sequence).cloned().collect())
                }
            }
        }))
    }
}

impl Wakes for Side {
    fn follow<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<(), StoreError>> {
        ready(self.world.room().answer(|room| room.replicas[self.id].followed.extend(streams.iter().cloned())))
    }

    fn unfollow<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<(), StoreError>> {
        let unfollow = |room: &mut Room| room.replicas[self.id].followed.retain(|it| !streams.contains(it));
        ready(self.world.room().answer(unfollow))
    }

    fn next(&self) -> BoxFuture<'_, (Wake, Instant)> {
        async move {
            loop {
                let notify = {
                    let replica = &mut self.world.room().replicas[self.id];
                    if let Some(wake) = replica.queue.pop_front() {
                        return (wake, Instant::now());
                    }
                    Arc::clone(&replica.notify)
                };
                notify.notified().await;
            }
        }
        .boxed()
    }

    fn resolved<'a>(
        &'a self,
        stream: &'a StreamId,
        generation: u64,
        answer: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let wake = Wake::Resolved(stream.clone(), generation, answer.to_owned());
        ready(self.world.room().answer(|room| room.send(stream, &wake)))
    }

    fn presence<'a>(&'a self, here: &'a [(StreamId, bool)]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        ready(self.world.room().answer(|room| {
            let tell = |(stream, readers): &(StreamId, bool)| {
                room.told += 1;
                let before = room.any(stream);
                let present = room.present.entry(stream.clone()).or_default();
                match readers {
                    true => present.insert(self.id, Instant::now()),
                    false => present.remove(&self.id),
                };
                let after = room.any(stream);
                match (before, after) {
                    (false, true) => room.send(stream, &Wake::Ready(stream.clone())),
                    (true, false) => room.send(stream, &Wake::SubscribersLeft(stream.clone())),
                    _ => {}
                }
                after
            };
            here.iter().map(tell).collect()
        }))
    }

    fn readers<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        ready(self.world.room().answer(|room| streams.iter().map(|stream| room.any(stream)).collect()))
    }
}
