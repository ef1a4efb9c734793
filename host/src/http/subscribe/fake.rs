//! For tests: a house with one stream, whose store can fail, forget and hang, and whose state is what a test says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, future};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

use super::source::Source;
use crate::engine::{Content, Failure, Refusal, Snapshot};
use crate::http::{Body, Response};
use crate::metrics::ReaderMeter;
use crate::sse::{Hub, HubConfig};
use crate::store::{Page, StoreError};
use crate::types::{Cursor, Entry, Job, RecordKind, Status, StreamId};

/// The generation that tests begin with.
pub(in crate::http) const GENERATION: u64 = 1789000000000;

/// A house with the stream `s`.
pub(in crate::http) struct House {
    pub(in crate::http) hub: Arc<Hub>,
    pub(in crate::http) stop: CancellationToken,
    pub(in crate::http) reads: AtomicUsize,
    room: Mutex<Room>,
}

/// What the house holds.
#[derive(Default)]
pub(in crate::http) struct Room {
    pub(in crate::http) job: Option<Job>,
    pub(in crate::http) entries: Vec<Entry>,
    /// The store does not answer at all.
    pub(in crate::http) hangs: bool,
    /// So many reads fail.
    pub(in crate::http) failing_reads: usize,
    /// Appended and published right after the next read has looked.
    pub(in crate::http) after_read: Option<Entry>,
    /// Whether any replica has readers; none: there is one host only.
    pub(in crate::http) readers: Option<bool>,
    /// The state and what it covers; none: the component traps.
    pub(in crate::http) snapshot: Option<Snapshot>,
}

pub(in crate::http) fn stream() -> StreamId {
    StreamId::parse("s").expect("a stream id")
}

pub(in crate::http) fn at(sequence: u64) -> Cursor {
    Cursor { generation: GENERATION, sequence }
}

/// One record with its sequence in it.
pub(in crate::http) fn record(sequence: u64) -> Entry {
    entry(sequence, &format!("{{\"n\":{sequence}}}\n"), RecordKind::Event)
}

/// One record.
pub(in crate::http) fn entry(sequence: u64, line: &str, kind: RecordKind) -> Entry {
    Entry { first: at(sequence), lines: Bytes::copy_from_slice(line.as_bytes()), kinds: [kind].into(), count: 1 }
}

/// The frame of [`record`].
pub(in crate::http) fn framed(sequence: u64) -> String {
    format!("id: {GENERATION}-{sequence}\ndata: {{\"n\":{sequence}}}\n\n")
}

impl House {
    pub(in crate::http) fn new(config: HubConfig) -> Arc<Self> {
        let job = Job {
            generation: GENERATION,
            status: Status::Running,
            user_id: "u".to_owned(),
            created_ms: 0,
            updated_ms: 0,
            settled_ms: None,
            head: 0,
            revision: 0,
            fields: Vec::new(),
        };
        let room = Mutex::new(Room { job: Some(job), ..Room::default() });
        let hub = Arc::new(Hub::new(config));
        Arc::new(House { hub, stop: CancellationToken::new(), reads: AtomicUsize::new(0), room })
    }

    pub(in crate::http) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().expect("not poisoned")
    }

    /// Appends to the log, publishes nothing.
    pub(in crate::http) fn append(&self, entry: Entry) {
        let mut room = self.room();
        if let Some(job) = &mut room.job {
            job.head = entry.last();
            if entry.terminal().is_some() {
                job.status = Status::Complete;
            }
        }
        room.entries.push(entry);
    }

    /// Appends and publishes, as the engine does.
    pub(in crate::http) fn publish(&self, entry: Entry) {
        self.append(entry.clone());
        self.hub.publish(&stream(), &entry);
    }

    fn page(&self, after: Cursor, bytes_max: usize) -> Result<Page, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mut room = self.room();
        if room.failing_reads > 0 {
            room.failing_reads -= 1;
            return Err(StoreError::Unavailable("told to".to_owned()));
        }
        let Some(job) = &room.job else { return Ok(Page::Gone) };
        if after.generation != job.generation || after.sequence > job.head {
            return Ok(Page::Reset(job.cursor()));
        }
        let mut bytes = 0;
        let newer = room.entries.iter().filter(|entry| entry.last() > after.sequence);
        let entries = newer.take_while(|entry| {
            let fits = bytes == 0 || bytes + entry.lines.len() <= bytes_max;
            bytes += entry.lines.len();
            fits
        });
        let page = Page::Entries(entries.cloned().collect());
        if let Some(entry) = room.after_read.take() {
            drop(room);
            self.publish(entry);
        }
        Ok(page)
    }
}

impl Source for House {
    fn job<'a>(&'a self, _: &'a StreamId) -> BoxFuture<'a, Result<Option<Job>, StoreError>> {
        future::ready(Ok(self.room().job.clone())).boxed()
    }

    fn read<'a>(&'a self, _: &'a StreamId, after: Cursor, bytes_max: usize) -> BoxFuture<'a, Result<Page, StoreError>> {
        match self.room().hangs {
            true => future::pending().boxed(),
            false => async move { self.page(after, bytes_max) }.boxed(),
        }
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    fn readers<'a>(&'a self, _: &'a StreamId) -> BoxFuture<'a, Result<Option<bool>, StoreError>> {
        future::ready(Ok(self.room().readers)).boxed()
    }

    fn shutdown(&self) -> CancellationToken {
        self.stop.clone()
    }

    fn keep_alive(&self) -> Duration {
        Duration::from_secs(15)
    }

    fn meter(&self) -> ReaderMeter {
        ReaderMeter::default()
    }

    fn snapshot<'a>(&'a self, _: &'a StreamId) -> BoxFuture<'a, Result<Snapshot, Failure>> {
        let room = self.room();
        let snapshot = match (&room.job, &room.snapshot) {
            (None, _) => Err(Failure::Refused(Refusal::NotFound)),
            (Some(_), None) => Err(Failure::Trapped("told to".to_owned())),
            (Some(_), Some(snapshot)) => Ok(snapshot.clone()),
        };
        future::ready(snapshot).boxed()
    }

    fn content<'a>(&'a self, _: &'a StreamId) -> BoxFuture<'a, Result<Content, Failure>> {
        let room = self.room();
        let content = match (&room.job, &room.snapshot) {
            (Some(job), Some(snapshot)) => {
                Ok(Content { job: job.clone(), at: snapshot.at, parts: "[{\"type\":\"text\"}]".to_owned() })
            }
            _ => Err(Failure::Trapped("told to".to_owned())),
        };
        future::ready(content).boxed()
    }
}

/// Reads a body frame by frame.
pub(in crate::http) struct Reader {
    body: Body,
    /// Bytes that were taken off the body too early.
    ahead: Option<String>,
}

impl Reader {
    pub(in crate::http) fn new(response: Response) -> Self {
        Reader { body: response.into_body(), ahead: None }
    }

    /// Gives `text` back, to come next.
    pub(in crate::http) fn with(mut self, text: &str) -> Self {
        self.ahead = Some(text.to_owned());
        self
    }

    /// The next bytes, waited for; none at the end.
    pub(in crate::http) async fn next(&mut self) -> Option<String> {
        if let Some(text) = self.ahead.take() {
            return Some(text);
        }
        let frame = self.body.frame().await?.expect("infallible");
        let bytes = frame.into_data().expect("data");
        Some(String::from_utf8(bytes.to_vec()).expect("text"))
    }

    /// The bytes that are there without waiting.
    pub(in crate::http) fn now(&mut self) -> String {
        let mut text = String::new();
        while let Some(Some(bytes)) = self.next().now_or_never() {
            text.push_str(&bytes);
        }
        text
    }

    /// All bytes up to the end.
    pub(in crate::http) async fn rest(&mut self) -> String {
        let mut text = String::new();
        while let Some(bytes) = self.next().await {
            text.push_str(&bytes);
        }
        text
    }
}
