//! Commands that end, pause, continue or describe a generation. Each is one append: the record that tells the
//! readers and the change of the job row are accepted together or not at all.

use super::*;
use crate::json::{Kind, write_string};
use crate::lines::one_line;
use crate::resume::write_member;

/// The generation a caller believes in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fence(pub Option<u64>);

impl Fence {
    pub(super) fn check(self, current: u64) -> Result<(), Refusal> {
        match self.0 {
            Some(ours) if ours < current => Err(Refusal::GenerationReplaced(current)),
            Some(ours) if ours > current => Err(Refusal::GenerationMismatch(current)),
            _ => Ok(()),
        }
    }
}

impl Session {
    /// Ends well, with the producer's own final event or one made from the content. Repeating it changes nothing.
    pub fn complete(&mut self, now_ms: u64, fence: Fence, event: Option<&str>) -> Result<Outcome, Refusal> {
        let job = self.active(fence)?;
        if job.status == Status::Complete {
            return Ok(Outcome::Unchanged);
        }
        let status = job::next(job.status, Command::Complete)?;
        let json = match event {
            Some(event) => final_event::given(object(event, "the final event")?),
            None => final_event::build(job, &self.fold.parts(), &self.fold.text(), final_event::Ending::Complete),
        };
        self.end(now_ms, status, json, None)
    }

    /// Ends in an error. Repeating it changes nothing.
    pub fn fail(&mut self, now_ms: u64, fence: Fence, reason: &str) -> Result<Outcome, Refusal> {
        let job = self.active(fence)?;
        if job.status == Status::Error {
            return Ok(Outcome::Unchanged);
        }
        job::next(job.status, Command::Fail)?;
        let (expected, head) = (job.status, job.head);
        // A session that was opened without its content, because the content is what failed, still ends the log.
        self.partial = self.sequence < head;
        self.sequence = self.sequence.max(head);
        let (record, change) = self.failure(reason, expected, Vec::new());
        self.append(now_ms, vec![record], change, None);
        Ok(Outcome::Pending)
    }

    /// Stops: the last record holds what there is.
    pub fn abort(&mut self, now_ms: u64, fence: Fence) -> Result<Outcome, Refusal> {
        let job = self.active(fence)?;
        let status = job::next(job.status, Command::Abort)?;
        let signal = (job.generation, Signal::Abort);
        let json = final_event::build(job, &self.fold.parts(), &self.fold.text(), final_event::Ending::Aborted);
        self.end(now_ms, status, json, Some(signal))
    }

    /// Ends in `error` "timed out" when no append came for `limits.idle_ms` (`paused_idle_ms`); else changes nothing.
    pub fn time_out(&mut self, now_ms: u64) -> Result<Outcome, Refusal> {
        let job = self.active(Fence::default())?;
        job::next(job.status, Command::Fail)?;
        let paused = job.status == Status::RequiresAction;
        let idle_ms = if paused { self.limits.paused_idle_ms } else { self.limits.idle_ms };
        if now_ms < job.updated_ms.saturating_add(idle_ms) {
            return Ok(Outcome::Unchanged);
        }
        self.fail(now_ms, Fence::default(), "timed out")
    }

    /// Pauses until a person answers `action`, a JSON object. Without an `id` it gets one.
    pub fn pause(&mut self, now_ms: u64, fence: Fence, action: &str) -> Result<Outcome, Refusal> {
        let job = self.active(fence)?;
        let status = job::next(job.status, Command::Pause)?;
        let expected_status = job.status;
        let action = object(action, "the action")?;
        let action = match action.get("id") {
            Some(id) if id.literal().is_some_and(|id| !id.is_empty()) => one_line(action).into_owned(),
            Some(_) => return Err(Refusal::Invalid("the action's id must be a string that is not empty".into())),
            None => {
                let mut named = format!("{{\"id\":\"action_{}\"", self.head());
                action.entries().for_each(|(key, value)| write_member(&mut named, key, &one_line(value)));
                named + "}"
            }
        };
        let record = format!("{{\"event\":\"on_action_requested\",\"data\":{action}}}");
        let record = self.own_record(record, RecordKind::Event);
        let fields = vec![Field { name: PENDING_ACTION.into(), value: action }];
        self.append(now_ms, vec![record], Change { status: Some(status), expected_status, fields }, None);
        Ok(Outcome::Pending)
    }

    /// A person's answer to the pending action. Exactly one wins: for everyone else it is no longer pending.
    pub fn resolve(&mut self, now_ms: u64, fence: Fence, id: &str, decision: &str) -> Result<Outcome, Refusal> {
        let job = self.active(fence)?;
        let status = job::next(job.status, Command::Resolve)?;
        let pending = job.field(PENDING_ACTION).and_then(|text| Json::parse(text).ok());
        if !pending.and_then(|action| action.get("id")).is_some_and(|pending| pending.is_string(id)) {
            return Err(Refusal::NoSuchAction);
        }
        let decision = Json::parse(decision).map_err(Refusal::Invalid)?;
        let (generation, expected_status) = (job.generation, job.status);
        let mut data = String::from("{\"actionId\":");
        write_string(&mut data, id);
        write_member(&mut data, "decision", &one_line(decision));
        data.push('}');
        let record = format!("{{\"event\":\"on_action_resolved\",\"data\":{data}}}");
        let record = self.own_record(record, RecordKind::Event);
        let fields = vec![Field { name: PENDING_ACTION.into(), value: "null".into() }];
        let signal = Some((generation, Signal::Resolved(data)));
        self.append(now_ms, vec![record], Change { status: Some(status), expected_status, fields }, signal);
        Ok(Outcome::Pending)
    }

    /// Writes metadata, a JSON object of known fields, whatever the status. Null removes a field.
    pub fn update(&mut self, now_ms: u64, fields: &str) -> Result<Outcome, Refusal> {
        let job = self.active(Fence::default())?;
        let mut written = Vec::new();
        for (key, value) in object(fields, "the metadata")?.entries() {
            written.push(metadata(key, value)?);
        }
        written.retain(|field| job.field(&field.name).unwrap_or("null") != field.value);
        if written.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        let change = Change { status: None, expected_status: job.status, fields: written };
        self.append(now_ms, Vec::new(), change, None);
        Ok(Outcome::Pending)
    }

    fn end(
        &mut self,
        now_ms: u64,
        status: Status,
        json: String,
        signal: Option<(u64, Signal)>,
    ) -> Result<Outcome, Refusal> {
        let Some(expected_status) = self.job.as_ref().map(|job| job.status) else { return Err(Refusal::NotFound) };
        let record = self.own_record(json, RecordKind::Final);
        let change = Change { status: Some(status), expected_status, fields: Vec::new() };
        self.append(now_ms, vec![record], change, signal);
        Ok(Outcome::Pending)
    }
}

/// A field of metadata with its type checked. Shape: `promptTokens` a number, `userMessage` an object, the rest strings.
pub(super) fn metadata(name: &str, value: Json<'_>) -> Result<Field, Refusal> {
    let wanted = match name {
        "responseMessageId" | "sender" | "conversationId" | "endpoint" | "iconURL" | "model" => Kind::String,
        "promptTokens" => Kind::Number,
        "userMessage" => Kind::Object,
        _ => {
            return Err(Refusal::Invalid(format!(
                "unknown field {name:?}: known are responseMessageId, sender, conversationId, userMessage, endpoint, \
                 iconURL, model, promptTokens"
            )));
        }
    };
    if value.kind() != wanted && !value.is_null() {
        return Err(Refusal::Invalid(format!("{name} must be a {} or null", format!("{wanted:?}").to_lowercase())));
    }
    Ok(Field { name: name.into(), value: one_line(value).into_owned() })
}

/// A JSON object, or a refusal that names what should have been one.
pub(super) fn object<'a>(text: &'a str, what: &str) -> Result<Json<'a>, Refusal> {
    match Json::parse(text) {
        Ok(json) if json.kind() == Kind::Object => Ok(json),
        Ok(_) => Err(Refusal::Invalid(format!("{what} must be a JSON object"))),
        Err(error) => Err(Refusal::Invalid(format!("{what} is not JSON: {error}"))),
    }
}
