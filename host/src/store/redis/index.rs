//! The index: lists, counts, deadlines and admission, in one slot. Derived from the rows; repaired by the sweep.

use redis::{RedisResult, Value, from_redis_value};

use super::keys::Keys;
use super::link::Link;
use super::row::Lifetimes;
use super::script::Script;
use crate::store::{Query, StoreError};
use crate::types::{Status, StreamId};

/// Index keys outlive the rows they speak of by this.
const TTL_MORE_MS: u64 = 3_600_000;
/// Members of the index that one sweep checks beside the due ones.
const AUDIT_STEP: usize = 8;

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(include_str!("scripts/index.lua"), include_str!(concat!("scripts/", $name, ".lua"))))
    };
}

/// Where a stream stands in all lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) generation: u64,
    pub(super) revision: u64,
    pub(super) status: Status,
    pub(super) created_ms: u64,
    /// When to look at it again.
    pub(super) due_ms: u64,
    pub(super) user_id: String,
}

impl Place {
    /// `<gen> <rev> <status> <created> <due> <user>`
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ' ');
        let mut next = || parts.next();
        let (generation, revision) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let status = Status::parse(next()?)?;
        let (created_ms, due_ms) = (next()?.parse().ok()?, next()?.parse().ok()?);
        Some(Place { generation, revision, status, created_ms, due_ms, user_id: next()?.to_owned() })
    }

    /// As the index keeps it: `<gen> <rev> <status> <created> <user>`.
    pub(super) fn text(&self) -> String {
        let Place { generation, revision, status, created_ms, user_id, .. } = self;
        format!("{generation} {revision} {} {created_ms} {user_id}", status.as_str())
    }
}

/// What the sweep has taken in its hand.
#[derive(Debug)]
pub(super) struct Due {
    /// The member: a stream's name, or anything that somebody has put there.
    pub(super) stream: Vec<u8>,
    /// Its place then, as it is kept.
    pub(super) seen: Vec<u8>,
}

/// The index and its scripts.
pub(super) struct Index {
    places: String,
    ttl_ms: u64,
    admit: Script,
    intend: Script,
    place: Script,
    due: Script,
    page: Script,
    counts: Script,
    audit: Script,
}

impl Index {
    pub(super) fn new(keys: &Keys, lifetimes: Lifetimes) -> Self {
        let Lifetimes { idle_ms, idle_paused_ms, retention_ms } = lifetimes;
        Index {
            places: keys.index("places"),
            ttl_ms: 2 * idle_ms.max(idle_paused_ms) + retention_ms + TTL_MORE_MS,
            admit: script!("admit"),
            intend: script!("intend"),
            place: script!("place"),
            due: script!("due"),
            page: script!("page"),
            counts: script!("counts"),
            audit: script!("audit"),
        }
    }

    async fn run(&self, link: &Link, script: &Script, now_ms: u64, arguments: &[&[u8]]) -> Result<Value, StoreError> {
        let settings = format!("{now_ms} {}", self.ttl_ms);
        let mut all = vec![settings.as_bytes()];
        all.extend_from_slice(arguments);
        script.run(link, &[self.places.as_str()], &all).await.map_err(|error| link.refused(&error))
    }

    /// Keeps a place for a new active job, unless there are too many.
    pub(super) async fn admit(
        &self,
        link: &Link,
        now_ms: u64,
        stream: &StreamId,
        user_id: &str,
        [jobs_max, jobs_per_user_max]: [u64; 2],
    ) -> Result<(), StoreError> {
        let bounds = format!("{jobs_max} {jobs_per_user_max}");
        let answer = self
            .run(link, &self.admit, now_ms, &[bounds.as_bytes(), stream.as_str().as_bytes(), user_id.as_bytes()])
            .await?;
        match read::<String>(link, answer)?.as_str() {
            "H" => Err(StoreError::TooManyJobs { whose: "the store", jobs_max }),
            "U" => Err(StoreError::TooManyJobs { whose: "this user", jobs_max: jobs_per_user_max }),
            _ => Ok(()),
        }
    }

    /// Says that a status is about to change.
    pub(super) async fn intend(&self, link: &Link, now_ms: u64, stream: &StreamId) -> Result<(), StoreError> {
        self.run(link, &self.intend, now_ms, &[stream.as_str().as_bytes()]).await.map(drop)
    }

    /// Puts a stream where its row says. `seen`: see [`Due`]; empty when it was not taken by a sweep.
    pub(super) async fn place(
        &self,
        link: &Link,
        now_ms: u64,
        stream: &StreamId,
        place: &Place,
        seen: &[u8],
    ) -> Result<(), StoreError> {
        let (text, due) = (place.text(), place.due_ms.to_string());
        let arguments = [stream.as_str().as_bytes(), text.as_bytes(), due.as_bytes(), seen, b""];
        self.run(link, &self.place, now_ms, &arguments).await.map(drop)
    }

    /// Takes a stream off all lists, unless there is a newer generation.
    pub(super) async fn gone(
        &self,
        link: &Link,
        now_ms: u64,
        stream: &[u8],
        generation: u64,
        seen: &[u8],
    ) -> Result<(), StoreError> {
        let generation = generation.to_string();
        self.run(link, &self.place, now_ms, &[stream, b"", b"0", seen, generation.as_bytes()]).await.map(drop)
    }

    /// Takes the streams that are due into one's hand for some seconds.
    pub(super) async fn due(&self, link: &Link, now_ms: u64, limit: usize) -> Result<Vec<Due>, StoreError> {
        let answer = self.run(link, &self.due, now_ms, &[limit.to_string().as_bytes()]).await?;
        Ok(pairs(read(link, answer)?).map(|(stream, seen)| Due { stream, seen }).collect())
    }

    /// A page of a list: streams with `created_ms`, newest first; a member that is no stream is none.
    pub(super) async fn page(
        &self,
        link: &Link,
        now_ms: u64,
        query: &Query,
        limit: usize,
        after: Option<&(u64, Vec<u8>)>,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let status = query.status.map_or("any", Status::as_str);
        let list = match &query.user_id {
            None => format!("all:{status}"),
            Some(user_id) => format!("of:{status}:{user_id}"),
        };
        let (created, last) = after.map_or((String::new(), &[][..]), |(ms, id)| (ms.to_string(), id));
        let limit = limit.to_string();
        let arguments = [list.as_bytes(), limit.as_bytes(), created.as_bytes(), last];
        let answer = self.run(link, &self.page, now_ms, &arguments).await?;
        // Scores are doubles; a bogus one becomes a number that fits no row.
        let number = |text: Vec<u8>| String::from_utf8(text).ok()?.parse::<f64>().ok();
        let place = |(stream, score)| (number(score).unwrap_or(0.0) as u64, stream);
        Ok(pairs(read(link, answer)?).map(place).collect())
    }

    /// The sizes of lists.
    pub(super) async fn counts(&self, link: &Link, lists: &[String]) -> Result<Vec<u64>, StoreError> {
        let lists: Vec<_> = lists.iter().map(String::as_bytes).collect();
        let answer = self.run(link, &self.counts, 0, &lists).await?;
        read(link, answer)
    }

    /// Checks some members of the index. Some streams come back, to be compared with their rows, and whether they stand in
    /// all their lists; members of a list that have no place there are dropped.
    pub(super) async fn audit(&self, link: &Link, now_ms: u64, at: &mut Audit) -> Result<Vec<(Due, bool)>, StoreError> {
        const LISTS: [&str; 6] =
            ["all:any", "all:running", "all:requires_action", "all:complete", "all:error", "all:aborted"];
        let (list, step) = (LISTS[at.list % LISTS.len()], AUDIT_STEP.to_string());
        let answer =
            self.run(link, &self.audit, now_ms, &[list.as_bytes(), at.list_cursor.as_bytes(), step.as_bytes()]).await?;
        let (cursor, some): (String, Vec<Vec<u8>>) = read(link, answer)?;
        at.list_cursor = cursor;
        if at.list_cursor == "0" {
            at.list += 1;
        }
        let mut some = some.into_iter();
        Ok(std::iter::from_fn(|| {
            let due = Due { stream: some.next()?, seen: some.next()? };
            Some((due, some.next()? == b"1"))
        })
        .collect())
    }
}

/// How far the audit has come.
#[derive(Debug)]
pub(super) struct Audit {
    list: usize,
    list_cursor: String,
}

impl Default for Audit {
    fn default() -> Self {
        Audit { list: 0, list_cursor: "0".to_owned() }
    }
}

fn pairs(texts: Vec<Vec<u8>>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let mut texts = texts.into_iter();
    std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
}

fn read<T: redis::FromRedisValue>(link: &Link, value: Value) -> Result<T, StoreError> {
    let read: RedisResult<T> = from_redis_value(value).map_err(Into::into);
    read.map_err(|error| link.refused(&error))
}
