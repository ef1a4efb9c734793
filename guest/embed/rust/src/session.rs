//! One live generation: the commands, and their settling.

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::bindings::exports::rejoin::streams::session as wit;
use crate::component::Instance;
use crate::imports::State;
use crate::{Cursor, Effect, Error, Framing, Imports, Job, Limits, Outcome, Producer, Pushed, Refusal, Snapshot};

/// One stream's current generation, in an instance of its own. What each command does: `wit/session.wit`.
///
/// A command that asked for a write has its outcome when it returns, where the store was done at once. A refused write is
/// [`Error::Refused`], and the session is no longer true: see [`is_alive`](Self::is_alive).
pub struct Session<I: Imports> {
    instance: Instance<I>,
    handle: ResourceAny,
}

impl<I: Imports> Session<I> {
    pub(crate) fn open(
        mut instance: Instance<I>,
        stream: &str,
        job: Option<&Job>,
        checkpoint: Option<&str>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let handle = instance.call(|exports, store| {
            exports.rejoin_streams_session().session().call_open(store, stream, job, checkpoint, limits)
        })?;
        Ok(Session { instance, handle })
    }

    /// False after a trap and after a refused write: drop it and open another one from what the store has.
    pub fn is_alive(&self) -> bool {
        self.instance.alive
    }

    /// What was given to [`Component::open`](crate::Component::open).
    pub fn imports(&mut self) -> &mut I {
        self.instance.store.data_mut().imports.as_mut().expect("`open` gives a session its imports")
    }

    /// The log position reached so far: replay continues after it.
    pub fn head(&mut self) -> Result<Cursor, Error> {
        self.call(|session, store, handle| session.call_head(store, handle))
    }

    /// Takes the records after [`head`](Self::head), one a line, in order, as the log has them.
    pub fn replay(&mut self, lines: &str) -> Result<(), Error> {
        self.ask(|session, store, handle| session.call_replay(store, handle, lines))
    }

    /// Starts a new generation. `request`: a JSON object, `"{}"` will do.
    pub fn create(
        &mut self,
        user_id: Option<&str>,
        idempotency_key: Option<&str>,
        request: &str,
    ) -> Result<Effect, Error> {
        self.command(|session, store, handle| session.call_create(store, handle, user_id, idempotency_key, request))
    }

    /// Appends records, one JSON object a line, to whatever generation is current. Errors: why a line was refused; those
    /// before it are appended.
    pub fn push(&mut self, lines: &str) -> Result<Effect, Error> {
        let pushed = self.push_as(None, Framing::Ndjson, lines, None)?;
        pushed.stopped.map_or(Ok(pushed.effect), |stopped| Err(Error::Refused(stopped.reason)))
    }

    /// Appends records. `generation` fences, `producer` makes repeats harmless; the answer says where it stopped.
    pub fn push_as(
        &mut self,
        generation: Option<u64>,
        framing: Framing,
        text: &str,
        producer: Option<&Producer>,
    ) -> Result<Pushed, Error> {
        self.command(|session, store, handle| session.call_push(store, handle, generation, framing, text, producer))
    }

    /// Writes metadata: a JSON object of known fields; null removes one.
    pub fn update(&mut self, fields: &str) -> Result<Effect, Error> {
        self.command(|session, store, handle| session.call_update(store, handle, fields))
    }

    /// Ends well, with `final_event` (a JSON object) as the last record or one made from the content.
    pub fn complete(&mut self, generation: Option<u64>, final_event: Option<&str>) -> Result<Effect, Error> {
        self.command(|session, store, handle| session.call_complete(store, handle, generation, final_event))
    }

    /// Ends in `error` with this reason.
    pub fn fail(&mut self, generation: Option<u64>, reason: &str) -> Result<Effect, Error> {
        self.command(|session, store, handle| session.call_fail(store, handle, generation, reason))
    }

    /// Stops for the reader's sake: the last record holds what there is.
    pub fn abort(&mut self, generation: Option<u64>) -> Result<Effect, Error> {
        self.command(|session, store, handle| session.call_abort(store, handle, generation))
    }

    /// Ends in `error` "timed out" if no append came for as long as the limits say.
    pub fn time_out(&mut self) -> Result<Effect, Error> {
        self.command(|session, store, handle| session.call_time_out(store, handle))
    }

    /// Pauses until a person answers. `action`: a JSON object; its `id` names it.
    pub fn pause(&mut self, generation: Option<u64>, action: &str) -> Result<Effect, Error> {
        self.command(|session, store, handle| session.call_pause(store, handle, generation, action))
    }

    /// The person's answer, any JSON. Exactly one wins.
    pub fn resolve(&mut self, generation: Option<u64>, action_id: &str, decision: &str) -> Result<Effect, Error> {
        self.command(|session, store, handle| session.call_resolve(store, handle, generation, action_id, decision))
    }

    /// What became of a write that the store did not do at once. Errors: the refusal itself, when it was refused.
    pub fn settle(&mut self, ticket: u64, outcome: Outcome) -> Result<(), Error> {
        let told = self.ask(|session, store, handle| session.call_settle(store, handle, ticket, &outcome));
        match outcome {
            Outcome::Accepted => told,
            Outcome::Refused(refusal) => {
                self.instance.alive = false;
                Err(Error::Refused(refusal))
            }
        }
    }

    /// The job as it stands.
    pub fn job(&mut self) -> Result<Option<Job>, Error> {
        self.call(|session, store, handle| session.call_job(store, handle))
    }

    /// The content parts folded so far: a JSON list.
    pub fn content(&mut self) -> Result<String, Error> {
        self.ask(|session, store, handle| session.call_content(store, handle))
    }

    /// All text parts joined and trimmed: a JSON string.
    pub fn text(&mut self) -> Result<String, Error> {
        self.ask(|session, store, handle| session.call_text(store, handle))
    }

    /// What a returning reader needs, and the cursor that it covers.
    pub fn resume_state(&mut self) -> Result<Snapshot, Error> {
        self.ask(|session, store, handle| session.call_resume_state(store, handle))
    }

    /// Everything up to the job's head as a checkpoint.
    pub fn save(&mut self) -> Result<String, Error> {
        self.ask(|session, store, handle| session.call_save(store, handle))
    }

    fn call<R>(
        &mut self,
        run: impl FnOnce(wit::GuestSession<'_>, &mut Store<State<I>>, ResourceAny) -> wasmtime::Result<R>,
    ) -> Result<R, Error> {
        let handle = self.handle;
        self.instance.call(|exports, store| run(exports.rejoin_streams_session().session(), store, handle))
    }

    fn ask<R>(
        &mut self,
        run: impl FnOnce(wit::GuestSession<'_>, &mut Store<State<I>>, ResourceAny) -> wasmtime::Result<Result<R, Refusal>>,
    ) -> Result<R, Error> {
        self.call(run)?.map_err(Error::Refused)
    }

    /// A call that may have asked for a write.
    fn command<R>(
        &mut self,
        run: impl FnOnce(wit::GuestSession<'_>, &mut Store<State<I>>, ResourceAny) -> wasmtime::Result<Result<R, Refusal>>,
    ) -> Result<R, Error> {
        let answer = self.ask(run)?;
        if let Some((ticket, outcome)) = self.instance.store.data_mut().answered.take() {
            self.settle(ticket, outcome)?;
        }
        Ok(answer)
    }
}
