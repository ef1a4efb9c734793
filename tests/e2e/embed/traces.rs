//! Recorded sessions: calls in, calls out, outcomes. `BLESS=1` records them anew from the scenarios in this folder;
//! without it the scenarios and the files are held against the shipped component, each for itself.

mod answer;
mod coverage;
mod fold;
mod limits;
mod providers;
mod refusals;
mod reopen;
mod script;
mod text;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rejoin_tests::trace::{files, folder, play};
use script::Script;

/// File, what its first line says, and what makes it.
type Scenario = (&'static str, &'static str, fn(&mut Script) -> Result<()>);

const SCENARIOS: [Scenario; 27] = [
    ("answer", "A whole answer, from create to complete: reasoning, text, a tool call, usage.", answer::whole),
    ("final-event", "Ends that the producer spells itself.", answer::own_final_event),
    ("abort", "Stopped in the middle.", answer::abort),
    ("fail", "Ended by a failure.", answer::fail),
    ("time-out", "Nothing came for too long, running and paused.", answer::time_out),
    ("action", "Paused for a person, and answered.", answer::action),
    ("create", "Who may start a generation, and when.", refusals::create),
    ("replaced", "A newer generation takes the stream over.", refusals::replaced),
    ("unsettled", "The store refuses: the session is lost.", refusals::unsettled),
    ("order", "Calls out of their order.", refusals::order),
    ("metadata", "Fields of the job.", refusals::metadata),
    ("framing", "One JSON object a line, one alone, a list.", limits::framing),
    ("stopped", "A push with a bad record keeps what stood before it.", limits::stopped),
    ("too-large", "A record just within its limit, and one just beyond.", limits::too_large),
    ("log-full", "The log reaches its limit of records, or of bytes.", limits::log_full),
    ("producer", "Requests that are repeated, and one that was lost.", limits::producer),
    ("behind", "Another host appended: open again from checkpoint and log.", reopen::behind),
    ("checkpoint", "Checkpoints that are due, and one that cannot be read.", reopen::checkpoint),
    ("resume", "What a returning reader gets at several points.", reopen::resume),
    ("save", "A store that has forgotten what it had accepted.", reopen::save),
    ("unicode", "Characters that hosts spell in several ways.", text::unicode),
    ("fold", "The fold alone, from nothing and from parts.", fold::fold),
    ("translate-events", "A body whose events are records already.", providers::events),
    ("translate-openai-chat", "An OpenAI chat completion into a session.", providers::openai_chat),
    ("translate-openai-responses", "An OpenAI response into a session.", providers::openai_responses),
    ("translate-anthropic-messages", "An Anthropic message into a session.", providers::anthropic_messages),
    ("translate-bad", "Bodies that are not what they say.", providers::bad),
];

/// What the scenarios give today, by the names of their files.
fn recorded() -> Result<BTreeMap<String, String>> {
    let (mut recorded, mut failures) = (BTreeMap::new(), Vec::new());
    for (name, about, scenario) in SCENARIOS {
        let mut script = Script::new(about)?;
        match scenario(&mut script) {
            Ok(()) => drop(recorded.insert(format!("{name}.jsonl"), script.text())),
            Err(error) => failures.push(format!("{name}, call {}: {error:#}", script.calls())),
        }
    }
    ensure!(failures.is_empty(), "{failures:#?}");
    Ok(recorded)
}

fn blessed() -> bool {
    std::env::var_os("BLESS").is_some_and(|value| value == "1")
}

#[test]
fn scenarios_give_the_recorded_traces() -> Result<()> {
    let recorded = recorded()?;
    if blessed() {
        for name in files()?.keys().filter(|name| !recorded.contains_key(*name)) {
            std::fs::remove_file(folder().join(name))?;
        }
        for (name, text) in &recorded {
            std::fs::write(folder().join(name), text)?;
        }
    }
    let files = files()?;
    ensure!(files.keys().eq(recorded.keys()), "files without a scenario, or the other way round: see BLESS=1");
    for (name, text) in &recorded {
        let differs = text.split('\n').zip(files[name].split('\n')).position(|(now, then)| now != then);
        if let Some(at) = differs {
            let line = |text: &str| text.split('\n').nth(at).unwrap_or_default().to_owned();
            let (then, now) = (line(&files[name]), line(text));
            anyhow::bail!("{name} line {}\n  recorded {then}\n  now      {now}\nmeant so? BLESS=1", at + 1);
        }
        ensure!(text.len() == files[name].len(), "{name} is shorter or longer than before: BLESS=1 if that is meant");
    }
    Ok(())
}

#[test]
fn every_recorded_trace_plays_with_the_same_bytes() -> Result<()> {
    if blessed() {
        // The other test writes the files meanwhile.
        return Ok(());
    }
    let files = files()?;
    ensure!(files.len() == SCENARIOS.len(), "{} traces", files.len());
    let mut calls = 0;
    for (name, text) in &files {
        calls += play(text).with_context(|| name.clone())?;
    }
    println!("{} traces, {calls} calls", files.len());
    Ok(())
}

/// Each change makes a trace that the component does not give.
#[test]
fn a_trace_that_differs_anywhere_does_not_play() -> Result<()> {
    let mut script = Script::new("an abort")?;
    answer::abort(&mut script)?;
    let good = script.text();
    play(&good)?;
    for (from, to) in [
        ("\"out\":{\"ok\":\"pending\"}", "\"out\":{\"ok\":\"unchanged\"}"),
        ("\"out\":\"s1\"", "\"out\":\"s2\""),
        ("\"what\":{\"tag\":\"abort\"}", "\"what\":{\"tag\":\"abort\",\"val\":null}"),
        ("\"kind\":\"final\"", "\"kind\":\"event\""),
        ("\"tag\":\"accepted\"}", "\"tag\":\"accepted\", \"val\":null}"),
        ("\"now\":null", "\"now\":1789000000000"),
        ("\"now\":1789000000", "\"now\":null,\"then\":1789000000"),
        ("\"imports\":[{\"call\":\"sse.publish\"", "\"imports\":[{\"call\":\"sse.signal\""),
        ("\"ticket\":2", "\"ticket\":3"),
        ("\"user-id\":\"u1\"", "\"userId\":\"u1\""),
        ("\\\"Paris", "\\u0022Paris"),
        ("\"call\":\"session.abort\"", "\"call\":\"session.cancel\""),
        ("{\"trace\":1", "{\"trace\":2"),
        ("}\n{", "}\r\n{"),
        ("\n", ""),
    ] {
        let bad = good.replacen(from, to, 1);
        ensure!(bad != good, "{from} does not stand in the trace");
        ensure!(play(&bad).is_err(), "{to} instead of {from} makes no difference");
    }
    ensure!(play(good.trim_end()).is_err(), "cut at its end");
    ensure!(play(good.lines().next().map(|line| format!("{line}\n")).as_deref().unwrap_or("")).is_err(), "no call");
    Ok(())
}
