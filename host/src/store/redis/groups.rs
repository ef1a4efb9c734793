//! Consumer groups in Redis: those of its streams, which go with the log. See `scripts/groups.lua`.
//!
//! What was given out while the answer was lost comes again, like what a consumer got and then died.

use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::{FromRedisValue, Value, from_redis_value};

use super::{RedisStore, entry};
use crate::store::groups::GROUPS_MAX;
use crate::store::{GroupKey, Groups, NewGroup, Pending, StoreError, Unseen};
use crate::types::Cursor;

/// Numbers that go through Lua stay exact up to here.
const NUMBER_MAX: u64 = 1 << 53;
/// Ids that are acknowledged by one command.
const IDS_MAX: usize = 1000;

impl RedisStore {
    async fn group<T: FromRedisValue>(&self, what: &str, key: GroupKey<'_>, more: &[String]) -> Result<T, StoreError> {
        let generation = key.generation.map(|generation| generation.to_string()).unwrap_or_default();
        let mut arguments = vec![what, key.name, &generation];
        arguments.extend(more.iter().map(String::as_str));
        let answer = self.script(&self.scripts.groups, key.stream, (self.clock)(), &arguments).await?;
        from_redis_value(answer).map_err(|error| StoreError::Unavailable(format!("groups.lua {what}: {error}")))
    }

    async fn make(&self, key: GroupKey<'_>, from_start: bool) -> Result<NewGroup, StoreError> {
        let from = if from_start { "start" } else { "now" };
        let answer: String = self.group("make", key, &[from.to_owned(), GROUPS_MAX.to_string()]).await?;
        Ok(match answer.as_str() {
            "M" => NewGroup::Made,
            "X" => NewGroup::Existed,
            "F" => NewGroup::TooMany,
            _ => NewGroup::NotFound,
        })
    }

    async fn give(
        &self,
        key: GroupKey<'_>,
        consumer: &str,
        count: usize,
        bytes_max: usize,
        redeliver_after: Duration,
    ) -> Result<Unseen, StoreError> {
        let (count, bytes_max) = (number(count), number(bytes_max));
        let after_ms = u64::try_from(redeliver_after.as_millis()).unwrap_or(u64::MAX).min(NUMBER_MAX);
        let how = format!("{count} {bytes_max} {after_ms}");
        let given: Vec<Value> = self.group("read", key, &[how, consumer.to_owned()]).await?;
        let (mut entries, mut malformed) = (Vec::with_capacity(given.len()), Vec::new());
        for (id, entry) in given.into_iter().filter_map(entry::read) {
            match entry {
                Some(entry) => entries.push(entry),
                None => malformed.push(id),
            }
        }
        // Nobody could do anything with them, and they would come again for ever.
        if !malformed.is_empty()
            && let Err(error) = self.acknowledge(key, &malformed).await
        {
            tracing::warn!(%error, "malformed entries could not be acknowledged: they will come again");
        }
        Ok(Unseen { entries, malformed: malformed.len() as u64 })
    }

    async fn held(&self, key: GroupKey<'_>, limit: usize) -> Result<Vec<Pending>, StoreError> {
        let held: Vec<(String, String, u64, u64)> = self.group("list", key, &[number(limit).to_string()]).await?;
        let pending = held.into_iter().filter_map(|(id, consumer, idle_ms, deliveries)| {
            let id = Cursor::parse(&id)?;
            Some(Pending { id, consumer, idle: Duration::from_millis(idle_ms), deliveries })
        });
        Ok(pending.collect())
    }

    async fn done_with(&self, key: GroupKey<'_>, ids: &[Cursor]) -> Result<u64, StoreError> {
        let mut acknowledged = 0;
        for ids in ids.chunks(IDS_MAX) {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            acknowledged += self.group::<u64>("ack", key, &ids).await?;
        }
        Ok(acknowledged)
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX).min(NUMBER_MAX)
}

impl Groups for RedisStore {
    fn create_group<'a>(
        &'a self,
        group: GroupKey<'a>,
        from_start: bool,
    ) -> BoxFuture<'a, Result<NewGroup, StoreError>> {
        Box::pin(self.make(group, from_start))
    }

    fn delete_group<'a>(&'a self, group: GroupKey<'a>) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { Ok(self.group::<u64>("delete", group, &[]).await? > 0) })
    }

    fn read_group<'a>(
        &'a self,
        group: GroupKey<'a>,
        consumer: &'a str,
        count: usize,
        bytes_max: usize,
        redeliver_after: Duration,
    ) -> BoxFuture<'a, Result<Unseen, StoreError>> {
        Box::pin(self.give(group, consumer, count, bytes_max, redeliver_after))
    }

    fn pending<'a>(&'a self, group: GroupKey<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<Pending>, StoreError>> {
        Box::pin(self.held(group, limit))
    }

    fn acknowledge<'a>(&'a self, group: GroupKey<'a>, ids: &'a [Cursor]) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(self.done_with(group, ids))
    }
}
