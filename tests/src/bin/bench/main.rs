//! `cargo xtask bench [core] [fold] [ingest] [fan-out] [catch-up] [redis] [start] [garbage] [idle] [embed]`: figures, not tests. Compared things run in one go, in turn,
//! and medians and ratios are printed: a shared machine's single times mean little.

#![forbid(unsafe_code)]

mod core;
mod door;
mod embed;
mod redis;
mod server;

use anyhow::{Result, bail};

const NAMES: [&str; 10] =
    ["core", "fold", "ingest", "fan-out", "catch-up", "redis", "start", "garbage", "idle", "embed"];

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|name| !NAMES.contains(&name.as_str())) {
        bail!("no benchmark {unknown:?}: there are {}", NAMES.join(", "));
    }
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    if wanted("core") {
        core::append()?;
    }
    if wanted("fold") {
        core::fold()?;
    }
    if ["ingest", "fan-out", "catch-up"].into_iter().any(wanted) {
        let bench = server::Bench::start()?;
        if wanted("ingest") {
            bench.ingest()?;
        }
        if wanted("fan-out") {
            bench.fan_out()?;
        }
        if wanted("catch-up") {
            bench.catch_up()?;
        }
    }
    if wanted("redis") {
        redis::Bench::start()?.run()?;
    }
    if wanted("start") {
        door::start()?;
    }
    if wanted("garbage") {
        door::garbage()?;
    }
    // Ten minutes: only when it is asked for.
    if asked.iter().any(|asked| asked == "idle") {
        door::idle()?;
    }
    // Installs what its hosts need: only when it is asked for.
    if asked.iter().any(|asked| asked == "embed") {
        embed::run()?;
    }
    Ok(())
}
