//! `GET /metrics`: on the main port for whoever may, and on a port of its own for whoever reaches that.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{Problem, Request, Response, answer, list};
use crate::app::App;
use crate::metrics::CONTENT_TYPE;

/// Connections at a time. Whoever comes then waits.
const CONNECTIONS_MAX: usize = 16;
/// A connection has one request, and this long for it.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// A pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The figures.
pub(super) async fn answer(app: &App) -> Response {
    answer::text(StatusCode::OK, CONTENT_TYPE, app.figures().await)
}

/// Answers `/metrics` and `/healthz`, and nothing else, without a token. Goes on while a shutdown lasts: whoever drops it
/// ends it.
pub async fn accept(app: &Arc<App>, listener: &TcpListener) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (owner, app) = (app.clone(), app.clone());
                owner.shutdown.spawn(async move {
                    // A late one is cut: it asks again.
                    let _ = tokio::time::timeout(CONNECTION_MAX, serve(&app, stream)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for the metrics: is `ulimit -n` large enough?");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(app: &Arc<App>, stream: TcpStream) {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(respond(app, &request).await) });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).keep_alive(false);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection for the metrics ended");
    }
}

async fn respond(app: &App, request: &Request) -> Response {
    let response = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => answer(app).await,
        (&Method::GET | &Method::HEAD, "/healthz") => list::health(),
        (_, "/metrics" | "/healthz") => Problem::method_not_allowed("GET, HEAD").response(),
        _ => Problem::new(StatusCode::NOT_FOUND, "unknown_path", "this port has /metrics and /healthz").response(),
    };
    if *request.method() == Method::HEAD { answer::head_of(response) } else { response }
}
