//! Small bodies, and what they give. Whole recordings: `guest/core/tests/transcripts.rs`.

mod anthropic;
mod framing;
mod openai_chat;
mod openai_responses;

use super::*;

/// The records of a body made of these chunks, numbered from 0.
fn translate(dialect: Dialect, chunks: &[&str]) -> String {
    let body: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    let mut translator = Translator::new(dialect);
    let Translated { mut records, bad } = translator.push(&body);
    assert_eq!(bad, None);
    let last = translator.finish();
    assert_eq!(last.bad, None);
    records.push_str(&last.records);
    for record in records.lines() {
        Json::parse(record).unwrap_or_else(|error| panic!("{error}: {record}"));
    }
    records
}

/// Records in short: what a reader sees of them, one line each, without ids and indexes of steps.
fn brief(records: &str) -> Vec<String> {
    let quoted =
        |value: Option<Json>| value.map_or("-".into(), |value| value.literal().unwrap_or(value.text()).to_owned());
    let one = |line: &str| {
        let record = Json::parse(line).expect("a record is JSON");
        let event = record.get("event").and_then(Json::string).expect("a record has an event");
        let data = record.get("data").expect("a record has data");
        let path = |keys: &[&str]| {
            keys.iter().try_fold(data, |value, key| if *key == "0" { value.items().next() } else { value.get(key) })
        };
        match &*event {
            "on_run_step" => match path(&["stepDetails", "tool_calls", "0"]) {
                Some(call) => format!("call {} {}", quoted(call.get("id")), quoted(call.get("name"))),
                None => "message".into(),
            },
            "on_message_delta" => match path(&["delta", "content", "0", "citations", "0"]) {
                Some(citation) => format!("cite {}", citation.text()),
                None => format!("text {}", quoted(path(&["delta", "content", "0", "text"]))),
            },
            "on_reasoning_delta" => format!("think {}", quoted(path(&["delta", "content", "0", "think"]))),
            "on_run_step_delta" => format!("args {}", quoted(path(&["delta", "tool_calls", "0", "args"]))),
            "on_run_step_completed" => {
                let of = |key| quoted(path(&["result", "tool_call", key]));
                format!("done {} {} {} {}", of("id"), of("name"), of("args"), of("output"))
            }
            "on_refusal" => "refusal".into(),
            other => format!("{} {}", other.trim_start_matches("on_"), data.text()),
        }
    };
    records.lines().map(one).collect()
}

#[track_caller]
fn check(dialect: Dialect, chunks: &[&str], expected: &[&str]) {
    assert_eq!(brief(&translate(dialect, chunks)), expected);
}
