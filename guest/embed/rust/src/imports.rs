//! What the component asks its host for.

use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::StoreLimits;

use crate::bindings::rejoin::streams::{sse, store, types};
use crate::bindings::wasi::clocks::wall_clock;
use crate::{Change, Cursor, Job, LogRecord, Outcome, ProducerSignal};

/// Your store and your way to readers, for one session. Called while a command runs, so everything returns at once.
///
/// A write has a ticket. A store that is done at once returns the outcome, and the session settles itself. One that needs
/// time returns `None`, starts the write, and gives the outcome to [`Session::settle`](crate::Session::settle), before any other command.
pub trait Imports: Send + 'static {
    /// Replaces the job of `stream` by `job`, with an empty log, if its generation is still `previous` (0: none). Otherwise
    /// refused: `GenerationReplaced`.
    fn create(&mut self, stream: &str, ticket: u64, previous: u64, job: Job) -> Option<Outcome>;

    /// Appends `records` (possibly none) and applies `change`, all or nothing: [`Job::append`] says when, and does it to the row.
    ///
    /// A write whose outcome is unknown is repeated with the same ticket; the store must know it again.
    fn append(
        &mut self,
        stream: &str,
        ticket: u64,
        first: Cursor,
        records: Vec<LogRecord>,
        change: Change,
    ) -> Option<Outcome>;

    /// Keeps `state`, which covers every record up to `at`, for a later [`Component::open`](crate::Component::open). Losing it costs time only.
    fn checkpoint(&mut self, stream: &str, at: Cursor, state: String) {
        let _ = (stream, at, state);
    }

    /// The log is accepted up to `at`: wake the readers. Not needed where they wait for the store itself.
    fn publish(&mut self, stream: &str, at: Cursor) {
        let _ = (stream, at);
    }

    /// Tells the producers of `generation`.
    fn signal(&mut self, stream: &str, generation: u64, what: ProducerSignal) {
        let _ = (stream, generation, what);
    }

    /// Unix milliseconds.
    fn now_ms(&mut self) -> u64 {
        now_ms()
    }
}

/// The time of day in Unix milliseconds.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What stands behind one instance.
pub(crate) struct State<I> {
    /// None behind a fold, which asks for nothing.
    pub(crate) imports: Option<I>,
    pub(crate) limits: StoreLimits,
    /// The write of the last command, where the store was done at once.
    pub(crate) answered: Option<(u64, Outcome)>,
}

impl<I: Imports> types::Host for State<I> {}

impl<I: Imports> store::Host for State<I> {
    fn create(&mut self, stream: String, ticket: u64, previous: u64, job: Job) {
        let outcome = self.imports.as_mut().and_then(|imports| imports.create(&stream, ticket, previous, job));
        self.answered = outcome.map(|outcome| (ticket, outcome));
    }

    fn append(&mut self, stream: String, ticket: u64, first: Cursor, records: Vec<LogRecord>, change: Change) {
        let outcome = self.imports.as_mut().and_then(|imports| imports.append(&stream, ticket, first, records, change));
        self.answered = outcome.map(|outcome| (ticket, outcome));
    }

    fn checkpoint(&mut self, stream: String, at: Cursor, state: String) {
        if let Some(imports) = &mut self.imports {
            imports.checkpoint(&stream, at, state);
        }
    }
}

impl<I: Imports> sse::Host for State<I> {
    fn publish(&mut self, stream: String, at: Cursor) {
        if let Some(imports) = &mut self.imports {
            imports.publish(&stream, at);
        }
    }

    fn signal(&mut self, stream: String, generation: u64, what: ProducerSignal) {
        if let Some(imports) = &mut self.imports {
            imports.signal(&stream, generation, what);
        }
    }
}

impl<I: Imports> wall_clock::Host for State<I> {
    fn now(&mut self) -> wall_clock::Datetime {
        let ms = self.imports.as_mut().map_or_else(now_ms, I::now_ms);
        wall_clock::Datetime { seconds: ms / 1000, nanoseconds: u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000 }
    }

    fn resolution(&mut self) -> wall_clock::Datetime {
        wall_clock::Datetime { seconds: 0, nanoseconds: 1_000_000 }
    }
}
