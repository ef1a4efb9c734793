//! Writes records, and keeps what every dialect needs for them: the body's name, the step numbers, the message
//! that is open, and the account of what is held in memory.
//!
//! Strings come and go as JSON literals (escaped, without quotes): they are pasted, never decoded.

use crate::json::Json;

use super::text::{FNV, as_string, fnv};

/// Most calls and parts that one body may hold open.
pub(super) const HELD_MAX: usize = 4_096;
/// Most bytes of ids, names and arguments that one body may hold.
pub(super) const HELD_BYTES_MAX: usize = 8 << 20;
/// Longest provider id that becomes part of step ids.
const ID_BYTES_MAX: usize = 128;

/// Who speaks in a message step. A step has one voice, because a slot of the content holds one kind of part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    Text,
    Refusal,
    Think,
}

/// Records written and not yet taken, and the state behind them.
#[derive(Default)]
pub(super) struct Records {
    text: String,
    /// What the provider calls the response; "" when it did not say.
    provider_id: String,
    /// Hash of the present chunk, as long as the body has no name.
    seed: u64,
    /// The body's share of step ids; "" until the first step.
    name: String,
    steps: u64,
    next_index: u64,
    message: Option<(Voice, String)>,
    message_id: String,
    error_told: bool,
    finish: String,
    usage: String,
    calls: usize,
    held: usize,
}

/// A tool call that is open.
pub(super) struct Call {
    step: String,
    index: u64,
    pub(super) id: String,
    name: String,
    pub(super) args: String,
}

impl Records {
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    pub(super) fn index_at_least(&mut self, index: u64) {
        self.next_index = self.next_index.max(index);
    }

    /// Notes the chunk that may turn out to open the first step.
    pub(super) fn seed(&mut self, chunk: Json) {
        if self.name.is_empty() {
            self.seed = fnv(FNV, chunk.text().as_bytes());
        }
    }

    /// A response begins in the body.
    pub(super) fn begin(&mut self, id: &str) {
        self.settle();
        self.error_told = false;
        self.name.clear();
        self.identify(id);
    }

    /// Takes the provider's id of the response, as long as no step has used it.
    pub(super) fn identify(&mut self, id: &str) {
        if self.name.is_empty() && !id.is_empty() && id.len() <= ID_BYTES_MAX && !id.contains('\\') {
            self.provider_id = id.into();
            self.message_id = id.into();
        }
    }

    /// The provider's id of the message that comes next.
    pub(super) fn message_id(&mut self, id: &str) {
        self.message_id.clear();
        if id.len() <= ID_BYTES_MAX {
            self.message_id.push_str(id);
        }
    }

    /// A record that the producer wrote.
    pub(super) fn record(&mut self, record: Json) {
        line(&mut self.text, &[record.text()]);
    }

    /// Something to keep that is no content.
    pub(super) fn info(&mut self, event: &str, data: Json) {
        line(&mut self.text, &[r#"{"event":""#, event, r#"","data":"#, data.text(), "}"]);
    }

    /// Appends to the message of this voice; opens one when none or another is open.
    pub(super) fn say(&mut self, voice: Voice, literal: &str) {
        if literal.is_empty() {
            return;
        }
        if !self.speaking(voice) {
            self.open_message(voice);
        }
        let (event, key) = match voice {
            Voice::Think => ("on_reasoning_delta", "think"),
            Voice::Text | Voice::Refusal => ("on_message_delta", "text"),
        };
        let Some((_, step)) = &self.message else { return };
        let head = [r#"{"event":""#, event, r#"","data":{"id":""#, step, r#"","delta":{"content":[{"type":""#, key];
        write(&mut self.text, &head);
        line(&mut self.text, &[r#"",""#, key, r#"":""#, literal, r#""}]}}}"#]);
    }

    /// Adds a citation, as the provider spells it, to the text that is open or opens now.
    pub(super) fn cite(&mut self, citation: Json) {
        if !self.speaking(Voice::Text) && !self.speaking(Voice::Refusal) {
            self.open_message(Voice::Text);
        }
        let Some((_, step)) = &self.message else { return };
        let head = r#"","delta":{"content":[{"type":"text","text":"","citations":["#;
        let citation = citation.text();
        line(&mut self.text, &[r#"{"event":"on_message_delta","data":{"id":""#, step, head, citation, "]}]}}}"]);
    }

    /// Whether the message that is open has this voice.
    pub(super) fn speaking(&self, voice: Voice) -> bool {
        self.message.as_ref().is_some_and(|(open, _)| *open == voice)
    }

    /// What comes next is another message, whatever its voice.
    pub(super) fn end_message(&mut self) {
        self.message = None;
    }

    fn open_message(&mut self, voice: Voice) {
        let (step, index) = self.step();
        let message_id = if self.message_id.is_empty() { &step } else { &self.message_id };
        let kind =
            r#","type":"message_creation","stepDetails":{"type":"message_creation","message_creation":{"message_id":""#;
        write(
            &mut self.text,
            &[r#"{"event":"on_run_step","data":{"id":""#, &step, r#"","index":"#, &index.to_string()],
        );
        line(&mut self.text, &[kind, message_id, r#""}}}}"#]);
        if voice == Voice::Refusal {
            line(&mut self.text, &[r#"{"event":"on_refusal","data":{"id":""#, &step, r#""}}"#]);
        }
        self.message = Some((voice, step));
    }

    /// Opens a tool call. A call without an id gets one that is made of its step's.
    ///
    /// Errors: too many are open, or too much is held.
    pub(super) fn open_call(&mut self, id: &str, name: &str) -> Result<Call, String> {
        if self.calls == HELD_MAX {
            return Err(format!("more than {HELD_MAX} tool calls are open"));
        }
        self.hold(id.len() + name.len())?;
        self.calls += 1;
        self.end_message();
        let (step, index) = self.step();
        let id = if id.is_empty() { step.replacen("step_", "call_", 1) } else { id.into() };
        let call = Call { step, index, id, name: name.into(), args: String::new() };
        write(
            &mut self.text,
            &[r#"{"event":"on_run_step","data":{"id":""#, &call.step, r#"","index":"#, &index.to_string()],
        );
        let kind = r#","type":"tool_calls","stepDetails":{"type":"tool_calls","tool_calls":[{"name":""#;
        let tail = r#"","type":"tool_call"}]}}}"#;
        line(&mut self.text, &[kind, name, r#"","args":"","id":""#, &call.id, tail]);
        Ok(call)
    }

    /// Adds a fragment of a call's arguments.
    pub(super) fn args(&mut self, call: &mut Call, literal: &str) -> Result<(), String> {
        if literal.is_empty() {
            return Ok(());
        }
        self.hold(literal.len())?;
        call.args.push_str(literal);
        let head = r#"","delta":{"type":"tool_calls","tool_calls":[{"index":0,"args":""#;
        let tail = r#"","type":"tool_call_chunk"}]}}}"#;
        let step = &call.step;
        line(&mut self.text, &[r#"{"event":"on_run_step_delta","data":{"id":""#, step, head, literal, tail]);
        Ok(())
    }

    /// Replaces what was streamed of a call's arguments by the provider's last word.
    pub(super) fn set_args(&mut self, call: &mut Call, literal: &str) -> Result<(), String> {
        self.release(call.args.len());
        call.args.clear();
        self.hold(literal.len())?;
        call.args.push_str(literal);
        Ok(())
    }

    /// Closes a call, with its output when the provider ran it.
    pub(super) fn complete(&mut self, call: Call, output: Option<Json>) {
        self.calls = self.calls.saturating_sub(1);
        self.release(call.args.len() + call.id.len() + call.name.len());
        let Call { step, index, id, name, args } = &call;
        let index = index.to_string();
        let head = r#"{"event":"on_run_step_completed","data":{"result":{"id":""#;
        write(&mut self.text, &[head, step, r#"","index":"#, &index, r#","type":"tool_call","tool_call":{"id":""#]);
        write(&mut self.text, &[id, r#"","name":""#, name, r#"","args":""#, args, r#"","type":"tool_call""#]);
        if let Some(output) = output {
            write(&mut self.text, &[r#","output":""#, &as_string(output), r#"""#]);
        }
        line(&mut self.text, &["}}}}"]);
    }

    /// The output of a call that this body did not open: an earlier one did. The fold finds it by its id.
    pub(super) fn late_output(&mut self, id: &str, output: Json) {
        let head =
            r#"{"event":"on_run_step_completed","data":{"result":{"id":"","type":"tool_call","tool_call":{"id":""#;
        let output = as_string(output);
        line(&mut self.text, &[head, id, r#"","type":"tool_call","output":""#, &output, r#""}}}}"#]);
    }

    /// The provider failed. Only the first error of a response is told: what follows repeats it.
    pub(super) fn error(&mut self, error: Json) {
        if !self.error_told {
            line(&mut self.text, &[r#"{"event":"on_error","data":{"error":"#, error.text(), "}}"]);
        }
        self.error_told = true;
    }

    /// Why the response ends; the first reason given stays.
    pub(super) fn finish(&mut self, literal: &str) {
        if self.finish.is_empty() {
            self.finish.push_str(literal);
        }
    }

    /// What the response has used so far; the last one given stays.
    pub(super) fn usage(&mut self, usage: &str) {
        self.usage.clear();
        self.usage.push_str(usage);
    }

    /// The response ended: its reason and its usage are told.
    pub(super) fn settle(&mut self) {
        self.end_message();
        let finish = std::mem::take(&mut self.finish);
        if !finish.is_empty() {
            line(&mut self.text, &[r#"{"event":"on_finish","data":{"reason":""#, &finish, r#""}}"#]);
        }
        let usage = std::mem::take(&mut self.usage);
        if !usage.is_empty() {
            line(&mut self.text, &[r#"{"event":"on_usage","data":"#, &usage, "}"]);
        }
    }

    /// Accounts for bytes that stay in memory.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), String> {
        self.held += bytes;
        if self.held > HELD_BYTES_MAX {
            return Err(format!("open tool calls hold more than {HELD_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    /// Gives back what [`Records::hold`] took.
    pub(super) fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// A new step: its id and its index.
    fn step(&mut self) -> (String, u64) {
        if self.name.is_empty() {
            self.name = format!("{}-{:08x}", self.provider_id, self.seed >> 32);
        }
        let id = format!("step_{}_{}", self.name, self.steps);
        self.steps += 1;
        let index = self.next_index;
        self.next_index = index.saturating_add(1);
        (id, index)
    }
}

fn write(out: &mut String, pieces: &[&str]) {
    pieces.iter().for_each(|piece| out.push_str(piece));
}

fn line(out: &mut String, pieces: &[&str]) {
    write(out, pieces);
    out.push('\n');
}
