//! The words of the house as values: what `wit/types.wit` says, in Rust.

use std::fmt;

/// Where a record stands: `<generation>-<sequence>`, sequence from 1; 0 is before the first record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The run.
    pub generation: u64,
    /// Position in its log.
    pub sequence: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.sequence)
    }
}

/// The five states of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The producer is at work.
    Running,
    /// Paused until a person answers.
    RequiresAction,
    /// Ended well.
    Complete,
    /// Ended by a failure.
    Error,
    /// Stopped.
    Aborted,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 5] =
        [Status::Running, Status::RequiresAction, Status::Complete, Status::Error, Status::Aborted];

    /// Whether nothing can follow.
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Complete | Status::Error | Status::Aborted)
    }
}

/// One named field of the job row; its value is JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name; one with a colon is the core's own.
    pub name: String,
    /// JSON text; `null` removes the field.
    pub value: String,
}

/// The row that describes the current generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The run.
    pub generation: u64,
    /// Its state.
    pub status: Status,
    /// Who owns the stream.
    pub user_id: String,
    /// Unix milliseconds of creation.
    pub created_ms: u64,
    /// Unix milliseconds of the last accepted append.
    pub updated_ms: u64,
    /// Unix milliseconds of the end.
    pub settled_ms: Option<u64>,
    /// Sequence of the last record; 0 when there is none.
    pub head: u64,
    /// Everything else.
    pub fields: Vec<Field>,
}

impl Job {
    /// The JSON text of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|f| f.name == name).map(|f| f.value.as_str())
    }

    /// Writes a field; `null` removes it.
    pub fn set(&mut self, field: &Field) {
        self.fields.retain(|f| f.name != field.name);
        if field.value != "null" {
            self.fields.push(field.clone());
        }
    }
}

/// What delivery must know about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// Delivered.
    Event,
    /// Kept and folded, never delivered.
    Internal,
    /// Last of a completed or aborted generation.
    Final,
    /// Last of a failed generation.
    Failure,
}

/// One event as stored and sent: one JSON object on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line, without its break.
    pub json: String,
    /// How it is delivered.
    pub kind: RecordKind,
}

/// What an append does to the job row in the same atomic step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The new status, where it changes.
    pub status: Option<Status>,
    /// The status the row must still have.
    pub expected_status: Status,
    /// Fields to write.
    pub fields: Vec<Field>,
}

/// Bounds of one generation.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one record.
    pub record_bytes_max: u64,
    /// Records in the log.
    pub records_max: u64,
    /// Bytes of all records.
    pub log_bytes_max: u64,
    /// A running job without an append for this long is timed out.
    pub idle_ms: u64,
    /// The same for a job that waits for a person.
    pub paused_idle_ms: u64,
}

/// Why something did not happen. Nothing has changed. See `wit/types.wit` for what each asks of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each case is documented once, in wit/types.wit")]
pub enum Refusal {
    NotFound,
    NotActive(Status),
    GenerationReplaced(u64),
    AlreadyActive(u64),
    GenerationMismatch(u64),
    Forbidden,
    NoSuchAction,
    Paused,
    Invalid(String),
    RecordTooLarge(u64),
    LogFull,
    ProducerGap(u64),
    Behind(u64),
    Busy,
    Lost,
}

/// What a producer must hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop: aborted.
    Abort,
    /// Stop: this newer generation took over.
    Replaced(u64),
    /// Go on: `{"actionId","decision"}`.
    Resolved(String),
}

/// What the core asks of its host. None of it waits; `Create` and `Append` are answered through `Session::settle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Replace the job of the stream, if its generation is still `previous` (0: none).
    Create {
        /// Named again in `settle`.
        ticket: u64,
        /// The generation this decision was made on.
        previous: u64,
        /// The new row.
        job: Job,
    },
    /// Append to the log and change the row, all or nothing.
    Append {
        /// Named again in `settle`.
        ticket: u64,
        /// Where the first record stands.
        first: Cursor,
        /// Possibly none.
        records: Vec<Record>,
        /// What else changes.
        change: Change,
    },
    /// Keep this state as a start for later sessions.
    Checkpoint {
        /// The last record it covers.
        at: Cursor,
        /// Opaque; see `Session::open`.
        state: String,
    },
    /// Accepted up to here: wake the subscribers.
    Publish {
        /// The end of the log.
        at: Cursor,
    },
    /// Tell the producers of `generation`.
    Signal {
        /// Whose producers.
        generation: u64,
        /// What.
        signal: Signal,
    },
}

/// Whether a command called the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A ticket was issued: `settle` must follow.
    Pending,
    /// It had been done before.
    Unchanged,
}
