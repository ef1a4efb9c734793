//! Joins the rooms: store, hub, sessions and http, and the sweeper that settles what nobody else would.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::config::{Config, StoreKind};
use crate::engine::{Runtime, RuntimeConfig, Sessions, SessionsConfig};
use crate::http;
use crate::shutdown::Shutdown;
use crate::sse::{Hub, HubConfig};
use crate::store::memory::MemoryConfig;
use crate::store::{MemoryStore, Store};
use crate::types::now_ms;

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
    /// Errors: the component cannot be loaded.
    pub fn start(config: Config) -> anyhow::Result<Arc<Self>> {
        let defaults = RuntimeConfig::default();
        let runtime = RuntimeConfig {
            instances_max: config.sessions_max.saturating_add(TRANSLATORS_MAX),
            memory_bytes_max: config.session_bytes_max,
            call_max: config.call_max,
            ..defaults
        };
        Self::start_with(config, &runtime)
    }

    /// Joins the rooms around another component: `runtime` names it, and bounds it.
    pub fn start_with(config: Config, runtime: &RuntimeConfig) -> anyhow::Result<Arc<Self>> {
        let store: Arc<dyn Store> = match config.store {
            StoreKind::Memory => Arc::new(MemoryStore::new(MemoryConfig {
                idle: config.job_idle,
                idle_paused: config.paused_idle,
                retention: config.retention,
                bytes_max: config.memory_bytes_max,
                jobs_max: config.jobs_max,
                jobs_per_user_max: config.jobs_per_user_max,
            })),
        };
        let hub = Arc::new(Hub::new(HubConfig {
            ring_bytes_max: config.ring_bytes_max,
            subscribers_max: config.subscribers_max,
            subscribers_per_stream_max: config.subscribers_per_stream_max,
        }));
        let bounds = SessionsConfig {
            sessions_max: config.sessions_max as usize,
            idle: config.session_idle,
            record_bytes_max: config.record_bytes_max as u64,
            records_max: config.records_max,
            log_bytes_max: config.log_bytes_max,
            job_idle: config.job_idle,
            paused_idle: config.paused_idle,
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

/// Serves on `listener` until `shutdown` resolves, then ends in order. Returns when nothing runs any more.
pub async fn serve(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    serve_app(App::start(config)?, listener, shutdown).await;
    Ok(())
}

/// Serves an app that is there already: see [`serve`].
pub async fn serve_app(app: Arc<App>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    app.shutdown.spawn(sweep(app.clone()));
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

async fn sweep_once(app: &App) {
    app.sessions.drop_idle();
    let idle = match app.store.sweep(now_ms(), SWEEP_MAX).await {
        Ok(idle) => idle,
        Err(error) => return tracing::error!(%error, "sweep failed: tried again in a second"),
    };
    for stream in idle {
        // One bad row never keeps the others waiting: it is logged, and named again by the next sweep.
        match app.sessions.time_out(&stream).await {
            Ok(()) => tracing::info!(%stream, "job timed out"),
            Err(error) => tracing::error!(%stream, %error, "idle job could not be settled"),
        }
    }
}
