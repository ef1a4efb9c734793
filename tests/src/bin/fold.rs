//! The fold as a command, in the protocol of the golden files' checker: a line in is a JSON list of events, or
//! `{"seed":[parts],"events":[events]}`; a line out is the JSON list of content parts. With `--component` through wasm.

#![forbid(unsafe_code)]

use std::io::{BufRead, Write, stdin, stdout};

use anyhow::{Context, Result, anyhow, bail};
use rejoin_core::content::fold_line;
use rejoin_core::json::{Json, Kind};
use rejoin_tests::component::Instance;

fn main() -> Result<()> {
    let mut component = match std::env::args().nth(1).as_deref() {
        None => None,
        Some("--component") => Some(Instance::new()?),
        Some(other) => bail!("unknown argument {other}: fold [--component] <events.jsonl >parts.jsonl"),
    };
    let mut out = stdout().lock();
    for (at, line) in stdin().lock().lines().enumerate() {
        let line = line?;
        let json = Json::parse(&line).map_err(|error| anyhow!("line {}: {error}", at + 1))?;
        let parts = match &mut component {
            None => fold_line(json),
            Some(instance) => through(instance, json).with_context(|| format!("line {}", at + 1))?,
        };
        writeln!(out, "{parts}")?;
    }
    Ok(())
}

fn through(instance: &mut Instance, line: Json<'_>) -> Result<String> {
    let folded = if line.kind() == Kind::Object {
        let seed = line.get("seed").context("no seed")?;
        let events: Vec<&str> = line.get("events").context("no events")?.items().map(Json::text).collect();
        instance.fold(Some(seed.text()), &events.join("\n"))?
    } else {
        instance.fold(None, line.text())?
    };
    folded.map_err(|error| anyhow!(error))
}
