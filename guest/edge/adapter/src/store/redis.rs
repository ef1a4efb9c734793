//! The commands of the store. What the keys hold and what may be done to them stands in the scripts, which are the
//! server's own: so both serve the same streams.

use serde_json::Value;
use sha1_smol::Sha1;

use super::columns::{base36, columns, ticket as ticket_text};
use super::keys::Keys;
use super::rest::{self, Answer};
use super::row::{self, Row};
use super::{Append, Page, StoreError, Ticket, Written};
use crate::config::{Config, Endpoint, Lifetimes};
use crate::types::{Cursor, Entry, Job, Status, StreamId};
use crate::wasi::now_ms;

/// Index keys outlive the rows they speak of by this.
const TTL_MORE_MS: u64 = 3_600_000;
/// Times beyond this would not be exact in a script.
const MS_MAX: u64 = 1 << 48;

/// Each script is what its part shares, and itself: as the server puts them together.
macro_rules! script {
    ($part:literal, $name:literal) => {
        concat!(
            include_str!(concat!("../../../../../host/src/store/redis/scripts/", $part, ".lua")),
            include_str!(concat!("../../../../../host/src/store/redis/scripts/", $name, ".lua"))
        )
    };
}

const CREATE: &str = script!("stream", "create");
const APPEND: &str = script!("stream", "append");
/// The same, allowed to use memory that there is none of: a full store must let generations end.
const ENDING: &str = concat!("#!lua flags=allow-oom\n", script!("stream", "append"));
/// Its answer is lists in lists, which Webdis leaves out: so it comes as text.
const READ: &str = concat!("return cjson.encode((function()\n", script!("stream", "read"), "\nend)())");
const CHECKPOINT: &str = script!("stream", "checkpoint");
const REMOVE: &str = script!("stream", "remove");
const EXPIRE: &str = script!("stream", "expire");
const ADMIT: &str = script!("index", "admit");
const INTEND: &str = script!("index", "intend");
const PLACE: &str = script!("index", "place");

/// Streams in a Redis behind HTTP.
pub(crate) struct Redis {
    endpoint: Endpoint,
    keys: Keys,
    lifetimes: Lifetimes,
    jobs_max: [u64; 2],
}

impl Redis {
    pub(crate) fn new(config: &Config) -> Self {
        Redis {
            endpoint: config.endpoint.clone(),
            keys: Keys::new(&config.prefix),
            lifetimes: config.lifetimes,
            jobs_max: config.jobs_max,
        }
    }

    /// Whether it can be reached now.
    pub(crate) async fn ready(&self) -> Result<(), StoreError> {
        self.command(&["EXISTS", &self.keys.index("places")]).await.map(drop)
    }

    /// The row of a stream; none when it is unknown, damaged, or its retention is over.
    pub(crate) async fn row(&self, stream: &StreamId) -> Result<Option<Row>, StoreError> {
        let row = Row::read(self.command(&["HGETALL", &self.keys.job(stream)]).await?);
        Ok(row.filter(|row| !row.is_expired(now_ms(), self.lifetimes)))
    }

    /// When this job is timed out, if nothing comes.
    pub(crate) fn due_ms(&self, row: &Row) -> u64 {
        row.due_ms(self.lifetimes)
    }

    /// Replaces the row by `job` with an empty log, if the generation is still `previous`.
    pub(crate) async fn create(
        &self,
        stream: &StreamId,
        ticket: Ticket,
        previous: u64,
        job: &Job,
    ) -> Result<Written, StoreError> {
        let now = now_ms();
        let job = Job { head: 0, revision: 1, ..job.clone() };
        if let Err(full) = self.admit(now, stream, &job.user_id).await {
            // The index may be behind: the row says whether it is a repeat, a refusal, or takes an active job's place.
            let row = self.row(stream).await?;
            let current = row.as_ref().map_or(0, |row| row.job.generation);
            let takes_over = row.is_some_and(|row| !row.job.status.is_terminal());
            if current == previous && !takes_over {
                return Err(full);
            }
        }
        let mut arguments = vec![format!("{} {previous} {}", job.generation, ticket_text(ticket))];
        arguments.extend(columns(&job));
        let answer = self.script(CREATE, stream, now, &arguments).await?;
        self.finish(stream, now, &answer, true).await
    }

    /// Writes to the log and the row, all or nothing.
    pub(crate) async fn append(&self, stream: &StreamId, append: &Append) -> Result<Written, StoreError> {
        let now = now_ms();
        let changes = append.status.is_some_and(|status| status != append.expected_status);
        if changes {
            self.index(INTEND, now, &[stream.as_str()]).await?;
        }
        let script = if append.status.is_some_and(Status::is_terminal) { ENDING } else { APPEND };
        let answer = self.script(script, stream, now, &append_arguments(append, now)).await?;
        let answer = answer.get(0).cloned().unwrap_or_default();
        // The first attempt of a repeat may have ended before the index was told.
        self.finish(stream, now, &answer, changes).await
    }

    /// The latest checkpoint of that generation.
    pub(crate) async fn checkpoint(
        &self,
        stream: &StreamId,
        generation: u64,
    ) -> Result<Option<(Cursor, String)>, StoreError> {
        let kept = self.command(&["HMGET", &self.keys.checkpoint(stream), "at", "state"]).await?;
        let at = kept.get(0).and_then(Value::as_str).and_then(Cursor::parse);
        let state = kept.get(1).and_then(Value::as_str).map(str::to_owned);
        Ok(at.filter(|at| at.generation == generation).zip(state))
    }

    /// Keeps a checkpoint if its generation is current and it covers more than the one before.
    pub(crate) async fn put_checkpoint(&self, stream: &StreamId, at: Cursor, state: String) -> Result<(), StoreError> {
        let arguments = [format!("{} {}", at.generation, at.sequence), state];
        self.script(CHECKPOINT, stream, now_ms(), &arguments).await.map(drop)
    }

    /// The log strictly after `after`, about `bytes_max` bytes but at least one entry where there is one.
    pub(crate) async fn read(&self, stream: &StreamId, after: Cursor, bytes_max: usize) -> Result<Page, StoreError> {
        let mut from = after.sequence;
        loop {
            let range = format!("{} {from} {bytes_max}", after.generation);
            let answer = self.script(READ, stream, now_ms(), &[range]).await?;
            let (page, last) = page(&answer).ok_or_else(|| unexpected("read"))?;
            match last {
                // Damaged entries alone are not the end of the log.
                Some(last) if page == Page::Entries(Vec::new()) => from = last.sequence,
                _ => return Ok(page),
            }
        }
    }

    /// Forgets a stream if it still has this generation. True when it did.
    pub(crate) async fn remove(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        let now = now_ms();
        self.index(INTEND, now, &[stream.as_str()]).await?;
        let removed = self.script(REMOVE, stream, now, &[format!("{generation} asked")]).await?;
        // In any case: a repeat finds no row, and the index may not have heard of the first attempt.
        match self.row(stream).await? {
            Some(row) => self.place_row(stream, now, &row).await?,
            None => self.index(PLACE, now, &[stream.as_str(), "", "0", "", &generation.to_string()]).await.map(drop)?,
        }
        Ok(removed == 1)
    }

    /// Forgets a settled generation at `expires_ms` instead of after the usual retention.
    pub(crate) async fn expire_at(
        &self,
        stream: &StreamId,
        generation: u64,
        expires_ms: u64,
    ) -> Result<(), StoreError> {
        let now = now_ms();
        self.index(INTEND, now, &[stream.as_str()]).await?;
        let answer = self.script(EXPIRE, stream, now, &[format!("{generation} {}", expires_ms.min(MS_MAX))]).await?;
        self.finish(stream, now, &answer, false).await.map(drop)
    }

    /// Tells the listeners of servers on the same store that a person answered. The answer stands in the log.
    pub(crate) async fn resolved(&self, stream: &StreamId, generation: u64, answer: &str) -> Result<(), StoreError> {
        let message = format!("r {generation} edge\n{answer}");
        self.command(&["PUBLISH", &self.keys.wake(stream), &message]).await.map(drop)
    }

    async fn admit(&self, now: u64, stream: &StreamId, user_id: &str) -> Result<(), StoreError> {
        let [jobs_max, of_user_max] = self.jobs_max;
        let bounds = format!("{jobs_max} {of_user_max}");
        match self.index(ADMIT, now, &[&bounds, stream.as_str(), user_id]).await?.as_str() {
            Some("H") => Err(StoreError::TooManyJobs { whose: "the store", jobs_max }),
            Some("U") => Err(StoreError::TooManyJobs { whose: "this user", jobs_max: of_user_max }),
            _ => Ok(()),
        }
    }

    /// The end of each write: what the script said, and the index told of it.
    async fn finish(
        &self,
        stream: &StreamId,
        now: u64,
        answer: &Value,
        must_place: bool,
    ) -> Result<Written, StoreError> {
        let text = answer.as_str().unwrap_or_default();
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let broken = || StoreError::Unavailable(format!("a script answered {text:?}"));
        match kind {
            "P" => {
                // `<gen> <rev> <status> <created> <due> <user>`: the due time is told apart.
                let words: Vec<_> = rest.splitn(6, ' ').collect();
                let [generation, revision, status, created, due, user] = words[..] else { return Err(broken()) };
                let place = format!("{generation} {revision} {status} {created} {user}");
                // The row is the truth: what the index was not told, the sweep of a server puts right.
                let _ = self.index(PLACE, now, &[stream.as_str(), &place, due, "", ""]).await;
                Ok(Written::Accepted)
            }
            "A" => {
                if must_place && let Ok(Some(row)) = self.row(stream).await {
                    let _ = self.place_row(stream, now, &row).await;
                }
                Ok(Written::Accepted)
            }
            "N" => Ok(Written::NotFound),
            "G" => rest.parse().map(Written::GenerationReplaced).map_err(|_| broken()),
            "T" => Status::parse(rest).map(Written::NotActive).ok_or_else(broken),
            "B" => Ok(Written::Behind),
            "H" => Ok(Written::Ahead),
            "E" => Err(refused(rest)),
            _ => Err(broken()),
        }
    }

    async fn place_row(&self, stream: &StreamId, now: u64, row: &Row) -> Result<(), StoreError> {
        let Job { generation, revision, status, created_ms, user_id, .. } = &row.job;
        let place = format!("{generation} {revision} {} {created_ms} {user_id}", status.as_str());
        self.index(PLACE, now, &[stream.as_str(), &place, &self.due_ms(row).to_string(), "", ""]).await.map(drop)
    }

    async fn script(&self, text: &str, stream: &StreamId, now: u64, arguments: &[String]) -> Result<Value, StoreError> {
        let Lifetimes { idle_ms, idle_paused_ms, retention_ms } = self.lifetimes;
        let settings = format!("{now} {idle_ms} {idle_paused_ms} {retention_ms} PUBLISH");
        let mut all = vec![settings.as_str()];
        all.extend(arguments.iter().map(String::as_str));
        self.eval(text, &self.keys.job(stream), &all).await
    }

    async fn index(&self, text: &str, now: u64, arguments: &[&str]) -> Result<Value, StoreError> {
        let Lifetimes { idle_ms, idle_paused_ms, retention_ms } = self.lifetimes;
        let settings = format!("{now} {}", 2 * idle_ms.max(idle_paused_ms) + retention_ms + TTL_MORE_MS);
        let mut all = vec![settings.as_str()];
        all.extend_from_slice(arguments);
        self.eval(text, &self.keys.index("places"), &all).await
    }

    /// By its hash; whole when the server does not know it (any more): then it was not begun.
    async fn eval(&self, text: &str, key: &str, arguments: &[&str]) -> Result<Value, StoreError> {
        let hash = Sha1::from(text).digest().to_string();
        for [command, script] in [["EVALSHA", hash.as_str()], ["EVAL", text]] {
            let mut words = vec![command, script, "1", key];
            words.extend_from_slice(arguments);
            match rest::command(&self.endpoint, &words).await? {
                Answer::Refused(said) if command == "EVALSHA" && said.contains("NOSCRIPT") => {}
                Answer::Refused(said) => return Err(refused(&said)),
                Answer::Value(value) => return Ok(value),
            }
        }
        Err(unexpected("EVAL"))
    }

    async fn command(&self, words: &[&str]) -> Result<Value, StoreError> {
        match rest::command(&self.endpoint, words).await? {
            Answer::Value(value) => Ok(value),
            // What is no hash is no row.
            Answer::Refused(said) if said.starts_with("WRONGTYPE") => Ok(Value::Null),
            Answer::Refused(said) => Err(refused(&said)),
        }
    }
}

fn refused(said: &str) -> StoreError {
    if said.contains("OOM") {
        return StoreError::Full { bytes_max: 0 };
    }
    // The first words say what it is; what follows may quote what was sent.
    StoreError::Unavailable(said.chars().take(200).collect())
}

fn unexpected(what: &str) -> StoreError {
    StoreError::Unavailable(format!("Redis answered something unexpected to {what}"))
}

/// One append as `append.lua` reads it.
fn append_arguments(append: &Append, now: u64) -> Vec<String> {
    let Append { first, entry, .. } = append;
    let later = |at: usize, name: &str| append.fields[at + 1..].iter().any(|(other, _)| other == name);
    let fields: Vec<_> = append.fields.iter().enumerate().filter(|(at, (name, _))| !later(*at, name)).collect();
    let statuses: String = std::iter::once(append.expected_status).chain(append.status).map(letter).collect();
    let (count, lines) = entry.as_ref().map_or((0, &[][..]), |entry| (entry.count, &entry.lines[..]));
    let header = [
        row::difference(now, first.generation),
        base36(first.sequence),
        base36(count),
        ticket_text(append.ticket),
        row::difference(append.expected_revision, first.sequence),
        statuses,
        "0".to_owned(),
        fields.len().to_string(),
        entry.as_ref().map(row::kinds_text).unwrap_or_default(),
    ];
    let mut arguments = vec![format!("{}\n{}", header.join(" "), String::from_utf8_lossy(lines))];
    for (_, (name, value)) in fields {
        arguments.extend([name.clone(), value.clone()]);
    }
    arguments
}

fn letter(status: Status) -> char {
    match status {
        Status::Running => 'r',
        Status::RequiresAction => 'p',
        Status::Complete => 'c',
        Status::Error => 'e',
        Status::Aborted => 'a',
    }
}

/// A page out of `read.lua`'s answer, with where it ends.
fn page(answer: &Value) -> Option<(Page, Option<Cursor>)> {
    let answer: Value = serde_json::from_str(answer.as_str()?).ok()?;
    // To Lua an empty list is an object.
    let parts = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    let [generation, head, rest @ ..] = parts else {
        return parts.is_empty().then_some((Page::Gone, None));
    };
    let number = |value: &Value| value.as_str()?.parse::<u64>().ok();
    let end = Cursor { generation: number(generation)?, sequence: number(head)? };
    let [_, found @ ..] = rest else { return Some((Page::Reset(end), None)) };
    let (mut entries, mut last) = (Vec::<Entry>::new(), None);
    for (at, entry) in found.iter().filter_map(row::entry) {
        last = Some(at);
        entries.extend(entry);
    }
    Some((Page::Entries(entries), last))
}
