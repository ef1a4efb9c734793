//! Anthropic Messages events: blocks, told apart by index.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::json::Json;

use super::fields::{Fields, chunk_type, list, literal, number, present, value};
use super::record::{Call, HELD_MAX, Records, Voice};
use super::text::as_string;

/// The tool calls and the usage of one message. Text and reasoning need no memory.
#[derive(Default)]
pub(super) struct Message {
    /// Calls whose arguments are coming, by the index of their block.
    open: BTreeMap<u64, Tool>,
    /// Calls that Anthropic runs and whose result has not come.
    running: Vec<Call>,
    /// What `message_start` says about usage.
    usage: String,
}

struct Tool {
    call: Call,
    /// The input that the block began with: the arguments, if none are streamed.
    input: String,
    /// Run by Anthropic: a block with its result follows.
    theirs: bool,
}

impl Message {
    pub(super) fn chunk(&mut self, event: &str, chunk: Json, out: &mut Records) -> Result<(), String> {
        let fields = &Fields::of(chunk);
        let index = number(fields, "index");
        match &*chunk_type(fields, event) {
            "message_start" => self.start(value(fields, "message"), out)?,
            "content_block_start" => {
                self.stop(index, out)?;
                self.block(index, value(fields, "content_block"), out)?;
            }
            "content_block_delta" => self.delta(index, &Fields::of(value(fields, "delta")), out)?,
            "content_block_stop" => self.stop(index, out)?,
            "message_delta" => {
                out.finish(literal(value(fields, "delta"), "stop_reason"));
                self.used(chunk, out);
            }
            "message_stop" => self.close(out),
            "error" => out.error(present(fields, "error").unwrap_or(chunk)),
            _ => {}
        }
        Ok(())
    }

    /// Completes every call, those without a result too, then tells how the message ended.
    pub(super) fn close(&mut self, out: &mut Records) {
        while let Some((index, _)) = self.open.first_key_value() {
            // The arguments of a call that cannot be held are told as far as they came.
            let _ = self.stop(*index, out);
        }
        self.running.drain(..).for_each(|call| out.complete(call, None));
        self.usage.clear();
        out.settle();
    }

    fn start(&mut self, message: Json, out: &mut Records) -> Result<(), String> {
        self.close(out);
        out.begin(literal(message, "id"));
        self.used(message, out);
        // Content that is there from the start: blocks without deltas.
        for block in list(message, "content") {
            self.block(0, block, out)?;
            self.stop(0, out)?;
        }
        Ok(())
    }

    fn block(&mut self, index: u64, block: Json, out: &mut Records) -> Result<(), String> {
        match &*chunk_type(block, "") {
            "text" => {
                out.say(Voice::Text, literal(block, "text"));
                list(block, "citations").for_each(|citation| out.cite(citation));
            }
            "thinking" => {
                // One step a block, so that two thoughts in a row do not run together.
                if out.speaking(Voice::Think) {
                    out.end_message();
                }
                out.say(Voice::Think, literal(block, "thinking"));
            }
            "redacted_thinking" => out.info("on_redacted_thinking", block),
            kind @ ("tool_use" | "server_tool_use" | "mcp_tool_use") => {
                if self.open.len() + self.running.len() >= HELD_MAX {
                    return Err(format!("more than {HELD_MAX} tool calls are open"));
                }
                let input = present(block, "input").map(as_string).unwrap_or_default();
                out.hold(input.len())?;
                let call = out.open_call(literal(block, "id"), literal(block, "name"))?;
                self.open.insert(index, Tool { call, input: input.into(), theirs: kind != "tool_use" });
            }
            kind if kind.ends_with("_tool_result") => self.result(block, out),
            _ => {}
        }
        Ok(())
    }

    fn delta(&mut self, index: u64, delta: &Fields, out: &mut Records) -> Result<(), String> {
        match &*chunk_type(delta, "") {
            "text_delta" => out.say(Voice::Text, literal(delta, "text")),
            "thinking_delta" => out.say(Voice::Think, literal(delta, "thinking")),
            "citations_delta" => {
                if let Some(citation) = present(delta, "citation") {
                    out.cite(citation);
                }
            }
            "input_json_delta" => {
                if let Some(tool) = self.open.get_mut(&index) {
                    out.args(&mut tool.call, literal(delta, "partial_json"))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The block is complete. Nothing happens when it is not a call.
    fn stop(&mut self, index: u64, out: &mut Records) -> Result<(), String> {
        let Some(Tool { mut call, input, theirs }) = self.open.remove(&index) else { return Ok(()) };
        out.release(input.len());
        let held = match (call.args.is_empty(), input.as_str()) {
            (false, _) | (_, "") => Ok(()),
            // An empty object at the start announces fragments; without any it is the whole input. It is no fragment.
            (true, "{}") => out.set_args(&mut call, "{}"),
            (true, whole) => out.args(&mut call, whole),
        };
        if theirs {
            self.running.push(call);
        } else {
            out.complete(call, None);
        }
        held
    }

    /// A block with the result of a call that Anthropic ran, in this body or in one before.
    fn result(&mut self, block: Json, out: &mut Records) {
        let id = literal(block, "tool_use_id");
        let output = value(block, "content");
        out.end_message();
        match self.running.iter().position(|call| call.id == id) {
            Some(position) => out.complete(self.running.remove(position), Some(output)),
            None => out.late_output(id, output),
        }
    }

    /// Merges `usage` of `message_delta` over that of `message_start`: its numbers are the later ones.
    fn used(&mut self, object: Json, out: &mut Records) {
        let Some(usage) = present(object, "usage") else { return };
        self.usage = merged(Json::parse(&self.usage).unwrap_or(Json::NULL), usage);
        out.usage(&self.usage);
    }
}

/// The members of both objects; a later one that is not null wins, in the place of the earlier.
fn merged(earlier: Json, later: Json) -> String {
    let newer: HashMap<&str, Json> = later.entries().filter(|(_, value)| !value.is_null()).collect();
    let known: HashSet<&str> = earlier.entries().map(|(key, _)| key).collect();
    let kept = earlier.entries().map(|(key, value)| (key, *newer.get(key).unwrap_or(&value)));
    let added = later.entries().filter(|(key, _)| !known.contains(key));
    let members: Vec<_> = kept.chain(added).map(|(key, value)| format!("\"{key}\":{}", value.text())).collect();
    format!("{{{}}}", members.join(","))
}
