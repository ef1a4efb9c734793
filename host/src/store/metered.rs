//! A store whose failures are counted: each attempt, also those that are repeated until patience ends.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{
    Append, GroupKey, Groups, Head, NewGroup, NewTicket, Page, Pending, Query, Rescue, Store, StoreError, Ticket,
    Unseen, Wakes, Written,
};
use crate::metrics::{StoreFault, StoreMeter};
use crate::types::{Cursor, Job, StreamId};

/// Another store, watched.
pub struct Metered<S> {
    store: S,
    meter: StoreMeter,
}

impl<S> Metered<S> {
    /// Counts what fails in `store`.
    pub fn new(store: S, meter: StoreMeter) -> Self {
        Metered { store, meter }
    }

    fn watch<'a, T: 'a>(&'a self, call: BoxFuture<'a, Result<T, StoreError>>) -> BoxFuture<'a, Result<T, StoreError>> {
        let meter = &self.meter;
        call.inspect(move |answer| {
            if let Err(error) = answer {
                meter.failed(match error {
                    StoreError::Unavailable(_) => StoreFault::Unavailable,
                    StoreError::Full { .. } => StoreFault::Full,
                    StoreError::TooManyJobs { .. } => StoreFault::TooManyJobs,
                });
            }
        })
        .boxed()
    }
}

macro_rules! watched {
    ($a:lifetime: $($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+) => {
        $(fn $name<$a>(&$a self, $($argument: $kind),*) -> BoxFuture<$a, Result<$answer, StoreError>> {
            self.watch(self.store.$name($($argument),*))
        })+
    };
}

impl<S: Store> Groups for Metered<S> {
    watched! { 'a:
        create_group(group: GroupKey<'a>, from_start: bool) -> NewGroup;
        delete_group(group: GroupKey<'a>) -> bool;
        read_group(
            group: GroupKey<'a>,
            consumer: &'a str,
            count: usize,
            bytes_max: usize,
            redeliver_after: Duration
        ) -> Unseen;
        pending(group: GroupKey<'a>, limit: usize) -> Vec<Pending>;
        acknowledge(group: GroupKey<'a>, ids: &'a [Cursor]) -> u64;
    }
}

impl<S: Store> Store for Metered<S> {
    fn kind(&self) -> &'static str {
        self.store.kind()
    }

    fn commits(&self) -> Option<u64> {
        self.store.commits()
    }

    fn wakes(&self) -> Option<&dyn Wakes> {
        self.store.wakes()
    }

    watched! { 'a:
        ready() -> ();
        job(stream: &'a StreamId) -> Option<Job>;
        create(stream: &'a StreamId, ticket: Ticket, previous: u64, job: Job) -> Written;
        heads(streams: &'a [StreamId]) -> Vec<Option<Head>>;
        append(stream: &'a StreamId, append: Append) -> Written;
        rescue(stream: &'a StreamId, rescue: Rescue) -> Written;
        put_checkpoint(stream: &'a StreamId, at: Cursor, state: String) -> ();
        checkpoint(stream: &'a StreamId, generation: u64) -> Option<(Cursor, String)>;
        read(stream: &'a StreamId, after: Cursor, bytes_max: usize) -> Page;
        remove(stream: &'a StreamId, generation: u64) -> bool;
        expire_at(stream: &'a StreamId, generation: u64, expires_ms: u64) -> ();
        list(query: Query) -> Vec<(StreamId, Job)>;
        counts() -> [u64; 5];
        counts_of(user_id: &'a str) -> [u64; 5];
        put_ticket(stream: &'a StreamId, hash: [u8; 32], subject: &'a str, expires_ms: u64) -> NewTicket;
        take_ticket(stream: &'a StreamId, hash: [u8; 32]) -> Option<String>;
        sweep(now_ms: u64, limit: usize) -> Vec<StreamId>;
    }
}
