//! OpenAI Responses events: output items, told apart by `output_index`.
//!
//! Everything comes up to four times: as deltas, in the `done` of the text, in the `done` of the item and in the response at the
//! end. Each time only what has not been told yet becomes a record, so a server that leaves some of them out loses nothing.

use std::collections::BTreeMap;

use crate::json::Json;

use super::fields::{Fields, chunk_type, first_literal, list, literal, number, present, value};
use super::openai_calls::Tool;
use super::record::{HELD_MAX, Records, Voice};
use super::text::{FNV, Seen, fnv};

/// What the names of events end with that bring the arguments of a call.
const TOOL_TEXTS: [&str; 3] = ["arguments", "input", "code"];

/// The output items of one response.
#[derive(Default)]
pub(super) struct Responses {
    items: BTreeMap<u64, Item>,
    /// Parts of items that are not done.
    parts: usize,
    /// The response has been told as a whole; saying so again adds nothing.
    over: bool,
}

#[derive(Default)]
struct Item {
    /// Hash of its id.
    id: u64,
    /// Everything about it has been told.
    done: bool,
    parts: BTreeMap<(Slot, u64), Part>,
    tool: Option<Tool>,
}

/// Where in an item a text stands, besides its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Text,
    Refusal,
    Summary,
    Reasoning,
}

#[derive(Default)]
struct Part {
    seen: Seen,
    citations: usize,
}

impl Responses {
    pub(super) fn chunk(&mut self, event: &str, chunk: Json, out: &mut Records) -> Result<(), String> {
        let fields = &Fields::of(chunk);
        let kind = chunk_type(fields, event);
        let Some(kind) = kind.strip_prefix("response.") else {
            if kind == "error" {
                out.error(present(fields, "error").unwrap_or(chunk));
            }
            return Ok(());
        };
        let at = self.key(fields);
        let content = number(fields, "content_index");
        match kind {
            "created" => {
                self.close(out);
                self.over = false;
                out.begin(literal(value(fields, "response"), "id"));
            }
            "completed" | "incomplete" | "failed" | "cancelled" => self.end(value(fields, "response"), kind, out)?,
            "output_item.added" => self.added(at, value(fields, "item"), out)?,
            "output_item.done" => self.item_done(at, value(fields, "item"), out)?,
            "content_part.added" | "content_part.done" => self.part(at, content, value(fields, "part"), out)?,
            "output_text.annotation.added" => {
                if let Some(annotation) = present(fields, "annotation") {
                    self.slot(at, Slot::Text, content, out)?.citations += 1;
                    out.cite(annotation);
                }
            }
            "reasoning_summary_part.added" | "reasoning_summary_part.done" => {
                let text = literal(value(fields, "part"), "text");
                self.whole(at, Slot::Summary, number(fields, "summary_index"), text, out)?;
            }
            _ => match kind.rsplit_once(['.', '_']) {
                Some((what, "delta")) => self.growth(at, what, fields, false, out)?,
                Some((what, "done")) => self.growth(at, what, fields, true, out)?,
                _ => {}
            },
        }
        Ok(())
    }

    /// Completes every call, then tells how the response ended.
    pub(super) fn close(&mut self, out: &mut Records) {
        for item in std::mem::take(&mut self.items).into_values() {
            if let Some(tool) = item.tool {
                // What cannot be held is told as far as it came.
                let _ = tool.complete(None, out);
            }
        }
        self.parts = 0;
        out.settle();
    }

    /// The response as a whole.
    fn end(&mut self, response: Json, kind: &str, out: &mut Records) -> Result<(), String> {
        if std::mem::replace(&mut self.over, true) {
            return Ok(());
        }
        out.identify(literal(response, "id"));
        for (position, item) in list(response, "output").enumerate() {
            let id = literal(item, "id");
            let hash = fnv(FNV, id.as_bytes());
            let here = position as u64;
            // An item is found by its id. Where that is missing or new, by its place: some servers give a new id each time.
            let found = match self.items.get(&here) {
                Some(known) if known.id == hash => None,
                _ if id.is_empty() => None,
                _ => self.items.iter().find(|(_, known)| known.id == hash).map(|(at, _)| *at),
            };
            let at = found.unwrap_or(here);
            self.item_done(at, item, out)?;
        }
        if let Some(error) = present(response, "error") {
            out.error(error);
        }
        let reason = present(response, "incomplete_details").map(|details| literal(details, "reason"));
        out.finish(reason.filter(|reason| !reason.is_empty()).unwrap_or(kind));
        if let Some(usage) = present(response, "usage") {
            out.usage(usage.text());
        }
        self.close(out);
        Ok(())
    }

    /// The item that an event is about; the last one when it does not say.
    fn key(&self, chunk: &Fields) -> u64 {
        let given = present(chunk, "output_index").and_then(Json::as_u64);
        given.or_else(|| self.items.keys().next_back().copied()).unwrap_or(0)
    }

    fn item(&mut self, at: u64, out: &mut Records) -> Result<&mut Item, String> {
        if !self.items.contains_key(&at) {
            if self.items.len() == HELD_MAX {
                return Err(format!("more than {HELD_MAX} output items"));
            }
            out.end_message();
        }
        Ok(self.items.entry(at).or_default())
    }

    fn slot(&mut self, at: u64, slot: Slot, number: u64, out: &mut Records) -> Result<&mut Part, String> {
        let full = self.parts == HELD_MAX;
        let item = self.item(at, out)?;
        let fresh = !item.parts.contains_key(&(slot, number));
        if fresh && full {
            return Err(format!("more than {HELD_MAX} content parts"));
        }
        self.parts += usize::from(fresh);
        Ok(self.items.entry(at).or_default().parts.entry((slot, number)).or_default())
    }

    /// A fragment of a text or of arguments, or (`whole`) all of it.
    fn growth(&mut self, at: u64, what: &str, chunk: &Fields, whole: bool, out: &mut Records) -> Result<(), String> {
        let keys: &[&str] = if whole { &["text", "refusal", "arguments", "input", "code"] } else { &["delta"] };
        let text = first_literal(chunk, keys);
        let (slot, number) = match what {
            "output_text" => (Slot::Text, number(chunk, "content_index")),
            "refusal" => (Slot::Refusal, number(chunk, "content_index")),
            "reasoning_summary_text" => (Slot::Summary, number(chunk, "summary_index")),
            "reasoning_text" => (Slot::Reasoning, number(chunk, "content_index")),
            // `function_call_arguments`, `custom_tool_call_input`, `code_interpreter_call_code`, …
            _ => match self.items.get_mut(&at).and_then(|item| item.tool.as_mut()) {
                Some(tool) if TOOL_TEXTS.iter().any(|end| what.ends_with(end)) => {
                    return if whole { tool.whole(text, out) } else { tool.grow(text, out) };
                }
                _ => return Ok(()),
            },
        };
        if whole { self.whole(at, slot, number, text, out) } else { self.say(at, slot, number, text, out) }
    }

    fn say(&mut self, at: u64, slot: Slot, number: u64, text: &str, out: &mut Records) -> Result<(), String> {
        if text.is_empty() || self.items.get(&at).is_some_and(|item| item.done) {
            return Ok(());
        }
        let part = self.slot(at, slot, number, out)?;
        let voice = match slot {
            Slot::Text => Voice::Text,
            Slot::Refusal => Voice::Refusal,
            Slot::Summary | Slot::Reasoning => Voice::Think,
        };
        // Thoughts of one item are paragraphs of one step.
        if voice == Voice::Think && part.seen.is_empty() && out.speaking(Voice::Think) {
            out.say(Voice::Think, "\\n\\n");
        }
        part.seen.add(text);
        out.say(voice, text);
        Ok(())
    }

    fn whole(&mut self, at: u64, slot: Slot, number: u64, text: &str, out: &mut Records) -> Result<(), String> {
        let part = self.items.get(&at).and_then(|item| item.parts.get(&(slot, number)));
        let rest = part.map_or(text.into(), |part| part.seen.rest(text));
        self.say(at, slot, number, &rest, out)
    }

    /// A content part of a message or of reasoning, as far as it goes.
    fn part(&mut self, at: u64, number: u64, part: Json, out: &mut Records) -> Result<(), String> {
        let slot = match &*chunk_type(part, "") {
            "output_text" => Slot::Text,
            "refusal" => return self.whole(at, Slot::Refusal, number, literal(part, "refusal"), out),
            "reasoning_text" => Slot::Reasoning,
            "summary_text" => Slot::Summary,
            _ => return Ok(()),
        };
        self.whole(at, slot, number, literal(part, "text"), out)?;
        if self.items.get(&at).is_some_and(|item| item.done) || list(part, "annotations").next().is_none() {
            return Ok(());
        }
        let told = &mut self.slot(at, slot, number, out)?.citations;
        for annotation in list(part, "annotations").skip(*told) {
            *told += 1;
            out.cite(annotation);
        }
        Ok(())
    }

    fn added(&mut self, at: u64, item: Json, out: &mut Records) -> Result<(), String> {
        let known = self.item(at, out)?;
        let fresh = known.id == 0;
        known.id = fnv(FNV, literal(item, "id").as_bytes());
        out.message_id(literal(item, "id"));
        if fresh {
            let tool = Tool::open(item, out)?;
            self.item(at, out)?.tool = tool;
        }
        Ok(())
    }

    fn item_done(&mut self, at: u64, item: Json, out: &mut Records) -> Result<(), String> {
        if self.items.get(&at).is_none_or(|known| known.id == 0) {
            self.added(at, item, out)?;
        }
        if self.items.get(&at).is_some_and(|known| known.done) {
            return Ok(());
        }
        let kind = chunk_type(item, "");
        for (number, part) in list(item, "summary").chain(list(item, "content")).enumerate() {
            let summaries = list(item, "summary").count();
            let number = if number < summaries { number } else { number - summaries };
            self.part(at, number as u64, part, out)?;
        }
        match &*kind {
            "mcp_list_tools" => out.info("on_mcp_list_tools", item),
            kind if kind.ends_with("_call_output") => {
                out.late_output(literal(item, "call_id"), present(item, "output").unwrap_or(Json::NULL));
            }
            _ => {}
        }
        let known = self.item(at, out)?;
        known.done = true;
        let parts = std::mem::take(&mut known.parts).len();
        let tool = known.tool.take();
        self.parts -= parts;
        tool.map_or(Ok(()), |tool| tool.done(item, out))
    }
}
