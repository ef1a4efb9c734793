//! The Rejoin component in a Rust program of your own.
//!
//! The component holds all meaning (job state machine, fold from events to content, what a reader resumes from) and never
//! waits: a command asks your [`Imports`] for a write and returns; the write's outcome settles it. You keep the log, in whatever
//! you have, and the way to your readers. A [`Session`] is a cache of that log: after a trap, or when another host was first,
//! drop it and open another one from what your store has.
//!
//! ```
//! use rejoin_embed::{Bounds, Change, Component, Cursor, Imports, Job, LIMITS, LogRecord, Outcome};
//!
//! /// A store that forgets at once: a real one checks and keeps, see [`Job::append`].
//! struct Nowhere;
//!
//! impl Imports for Nowhere {
//!     fn create(&mut self, _stream: &str, _ticket: u64, _previous: u64, _job: Job) -> Option<Outcome> {
//!         Some(Outcome::Accepted)
//!     }
//!     fn append(&mut self, _: &str, _: u64, _: Cursor, _: Vec<LogRecord>, _: Change) -> Option<Outcome> {
//!         Some(Outcome::Accepted)
//!     }
//! }
//!
//! # fn example(wasm: &str) -> Result<(), rejoin_embed::Error> {
//! let component = Component::from_file(wasm, Bounds::default())?;
//! let mut session = component.open(Nowhere, "chat-1", None, None, LIMITS)?;
//! session.create(Some("me"), None, "{}")?;
//! session.push(r#"{"event":"on_run_step","data":{"id":"s","index":0}}"#)?;
//! session.abort(None)?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

use http::StatusCode;

mod aggregator;
mod component;
mod imports;
mod row;
mod session;
mod streams;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../../wit",
        world: "engine",
        additional_derives: [PartialEq],
    });
}

pub use aggregator::Aggregator;
pub use bindings::exports::rejoin::streams::session::{Effect, Framing, Outcome, Producer, Pushed, Snapshot, Stopped};
pub use bindings::rejoin::streams::sse::ProducerSignal;
pub use bindings::rejoin::streams::types::{
    Change, Cursor, Field, Job, Limits, LogRecord, RecordKind, Refusal, Status,
};
pub use component::{Bounds, Component};
pub use imports::{Imports, now_ms};
pub use session::Session;
pub use streams::{Handle, Store, Streams};

/// Bounds of a generation as Rejoin's own server has them.
pub const LIMITS: Limits = Limits {
    record_bytes_max: 1 << 20,
    records_max: 200_000,
    log_bytes_max: 64 << 20,
    idle_ms: 30 * 60_000,
    paused_idle_ms: 24 * 3_600_000,
};

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An expected answer: nothing has changed.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The component trapped, or took more memory or time than [`Bounds`] allow. The instance is dead, everything else goes on;
    /// what the store has is the truth.
    #[error("the instance is dead: {0}")]
    Trapped(String),
    /// There is nothing to follow. 204 makes a browser's `EventSource` stop.
    #[error("no such stream, or nothing follows that cursor")]
    NothingFollows,
    /// As many streams as may be open are at work or read.
    #[error("all streams that may be open are at work or read: try again")]
    Overloaded,
    /// The file is no component, or one that wants other imports.
    #[error("{path} cannot be used: {reason}; `cargo xtask component` in a checkout of Rejoin makes one")]
    Unusable {
        /// The file.
        path: String,
        /// What wasmtime says.
        reason: String,
    },
}

impl Error {
    /// The HTTP status that fits: 204, 409, 500, or 503 where trying again helps.
    pub fn http_status(&self) -> StatusCode {
        match self {
            Error::Refused(_) => StatusCode::CONFLICT,
            Error::NothingFollows => StatusCode::NO_CONTENT,
            Error::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Error::Trapped(_) | Error::Unusable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}
