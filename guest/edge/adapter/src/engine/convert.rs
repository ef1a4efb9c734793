//! WIT values to the words of the house and back, one conversion a type.

use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};

use crate::bindings::rejoin::streams::types as wit;
use crate::types::{Cursor, Entry, Job, RecordKind, Status};

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
        fields: fields(from.fields),
    }
}

pub(super) fn wit_job(from: &Job) -> wit::Job {
    let field = |(name, value): &(String, String)| wit::Field { name: name.clone(), value: value.clone() };
    wit::Job {
        generation: from.generation,
        status: from.status.into(),
        user_id: from.user_id.clone(),
        created_ms: from.created_ms,
        updated_ms: from.updated_ms,
        settled_ms: from.settled_ms,
        head: from.head,
        fields: from.fields.iter().map(field).collect(),
    }
}

pub(super) fn fields(from: Vec<wit::Field>) -> Vec<(String, String)> {
    from.into_iter().map(|field| (field.name, field.value)).collect()
}

/// Packs the records of one append; none when there are none.
pub(super) fn pack(first: Cursor, records: &[wit::LogRecord]) -> Option<Entry> {
    if records.is_empty() {
        return None;
    }
    let mut lines = BytesMut::with_capacity(records.iter().map(|record| record.json.len() + 1).sum());
    for record in records {
        lines.put_slice(record.json.as_bytes());
        lines.put_u8(b'\n');
    }
    let kind = |record: &wit::LogRecord| match record.kind {
        wit::RecordKind::Event => RecordKind::Event,
        wit::RecordKind::Internal => RecordKind::Internal,
        wit::RecordKind::Final => RecordKind::Final,
        wit::RecordKind::Failure => RecordKind::Failure,
    };
    let plain = records.iter().all(|record| record.kind == wit::RecordKind::Event);
    let kinds: Arc<[RecordKind]> = if plain { Arc::new([]) } else { records.iter().map(kind).collect() };
    Some(Entry { first, lines: lines.freeze(), kinds, count: records.len() as u64 })
}
