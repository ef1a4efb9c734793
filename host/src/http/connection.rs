//! One port for HTTP/1.1 and HTTP/2, plain or TLS as the server was told, and the bounds of a connection.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::held::hold_for;
use super::line::Stalled;
use super::opening::{Opening, Turn};
use super::stall::Stall;
use super::{Request, dispatch, window};
use crate::app::App;
use crate::config::Config;
use crate::shutdown::Shutdown;

/// What waits to be written before the body is no longer asked for more; at least what a head may have.
const BUFFER_BYTES: usize = 64 * 1024;
/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 1024;
/// Requests that an HTTP/2 peer may make and take back at once, before or after they are looked at. More: it is cut.
const RESETS_MAX: usize = 64;
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
    let free = Arc::new(Semaphore::new(connections_max(&app.config)));
    let builder = Arc::new(builder(app));
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
            if app.tls.is_none() {
                let _ = stream.try_write(FULL);
            }
            continue;
        };
        let (owner, app, builder) = (app.clone(), app.clone(), builder.clone());
        owner.shutdown.spawn(async move {
            serve(&app, &builder, stream).await;
            drop(permit);
        });
    }
}

fn connections_max(config: &Config) -> usize {
    let jobs = usize::try_from(config.jobs_max).unwrap_or(usize::MAX);
    let enough = config.subscribers_max.saturating_add(jobs).saturating_add(SPARE);
    config.door.connections_max.unwrap_or(enough).min(Semaphore::MAX_PERMITS)
}

fn builder(app: &App) -> Builder<Tasks> {
    let head_bytes = app.config.door.head_bytes_max;
    let mut builder = Builder::new(Tasks { owner: app.shutdown.clone(), stall_max: app.config.stall_max });
    // Whoever does not come to the end of a head is cut by `Opening`, whoever asks nothing more by `serve`.
    builder.http1().header_read_timeout(None).max_buf_size(BUFFER_BYTES.max(head_bytes));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BUFFER_BYTES)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// Serves one connection until its peer goes, or until shutdown lets its last response end.
async fn serve(app: &Arc<App>, builder: &Builder<Tasks>, stream: TcpStream) {
    // A frame of one token must not wait for the next one.
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%error, "connection was gone at once");
    }
    let (turn, head_wait) = (Turn::new(), app.config.door.head_wait);
    let stream = Stall::new(stream, app.config.stall_max);
    let stalled = stream.told();
    let Some(tls) = &app.tls else {
        return answer(app, builder, Opening::new(stream, turn.clone(), head_wait), turn, stalled).await;
    };
    let ended = app.shutdown.token();
    let handshake = tokio::time::timeout(head_wait, tls.accept(stream));
    // Whoever has not come to the end of it has asked nothing yet that the end of the server could wait for.
    match ended.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => {
            answer(app, builder, Opening::new(stream, turn.clone(), head_wait), turn, stalled).await;
        }
        Some(Ok(Err(error))) => tracing::debug!(%error, "no TLS"),
        Some(Err(_)) => tracing::debug!("no TLS in time"),
        None => tracing::debug!("no TLS before the end"),
    }
}

/// Answers what comes on one connection.
async fn answer<I>(app: &Arc<App>, builder: &Builder<Tasks>, io: Opening<I>, turn: Arc<Turn>, stalled: Stalled)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|mut request: Request| {
        let version = request.version();
        let (app, asked) = (app.clone(), turn.ask(version));
        request.extensions_mut().insert(stalled.clone());
        async move { Ok::<_, Infallible>(hold_for(version, dispatch::respond(&app, request).await, asked)) }
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let ended = app.shutdown.token();
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ended.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = turn.rested(app.config.door.rest_max) => {
            connection.as_mut().graceful_shutdown();
            // What HTTP/2 has taken and the peer does not let go ends with the connection.
            let Ok(served) = tokio::time::timeout(app.config.stall_max, connection).await else { return };
            served
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = %error, "connection ended");
    }
}

/// hyper's own tasks (one a request of HTTP/2) belong to the same owner, and are cut when nobody takes what they give.
#[derive(Clone)]
struct Tasks {
    owner: Shutdown,
    stall_max: Duration,
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.owner.spawn(window::watched(task, self.stall_max));
    }
}
