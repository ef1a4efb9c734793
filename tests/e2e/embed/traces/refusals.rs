//! Who may do what, and what the store may answer.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::script::{START_MS, Script, say, step};

pub(super) fn create(script: &mut Script) -> Result<()> {
    let s = &script.open("conv-1", &Value::Null, None)?;
    for bad in
        ["", "[]", r#"{"color":"red"}"#, r#"{"userId":""}"#, r#"{"ifActive":"wait"}"#, r#"{"expectedGeneration":-1}"#]
    {
        script.refused(s, "create", json!({ "request": bad }), "invalid")?;
    }
    script.refused(s, "create", json!({ "request": r#"{"expectedGeneration":4}"# }), "generation-mismatch")?;
    let request = r#"{"userId":"ada","expectedGeneration":0,"ifActive":"reject","sender":"Claude"}"#;
    script.done(s, "create", json!({ "idempotency-key": "k1", "request": request }))?;
    let generation = script.get(s, "head")?["generation"].clone();
    script.unchanged(s, "create", json!({ "user-id": "ada", "idempotency-key": "k1", "request": request }))?;
    script.refused(
        s,
        "create",
        json!({ "user-id": "ada", "request": r#"{"ifActive":"reject"}"# }),
        "already-active",
    )?;
    script.refused(s, "create", json!({ "user-id": "bob", "idempotency-key": "k1", "request": "{}" }), "forbidden")?;
    script.refused(s, "create", json!({ "request": "{}" }), "forbidden")?;
    let stale = r#"{"userId":"ada","expectedGeneration":0}"#;
    script.refused(s, "create", json!({ "request": stale }), "generation-mismatch")?;
    // Expected and active: it takes over, and the producer of the old one is told.
    let next = json!({ "userId": "ada", "expectedGeneration": generation, "ifActive": "replace" }).to_string();
    script.done(s, "create", json!({ "idempotency-key": "k2", "request": next }))?;
    script.refused(
        s,
        "create",
        json!({ "user-id": "ada", "idempotency-key": "k1", "request": "{}" }),
        "generation-replaced",
    )?;
    script.done(s, "complete", json!({}))?;
    // An ended one is in nobody's way. The clock went back meanwhile: generations only grow.
    script.now = START_MS - 60_000;
    script.done(s, "create", json!({ "user-id": "ada", "request": r#"{"ifActive":"reject"}"# }))?;
    script.get(s, "job")?;
    script.get(s, "content")?;
    Ok(())
}

pub(super) fn replaced(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-2")?;
    script.push(s, &[step("step_1", 0), say("step_1", "first answer")])?;
    let old = script.get(s, "head")?["generation"].clone();
    script.done(s, "create", json!({ "user-id": "u1", "request": "{}" }))?;
    let line = say("step_1", "late");
    let stale = |function: &str| match function {
        "push" => json!({ "generation": old, "text": line }),
        "fail" => json!({ "generation": old, "reason": "r" }),
        "pause" => json!({ "generation": old, "action": "{}" }),
        "resolve" => json!({ "generation": old, "action-id": "a", "decision": "1" }),
        _ => json!({ "generation": old }),
    };
    for function in ["push", "complete", "fail", "abort", "pause", "resolve"] {
        script.refused(s, function, stale(function), "generation-replaced")?;
    }
    script.refused(s, "abort", json!({ "generation": START_MS * 2 }), "generation-mismatch")?;
    let current = script.get(s, "head")?["generation"].clone();
    script.done(
        s,
        "push",
        json!({ "generation": current, "text": step("step_1", 0) + "\n" + &say("step_1", "second") }),
    )?;
    script.get(s, "content")?;
    Ok(())
}

pub(super) fn unsettled(script: &mut Script) -> Result<()> {
    let refusals = [
        json!({ "tag": "generation-replaced", "val": START_MS + 9_999 }),
        json!({ "tag": "not-active", "val": "aborted" }),
        json!({ "tag": "not-active", "val": "error" }),
        json!({ "tag": "behind", "val": 17 }),
        json!({ "tag": "not-found" }),
    ];
    for (at, refusal) in refusals.into_iter().enumerate() {
        let s = &script.created(&format!("conv-{at}"))?;
        script.push(s, &[step("step_1", 0)])?;
        script.pending(s, "push", json!({ "text": say("step_1", "never stored") }))?;
        script.settle(s, json!({ "tag": "refused", "val": refusal }))?;
        for (function, arguments) in [
            ("push", json!({ "text": say("step_1", "again") })),
            ("content", json!({})),
            ("save", json!({})),
            ("settle", json!({ "ticket": 2, "outcome": { "tag": "accepted" } })),
        ] {
            script.refused(s, function, arguments, "lost")?;
        }
        script.drop("session", s)?;
    }
    let s = &script.open("taken", &Value::Null, None)?;
    script.pending(s, "create", json!({ "user-id": "u1", "request": "{}" }))?;
    script.settle(s, json!({ "tag": "refused", "val": { "tag": "generation-replaced", "val": START_MS } }))?;
    script.refused(s, "create", json!({ "user-id": "u1", "request": "{}" }), "lost")
}

pub(super) fn order(script: &mut Script) -> Result<()> {
    let s = &script.open("conv-3", &Value::Null, None)?;
    let everything = [
        ("push", json!({ "text": say("step_1", "x") })),
        ("update", json!({ "fields": "{}" })),
        ("complete", json!({})),
        ("fail", json!({ "reason": "r" })),
        ("abort", json!({})),
        ("time-out", json!({})),
        ("pause", json!({ "action": "{}" })),
        ("resolve", json!({ "action-id": "a", "decision": "1" })),
        ("resume-state", json!({})),
    ];
    for (function, arguments) in &everything {
        script.refused(s, function, arguments.clone(), "not-found")?;
    }
    script.refused(s, "settle", json!({ "ticket": 1, "outcome": { "tag": "accepted" } }), "invalid")?;
    script.pending(s, "create", json!({ "user-id": "u1", "request": "{}" }))?;
    for (function, arguments) in &everything {
        script.refused(s, function, arguments.clone(), "busy")?;
    }
    for (function, arguments) in [
        ("create", json!({ "request": "{}" })),
        ("replay", json!({ "lines": say("step_1", "x") })),
        ("content", json!({})),
        ("text", json!({})),
    ] {
        script.refused(s, function, arguments, "busy")?;
    }
    script.refused(s, "settle", json!({ "ticket": 7, "outcome": { "tag": "accepted" } }), "invalid")?;
    let out = script.ask(s, "settle", json!({ "ticket": 1, "outcome": { "tag": "accepted" } }))?;
    ensure!(out == json!({ "ok": null }), "{out}");
    script.refused(s, "settle", json!({ "ticket": 1, "outcome": { "tag": "accepted" } }), "invalid")?;
    script.unchanged(s, "push", json!({ "text": "\n \r\n\t" }))?;
    Ok(())
}

pub(super) fn metadata(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-4")?;
    let all = r#"{"responseMessageId":"m2","sender":"Claude","conversationId":"c4","endpoint":"agents","iconURL":"/i.svg","model":"large-1","promptTokens":12,"userMessage":{"messageId":"m1","text":"hi"}}"#;
    script.done(s, "update", json!({ "fields": all }))?;
    script.unchanged(s, "update", json!({ "fields": all }))?;
    script.unchanged(s, "update", json!({ "fields": "{}" }))?;
    script.done(s, "update", json!({ "fields": "{\"sender\":null,\"userMessage\":{\"text\":\n\"new\"}}" }))?;
    for bad in
        ["[]", "{", r#"{"status":"complete"}"#, r#"{"sender":7}"#, r#"{"promptTokens":"7"}"#, r#"{"producer:p":{}}"#]
    {
        script.refused(s, "update", json!({ "fields": bad }), "invalid")?;
    }
    script.get(s, "job")?;
    script.get(s, "resume-state")?;
    script.done(s, "complete", json!({}))?;
    // What describes an answer may still be said after its end.
    script.done(s, "update", json!({ "fields": r#"{"model":"large-2"}"# }))?;
    script.get(s, "job")?;
    Ok(())
}
