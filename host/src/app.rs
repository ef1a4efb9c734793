//! Joins the rooms: store, hub, sessions and http, and the sweeper that settles what nobody else would.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::auth::Keyring;
use crate::config::{Config, StoreKind};
use crate::engine::{Failure, Runtime, RuntimeConfig, Sessions, SessionsConfig, TRANSLATORS_MAX};
use crate::http;
use crate::http::tls::Tls;
use crate::metrics::{Metrics, Now};
use crate::rates::{Rates, RatesConfig};
use crate::shutdown::Shutdown;
use crate::sse::{Hub, HubConfig, wake};
use crate::store::memory::MemoryConfig;
use crate::store::redis::{RedisConfig, RedisStore};
use crate::store::{MemoryStore, Metered, Patience, Store, StoreError};
use crate::types::{Job, StreamId, now_ms};

/// How often the sweeper looks, and how many idle jobs it settles each time at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const SWEEP_MAX: usize = 256;
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
            samples: Arc::new(Semaphore::new(http::inspector::SAMPLES_MAX)),
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

/// Serves on `listener` until `shutdown` resolves, then ends in order. Returns when nothing runs any more:
/// what is left of `shutdown_max`.
pub async fn serve(app: Arc<App>, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Duration {
    app.shutdown.spawn(sweep(app.clone()));
    app.shutdown.spawn(keep_checkpoints(app.clone()));
    app.shutdown.spawn(wake::run(app.store.clone(), app.hub.clone(), app.metrics.wakes.clone(), app.shutdown.token()));
    if let Some(keyring) = app.auth.clone() {
        let ended = app.shutdown.token();
        app.shutdown.spawn(async move { keyring.watch(ended.cancelled()).await });
    }
    app.shutdown.spawn(watch_certificate(app.clone()));
    tokio::select! {
        () = http::accept(&app, &listener) => {}
        () = shutdown => {}
    }
    // From here on connecting clients are refused at once, and go to another replica.
    drop(listener);
    tracing::info!(subscribers = app.hub.subscribers(), "shutdown: open requests may end");
    let (began, shutdown_max) = (Instant::now(), app.config.shutdown_max);
    let cut = app.shutdown.end(shutdown_max).await;
    tracing::info!(cut, "shutdown: done");
    shutdown_max.saturating_sub(began.elapsed())
}

/// Each second: forgets what has outlived its retention and settles jobs that have been idle for too long.
async fn sweep(app: Arc<App>) {
    let ended = app.shutdown.token();
    let mut every = tokio::time::interval(SWEEP_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => sweep_once(&app).await,
            () = ended.cancelled() => return,
        }
    }
}

/// Writes checkpoints off the way of the commands.
async fn keep_checkpoints(app: Arc<App>) {
    let ended = app.shutdown.token();
    app.sessions.keep_checkpoints(ended.cancelled()).await;
}

/// Takes a new certificate when there is one.
async fn watch_certificate(app: Arc<App>) {
    if let Some(tls) = &app.tls {
        tls.watch(app.shutdown.token()).await;
    }
}

async fn sweep_once(app: &App) {
    if app.hub.take_doubt() {
        app.sessions.confirm_all().await;
    }
    app.sessions.drop_idle().await;
    let idle = match app.store.sweep(now_ms(), SWEEP_MAX).await {
        Ok(idle) => idle,
        Err(error) => return tracing::error!(%error, "sweep failed: tried again in a second"),
    };
    for stream in idle {
        // One bad row never keeps the others waiting: it is logged, and named again by the next sweep.
        match app.sessions.time_out(&stream).await {
            Ok(()) => tracing::info!(%stream, "job timed out"),
            // Another replica was first, or the job went on: nothing is left to do.
            Err(Failure::Refused(refusal)) => tracing::debug!(%stream, ?refusal, "idle job was settled elsewhere"),
            Err(error) => tracing::error!(%stream, %error, "idle job could not be settled"),
        }
    }
}
