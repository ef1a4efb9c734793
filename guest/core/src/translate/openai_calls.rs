//! The many kinds of `*_call` items of OpenAI Responses, as one kind of tool call.
//!
//! | item | name | args | output |
//! |---|---|---|---|
//! | `function_call`, `custom_tool_call`, `mcp_approval_request` | `name` | `arguments` or `input` | |
//! | `mcp_call` | `name` | `arguments` | `output`, else `error` |
//! | `code_interpreter_call` | `code_interpreter` | `{"code":"…"}` | `outputs` |
//! | `web_search_call`, `computer_call`, `local_shell_call`, `apply_patch_call`, … | the type without `_call` | `action` or `operation` | |
//! | `file_search_call` | `file_search` | `{"queries":[…]}` | `results` |
//! | `image_generation_call` | `image_generation` | `{"revised_prompt":"…"}` | `result` |
//! | any other `*_call` | `name`, else the type without `_call` | whichever of these is there, else `{}` | whichever of these is there |

use crate::json::Json;

use super::fields::{chunk_type, first_literal, literal, present};
use super::record::{Call, Records};
use super::text::{Seen, as_string, as_text};

/// What stands around the code of the code interpreter, so that its arguments are JSON like all others.
const CODE_OPEN: &str = r#"{\"code\":\""#;
const CODE_CLOSE: &str = r#"\"}"#;

/// A call that is open.
pub(super) struct Tool {
    call: Call,
    /// What streams is code, not JSON.
    code: bool,
    streamed: Seen,
}

impl Tool {
    /// Opens the call that `item` is; none when it is something else.
    pub(super) fn open(item: Json, out: &mut Records) -> Result<Option<Tool>, String> {
        let kind = chunk_type(item, "");
        let bare = match &*kind {
            "mcp_approval_request" => "",
            kind => match kind.strip_suffix("_call") {
                Some(bare) => bare,
                None => return Ok(None),
            },
        };
        let bare = as_text(bare);
        let name = Some(literal(item, "name")).filter(|name| !name.is_empty()).unwrap_or(&bare);
        let call = out.open_call(first_literal(item, &["call_id", "id"]), name)?;
        let code = kind == "code_interpreter_call";
        Ok(Some(Tool { call, code, streamed: Seen::default() }))
    }

    /// Adds a fragment of the arguments or of the code.
    pub(super) fn grow(&mut self, text: &str, out: &mut Records) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        let first = self.streamed.is_empty();
        self.streamed.add(text);
        if !self.code {
            return out.args(&mut self.call, text);
        }
        if first {
            out.args(&mut self.call, CODE_OPEN)?;
        }
        out.args(&mut self.call, &as_text(text))
    }

    /// Adds what is new in the whole of the arguments or of the code.
    pub(super) fn whole(&mut self, text: &str, out: &mut Records) -> Result<(), String> {
        let rest = self.streamed.rest(text);
        self.grow(&rest, out)
    }

    /// Completes the call as its finished item says.
    pub(super) fn done(mut self, item: Json, out: &mut Records) -> Result<(), String> {
        if self.code {
            self.whole(literal(item, "code"), out)?;
        } else {
            self.last_word(item, out)?;
        }
        let output = ["output", "outputs", "results", "result", "error"].into_iter().find_map(|key| present(item, key));
        self.complete(output, out)
    }

    /// Completes the call with what came.
    pub(super) fn complete(mut self, output: Option<Json>, out: &mut Records) -> Result<(), String> {
        let closed = match (self.code, self.streamed.is_empty()) {
            (true, false) => out.args(&mut self.call, CODE_CLOSE),
            (true, true) => out.set_args(&mut self.call, "{}"),
            (false, _) => Ok(()),
        };
        out.complete(self.call, output);
        closed
    }

    /// The arguments as the finished item has them: they replace what was streamed.
    fn last_word(&mut self, item: Json, out: &mut Records) -> Result<(), String> {
        let member = |key: &str| present(item, key).map(|value| as_text(&format!("{{\"{key}\":{}}}", value.text())));
        let plain = ["arguments", "input", "action", "operation"].into_iter().find_map(|key| present(item, key));
        let args = match plain {
            Some(value) => as_string(value).into_owned(),
            None => member("queries").or_else(|| member("revised_prompt")).unwrap_or_else(|| "{}".into()),
        };
        self.whole(&args, out)?;
        if args.is_empty() || (args == "{}" && plain.is_none() && !self.streamed.is_empty()) {
            return Ok(());
        }
        out.set_args(&mut self.call, &args)
    }
}
