//! A producer that numbers its requests, sends them to one host or another, and sends again what was not acknowledged.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::{Answer, Client};
use rejoin_tests::random::Random;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::load::{Counts, Load, PACE, Stream};

/// A host that says nothing for this long is left.
const ANSWER_MAX: Duration = Duration::from_secs(15);
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// The most records in one request.
const REQUEST_MAX: usize = 40;

/// Appends all records but the terminal one, each when it is due, and completes.
pub(super) async fn produce(load: Load, stream: Arc<Stream>, counts: Arc<Counts>, mut random: Random) -> Result<()> {
    let hosts: Vec<Client> = match load.producers_at {
        Some(host) => vec![Client::new(load.hosts[host])],
        None => load.hosts.iter().map(|host| Client::new(*host)).collect(),
    };
    let producer = Producer { hosts, stream, counts, begun: Instant::now() };
    let (mut said, mut number, count) = (0, 0, producer.stream.records.len() - 1);
    while said < count {
        let until = (said + 1 + random.below(REQUEST_MAX)).min(count);
        let last = producer
            .request(number, said, until, &mut random)
            .await
            .with_context(|| format!("{}: request {number} with records {said}..{until}", producer.stream.name))?;
        if !load.forgets {
            let expected = format!("{}-{until}", producer.stream.generation);
            ensure!(last == expected, "{}: it ends at {last} instead of {expected}", producer.stream.name);
        }
        producer.counts.add(|counts| &counts.acknowledged, until - said);
        (said, number) = (until, number + 1);
    }
    producer.complete(&mut random).await.with_context(|| format!("{}: complete", producer.stream.name))
}

struct Producer {
    hosts: Vec<Client>,
    stream: Arc<Stream>,
    counts: Arc<Counts>,
    begun: Instant,
}

impl Producer {
    /// Sends one request until it is acknowledged: the cursor of its last record.
    async fn request(&self, number: usize, from: usize, until: usize, random: &mut Random) -> Result<String> {
        let open = random.below(2) == 0;
        let mut host = random.below(self.hosts.len());
        let mut attempt = match open {
            true => self.speak(&self.hosts[host], number, from, until).await,
            false => {
                sleep_until(self.begun + PACE * u32::try_from(until)?).await;
                self.post(&self.hosts[host], number, from, until).await
            }
        };
        loop {
            if let Some(answer) = accepted(attempt)? {
                let answer = answer.json();
                let counted = answer["appended"].as_u64().zip(answer["duplicate"].as_u64()).map(|(a, d)| a + d);
                ensure!(counted == Some((until - from) as u64), "of {} records: {answer}", until - from);
                return Ok(answer["last"].as_str().context("a cursor")?.to_owned());
            }
            self.counts.add(|counts| &counts.repeats, 1);
            sleep(AGAIN_AFTER).await;
            host = (host + 1) % self.hosts.len();
            attempt = self.post(&self.hosts[host], number, from, until).await;
        }
    }

    /// One body that stays open: each record when it is due. None: no answer.
    async fn speak(&self, host: &Client, number: usize, from: usize, until: usize) -> Option<Answer> {
        let upload = self.with_headers(number, |path, headers| host.upload(path, headers));
        for record in from..until {
            sleep_until(self.begun + PACE * u32::try_from(record).ok()?).await;
            let line = format!("{}\n", self.stream.records[record]);
            // A host that is stopped takes nothing at some point; a host that is dead nothing at all.
            if !matches!(timeout(ANSWER_MAX, upload.send(line)).await, Ok(Ok(()))) {
                break;
            }
        }
        timeout(ANSWER_MAX, upload.finish()).await.ok()?.ok()
    }

    async fn post(&self, host: &Client, number: usize, from: usize, until: usize) -> Option<Answer> {
        let lines: String = self.stream.records[from..until].iter().map(|line| format!("{line}\n")).collect();
        let number = number.to_string();
        let (path, headers) = (self.path(), headers(&number));
        timeout(ANSWER_MAX, host.send("POST", &path, &headers, lines)).await.ok()?.ok()
    }

    async fn complete(&self, random: &mut Random) -> Result<()> {
        let path = format!("/v1/streams/{}/complete?generation={}", self.stream.name, self.stream.generation);
        let body = json!({"finalEvent": {"of": self.stream.name}});
        loop {
            let host = &self.hosts[random.below(self.hosts.len())];
            if accepted(timeout(ANSWER_MAX, host.post(&path, &body)).await.ok().and_then(Result::ok))?.is_some() {
                return Ok(());
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    fn path(&self) -> String {
        format!("/v1/streams/{}/events?generation={}", self.stream.name, self.stream.generation)
    }

    fn with_headers<T>(&self, number: usize, work: impl FnOnce(&str, &[(&str, &str)]) -> T) -> T {
        work(&self.path(), &headers(&number.to_string()))
    }
}

fn headers(number: &str) -> [(&'static str, &str); 3] {
    [("content-type", "application/x-ndjson"), ("producer-id", "p"), ("producer-seq", number)]
}

/// The answer of a host that did it. None: to be sent again. Errors: refused for good, which nobody here deserves.
fn accepted(answer: Option<Answer>) -> Result<Option<Answer>> {
    match answer {
        Some(answer) if answer.status == 503 => {
            answer.refused_for_now(503, &answer.problem().1)?;
            Ok(None)
        }
        Some(answer) => answer.expect(200).map(Some),
        None => Ok(None),
    }
}
