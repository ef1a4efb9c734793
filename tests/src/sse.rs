//! A live stream as a client reads it: frames in order, with a deadline on every wait.

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use serde_json::Value;

use crate::wait::PATIENCE;

/// One dispatched event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// `id:`.
    pub id: Option<String>,
    /// `event:`.
    pub event: Option<String>,
    /// `data:`, lines joined.
    pub data: String,
}

impl Frame {
    /// The data as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }

    /// Whether nothing follows.
    pub fn is_terminal(&self) -> bool {
        self.event.as_deref() == Some("error") || self.json()["final"] == true
    }
}

/// An open live stream. Dropped: the connection is cut.
pub struct Sse {
    /// The head of the answer.
    pub headers: http::HeaderMap,
    body: Incoming,
    buffer: BytesMut,
    /// Comments seen so far.
    pub comments: usize,
    /// The last `retry:` in milliseconds.
    pub retry_ms: Option<u64>,
}

impl Sse {
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Sse { headers: head.headers, body, buffer: BytesMut::new(), comments: 0, retry_ms: None }
    }

    /// The next event; none when the server has ended the stream in order.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        tokio::time::timeout(PATIENCE, self.read()).await.context("no frame in time")?
    }

    /// The next event; fails at the end.
    pub async fn frame(&mut self) -> Result<Frame> {
        self.next().await?.context("the stream has ended")
    }

    /// Everything up to the end.
    pub async fn rest(&mut self) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await? {
            frames.push(frame);
        }
        Ok(frames)
    }

    /// The next `count` events.
    pub async fn take(&mut self, count: usize) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        for _ in 0..count {
            frames.push(self.frame().await?);
        }
        Ok(frames)
    }

    /// Waits for one more comment.
    pub async fn comment(&mut self) -> Result<()> {
        let before = self.comments;
        while self.comments == before {
            if !tokio::time::timeout(PATIENCE, self.fill()).await.context("no comment in time")?? {
                bail!("the stream has ended");
            }
            while let Some(block) = self.block() {
                if self.parse(&block).is_some() {
                    bail!("an event instead of a comment: {block}");
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Option<Frame>> {
        loop {
            while let Some(block) = self.block() {
                if let Some(frame) = self.parse(&block) {
                    return Ok(Some(frame));
                }
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { bail!("the stream ended inside a frame") };
            }
        }
    }

    /// The next block up to a blank line.
    fn block(&mut self) -> Option<String> {
        let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
        let block = self.buffer.split_to(end + 2);
        Some(String::from_utf8_lossy(&block).into_owned())
    }

    fn parse(&mut self, block: &str) -> Option<Frame> {
        let mut frame = Frame::default();
        let mut data: Vec<&str> = Vec::new();
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comments += 1,
                "id" => frame.id = Some(value.to_owned()),
                "event" => frame.event = Some(value.to_owned()),
                "data" => data.push(value),
                "retry" => self.retry_ms = value.parse().ok(),
                _ => {}
            }
        }
        if data.is_empty() {
            return None;
        }
        frame.data = data.join("\n");
        Some(frame)
    }

    async fn fill(&mut self) -> Result<bool> {
        match self.body.frame().await {
            None => Ok(false),
            Some(frame) => {
                if let Ok(bytes) = frame?.into_data() {
                    self.buffer.extend_from_slice(&bytes);
                }
                Ok(true)
            }
        }
    }
}
