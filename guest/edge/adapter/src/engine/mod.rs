//! A session of the core for one request: opened from row, checkpoint and log; called; what it asks for carried out,
//! settled; the whole once more when others wrote in between.

mod convert;
mod open;
mod run;

pub(crate) use self::run::{Place, Sessions};
pub(crate) use crate::bindings::rejoin::streams::types::Refusal;

use crate::store::StoreError;
use crate::types::{Cursor, Job};

/// Why a command did not do what it was asked for. The cases are the server's; some of them cannot happen here: a trap
/// of the core ends this component too.
#[derive(Clone, Debug, thiserror::Error)]
#[expect(dead_code, reason = "as the server has them")]
pub(crate) enum Failure {
    /// An expected answer; nothing has changed.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// Not here.
    #[error("the component trapped: {0}")]
    Trapped(String),
    /// Not here.
    #[error("limit exceeded: {0}")]
    LimitExceeded(&'static str),
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not here.
    #[error("overloaded: try again")]
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

/// What a push did.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) appended: u64,
    pub(crate) duplicate: u64,
    pub(crate) first: Option<Cursor>,
    pub(crate) last: Option<Cursor>,
    pub(crate) stopped: Option<(u32, Refusal)>,
}

/// Everything there is of an aborted generation.
pub(crate) struct Aborted {
    pub(crate) job: Job,
    pub(crate) content: String,
    pub(crate) text: String,
    pub(crate) final_event: String,
}

/// State and position from one cut.
pub(crate) struct Snapshot {
    pub(crate) at: Cursor,
    pub(crate) state: String,
}

/// The job with its content.
pub(crate) struct Content {
    pub(crate) job: Job,
    pub(crate) at: Cursor,
    pub(crate) parts: String,
}
