//! Answers, and every way in which one ends.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::script::{START_MS, Script, say, step, think};

const CREATED: &str = r#"{"created":true,"message":{"messageId":"m1","parentMessageId":"00000000-0000-0000-0000-000000000000","conversationId":"conv-7","sender":"User","text":"What is the weather in Paris?","isCreatedByUser":true},"streamId":"conv-7"}"#;
const CALL: &str = r#"{"event":"on_run_step","data":{"id":"step_3","runId":"run_1","index":2,"type":"tool_calls","stepDetails":{"type":"tool_calls","tool_calls":[{"id":"call_9","name":"weather","args":"","type":"tool_call"}]},"usage":null}}"#;
const DONE: &str = r#"{"event":"on_run_step_completed","data":{"result":{"id":"step_3","index":2,"type":"tool_call","tool_call":{"id":"call_9","name":"weather","args":"{\"city\":\"Paris\"}","output":"{\"celsius\":21,\"sky\":\"clear\"}","progress":1}}}}"#;
const USAGE: &str = r#"{"event":"on_usage","data":{"input_tokens":214,"output_tokens":88,"total_tokens":302}}"#;
const NOTE: &str = r#"{"_internal":true,"event":"trace","data":{"span":"9f1c"}}"#;

fn arguments(text: &str) -> String {
    format!(
        r#"{{"event":"on_run_step_delta","data":{{"id":"step_3","delta":{{"type":"tool_calls","tool_calls":[{{"index":0,"id":"call_9","name":"weather","args":"{text}"}}]}}}}}}"#
    )
}

pub(super) fn whole(script: &mut Script) -> Result<()> {
    let s = &script.open("conv-7", &Value::Null, None)?;
    script.get(s, "job")?;
    script.get(s, "head")?;
    let request = r#"{"userId":"nobody","conversationId":"conv-7","metadata":{"endpoint":"agents","model":"large-1","sender":"Claude","iconURL":"/i.svg","promptTokens":214}}"#;
    script.done(s, "create", json!({ "user-id": "u1", "idempotency-key": "k-1", "request": request }))?;
    script.push(s, &[CREATED])?;
    script.push(s, &[step("step_1", 0), think("step_1", "The user asks"), think("step_1", " about the weather.")])?;
    script.get(s, "resume-state")?;
    script.push(s, &[step("step_2", 1), say("step_2", "Let me look that up.")])?;
    script.push(s, &[CALL.to_owned(), arguments(r#"{\"city\":"#), arguments(r#"\"Paris\"}"#)])?;
    script.get(s, "content")?;
    script.push(s, &[NOTE, DONE])?;
    script.get(s, "next-index")?;
    let words = ["It", " is", " 21", " °C", " and", " clear", " in", " Paris", "."];
    script.push(s, &[step("step_4", 3)])?;
    for word in words {
        script.push(s, &[say("step_4", word)])?;
    }
    script.push(s, &[USAGE])?;
    script.done(s, "update", json!({ "fields": r#"{"responseMessageId":"m2","promptTokens":220}"# }))?;
    for getter in ["content", "text", "resume-state", "next-index", "head", "job"] {
        script.get(s, getter)?;
    }
    script.done(s, "complete", json!({}))?;
    script.unchanged(s, "complete", json!({}))?;
    for getter in ["content", "text", "resume-state", "job", "head", "save"] {
        script.get(s, getter)?;
    }
    let late = script.unchanged(s, "push", json!({ "text": say("step_4", "late") }))?;
    ensure!(late["stopped"]["reason"]["tag"] == "not-active", "{late}");
    script.drop("session", s)
}

pub(super) fn own_final_event(script: &mut Script) -> Result<()> {
    for (stream, event) in
        [("a", r#"{"final":true,"title":"Weather"}"#), ("b", "{\"title\":\"Weather\",\n\"final\":0}")]
    {
        let s = &script.created(stream)?;
        script.push(s, &[step("s", 0), say("s", "Sunny.")])?;
        for bad in ["[]", "{\"a\":", ""] {
            script.refused(s, "complete", json!({ "final-event": bad }), "invalid")?;
        }
        let generation = script.get(s, "head")?["generation"].clone();
        script.done(s, "complete", json!({ "generation": generation, "final-event": event }))?;
        script.get(s, "resume-state")?;
    }
    // The last record may also come with the others: nothing after it is taken.
    let s = &script.created("c")?;
    let last = r#"{"final":true,"title":"Weather"}"#;
    let pushed = script.push(s, &[step("s", 0), say("s", "Sunny."), last.to_owned(), say("s", "late")])?;
    ensure!(pushed["stopped"]["reason"] == json!({ "tag": "not-active", "val": "complete" }), "{pushed}");
    script.get(s, "job")?;
    Ok(())
}

pub(super) fn abort(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-8")?;
    script.push(s, &[CREATED])?;
    script.push(s, &[step("step_1", 0), say("step_1", r#"The capital is \"Paris"#)])?;
    script.done(s, "abort", json!({ "generation": START_MS + 25 }))?;
    script.refused(s, "abort", json!({}), "not-active")?;
    script.refused(s, "complete", json!({}), "not-active")?;
    for getter in ["job", "resume-state", "content"] {
        script.get(s, getter)?;
    }
    let s = &script.created("nothing-said")?;
    script.done(s, "abort", json!({}))?;
    script.drop("session", s)
}

pub(super) fn fail(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-9")?;
    script.push(s, &[step("step_1", 0), say("step_1", "I")])?;
    let generation = script.get(s, "head")?["generation"].clone();
    script.done(s, "fail", json!({ "generation": generation, "reason": "overloaded \"529\"\n\u{1}" }))?;
    script.unchanged(s, "fail", json!({ "reason": "again" }))?;
    script.refused(s, "resolve", json!({ "action-id": "a", "decision": "1" }), "not-active")?;
    let job = script.get(s, "job")?;
    // Without its content a session can still end the log, and nothing else.
    let running = json!({ "generation": 5, "status": "running", "user-id": "u1", "created-ms": 5, "updated-ms": 5, "settled-ms": null, "head": 7, "fields": [] });
    let s = &script.open("content-unknown", &running, None)?;
    script.refused(s, "save", json!({}), "invalid")?;
    script.done(s, "fail", json!({ "reason": "content could not be read" }))?;
    let s = &script.open("conv-9", &job, None)?;
    script.get(s, "job")?;
    Ok(())
}

pub(super) fn time_out(script: &mut Script) -> Result<()> {
    let s = &script.created("quiet")?;
    script.unchanged(s, "time-out", json!({}))?;
    script.now += 59_000;
    script.push(s, &[step("step_1", 0)])?;
    script.now += 59_000;
    script.unchanged(s, "time-out", json!({}))?;
    script.now += 1_000;
    script.done(s, "time-out", json!({}))?;
    script.refused(s, "time-out", json!({}), "not-active")?;
    script.get(s, "job")?;

    let s = &script.created("paused")?;
    script.done(s, "pause", json!({ "action": r#"{"id":"a1"}"# }))?;
    script.now += 60_000;
    script.unchanged(s, "time-out", json!({}))?;
    script.now += 540_000;
    script.done(s, "time-out", json!({}))?;
    script.get(s, "job")?;
    Ok(())
}

pub(super) fn action(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-10")?;
    script.push(s, &[step("step_1", 0), say("step_1", "Shall I delete it?")])?;
    script.refused(s, "resolve", json!({ "action-id": "a1", "decision": "true" }), "no-such-action")?;
    for bad in ["[]", "nothing", r#"{"id":""}"#, r#"{"id":7}"#] {
        script.refused(s, "pause", json!({ "action": bad }), "invalid")?;
    }
    let generation = script.get(s, "head")?["generation"].clone();
    let action = "{\"id\":\"a1\",\n\"type\":\"approve\",\"tool\":\"rm\"}";
    script.done(s, "pause", json!({ "generation": generation, "action": action }))?;
    script.get(s, "resume-state")?;
    script.refused(s, "pause", json!({ "action": action }), "paused")?;
    script.refused(s, "complete", json!({}), "paused")?;
    script.push(s, &[say("step_1", " (waiting)")])?;
    script.refused(s, "resolve", json!({ "action-id": "a2", "decision": "true" }), "no-such-action")?;
    script.refused(s, "resolve", json!({ "action-id": "a1", "decision": "{" }), "invalid")?;
    let decision = "{\"approved\":false,\n\"why\":\"no\"}";
    script.done(s, "resolve", json!({ "generation": generation, "action-id": "a1", "decision": decision }))?;
    script.refused(s, "resolve", json!({ "action-id": "a1", "decision": "true" }), "no-such-action")?;
    script.get(s, "job")?;
    // An action without a name gets one; an end takes it away.
    script.done(s, "pause", json!({ "action": r#"{"type":"ask"}"# }))?;
    script.get(s, "job")?;
    script.done(s, "abort", json!({}))?;
    script.get(s, "job")?;
    Ok(())
}
