//! WIT values to core values and back, one function a type.

use rejoin_core::types as core;

use crate::bindings::rejoin::streams::types as wit;

pub(crate) fn cursor(from: core::Cursor) -> wit::Cursor {
    wit::Cursor { generation: from.generation, sequence: from.sequence }
}

pub(crate) fn status(from: core::Status) -> wit::Status {
    match from {
        core::Status::Running => wit::Status::Running,
        core::Status::RequiresAction => wit::Status::RequiresAction,
        core::Status::Complete => wit::Status::Complete,
        core::Status::Error => wit::Status::Error,
        core::Status::Aborted => wit::Status::Aborted,
    }
}

pub(crate) fn core_status(from: wit::Status) -> core::Status {
    match from {
        wit::Status::Running => core::Status::Running,
        wit::Status::RequiresAction => core::Status::RequiresAction,
        wit::Status::Complete => core::Status::Complete,
        wit::Status::Error => core::Status::Error,
        wit::Status::Aborted => core::Status::Aborted,
    }
}

pub(crate) fn fields(from: Vec<core::Field>) -> Vec<wit::Field> {
    from.into_iter().map(|field| wit::Field { name: field.name, value: field.value }).collect()
}

pub(crate) fn job(from: core::Job) -> wit::Job {
    wit::Job {
        generation: from.generation,
        status: status(from.status),
        user_id: from.user_id,
        created_ms: from.created_ms,
        updated_ms: from.updated_ms,
        settled_ms: from.settled_ms,
        head: from.head,
        fields: fields(from.fields),
    }
}

pub(crate) fn core_job(from: wit::Job) -> core::Job {
    core::Job {
        generation: from.generation,
        status: core_status(from.status),
        user_id: from.user_id,
        created_ms: from.created_ms,
        updated_ms: from.updated_ms,
        settled_ms: from.settled_ms,
        head: from.head,
        fields: from.fields.into_iter().map(|field| core::Field { name: field.name, value: field.value }).collect(),
    }
}

pub(crate) fn record(from: core::Record) -> wit::LogRecord {
    let kind = match from.kind {
        core::RecordKind::Event => wit::RecordKind::Event,
        core::RecordKind::Internal => wit::RecordKind::Internal,
        core::RecordKind::Final => wit::RecordKind::Final,
        core::RecordKind::Failure => wit::RecordKind::Failure,
    };
    wit::LogRecord { json: from.json, kind }
}

pub(crate) fn change(from: core::Change) -> wit::Change {
    wit::Change {
        status: from.status.map(status),
        expected_status: status(from.expected_status),
        fields: fields(from.fields),
    }
}

pub(crate) fn limits(from: wit::Limits) -> core::Limits {
    core::Limits {
        record_bytes_max: from.record_bytes_max,
        records_max: from.records_max,
        log_bytes_max: from.log_bytes_max,
        idle_ms: from.idle_ms,
        paused_idle_ms: from.paused_idle_ms,
    }
}

pub(crate) fn refusal(from: core::Refusal) -> wit::Refusal {
    use core::Refusal as Core;
    match from {
        Core::NotFound => wit::Refusal::NotFound,
        Core::NotActive(won) => wit::Refusal::NotActive(status(won)),
        Core::GenerationReplaced(current) => wit::Refusal::GenerationReplaced(current),
        Core::AlreadyActive(current) => wit::Refusal::AlreadyActive(current),
        Core::GenerationMismatch(current) => wit::Refusal::GenerationMismatch(current),
        Core::Forbidden => wit::Refusal::Forbidden,
        Core::NoSuchAction => wit::Refusal::NoSuchAction,
        Core::Paused => wit::Refusal::Paused,
        Core::Invalid(reason) => wit::Refusal::Invalid(reason),
        Core::RecordTooLarge(max) => wit::Refusal::RecordTooLarge(max),
        Core::LogFull => wit::Refusal::LogFull,
        Core::ProducerGap(expected) => wit::Refusal::ProducerGap(expected),
        Core::Behind(head) => wit::Refusal::Behind(head),
        Core::Busy => wit::Refusal::Busy,
        Core::Lost => wit::Refusal::Lost,
    }
}

pub(crate) fn core_refusal(from: wit::Refusal) -> core::Refusal {
    use core::Refusal as Core;
    match from {
        wit::Refusal::NotFound => Core::NotFound,
        wit::Refusal::NotActive(won) => Core::NotActive(core_status(won)),
        wit::Refusal::GenerationReplaced(current) => Core::GenerationReplaced(current),
        wit::Refusal::AlreadyActive(current) => Core::AlreadyActive(current),
        wit::Refusal::GenerationMismatch(current) => Core::GenerationMismatch(current),
        wit::Refusal::Forbidden => Core::Forbidden,
        wit::Refusal::NoSuchAction => Core::NoSuchAction,
        wit::Refusal::Paused => Core::Paused,
        wit::Refusal::Invalid(reason) => Core::Invalid(reason),
        wit::Refusal::RecordTooLarge(max) => Core::RecordTooLarge(max),
        wit::Refusal::LogFull => Core::LogFull,
        wit::Refusal::ProducerGap(expected) => Core::ProducerGap(expected),
        wit::Refusal::Behind(head) => Core::Behind(head),
        wit::Refusal::Busy => Core::Busy,
        wit::Refusal::Lost => Core::Lost,
    }
}
