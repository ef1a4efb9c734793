//! What a push takes, and where it stops.

use anyhow::{Result, ensure};
use serde_json::json;

use super::script::{Script, lines, say, step};

pub(super) fn framing(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-1")?;
    let (first, second) = (step("step_1", 0), say("step_1", "Hi"));
    for (framing, text) in [
        ("ndjson", format!("{first}\n\n  \r\n{second}\r\n")),
        ("ndjson", say("step_1", " no line break at the end")),
        ("json", say("step_1", " alone")),
        ("json", format!("[\n {},\n {}\n]\n", say("step_1", " in a"), say("step_1", " list"))),
        ("json", "{\"event\":\"on_custom\",\r\n \"data\":\n  [1, 2]\n}".to_owned()),
    ] {
        script.done(s, "push", json!({ "framing": framing, "text": text }))?;
    }
    for (framing, text) in [("json", "[]"), ("json", " [ ] "), ("ndjson", "")] {
        script.unchanged(s, "push", json!({ "framing": framing, "text": text }))?;
    }
    script.get(s, "content")?;
    script.get(s, "head")?;
    Ok(())
}

pub(super) fn stopped(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-2")?;
    script.push(s, &[step("step_1", 0)])?;
    let good = say("step_1", "kept ");
    for bad in ["7", "[1]", "{", "nothing", r#"{"a":1,}"#, r#"{"a":1} {"b":2}"#, r#"{"a":"\x"}"#, "{\"a\":\"\t\"}"] {
        let pushed = script.push(s, &[good.as_str(), "", bad, &good])?;
        ensure!(pushed["appended"] == 1 && pushed["stopped"]["line"] == 3, "{pushed}");
    }
    for (framing, text) in [("ndjson", "{\"a\""), ("json", "{\"a\""), ("json", "7"), ("json", "[{\"a\":1},")] {
        let pushed = script.unchanged(s, "push", json!({ "framing": framing, "text": text }))?;
        ensure!(pushed["stopped"]["line"] == 1, "{pushed}");
    }
    script.done(s, "push", json!({ "framing": "json", "text": format!("[{good},null,{good}]") }))?;
    script.get(s, "content")?;
    Ok(())
}

pub(super) fn too_large(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-3")?;
    let of = |bytes: usize| say("step_1", &"0123456789abcdef".repeat(5_000)[..bytes - say("step_1", "").len()]);
    script.push(s, &[step("step_1", 0)])?;
    script.push(s, &[of(65_536)])?;
    let pushed = script.push(s, &[say("step_1", "kept"), of(65_537), say("step_1", "not taken")])?;
    ensure!(pushed["stopped"]["reason"] == json!({ "tag": "record-too-large", "val": 65_536 }), "{pushed}");
    script.get(s, "text")?;
    Ok(())
}

pub(super) fn log_full(script: &mut Script) -> Result<()> {
    script.limits["records-max"] = 3.into();
    let s = &script.created("records")?;
    let pushed = script.push(s, &[step("s", 0), say("s", "1"), say("s", "2"), say("s", "3")])?;
    ensure!(pushed["appended"] == 3 && pushed["stopped"]["reason"]["tag"] == "log-full", "{pushed}");
    let late = script.unchanged(s, "push", json!({ "text": say("s", "4") }))?;
    ensure!(late["stopped"]["reason"] == json!({ "tag": "not-active", "val": "error" }), "{late}");
    script.get(s, "job")?;
    script.limits["records-max"] = 100.into();
    script.limits["log-bytes-max"] = 400.into();
    let s = &script.created("bytes")?;
    script.push(s, &[step("s", 0), say("s", "1")])?;
    let producer = json!({ "id": "p", "seq": 0, "offset": 0 });
    let pushed = script.done(s, "push", json!({ "text": say("s", &"2".repeat(300)), "producer": producer }))?;
    ensure!(pushed["appended"] == 0 && pushed["stopped"]["reason"]["tag"] == "log-full", "{pushed}");
    script.get(s, "job")?;
    script.get(s, "content")?;
    Ok(())
}

pub(super) fn producer(script: &mut Script) -> Result<()> {
    let s = &script.created("conv-4")?;
    let request = |id: &str, seq: u64, offset: u64, records: &[String]| json!({ "text": lines(records), "producer": { "id": id, "seq": seq, "offset": offset } });
    let all = [step("step_1", 0), say("step_1", "a"), say("step_1", "b"), say("step_1", "c")];
    script.done(s, "push", request("p", 4, 0, &all[..2]))?;
    let repeat = script.unchanged(s, "push", request("p", 4, 0, &all[..2]))?;
    ensure!(repeat["duplicate"] == 2 && repeat["last"]["sequence"] == 2, "{repeat}");
    // The same request, of which more has come meanwhile: in one call, and in a second one.
    script.done(s, "push", request("p", 4, 0, &all[..3]))?;
    script.done(s, "push", request("p", 4, 3, &all[3..]))?;
    script.unchanged(s, "push", request("p", 4, 1, &all[1..]))?;
    script.refused(s, "push", request("p", 4, 9, &all[..1]), "producer-gap")?;
    script.refused(s, "push", request("p", 6, 0, &all[..1]), "producer-gap")?;
    script.refused(s, "push", request("p", 5, 1, &all[..1]), "producer-gap")?;
    script.done(s, "push", request("p", 5, 0, &[say("step_1", "d")]))?;
    let old = script.unchanged(s, "push", request("p", 4, 0, &all))?;
    ensure!(old["duplicate"] == 4, "{old}");
    script.done(s, "push", request("q \"1\"", 0, 0, &[say("step_1", "e")]))?;
    for bad in [String::new(), "p".repeat(129)] {
        script.refused(s, "push", request(&bad, 0, 0, &all[..1]), "invalid")?;
    }
    script.get(s, "content")?;
    script.get(s, "job")?;
    Ok(())
}
