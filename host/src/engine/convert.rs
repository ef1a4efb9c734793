//! WIT values to the host's words and back, one conversion a type.

use super::bindings::rejoin::streams::types as wit;
use super::bindings::rejoin::streams::types::Refusal;
use crate::metrics::Reason;
use crate::store::Written;
use crate::types::{Cursor, Job, RecordKind, Status};

impl From<wit::Cursor> for Cursor {
    fn from(cursor: wit::Cursor) -> Self {
        Cursor { generation: cursor.generation, sequence: cursor.sequence }
    }
}

impl From<wit::Status> for Status {
    fn from(status: wit::Status) -> Self {
        match status {
            wit::Status::Running => Status::Running,
            wit::Status::RequiresAction => Status::RequiresAction,
            wit::Status::Complete => Status::Complete,
            wit::Status::Error => Status::Error,
            wit::Status::Aborted => Status::Aborted,
        }
    }
}

impl From<Status> for wit::Status {
    fn from(status: Status) -> Self {
        match status {
            Status::Running => wit::Status::Running,
            Status::RequiresAction => wit::Status::RequiresAction,
            Status::Complete => wit::Status::Complete,
            Status::Error => wit::Status::Error,
            Status::Aborted => wit::Status::Aborted,
        }
    }
}

impl From<wit::RecordKind> for RecordKind {
    fn from(kind: wit::RecordKind) -> Self {
        match kind {
            wit::RecordKind::Event => RecordKind::Event,
            wit::RecordKind::Internal => RecordKind::Internal,
            wit::RecordKind::Final => RecordKind::Final,
            wit::RecordKind::Failure => RecordKind::Failure,
        }
    }
}

pub(super) fn job(from: wit::Job) -> Job {
    Job {
        generation: from.generation,
        status: from.status.into(),
        user_id: from.user_id,
        created_ms: from.created_ms,
        updated_ms: from.updated_ms,
        settled_ms: from.settled_ms,
        head: from.head,
        revision: 0,
        fields: from.fields.into_iter().map(|field| (field.name, field.value)).collect(),
    }
}

pub(super) fn wit_job(from: Job) -> wit::Job {
    wit::Job {
        generation: from.generation,
        status: from.status.into(),
        user_id: from.user_id,
        created_ms: from.created_ms,
        updated_ms: from.updated_ms,
        settled_ms: from.settled_ms,
        head: from.head,
        fields: from.fields.into_iter().map(|(name, value)| wit::Field { name, value }).collect(),
    }
}

/// The store's answer as the component hears it; none when it was accepted.
pub(super) fn refusal(written: Written) -> Option<wit::Refusal> {
    match written {
        Written::Accepted => None,
        Written::NotFound => Some(wit::Refusal::NotFound),
        Written::GenerationReplaced(current) => Some(wit::Refusal::GenerationReplaced(current)),
        Written::NotActive(status) => Some(wit::Refusal::NotActive(status.into())),
        Written::Behind(head) => Some(wit::Refusal::Behind(head)),
        Written::Ahead(end) => Some(wit::Refusal::Behind(end.sequence)),
    }
}

/// What a refusal is counted as.
pub(super) fn reason(refusal: &Refusal) -> Reason {
    match refusal {
        Refusal::NotFound => Reason::NotFound,
        Refusal::NotActive(_) => Reason::NotActive,
        Refusal::GenerationReplaced(_) => Reason::GenerationReplaced,
        Refusal::AlreadyActive(_) => Reason::AlreadyActive,
        Refusal::GenerationMismatch(_) => Reason::GenerationMismatch,
        Refusal::Forbidden => Reason::Forbidden,
        Refusal::NoSuchAction => Reason::NoSuchAction,
        Refusal::Paused => Reason::Paused,
        Refusal::Invalid(_) => Reason::Invalid,
        Refusal::RecordTooLarge(_) => Reason::RecordTooLarge,
        Refusal::LogFull => Reason::LogFull,
        Refusal::ProducerGap(_) => Reason::ProducerGap,
        Refusal::Behind(_) | Refusal::Busy | Refusal::Lost => Reason::Contended,
    }
}
