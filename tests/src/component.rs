//! The component in a host of the tests' own: what any embedder would write.

use anyhow::Result;
use rejoin::engine::{RuntimeConfig, tunables};
use wasmtime::component::{Component, HasSelf, Linker, ResourceAny};
use wasmtime::{Engine, Store};

#[expect(missing_docs, reason = "generated from wit/, where every item is documented")]
mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "engine" });
}

pub use bindings::exports::rejoin::streams::session as wit;
pub(crate) use bindings::rejoin::streams::types;
use bindings::rejoin::streams::{sse, store};
use bindings::wasi::clocks::wall_clock;
pub use types::{Limits, Refusal};

/// Limits that no case here reaches.
pub const LIMITS: Limits = Limits {
    record_bytes_max: 1 << 20,
    records_max: u64::MAX,
    log_bytes_max: u64::MAX,
    idle_ms: 60_000,
    paused_idle_ms: 600_000,
};

/// What the component asked for; the test carries it out.
#[derive(Default)]
pub struct Asked {
    /// Tickets of `store.create` and `store.append`.
    pub tickets: Vec<u64>,
    /// Every record of every append.
    pub records: Vec<String>,
    /// Calls of `sse.publish`.
    pub published: u64,
    /// Calls of `store.checkpoint`.
    pub checkpoints: Vec<String>,
    /// The clock, for those who want one that does not move by itself.
    pub now_ms: u64,
}

impl types::Host for Asked {}

impl store::Host for Asked {
    fn create(&mut self, _stream: String, ticket: u64, _previous: u64, _job: types::Job) {
        self.tickets.push(ticket);
    }

    fn append(
        &mut self,
        _stream: String,
        ticket: u64,
        _first: types::Cursor,
        records: Vec<types::LogRecord>,
        _change: types::Change,
    ) {
        self.tickets.push(ticket);
        self.records.extend(records.into_iter().map(|record| record.json));
    }

    fn checkpoint(&mut self, _stream: String, _at: types::Cursor, state: String) {
        self.checkpoints.push(state);
    }
}

impl sse::Host for Asked {
    fn publish(&mut self, _stream: String, _at: types::Cursor) {
        self.published += 1;
    }

    fn signal(&mut self, _stream: String, _generation: u64, _what: sse::ProducerSignal) {}
}

impl wall_clock::Host for Asked {
    fn now(&mut self) -> wall_clock::Datetime {
        let nanoseconds = u32::try_from(self.now_ms % 1000).unwrap_or(0) * 1_000_000;
        wall_clock::Datetime { seconds: self.now_ms / 1000, nanoseconds }
    }

    fn resolution(&mut self) -> wall_clock::Datetime {
        wall_clock::Datetime { seconds: 0, nanoseconds: 1_000_000 }
    }
}

/// The component that the host was built with.
pub fn shipped(engine: &Engine) -> Result<Component> {
    #[expect(unsafe_code, reason = "the bytes come from this build's own compiler")]
    // SAFETY: they were made by `Engine::precompile_component` in the host's build script.
    let component = unsafe { Component::deserialize(engine, RuntimeConfig::default().component) }?;
    Ok(component)
}

/// One instance.
pub struct Instance {
    pub(crate) store: Store<Asked>,
    pub(crate) exports: bindings::Engine,
}

impl Instance {
    /// The component that the host was built with, in an engine of its own.
    pub fn new() -> Result<Self> {
        let engine = Engine::new(&tunables::config())?;
        let component = shipped(&engine)?;
        let mut linker = Linker::new(&engine);
        bindings::Engine::add_to_linker::<_, HasSelf<Asked>>(&mut linker, |asked| asked)?;
        let mut store = Store::new(&engine, Asked { now_ms: 1_789_000_000_000, ..Asked::default() });
        store.set_epoch_deadline(u64::MAX / 2);
        let exports = bindings::Engine::instantiate(&mut store, &component, &linker)?;
        Ok(Instance { store, exports })
    }

    /// What was asked since the start.
    pub fn asked(&mut self) -> &mut Asked {
        self.store.data_mut()
    }

    /// `content.fold`, or the fold on top of `seed`.
    pub fn fold(&mut self, seed: Option<&str>, events: &str) -> Result<Result<String, String>> {
        let content = self.exports.rejoin_streams_content();
        let Some(seed) = seed else { return Ok(content.call_fold(&mut self.store, events)?) };
        let aggregator = match content.aggregator().call_seeded(&mut self.store, seed)? {
            Ok(aggregator) => aggregator,
            Err(error) => return Ok(Err(error)),
        };
        content.aggregator().call_push(&mut self.store, aggregator, events)?;
        let parts = content.aggregator().call_parts(&mut self.store, aggregator)?;
        aggregator.resource_drop(&mut self.store)?;
        Ok(Ok(parts))
    }

    /// A session on a new generation of the stream `bench`.
    pub fn session(&mut self) -> Result<Session<'_>> {
        let guest = self.exports.rejoin_streams_session();
        let handle = guest.session().call_open(&mut self.store, "bench", None, None, LIMITS)?;
        let mut session = Session { instance: self, handle };
        session.create()?;
        Ok(session)
    }
}

/// A session whose every append is accepted.
pub struct Session<'a> {
    instance: &'a mut Instance,
    handle: ResourceAny,
}

impl Session<'_> {
    fn create(&mut self) -> Result<()> {
        let Instance { store, exports } = &mut *self.instance;
        let guest = exports.rejoin_streams_session();
        refused(guest.session().call_create(&mut *store, self.handle, None, None, "{}")?)?;
        self.settle()
    }

    /// Pushes lines and settles what they asked for.
    pub fn push(&mut self, lines: &str) -> Result<wit::Pushed> {
        let Instance { store, exports } = &mut *self.instance;
        let guest = exports.rejoin_streams_session();
        let pushed = guest.session().call_push(store, self.handle, None, wit::Framing::Ndjson, lines, None)?;
        let pushed = refused(pushed)?;
        if pushed.effect == wit::Effect::Pending {
            self.settle()?;
        }
        Ok(pushed)
    }

    /// The folded content.
    pub fn content(&mut self) -> Result<String> {
        let Instance { store, exports } = &mut *self.instance;
        refused(exports.rejoin_streams_session().session().call_content(store, self.handle)?)
    }

    /// The instance it lives in.
    pub fn asked(&mut self) -> &mut Asked {
        self.instance.asked()
    }

    fn settle(&mut self) -> Result<()> {
        let Instance { store, exports } = &mut *self.instance;
        let ticket = store.data_mut().tickets.pop().unwrap_or_default();
        let guest = exports.rejoin_streams_session();
        refused(guest.session().call_settle(store, self.handle, ticket, &wit::Outcome::Accepted)?)
    }
}

fn refused<T>(answer: Result<T, Refusal>) -> Result<T> {
    answer.map_err(|refusal| anyhow::anyhow!("refused: {refusal:?}"))
}
