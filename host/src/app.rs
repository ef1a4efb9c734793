//! Joins the rooms: store, hub, sessions and http, and the sweeper that settles what nobody else would.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::config::{Config, StoreKind};
use crate::engine::{Failure, Runtime, RuntimeConfig, Sessions, SessionsConfig};
use crate::http;
use crate::shutdown::Shutdown;
use crate::sse::{Hub, HubConfig, wake};
use crate::store::memory::MemoryConfig;
use crate::store::redis::{RedisConfig, RedisStore};
use crate::store::{MemoryStore, Patience, Store, StoreError};
use crate::types::{Job, StreamId, now_ms};

/// How often the sweeper looks, and how many idle jobs it settles each time at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const SWEEP_MAX: usize = 256;
/// Bodies of model providers that can be translated at a time: each has an instance of its own beside the sessions.
const TRANSLATORS_MAX: u32 = 1000;

/// Everything that a request may need.
pub struct App {
    /// What the server was told.
    pub config: Config,
    /// The log and the job rows.
    pub store: Arc<dyn Store>,
    /// Who is woken.
    pub hub: Arc<Hub>,
    /// The component at work.
    pub sessions: Arc<Sessions>,
    /// The end of it all.
    pub shutdown: Shutdown,
    /// For the uptime.
    pub started: Instant,
    /// One permit for each sample that the inspector may play at a time.
    pub samples: Arc<Semaphore>,
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
        let store = store(&config).await?;
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
        let runtime = Arc::new(Runtime::new(runtime)?);
        let sessions = Arc::new(Sessions::new(runtime, store.clone(), hub.clone(), bounds));
        Ok(Arc::new(App {
            config,
            store,
            hub,
            sessions,
            shutdown: Shutdown::new(),
            started: Instant::now(),
            samples: Arc::new(Semaphore::new(http::inspector::SAMPLES_MAX)),
        }))
    }
}

impl App {
    /// The row of a stream. Waits for a store that cannot be reached: a browser that reconnects gives up at a 503.
    pub async fn job(&self, stream: &StreamId) -> Result<Option<Job>, StoreError> {
        self.patience().ask(|| self.store.job(stream)).await
    }

    /// How long a request waits for the store.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.config.store_wait)
    }
}

/// The store that the server was told to use. It is never another one.
async fn store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match &config.store {
        StoreKind::Memory => Arc::new(MemoryStore::new(MemoryConfig {
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
            let store = Arc::new(RedisStore::connect(redis).await?);
            tracing::info!(store = %target, "connected");
            store
        }
    })
}

/// Serves on `listener` until `shutdown` resolves, then ends in order. Returns when nothing runs any more.
pub async fn serve(app: Arc<App>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    app.shutdown.spawn(sweep(app.clone()));
    app.shutdown.spawn(keep_checkpoints(app.clone()));
    app.shutdown.spawn(wake::run(app.store.clone(), app.hub.clone(), app.shutdown.token()));
    tokio::select! {
        () = http::accept(&app, &listener) => {}
        () = shutdown => {}
    }
    // From here on connecting clients are refused at once, and go to another replica.
    drop(listener);
    tracing::info!(subscribers = app.hub.subscribers(), "shutdown: open requests may end");
    let cut = app.shutdown.end(app.config.shutdown_max).await;
    tracing::info!(cut, "shutdown: done");
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
