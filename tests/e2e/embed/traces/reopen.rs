//! Sessions are caches: they open again from job, checkpoint and log.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::script::{Script, lines, say, step};

pub(super) fn behind(script: &mut Script) -> Result<()> {
    let mut log = vec![step("step_1", 0), say("step_1", "One")];
    let a = &script.created("conv-1")?;
    script.push(a, &log)?;
    // A second host opens the stream and appends.
    let job = script.get(a, "job")?;
    let b = &script.open("conv-1", &job, None)?;
    let out = script.ask(b, "replay", json!({ "lines": lines(&log) }))?;
    ensure!(out == json!({ "ok": null }), "{out}");
    log.push(say("step_1", ", two"));
    script.push(b, &log[2..])?;
    let (job, saved) = (script.get(b, "job")?, script.get(b, "save")?);
    // The first one does not know that: refused, opened again from the checkpoint, and the same lines pushed again.
    let text = say("step_1", ", three.");
    script.pending(a, "push", json!({ "text": text }))?;
    script.settle(a, json!({ "tag": "refused", "val": { "tag": "behind", "val": 3 } }))?;
    script.refused(a, "push", json!({ "text": text }), "lost")?;
    script.drop("session", a)?;
    let a = &script.open("conv-1", &job, saved.as_str())?;
    script.get(a, "head")?;
    script.push(a, &[text])?;
    script.get(a, "content")?;
    script.done(a, "complete", json!({}))?;
    let job = script.get(a, "job")?;
    // Only from the log, in two pieces; its end is replayed as well.
    let c = &script.open("conv-1", &job, None)?;
    let log = lines(&[&log[..], &[say("step_1", ", three."), r#"{"final":true}"#.to_owned()]].concat());
    let cut = log.match_indices('\n').nth(2).context("three lines")?.0 + 1;
    for piece in [&log[..cut], &log[cut..]] {
        script.ask(c, "replay", json!({ "lines": piece }))?;
    }
    script.refused(c, "replay", json!({ "lines": "{\"cut\":" }), "invalid")?;
    for getter in ["head", "content", "text", "resume-state"] {
        script.get(c, getter)?;
    }
    Ok(())
}

pub(super) fn checkpoint(script: &mut Script) -> Result<()> {
    // Due by the bytes of its records.
    let s = &script.created("conv-1")?;
    script.push(s, &[step("step_1", 0), say("step_1", &"long ".repeat(6_550))])?;
    script.push(s, &[say("step_1", &"long ".repeat(6_550))])?;
    script.drop("session", s)?;
    // Due by their number.
    let s = &script.created("conv-2")?;
    let words = |from: usize, to: usize| (from..to).map(|n| say("step_1", &format!("w{n} "))).collect::<Vec<_>>();
    script.push(s, &[step("step_1", 0)])?;
    script.push(s, &words(1, 255))?;
    script.push(s, &words(255, 256))?;
    let saved = script.get(s, "save")?;
    let saved = saved.as_str().context("a checkpoint")?;
    script.push(s, &words(256, 258))?;
    let job = script.get(s, "job")?;
    script.drop("session", s)?;
    let s = &script.open("conv-2", &job, Some(saved))?;
    script.get(s, "head")?;
    script.refused(s, "save", json!({}), "invalid")?;
    script.ask(s, "replay", json!({ "lines": lines(&words(256, 258)) }))?;
    script.get(s, "head")?;
    script.get(s, "next-index")?;
    script.push(s, &words(258, 260))?;
    script.done(s, "complete", json!({ "final-event": r#"{"final":true}"# }))?;
    // Each of these is passed over: the log begins at its beginning.
    let other = saved.replacen("\"generation\":1789", "\"generation\":1788", 1);
    let newer = saved.replacen("\"v\":1", "\"v\":2", 1);
    let crooked = saved.replacen("\"steps\":[", "\"steps\":{", 1);
    for unreadable in ["", "{", "[]", "null", &saved[..saved.len() / 2], &other, &newer, &crooked] {
        let s = &script.open("conv-2", &job, Some(unreadable))?;
        ensure!(script.get(s, "head")?["sequence"] == 0, "{unreadable:.80} was taken");
        script.drop("session", s)?;
    }
    let s = &script.open("conv-2", &Value::Null, Some(saved))?;
    script.get(s, "head")?;
    Ok(())
}

pub(super) fn resume(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-3")?;
    script.get(s, "resume-state")?;
    let created = r#"{"created":true,"message":{"messageId":"m1","conversationId":"conv-3","text":"Hi"}}"#;
    script.push(s, &[created])?;
    script.get(s, "resume-state")?;
    script.push(s, &[step("step_1", 0), say("step_1", "Hello")])?;
    script.get(s, "resume-state")?;
    let tool = r#"{"event":"on_run_step","data":{"id":"step_2","index":1,"type":"tool_calls","stepDetails":{"type":"tool_calls","tool_calls":[{"id":"c1","name":"find","args":{"q":1}}]}}}"#;
    let done = r#"{"event":"on_run_step_completed","data":{"result":{"id":"step_2","index":1,"type":"tool_call","tool_call":{"id":"c1","name":"find","args":"{\"q\":1}","output":"[]"}}}}"#;
    script.push(s, &[tool])?;
    script.get(s, "resume-state")?;
    script.push(s, &[done])?;
    script.done(s, "pause", json!({ "action": r#"{"id":"ok?"}"# }))?;
    script.get(s, "resume-state")?;
    script.done(s, "resolve", json!({ "action-id": "ok?", "decision": "true" }))?;
    let agent = r#"{"event":"on_agent_update","data":{"type":"agent_update","agent_update":{"index":2,"runId":"r","agentId":"a2"}}}"#;
    script.push(s, &[agent.to_owned(), step("step_1", 3), say("step_1", "Again")])?;
    script.done(s, "update", json!({ "fields": r#"{"responseMessageId":"m2","sender":"Claude"}"# }))?;
    script.get(s, "resume-state")?;
    script.get(s, "next-index")?;
    script.done(s, "abort", json!({}))?;
    script.get(s, "resume-state")?;
    Ok(())
}

pub(super) fn save(script: &mut Script) -> Result<()> {
    let s = &script.open("conv-4", &Value::Null, None)?;
    script.refused(s, "save", json!({}), "invalid")?;
    let s = &script.created("conv-4")?;
    let empty = script.get(s, "save")?;
    script.push(s, &[step("step_1", 0), say("step_1", "Stored, ")])?;
    // The store has lost both records; the append that finds it out is part of the checkpoint already.
    script.pending(s, "push", json!({ "text": say("step_1", "forgotten, found.") }))?;
    script.refused(s, "content", json!({}), "busy")?;
    let saved = script.get(s, "save")?;
    let job = script.get(s, "job")?;
    script.settle(s, json!({ "tag": "accepted" }))?;
    script.get(s, "head")?;
    let again = &script.open("conv-4", &job, saved.as_str())?;
    for getter in ["head", "content", "save"] {
        script.get(again, getter)?;
    }
    let fresh = &script.open("conv-4", &job, empty.as_str())?;
    script.get(fresh, "head")?;
    script.refused(fresh, "save", json!({}), "invalid")
}
