//! Providers' bodies. Each goes through a translator into a session, in pieces as a network would cut them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::script::Script;

fn translator(script: &mut Script, dialect: &str) -> Result<String> {
    let out = script.call("translator.constructor", json!({ "dialect": dialect }))?;
    Ok(out.as_str().context("a handle")?.to_owned())
}

/// Pushes what a call of the translator gave.
fn store(script: &mut Script, session: &str, translated: &Value) -> Result<()> {
    ensure!(translated["bad"].is_null(), "{translated}");
    if translated["records"] != "" {
        script.done(session, "push", json!({ "text": translated["records"] }))?;
    }
    Ok(())
}

/// A whole body in pieces of so many lines; the index is asked for before each, as a host does.
fn body(script: &mut Script, session: &str, dialect: &str, body: &str, lines: usize) -> Result<()> {
    let t = &translator(script, dialect)?;
    let all: Vec<_> = body.split_inclusive('\n').collect();
    for piece in all.chunks(lines) {
        let index = script.get(session, "next-index")?;
        let arguments = json!({ "self": t, "lines": piece.concat(), "index-at-least": index });
        let translated = script.call("translator.push", arguments)?;
        store(script, session, &translated)?;
    }
    let index = script.get(session, "next-index")?;
    let last = script.call("translator.finish", json!({ "self": t, "index-at-least": index }))?;
    store(script, session, &last)?;
    script.drop("translator", t)
}

/// Chunks as an event stream; `event:` lines as Anthropic and OpenAI Responses send them.
fn sse(chunks: &[&str], named: bool) -> String {
    let event = |chunk: &&str| {
        let name = serde_json::from_str::<Value>(chunk).ok().and_then(|chunk| Some(chunk["type"].as_str()?.to_owned()));
        let name = name.filter(|_| named).map(|name| format!("event: {name}\n")).unwrap_or_default();
        format!("{name}data: {chunk}\n\n")
    };
    chunks.iter().map(event).collect()
}

pub(super) fn events(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-1")?;
    let text = "\u{feff}: hello\nretry: 1000\nid: 1\ndata: {\"event\":\"on_run_step\",\"data\":{\"id\":\"s\",\"index\":0,\"stepDetails\":{\"type\":\"message_creation\"}}}\n\ndata: {\"event\":\"on_message_delta\",\r\ndata:  \"data\":{\"id\":\"s\",\"delta\":{\"content\":[{\"type\":\"text\",\"text\":\"Hi 🦀\"}]}}}\r\n\r\ndata: {\"last\":\"without its blank line\"}";
    body(script, s, "events", text, 2)?;
    script.get(s, "content")?;
    script.done(s, "complete", json!({}))?;
    Ok(())
}

pub(super) fn openai_chat(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-2")?;
    let chunk = |delta: &str| {
        format!(
            r#"{{"id":"chatcmpl-Ab3","object":"chat.completion.chunk","created":1789000000,"model":"gpt-x","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#
        )
    };
    let mut chunks: Vec<String> = [
        r#"{"role":"assistant","content":""}"#,
        r#"{"reasoning_content":"Two cities"}"#,
        r#"{"reasoning_content":", two calls."}"#,
        r#"{"content":"I will"}"#,
        r#"{"content":" look.\n"}"#,
        r#"{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"weather","arguments":""}},{"index":1,"id":"call_b","type":"function","function":{"name":"weather","arguments":"{"}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":\"Paris\"}"}}]}"#,
        r#"{"tool_calls":[{"index":1,"function":{"arguments":"\"city\":\"Rome\"}"}}]}"#,
    ]
    .map(chunk)
    .to_vec();
    chunks.push(r#"{"id":"chatcmpl-Ab3","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#.to_owned());
    chunks.push(
        r#"{"id":"chatcmpl-Ab3","choices":[],"usage":{"prompt_tokens":31,"completion_tokens":44,"total_tokens":75}}"#
            .to_owned(),
    );
    chunks.push("[DONE]".to_owned());
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    body(script, s, "openai-chat", &sse(&chunks, false), 4)?;
    // The second body of the same generation keeps apart from the first one.
    let refusal = chunk(r#"{"refusal":"I cannot say."}"#);
    body(script, s, "openai-chat", &sse(&[&refusal, "[DONE]"], false), 1)?;
    script.get(s, "content")?;
    script.done(s, "complete", json!({}))?;
    Ok(())
}

pub(super) fn openai_responses(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-3")?;
    let chunks = [
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_05","status":"in_progress","output":[]}}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[]}}"#,
        r#"{"type":"response.reasoning_summary_text.delta","item_id":"rs_1","output_index":0,"summary_index":0,"delta":"Look it up"}"#,
        r#"{"type":"response.output_item.done","output_index":0,"item":{"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"Look it up"}]}}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"id":"fc_1","type":"function_call","call_id":"call_1","name":"find","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":1,"delta":"{\"q\":"}"#,
        r#"{"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":1,"delta":"\"caf\u00e9\"}"}"#,
        r#"{"type":"response.function_call_arguments.done","item_id":"fc_1","output_index":1,"arguments":"{\"q\":\"caf\u00e9\"}"}"#,
        r#"{"type":"response.output_item.done","output_index":1,"item":{"id":"fc_1","type":"function_call","call_id":"call_1","name":"find","arguments":"{\"q\":\"caf\u00e9\"}"}}"#,
        r#"{"type":"response.output_item.added","output_index":2,"item":{"id":"ci_1","type":"code_interpreter_call","code":"","container_id":"c1"}}"#,
        r#"{"type":"response.code_interpreter_call_code.delta","output_index":2,"item_id":"ci_1","delta":"print(1)\n"}"#,
        r#"{"type":"response.output_item.done","output_index":2,"item":{"id":"ci_1","type":"code_interpreter_call","code":"print(1)\n","container_id":"c1","outputs":[{"type":"logs","logs":"1\n"}]}}"#,
        r#"{"type":"response.output_text.delta","item_id":"msg_1","output_index":3,"content_index":0,"delta":"Found “one”"}"#,
        r#"{"type":"response.output_text.annotation.added","item_id":"msg_1","output_index":3,"content_index":0,"annotation":{"type":"url_citation","url":"https://example.org/"}}"#,
        r#"{"type":"response.output_text.done","item_id":"msg_1","output_index":3,"content_index":0,"text":"Found “one”."}"#,
        r#"{"type":"response.completed","response":{"id":"resp_05","status":"completed","usage":{"input_tokens":9,"output_tokens":21,"total_tokens":30}}}"#,
    ];
    body(script, s, "openai-responses", &sse(&chunks, true), 7)?;
    let quota = r#"{"type":"error","sequence_number":2,"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"You exceeded your current quota.","param":null}}"#;
    body(script, s, "openai-responses", &sse(&[quota], true), 7)?;
    script.get(s, "content")?;
    script.done(s, "fail", json!({ "reason": "insufficient_quota" }))?;
    Ok(())
}

pub(super) fn anthropic_messages(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-4")?;
    let chunks = [
        r#"{"type":"message_start","message":{"model":"claude-x","id":"msg_01","type":"message","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":14,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Search first."}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"query\": \"wasm\"}"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://example.org/","title":"Wasm"}]}}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"text","text":"","citations":[]}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://example.org/"}}}"#,
        r#"{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"It runs everywhere"}}"#,
        r#"{"type":"content_block_stop","index":3}"#,
        r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_1","name":"note","input":{}}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
        r#"{"type":"content_block_stop","index":4}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":61}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    body(script, s, "anthropic-messages", &sse(&chunks, true), 6)?;
    script.get(s, "content")?;
    script.get(s, "resume-state")?;
    script.done(s, "complete", json!({}))?;
    Ok(())
}

pub(super) fn bad(script: &mut Script) -> Result<()> {
    for (dialect, text) in [
        ("events", "data: {\"a\":1}\n\ndata: {\"b\":\n\ndata: {\"c\":1}\n\n"),
        ("events", "data: [1]\n\n"),
        ("openai-chat", "\n: comment\ndata: {\"choices\":[{\"delta\":{\"content\":\"kept\"}}]}\n\ndata: oops\n\n"),
        ("openai-responses", "event: response.created\ndata: 7\n\n"),
        ("anthropic-messages", "data: \"a\ndata: b\"\n\n"),
    ] {
        let t = &translator(script, dialect)?;
        let translated = script.call("translator.push", json!({ "self": t, "lines": text }))?;
        ensure!(!translated["bad"].is_null(), "{dialect} {text:?}: {translated}");
        // It stays where it stopped.
        let further = script.call("translator.push", json!({ "self": t, "lines": "data: {}\n\n" }))?;
        ensure!(further["bad"] == translated["bad"] && further["records"] == "", "{further}");
        script.call("translator.finish", json!({ "self": t }))?;
        script.drop("translator", t)?;
    }
    // Bad only when the body ends, since the event had no blank line.
    let t = &translator(script, "anthropic-messages")?;
    let first = script.call("translator.push", json!({ "self": t, "lines": "data: {\"type\":" }))?;
    ensure!(first["bad"].is_null(), "{first}");
    let last = script.call("translator.finish", json!({ "self": t, "index-at-least": 3 }))?;
    ensure!(!last["bad"].is_null(), "{last}");
    Ok(())
}
