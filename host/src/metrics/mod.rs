//! What operators count: one [`Metrics`] in the app, and a small meter for each room that has something to count.
//!
//! | file | what it knows |
//! |---|---|
//! | this one | the registry, what is asked only when somebody looks, the text |
//! | `meters` | what each room counts |
//! | `labels` | every label that there is |
//!
//! Law: the number of series has a bound that no client moves. A label is a variant of an enum or a text of the program;
//! no stream, user or token is ever one. Recording is some atomic additions for each batch, and nothing is global.

mod labels;
mod meters;
#[cfg(test)]
mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::types::Status;

pub use labels::{Limit, Reason, Resume, StoreFault};
pub use meters::{EngineMeter, HttpMeter, ReaderMeter, StoreMeter, WakeMeter};

/// Of [`Metrics::text`]: OpenMetrics, which Prometheus reads since version 2.5.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All that is counted on this host.
#[derive(Debug)]
pub struct Metrics {
    /// Writes, sessions and the component.
    pub engine: EngineMeter,
    /// Live streams.
    pub readers: ReaderMeter,
    /// What is heard of other replicas.
    pub wakes: WakeMeter,
    /// Calls of the store.
    pub store: StoreMeter,
    /// Requests.
    pub http: HttpMeter,
    registry: Registry,
}

/// What is asked only when somebody looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Readers on this host.
    pub subscribers: u64,
    /// Producers on this host that listen for signals.
    pub listeners: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Jobs of the store by status, in the order of [`Status::ALL`]; none when it does not answer in time.
    pub jobs: Option<[u64; 5]>,
    /// Commands that have carried appends to the store, where each may carry many.
    pub commits: Option<u64>,
}

impl Metrics {
    /// Nothing has been counted. `store` is the kind of the store.
    pub fn new(store: &'static str) -> Self {
        let mut registry = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("store", store)]);
        registry.register("rejoin_build", "The program, and the kind of store that it uses", build);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let help = "Unix time at which this host began";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, ConstGauge::new(started));
        Metrics {
            engine: EngineMeter::new(&mut registry),
            readers: ReaderMeter::new(&mut registry),
            wakes: WakeMeter::new(&mut registry),
            store: StoreMeter::new(&mut registry),
            http: HttpMeter::new(&mut registry),
            registry,
        }
    }

    /// Everything, as [`CONTENT_TYPE`].
    pub fn text(&self, now: &Now) -> String {
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a string does not fail.
        let _ = text::encode_registry(&mut out, &self.registry);
        let _ = text::encode_registry(&mut out, &now.registry());
        let _ = text::encode_eof(&mut out);
        out
    }
}

impl Now {
    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register("rejoin_subscribers", "Live streams open on this host", gauge(self.subscribers));
        registry.register("rejoin_listeners", "Signal streams open on this host", gauge(self.listeners));
        registry.register("rejoin_sessions", "Component sessions open on this host", gauge(self.sessions));
        let help = "Whether the store answered when these figures were asked for (1) or not (0)";
        registry.register("rejoin_store_up", help, gauge(u64::from(self.jobs.is_some())));
        if let Some(jobs) = self.jobs {
            let family = Family::<[(&str, &str); 1], Gauge>::default();
            for (status, count) in Status::ALL.into_iter().zip(jobs) {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                family.get_or_create(&[("status", status.as_str())]).set(count);
            }
            let help = "Jobs in the store by status, over all replicas that share it. Absent while it does not answer";
            registry.register("rejoin_jobs", help, family);
        }
        if let Some(commits) = self.commits {
            let help = "Commands that carried appends to the store; each may carry those of many streams";
            registry.register("rejoin_store_commits", help, ConstCounter::new(commits));
        }
        registry
    }
}
