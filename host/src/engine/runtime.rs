//! One engine, one linker, one pre-instantiated component for the process; and the clock that bounds every call.

use std::borrow::Cow;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::bindings;
use super::imports::Ctx;
use super::tunables;
use crate::metrics::EngineMeter;

/// The component that this host was built with, compiled ahead of time.
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rejoin.cwasm"));

/// The SHA-256 of that component as WebAssembly, in hexadecimal digits: of `target/rejoin.wasm` from the same sources.
pub const COMPONENT_SHA256: &str = env!("COMPONENT_SHA256");

/// How often a running call is looked at. What counts are the looks that find it at work: a thread that has no turn meets
/// all the ticks that it missed as one.
const TICK: Duration = Duration::from_millis(50);

/// What bounds the component.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Compiled by the same wasmtime with [`tunables::config`]: trusted like the host's own code.
    pub component: Cow<'static, [u8]>,
    /// Instances at a time.
    pub instances_max: u32,
    /// Linear memory of one instance.
    pub memory_bytes_max: usize,
    /// One call into the component.
    pub call_max: Duration,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        RuntimeConfig {
            component: Cow::Borrowed(EMBEDDED),
            instances_max: 10_000,
            memory_bytes_max: 64 << 20,
            call_max: Duration::from_secs(1),
        }
    }
}

/// Makes instances.
pub struct Runtime {
    engine: Engine,
    meter: EngineMeter,
    pre: bindings::EnginePre<Ctx>,
    /// Ticks of [`TICK`] that one call may last.
    call_ticks: u64,
    memory_bytes_max: usize,
    ticker: Ticker,
}

impl Runtime {
    /// Loads the component. Errors: it was compiled by another wasmtime or with other settings.
    pub fn new(config: &RuntimeConfig, meter: EngineMeter) -> Result<Self> {
        // A component with imports is three core instances and two tables.
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(config.instances_max)
            .total_core_instances(config.instances_max.saturating_mul(3))
            .total_memories(config.instances_max)
            .total_tables(config.instances_max.saturating_mul(2))
            .max_memories_per_component(1)
            .max_tables_per_component(2)
            .max_unused_warm_slots(64);
        let mut wasmtime = tunables::config();
        wasmtime.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&wasmtime)?;
        #[expect(unsafe_code, reason = "the bytes come from this build's own compiler, never from a client")]
        // SAFETY: `config.component` was made by `Engine::precompile_component` in a build script of this workspace.
        let component = unsafe { Component::deserialize(&engine, &config.component) }.map_err(|error| {
            anyhow!("the component was not compiled for this host, rebuild with `cargo build`: {error}")
        })?;
        let mut linker = Linker::new(&engine);
        bindings::Engine::add_to_linker::<_, HasSelf<Ctx>>(&mut linker, |ctx| ctx)?;
        let pre = bindings::EnginePre::new(linker.instantiate_pre(&component)?)?;
        let ticks = config.call_max.as_millis().div_ceil(TICK.as_millis());
        Ok(Runtime {
            ticker: Ticker::start(engine.clone())?,
            engine,
            meter,
            pre,
            call_ticks: u64::try_from(ticks).unwrap_or(u64::MAX).max(1),
            memory_bytes_max: config.memory_bytes_max,
        })
    }

    pub(super) fn instantiate(&self) -> wasmtime::Result<(wasmtime::Store<Ctx>, bindings::Engine)> {
        let began = Instant::now();
        let mut store = wasmtime::Store::new(&self.engine, Ctx::new(self.memory_bytes_max, self.call_ticks));
        store.limiter(|ctx| ctx);
        store.epoch_deadline_callback(|mut store| store.data_mut().tick());
        Ctx::begin_call(&mut store);
        let instance = self.pre.instantiate(&mut store)?;
        self.meter.started(began.elapsed());
        Ok((store, instance))
    }

    pub(super) fn meter(&self) -> &EngineMeter {
        &self.meter
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.ticker.stop();
    }
}

/// The thread that counts time for the engine. Ended by its owner.
struct Ticker {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: Engine) -> Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let signal = stop.clone();
        let tick = move || {
            let (stopped, condition) = &*signal;
            let mut guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            while !*guard {
                guard = condition.wait_timeout(guard, TICK).unwrap_or_else(PoisonError::into_inner).0;
                engine.increment_epoch();
            }
        };
        let thread = std::thread::Builder::new().name("rejoin-epoch".into()).spawn(tick)?;
        Ok(Ticker { stop, thread: Some(thread) })
    }

    fn stop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Framing;
    use crate::engine::bindings::rejoin::streams::types::Limits;
    use crate::engine::instance::Live;
    use crate::metrics::Metrics;
    use crate::types::StreamId;

    /// All the ticks of a call pass at once, as for a thread that is put aside for so long.
    #[test]
    fn the_time_of_a_call_is_that_in_which_it_was_at_work() {
        let config = RuntimeConfig { instances_max: 2, call_max: Duration::from_secs(2), ..RuntimeConfig::default() };
        let runtime = Runtime::new(&config, Metrics::new("memory").engine.clone()).expect("it is built in");
        let stream = StreamId::parse("s").expect("it is valid");
        let most = u64::MAX >> 16;
        let limits = Limits {
            record_bytes_max: 1 << 20,
            records_max: most,
            log_bytes_max: most,
            idle_ms: most,
            paused_idle_ms: most,
        };
        let mut live = Live::open(&runtime, 1, &stream, None, None, limits).expect("there is room");
        live.create(Some("u"), None, "{}").expect("it is free");
        let ticket = live.take_asked().write.expect("the row").ticket;
        live.settle(ticket, None).expect("it is taken");
        let lines = "{\"event\":\"x\",\"data\":{}}\n".repeat(20_000);
        let pushed = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(5));
                (0..2 * runtime.call_ticks).for_each(|_| runtime.engine.increment_epoch());
            });
            live.push(None, Framing::Ndjson, &lines, None)
        });
        assert_eq!(pushed.expect("it has hardly begun").appended, 20_000);
    }
}
