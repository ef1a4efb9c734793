//! [`Store`] for [`RedisStore`].

use std::time::Duration;

use futures_util::future::{BoxFuture, join, join_all};
use redis::{Value, from_redis_value};

use super::answer::Answer;
use super::{MS_MAX, RedisStore, columns, entry, row};
use crate::store::{Append, Head, NewTicket, Page, Query, Rescue, Store, StoreError, Ticket, Wakes, Written};
use crate::types::{Cursor, Entry, Job, StreamId};

/// Whoever asks whether the store is there does not want to wait for a time-out.
const READY_MAX: Duration = Duration::from_millis(500);
/// Rows a list asks for at once.
const LIST_STEP: usize = 100;

impl RedisStore {
    async fn create_now(
        &self,
        stream: &StreamId,
        ticket: Ticket,
        previous: u64,
        job: Job,
    ) -> Result<Written, StoreError> {
        let (now_ms, ticket) = ((self.clock)(), columns::ticket(ticket));
        let job = Job { head: 0, revision: 1, ..job };
        if let Err(full) = self.index.admit(&self.link, now_ms, stream, &job.user_id, self.jobs_max).await {
            // The index may be behind: the row says whether it is a repeat, a refusal, or takes an active job's place.
            let row = self.row(stream).await?.filter(|row| !row.is_expired(now_ms, self.lifetimes));
            let current = row.as_ref().map_or(0, |row| row.job.generation);
            let takes_over = row.is_some_and(|row| !row.job.status.is_terminal());
            if current == previous && !takes_over {
                return Err(full);
            }
        }
        let mut arguments = vec![format!("{} {previous} {ticket}", job.generation)];
        arguments.extend(columns::columns(&job));
        let answer = self.script(&self.scripts.create, stream, now_ms, &arguments).await?;
        self.finish(stream, now_ms, Answer::read(&answer), true).await
    }

    async fn append_now(&self, stream: &StreamId, append: Append) -> Result<Written, StoreError> {
        let now_ms = append.now_ms;
        let changes = append.status.is_some_and(|status| status != append.expected_status);
        if changes {
            self.index.intend(&self.link, now_ms, stream).await?;
        }
        let key = self.keys.job(stream);
        let answer = match &self.committer {
            // The end of a generation goes by itself: it is written even where there is no memory left.
            Some(committer) if !append.status.is_some_and(|status| status.is_terminal()) => {
                committer.append(key, append).await?
            }
            _ => self.appender.alone(&key, &append).await?,
        };
        // The first attempt of a repeat may have ended before the index was told.
        let must_place = changes && answer == Answer::Written(Written::Accepted, None);
        self.finish(stream, now_ms, answer, must_place).await
    }

    async fn rescue_now(&self, stream: &StreamId, rescue: Rescue) -> Result<Written, StoreError> {
        let Rescue { ticket, job, entry, checkpoint, now_ms } = rescue;
        self.index.intend(&self.link, now_ms, stream).await?;
        let last = entry.as_ref().map(|entry| format!("{} {}", entry.count, entry::kinds_text(entry)));
        let mut arguments = vec![
            format!("{} {} {} {}", job.generation, job.head, job.revision, columns::ticket(ticket)).into_bytes(),
            checkpoint.into_bytes(),
            last.unwrap_or_default().into_bytes(),
            entry.map(|entry| entry.lines.to_vec()).unwrap_or_default(),
        ];
        arguments.extend(columns::columns(&job).into_iter().map(String::into_bytes));
        let answer = self.script(&self.scripts.rescue, stream, now_ms, &arguments).await?;
        self.finish(stream, now_ms, Answer::read(&answer), false).await
    }

    async fn read_now(&self, stream: &StreamId, after: Cursor, bytes_max: usize) -> Result<Page, StoreError> {
        let mut from = after.sequence;
        loop {
            let range = format!("{} {from} {bytes_max}", after.generation);
            let answer = self.script(&self.scripts.read, stream, (self.clock)(), &[range]).await?;
            let (page, last) = page(stream, answer).ok_or_else(|| unexpected("read"))?;
            match last {
                // Damaged entries alone are not the end of the log.
                Some(last) if page == Page::Entries(Vec::new()) => from = last.sequence,
                _ => return Ok(page),
            }
        }
    }

    async fn checkpoint_now(&self, stream: &StreamId, generation: u64) -> Result<Option<(Cursor, String)>, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.checkpoint(stream)).arg("at").arg("state");
        let streams = [stream.clone()];
        let (heads, kept) = join(self.heads_now(&streams), self.command(&command)).await;
        let current = heads?.pop().flatten().is_some_and(|head| head.cursor.generation == generation);
        let kept: [Option<String>; 2] = from_redis_value(kept?).map_err(|_| unexpected("checkpoint"))?;
        let [Some(at), Some(state)] = kept else { return Ok(None) };
        let at = Cursor::parse(&at).filter(|at| current && at.generation == generation);
        Ok(at.map(|at| (at, state)))
    }

    async fn heads_now(&self, streams: &[StreamId]) -> Result<Vec<Option<Head>>, StoreError> {
        let now_ms = (self.clock)();
        let commands: Vec<_> = streams
            .iter()
            .map(|stream| {
                let mut command = redis::cmd("HMGET");
                command.arg(self.keys.job(stream)).arg(&row::HEAD);
                command
            })
            .collect();
        // Written one after the other, answered together: one round trip.
        let answers = join_all(commands.iter().map(|command| self.link.run(command))).await;
        let head = |answer: redis::RedisResult<Value>| match answer {
            Ok(value) => Ok(row::head(value, now_ms, self.lifetimes)),
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
            Err(error) => Err(self.link.refused(&error)),
        };
        answers.into_iter().map(head).collect()
    }

    async fn remove_now(&self, stream: &StreamId, generation: u64) -> Result<bool, StoreError> {
        let now_ms = (self.clock)();
        self.index.intend(&self.link, now_ms, stream).await?;
        let removed = self.script(&self.scripts.remove, stream, now_ms, &[format!("{generation} asked")]).await?;
        // In any case: a repeat finds no row, and the index may not have heard of the first attempt.
        match self.row(stream).await? {
            Some(row) => self.index.place(&self.link, now_ms, stream, &self.place_of(&row), b"").await?,
            None => self.index.gone(&self.link, now_ms, stream.as_str().as_bytes(), generation, b"").await?,
        }
        Ok(removed == Value::Int(1))
    }

    async fn expire_now(&self, stream: &StreamId, generation: u64, expires_ms: u64) -> Result<(), StoreError> {
        let now_ms = (self.clock)();
        self.index.intend(&self.link, now_ms, stream).await?;
        let argument = format!("{generation} {}", expires_ms.min(MS_MAX));
        let answer = self.script(&self.scripts.expire, stream, now_ms, &[argument]).await?;
        self.finish(stream, now_ms, Answer::read(&answer), false).await.map(drop)
    }

    async fn list_now(&self, query: Query) -> Result<Vec<(StreamId, Job)>, StoreError> {
        let now_ms = (self.clock)();
        let mut after = query.after.as_ref().map(|(ms, stream)| (*ms, stream.as_str().as_bytes().to_vec()));
        let mut rows = Vec::new();
        while rows.len() < query.limit {
            let step = LIST_STEP.min(query.limit - rows.len());
            let places = self.index.page(&self.link, now_ms, &query, step, after.as_ref()).await?;
            let Some(last) = places.last() else { break };
            if after.replace(last.clone()).is_some_and(|before| before == *last) {
                // Only an index that was tampered with has places that no page gets past.
                break;
            }
            let rows_of = places.iter().map(|(created_ms, member)| async move {
                let text = std::str::from_utf8(member).ok();
                let stream = text.and_then(|text| StreamId::parse(text).ok());
                (
                    stream.clone(),
                    *created_ms,
                    if let Some(stream) = stream { self.row(&stream).await } else { Ok(None) },
                )
            });
            for (stream, created_ms, row) in join_all(rows_of).await {
                // The index follows the rows: it may be behind, or have been tampered with.
                let fits = |job: &Job| {
                    let owner = query.user_id.as_ref().is_none_or(|user_id| *user_id == job.user_id);
                    owner && job.created_ms == created_ms && query.status.is_none_or(|status| status == job.status)
                };
                let row = row?.filter(|row| !row.is_expired(now_ms, self.lifetimes) && fits(&row.job));
                rows.extend(stream.zip(row.map(|row| row.job)));
            }
        }
        Ok(rows)
    }
}

/// A page out of `read.lua`'s answer, with where it ends.
fn page(stream: &StreamId, answer: Value) -> Option<(Page, Option<Cursor>)> {
    let Value::Array(parts) = answer else { return None };
    let mut parts = parts.into_iter();
    let Some(generation) = parts.next() else { return Some((Page::Gone, None)) };
    let number = |value: Value| from_redis_value::<String>(value).ok()?.parse::<u64>().ok();
    let end = Cursor { generation: number(generation)?, sequence: number(parts.next()?)? };
    if parts.next().is_none() {
        return Some((Page::Reset(end), None));
    }
    let (mut entries, mut last) = (Vec::<Entry>::new(), None);
    for (at, entry) in parts.filter_map(entry::read) {
        last = Some(at);
        match entry {
            Some(entry) => entries.push(entry),
            None => tracing::warn!(%stream, %at, "entry of the log is damaged: passed over"),
        }
    }
    Some((Page::Entries(entries), last))
}

pub(super) fn unexpected(what: &str) -> StoreError {
    StoreError::Unavailable(format!("Redis answered something unexpected to {what}"))
}

impl Store for RedisStore {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn commits(&self) -> Option<u64> {
        Some(RedisStore::commits(self))
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            let late = |_| StoreError::Unavailable("no answer in time".to_owned());
            // Also asks the part of a Cluster that every new job needs.
            let mut command = redis::cmd("EXISTS");
            command.arg(self.keys.index("places"));
            tokio::time::timeout(READY_MAX, self.command(&command)).await.map_err(late)?.map(drop)
        })
    }

    fn job<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        Box::pin(async {
            let row = self.row(stream).await?;
            Ok(row.filter(|row| !row.is_expired((self.clock)(), self.lifetimes)).map(|row| row.job))
        })
    }

    fn create<'a>(
        &'a self,
        stream: &'a StreamId,
        ticket: Ticket,
        previous: u64,
        job: Job,
    ) -> BoxFuture<'a, Result<Written, StoreError>> {
        Box::pin(self.create_now(stream, ticket, previous, job))
    }

    fn heads<'a>(&'a self, streams: &'a [StreamId]) -> BoxFuture<'a, Result<Vec<Option<Head>>, StoreError>> {
        Box::pin(self.heads_now(streams))
    }

    fn append<'a>(&'a self, stream: &'a StreamId, append: Append) -> BoxFuture<'a, Result<Written, StoreError>> {
        Box::pin(self.append_now(stream, append))
    }

    fn rescue<'a>(&'a self, stream: &'a StreamId, rescue: Rescue) -> BoxFuture<'a, Result<Written, StoreError>> {
        Box::pin(self.rescue_now(stream, rescue))
    }

    fn put_checkpoint<'a>(
        &'a self,
        stream: &'a StreamId,
        at: Cursor,
        state: String,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let arguments = [format!("{} {}", at.generation, at.sequence), state];
            self.script(&self.scripts.checkpoint, stream, (self.clock)(), &arguments).await.map(drop)
        })
    }

    fn checkpoint<'a>(
        &'a self,
        stream: &'a StreamId,
        generation: u64,
    ) -> BoxFuture<'a, Result<Option<(Cursor, String)>, StoreError>> {
        Box::pin(self.checkpoint_now(stream, generation))
    }

    fn read<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Cursor,
        bytes_max: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(self.read_now(stream, after, bytes_max))
    }

    fn remove<'a>(&'a self, stream: &'a StreamId, generation: u64) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.remove_now(stream, generation))
    }

    fn expire_at<'a>(
        &'a self,
        stream: &'a StreamId,
        generation: u64,
        expires_ms: u64,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.expire_now(stream, generation, expires_ms))
    }

    fn list(&self, query: Query) -> BoxFuture<'_, Result<Vec<(StreamId, Job)>, StoreError>> {
        Box::pin(self.list_now(query))
    }

    fn counts(&self) -> BoxFuture<'_, Result<[u64; 5], StoreError>> {
        Box::pin(async {
            let lists = crate::types::Status::ALL.map(|status| format!("all:{}", status.as_str()));
            let counts = self.index.counts(&self.link, &lists).await?;
            counts.try_into().map_err(|_| unexpected("counts"))
        })
    }

    fn counts_of<'a>(&'a self, user_id: &'a str) -> BoxFuture<'a, Result<[u64; 5], StoreError>> {
        Box::pin(async move {
            let lists = crate::types::Status::ALL.map(|status| format!("of:{}:{user_id}", status.as_str()));
            let counts = self.index.counts(&self.link, &lists).await?;
            counts.try_into().map_err(|_| unexpected("counts"))
        })
    }

    fn put_ticket<'a>(
        &'a self,
        stream: &'a StreamId,
        hash: [u8; 32],
        subject: &'a str,
        expires_ms: u64,
    ) -> BoxFuture<'a, Result<NewTicket, StoreError>> {
        Box::pin(self.put_ticket_now(stream, hash, subject, expires_ms))
    }

    fn take_ticket<'a>(
        &'a self,
        stream: &'a StreamId,
        hash: [u8; 32],
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(self.take_ticket_now(stream, hash))
    }

    fn sweep(&self, now_ms: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StreamId>, StoreError>> {
        Box::pin(self.sweep_now(now_ms, limit))
    }

    fn wakes(&self) -> Option<&dyn Wakes> {
        Some(&self.wakes)
    }
}
