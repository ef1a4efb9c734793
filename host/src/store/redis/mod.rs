//! The store in Redis: one server, a Cluster, or the master that Sentinels name. What the keys hold and what may be done
//! to them stands in `scripts/*.lua`: they are the contract with hosts in other languages.
//!
//! The rows and logs are the truth. The index (lists, counts, deadlines) lives in another slot and follows them: a write
//! that changes a status first says so there, then writes the row, then places it; what a crash leaves in between
//! is put right by the sweep.

mod answer;
mod check;
mod columns;
mod commit;
pub(crate) mod entry;
mod groups;
mod index;
pub(crate) mod keys;
pub(crate) mod link;
mod message;
mod row;
pub(crate) mod script;
mod store;
mod sweep;
mod target;
#[cfg(test)]
mod tests;
mod tickets;
mod wakes;

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::Mutex;

use crate::store::memory::Clock;
use crate::store::{StoreError, Written};
use crate::types::{self, StreamId};

use answer::Answer;
use commit::{Appender, Committer};
use index::{Audit, Index, Place};
use keys::Keys;
use link::Link;
use row::{Lifetimes, Row};
use script::Script;
use wakes::RedisWakes;

pub use check::StartError;
pub use target::RedisTarget;

/// Times beyond this would not be exact in a script.
const MS_MAX: u64 = 1 << 48;

/// Where the store is, how long it keeps what, and how much of it.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Which Redis.
    pub target: RedisTarget,
    /// What all keys begin with. Without braces.
    pub prefix: String,
    /// A running job without an append for this long is named by `sweep`.
    pub idle: Duration,
    /// A job that waits for a person is named after this.
    pub idle_paused: Duration,
    /// A settled job is forgotten after this.
    pub retention: Duration,
    /// Active jobs in the whole store.
    pub jobs_max: u64,
    /// Active jobs of one user.
    pub jobs_per_user_max: u64,
}

/// Keeps streams in Redis.
pub struct RedisStore {
    link: Arc<Link>,
    keys: Keys,
    clock: Clock,
    lifetimes: Lifetimes,
    jobs_max: [u64; 2],
    index: Index,
    audit: Mutex<(Audit, u64)>,
    scripts: Scripts,
    appender: Arc<Appender>,
    /// None on a Cluster: there each append goes its own way.
    committer: Option<Committer>,
    wakes: RedisWakes,
}

/// Those of one stream, but for the append.
struct Scripts {
    create: Script,
    rescue: Script,
    read: Script,
    checkpoint: Script,
    remove: Script,
    expire: Script,
    groups: Script,
    ticket: Script,
}

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(include_str!("scripts/stream.lua"), include_str!(concat!("scripts/", $name, ".lua"))))
    };
}

impl RedisStore {
    /// Connects, and checks that this Redis will do.
    ///
    /// Errors: one line that says what to do.
    pub async fn connect(config: RedisConfig) -> Result<Self, StartError> {
        Self::with_clock(config, Arc::new(types::now_ms)).await
    }

    /// With a clock of one's own. It is asked only where a method is given no time.
    pub async fn with_clock(config: RedisConfig, clock: Clock) -> Result<Self, StartError> {
        let link = Arc::new(check::link(&config.target).await?);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(MS_MAX).min(MS_MAX);
        let lifetimes = Lifetimes {
            idle_ms: ms(config.idle),
            idle_paused_ms: ms(config.idle_paused),
            retention_ms: ms(config.retention),
        };
        // Channels know of no database: streams of the same name in two of them would hear one another.
        let keys = match config.target.db() {
            0 => Keys::new(&config.prefix),
            db => Keys::new(&format!("{}.{db}", config.prefix)),
        };
        let appender = Arc::new(Appender::new(link.clone(), &keys, &settings(lifetimes, link.is_cluster())));
        let committer = (!link.is_cluster()).then(|| Committer::start(appender.clone()));
        let wakes = RedisWakes::start(link.clone(), keys.clone(), clock.clone());
        Ok(RedisStore {
            wakes,
            index: Index::new(&keys, lifetimes),
            link,
            keys,
            clock,
            lifetimes,
            jobs_max: [config.jobs_max, config.jobs_per_user_max],
            audit: Mutex::default(),
            scripts: Scripts {
                create: script!("create"),
                rescue: script!("rescue"),
                read: script!("read"),
                checkpoint: script!("checkpoint"),
                remove: script!("remove"),
                expire: script!("expire"),
                groups: script!("groups"),
                ticket: script!("ticket"),
            },
            appender,
            committer,
        })
    }

    /// Commands that have carried appends.
    pub fn commits(&self) -> u64 {
        self.appender.groups()
    }

    async fn command(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.link.run(command).await.map_err(|error| self.link.refused(&error))
    }

    /// Runs a script of one stream.
    async fn script<A: redis::ToRedisArgs>(
        &self,
        script: &Script,
        stream: &StreamId,
        now_ms: u64,
        arguments: &[A],
    ) -> Result<Value, StoreError> {
        let settings = format!("{now_ms} {}", settings(self.lifetimes, self.link.is_cluster()));
        let answer = script.run(&self.link, &[self.keys.job(stream)], (settings, arguments)).await;
        answer.map_err(|error| self.link.refused(&error))
    }

    /// The row, also of a generation whose retention is over; none when it is damaged.
    async fn row(&self, stream: &StreamId) -> Result<Option<Row>, StoreError> {
        let key = self.keys.job(stream);
        let value = match self.link.run(redis::cmd("HGETALL").arg(&key)).await {
            Ok(value) => value,
            Err(error) if error.code() == Some("WRONGTYPE") => Value::Nil,
            Err(error) => return Err(self.link.refused(&error)),
        };
        let there = matches!(&value, Value::Map(columns) if !columns.is_empty());
        let row = Row::read(value);
        if there && row.is_none() {
            tracing::warn!(%stream, "row is damaged: the stream counts as unknown");
        }
        Ok(row)
    }

    /// The end of each write: what the script said, and the index told of it.
    async fn finish(
        &self,
        stream: &StreamId,
        now_ms: u64,
        answer: Answer,
        must_place: bool,
    ) -> Result<Written, StoreError> {
        match answer {
            Answer::Failed(why) => Err(self.link.failed(why)),
            Answer::Written(written, place) => {
                let placed = match place {
                    Some(place) => self.index.place(&self.link, now_ms, stream, &place, b"").await,
                    None if must_place => self.replace(stream, now_ms).await,
                    None => Ok(()),
                };
                // The row is the truth; the intent makes the sweep place it within seconds.
                if let Err(error) = placed {
                    tracing::warn!(%stream, %error, "index not told: the sweep will");
                }
                Ok(written)
            }
        }
    }

    /// Reads the row and puts it where it belongs.
    async fn replace(&self, stream: &StreamId, now_ms: u64) -> Result<(), StoreError> {
        match self.row(stream).await? {
            Some(row) => self.index.place(&self.link, now_ms, stream, &self.place_of(&row), b"").await,
            None => self.index.gone(&self.link, now_ms, stream.as_str().as_bytes(), 0, b"").await,
        }
    }

    fn place_of(&self, row: &Row) -> Place {
        Place {
            generation: row.job.generation,
            revision: row.job.revision,
            status: row.job.status,
            created_ms: row.job.created_ms,
            due_ms: row.due_ms(self.lifetimes),
            user_id: row.job.user_id.clone(),
        }
    }
}

/// What follows the time in the first argument of the scripts of a stream.
fn settings(lifetimes: Lifetimes, is_cluster: bool) -> String {
    let Lifetimes { idle_ms, idle_paused_ms, retention_ms } = lifetimes;
    let publish = if is_cluster { "SPUBLISH" } else { "PUBLISH" };
    format!("{idle_ms} {idle_paused_ms} {retention_ms} {publish}")
}
