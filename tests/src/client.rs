//! A plain HTTP client: one request, one answer; a body that stays open; a live stream.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::sse::Sse;

type Body = BoxBody<Bytes, Infallible>;

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    http: Legacy<HttpConnector, Body>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: http::HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Status and error code.
    pub fn problem(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Fails with the whole answer unless the status is this one.
    pub fn expect(self, status: u16) -> Result<Self> {
        let text = String::from_utf8_lossy(&self.body);
        ensure!(self.status == status, "status {} instead of {status}: {text}", self.status);
        Ok(self)
    }
}

impl Client {
    /// Connections are made when they are needed.
    pub fn new(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Client { address, http: Legacy::builder(TokioExecutor::new()).build(connector) }
    }

    /// One that speaks HTTP/2 without TLS.
    pub fn http2(address: SocketAddr) -> Self {
        Client { address, http: Legacy::builder(TokioExecutor::new()).http2_only(true).build_http() }
    }

    async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Result<hyper::Response<Incoming>> {
        let mut request = http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body)?;
        self.http.request(request).await.with_context(|| format!("{method} {path}"))
    }

    /// Any request with a whole body.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        read(self.open(method, path, headers, Full::new(body.into()).boxed()).await?).await
    }

    /// A request without a body.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, &[], Bytes::new()).await
    }

    /// A request with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// A new generation; its number.
    pub async fn create(&self, stream: &str, body: &Value) -> Result<u64> {
        let answer = self.post(&format!("/v1/streams/{stream}"), body).await?.expect(201)?;
        answer.json()["generation"].as_u64().context("a generation")
    }

    /// Appends records, one a line.
    pub async fn append(&self, stream: &str, lines: &[impl AsRef<str>]) -> Result<Answer> {
        let body: String = lines.iter().map(|line| format!("{}\n", line.as_ref())).collect();
        self.send("POST", &format!("/v1/streams/{stream}/events"), &[("content-type", "application/x-ndjson")], body)
            .await
    }

    /// Starts an append whose body stays open.
    pub fn upload(&self, path: &str, headers: &[(&str, &str)]) -> Upload {
        let (sender, receiver) = mpsc::channel::<Bytes>(64);
        let frames = ReceiverStream::new(receiver).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let body = BodyExt::boxed(StreamBody::new(frames));
        let (client, path) = (self.clone(), path.to_owned());
        let headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let answer = tokio::spawn(async move {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            read(client.open("POST", &path, &headers, body).await?).await
        });
        Upload { sender, answer }
    }

    /// Opens a live stream; fails unless it is one.
    pub async fn subscribe(&self, path: &str, headers: &[(&str, &str)]) -> Result<Sse> {
        let mut headers = headers.to_vec();
        headers.push(("accept", "text/event-stream"));
        let response = self.open("GET", path, &headers, Full::new(Bytes::new()).boxed()).await?;
        if response.status() != 200 {
            let answer = read(response).await?;
            anyhow::bail!("no stream but {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(Sse::new(response))
    }

    /// The live stream of `stream`, from the first record or after a cursor.
    pub async fn follow(&self, stream: &str, after: Option<&str>) -> Result<Sse> {
        let path = format!("/v1/streams/{stream}/events");
        match after {
            None => self.subscribe(&path, &[]).await,
            Some(cursor) => self.subscribe(&path, &[("last-event-id", cursor)]).await,
        }
    }
}

async fn read(response: hyper::Response<Incoming>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// An append whose body is still open.
pub struct Upload {
    sender: mpsc::Sender<Bytes>,
    answer: JoinHandle<Result<Answer>>,
}

impl Upload {
    /// Sends a piece. Errors: the server has stopped reading.
    pub async fn send(&self, piece: impl Into<Bytes>) -> Result<()> {
        Ok(self.sender.send(piece.into()).await?)
    }

    /// Ends the body and reads the answer.
    pub async fn finish(self) -> Result<Answer> {
        drop(self.sender);
        self.answer.await?
    }

    /// Reads the answer that comes before the body has ended.
    pub async fn answer(self) -> Result<Answer> {
        self.answer.await?
    }

    /// Breaks the connection.
    pub fn cut(self) {
        self.answer.abort();
    }
}
