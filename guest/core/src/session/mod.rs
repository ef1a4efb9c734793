//! One live generation as a value: job, log position, content, run steps.
//!
//! A command looks at the job table, folds what it takes, and asks for an append; [`Session::settle`] says what
//! became of it. The fold runs **before** the append: a record that the fold cannot survive never reaches the log.
//! In between nothing can be read ([`Refusal::Busy`]), so nobody sees what the store has not accepted; and when the
//! store refuses, the session is lost as a whole. It was only a cache.

mod checkpoint;
mod command;
mod create;
mod push;
mod settle;

use crate::content::Aggregator;
use crate::event::Event;
use crate::final_event;
use crate::job::{self, Command};
use crate::json::Json;
use crate::lines::{Framing, Lines};
use crate::resume::RunSteps;
use crate::types::{Change, Cursor, Effect, Field, Job, Limits, Outcome, Record, RecordKind, Refusal, Signal, Status};

pub use command::Fence;
pub use push::{Producer, Pushed, Stopped};
pub use settle::Settled;

/// The field that holds the action a paused job waits for.
const PENDING_ACTION: &str = "pendingAction";

/// State and position from one cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record that `state` contains; never the terminal one, which a reader still gets.
    pub at: Cursor,
    /// JSON object: `runSteps`, `aggregatedContent`, and what is known of the job's fields.
    pub state: String,
}

/// One stream's current generation. See the module.
pub struct Session {
    limits: Limits,
    job: Option<Job>,
    /// Last record folded.
    sequence: u64,
    /// Bytes of all records up to `sequence`.
    bytes: u64,
    fold: Aggregator,
    steps: RunSteps,
    pace: checkpoint::Pace,
    /// The log was not replayed to its end: good for ending the generation, never for a checkpoint.
    partial: bool,
    tickets: u64,
    state: State,
    effects: Vec<Effect>,
}

/// Whether the session may be asked anything.
enum State {
    Ready,
    /// An append is under way.
    Pending(Pending),
    /// The store has refused one: what is here is no longer true.
    Lost,
}

/// What follows when the append is accepted.
struct Pending {
    ticket: u64,
    publish: bool,
    /// With the generation whose producers it is for.
    signal: Option<(u64, Signal)>,
}

impl Session {
    /// Opens a stream as the store has it. A checkpoint that cannot be read, or of another generation, is passed over.
    pub fn open(job: Option<Job>, checkpoint: Option<&str>, limits: Limits) -> Self {
        let mut session = Session {
            limits,
            job,
            sequence: 0,
            bytes: 0,
            fold: Aggregator::new(),
            steps: RunSteps::default(),
            pace: checkpoint::Pace::default(),
            partial: false,
            tickets: 0,
            state: State::Ready,
            effects: Vec::new(),
        };
        if let Some(saved) = checkpoint {
            session.restore(saved);
        }
        session
    }

    /// Takes records of the log after [`Session::head`], one a line, in order.
    pub fn replay(&mut self, lines: &str) -> Result<(), Refusal> {
        self.ready()?;
        for (_, record) in Lines::new(Framing::Ndjson, lines) {
            let record = record.map_err(Refusal::Invalid)?;
            self.take(record, &Event::of(record));
        }
        Ok(())
    }

    /// Folds one record and moves the position past it.
    fn take(&mut self, record: Json<'_>, event: &Event<'_>) {
        // A row of the store may say anything: positions end at the last one, they do not begin anew.
        self.sequence = self.sequence.saturating_add(1);
        self.bytes = self.bytes.saturating_add(record.text().len() as u64);
        self.pace.note(record.text().len());
        if let Some((name, data)) = event.named {
            self.fold.push_event(name, data);
            self.steps.push(name, data);
        }
    }

    /// What the host shall do, in order. Taken once.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The log position reached.
    pub fn head(&self) -> Cursor {
        Cursor { generation: self.job.as_ref().map_or(0, |job| job.generation), sequence: self.sequence }
    }

    /// The job as it stands, an unsettled append included.
    pub fn job(&self) -> Option<&Job> {
        self.job.as_ref()
    }

    /// The content parts: a JSON list.
    pub fn content(&self) -> Result<String, Refusal> {
        self.ready()?;
        Ok(self.fold.parts())
    }

    /// All text parts joined and trimmed: a JSON string.
    pub fn text(&self) -> Result<String, Refusal> {
        self.ready()?;
        Ok(format!("\"{}\"", self.fold.text()))
    }

    /// What a returning reader needs, with the position it covers.
    pub fn resume_state(&self) -> Result<Snapshot, Refusal> {
        self.ready()?;
        let job = self.job.as_ref().ok_or(Refusal::NotFound)?;
        let mut state = String::from("{\"runSteps\":");
        self.steps.write(&mut state);
        state.push_str(",\"aggregatedContent\":");
        self.fold.write_parts(&mut state);
        for name in ["userMessage", "responseMessageId", "conversationId", "sender", PENDING_ACTION] {
            if let Some(value) = job.field(name) {
                crate::resume::write_member(&mut state, name, value);
            }
        }
        state.push('}');
        // The terminal record changes no content: leaving it out lets every reader have the end as data, once.
        let terminal = u64::from(job.status.is_terminal());
        Ok(Snapshot { at: Cursor { sequence: self.sequence.saturating_sub(terminal), ..self.head() }, state })
    }

    /// The `index` that a new run step may take without meeting an earlier one's.
    pub fn next_index(&self) -> u64 {
        self.steps.next_index()
    }

    fn ready(&self) -> Result<(), Refusal> {
        match self.state {
            State::Ready => Ok(()),
            State::Pending(_) => Err(Refusal::Busy),
            State::Lost => Err(Refusal::Lost),
        }
    }

    /// The job, if a command may be given to it now.
    fn active(&self, fence: Fence) -> Result<&Job, Refusal> {
        self.ready()?;
        let job = self.job.as_ref().ok_or(Refusal::NotFound)?;
        fence.check(job.generation)?;
        Ok(job)
    }

    /// Asks for an append that ends at the present position. `records` have been folded already.
    fn append(&mut self, now_ms: u64, records: Vec<Record>, mut change: Change, signal: Option<(u64, Signal)>) {
        let Some(job) = &mut self.job else { return };
        if change.status.is_some_and(Status::is_terminal) && job.field(PENDING_ACTION).is_some() {
            // Nobody can answer it any more.
            change.fields.push(Field { name: PENDING_ACTION.into(), value: "null".into() });
        }
        change.fields.iter().for_each(|field| job.set(field));
        if let Some(status) = change.status {
            job.status = status;
            job.settled_ms = status.is_terminal().then_some(now_ms);
        }
        if !records.is_empty() {
            job.updated_ms = now_ms;
            job.head = self.sequence;
        }
        let first = self.sequence.saturating_sub(records.len() as u64).saturating_add(1);
        let first = Cursor { generation: job.generation, sequence: first };
        let ticket = self.issue(!records.is_empty(), signal);
        self.effects.push(Effect::Append { ticket, first, records, change });
    }

    fn issue(&mut self, publish: bool, signal: Option<(u64, Signal)>) -> u64 {
        self.tickets += 1;
        self.state = State::Pending(Pending { ticket: self.tickets, publish, signal });
        self.tickets
    }

    /// Makes a record of the core's own, folds it, and returns it.
    fn own_record(&mut self, json: String, kind: RecordKind) -> Record {
        if let Ok(parsed) = Json::parse(&json) {
            self.take(parsed, &Event::of(parsed));
        }
        Record { json, kind }
    }

    /// The last record of a failed generation, and the change that goes with it.
    fn failure(&mut self, reason: &str, expected_status: Status, mut fields: Vec<Field>) -> (Record, Change) {
        let mut error = String::new();
        crate::json::write_string(&mut error, reason);
        fields.push(Field { name: "error".into(), value: error });
        let record = self.own_record(final_event::failure(reason), RecordKind::Failure);
        (record, Change { status: Some(Status::Error), expected_status, fields })
    }
}
