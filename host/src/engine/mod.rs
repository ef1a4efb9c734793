//! The only room that knows wasmtime: runs the component, one instance per live session.
//!
//! [`Sessions`] is what other rooms see: one async method per command of `wit/session.wit`, each of which finds or
//! opens the stream's session, calls the component, carries out what it asked for, and settles it.

mod bindings;
mod checkpoints;
mod commands;
mod convert;
mod imports;
mod instance;
mod open;
mod registry;
mod run;
mod runtime;
mod standing;
mod translator;
pub mod tunables;
mod write;

use crate::store::StoreError;
use crate::types::{Cursor, Job};

pub use bindings::rejoin::streams::types::Refusal;
pub use registry::{Sessions, SessionsConfig};
pub use runtime::{COMPONENT_SHA256, Runtime, RuntimeConfig};
pub use translator::{Dialect, TRANSLATORS_MAX, Translated, Translator};

/// How the text of a push is cut into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One JSON object a line.
    Ndjson,
    /// One JSON object, or a list of them.
    Json,
}

/// Makes repeats of a request harmless.
#[derive(Clone, Copy, Debug)]
pub struct Producer<'a> {
    /// Who appends: 1 to 128 bytes.
    pub id: &'a str,
    /// Number of the request, growing by one.
    pub seq: u64,
    /// Records of the same request that were pushed before.
    pub offset: u64,
}

/// What became of a push.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// New records, durable now.
    pub appended: u64,
    /// Records recognised as repeats.
    pub duplicate: u64,
    /// Cursor of the first record.
    pub first: Option<Cursor>,
    /// Cursor of the last one.
    pub last: Option<Cursor>,
    /// Line within the text (from 1) where it stopped, and why. Everything before is durable.
    pub stopped: Option<(u32, Refusal)>,
}

/// State and position from one cut.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The last record that the state contains; never the terminal one.
    pub at: Cursor,
    /// JSON object of `GET …/resume`, without the cursor.
    pub state: String,
}

/// The job with its content from one cut.
#[derive(Clone, Debug)]
pub struct Content {
    /// The row.
    pub job: Job,
    /// The last record folded.
    pub at: Cursor,
    /// The content parts: a JSON list.
    pub parts: String,
}

/// What an abort gives to whoever won it.
#[derive(Clone, Debug)]
pub struct Aborted {
    /// The row, aborted.
    pub job: Job,
    /// The content parts: a JSON list.
    pub content: String,
    /// All text, joined and trimmed: a JSON string.
    pub text: String,
    /// The terminal record: a JSON object.
    pub final_event: String,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An expected answer; nothing has changed.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The component trapped on this call. Its instance is gone, the batch was not stored, the next call opens a new one.
    #[error("the component trapped: {0}")]
    Trapped(String),
    /// The call took more time or memory than a generation may have; the generation has ended in `error`.
    #[error("limit exceeded: {0}")]
    LimitExceeded(&'static str),
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// As many sessions as may be open are at work.
    #[error("all sessions that --sessions-max allows are at work: try again, or raise it")]
    Overloaded,
    /// Other replicas appended again and again in between.
    #[error("the stream is being written by other producers: try again")]
    Contended,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}
