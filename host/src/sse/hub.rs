//! Who is there: the readers and listeners of each stream, and what reaches them.
//!
//! A stream has a channel while somebody reads or listens. Joins, leaves and their signals are one step under the lock of
//! the stream's shard; encoding and waking happen outside of it.

mod interest;
mod places;
mod seat;
#[cfg(test)]
mod tests;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use self::interest::Interest;
use self::seat::Counted;
use super::listener::{Listener, SIGNALS_MAX, Signal};
use super::ring::{Chunk, Ring};
use super::subscription::{State, Subscription};
use crate::types::{Entry, StreamId, now_ms};

pub(super) use interest::{Changes, Known};
pub(super) use places::Place;
pub use places::{Reader, Readers};
pub(super) use seat::Seat;

/// Bounds of the hub.
#[derive(Clone, Copy, Debug)]
pub struct HubConfig {
    /// Encoded bytes that one stream keeps for readers that are a little behind.
    pub ring_bytes_max: usize,
    /// Readers on this host; as many listeners besides.
    pub subscribers_max: usize,
    /// Readers of one stream; as many listeners besides.
    pub subscribers_per_stream_max: usize,
    /// Other replicas share the store: what is told of readers is told by [`super::wake`], over all replicas.
    pub shared: bool,
}

impl Default for HubConfig {
    fn default() -> Self {
        HubConfig {
            ring_bytes_max: 256 * 1024,
            subscribers_max: 20_000,
            subscribers_per_stream_max: 2_000,
            shared: false,
        }
    }
}

/// Why nobody else may join now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// The host has all it may have.
    #[error("{0} are connected to this host, which is all it takes")]
    OnHost(usize),
    /// The stream has all it may have.
    #[error("{0} are connected to this stream, which is all it takes")]
    OnStream(usize),
}

/// Wakes readers and listeners. Bounded by [`HubConfig`]; holds nothing of a stream that nobody reads or listens to.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// See [`Hub::host`].
    host: String,
    channels: AtomicU64,
    /// Readers that ever came: the number of the last one.
    places: AtomicU64,
    subscribers: AtomicUsize,
    listeners: AtomicUsize,
    interest: Interest,
}

type Shard = HashMap<StreamId, Channel>;

/// One stream while somebody reads or listens.
#[derive(Debug)]
struct Channel {
    /// Tells it from a later channel of the same stream.
    id: u64,
    state: Arc<watch::Sender<State>>,
    /// Made for the first listener.
    signals: Option<broadcast::Sender<(u64, Signal)>>,
    /// By number, so in the order in which they came.
    subscribers: BTreeMap<u64, Arc<Place>>,
    listeners: usize,
}

const SHARDS: usize = 64;

impl Hub {
    /// An empty hub.
    pub fn new(mut config: HubConfig) -> Self {
        // With room for one, whoever is refused finds the channel in use: a refusal leaves no empty one behind.
        config.subscribers_per_stream_max = config.subscribers_per_stream_max.max(1);
        Hub {
            config,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            host: format!("{:08x}", RandomState::new().hash_one(now_ms()) >> 32),
            channels: AtomicU64::new(0),
            places: AtomicU64::new(0),
            subscribers: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
            interest: Interest::default(),
        }
    }

    /// The records of `entry` are in the log: its readers get them, encoded once. Costs a look-up when nobody is there.
    ///
    /// The entries of one stream come in the order of its log; one that does not continue what was published before
    /// only sends readers to the log. Its last record being terminal, listeners hear [`Signal::Settled`].
    pub fn publish(&self, stream: &StreamId, entry: &Entry) {
        let generation = entry.first.generation;
        let state = {
            let shard = self.shard(stream);
            let Some(channel) = shard.get(stream) else { return };
            if entry.terminal().is_some() {
                channel.tell(generation, Signal::Settled);
            }
            if channel.subscribers.is_empty() {
                // Noted, so that the ring never claims to end before what was published.
                channel.state.send_if_modified(|state| {
                    state.raise(generation);
                    if state.generation == generation {
                        state.ring.skip(entry.last());
                    }
                    false
                });
                return;
            }
            Arc::clone(&channel.state)
        };
        let chunk = Chunk::new(entry);
        state.send_if_modified(|state| {
            let newer = state.raise(generation);
            newer | (state.generation == generation && state.ring.push(chunk))
        });
    }

    /// A newer generation took the stream over: readers of older ones are told.
    pub fn generation(&self, stream: &StreamId, generation: u64) {
        if let Some(state) = self.state(stream) {
            state.send_if_modified(|state| state.raise(generation));
        }
    }

    /// The log may have more than was published here: readers look.
    pub fn wake(&self, stream: &StreamId) {
        if let Some(state) = self.state(stream) {
            state.send_modify(|state| state.wakes += 1);
        }
    }

    /// The stream is forgotten, with this generation and all before it: its readers and listeners end.
    pub fn gone(&self, stream: &StreamId, generation: u64) {
        // Out of the map first: whoever joins from now on has a channel of its own.
        let channel = {
            let mut shard = self.shard(stream);
            let known = shard.get(stream).map(|channel| channel.state.borrow().generation);
            // Those of a newer generation stay.
            known.filter(|known| *known <= generation).and_then(|_| shard.remove(stream))
        };
        if let Some(channel) = channel {
            self.note(stream);
            channel.state.send_modify(|state| state.gone = true);
        }
    }

    /// Tells the producers that listen.
    pub fn signal(&self, stream: &StreamId, generation: u64, signal: Signal) {
        if let Some(channel) = self.shard(stream).get(stream) {
            channel.tell(generation, signal);
        }
    }

    /// Joins the readers of a stream whose newest known generation is `generation`. The first one is told to listeners.
    pub fn subscribe(self: &Arc<Self>, stream: &StreamId, generation: u64) -> Result<Subscription, TooMany> {
        let counted = Counted::new(&self.subscribers, self.config.subscribers_max)?;
        let mut shard = self.shard(stream);
        let channel = self.channel(&mut shard, stream);
        if channel.subscribers.len() >= self.config.subscribers_per_stream_max {
            return Err(TooMany::OnStream(self.config.subscribers_per_stream_max));
        }
        let number = self.places.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Arc::new(Place::new(number, generation, now_ms()));
        channel.subscribers.insert(number, Arc::clone(&place));
        channel.state.send_if_modified(|state| state.raise(generation));
        if channel.subscribers.len() == 1 {
            self.tell_presence(stream, channel, Signal::Ready);
        }
        counted.keep();
        let seat = Seat::subscriber(Arc::clone(self), stream.clone(), channel.id, number);
        Ok(Subscription::new(seat, place, channel.state.subscribe()))
    }

    /// Joins the producers that listen to a stream.
    pub fn listen(self: &Arc<Self>, stream: &StreamId) -> Result<Listener, TooMany> {
        let counted = Counted::new(&self.listeners, self.config.subscribers_max)?;
        let mut shard = self.shard(stream);
        let channel = self.channel(&mut shard, stream);
        if channel.listeners >= self.config.subscribers_per_stream_max {
            return Err(TooMany::OnStream(self.config.subscribers_per_stream_max));
        }
        channel.listeners += 1;
        if channel.listeners == 1 {
            self.note(stream);
        }
        let signals = channel.signals.get_or_insert_with(|| broadcast::Sender::new(SIGNALS_MAX)).subscribe();
        counted.keep();
        Ok(Listener::new(Arc::clone(self), stream.clone(), channel.id, signals, !channel.subscribers.is_empty()))
    }

    /// Readers on this host.
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Listeners on this host.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    /// Readers of one stream.
    pub fn subscribers_of(&self, stream: &StreamId) -> usize {
        self.shard(stream).get(stream).map_or(0, |channel| channel.subscribers.len())
    }

    /// The first reader came, or the last one left. Where there are other replicas, what they have counts as well.
    fn tell_presence(&self, stream: &StreamId, channel: &Channel, signal: Signal) {
        match self.config.shared {
            true => self.note(stream),
            false => channel.tell(channel.state.borrow().generation, signal),
        }
    }

    fn shard(&self, stream: &StreamId) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(stream);
        // Nothing panics under this lock and leaves a half-done change behind: a poisoned one is as good.
        self.shards[hash as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self, stream: &StreamId) -> Option<Arc<watch::Sender<State>>> {
        self.shard(stream).get(stream).map(|channel| Arc::clone(&channel.state))
    }

    /// The stream's channel, made where there is none.
    fn channel<'a>(&self, shard: &'a mut Shard, stream: &StreamId) -> &'a mut Channel {
        shard.entry(stream.clone()).or_insert_with(|| {
            let ring = Ring::new(self.config.ring_bytes_max);
            let state = State { generation: 0, ring, wakes: 0, gone: false };
            let id = self.channels.fetch_add(1, Ordering::Relaxed);
            Channel {
                id,
                state: Arc::new(watch::Sender::new(state)),
                signals: None,
                subscribers: BTreeMap::new(),
                listeners: 0,
            }
        })
    }

    /// One reader or listener less. The last one takes the channel along.
    fn leave(&self, stream: &StreamId, id: u64, subscriber: Option<u64>) {
        if subscriber.is_some() { &self.subscribers } else { &self.listeners }.fetch_sub(1, Ordering::Relaxed);
        let mut shard = self.shard(stream);
        let Some(channel) = shard.get_mut(stream).filter(|channel| channel.id == id) else { return };
        if let Some(number) = subscriber {
            channel.subscribers.remove(&number);
            if channel.subscribers.is_empty() {
                channel.state.send_if_modified(|state| {
                    state.ring.let_go();
                    false
                });
                self.tell_presence(stream, channel, Signal::SubscribersLeft);
            }
        } else {
            channel.listeners -= 1;
            if channel.listeners == 0 {
                self.note(stream);
            }
        }
        if channel.subscribers.is_empty() && channel.listeners == 0 {
            shard.remove(stream);
        }
    }
}

impl Channel {
    fn tell(&self, generation: u64, signal: Signal) {
        if let Some(signals) = &self.signals {
            // An error says that nobody listens.
            let _ = signals.send((generation, signal));
        }
    }
}
