//! Recorded provider streams, translated and folded, against what a second, independent reading finds in them.
//!
//! The recordings are read in place (`../shared/transcripts` beside the repository) and are no part of it; where they are missing the tests
//! say so and pass.

#![forbid(unsafe_code)]

use std::path::Path;

use rejoin_core::content::Aggregator;
use rejoin_core::json::Json;
use rejoin_core::translate::{Dialect, Translator};
use serde_json::Value;

/// What a reader of an answer sees.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    text: String,
    reasoning: String,
    calls: Vec<Call>,
    citations: usize,
}

/// A tool call; arguments and output as JSON where they are JSON text.
#[derive(Debug, PartialEq)]
struct Call {
    id: String,
    name: String,
    args: Value,
    output: Value,
}

struct Recording {
    name: String,
    dialect: Dialect,
    chunks: Vec<Value>,
    lines: Vec<String>,
}

fn recordings() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/transcripts");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: no recordings in {}", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    assert!(paths.len() >= 10, "ten recordings were there when this was written");
    paths.iter().map(|path| recording(path)).collect()
}

fn recording(path: &Path) -> Recording {
    let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
    let dialect = match name.split("__").collect::<Vec<_>>()[..] {
        ["anthropic", ..] => Dialect::AnthropicMessages,
        ["openai", "responses", ..] => Dialect::OpenaiResponses,
        _ => Dialect::OpenaiChat,
    };
    let text = std::fs::read_to_string(path).expect("a readable file");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let chunks = lines.iter().map(|line| serde_json::from_str(line).expect("a JSON chunk")).collect();
    Recording { name, dialect, chunks, lines }
}

/// The body as the provider sent it.
fn body(recording: &Recording) -> String {
    let mut body = String::new();
    for (line, chunk) in recording.lines.iter().zip(&recording.chunks) {
        if let Some(kind) = chunk["type"].as_str() {
            body.push_str(&format!("event: {kind}\n"));
        }
        body.push_str(&format!("data: {line}\n\n"));
    }
    if recording.dialect == Dialect::OpenaiChat {
        body.push_str("data: [DONE]\n\n");
    }
    body
}

fn translate(dialect: Dialect, body: &str, numbered_from: u64) -> String {
    let mut translator = Translator::new(dialect);
    translator.index_at_least(numbered_from);
    let mut records = String::new();
    for last in [false, true] {
        let translated = if last { translator.finish() } else { translator.push(body) };
        assert_eq!(translated.bad, None);
        records.push_str(&translated.records);
    }
    records
}

/// The second reading: no state, only the chunks in which each dialect says a thing.
fn read(recording: &Recording) -> Answer {
    let mut answer = Answer::default();
    for chunk in &recording.chunks {
        match recording.dialect {
            Dialect::AnthropicMessages => read_anthropic(chunk, &mut answer),
            Dialect::OpenaiResponses => read_response(chunk, &mut answer),
            _ => {
                let delta = &chunk["choices"][0]["delta"];
                answer.text.push_str(delta["content"].as_str().unwrap_or(""));
                answer.reasoning.push_str(delta["reasoning_content"].as_str().unwrap_or(""));
                answer.reasoning.push_str(delta["reasoning"].as_str().unwrap_or(""));
                read_chat_calls(delta, &mut answer);
            }
        }
    }
    for call in &mut answer.calls {
        call.args = unfolded(&call.args);
        call.output = unfolded(&call.output);
    }
    answer
}

fn read_chat_calls(delta: &Value, answer: &mut Answer) {
    for entry in delta["tool_calls"].as_array().into_iter().flatten() {
        let at = entry["index"].as_u64().expect("an index") as usize;
        let function = &entry["function"];
        if at == answer.calls.len() {
            answer.calls.push(call(&entry["id"], &function["name"], "".into(), Value::Null));
        }
        let args = &mut answer.calls[at].args;
        *args = format!("{}{}", args.as_str().unwrap_or(""), function["arguments"].as_str().unwrap_or("")).into();
    }
}

fn read_anthropic(chunk: &Value, answer: &mut Answer) {
    let (block, delta) = (&chunk["content_block"], &chunk["delta"]);
    match block["type"].as_str().unwrap_or("") {
        "tool_use" | "server_tool_use" => answer.calls.push(call(&block["id"], &block["name"], "".into(), Value::Null)),
        "web_search_tool_result" => {
            let id = block["tool_use_id"].as_str().expect("an id");
            let call = answer.calls.iter_mut().find(|call| call.id == id).expect("the call");
            call.output = block["content"].clone();
        }
        _ => {}
    }
    answer.text.push_str(delta["text"].as_str().unwrap_or(""));
    answer.reasoning.push_str(delta["thinking"].as_str().unwrap_or(""));
    answer.citations += usize::from(delta["type"] == "citations_delta");
    if let Some(fragment) = delta["partial_json"].as_str() {
        let call = answer.calls.last_mut().expect("a call");
        call.args = format!("{}{fragment}", call.args.as_str().unwrap_or("")).into();
    }
    if chunk["type"] == "message_stop" {
        for call in answer.calls.iter_mut().filter(|call| call.args == "") {
            call.args = "{}".into();
        }
    }
}

fn read_response(chunk: &Value, answer: &mut Answer) {
    let (delta, item) = (chunk["delta"].as_str().unwrap_or(""), &chunk["item"]);
    match chunk["type"].as_str().unwrap_or("") {
        "response.output_text.delta" => answer.text.push_str(delta),
        "response.output_text.annotation.added" => answer.citations += 1,
        "response.reasoning_summary_text.delta" => answer.reasoning.push_str(delta),
        "response.output_item.done" => match item["type"].as_str().unwrap_or("") {
            "mcp_call" => {
                answer.calls.push(call(&item["id"], &item["name"], item["arguments"].clone(), item["output"].clone()))
            }
            "code_interpreter_call" => {
                let args = serde_json::json!({ "code": item["code"] });
                answer.calls.push(call(&item["id"], &"code_interpreter".into(), args, item["outputs"].clone()));
            }
            "function_call" => {
                answer.calls.push(call(&item["call_id"], &item["name"], item["arguments"].clone(), Value::Null))
            }
            "reasoning" | "message" | "mcp_list_tools" => {}
            other => panic!("no recording has {other}: read it here when one does"),
        },
        _ => {}
    }
}

fn call(id: &Value, name: &Value, args: Value, output: Value) -> Call {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    Call { id: text(id), name: text(name), args, output }
}

/// JSON in a string, taken out of it.
fn unfolded(value: &Value) -> Value {
    value.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| value.clone())
}

/// What the fold makes of records.
fn fold(records: &str) -> Answer {
    let mut content = Aggregator::new();
    for record in records.lines() {
        content.push(Json::parse(record).expect("a JSON record"));
    }
    let parts: Vec<Value> = serde_json::from_str(&content.parts()).expect("JSON parts");
    let mut answer = Answer::default();
    for part in &parts {
        match part["type"].as_str().unwrap_or("") {
            "text" => answer.text.push_str(part["text"].as_str().expect("text")),
            "think" => answer.reasoning.push_str(part["think"].as_str().expect("think")),
            "tool_call" => {
                let tool = &part["tool_call"];
                assert_eq!(tool["progress"], 1);
                answer.calls.push(call(&tool["id"], &tool["name"], unfolded(&tool["args"]), unfolded(&tool["output"])));
            }
            other => panic!("a part of type {other}"),
        }
        answer.citations += part["citations"].as_array().map_or(0, Vec::len);
    }
    answer
}

/// `data` of every record with this event.
fn data_of(records: &str, event: &str) -> Vec<Value> {
    let records = records.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON record"));
    records.filter(|record| record["event"] == event).map(|mut record| record["data"].take()).collect()
}

#[test]
fn every_recording_folds_to_what_it_says() {
    for recording in recordings() {
        let (body, expected) = (body(&recording), read(&recording));
        for numbered_from in [0, 7] {
            let records = translate(recording.dialect, &body, numbered_from);
            assert_eq!(fold(&records), expected, "{}", recording.name);
        }
        let Answer { text, reasoning, calls, citations } = &expected;
        let calls: Vec<_> = calls.iter().map(|call| format!("{}({})", call.name, call.args)).collect();
        println!(
            "{}: text {}, reasoning {}, citations {citations}, {calls:?}",
            recording.name,
            text.len(),
            reasoning.len()
        );
    }
}

#[test]
fn every_recording_has_one_end_and_one_usage_or_an_error() {
    for recording in recordings() {
        let records = translate(recording.dialect, &body(&recording), 0);
        let count = |event| data_of(&records, event).len();
        let failed = recording.chunks.iter().any(|chunk| chunk["type"] == "error");
        assert_eq!(count("on_error"), usize::from(failed), "{}", recording.name);
        assert_eq!(count("on_usage"), usize::from(!failed), "{}", recording.name);
        assert_eq!(count("on_finish"), 1, "{}", recording.name);
        let reported = |chunk: &Value| {
            let places = ["/usage", "/response/usage", "/message/usage"];
            places.iter().filter_map(|place| chunk.pointer(place)).find(|usage| !usage.is_null()).cloned()
        };
        let Some(last) = recording.chunks.iter().filter_map(reported).next_back() else { continue };
        let told = &data_of(&records, "on_usage")[0];
        for (key, value) in last.as_object().expect("an object") {
            assert_eq!(&told[key], value, "{} {key}", recording.name);
        }
    }
}

#[test]
fn cut_into_single_lines_every_recording_gives_the_same_records() {
    for recording in recordings() {
        let body = body(&recording).replace('\n', "\r\n");
        let mut translator = Translator::new(recording.dialect);
        let mut records: String = body.split_inclusive('\n').map(|line| translator.push(line).records).collect();
        records.push_str(&translator.finish().records);
        assert_eq!(records, translate(recording.dialect, &body, 0), "{}", recording.name);
    }
}

#[test]
fn bodies_of_one_generation_keep_their_content_apart() {
    let recordings = recordings();
    let (mut records, mut expected) = (String::new(), Answer::default());
    for recording in &recordings {
        let steps = records.matches("\"on_run_step\"").count() as u64;
        records.push_str(&translate(recording.dialect, &body(recording), steps));
        let Answer { text, reasoning, calls, citations } = read(recording);
        expected.text.push_str(&text);
        expected.reasoning.push_str(&reasoning);
        expected.calls.extend(calls);
        expected.citations += citations;
    }
    assert_eq!(fold(&records), expected);
}

#[test]
fn a_cut_recording_keeps_everything_before_the_cut() {
    for recording in recordings() {
        let (body, whole) = (body(&recording), read(&recording));
        let events: Vec<_> = body.split_inclusive("\n\n").collect();
        for cut in (0..events.len()).step_by(events.len() / 12 + 1) {
            let answer = fold(&translate(recording.dialect, &events[..cut].concat(), 0));
            assert!(whole.text.starts_with(&answer.text), "{}", recording.name);
            assert!(whole.reasoning.starts_with(&answer.reasoning), "{}", recording.name);
            assert!(answer.calls.iter().zip(&whole.calls).all(|(cut, whole)| cut.id == whole.id), "{}", recording.name);
        }
    }
}

#[test]
fn a_body_that_comes_twice_is_told_twice_when_the_caller_numbers_on() {
    for recording in recordings().iter().filter(|recording| read(recording).calls.is_empty()) {
        let body = body(recording);
        let twice = [0, 100].map(|index| translate(recording.dialect, &body, index)).concat();
        let Answer { text, reasoning, .. } = read(recording);
        let answer = fold(&twice);
        assert_eq!((answer.text, answer.reasoning), (text.repeat(2), reasoning.repeat(2)), "{}", recording.name);
    }
}
