//! Joins the rooms: the store, the hub and the sessions, and what else a request may need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::Semaphore;

use crate::auth::Keyring;
use crate::config::{Config, StoreKind};
use crate::engine::{Runtime, RuntimeConfig, Sessions, SessionsConfig, TRANSLATORS_MAX};
use crate::metrics::{Metrics, Now};
use crate::rates::{Rates, RatesConfig};
use crate::shutdown::Shutdown;
use crate::sse::{Hub, HubConfig};
use crate::store::memory::MemoryConfig;
use crate::store::redis::{RedisConfig, RedisStore};
use crate::store::{MemoryStore, Metered, Patience, Store, StoreError};
use crate::tls::Tls;
use crate::types::{Job, StreamId};

/// Samples that the inspector plays at a time.
pub(crate) const SAMPLES_MAX: usize = 8;
/// How long the store may take to count its jobs for whoever reads the metrics.
const FIGURES_MAX: Duration = Duration::from_secs(1);

/// Everything that a request may need.
pub struct App {
    /// What the server was told.
    pub config: Config,
    /// The keys of access tokens; without any, everybody on this machine may do everything.
    pub auth: Option<Arc<Keyring>>,
    /// The log and the job rows.
    pub store: Arc<dyn Store>,
    /// Who is woken.
    pub hub: Arc<Hub>,
    /// The component at work.
    pub sessions: Arc<Sessions>,
    /// What operators count.
    pub metrics: Arc<Metrics>,
    /// The end of it all.
    pub shutdown: Shutdown,
    /// For the uptime.
    pub started: Instant,
    /// One permit for each sample that the inspector may play at a time.
    pub samples: Arc<Semaphore>,
    /// The certificate, if connections are encrypted.
    pub tls: Option<Tls>,
    /// What each user asked for lately.
    pub rates: Arc<Rates>,
}

impl App {
    /// Joins the rooms around the component that this host was built with.
    ///
    /// Errors: the component cannot be loaded, or there is no store.
    pub async fn start(config: Config) -> anyhow::Result<Arc<Self>> {
        let defaults = RuntimeConfig::default();
        let runtime = RuntimeConfig {
            instances_max: config.sessions_max.saturating_add(TRANSLATORS_MAX),
            memory_bytes_max: config.session_bytes_max,
            call_max: config.call_max,
            ..defaults
        };
        Self::start_with(config, &runtime).await
    }

    /// Joins the rooms around another component: `runtime` names it, and bounds it.
    pub async fn start_with(config: Config, runtime: &RuntimeConfig) -> anyhow::Result<Arc<Self>> {
        let auth = keyring(&config)?;
        let tls = Tls::load(&config.tls)?;
        let rates = Rates::new(RatesConfig {
            appends_per_s_max: config.door.user_appends_per_s_max,
            creates_per_min_max: config.door.user_creates_per_min_max,
            connections_max: config.door.user_connections_max,
        });
        let (store, metrics) = store(&config).await?;
        let hub = Arc::new(Hub::new(HubConfig {
            ring_bytes_max: config.ring_bytes_max,
            subscribers_max: config.subscribers_max,
            subscribers_per_stream_max: config.subscribers_per_stream_max,
            shared: store.wakes().is_some(),
        }));
        let bounds = SessionsConfig {
            sessions_max: config.sessions_max as usize,
            idle: config.session_idle,
            record_bytes_max: config.record_bytes_max as u64,
            records_max: config.records_max,
            log_bytes_max: config.log_bytes_max,
            job_idle: config.job_idle,
            paused_idle: config.paused_idle,
            store_wait: config.store_wait,
        };
        let runtime = Arc::new(Runtime::new(runtime, metrics.engine.clone())?);
        let sessions = Arc::new(Sessions::new(runtime, store.clone(), hub.clone(), bounds));
        Ok(Arc::new(App {
            config,
            auth,
            store,
            hub,
            sessions,
            metrics,
            shutdown: Shutdown::new(),
            started: Instant::now(),
            samples: Arc::new(Semaphore::new(SAMPLES_MAX)),
            tls,
            rates: Arc::new(rates),
        }))
    }
}

impl App {
    /// The row of a stream. Waits for a store that cannot be reached: a browser that reconnects gives up at a 503.
    pub async fn job(&self, stream: &StreamId) -> Result<Option<Job>, StoreError> {
        self.patience().ask(|| self.store.job(stream)).await
    }

    /// The figures, as [`crate::metrics::CONTENT_TYPE`]. A store that is away keeps nobody waiting.
    pub(crate) async fn figures(&self) -> String {
        let jobs = tokio::time::timeout(FIGURES_MAX, self.store.counts()).await;
        self.metrics.text(&Now {
            subscribers: self.hub.subscribers() as u64,
            listeners: self.hub.listeners() as u64,
            sessions: self.sessions.open() as u64,
            jobs: jobs.ok().and_then(Result::ok),
            commits: self.store.commits(),
        })
    }

    /// How long a request waits for the store.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.config.store_wait)
    }
}

/// The keys that the server was told to use. Errors: the file cannot be used; the text says what to do.
fn keyring(config: &Config) -> anyhow::Result<Option<Arc<Keyring>>> {
    let Some(path) = &config.access.auth_key_file else { return Ok(None) };
    let keyring = Keyring::open(path, config.access.auth_audience.as_deref())
        .with_context(|| format!("--auth-key-file (REJOIN_AUTH_KEY_FILE) {}", path.display()))?;
    Ok(Some(Arc::new(keyring)))
}

/// The store that the server was told to use. It is never another one.
async fn store(config: &Config) -> anyhow::Result<(Arc<dyn Store>, Arc<Metrics>)> {
    Ok(match &config.store {
        StoreKind::Memory => watched(MemoryStore::new(MemoryConfig {
            idle: config.job_idle,
            idle_paused: config.paused_idle,
            retention: config.retention,
            bytes_max: config.memory_bytes_max,
            jobs_max: config.jobs_max,
            jobs_per_user_max: config.jobs_per_user_max,
        })),
        StoreKind::Redis(target) => {
            let redis = RedisConfig {
                target: target.clone(),
                prefix: config.redis_prefix.clone(),
                idle: config.job_idle,
                idle_paused: config.paused_idle,
                retention: config.retention,
                jobs_max: config.jobs_max,
                jobs_per_user_max: config.jobs_per_user_max,
            };
            let store = RedisStore::connect(redis).await?;
            tracing::info!(store = %target, "connected");
            watched(store)
        }
    })
}

fn watched<S: Store>(store: S) -> (Arc<dyn Store>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(store.kind()));
    (Arc::new(Metered::new(store, metrics.store.clone())), metrics)
}
