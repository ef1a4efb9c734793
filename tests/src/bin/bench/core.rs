//! The core called natively against the same core in the component, in one thread.

use std::time::Instant;

use anyhow::Result;
use rejoin_core::lines::Framing;
use rejoin_core::session::{Fence, Session, Settled};
use rejoin_core::types::{Effect, Limits};
use rejoin_tests::component::Instance;
use rejoin_tests::{answer, delta};

const ROUNDS: usize = 9;
const LIMITS: Limits = Limits {
    record_bytes_max: 1 << 20,
    records_max: u64::MAX,
    log_bytes_max: u64::MAX,
    idle_ms: 60_000,
    paused_idle_ms: 600_000,
};

/// Append of a 299-byte record: parse, fold, pack, settle, at three sizes of batch.
pub(crate) fn append() -> Result<()> {
    println!("append, ns an event (299-byte records, median of {ROUNDS} rounds)");
    println!("{:>6} {:>8} {:>10} {:>6}", "batch", "native", "component", "ratio");
    let record = delta(&"x".repeat(299 - delta("").len()));
    let step = &answer(0)[0];
    for batch in [1, 16, 64] {
        let events = 20_000 / batch * batch;
        let lines = format!("{record}\n").repeat(batch);
        let (mut native, mut component) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            native.push(native_append(step, &lines, events / batch) / events as f64);
            component.push(component_append(step, &lines, events / batch)? / events as f64);
        }
        let (native, component) = (median(native), median(component));
        println!("{batch:>6} {native:>8.0} {component:>10.0} {:>6.2}", component / native);
    }
    Ok(())
}

fn native_append(step: &str, lines: &str, pushes: usize) -> f64 {
    let mut session = Session::open(None, None, LIMITS);
    let mut ticket = 0;
    let mut settle = |session: &mut Session| {
        ticket += 1;
        std::hint::black_box(session.take_effects());
        session.settle(ticket, Settled::Accepted).expect("every append is accepted");
        session.take_effects().into_iter().filter(|effect| matches!(effect, Effect::Checkpoint { .. })).count()
    };
    session.create(1_789_000_000_000, None, None, "{}").expect("a new stream");
    settle(&mut session);
    session.push(1_789_000_000_000, Fence(None), Framing::Ndjson, step, None).expect("running");
    settle(&mut session);
    let start = Instant::now();
    for _ in 0..pushes {
        session.push(1_789_000_000_001, Fence(None), Framing::Ndjson, lines, None).expect("running");
        std::hint::black_box(settle(&mut session));
    }
    start.elapsed().as_nanos() as f64
}

fn component_append(step: &str, lines: &str, pushes: usize) -> Result<f64> {
    let mut instance = Instance::new()?;
    let mut session = instance.session()?;
    session.push(step)?;
    let start = Instant::now();
    for _ in 0..pushes {
        session.push(lines)?;
        let asked = session.asked();
        asked.records.clear();
        asked.checkpoints.clear();
    }
    Ok(start.elapsed().as_nanos() as f64)
}

/// Fold of an answer of 20,000 deltas, as `content.fold` gets it.
pub(crate) fn fold() -> Result<()> {
    let events = answer(20_000);
    let list = format!("[{}]", events.join(","));
    let mut instance = Instance::new()?;
    let (mut native, mut component) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let json = rejoin_core::json::Json::parse(&list).map_err(anyhow::Error::msg)?;
        std::hint::black_box(rejoin_core::content::fold_line(json));
        native.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        std::hint::black_box(instance.fold(None, &list)?.map_err(anyhow::Error::msg)?);
        component.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let (native, component) = (median(native), median(component));
    let rate = |ms: f64| events.len() as f64 / ms / 1e3;
    println!("fold of 20,000 deltas, {} KB (median of {ROUNDS})", list.len() / 1000);
    println!("  native    {native:>6.1} ms  {:.2} M events/s", rate(native));
    println!("  component {component:>6.1} ms  {:.2} M events/s  ratio {:.2}", rate(component), component / native);
    Ok(())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
