//! `cargo xtask bench [core] [fold] [ingest] [fan-out] [catch-up] [redis]`: figures, not tests. Compared things run in one go, in turn,
//! and medians and ratios are printed: a shared machine's single times mean little.

mod core;
mod redis;
mod server;

use anyhow::{Result, bail};

const NAMES: [&str; 6] = ["core", "fold", "ingest", "fan-out", "catch-up", "redis"];

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
    Ok(())
}
