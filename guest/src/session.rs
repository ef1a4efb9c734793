//! `session`: one live generation. Adds the time of day, and turns the core's effects into calls of the imports.

use std::cell::{RefCell, RefMut};

use rejoin_core::lines::Framing;
use rejoin_core::session::{Fence, Producer, Session, Settled};
use rejoin_core::types::{Effect, Outcome, Refusal, Signal};

use crate::Component;
use crate::bindings::exports::rejoin::streams::session as wit;
use crate::bindings::rejoin::streams::{sse, store, types};
use crate::bindings::wasi::clocks::wall_clock;
use crate::convert;

impl wit::Guest for Component {
    type Session = Live;
}

/// One session and the name that its imports go by.
pub(crate) struct Live {
    stream: String,
    session: RefCell<Session>,
}

impl Live {
    /// Runs a command and hands its effects to the host, in order.
    fn run<T>(&self, command: impl FnOnce(&mut Session) -> Result<T, Refusal>) -> Result<T, types::Refusal> {
        let mut session = self.session.borrow_mut();
        let result = command(&mut session);
        self.carry_out(session);
        result.map_err(convert::refusal)
    }

    fn command(
        &self,
        command: impl FnOnce(&mut Session) -> Result<Outcome, Refusal>,
    ) -> Result<wit::Effect, types::Refusal> {
        self.run(command).map(effect)
    }

    fn carry_out(&self, mut session: RefMut<'_, Session>) {
        let stream = &self.stream;
        for effect in session.take_effects() {
            match effect {
                Effect::Create { ticket, previous, job } => {
                    store::create(stream, ticket, previous, &convert::job(job));
                }
                Effect::Append { ticket, first, records, change } => {
                    let records: Vec<_> = records.into_iter().map(convert::record).collect();
                    store::append(stream, ticket, convert::cursor(first), &records, &convert::change(change));
                }
                Effect::Checkpoint { at, state } => store::checkpoint(stream, convert::cursor(at), &state),
                Effect::Publish { at } => sse::publish(stream, convert::cursor(at)),
                Effect::Signal { generation, signal } => {
                    let signal = match signal {
                        Signal::Abort => sse::ProducerSignal::Abort,
                        Signal::Replaced(by) => sse::ProducerSignal::Replaced(by),
                        Signal::Resolved(data) => sse::ProducerSignal::Resolved(data),
                    };
                    sse::signal(stream, generation, &signal);
                }
            }
        }
    }
}

impl wit::GuestSession for Live {
    fn open(
        stream: String,
        job: Option<types::Job>,
        checkpoint: Option<String>,
        limits: types::Limits,
    ) -> wit::Session {
        let session = Session::open(job.map(convert::core_job), checkpoint.as_deref(), convert::limits(limits));
        wit::Session::new(Live { stream, session: RefCell::new(session) })
    }

    fn head(&self) -> types::Cursor {
        convert::cursor(self.session.borrow().head())
    }

    fn replay(&self, lines: String) -> Result<(), types::Refusal> {
        self.run(|session| session.replay(&lines))
    }

    fn create(
        &self,
        user_id: Option<String>,
        idempotency_key: Option<String>,
        request: String,
    ) -> Result<wit::Effect, types::Refusal> {
        self.command(|s| s.create(now_ms(), user_id.as_deref(), idempotency_key.as_deref(), &request))
    }

    fn push(
        &self,
        generation: Option<u64>,
        framing: wit::Framing,
        text: String,
        producer: Option<wit::Producer>,
    ) -> Result<wit::Pushed, types::Refusal> {
        let framing = match framing {
            wit::Framing::Ndjson => Framing::Ndjson,
            wit::Framing::Json => Framing::Json,
        };
        let producer = producer.as_ref().map(|p| Producer { id: &p.id, seq: p.seq, offset: p.offset });
        let pushed = self.run(|session| session.push(now_ms(), Fence(generation), framing, &text, producer))?;
        Ok(wit::Pushed {
            effect: effect(pushed.outcome),
            appended: pushed.appended,
            duplicate: pushed.duplicate,
            first: pushed.first.map(convert::cursor),
            last: pushed.last.map(convert::cursor),
            stopped: pushed
                .stopped
                .map(|stopped| wit::Stopped { line: stopped.line, reason: convert::refusal(stopped.reason) }),
        })
    }

    fn update(&self, fields: String) -> Result<wit::Effect, types::Refusal> {
        self.command(|session| session.update(now_ms(), &fields))
    }

    fn complete(&self, generation: Option<u64>, final_event: Option<String>) -> Result<wit::Effect, types::Refusal> {
        self.command(|session| session.complete(now_ms(), Fence(generation), final_event.as_deref()))
    }

    fn fail(&self, generation: Option<u64>, reason: String) -> Result<wit::Effect, types::Refusal> {
        self.command(|session| session.fail(now_ms(), Fence(generation), &reason))
    }

    fn abort(&self, generation: Option<u64>) -> Result<wit::Effect, types::Refusal> {
        self.command(|session| session.abort(now_ms(), Fence(generation)))
    }

    fn time_out(&self) -> Result<wit::Effect, types::Refusal> {
        self.command(|session| session.time_out(now_ms()))
    }

    fn pause(&self, generation: Option<u64>, action: String) -> Result<wit::Effect, types::Refusal> {
        self.command(|session| session.pause(now_ms(), Fence(generation), &action))
    }

    fn resolve(
        &self,
        generation: Option<u64>,
        action_id: String,
        decision: String,
    ) -> Result<wit::Effect, types::Refusal> {
        self.command(|session| session.resolve(now_ms(), Fence(generation), &action_id, &decision))
    }

    fn settle(&self, ticket: u64, outcome: wit::Outcome) -> Result<(), types::Refusal> {
        let settled = match outcome {
            wit::Outcome::Accepted => Settled::Accepted,
            wit::Outcome::Refused(refusal) => Settled::Refused(convert::core_refusal(refusal)),
        };
        self.run(|session| session.settle(ticket, settled))
    }

    fn job(&self) -> Option<types::Job> {
        self.session.borrow().job().cloned().map(convert::job)
    }

    fn content(&self) -> Result<String, types::Refusal> {
        self.session.borrow().content().map_err(convert::refusal)
    }

    fn text(&self) -> Result<String, types::Refusal> {
        self.session.borrow().text().map_err(convert::refusal)
    }

    fn next_index(&self) -> u64 {
        self.session.borrow().next_index()
    }

    fn resume_state(&self) -> Result<wit::Snapshot, types::Refusal> {
        let snapshot = self.session.borrow().resume_state().map_err(convert::refusal)?;
        Ok(wit::Snapshot { at: convert::cursor(snapshot.at), state: snapshot.state })
    }

    fn save(&self) -> Result<String, types::Refusal> {
        self.session.borrow().save().map_err(convert::refusal)
    }
}

fn effect(outcome: Outcome) -> wit::Effect {
    match outcome {
        Outcome::Pending => wit::Effect::Pending,
        Outcome::Unchanged => wit::Effect::Unchanged,
    }
}

/// Unix milliseconds.
fn now_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds * 1000 + u64::from(now.nanoseconds / 1_000_000)
}
