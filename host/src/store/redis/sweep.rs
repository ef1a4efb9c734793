//! The sweep: forgets what is over, names what is idle, and keeps the index true to the rows.

use futures_util::future::join_all;
use redis::Value;

use super::RedisStore;
use super::index::{Due, Place};
use crate::store::StoreError;
use crate::types::StreamId;

/// Streams that one sweep looks at, whatever it was allowed.
const SWEEP_MAX: usize = 1_000;
/// An idle job that its caller could not settle is named again after this.
const NAMED_AGAIN_MS: u64 = 1_000;
/// Between two looks at some of what is not due.
const AUDIT_EVERY_MS: u64 = 1_000;

impl RedisStore {
    pub(super) async fn sweep_now(&self, now_ms: u64, limit: usize) -> Result<Vec<StreamId>, StoreError> {
        let due = self.index.due(&self.link, now_ms, limit.min(SWEEP_MAX)).await?;
        let visits = join_all(due.iter().map(|due| self.visit(due, now_ms))).await;
        let mut idle = Vec::new();
        for (due, visit) in due.iter().zip(visits) {
            match visit {
                Ok(named) => idle.extend(named),
                // One bad stream never stops a sweep; it comes again in some seconds.
                Err(error) => tracing::warn!(stream = %due.stream.escape_ascii(), %error, "sweep passed it over"),
            }
        }
        if let Err(error) = self.audit(now_ms).await {
            tracing::warn!(%error, "audit of the index failed: tried again");
        }
        Ok(idle)
    }

    /// Looks at a stream that is due, and either forgets it or puts it where it belongs. Its name when it is active and
    /// idle.
    async fn visit(&self, due: &Due, now_ms: u64) -> Result<Option<StreamId>, StoreError> {
        let Some(stream) = stream_of(due) else {
            self.index.gone(&self.link, now_ms, &due.stream, u64::MAX, &due.seen).await?;
            return Ok(None);
        };
        let Some(row) = self.row(&stream).await? else {
            self.index.gone(&self.link, now_ms, &due.stream, 0, &due.seen).await?;
            return Ok(None);
        };
        if row.is_expired(now_ms, self.lifetimes) {
            let (generation, script) = (row.job.generation, &self.scripts.remove);
            self.script(script, &stream, now_ms, &[format!("{generation} swept")]).await?;
            // Not gone when it was replaced, or told to stay, just now: then who did that has placed it.
            if self.command(redis::cmd("EXISTS").arg(self.keys.job(&stream))).await? == Value::Int(0) {
                self.index.gone(&self.link, now_ms, &due.stream, generation, &due.seen).await?;
            }
            return Ok(None);
        }
        let place = self.place_of(&row);
        let idle = place.due_ms <= now_ms;
        let due_ms = if idle { now_ms.saturating_add(NAMED_AGAIN_MS) } else { place.due_ms };
        self.index.place(&self.link, now_ms, &stream, &Place { due_ms, ..place }, &due.seen).await?;
        Ok(idle.then_some(stream))
    }

    /// Looks at a few streams that are not due, so that an index that was lost or tampered with becomes true again.
    async fn audit(&self, now_ms: u64) -> Result<(), StoreError> {
        let Ok(mut audit) = self.audit.try_lock() else { return Ok(()) };
        let (at, last_ms) = &mut *audit;
        if now_ms.saturating_sub(*last_ms) < AUDIT_EVERY_MS {
            return Ok(());
        }
        *last_ms = now_ms;
        let places = self.index.audit(&self.link, now_ms, at).await?;
        let looks = join_all(places.iter().map(|(due, whole)| self.look(due, *whole, now_ms))).await;
        looks.into_iter().collect()
    }

    /// Looks at a stream that need not be due. What is due is left to the next sweep.
    async fn look(&self, due: &Due, whole: bool, now_ms: u64) -> Result<(), StoreError> {
        let Some(stream) = stream_of(due) else {
            return self.index.gone(&self.link, now_ms, &due.stream, u64::MAX, &due.seen).await;
        };
        match self.row(&stream).await? {
            None => self.index.gone(&self.link, now_ms, &due.stream, 0, &due.seen).await,
            Some(row) if row.due_ms(self.lifetimes) <= now_ms => self.index.intend(&self.link, now_ms, &stream).await,
            Some(row) => {
                let place = self.place_of(&row);
                if whole && place.text().as_bytes() == due.seen {
                    return Ok(());
                }
                self.index.place(&self.link, now_ms, &stream, &place, &due.seen).await
            }
        }
    }
}

fn stream_of(due: &Due) -> Option<StreamId> {
    StreamId::parse(std::str::from_utf8(&due.stream).ok()?).ok()
}
