//! What each room counts. A meter is a handful of counters behind one pointer: cheap to clone, and to count with.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{Counters, Limit, Reason, Resume, Settled, StoreFault};
use crate::types::{Entry, Status};

/// Seconds, from an append in memory to the patience of a request.
const SECONDS: [f64; 14] =
    [0.000_025, 0.000_1, 0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
/// Records of one append.
const RECORDS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];

fn seconds(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::new(SECONDS);
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn bytes(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
    counter
}

macro_rules! meter {
    ($(#[$doc:meta])* $name:ident($inner:ident) { $($field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(Arc<$inner>);

        #[derive(Debug)]
        struct $inner {
            $($field: $type,)+
        }

        /// Counts where nobody looks: for tests.
        impl Default for $name {
            fn default() -> Self {
                Self::new(&mut Registry::default())
            }
        }
    };
}

meter! {
    /// Writes, sessions and the component.
    EngineMeter(Engine) {
        records: Counter,
        bytes: Counter,
        append: Histogram,
        batch: Histogram,
        created: Counter,
        aborts: Counter,
        settled: Counters<Settled>,
        refusals: Counters<Reason>,
        opened: Counter,
        dropped: Counter,
        rescued: Counter,
        instance: Histogram,
        traps: Counter,
        limits: Counters<Limit>,
    }
}

impl EngineMeter {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let r = registry;
        let batch = Histogram::new(RECORDS);
        let help = "Records of one append that the store accepted";
        r.register("rejoin_append_records", help, batch.clone());
        EngineMeter(Arc::new(Engine {
            records: counter(r, "rejoin_appended_records", "Records that the store accepted from this host"),
            bytes: bytes(r, "rejoin_appended", "Bytes of these records, as they are stored"),
            append: seconds(
                r,
                "rejoin_append",
                "From handing the records of one append to the store until it accepted them, repeats included",
            ),
            batch,
            created: counter(r, "rejoin_generations", "Generations that this host created"),
            aborts: counter(r, "rejoin_aborts", "Aborts that this host carried out"),
            settled: Counters::new(r, "rejoin_settled", "Generations that this host ended, by how they ended"),
            refusals: Counters::new(r, "rejoin_refusals", "Commands that were refused, whole or in part, by reason"),
            opened: counter(r, "rejoin_sessions_opened", "Sessions opened from checkpoint and log, or from the row"),
            dropped: counter(r, "rejoin_sessions_dropped", "Sessions dropped: idle, overtaken or broken"),
            rescued: counter(r, "rejoin_sessions_rescued", "Times a session gave back what the store had forgotten"),
            instance: seconds(
                r,
                "rejoin_instance_start",
                "From the wish for a component instance until it could be called",
            ),
            traps: counter(
                r,
                "rejoin_component_traps",
                "Calls in which the component trapped; limits are counted apart",
            ),
            limits: Counters::new(r, "rejoin_limit_kills", "Calls ended because they took more than a generation may"),
        }))
    }

    /// The store accepted an append.
    pub fn appended(&self, entry: Option<&Entry>, status: Option<Status>, took: Duration) {
        if let Some(entry) = entry {
            self.0.records.inc_by(entry.count);
            self.0.bytes.inc_by(entry.lines.len() as u64);
            self.0.append.observe(took.as_secs_f64());
            self.0.batch.observe(entry.count as f64);
        }
        match status {
            Some(Status::Complete) => self.0.settled.count(Settled::Complete),
            Some(Status::Error) => self.0.settled.count(Settled::Error),
            Some(Status::Aborted) => {
                self.0.settled.count(Settled::Aborted);
                self.0.aborts.inc();
            }
            Some(Status::Running | Status::RequiresAction) | None => {}
        }
    }

    /// The store accepted a new generation.
    pub fn created(&self) {
        self.0.created.inc();
    }

    /// A command was refused.
    pub fn refused(&self, reason: Reason) {
        self.0.refusals.count(reason);
    }

    /// A session was opened.
    pub fn opened(&self) {
        self.0.opened.inc();
    }

    /// A session was dropped.
    pub fn dropped(&self) {
        self.0.dropped.inc();
    }

    /// A session gave the store back what it had forgotten.
    pub fn rescued(&self) {
        self.0.rescued.inc();
    }

    /// An instance of the component was started.
    pub fn started(&self, took: Duration) {
        self.0.instance.observe(took.as_secs_f64());
    }

    /// The component trapped.
    pub fn trapped(&self) {
        self.0.traps.inc();
    }

    /// A call was ended at a limit.
    pub fn limited(&self, limit: Limit) {
        self.0.limits.count(limit);
    }
}

meter! {
    /// Live streams.
    ReaderMeter(Readers) {
        resumes: Counters<Resume>,
        records: Counter,
        bytes: Counter,
    }
}

impl ReaderMeter {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let r = registry;
        let resumes = "Live streams by how they began; kind reset also counts each reset of one that was open";
        ReaderMeter(Arc::new(Readers {
            resumes: Counters::new(r, "rejoin_resumes", resumes),
            records: counter(r, "rejoin_delivered_records", "Records handed to the connections of readers"),
            bytes: bytes(
                r,
                "rejoin_delivered",
                "Bytes of frames handed to the connections of readers, keep-alives too",
            ),
        }))
    }

    /// A reader begins, or begins again.
    pub fn resumed(&self, kind: Resume) {
        self.0.resumes.count(kind);
    }

    /// Frames were handed to a connection.
    pub fn delivered(&self, records: u64, bytes: usize) {
        self.0.records.inc_by(records);
        self.0.bytes.inc_by(bytes as u64);
    }
}

meter! {
    /// What is heard of other replicas.
    WakeMeter(Wakes) {
        delivery: Histogram,
        lost: Counter,
    }
}

impl WakeMeter {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let delivery = "From the arrival of a message with records at this host until its readers were woken with them: \
                        the way through Redis is not in it, nor are records that had to be read from the log because \
                        their message was lost, too large or out of order. Messages of what this host had published \
                        before are not counted";
        WakeMeter(Arc::new(Wakes {
            delivery: seconds(registry, "rejoin_wake_delivery", delivery),
            lost: counter(registry, "rejoin_wakes_lost", "Times that messages of other replicas may have been lost"),
        }))
    }

    /// Records of another replica were published here, this long after they came.
    pub fn delivered(&self, took: Duration) {
        self.0.delivery.observe(took.as_secs_f64());
    }

    /// Messages may have been lost.
    pub fn lost(&self) {
        self.0.lost.inc();
    }
}

meter! {
    /// Calls of the store.
    StoreMeter(Store) {
        errors: Counters<StoreFault>,
    }
}

impl StoreMeter {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let help = "Calls of the store that failed, each attempt counted, by kind";
        StoreMeter(Arc::new(Store { errors: Counters::new(registry, "rejoin_store_errors", help) }))
    }

    /// A call failed.
    pub fn failed(&self, fault: StoreFault) {
        self.0.errors.count(fault);
    }
}

meter! {
    /// Requests.
    HttpMeter(Http) {
        requests: Family<[(&'static str, &'static str); 2], Counter>,
        problems: Family<[(&'static str, &'static str); 1], Counter>,
    }
}

impl HttpMeter {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let http = Http { requests: Family::default(), problems: Family::default() };
        let requests = "Requests answered, by route and class of status; live streams and open bodies when they end";
        registry.register("rejoin_http_requests", requests, http.requests.clone());
        let problems = "Requests answered with a problem, by its code";
        registry.register("rejoin_http_problems", problems, http.problems.clone());
        HttpMeter(Arc::new(http))
    }

    /// A request was answered. `route` is a template, never a path.
    pub fn answered(&self, route: &'static str, status: u16) {
        let class = match status {
            500.. => "5xx",
            400.. => "4xx",
            300.. => "3xx",
            _ => "2xx",
        };
        self.0.requests.get_or_create(&[("route", route), ("status", class)]).inc();
    }

    /// A request was answered with a problem of this code.
    pub fn problem(&self, code: &'static str) {
        self.0.problems.get_or_create(&[("code", code)]).inc();
    }
}
