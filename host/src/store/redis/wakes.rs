//! How replicas hear of one another through Redis: a channel for each followed stream, and who has readers.
//!
//! The keeper owns the connection that listens: it makes a new one when it is lost, subscribes to all that is followed,
//! and then says [`Wake::Lost`]. On a Cluster the connection heals its nodes by itself; the keeper subscribes again all the
//! same, since a slot that moves takes its subscriptions along.

mod inbox;
mod keeper;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use redis::{Value, from_redis_value};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use self::inbox::Inbox;
use self::keeper::{Ear, Keeper};
use super::MS_MAX;
use super::keys::Keys;
use super::link::Link;
use super::message;
use super::script::Script;
use crate::store::memory::Clock;
use crate::store::wakes::PRESENCE_EVERY;
use crate::store::{StoreError, Wake, Wakes};
use crate::types::StreamId;

/// Whoever follows while there is no connection waits this long for one.
const EAR_WAIT_MAX: Duration = Duration::from_secs(1);

/// The channels of one replica.
pub(super) struct RedisWakes {
    link: Arc<Link>,
    keys: Keys,
    clock: Clock,
    /// Tells this process from all others.
    replica: Arc<str>,
    followed: Arc<Mutex<HashSet<String>>>,
    inbox: Arc<Inbox>,
    ear: watch::Receiver<Option<Ear>>,
    keeper: JoinHandle<()>,
    presence: Script,
    resolved: Script,
}

impl RedisWakes {
    /// Starts to listen; nothing is followed yet.
    pub(super) fn start(link: Arc<Link>, keys: Keys, clock: Clock) -> Self {
        // Keyed by the randomness of the system: two processes never have the same.
        let replica: Arc<str> = format!("{:016x}", RandomState::new().hash_one(0)).into();
        let followed = Arc::<Mutex<HashSet<String>>>::default();
        let inbox = Arc::new(Inbox::new(keys.clone(), replica.clone(), followed.clone()));
        let (up, ear) = watch::channel(None);
        let keeper = Keeper { link: link.clone(), followed: followed.clone(), inbox: inbox.clone(), up };
        RedisWakes {
            link,
            keys,
            clock,
            replica,
            followed,
            inbox,
            ear,
            keeper: tokio::spawn(keeper.run()),
            presence: Script::new(include_str!("scripts/presence.lua")),
            resolved: Script::new(include_str!("scripts/resolved.lua")),
        }
    }

    fn publish(&self) -> &'static str {
        if self.link.is_cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    async fn ear(&self) -> Result<Ear, StoreError> {
        let mut ear = self.ear.clone();
        let up = timeout(EAR_WAIT_MAX, ear.wait_for(Option::is_some)).await;
        let found = up.ok().and_then(Result::ok).and_then(|ear| ear.clone());
        found.ok_or_else(|| StoreError::Unavailable("nothing is heard of Redis".to_owned()))
    }

    async fn follow_now(&self, streams: &[StreamId]) -> Result<(), StoreError> {
        let channels: Vec<_> = streams.iter().map(|stream| self.keys.wake(stream)).collect();
        // First, so that a connection that is made meanwhile has them.
        lock(&self.followed).extend(channels.iter().cloned());
        self.ear().await?.subscribe(&channels).await.map_err(|error| self.link.refused(&error))
    }

    async fn unfollow_now(&self, streams: &[StreamId]) -> Result<(), StoreError> {
        let channels: Vec<_> = streams.iter().map(|stream| self.keys.wake(stream)).collect();
        {
            let mut followed = lock(&self.followed);
            for channel in &channels {
                followed.remove(channel);
            }
        }
        let ear = self.ear.borrow().clone();
        // A connection that is lost follows nothing; the next one follows only what is still wanted.
        match ear {
            Some(mut ear) => ear.unsubscribe(&channels).await.map_err(|error| self.link.refused(&error)),
            None => Ok(()),
        }
    }

    /// What `scripts/presence.lua` says of each stream: in one call, on a Cluster in one for each.
    async fn present(&self, streams: &[(&StreamId, &str)]) -> Result<Vec<bool>, StoreError> {
        let size = if self.link.is_cluster() { 1 } else { streams.len().max(1) };
        let answers = join_all(streams.chunks(size).map(|streams| self.present_at_once(streams.to_vec()))).await;
        Ok(answers.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
    }

    async fn present_at_once(&self, streams: Vec<(&StreamId, &str)>) -> Result<Vec<bool>, StoreError> {
        let now_ms = (self.clock)().min(MS_MAX);
        let until_ms = now_ms + 3 * PRESENCE_EVERY.as_secs() * 1000;
        let settings = format!("{now_ms} {until_ms} {}", self.publish());
        let keys: Vec<_> = streams.iter().map(|(stream, _)| self.keys.present(stream)).collect();
        let mut arguments = vec![settings.as_str(), &self.replica];
        arguments.extend(streams.iter().map(|(_, what)| *what));
        let answer = self.presence.run(&self.link, &keys, &arguments).await;
        let answer = answer.map_err(|error| self.link.refused(&error))?;
        let any: Vec<u8> = match answer {
            Value::Array(any) => any.into_iter().filter_map(|one| from_redis_value(one).ok()).collect(),
            _ => Vec::new(),
        };
        match any.len() == streams.len() {
            true => Ok(any.into_iter().map(|any| any == 1).collect()),
            false => Err(StoreError::Unavailable("Redis answered something unexpected to presence".to_owned())),
        }
    }
}

impl Wakes for RedisWakes {
    fn follow<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.follow_now(streams))
    }

    fn unfollow<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.unfollow_now(streams))
    }

    fn next(&self) -> BoxFuture<'_, (Wake, Instant)> {
        Box::pin(self.inbox.next())
    }

    fn resolved<'a>(
        &'a self,
        stream: &'a StreamId,
        generation: u64,
        answer: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let message = message::resolved(generation, &self.replica, answer);
            let told = self.resolved.run(&self.link, &[self.keys.wake(stream)], &[self.publish(), &message]).await;
            told.map(drop).map_err(|error| self.link.refused(&error))
        })
    }

    fn presence<'a>(&'a self, here: &'a [(StreamId, bool)]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        let streams: Vec<_> = here.iter().map(|(stream, readers)| (stream, if *readers { "1" } else { "0" })).collect();
        Box::pin(async move { self.present(&streams).await })
    }

    fn readers<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        let streams: Vec<_> = streams.iter().map(|stream| (stream, "?")).collect();
        Box::pin(async move { self.present(&streams).await })
    }
}

impl Drop for RedisWakes {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
