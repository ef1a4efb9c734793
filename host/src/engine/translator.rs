//! A provider's body in progress, in an instance of its own: a session that traps takes no body with it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;
use wasmtime::component::ResourceAny;

use super::bindings::exports::rejoin::streams::translate as wit;
use super::imports::Ctx;
use super::instance::trapped;
use super::runtime::Runtime;
use super::{Failure, bindings};
use crate::metrics::EngineMeter;

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Server-sent events whose data are records already.
    Events,
    /// OpenAI chat completions.
    OpenaiChat,
    /// OpenAI responses.
    OpenaiResponses,
    /// Anthropic messages.
    AnthropicMessages,
}

impl Dialect {
    /// Every dialect with its name on the wire.
    pub const ALL: [(&str, Dialect); 4] = [
        ("events", Dialect::Events),
        ("openai-chat", Dialect::OpenaiChat),
        ("openai-responses", Dialect::OpenaiResponses),
        ("anthropic-messages", Dialect::AnthropicMessages),
    ];

    /// The dialect of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, dialect)| dialect)
    }
}

/// What some lines of the body gave.
#[derive(Clone, Debug)]
pub struct Translated {
    /// Records, one a line.
    pub records: String,
    /// Line of the body (from 1) that could not be read, and why. Nothing from there on was taken.
    pub bad: Option<(u64, String)>,
}

/// Bodies of model providers that can be translated at a time: each has an instance of its own beside the sessions.
pub const TRANSLATORS_MAX: u32 = 1000;

/// See the module.
pub struct Translator {
    store: Store<Ctx>,
    exports: bindings::Engine,
    handle: ResourceAny,
    meter: EngineMeter,
    _place: OwnedSemaphorePermit,
}

impl Translator {
    /// `places`: one for each translator that may be.
    pub(super) fn new(runtime: &Runtime, places: &Arc<Semaphore>, dialect: Dialect) -> Result<Self, Failure> {
        // Beyond that they would take the places of sessions.
        let place = places.clone().try_acquire_owned().map_err(|_| Failure::Overloaded)?;
        let meter = runtime.meter();
        let (mut store, exports) = runtime.instantiate().map_err(|error| trapped(meter, false, &error))?;
        let dialect = match dialect {
            Dialect::Events => wit::Dialect::Events,
            Dialect::OpenaiChat => wit::Dialect::OpenaiChat,
            Dialect::OpenaiResponses => wit::Dialect::OpenaiResponses,
            Dialect::AnthropicMessages => wit::Dialect::AnthropicMessages,
        };
        let translators = exports.rejoin_streams_translate().translator();
        let made = translators.call_constructor(&mut store, dialect);
        let handle = made.map_err(|error| trapped(meter, false, &error))?;
        Ok(Translator { store, exports, handle, meter: meter.clone(), _place: place })
    }

    /// Takes whole lines of the body. Run steps get an `index` of at least `index_at_least`: [`Sessions::next_index`].
    ///
    /// [`Sessions::next_index`]: super::Sessions::next_index
    pub fn push(&mut self, lines: &str, index_at_least: u64) -> Result<Translated, Failure> {
        let (exports, handle) = (&self.exports, self.handle);
        Ctx::begin_call(&mut self.store);
        let answer =
            exports.rejoin_streams_translate().translator().call_push(&mut self.store, handle, lines, index_at_least);
        self.translated(answer)
    }

    /// The body has ended.
    pub fn finish(&mut self, index_at_least: u64) -> Result<Translated, Failure> {
        let (exports, handle) = (&self.exports, self.handle);
        Ctx::begin_call(&mut self.store);
        let answer =
            exports.rejoin_streams_translate().translator().call_finish(&mut self.store, handle, index_at_least);
        self.translated(answer)
    }

    fn translated(&self, answer: wasmtime::Result<wit::Translated>) -> Result<Translated, Failure> {
        let given = answer.map_err(|error| trapped(&self.meter, self.store.data().memory_denied(), &error))?;
        Ok(Translated { records: given.records, bad: given.bad.map(|bad| (bad.line, bad.reason)) })
    }
}
