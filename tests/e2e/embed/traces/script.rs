//! What scenarios are written with: calls of one instance, written down as they happen.

use anyhow::{Context, Result, ensure};
use rejoin_tests::trace::{Player, heading};
use serde_json::{Value, json};

/// The time of the first call. Each further call comes 25 ms later.
pub(super) const START_MS: u64 = 1_789_000_000_000;

/// A trace in the making.
pub(super) struct Script {
    player: Player,
    text: String,
    /// Unix milliseconds of the next call.
    pub(super) now: u64,
    /// Bounds of the sessions that are opened from now on.
    pub(super) limits: Value,
    ticket: Value,
    calls: usize,
}

impl Script {
    /// Nothing has happened yet.
    pub(super) fn new(about: &str) -> Result<Self> {
        let limits = json!({
            "record-bytes-max": 65_536, "records-max": 100_000, "log-bytes-max": 16_777_216,
            "idle-ms": 60_000, "paused-idle-ms": 600_000,
        });
        let text = heading(about)? + "\n";
        Ok(Script { player: Player::new()?, text, now: START_MS, limits, ticket: Value::Null, calls: 0 })
    }

    /// Lines so far.
    pub(super) fn text(self) -> String {
        self.text
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Makes a call, writes it down and returns what came out. Optional arguments may be left out.
    pub(super) fn call(&mut self, call: &str, arguments: Value) -> Result<Value> {
        let mut all = json!({
            "generation": null, "producer": null, "user-id": null, "idempotency-key": null, "final-event": null,
            "job": null, "checkpoint": null, "framing": "ndjson", "index-at-least": 0,
        });
        for (name, value) in arguments.as_object().context("arguments are an object")? {
            all[name] = value.clone();
        }
        self.calls += 1;
        let line = self.player.call(call, &all, Some(self.now))?;
        self.now += 25;
        self.text.push_str(&line);
        self.text.push('\n');
        let mut line: Value = serde_json::from_str(&line)?;
        let tickets = line["imports"].as_array().into_iter().flatten();
        if let Some(ticket) = tickets.filter_map(|import| import["in"].get("ticket")).next_back() {
            self.ticket = ticket.clone();
        }
        Ok(line["out"].take())
    }

    /// Opens a stream as the store has it.
    pub(super) fn open(&mut self, stream: &str, job: &Value, checkpoint: Option<&str>) -> Result<String> {
        let limits = self.limits.clone();
        let arguments = json!({ "stream-id": stream, "job": job, "checkpoint": checkpoint, "limits": limits });
        Ok(self.call("session.open", arguments)?.as_str().context("a handle")?.to_owned())
    }

    /// A session on a new generation of `stream`, made by `u1`.
    pub(super) fn created(&mut self, stream: &str) -> Result<String> {
        let session = self.open(stream, &Value::Null, None)?;
        self.done(&session, "create", json!({ "user-id": "u1", "request": "{}" }))?;
        Ok(session)
    }

    /// Calls a function of a session.
    pub(super) fn ask(&mut self, session: &str, function: &str, mut arguments: Value) -> Result<Value> {
        arguments["self"] = session.into();
        self.call(&format!("session.{function}"), arguments)
    }

    /// The same for one that cannot be refused here; returns what is in the `ok`.
    pub(super) fn get(&mut self, session: &str, function: &str) -> Result<Value> {
        let mut out = self.ask(session, function, json!({}))?;
        ensure!(out.get("err").is_none(), "{function}: {out}");
        Ok(if out.get("ok").is_some() { out["ok"].take() } else { out })
    }

    /// A command that is refused for this reason.
    pub(super) fn refused(&mut self, session: &str, function: &str, arguments: Value, reason: &str) -> Result<()> {
        let out = self.ask(session, function, arguments)?;
        ensure!(out["err"]["tag"] == reason, "{function}: {out}, not {reason}");
        Ok(())
    }

    /// A command that asks for a write. It is not settled.
    pub(super) fn pending(&mut self, session: &str, function: &str, arguments: Value) -> Result<Value> {
        let mut out = self.ask(session, function, arguments)?;
        ensure!(out["ok"] == "pending" || out["ok"]["effect"] == "pending", "{function}: {out}");
        Ok(out["ok"].take())
    }

    /// A command that finds nothing to do.
    pub(super) fn unchanged(&mut self, session: &str, function: &str, arguments: Value) -> Result<Value> {
        let mut out = self.ask(session, function, arguments)?;
        ensure!(out["ok"] == "unchanged" || out["ok"]["effect"] == "unchanged", "{function}: {out}");
        Ok(out["ok"].take())
    }

    /// A command whose write the store accepts.
    pub(super) fn done(&mut self, session: &str, function: &str, arguments: Value) -> Result<Value> {
        let out = self.pending(session, function, arguments)?;
        self.settle(session, json!({ "tag": "accepted" }))?;
        Ok(out)
    }

    /// Pushes records that the store accepts, in one batch.
    pub(super) fn push(&mut self, session: &str, records: &[impl ToString]) -> Result<Value> {
        self.done(session, "push", json!({ "text": lines(records) }))
    }

    /// Tells the outcome of the latest ticket.
    pub(super) fn settle(&mut self, session: &str, outcome: Value) -> Result<()> {
        let ticket = self.ticket.clone();
        let out = self.ask(session, "settle", json!({ "ticket": ticket, "outcome": outcome }))?;
        ensure!(out == json!({ "ok": null }), "settle: {out}");
        Ok(())
    }

    /// Gives a resource back.
    pub(super) fn drop(&mut self, kind: &str, handle: &str) -> Result<()> {
        self.call(&format!("{kind}.drop"), json!({ "self": handle })).map(drop)
    }
}

/// Records as lines.
pub(super) fn lines(records: &[impl ToString]) -> String {
    records.iter().map(|record| record.to_string() + "\n").collect()
}

/// A message step.
pub(super) fn step(id: &str, index: u64) -> String {
    format!(
        r#"{{"event":"on_run_step","data":{{"id":"{id}","runId":"run_1","index":{index},"type":"message_creation","stepDetails":{{"type":"message_creation","message_creation":{{"message_id":"msg_{id}"}}}},"usage":null}}}}"#
    )
}

/// A text delta of a step. `text` is the inside of a JSON string.
pub(super) fn say(id: &str, text: &str) -> String {
    format!(
        r#"{{"event":"on_message_delta","data":{{"id":"{id}","delta":{{"content":[{{"type":"text","text":"{text}"}}]}}}}}}"#
    )
}

/// A reasoning delta of a step.
pub(super) fn think(id: &str, text: &str) -> String {
    format!(
        r#"{{"event":"on_reasoning_delta","data":{{"id":"{id}","delta":{{"content":[{{"type":"think","think":"{text}"}}]}}}}}}"#
    )
}
