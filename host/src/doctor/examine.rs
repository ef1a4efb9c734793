//! The examination: a producer and a reader at the same time, through the given address.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::connect::{Body, Line, agreed};
use super::findings::Ill;
use super::reader::{Heard, Reader};

/// Records that are written one after another, and the time between them.
const RECORDS: u64 = 5;
const GAP: Duration = Duration::from_millis(400);
/// What a frame may take longer than that.
const LAG_MAX: Duration = Duration::from_millis(1200);
/// How long something may take that needs no waiting.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// A body that proxies like to refuse: nginx has a limit of 1 MiB unless told.
const LARGE_BYTES: usize = 2 << 20;
/// A server that is told nothing sends a keep-alive this often; a little more, for the way.
const KEEP_ALIVE: Duration = Duration::from_secs(16);

const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const LIVE: (&str, &str) = ("accept", "text/event-stream");

/// What was found, in the order of the examination.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What is well, for people.
    pub(super) well: Vec<String>,
    /// What is not.
    pub(super) ill: Vec<Ill>,
}

/// One examination of one address.
pub(super) struct Examination {
    line: Arc<Line>,
    stream: String,
    wait: Duration,
    origin: Option<String>,
    report: Report,
}

impl Examination {
    /// Nothing was looked at yet. `stream` must be nobody's.
    pub(super) fn new(line: Line, stream: String, wait: Duration, origin: Option<String>) -> Self {
        Examination { line: Arc::new(line), stream, wait, origin, report: Report::default() }
    }

    /// Looks at everything. Whatever happens, its stream is gone at the end.
    pub(super) async fn run(mut self) -> Report {
        if let Err(error) = self.reach().await {
            self.report.ill.push(Ill::Unreachable(format!("{error:#}")));
            return self.report;
        }
        if let Err(error) = self.examine().await {
            self.report.ill.push(Ill::Strange(format!("{error:#}")));
        }
        let _ = self.ask("DELETE", "", &[], "").await;
        self.report
    }

    async fn reach(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let response = timeout(ANSWER_MAX, self.line.send("GET", "/healthz", &[], whole("")));
        let response = response.await.context("no answer")??;
        if response.status() != 200 {
            bail!("/healthz answers {}", response.status());
        }
        let ms = began.elapsed().as_millis();
        self.report.well.push(format!("reachable in {ms} ms: {}", agreed(&response)));
        Ok(())
    }

    async fn examine(&mut self) -> anyhow::Result<()> {
        let (status, headers, text) = self.ask("POST", "", &[JSON], "{}").await?;
        let created: Value = serde_json::from_str(&text).unwrap_or_default();
        if matches!(status, 401 | 403) {
            self.report.ill.push(match created["code"].as_str() {
                Some("foreign_host") => Ill::ForeignHost,
                Some("forbidden" | "insufficient_scope") => {
                    Ill::Refused(created["detail"].as_str().unwrap_or_default().to_owned())
                }
                _ => Ill::Unauthorized { given: self.line.has_token() },
            });
            return Ok(());
        }
        let generation = created["generation"].as_u64();
        let generation = generation.filter(|_| status == 201 && !headers.contains_key("location"));
        let generation = generation.with_context(|| format!("a stream cannot be created: {status}"))?;
        self.report.well.push("a producer may create a stream".into());

        let mut reader = self.read(vec![("accept-encoding".to_owned(), "gzip, deflate, br".to_owned())]);
        let flows = self.frames(&mut reader, generation).await?;
        let open = self.open_body(generation).await?;
        self.idle(&mut reader, flows, open).await?;
        self.large_body().await?;
        self.ask("POST", "/complete", &[JSON], "{}").await?;
        self.come_back(generation).await?;
        self.cors().await
    }

    /// Five records, one after another: does each arrive when it was written?
    async fn frames(&mut self, reader: &mut Reader, generation: u64) -> anyhow::Result<bool> {
        // A head that is held back comes with the first frames, or not at all: it is not waited for any longer.
        let _ = timeout(LAG_MAX, reader.head.wait_for(Option::is_some)).await;
        let mut written = Vec::new();
        for _ in 0..RECORDS {
            let (status, _, _) = self.ask("POST", "/events", &[JSON], r#"{"event":"doctor","data":{}}"#).await?;
            if status != 200 {
                bail!("an append is answered {status}");
            }
            written.push(Instant::now());
            sleep(GAP).await;
        }
        let last = format!("{generation}-{RECORDS}");
        reader.listen(LAG_MAX, |heard| heard.iter().any(|(_, heard)| *heard == Heard::Frame(last.clone()))).await;
        let head = reader.head.borrow().clone();
        if let Some((status, headers)) = &head {
            self.look_at_head(*status, headers);
        }
        let lags = written.iter().zip(1..).map(|(at, sequence): (_, u64)| {
            let arrived = reader.arrived(&format!("{generation}-{sequence}"));
            arrived.map_or(at.elapsed(), |arrived| arrived.saturating_duration_since(*at))
        });
        let worst = lags.max().unwrap_or_default();
        if worst > LAG_MAX.min(GAP * 2) {
            self.report.ill.push(Ill::Held(worst));
            return Ok(false);
        }
        self.report.well.push(format!("frames arrive as they are written: within {} ms", worst.as_millis()));
        Ok(true)
    }

    fn look_at_head(&mut self, status: u16, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if status != 200 || !text("content-type").starts_with("text/event-stream") {
            let what = format!("a live stream is answered {status} with content type {:?}", text("content-type"));
            return self.report.ill.push(Ill::Strange(what));
        }
        match text("content-encoding") {
            "" | "identity" => self.report.well.push("it is not compressed".into()),
            how => self.report.ill.push(Ill::Compressed(how.to_owned())),
        }
    }

    /// A line of an open body: is it there before the body ends? The body stays open.
    async fn open_body(&mut self, generation: u64) -> anyhow::Result<OpenBody> {
        let line = self.line.clone();
        let path = self.path("/events");
        let (sender, receiver) = mpsc::channel::<Bytes>(4);
        let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let bytes = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
        });
        let answer = tokio::spawn(async move {
            let response = line.send("POST", &path, &[NDJSON], StreamBody::new(frames).boxed_unsync()).await?;
            read(response).await
        });
        let _ = sender.send(Bytes::from_static(b"{\"event\":\"doctor\",\"data\":{\"open\":1}}\n")).await;
        let wanted = format!("{generation}-{}", RECORDS + 1);
        let end = Instant::now() + LAG_MAX * 2;
        let mut held = true;
        while held && Instant::now() < end {
            let (_, _, text) = self.ask("GET", "?content=false", &[], "").await?;
            held = !text.contains(&wanted);
            sleep(Duration::from_millis(100)).await;
        }
        match held {
            true => self.report.ill.push(Ill::BodyHeld),
            false => self.report.well.push("lines of an open body arrive as they are written".into()),
        }
        Ok(OpenBody { sender, answer, held })
    }

    /// Nothing is written for a while: is the reader left alone, and the open body?
    async fn idle(&mut self, reader: &mut Reader, flows: bool, open: OpenBody) -> anyhow::Result<()> {
        let (began, before) = (Instant::now(), reader.heard.len());
        let is_end = |heard: &[(Instant, Heard)]| heard.iter().any(|(_, heard)| matches!(heard, Heard::End(_)));
        reader.listen(self.wait, is_end).await;
        let comments = reader.heard[before..].iter().filter(|(_, heard)| *heard == Heard::Comment).count();
        let last = reader.heard.iter().rev().find(|(_, heard)| !matches!(heard, Heard::End(_)));
        match reader.ended() {
            Some((at, how)) => {
                let since = last.map_or(began, |(at, _)| *at);
                let why = how.err().unwrap_or_else(|| "the answer ended".into());
                self.report.ill.push(Ill::Cut(at.saturating_duration_since(since), why));
            }
            // Where frames are held back, so are comments: that is known already.
            None if flows && comments == 0 && self.wait > KEEP_ALIVE => {
                self.report.ill.push(Ill::NoKeepAlive(self.wait));
            }
            None => {
                let waited = began.elapsed().as_secs();
                let well = format!("an idle live stream lives after {waited} s ({comments} keep-alives came)");
                self.report.well.push(well);
            }
        }
        let _ = open.sender.send(Bytes::from_static(b"{\"event\":\"doctor\",\"data\":{\"open\":2}}\n")).await;
        drop(open.sender);
        let answer = timeout(ANSWER_MAX, open.answer).await.context("an append body is not answered")??;
        let ill = match answer {
            Ok((200, _, _)) => None,
            Ok((status, _, _)) => Some(format!("it is answered {status}")),
            Err(error) => Some(format!("{error:#}")),
        };
        match ill {
            Some(why) if !open.held => self.report.ill.push(Ill::BodyCut(why)),
            Some(_) => {}
            None => self.report.well.push("an open body may be silent for as long".into()),
        }
        Ok(())
    }

    async fn large_body(&mut self) -> anyhow::Result<()> {
        let record = format!("{{\"event\":\"doctor\",\"data\":\"{}\"}}\n", "x".repeat(60 << 10));
        let body = record.repeat(LARGE_BYTES / record.len() + 1);
        let (status, headers, _) = self.ask("POST", "/events", &[NDJSON], &body).await?;
        let ours = headers.get("content-type").is_some_and(|kind| kind == "application/problem+json");
        match status {
            200 => self.report.well.push("a body of 2 MiB is taken".into()),
            // The server has limits of its own, and says so.
            _ if ours => self.report.well.push(format!("a body of 2 MiB reaches the server (which answers {status})")),
            _ => self.report.ill.push(Ill::BodyLimited(status)),
        }
        Ok(())
    }

    /// After the end, so that the answer ends too and is seen even where frames are held back.
    async fn come_back(&mut self, generation: u64) -> anyhow::Result<()> {
        let mut reader = self.read(vec![("last-event-id".to_owned(), format!("{generation}-3"))]);
        let is_frame = |heard: &[(Instant, Heard)]| heard.iter().any(|(_, heard)| !matches!(heard, Heard::Comment));
        reader.listen(ANSWER_MAX, is_frame).await;
        match reader.heard.iter().find(|(_, heard)| !matches!(heard, Heard::Comment)) {
            Some((_, Heard::Frame(id))) if *id == format!("{generation}-4") => {
                self.report.well.push("Last-Event-ID arrives: who comes back goes on".into());
            }
            Some((_, Heard::Frame(_))) => self.report.ill.push(Ill::NoLastEventId),
            other => self.report.ill.push(Ill::Strange(format!("a reader that came back got {other:?}"))),
        }
        Ok(())
    }

    async fn cors(&mut self) -> anyhow::Result<()> {
        let Some(origin) = self.origin.clone() else { return Ok(()) };
        let wanted = [
            ("origin", origin.as_str()),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "authorization,last-event-id"),
        ];
        let (_, headers, _) = self.ask("OPTIONS", "/events", &wanted, "").await?;
        match lacking(&headers, &origin) {
            None => self.report.well.push(format!("web pages of {origin} may use it")),
            Some(lacks) => self.report.ill.push(Ill::Cors(origin, lacks)),
        }
        Ok(())
    }

    fn read(&self, mut headers: Vec<(String, String)>) -> Reader {
        let (line, path) = (self.line.clone(), self.path("/events"));
        headers.push((LIVE.0.to_owned(), LIVE.1.to_owned()));
        Reader::start(async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            line.send("GET", &path, &headers, whole("")).await
        })
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/streams/{}{rest}", self.stream)
    }

    async fn ask(
        &self,
        method: &str,
        rest: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<(u16, HeaderMap, String)> {
        let path = self.path(rest);
        let answer = async { read(self.line.send(method, &path, headers, whole(body)).await?).await };
        timeout(ANSWER_MAX, answer).await.with_context(|| format!("{method} {rest} is not answered"))?
    }
}

/// A body that stays open.
struct OpenBody {
    sender: mpsc::Sender<Bytes>,
    answer: tokio::task::JoinHandle<anyhow::Result<(u16, HeaderMap, String)>>,
    /// Its first line did not arrive.
    held: bool,
}

/// What a preflight's answer lacks.
fn lacking(headers: &HeaderMap, origin: &str) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let allowed = text("access-control-allow-origin");
    if allowed != origin && allowed != "*" {
        return Some("the answer to OPTIONS names no such Access-Control-Allow-Origin".into());
    }
    let names = text("access-control-allow-headers").to_ascii_lowercase();
    let lacks = |name: &str| names != "*" && !names.split(',').any(|allowed| allowed.trim() == name);
    let name = ["authorization", "last-event-id"].into_iter().find(|name| lacks(name))?;
    Some(format!("Access-Control-Allow-Headers does not name {name}"))
}

fn whole(text: &str) -> Body {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed_unsync()
}

async fn read(response: http::Response<Incoming>) -> anyhow::Result<(u16, HeaderMap, String)> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok((head.status.as_u16(), head.headers, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_preflight_must_name_the_origin_and_both_headers() {
        let answer = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            lacking(&pairs.iter().map(pair).collect(), "https://a.example")
        };
        let origin = ("access-control-allow-origin", "https://a.example");
        let names = "access-control-allow-headers";
        assert_eq!(answer(&[origin, (names, "Authorization, Last-Event-ID")]), None);
        assert!(answer(&[]).is_some_and(|lacks| lacks.contains("Allow-Origin")));
        assert!(answer(&[("access-control-allow-origin", "https://b.example")]).is_some());
        assert!(answer(&[origin, (names, "Authorization")]).is_some_and(|lacks| lacks.contains("last-event-id")));
    }
}
