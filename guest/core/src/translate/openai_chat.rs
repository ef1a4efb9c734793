//! OpenAI chat completion chunks, and what speaks like them (DeepSeek, Groq, OpenRouter, Mistral, vLLM, …).
//!
//! A chunk says nothing about what is complete: calls are completed when the body ends or says `[DONE]`.

use crate::json::{Json, Kind};

use super::fields::{Fields, chunk_type, first_literal, list, literal, present};
use super::record::{Call, HELD_MAX, Records, Voice};
use super::text::as_string;

/// Where the one call of the days before `tool_calls` is kept.
const LEGACY: u64 = u64::MAX;

/// The tool calls of one chat completion, in order of arrival.
#[derive(Default)]
pub(super) struct Chat {
    calls: Vec<Slot>,
}

/// A call, perhaps one whose name has not come yet.
#[derive(Default)]
struct Slot {
    /// The provider's `index`.
    at: Option<u64>,
    id: String,
    /// Arguments that came before the name.
    early: String,
    call: Option<Call>,
}

impl Chat {
    pub(super) fn chunk(&mut self, event: &str, chunk: Json, out: &mut Records) -> Result<(), String> {
        let fields = Fields::of(chunk);
        out.identify(literal(&fields, "id"));
        if let Some(error) = present(&fields, "error") {
            out.error(error);
        } else if chunk_type(&fields, event) == "error" {
            out.error(chunk);
        }
        let groq = || present(present(&fields, "x_groq")?, "usage");
        if let Some(usage) = present(&fields, "usage").or_else(groq) {
            out.usage(usage.text());
        }
        for choice in list(&fields, "choices").map(Fields::of).filter(is_first) {
            if let Some(error) = present(&choice, "error") {
                out.error(error);
            }
            if let Some(usage) = present(&choice, "usage") {
                out.usage(usage.text());
            }
            if let Some(delta) = present(&choice, "delta") {
                self.delta(&Fields::of(delta), out)?;
            }
            out.finish(literal(&choice, "finish_reason"));
        }
        Ok(())
    }

    /// Completes every call, then tells how the response ended.
    pub(super) fn close(&mut self, out: &mut Records) {
        for mut slot in self.calls.drain(..) {
            // A call that never got a name is told all the same. Where even that is too much, nothing is left to tell.
            if slot.call.is_none() && slot.open("", out).is_err() {
                continue;
            }
            if let Some(call) = slot.call {
                out.complete(call, None);
            }
        }
        out.settle();
    }

    fn delta(&mut self, delta: &Fields, out: &mut Records) -> Result<(), String> {
        reasoning(delta, out);
        if let Some(content) = present(delta, "content") {
            say_content(content, out);
        }
        out.say(Voice::Refusal, literal(delta, "refusal"));
        list(delta, "annotations").for_each(|annotation| out.cite(annotation));
        if let Some(function) = present(delta, "function_call") {
            self.call(Some(LEGACY), "", function, out)?;
        }
        for entry in list(delta, "tool_calls") {
            let body = present(entry, "function").or_else(|| present(entry, "custom")).unwrap_or(Json::NULL);
            self.call(entry.get("index").and_then(Json::as_u64), literal(entry, "id"), body, out)?;
        }
        Ok(())
    }

    /// One entry of `tool_calls`.
    fn call(&mut self, at: Option<u64>, id: &str, body: Json, out: &mut Records) -> Result<(), String> {
        let name = literal(body, "name");
        let slot = match self.find(at, id, name) {
            Some(position) => &mut self.calls[position],
            None if self.calls.len() == HELD_MAX => return Err(format!("more than {HELD_MAX} tool calls")),
            None => {
                self.calls.push(Slot { at, ..Slot::default() });
                let last = self.calls.len() - 1;
                &mut self.calls[last]
            }
        };
        if slot.id.is_empty() && !id.is_empty() {
            out.hold(id.len())?;
            slot.id.push_str(id);
        }
        if slot.call.is_none() && !name.is_empty() {
            slot.open(name, out)?;
        }
        let args = present(body, "arguments").or_else(|| present(body, "input")).map(as_string);
        let args = args.as_deref().unwrap_or("");
        match &mut slot.call {
            Some(call) => out.args(call, args),
            None => {
                slot.early.push_str(args);
                out.hold(args.len())
            }
        }
    }

    /// The call an entry continues. Providers that give every call the index 0 or none tell them apart by id; but an id
    /// without a name does not begin a call, some servers make up a new one for every fragment.
    fn find(&self, at: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let position = match at {
            Some(_) => self.calls.iter().rposition(|slot| slot.at == at),
            None if id.is_empty() && name.is_empty() => self.calls.len().checked_sub(1),
            None if id.is_empty() => None,
            None => self.calls.iter().rposition(|slot| slot.id == id),
        }?;
        let slot = &self.calls[position];
        let another = !id.is_empty() && !slot.id.is_empty() && slot.id != id && !name.is_empty();
        (!another).then_some(position)
    }
}

impl Slot {
    fn open(&mut self, name: &str, out: &mut Records) -> Result<(), String> {
        let mut call = out.open_call(&self.id, name)?;
        out.release(self.early.len());
        let early = std::mem::take(&mut self.early);
        out.args(&mut call, &early)?;
        self.call = Some(call);
        Ok(())
    }
}

fn is_first(choice: &Fields) -> bool {
    present(choice, "index").is_none_or(|index| index.as_u64() == Some(0))
}

/// Reasoning has many spellings; some servers send the same in two of them, so only the first found counts.
fn reasoning(delta: &Fields, out: &mut Records) {
    let plain = first_literal(delta, &["reasoning_content", "reasoning"]);
    if !plain.is_empty() {
        return out.say(Voice::Think, plain);
    }
    for detail in list(delta, "reasoning_details") {
        out.say(Voice::Think, first_literal(detail, &["text", "summary"]));
    }
}

/// Content is a string, or with Mistral a list of parts.
fn say_content(content: Json, out: &mut Records) {
    if content.kind() != Kind::Array {
        return out.say(Voice::Text, content.literal().unwrap_or(""));
    }
    for part in content.items() {
        out.say(Voice::Text, literal(part, "text"));
        match part.get("thinking") {
            Some(whole) if whole.kind() == Kind::String => out.say(Voice::Think, literal(part, "thinking")),
            _ => list(part, "thinking").for_each(|piece| out.say(Voice::Think, literal(piece, "text"))),
        }
    }
}
