//! Bodies of every dialect, and what a second, independent reading finds in them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// What a reader of an answer sees. Calls: id, name, arguments.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) calls: Vec<(String, String, Value)>,
}

pub(super) struct Body {
    pub(super) name: String,
    dialect: &'static str,
    chunks: Vec<Value>,
    pub(super) text: String,
}

impl Body {
    /// One chunk a line, framed the way the provider frames it.
    fn new(name: &str, dialect: &'static str, lines: &str) -> Result<Self> {
        let mut body = Body { name: name.to_owned(), dialect, chunks: Vec::new(), text: String::new() };
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let chunk: Value = serde_json::from_str(line).with_context(|| format!("{name}: {line:.200}"))?;
            if let Some(kind) = chunk["type"].as_str() {
                body.text.push_str(&format!("event: {kind}\n"));
            }
            body.text.push_str(&format!("data: {line}\n\n"));
            body.chunks.push(chunk);
        }
        if dialect == "openai-chat" {
            body.text.push_str("data: [DONE]\n\n");
        }
        Ok(body)
    }

    pub(super) fn content_type(&self) -> String {
        format!("text/event-stream; dialect={}", self.dialect)
    }

    /// The second reading: where each dialect says a thing, and nothing in between.
    pub(super) fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        let mut fragments: Vec<(String, String, String)> = Vec::new();
        for chunk in &self.chunks {
            let text = |path: &str| chunk.pointer(path).and_then(Value::as_str).unwrap_or_default();
            match self.dialect {
                "openai-chat" => {
                    seen.text += text("/choices/0/delta/content");
                    seen.reasoning += text("/choices/0/delta/reasoning_content");
                    seen.reasoning += text("/choices/0/delta/reasoning");
                    for call in
                        chunk.pointer("/choices/0/delta/tool_calls").and_then(Value::as_array).into_iter().flatten()
                    {
                        let part = |path: &str| call.pointer(path).and_then(Value::as_str).unwrap_or_default();
                        if call["id"].is_string() {
                            fragments.push((part("/id").into(), part("/function/name").into(), String::new()));
                        }
                        let at = call["index"].as_u64().map_or(0, |at| at as usize);
                        fragments[at].2 += part("/function/arguments");
                    }
                }
                "anthropic-messages" => {
                    seen.text += text("/delta/text");
                    seen.reasoning += text("/delta/thinking");
                    if ["tool_use", "server_tool_use"].contains(&text("/content_block/type")) {
                        fragments.push((
                            text("/content_block/id").into(),
                            text("/content_block/name").into(),
                            String::new(),
                        ));
                    } else if let Some(call) = fragments.last_mut() {
                        call.2 += text("/delta/partial_json");
                    }
                }
                _ => match (text("/type"), text("/item/type")) {
                    ("response.output_text.delta", _) => seen.text += text("/delta"),
                    ("response.reasoning_summary_text.delta", _) => seen.reasoning += text("/delta"),
                    ("response.output_item.done", "function_call") => {
                        fragments.push((
                            text("/item/call_id").into(),
                            text("/item/name").into(),
                            text("/item/arguments").into(),
                        ));
                    }
                    ("response.output_item.done", "mcp_call") => {
                        fragments.push((
                            text("/item/id").into(),
                            text("/item/name").into(),
                            text("/item/arguments").into(),
                        ));
                    }
                    ("response.output_item.done", "code_interpreter_call") => {
                        let arguments = json!({"code": chunk["item"]["code"]}).to_string();
                        fragments.push((text("/item/id").into(), "code_interpreter".into(), arguments));
                    }
                    _ => {}
                },
            }
        }
        let read = |(id, name, text): (String, String, String)| (id, name, arguments(&text));
        seen.calls = fragments.into_iter().map(read).collect();
        seen
    }
}

/// Arguments as JSON; none are an empty object.
fn arguments(text: &str) -> Value {
    let text = if text.is_empty() { "{}" } else { text };
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// What is in the stored content.
pub(super) fn stored(state: &Value) -> Result<Seen> {
    let mut seen = Seen::default();
    for part in state["content"].as_array().context("content")? {
        match part["type"].as_str() {
            Some("text") => seen.text += part["text"].as_str().context("text")?,
            Some("think") => seen.reasoning += part["think"].as_str().context("think")?,
            Some("tool_call") => {
                let call = &part["tool_call"];
                let text = |name: &str| call[name].as_str().unwrap_or_default();
                assert_eq!(call["progress"], 1, "it is complete: {call}");
                seen.calls.push((text("id").into(), text("name").into(), arguments(text("args"))));
            }
            _ => anyhow::bail!("an unknown part: {part}"),
        }
    }
    Ok(seen)
}

const CHAT: &str = include_str!("../../cases/providers/openai-chat.jsonl");
const RESPONSES: &str = include_str!("../../cases/providers/openai-responses.jsonl");
const MESSAGES: &str = include_str!("../../cases/providers/anthropic-messages.jsonl");

/// One small body of every dialect; all of them say the same.
pub(super) fn own() -> Result<[Body; 3]> {
    Ok([
        Body::new("own-chat", "openai-chat", CHAT)?,
        Body::new("own-responses", "openai-responses", RESPONSES)?,
        Body::new("own-messages", "anthropic-messages", MESSAGES)?,
    ])
}

/// The recordings beside the checkout, and the bodies above.
pub(super) fn all() -> Result<Vec<Body>> {
    let mut bodies: Vec<Body> = own()?.into();
    for body in &bodies {
        let said = Seen {
            text: "Žluťoučký 🦀\n".into(),
            reasoning: "Hm, well".into(),
            calls: vec![("t1".into(), "weather".into(), json!({"city": "Zürich"}))],
        };
        assert_eq!(body.seen(), said, "{}", body.name);
    }
    let Some(folder) = rejoin_tests::shared("transcripts") else {
        println!("SKIPPED: the recordings, there is no ../shared/transcripts; small bodies of every dialect run");
        return Ok(bodies);
    };
    let paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
        let name = path.file_stem().context("a name")?.to_string_lossy();
        let dialect = match name.split("__").collect::<Vec<_>>()[..] {
            ["anthropic", ..] => "anthropic-messages",
            ["openai", "responses", ..] => "openai-responses",
            _ => "openai-chat",
        };
        bodies.push(Body::new(&name, dialect, &std::fs::read_to_string(path)?)?);
    }
    ensure!(bodies.len() >= 3 + 10, "ten recordings were there when this was written");
    Ok(bodies)
}
