//! The load: streams with a producer each, and readers who come and go between the hosts. Everything that anybody sees is checked
//! against what the producer said.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::delta;
use rejoin_tests::random::Random;
use rejoin_tests::replica::Replica;
use rejoin_tests::wait::{all, until};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{producer, reader};

/// Between two records of a stream.
pub(super) const PACE: Duration = Duration::from_millis(20);
/// Everything has ended after this time, however often it was interrupted.
const PATIENCE: Duration = Duration::from_secs(90);

/// How much of it, and what is allowed.
#[derive(Clone)]
pub(super) struct Load {
    /// Where producers and readers go.
    pub hosts: Vec<SocketAddr>,
    /// Producers go to this one of the hosts only.
    pub producers_at: Option<usize>,
    /// Streams.
    pub streams: usize,
    /// Readers of each.
    pub readers: usize,
    /// Records of each, the terminal one not counted.
    pub records: usize,
    /// The store may forget what it has acknowledged: then readers may be reset, and cursors may jump.
    pub forgets: bool,
}

/// What everybody counts.
#[derive(Default)]
pub(super) struct Counts {
    /// Records that producers know to be accepted.
    pub acknowledged: AtomicU64,
    /// Requests of producers that were sent again.
    pub repeats: AtomicU64,
    /// Times that a reader came back, by its own will or not.
    pub returns: AtomicU64,
    /// Times that a reader was cut or refused.
    pub interruptions: AtomicU64,
    /// Sync frames that say "reset".
    pub resets: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, counter: impl Fn(&Self) -> &AtomicU64, count: usize) {
        counter(self).fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Waits until so many records are acknowledged: failures come by progress, not by time.
    pub(super) async fn acknowledged(&self, count: u64) -> Result<()> {
        let reached = async || Ok((self.acknowledged.load(Ordering::Relaxed) >= count).then_some(()));
        until(&format!("{count} records are acknowledged"), reached).await
    }
}

/// One stream: what its producer says, and where it stands.
pub(super) struct Stream {
    pub name: String,
    pub generation: u64,
    /// The records, the terminal one included.
    pub records: Vec<String>,
    /// The words of all records but the first, which is the run step, and the last.
    words: Vec<String>,
    /// Which record was seen under which sequence, by anybody.
    seen: Mutex<HashMap<u64, usize>>,
}

impl Stream {
    pub(super) fn new(name: String, generation: u64, count: usize) -> Self {
        let words: Vec<String> = (1..count).map(|n| format!("{name}w{n} ")).collect();
        let mut records = rejoin_tests::answer(0);
        records.extend(words.iter().map(|word| delta(word)));
        records.push(format!("{{\"final\":true,\"of\":\"{name}\"}}"));
        Stream { name, generation, records, words, seen: Mutex::default() }
    }

    /// The text after that many records.
    pub(super) fn text(&self, records: usize) -> String {
        self.words[..records.saturating_sub(1).min(self.words.len())].concat()
    }

    /// Notes that this record stands at this place, and fails when another one was seen there.
    pub(super) fn note(&self, sequence: u64, record: usize) -> Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *seen.entry(sequence).or_insert(record);
        ensure!(known == record, "{}: cursor {sequence} was record {known} and is record {record}", self.name);
        Ok(())
    }
}

impl Load {
    /// 1,000 records a second for six seconds, to a hundred readers.
    pub(super) fn on(hosts: &[Replica]) -> Self {
        let hosts = hosts.iter().map(|host| host.address).collect();
        Load { hosts, producers_at: None, streams: 20, readers: 5, records: 300, forgets: false }
    }

    /// Runs it while `trouble` does what it does; trouble without end ends with the load. Fails when anybody saw anything wrong.
    pub(super) async fn during<F>(self, trouble: impl FnOnce(Arc<Counts>) -> F) -> Result<Arc<Counts>>
    where
        F: Future<Output = Result<()>>,
    {
        let mut random = Random::new();
        let counts = Arc::new(Counts::default());
        let mut streams = Vec::new();
        for n in 0..self.streams {
            let (name, host) = (format!("load-{n}"), self.hosts[n % self.hosts.len()]);
            let generation = Client::new(host).create(&name, &json!({"userId": format!("u{n}")})).await?;
            streams.push(Arc::new(Stream::new(name, generation, self.records)));
        }
        let (started, mut working) = (Instant::now(), JoinSet::new());
        for stream in &streams {
            let seed = Random::seeded(random.number());
            working.spawn(producer::produce(self.clone(), stream.clone(), counts.clone(), seed));
            for _ in 0..self.readers {
                let seed = Random::seeded(random.number());
                working.spawn(reader::read(self.clone(), stream.clone(), counts.clone(), seed));
            }
        }
        let working = tokio::time::timeout(PATIENCE, async move {
            while let Some(done) = working.join_next().await {
                done??;
            }
            anyhow::Ok(())
        });
        let (mut working, troubling) = (std::pin::pin!(working), trouble(counts.clone()));
        tokio::select! {
            done = &mut working => done.context("the load does not end")??,
            troubled = troubling => {
                troubled.context("the trouble itself")?;
                working.await.context("the load does not end")??;
            }
        }
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "{:?}: {} records acknowledged, {} requests repeated, {} returns, {} interruptions, {} resets",
            started.elapsed(),
            of(&counts.acknowledged),
            of(&counts.repeats),
            of(&counts.returns),
            of(&counts.interruptions),
            of(&counts.resets)
        );
        for host in &self.hosts {
            let client = Client::new(*host);
            let ends = streams.iter().map(|stream| self.clone().verify(client.clone(), stream.clone()));
            all(8, ends.collect::<Vec<_>>()).await.with_context(|| format!("in the end, asked at {host}"))?;
        }
        ensure!(self.forgets || of(&counts.resets) == 0, "somebody was reset");
        Ok(counts)
    }

    /// The log and the content of a stream that has ended.
    async fn verify(self, client: Client, stream: Arc<Stream>) -> Result<()> {
        let name = &stream.name;
        let log = client.log(name).await?;
        let ends = log.iter().filter(|(_, record)| record.starts_with("{\"final\"")).count();
        ensure!(ends == 1 && log.last().map(|last| &last.1) == stream.records.last(), "{name}: {ends} ends");
        if !self.forgets {
            ensure!(log.len() == stream.records.len(), "{name}: {} records in the log", log.len());
        }
        let mut expected = stream.records.iter().enumerate();
        for (cursor, record) in &log {
            // Where the store has forgotten, records are missing; the others are in order.
            let (at, _) = expected.find(|(_, expected)| *expected == record).with_context(|| {
                format!("{name}: {cursor} in the log is {record}, which was never said, or said before")
            })?;
            let sequence: u64 = cursor.rsplit('-').next().unwrap_or_default().parse()?;
            ensure!(cursor.starts_with(&format!("{}-", stream.generation)), "{name}: {cursor} in the log");
            ensure!(self.forgets || sequence == at as u64 + 1, "{name}: {cursor} is record {at}");
            stream.note(sequence, at)?;
        }
        let (text, said) = (client.text(name).await?, stream.text(stream.records.len()));
        ensure!(text == said, "{name}: the content has {} bytes instead of {}: {text}", text.len(), said.len());
        ensure!(client.state(name).await?["status"] == "complete", "{name}: another status");
        Ok(())
    }
}
