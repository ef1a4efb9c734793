//! Hosts in this process: the core without a component around it, and wasmtime.

use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use rejoin::engine::tunables;
use rejoin_core::content::Aggregator;
use rejoin_core::json::Json;
use rejoin_core::lines::{Framing, Lines};
use rejoin_core::session::{Fence, Session, Settled};
use rejoin_core::types::Limits;
use rejoin_tests::component::{Instance, shipped};
use wasmtime::component::{Component, InstancePre, Linker, ResourceAny, TypedFunc};
use wasmtime::{Engine, Store};

use super::{Host, Round, Task};

/// The log in batches of each size, made before any clock runs.
struct Input {
    batches: Vec<(usize, Vec<String>)>,
    list: String,
}

impl Input {
    fn new(log: &[String]) -> Self {
        let cut = |size: usize| (size, log.chunks(size).map(|batch| batch.join("\n")).collect());
        Input { batches: [1, 16, 64].map(cut).to_vec(), list: format!("[{}]", log.join(",")) }
    }

    fn of(&self, size: usize) -> &[String] {
        self.batches.iter().find(|(known, _)| *known == size).map_or(&[], |(_, batches)| batches)
    }
}

/// `run`, as often as the task wants.
fn timed(task: Task, mut run: impl FnMut() -> Result<String>) -> Result<Option<Round>> {
    let (start, mut content) = (Instant::now(), String::new());
    for _ in 0..task.times() {
        content = run()?;
    }
    Ok(Some(Round { ns: start.elapsed().as_nanos() as f64, content }))
}

pub(super) struct Native(Input);

impl Native {
    pub(super) fn new(log: &[String]) -> Self {
        Native(Input::new(log))
    }
}

impl Host for Native {
    fn round(&mut self, task: Task) -> Result<Option<Round>> {
        match task {
            Task::Start => Ok(None),
            Task::Fold(0) => timed(task, || {
                let list = Json::parse(&self.0.list).map_err(|error| anyhow!(error))?;
                let mut fold = Aggregator::new();
                list.items().for_each(|event| fold.push(event));
                Ok(fold.parts())
            }),
            Task::Fold(size) => timed(task, || {
                let mut fold = Aggregator::new();
                for batch in self.0.of(size) {
                    Lines::new(Framing::Ndjson, batch).filter_map(|(_, event)| event.ok()).for_each(|e| fold.push(e));
                }
                Ok(fold.parts())
            }),
            Task::Push(size) => timed(task, || push(self.0.of(size))),
        }
    }
}

fn push(batches: &[String]) -> Result<String> {
    let max = u64::MAX;
    let limits =
        Limits { record_bytes_max: 1 << 20, records_max: max, log_bytes_max: max, idle_ms: max, paused_idle_ms: max };
    let mut session = Session::open(None, None, limits);
    let mut ticket = 0;
    let mut settle = |session: &mut Session| {
        ticket += 1;
        std::hint::black_box(session.take_effects());
        let settled = session.settle(ticket, Settled::Accepted);
        std::hint::black_box(session.take_effects());
        settled.map_err(|refusal| anyhow!("{refusal:?}"))
    };
    session.create(1, None, None, "{}").map_err(|refusal| anyhow!("{refusal:?}"))?;
    settle(&mut session)?;
    for batch in batches {
        let pushed = session.push(1, Fence(None), Framing::Ndjson, batch, None);
        pushed.map_err(|refusal| anyhow!("{refusal:?}"))?;
        settle(&mut session)?;
    }
    session.content().map_err(|refusal| anyhow!("{refusal:?}"))
}

/// The fold through typed functions, the sessions as the tests' own host runs them.
pub(super) struct Wasmtime {
    input: Input,
    pre: InstancePre<()>,
    engine: Engine,
    store: Store<()>,
    new: TypedFunc<(), (ResourceAny,)>,
    push: TypedFunc<(ResourceAny, String), ()>,
    parts: TypedFunc<(ResourceAny,), (String,)>,
    fold: TypedFunc<(String,), (Result<String, String>,)>,
    sessions: Instance,
}

impl Wasmtime {
    pub(super) fn new(log: &[String]) -> Result<Self> {
        let engine = Engine::new(&tunables::config())?;
        let component: Component = shipped(&engine)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = linker.instantiate_pre(&component)?;
        let mut store = store(&engine);
        let instance = pre.instantiate(&mut store)?;
        let content = instance.get_export_index(&mut store, None, "rejoin:streams/content@0.1.0");
        let mut of = |name: &str| {
            let index = instance.get_export_index(&mut store, content.as_ref(), name);
            index.and_then(|index| instance.get_func(&mut store, index)).with_context(|| format!("no {name}"))
        };
        let (new, push) = (of("[constructor]aggregator")?, of("[method]aggregator.push")?);
        let (parts, fold) = (of("[method]aggregator.parts")?, of("fold")?);
        Ok(Wasmtime {
            input: Input::new(log),
            new: new.typed(&store)?,
            push: push.typed(&store)?,
            parts: parts.typed(&store)?,
            fold: fold.typed(&store)?,
            sessions: Instance::new()?,
            pre,
            engine,
            store,
        })
    }
}

fn store(engine: &Engine) -> Store<()> {
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    store
}

impl Host for Wasmtime {
    fn round(&mut self, task: Task) -> Result<Option<Round>> {
        let Wasmtime { input, pre, engine, store: kept, new, push, parts, fold, sessions } = self;
        match task {
            Task::Start => timed(task, || {
                pre.instantiate(&mut store(engine))?;
                Ok(String::new())
            }),
            Task::Fold(0) => timed(task, || {
                let (answer,) = fold.call(&mut *kept, (input.list.clone(),))?;
                answer.map_err(|error| anyhow!(error))
            }),
            Task::Fold(size) => timed(task, || {
                let (aggregator,) = new.call(&mut *kept, ())?;
                for batch in input.of(size) {
                    push.call(&mut *kept, (aggregator, batch.clone()))?;
                }
                let (content,) = parts.call(&mut *kept, (aggregator,))?;
                aggregator.resource_drop(&mut *kept)?;
                Ok(content)
            }),
            Task::Push(size) => timed(task, || {
                let mut session = sessions.session()?;
                for batch in input.of(size) {
                    session.push(batch)?;
                    let asked = session.asked();
                    asked.records.clear();
                    asked.checkpoints.clear();
                }
                session.content()
            }),
        }
    }
}
