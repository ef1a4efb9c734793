//! One engine and one compiled component for the process; instances of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component as Compiled, HasSelf, Linker};
use wasmtime::{Config, Engine, OptLevel, Store, StoreLimitsBuilder, Trap};

use crate::bindings::{self, EnginePre};
use crate::imports::State;
use crate::{Aggregator, Error, Imports, Job, Limits, Session};

/// How often a running call is looked at; a call may last up to one tick longer than allowed.
const TICK: Duration = Duration::from_millis(50);

/// What one instance may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Linear memory.
    pub memory_bytes_max: usize,
    /// One call.
    pub call_max: Duration,
}

impl Default for Bounds {
    /// 64 MiB and one second, as Rejoin's own server has them.
    fn default() -> Self {
        Bounds { memory_bytes_max: 64 << 20, call_max: Duration::from_secs(1) }
    }
}

/// The component, compiled: one for the process. Clones are the same one.
pub struct Component<I: Imports>(Arc<Inner<I>>);

struct Inner<I: Imports> {
    engine: Engine,
    pre: EnginePre<State<I>>,
    bounds: Bounds,
}

impl<I: Imports> Clone for Component<I> {
    fn clone(&self) -> Self {
        Component(self.0.clone())
    }
}

impl<I: Imports> Component<I> {
    /// Compiles the component in this file: a tenth of a second in a release build.
    pub fn from_file(path: impl AsRef<Path>, bounds: Bounds) -> Result<Self, Error> {
        let path = path.as_ref();
        let unusable =
            |error: wasmtime::Error| Error::Unusable { path: path.display().to_string(), reason: format!("{error:#}") };
        let inner = Self::compile(path, bounds).map_err(unusable)?;
        Ok(Component(Arc::new(inner)))
    }

    fn compile(path: &Path, bounds: Bounds) -> wasmtime::Result<Inner<I>> {
        let mut config = Config::new();
        // The component is plain synchronous functions; support for others costs 29 %.
        config.epoch_interruption(true).concurrency_support(false);
        if cfg!(debug_assertions) {
            // The compiler of a debug build is slow: what it leaves out here is most of its work.
            config.cranelift_opt_level(OptLevel::None);
        }
        let engine = Engine::new(&config)?;
        let compiled = Compiled::from_file(&engine, path)?;
        let mut linker = Linker::new(&engine);
        bindings::Engine::add_to_linker::<_, HasSelf<State<I>>>(&mut linker, |state| state)?;
        let pre = EnginePre::new(linker.instantiate_pre(&compiled)?)?;
        let ticked = engine.weak();
        // Ends by itself, one tick after the last instance and the last `Component` are gone.
        std::thread::Builder::new().name("rejoin-epoch".into()).spawn(move || {
            while let Some(engine) = ticked.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
        Ok(Inner { engine, pre, bounds })
    }

    /// Opens `stream` as your store has it, in an instance of its own: the job, and a checkpoint of that generation where there
    /// is one. Then [`Session::replay`] what the log holds behind [`Session::head`].
    pub fn open(
        &self,
        imports: I,
        stream: &str,
        job: Option<&Job>,
        checkpoint: Option<&str>,
        limits: Limits,
    ) -> Result<Session<I>, Error> {
        Session::open(self.instance(Some(imports))?, stream, job, checkpoint, limits)
    }

    /// A fold alone, from events to content parts; `seed`: parts that are already there, a JSON list.
    pub fn aggregator(&self, seed: Option<&str>) -> Result<Aggregator<I>, Error> {
        Aggregator::new(self.instance(None)?, seed)
    }

    fn instance(&self, imports: Option<I>) -> Result<Instance<I>, Error> {
        let Inner { engine, pre, bounds } = &*self.0;
        let limits = StoreLimitsBuilder::new().memory_size(bounds.memory_bytes_max).build();
        let mut store = Store::new(engine, State { imports, limits, answered: None });
        store.limiter(|state| &mut state.limits);
        let ticks = bounds.call_max.as_millis().div_ceil(TICK.as_millis());
        let call_ticks = u64::try_from(ticks).unwrap_or(u64::MAX / 2).max(1);
        store.set_epoch_deadline(call_ticks);
        let exports = pre.instantiate(&mut store).map_err(|error| Error::Trapped(format!("{error:#}")))?;
        Ok(Instance { store, exports, call_ticks, alive: true })
    }
}

/// One instance. After a trap it is dead: wasmtime does not enter it again.
pub(crate) struct Instance<I: Imports> {
    pub(crate) store: Store<State<I>>,
    exports: bindings::Engine,
    call_ticks: u64,
    pub(crate) alive: bool,
}

impl<I: Imports> Instance<I> {
    /// One call. Errors: it trapped, now or before.
    pub(crate) fn call<R>(
        &mut self,
        run: impl FnOnce(&bindings::Engine, &mut Store<State<I>>) -> wasmtime::Result<R>,
    ) -> Result<R, Error> {
        if !self.alive {
            return Err(Error::Trapped("an earlier call ended it: open another one".to_owned()));
        }
        self.store.set_epoch_deadline(self.call_ticks);
        run(&self.exports, &mut self.store).map_err(|error| {
            self.alive = false;
            Error::Trapped(match error.downcast_ref::<Trap>() {
                Some(trap) => trap.to_string(),
                None => format!("{error:#}"),
            })
        })
    }
}
