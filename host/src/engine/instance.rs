//! One session in one instance: plain synchronous calls. After a trap the instance is dead and must be dropped.

use wasmtime::component::ResourceAny;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use super::bindings::exports::rejoin::streams::session as wit;
use super::bindings::rejoin::streams::types::{Limits, Refusal};
use super::imports::{Asked, Ctx};
use super::runtime::Runtime;
use super::{Failure, Framing, Producer, Pushed, Snapshot, bindings, convert};
use crate::metrics::{EngineMeter, Limit};
use crate::types::{Cursor, Entry, Job, StreamId};

/// A live session.
pub(super) struct Live {
    store: Store<Ctx>,
    exports: bindings::Engine,
    handle: ResourceAny,
    /// Tells this opening of the stream from every other one, in all replicas.
    pub id: u64,
    /// The generation, once it has ended: from then on the store may forget it at any time.
    pub ended: Option<u64>,
    /// The row's revision that it knows.
    pub revision: u64,
    /// It knows the content, not the row alone; one that does not is good for one command.
    pub whole: bool,
    /// It has written since the store was last seen to have it all: see `Sessions::drop_idle`.
    pub unconfirmed: bool,
    /// The last entry that it wrote, unless it is large: for a store that forgets.
    pub last_entry: Option<Entry>,
    meter: EngineMeter,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.meter.dropped();
    }
}

/// Runs one exported method of the session and sorts its three outcomes.
macro_rules! call {
    ($live:expr, $method:ident $(, $argument:expr)*) => {{
        let Live { store, exports, handle, meter, .. } = $live;
        Ctx::begin_call(store);
        let session = exports.rejoin_streams_session().session();
        match session.$method(&mut *store, *handle $(, $argument)*) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(trapped(meter, store.data().memory_denied(), &error)),
        }
    }};
}

impl Live {
    /// Opens a stream as the store has it, at the checkpoint's position or the start.
    pub(super) fn open(
        runtime: &Runtime,
        id: u64,
        stream: &StreamId,
        job: Option<Job>,
        checkpoint: Option<&str>,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let meter = runtime.meter();
        let (mut store, exports) = runtime.instantiate().map_err(|error| trapped(meter, false, &error))?;
        let revision = job.as_ref().map_or(0, |job| job.revision);
        let ended = job.as_ref().filter(|job| job.status.is_terminal()).map(|job| job.generation);
        let job = job.map(convert::wit_job);
        let session = exports.rejoin_streams_session().session();
        let handle = session
            .call_open(&mut store, stream.as_str(), job.as_ref(), checkpoint, limits)
            .map_err(|error| trapped(meter, store.data().memory_denied(), &error))?;
        meter.opened();
        Ok(Live {
            store,
            exports,
            handle,
            id,
            ended,
            revision,
            whole: true,
            unconfirmed: false,
            last_entry: None,
            meter: meter.clone(),
        })
    }

    /// What the last call asked for. Taken once.
    pub(super) fn take_asked(&mut self) -> Asked {
        self.store.data_mut().take_asked()
    }

    pub(super) fn head(&mut self) -> Result<Cursor, Failure> {
        Ok(call!(self, call_head)?.into())
    }

    pub(super) fn replay(&mut self, lines: &str) -> Result<(), Failure> {
        Ok(call!(self, call_replay, lines)??)
    }

    /// True when a generation was made, false when the key had made the present one.
    pub(super) fn create(&mut self, user: Option<&str>, key: Option<&str>, request: &str) -> Result<bool, Failure> {
        Ok(call!(self, call_create, user, key, request)?? == wit::Effect::Pending)
    }

    pub(super) fn push(
        &mut self,
        generation: Option<u64>,
        framing: Framing,
        text: &str,
        producer: Option<Producer<'_>>,
    ) -> Result<Pushed, Failure> {
        let framing = match framing {
            Framing::Ndjson => wit::Framing::Ndjson,
            Framing::Json => wit::Framing::Json,
        };
        let producer = producer.map(|p| wit::Producer { id: p.id.to_owned(), seq: p.seq, offset: p.offset });
        let pushed = call!(self, call_push, generation, framing, text, producer.as_ref())??;
        Ok(Pushed {
            appended: pushed.appended.into(),
            duplicate: pushed.duplicate.into(),
            first: pushed.first.map(Cursor::from),
            last: pushed.last.map(Cursor::from),
            stopped: pushed.stopped.map(|stopped| (stopped.line, stopped.reason)),
        })
    }

    pub(super) fn update(&mut self, fields: &str) -> Result<(), Failure> {
        call!(self, call_update, fields)??;
        Ok(())
    }

    pub(super) fn complete(&mut self, generation: Option<u64>, event: Option<&str>) -> Result<(), Failure> {
        call!(self, call_complete, generation, event)??;
        Ok(())
    }

    pub(super) fn fail(&mut self, generation: Option<u64>, reason: &str) -> Result<(), Failure> {
        call!(self, call_fail, generation, reason)??;
        Ok(())
    }

    pub(super) fn abort(&mut self, generation: Option<u64>) -> Result<(), Failure> {
        call!(self, call_abort, generation)??;
        Ok(())
    }

    pub(super) fn time_out(&mut self) -> Result<(), Failure> {
        call!(self, call_time_out)??;
        Ok(())
    }

    pub(super) fn pause(&mut self, generation: Option<u64>, action: &str) -> Result<(), Failure> {
        call!(self, call_pause, generation, action)??;
        Ok(())
    }

    pub(super) fn resolve(&mut self, generation: Option<u64>, action: &str, decision: &str) -> Result<(), Failure> {
        call!(self, call_resolve, generation, action, decision)??;
        Ok(())
    }

    pub(super) fn settle(&mut self, ticket: u64, refused: Option<Refusal>) -> Result<(), Failure> {
        let outcome = match refused {
            None => wit::Outcome::Accepted,
            Some(refusal) => wit::Outcome::Refused(refusal),
        };
        Ok(call!(self, call_settle, ticket, &outcome)??)
    }

    pub(super) fn job(&mut self) -> Result<Job, Failure> {
        call!(self, call_job)?.map(convert::job).ok_or(Failure::Refused(Refusal::NotFound))
    }

    pub(super) fn content(&mut self) -> Result<String, Failure> {
        Ok(call!(self, call_content)??)
    }

    pub(super) fn text(&mut self) -> Result<String, Failure> {
        Ok(call!(self, call_text)??)
    }

    pub(super) fn next_index(&mut self) -> Result<u64, Failure> {
        call!(self, call_next_index)
    }

    /// Everything it knows, an unsettled append included.
    pub(super) fn save(&mut self) -> Result<String, Failure> {
        Ok(call!(self, call_save)??)
    }

    pub(super) fn snapshot(&mut self) -> Result<Snapshot, Failure> {
        let snapshot = call!(self, call_resume_state)??;
        Ok(Snapshot { at: snapshot.at.into(), state: snapshot.state })
    }
}

/// What a failed call means.
pub(super) fn trapped(meter: &EngineMeter, memory_denied: bool, error: &wasmtime::Error) -> Failure {
    let failure = failure_of(memory_denied, error);
    match failure {
        Failure::Trapped(_) => meter.trapped(),
        Failure::LimitExceeded("memory") => meter.limited(Limit::Memory),
        Failure::LimitExceeded(_) => meter.limited(Limit::Time),
        _ => {}
    }
    failure
}

fn failure_of(memory_denied: bool, error: &wasmtime::Error) -> Failure {
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::Overloaded;
    }
    if memory_denied {
        return Failure::LimitExceeded("memory");
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Failure::LimitExceeded("time"),
        Some(trap) => Failure::Trapped(trap.to_string()),
        None => Failure::Trapped(format!("{error:#}")),
    }
}
