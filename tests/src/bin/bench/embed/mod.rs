//! `bench embed`: the component in every host that it is shown in, and the fold in JavaScript that it replaces.
//!
//! All hosts fold one and the same log, take turns round by round, and must come to the same content. Times are wall
//! time; every figure is a median, and the fastest round stands beside it: on a machine that does other things it is nearer to
//! what the host can do. Compare lines of one run with each other, and look at the load before the figures.

mod guests;
mod native;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rejoin_tests::root;
use serde_json::{Value, json};

use crate::core::median;
use guests::{Page, Process};

const DELTAS: usize = 2_000;
const ROUNDS: usize = 15;
/// Rounds before the first that counts: engines of JavaScript compile what they see often.
const WARM_UP: usize = 4;
/// The goal for the component's size.
const BYTES_MAX: usize = 400 * 1000;

/// Something that a host does. A batch of 0 is the whole log as one JSON list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Start,
    Fold(usize),
    Push(usize),
}

const TASKS: [Task; 8] = [
    Task::Start,
    Task::Fold(1),
    Task::Fold(16),
    Task::Fold(64),
    Task::Fold(0),
    Task::Push(1),
    Task::Push(16),
    Task::Push(64),
];

impl Task {
    /// What stands in a request to a host in another language.
    fn request(self, host: &str) -> Value {
        let (what, batch) = match self {
            Task::Start => ("start", 0),
            Task::Fold(0) => ("whole", 0),
            Task::Fold(batch) => ("fold", batch),
            Task::Push(batch) => ("push", batch),
        };
        json!({ "host": host, "what": what, "batch": batch, "times": self.times() })
    }

    /// How often it is done in one round: enough for clocks that are coarse.
    fn times(self) -> usize {
        if self == Task::Start { 8 } else { 3 }
    }
}

/// How long a round took, and the content that came out of it.
struct Round {
    ns: f64,
    content: String,
}

/// Does tasks. None: this host has nothing of the kind.
trait Host {
    fn round(&mut self, task: Task) -> Result<Option<Round>>;
}

/// The log: one run step of a message and its text deltas, spelt as chat servers spell them.
fn log() -> Vec<String> {
    let step = r#"{"event":"on_run_step","data":{"id":"step_1","index":0,"type":"message_creation","stepDetails":{"type":"message_creation","message_creation":{"message_id":"msg_1"}},"usage":null}}"#;
    let delta = |n| {
        format!(
            r#"{{"event":"on_message_delta","data":{{"id":"step_1","delta":{{"content":[{{"type":"text","text":"word{n} "}}]}}}}}}"#
        )
    };
    std::iter::once(step.to_owned()).chain((0..DELTAS).map(delta)).collect()
}

pub(crate) fn run() -> Result<()> {
    let log = log();
    let mut hosts = hosts(&log)?;
    let bytes = std::fs::metadata(component())?.len() as usize;
    let verdict = if bytes <= BYTES_MAX { "within" } else { "OVER" };
    println!("component: {bytes} bytes, {verdict} the goal of {BYTES_MAX}");
    println!("load of the machine before: {}", load()?);

    let mut times: BTreeMap<(usize, Task), Vec<f64>> = BTreeMap::new();
    let mut content = None;
    for round in 0..WARM_UP + ROUNDS {
        for task in TASKS {
            for (at, (name, host)) in hosts.iter_mut().enumerate() {
                let Some(done) = host.round(task).with_context(|| name.to_owned())? else { continue };
                if task != Task::Start {
                    let first = content.get_or_insert_with(|| done.content.clone());
                    ensure!(*first == done.content, "{name} comes to another content: {:.200}", done.content);
                }
                if round >= WARM_UP {
                    times.entry((at, task)).or_default().push(done.ns / task.times() as f64);
                }
            }
        }
    }
    let bytes: usize = log.iter().map(|line| line.len() + 1).sum();
    let names: Vec<_> = hosts.iter().map(|(name, _)| *name).collect();
    print(&names, &times, log.len() as f64, bytes as f64);
    println!("load of the machine after: {}", load()?);
    Ok(())
}

fn print(names: &[&str], times: &BTreeMap<(usize, Task), Vec<f64>>, events: f64, bytes: f64) {
    let figure = |at: usize, task: Task| times.get(&(at, task)).map(|times| median(times.clone()));
    println!(
        "\nfold of a text of {DELTAS} deltas, {:.0} KB, ns an event (median of {ROUNDS} rounds, in turn)",
        bytes / 1e3
    );
    println!("{:<36} {:>7} {:>7} {:>7} {:>7}   at 64, and its fastest round", "batches of", 1, 16, 64, "all");
    for (at, name) in names.iter().enumerate() {
        let Some(at_64) = figure(at, Task::Fold(64)) else { continue };
        let fastest = times[&(at, Task::Fold(64))].iter().copied().fold(f64::INFINITY, f64::min);
        print!("{name:<36}");
        for batch in [1, 16, 64, 0] {
            print!(" {:>7.0}", figure(at, Task::Fold(batch)).unwrap_or(f64::NAN) / events);
        }
        let rate = |ns: f64| format!("{:.2} M events/s {:>3.0} MB/s", events / ns * 1e3, bytes / ns * 1e3);
        println!("   {}   {}", rate(at_64), rate(fastest));
    }
    println!("\nappend and settle in a session, ns an event");
    println!("{:<36} {:>7} {:>7} {:>7}", "batches of", 1, 16, 64);
    for (at, name) in names.iter().enumerate() {
        if figure(at, Task::Push(64)).is_none() {
            continue;
        }
        print!("{name:<36}");
        for batch in [1, 16, 64] {
            print!(" {:>7.0}", figure(at, Task::Push(batch)).unwrap_or(f64::NAN) / events);
        }
        println!();
    }
    println!("\nstart of one more instance, us");
    for (at, name) in names.iter().enumerate() {
        if let Some(ns) = figure(at, Task::Start) {
            println!("{name:<36} {:>7.0}", ns / 1e3);
        }
    }
}

/// All of them, the log known to each.
fn hosts(log: &[String]) -> Result<Vec<(&'static str, Box<dyn Host>)>> {
    let node = Process::node(log)?;
    let page = Page::open(log)?;
    let mut hosts: Vec<(&'static str, Box<dyn Host>)> = vec![
        ("native Rust", Box::new(native::Native::new(log))),
        ("wasmtime", Box::new(native::Wasmtime::new(log)?)),
        ("Node, bindings of jco", Box::new(node.host("bindings"))),
        ("Node, the kit for Node", Box::new(node.host("kit"))),
        ("Node, the loader for browsers", Box::new(node.host("loader"))),
        ("Chromium, the loader for browsers", Box::new(page.host("loader"))),
        ("Chromium, bindings of jco", Box::new(page.host("bindings"))),
        ("Python, the kit for Python", Box::new(Process::python(log)?.host("python"))),
    ];
    if node.has_reference {
        hosts.push(("Node, @librechat/agents (reference)", Box::new(node.host("reference"))));
    }
    Ok(hosts)
}

/// The component as other hosts get it: `cargo xtask bench embed` has just written it.
fn component() -> std::path::PathBuf {
    root().join("target/rejoin.wasm")
}

fn load() -> Result<String> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{} on {cores} cores", load.split(' ').next().unwrap_or_default()))
}
