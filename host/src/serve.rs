//! The server at work, from the first connection to the last: the door, and the tasks beside it. The sweeper settles what
//! nobody else would.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::engine::Failure;
use crate::http;
use crate::sse::wake;
use crate::types::now_ms;

/// How often the sweeper looks, and how many idle jobs it settles each time at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const SWEEP_MAX: usize = 256;

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
