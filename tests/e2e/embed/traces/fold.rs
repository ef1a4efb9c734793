//! The fold alone, on recorded answers.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::script::{Script, lines, say, step};

/// Recorded answers of the bundled cases.
const CASES: [&str; 8] = [
    "reasoning-then-text/public-0",
    "agent-loop/public-0",
    "parallel-agents/public-0",
    "oauth/public-0",
    "citations-and-ids/public-0",
    "lone-surrogates/public-0",
    "J6-integer-like-keys-and-odd-numbers",
    "J3-prototype-named-ids-and-keys",
];

/// The case of this name, its events as they are spelt.
fn case(file: &str, name: &str) -> Result<(Option<String>, Vec<String>)> {
    let path = rejoin_tests::root().join("tests/cases/aggregator").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let spelt = format!("{{\"name\":\"{name}\",");
    let line = text.lines().find(|line| line.starts_with(&spelt)).with_context(|| format!("no case {name}"))?;
    let case = rejoin_core::json::Json::parse(line).map_err(anyhow::Error::msg)?;
    let events = case.get("events").context("events")?.items().map(|event| event.text().to_owned()).collect();
    Ok((case.get("seed").map(|seed| seed.text().to_owned()), events))
}

fn new(script: &mut Script, call: &str, arguments: Value) -> Result<String> {
    let out = script.call(call, arguments)?;
    let handle = out.as_str().or(out["ok"].as_str());
    Ok(handle.with_context(|| format!("{call}: {out}"))?.to_owned())
}

pub(super) fn fold(script: &mut Script) -> Result<()> {
    for name in CASES {
        let (_, events) = case("public.jsonl", name)?;
        let whole = script.call("content.fold", json!({ "events": format!("[{}]", events.join(",")) }))?;
        let a = &new(script, "aggregator.constructor", json!({}))?;
        for batch in events.chunks(64) {
            script.call("aggregator.push", json!({ "self": a, "lines": lines(batch) }))?;
        }
        let parts = script.call("aggregator.parts", json!({ "self": a }))?;
        ensure!(whole["ok"] == parts, "{name}: {whole} is not {parts}");
        script.drop("aggregator", a)?;
    }
    let (seed, events) = case("seeded.jsonl", "seed/parallel-rebind-then-append")?;
    let a = &new(script, "aggregator.seeded", json!({ "parts": seed }))?;
    for event in &events {
        script.call("aggregator.push", json!({ "self": a, "lines": event }))?;
        script.call("aggregator.parts", json!({ "self": a }))?;
    }
    // A failed one takes no handle; two folds at once know nothing of each other.
    for bad in ["", "{}", "7", "[", "[1,]", "nothing", "[] []"] {
        ensure!(script.call("aggregator.seeded", json!({ "parts": bad }))?.get("err").is_some(), "{bad}");
        ensure!(script.call("content.fold", json!({ "events": bad }))?.get("err").is_some(), "{bad}");
    }
    let b = &new(script, "aggregator.seeded", json!({ "parts": r#"[{"type":"text","text":"seed"}]"# }))?;
    script.call("aggregator.push", json!({ "self": b, "lines": lines(&[step("s", 1), say("s", "b")]) }))?;
    script.call("aggregator.push", json!({ "self": a, "lines": "no event\n{\n[]\n\n" }))?;
    script.call("aggregator.parts", json!({ "self": a }))?;
    script.call("aggregator.parts", json!({ "self": b }))?;
    script.drop("aggregator", a)?;
    script.drop("aggregator", b)?;
    script.call("content.fold", json!({ "events": "[]" }))?;
    Ok(())
}
