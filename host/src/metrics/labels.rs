//! Every label that there is: closed sets, known when the program is built.

use std::marker::PhantomData;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// A closed set of values of one label.
pub(super) trait Label: Copy + 'static {
    /// The name of the label.
    const NAME: &'static str;
    /// All values, in the order of [`Label::index`].
    const VALUES: &'static [&'static str];
    /// The place among them.
    fn index(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $visible:vis $name:ident, $label:literal: $($(#[$each:meta])* $variant:ident = $value:literal,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visible enum $name {
            $($(#[$each])* $variant,)+
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const VALUES: &'static [&'static str] = &[$($value),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// How a reader begins, or begins again.
    pub Resume, "kind":
    /// With the first record.
    Start = "start",
    /// After the record that it had last.
    Cursor = "cursor",
    /// With the whole state.
    Snapshot = "snapshot",
    /// It cannot go on from where it is, and gets the whole state.
    Reset = "reset",
}

label! {
    /// Why a command was refused.
    pub Reason, "reason":
    /// No such stream.
    NotFound = "not_found",
    /// The job has ended.
    NotActive = "not_active",
    /// A newer generation has the stream.
    GenerationReplaced = "generation_replaced",
    /// Another generation is active.
    AlreadyActive = "already_active",
    /// Another generation was expected.
    GenerationMismatch = "generation_mismatch",
    /// Another user owns the stream.
    Forbidden = "forbidden",
    /// The action does not wait for an answer.
    NoSuchAction = "no_such_action",
    /// The job waits for a person.
    Paused = "requires_action",
    /// It breaks a rule.
    Invalid = "invalid",
    /// The record is larger than records may be.
    RecordTooLarge = "record_too_large",
    /// The generation is larger than generations may be.
    LogFull = "log_full",
    /// The producer skipped something.
    ProducerGap = "producer_gap",
    /// Others wrote again and again in between.
    Contended = "contended",
}

label! {
    /// What a generation had too much of.
    pub Limit, "limit":
    /// Memory of the component.
    Memory = "memory",
    /// Time of one call.
    Time = "time",
}

label! {
    /// Why the store did not do what it was asked for.
    pub StoreFault, "kind":
    /// It could not be reached, or did not answer.
    Unavailable = "unavailable",
    /// It has no room.
    Full = "full",
    /// There are as many active jobs as may be.
    TooManyJobs = "too_many_jobs",
}

label! {
    /// How a generation ended.
    pub(super) Settled, "status":
    /// Well.
    Complete = "complete",
    /// By a failure, or by time.
    Error = "error",
    /// Stopped.
    Aborted = "aborted",
}

/// One counter for each value of a label. All of them are there from the start, so that a first count is a change.
#[derive(Clone, Debug)]
pub(super) struct Counters<L> {
    each: Vec<Counter>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    pub(super) fn new(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let each = L::VALUES.iter().map(|value| family.get_or_create_owned(&[(L::NAME, *value)])).collect();
        registry.register(name, help, family);
        Counters { each, label: PhantomData }
    }

    pub(super) fn count(&self, label: L) {
        self.each[label.index()].inc();
    }
}
