//! Many streams over one store: each command finds or opens the stream's session, each reader follows the log.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, stream};
use tokio::sync::watch;

use crate::{
    Bounds, Change, Component, Cursor, Error, Imports, Job, LIMITS, LogRecord, Outcome, RecordKind, Refusal, Session,
};

/// Records that are read from a store at a time.
const PAGE: usize = 256;

/// The rows and logs of all streams, in a store that answers at once: a map, files, an embedded database.
pub trait Store: Send + Sync + 'static {
    /// The row of `stream` and the first `count_max` records behind `after` ([`Job::known`] says how many records that passes
    /// over), from one cut. None: no such stream.
    fn read(&self, stream: &str, after: Option<Cursor>, count_max: usize) -> Option<(Job, Vec<LogRecord>)>;

    /// Replaces the row of `stream` by `job`, with an empty log, if its generation is `previous` (0: no row); otherwise refuses with
    /// `GenerationReplaced`.
    fn create(&self, stream: &str, previous: u64, job: Job) -> Outcome;

    /// Does what [`Job::append`] does to the row and, where that accepts, keeps `records`: one atomic step.
    fn append(&self, stream: &str, first: Cursor, records: Vec<LogRecord>, change: &Change) -> Outcome;
}

/// The streams of a process.
pub struct Streams<S: Store> {
    component: Component<Handle<S>>,
    store: Arc<S>,
    open_max: usize,
    open: Mutex<HashMap<String, Arc<Open<S>>>>,
}

/// A stream that is at work or read.
struct Open<S: Store> {
    /// One command at a time; none: no session, or a dead one.
    session: Mutex<Option<Session<Handle<S>>>>,
    /// Moves with every accepted write.
    news: watch::Sender<()>,
}

/// What a session of [`Streams`] asks: the store, and those who follow.
pub struct Handle<S> {
    store: Arc<S>,
    news: watch::Sender<()>,
}

impl<S: Store> Imports for Handle<S> {
    fn create(&mut self, stream: &str, _ticket: u64, previous: u64, job: Job) -> Option<Outcome> {
        let outcome = self.store.create(stream, previous, job);
        self.news.send_replace(());
        Some(outcome)
    }

    fn append(
        &mut self,
        stream: &str,
        _ticket: u64,
        first: Cursor,
        records: Vec<LogRecord>,
        change: Change,
    ) -> Option<Outcome> {
        let outcome = self.store.append(stream, first, records, &change);
        // Not in `publish`: a session that traps while it is settled has still written.
        self.news.send_replace(());
        Some(outcome)
    }
}

impl<S: Store> Streams<S> {
    /// The streams in `store`, run by the component in this file with usual [`Bounds`], 1,000 of them open at a time.
    pub fn from_file(component: impl AsRef<Path>, store: S) -> Result<Self, Error> {
        Ok(Self::new(Component::from_file(component, Bounds::default())?, store, 1_000))
    }

    /// At most `open_max` streams are at work or read at a time, each with a session of a few tens of KiB; those at rest give way.
    pub fn new(component: Component<Handle<S>>, store: S, open_max: usize) -> Self {
        Streams { component, store: Arc::new(store), open_max, open: Mutex::default() }
    }

    /// Runs one command on the session of `stream`, opened from the store where there is none.
    ///
    /// Blocks: for the calls of the command, each at most [`Bounds::call_max`], and for commands on the same stream before it. On an
    /// async runtime call it where blocking is allowed (`tokio::task::spawn_blocking`). Errors: the command's own; `Overloaded`.
    pub fn run<R>(
        &self,
        stream: &str,
        command: impl FnOnce(&mut Session<Handle<S>>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let open = self.open(stream)?;
        let mut slot = open.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = match slot.take() {
            Some(session) => session,
            None => self.session(stream, &open)?,
        };
        let answer = command(&mut session);
        // A dead one was only a cache: the next command opens another one.
        *slot = Some(session).filter(Session::is_alive);
        answer
    }

    /// The records behind `after`, now and as they come, each once, in order, with its cursor; it ends with the last one of the
    /// generation. A slow reader costs nothing: the log is read when it takes the next record.
    ///
    /// Errors: `NothingFollows`: no such stream, or `after` is the end of one that has ended; `Overloaded`.
    pub fn follow(
        &self,
        stream: &str,
        after: Option<Cursor>,
    ) -> Result<impl Stream<Item = (Cursor, LogRecord)> + Send + use<S>, Error> {
        let row = self.store.read(stream, after, 0);
        row.and_then(|(job, _)| job.next_after(after)).ok_or(Error::NothingFollows)?;
        let open = self.open(stream)?;
        let reader = Reader {
            news: open.news.subscribe(),
            store: self.store.clone(),
            stream: stream.to_owned(),
            after,
            page: Vec::new().into_iter(),
            _open: open,
        };
        Ok(stream::unfold(reader, async |mut reader| Some((reader.next().await?, reader))))
    }

    fn open(&self, stream: &str) -> Result<Arc<Open<S>>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = open.get(stream) {
            return Ok(found.clone());
        }
        if open.len() >= self.open_max {
            open.retain(|_, open| Arc::strong_count(open) > 1);
        }
        if open.len() >= self.open_max {
            return Err(Error::Overloaded);
        }
        let fresh = Arc::new(Open { session: Mutex::new(None), news: watch::Sender::new(()) });
        open.insert(stream.to_owned(), fresh.clone());
        Ok(fresh)
    }

    fn session(&self, stream: &str, open: &Open<S>) -> Result<Session<Handle<S>>, Error> {
        let handle = Handle { store: self.store.clone(), news: open.news.clone() };
        let job = self.store.read(stream, None, 0).map(|(job, _)| job);
        let mut session = self.component.open(handle, stream, job.as_ref(), None, LIMITS)?;
        let Some(Job { generation, head, .. }) = job else { return Ok(session) };
        let mut at = session.head()?;
        while at.sequence < head {
            let page = self.store.read(stream, Some(at), PAGE).filter(|(job, _)| job.generation == generation);
            let (_, page) = page.filter(|(_, page)| !page.is_empty()).ok_or(Error::Refused(Refusal::Lost))?;
            session.replay(&page.iter().map(|record| format!("{}\n", record.json)).collect::<String>())?;
            at.sequence += page.len() as u64;
        }
        Ok(session)
    }
}

/// Somebody who follows a stream.
struct Reader<S: Store> {
    store: Arc<S>,
    stream: String,
    after: Option<Cursor>,
    page: std::vec::IntoIter<LogRecord>,
    news: watch::Receiver<()>,
    /// Keeps the stream from giving way: its news would be of another one then.
    _open: Arc<Open<S>>,
}

impl<S: Store> Reader<S> {
    async fn next(&mut self) -> Option<(Cursor, LogRecord)> {
        loop {
            if let (Some(record), Some(after)) = (self.page.next(), &mut self.after) {
                after.sequence += 1;
                if record.kind != RecordKind::Internal {
                    return Some((*after, record));
                }
                continue;
            }
            // Before the log is read: what comes in between is news again.
            self.news.borrow_and_update();
            let (job, page) = self.store.read(&self.stream, self.after, PAGE)?;
            let next = job.next_after(self.after)?;
            self.after = Some(Cursor { sequence: next.sequence - 1, ..next });
            if page.is_empty() {
                self.news.changed().await.ok()?;
            }
            self.page = page.into_iter();
        }
    }
}
