//! Traces on their way to a collector: OTLP over HTTP, in batches, from a queue with a bound. A collector that is away
//! costs the spans that do not fit, and nobody's time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// Spans that wait. What comes then is dropped.
const SPANS_MAX: usize = 16 * 1024;
/// Spans sent at once, and how long the first of them waits.
const BATCH_MAX: usize = 2 * 1024;
const BATCH_AFTER: Duration = Duration::from_secs(1);
/// For one batch.
const SEND_MAX: Duration = Duration::from_secs(5);
/// What a collector may answer.
const ANSWER_BYTES: usize = 64 * 1024;
/// How long the end waits for what is left, at most.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The way to the collector. Dropped: what waits is sent, within `flush_max`, while the runtime lives.
pub(super) struct Traces {
    provider: SdkTracerProvider,
    flush_max: Duration,
}

impl Traces {
    /// `endpoint`: `http://host:port`, without the path of the signal. Errors: it is no address.
    pub(super) fn start(endpoint: &str, runtime: &Handle) -> anyhow::Result<Self> {
        let client = Collector { runtime: runtime.clone(), is_away: Arc::default() };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(SEND_MAX)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(SPANS_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(BATCH_AFTER);
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build()).build();
        let resource = Resource::builder_empty().with_service_name("rejoin").build();
        let provider = SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build();
        Ok(Traces { provider, flush_max: FLUSH_MAX })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("rejoin")
    }

    /// There is no more time than this for what is left.
    pub(super) fn hurry(&mut self, at_most: Duration) {
        self.flush_max = self.flush_max.min(at_most);
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(self.flush_max) {
            let waited_ms = u64::try_from(self.flush_max.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(%error, waited_ms, "the last traces may not have been sent");
        }
    }
}

/// Sends batches. They are made by a thread of their own, and travel on the runtime of the server.
#[derive(Debug)]
struct Collector {
    runtime: Handle,
    is_away: Arc<AtomicBool>,
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sent<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        let is_away = Arc::clone(&self.is_away);
        let sent = self.runtime.spawn(async move {
            let sent = tokio::time::timeout(SEND_MAX, post(request)).await;
            let sent = sent.unwrap_or_else(|_| Err("no answer in time".into()));
            match &sent {
                // Said once, until it is back.
                Err(error) if !is_away.swap(true, Ordering::Relaxed) => {
                    tracing::warn!(%error, "the collector of --otlp-endpoint takes no traces: they are dropped");
                }
                Ok(_) if is_away.swap(false, Ordering::Relaxed) => {
                    tracing::info!("the collector of --otlp-endpoint takes traces again");
                }
                _ => {}
            }
            sent
        });
        Box::pin(async move { sent.await? })
    }
}

async fn post(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut request = request.map(Full::new);
    let authority = request.uri().authority().ok_or("an address without a host")?.clone();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(path)?;
    request.headers_mut().insert(HOST, HeaderValue::try_from(authority.as_str())?);
    // An IPv6 address stands in brackets there, and without them here.
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answered = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
        Ok::<_, HttpError>(Response::from_parts(head, body))
    };
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        answer = answered => accepted(answer?),
        ended = connection.as_mut() => match ended {
            Ok(()) => Err("the connection ended".into()),
            Err(error) => Err(error.into()),
        },
    }
}

fn accepted(answer: Response<Bytes>) -> Result<Response<Bytes>, HttpError> {
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status => Err(format!("it answered {status}").into()),
    }
}
