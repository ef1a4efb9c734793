//! The fold alone.

use wasmtime::component::ResourceAny;

use crate::bindings::exports::rejoin::streams::content;
use crate::component::Instance;
use crate::{Error, Imports, Refusal};

/// A fold in progress, in an instance of its own.
pub struct Aggregator<I: Imports> {
    instance: Instance<I>,
    handle: ResourceAny,
}

impl<I: Imports> Aggregator<I> {
    pub(crate) fn new(mut instance: Instance<I>, seed: Option<&str>) -> Result<Self, Error> {
        let handle = instance.call(|exports, store| {
            let aggregator = exports.rejoin_streams_content().aggregator();
            match seed {
                Some(seed) => aggregator.call_seeded(store, seed),
                None => aggregator.call_constructor(store).map(Ok),
            }
        })?;
        let handle = handle.map_err(|reason| Error::Refused(Refusal::Invalid(reason)))?;
        Ok(Aggregator { instance, handle })
    }

    /// Folds events, one JSON object a line. Lines that are no event change nothing.
    pub fn push(&mut self, lines: &str) -> Result<(), Error> {
        self.call(|aggregator, store, handle| aggregator.call_push(store, handle, lines))
    }

    /// The content parts so far: a JSON list.
    pub fn parts(&mut self) -> Result<String, Error> {
        self.call(|aggregator, store, handle| aggregator.call_parts(store, handle))
    }

    fn call<R>(
        &mut self,
        run: impl FnOnce(
            content::GuestAggregator<'_>,
            &mut wasmtime::Store<crate::imports::State<I>>,
            ResourceAny,
        ) -> wasmtime::Result<R>,
    ) -> Result<R, Error> {
        let handle = self.handle;
        self.instance.call(|exports, store| run(exports.rejoin_streams_content().aggregator(), store, handle))
    }
}
