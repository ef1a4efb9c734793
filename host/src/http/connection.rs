//! One port for HTTP/1.1 and HTTP/2 (prior knowledge), and the bounds of a connection.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::route;
use super::stall::Stall;
use crate::app::App;
use crate::shutdown::Shutdown;

/// From the first wish for a request to the end of its head. Also how long a kept connection may rest.
const HEAD_MAX: Duration = Duration::from_secs(60);
/// Bounds the head of a request, and what waits to be written before the body is no longer asked for more.
const BUFFER_BYTES: usize = 64 * 1024;
/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 1024;
/// Bytes a client may send ahead: on one HTTP/2 stream, on one connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// An HTTP/2 peer that does not answer a ping in this time is gone.
const PING: Duration = Duration::from_secs(20);
/// Connections beside one for each subscriber and each active job.
const SPARE: usize = 1024;
/// A pause after a failed accept: it fails for want of file descriptors, and these come back only with time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Too many connections. Written without reading: the request is not looked at.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Accepts connections for ever, each in a task that the app's shutdown owns.
pub async fn accept(app: &Arc<App>, listener: &TcpListener) {
    let jobs = usize::try_from(app.config.jobs_max).unwrap_or(usize::MAX);
    let bound = app.config.subscribers_max.saturating_add(jobs).saturating_add(SPARE).min(Semaphore::MAX_PERMITS);
    let free = Arc::new(Semaphore::new(bound));
    let builder = Arc::new(builder(app.shutdown.clone()));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections: is `ulimit -n` large enough?");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = free.clone().try_acquire_owned() else {
            let _ = stream.try_write(FULL);
            continue;
        };
        let (owner, app, builder) = (app.clone(), app.clone(), builder.clone());
        owner.shutdown.spawn(async move {
            serve(&app, &builder, stream).await;
            drop(permit);
        });
    }
}

fn builder(tasks: Shutdown) -> Builder<Shutdown> {
    let mut builder = Builder::new(tasks);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BUFFER_BYTES)
        .max_header_list_size(32 * 1024)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// Serves one connection until its peer goes, or until shutdown lets its last response end.
async fn serve(app: &Arc<App>, builder: &Builder<Shutdown>, stream: TcpStream) {
    // A frame of one token must not wait for the next one.
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%error, "connection was gone at once");
    }
    let io = TokioIo::new(Stall::new(stream, app.config.stall_max));
    let service = service_fn(|request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(route::respond(&app, request).await) }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let ended = app.shutdown.token();
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ended.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "connection ended");
    }
}

/// hyper's own tasks (one a request of HTTP/2) belong to the same owner.
impl<F> Executor<F> for Shutdown
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.spawn(async move {
            task.await;
        });
    }
}
