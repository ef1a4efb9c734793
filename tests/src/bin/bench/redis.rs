//! Two hosts over one Redis: what a token costs it, how fast records come through, and what a resume takes on the
//! replica that has nothing in memory. Everything on this machine, the server without persistence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::{Client, Upload};
use rejoin_tests::redis::{Connection, Server};
use rejoin_tests::replica::Replica;
use rejoin_tests::{answer, delta, root};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::core::median;

const JOBS: usize = 100;
const TOKENS_PER_S: u32 = 50;
/// How long the tokens of one row are counted, after a second in which everything gets going.
const WINDOW: Duration = Duration::from_secs(6);
const LONG: usize = 20_000;
const ROUNDS: usize = 9;

/// The hosts and their store.
pub(crate) struct Bench {
    redis: Server,
    producers: Replica,
    readers: Replica,
    runtime: Runtime,
}

impl Bench {
    /// Starts everything.
    pub(crate) fn start() -> Result<Self> {
        let redis = Server::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let host = || async { Replica::start(&redis.url(), &["--session-idle", "1s", "--retention", "1h"]).await };
        let (producers, readers) = runtime.block_on(async { anyhow::Ok((host().await?, host().await?)) })?;
        Ok(Bench { redis, producers, readers, runtime })
    }

    /// All of it.
    pub(crate) fn run(&self) -> Result<()> {
        self.runtime.block_on(async {
            self.cost().await?;
            self.through().await?;
            self.resume().await?;
            self.memory().await
        })
    }

    /// What Redis is asked for a token, with none, one and five listeners a job on the other host.
    async fn cost(&self) -> Result<()> {
        let sample = Arc::new(sample()?);
        let mean = sample.iter().map(String::len).sum::<usize>() / sample.len();
        println!(
            "Redis at {JOBS} jobs x {TOKENS_PER_S} records/s of the bundled sample ({mean} bytes), open bodies, one record a \
             write; listeners on the other host"
        );
        println!(
            "{:<12} {:>9} {:>14} {:>19} {:>17} {:>14}",
            "listeners", "tokens/s", "commands/token", "with those in Lua", "bytes in/payload", "CPU us/token"
        );
        for listeners in [0, 1, 5] {
            let prefix = format!("cost{listeners}");
            let stop = Arc::new(AtomicBool::new(false));
            let (tokens, payload) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let mut tasks = JoinSet::new();
            for at in 0..JOBS {
                let name = format!("{prefix}-{at}");
                let client = self.producers.client();
                client.create(&name, &json!({})).await?;
                for _ in 0..listeners {
                    tasks.spawn(drain(self.readers.client(), name.clone()));
                }
                let (stop, tokens, payload, sample) = (stop.clone(), tokens.clone(), payload.clone(), sample.clone());
                tasks.spawn(async move {
                    // Jobs do not tick in step.
                    sleep(Duration::from_millis(at as u64 % 20)).await;
                    produce(&client, &name, &sample, &stop, &tokens, &payload).await
                });
            }
            sleep(Duration::from_secs(1)).await;
            let before = (self.info("total_net_input_bytes")?, self.cpu()?, tokens.load(Ordering::Relaxed));
            let (sent_before, began) = (payload.load(Ordering::Relaxed), Instant::now());
            sleep(WINDOW).await;
            let count = tokens.load(Ordering::Relaxed) - before.2;
            let sent = payload.load(Ordering::Relaxed) - sent_before;
            let (bytes, cpu) = (self.info("total_net_input_bytes")? - before.0, self.cpu()? - before.1);
            let rate = count as f64 / began.elapsed().as_secs_f64();
            // By itself: MONITOR costs the server more than all that it tells of.
            let (counter, counted) = (Counter::start(&self.redis)?, tokens.load(Ordering::Relaxed));
            sleep(WINDOW / 2).await;
            let counted = tokens.load(Ordering::Relaxed) - counted;
            let (from_hosts, in_scripts) = counter.stop()?;
            stop.store(true, Ordering::Relaxed);
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            println!(
                "{listeners:<12} {rate:>9.0} {:>14.3} {:>19.2} {:>17.2} {:>14.1}",
                from_hosts as f64 / counted as f64,
                (from_hosts + in_scripts) as f64 / counted as f64,
                bytes / sent as f64,
                cpu * 1e6 / count as f64,
            );
        }
        Ok(())
    }

    /// As fast as it goes: eight producers on one host, a reader of each on the other, against what the server takes of
    /// bare XADDs of the same records from its own benchmark.
    async fn through(&self) -> Result<()> {
        const STREAMS: usize = 8;
        const EACH: usize = 25_000;
        let mut rates = Vec::new();
        let mut bare = Vec::new();
        for round in 0..3 {
            let mut tasks = JoinSet::new();
            let mut uploads = JoinSet::new();
            let began = Instant::now();
            for at in 0..STREAMS {
                let (name, client) = (format!("through{round}-{at}"), self.producers.client());
                client.create(&name, &json!({})).await?;
                tasks.spawn(drain(self.readers.client(), name.clone()));
                uploads.spawn(async move {
                    let upload = client.upload(&format!("/v1/streams/{name}/events"), &[]);
                    for lines in answer(EACH).chunks(100) {
                        upload.send(lines.iter().flat_map(|line| [line, "\n"]).collect::<String>()).await?;
                    }
                    upload.finish().await?.expect(200)?;
                    client.post(&format!("/v1/streams/{name}/complete"), &json!({})).await?.expect(200)
                });
            }
            while let Some(done) = uploads.join_next().await {
                done??;
            }
            let mut delivered = 0;
            while let Some(done) = tasks.join_next().await {
                delivered += done??;
            }
            ensure!(delivered == STREAMS * (EACH + 2), "{delivered} delivered");
            rates.push(delivered as f64 / began.elapsed().as_secs_f64());
            bare.push(self.bare_xadd()?);
        }
        let (ours, bare) = (median(rates), median(bare));
        println!("\nas fast as it goes, {STREAMS} producers and readers on two hosts (median of 3)");
        println!(
            "  delivered {ours:.0} events/s; redis-benchmark, XADD pipelined by 16: {bare:.0}/s; ratio {:.2}",
            ours / bare
        );
        Ok(())
    }

    fn bare_xadd(&self) -> Result<f64> {
        let port = self.redis.port().to_string();
        let record = delta("w1234 ");
        let arguments = ["-p", &port, "-n", "200000", "-P", "16", "--csv", "XADD", "bare", "*", "r", &record];
        let output = std::process::Command::new("redis-benchmark").args(arguments).output();
        let output = output.context("redis-benchmark, of the package redis-tools")?;
        self.redis.cli(&["DEL", "bare"])?;
        let text = String::from_utf8(output.stdout)?;
        // "test","rps",…; the test's name holds the record, with its quotes and commas.
        let rates = text.lines().last().and_then(|line| line.rsplit("\",\"").nth(6)).context("a rate")?;
        rates.trim_matches('"').parse().with_context(|| text.clone())
    }

    /// The state of a long generation on the host that did not make it, from the checkpoint and from the whole log.
    async fn resume(&self) -> Result<()> {
        let (client, other) = (self.producers.client(), self.readers.client());
        println!(
            "\nresume of a running generation of {LONG} records on the other host, nothing in memory (median of {ROUNDS})"
        );
        client.create("long", &json!({})).await?;
        for lines in answer(LONG).chunks(64) {
            client.append("long", lines).await?.expect(200)?;
        }
        let (mut quick, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            quick.push(self.timed_resume(&other).await?);
            // What a host does that has the log only.
            let checkpoint = self.redis.cli(&["DUMP", "rejoin:{long}:checkpoint"]).is_ok();
            ensure!(checkpoint, "no checkpoint");
            self.redis.cli(&["RENAME", "rejoin:{long}:checkpoint", "rejoin:{long}:aside"])?;
            whole.push(self.timed_resume(&other).await?);
            self.redis.cli(&["RENAME", "rejoin:{long}:aside", "rejoin:{long}:checkpoint"])?;
        }
        let (quick, whole) = (median(quick), median(whole));
        println!(
            "  from the checkpoint {quick:.2} ms, from the whole log {whole:.1} ms: {:.0} times as long",
            whole / quick
        );
        Ok(())
    }

    async fn timed_resume(&self, client: &Client) -> Result<f64> {
        // Until the host has dropped its session.
        loop {
            let stats = client.get("/v1/stats").await?.expect(200)?.json();
            if stats["sessions"] == 0 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let began = Instant::now();
        client.get("/v1/streams/long/resume").await?.expect(200)?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }

    /// What a record takes of Redis' memory.
    async fn memory(&self) -> Result<()> {
        let client = self.producers.client();
        println!("\nRedis memory for a record of {} bytes, the key of the log alone", delta("w1234 ").len());
        for batch in [1, 16, 64] {
            let name = format!("memory{batch}");
            client.create(&name, &json!({})).await?;
            let records = answer(3_199);
            for lines in records.chunks(batch) {
                client.append(&name, lines).await?.expect(200)?;
            }
            let usage = self.redis.cli(&["MEMORY", "USAGE", &format!("rejoin:{{{name}}}:log"), "SAMPLES", "0"])?;
            println!("  {batch:>2} an append: {:>5.0} bytes", usage.trim().parse::<f64>()? / records.len() as f64);
        }
        Ok(())
    }

    fn info(&self, name: &str) -> Result<f64> {
        let info = self.redis.cli(&["INFO", "all"])?;
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).context("INFO")?;
        Ok(line.trim().parse()?)
    }

    /// Seconds of CPU of the server.
    fn cpu(&self) -> Result<f64> {
        Ok(self.info("used_cpu_user")? + self.info("used_cpu_sys")?)
    }
}

/// The records of the inspector's sample, with their line breaks, but for one that would end the generation.
fn sample() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join("host/src/http/inspector/sample.jsonl"))?;
    let mut lines: Vec<_> = text.lines().map(|line| format!("{line}\n")).collect();
    lines.retain(|line| !line.contains("\"final\":true"));
    Ok(lines)
}

/// Sends tokens at their pace until told to stop, then ends the generation.
async fn produce(
    client: &Client,
    name: &str,
    sample: &[String],
    stop: &AtomicBool,
    tokens: &AtomicU64,
    payload: &AtomicU64,
) -> Result<usize> {
    let upload: Upload = client.upload(&format!("/v1/streams/{name}/events"), &[]);
    let mut pace = interval(Duration::from_secs(1) / TOKENS_PER_S);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let line = &sample[count % sample.len()];
        payload.fetch_add(line.len() as u64, Ordering::Relaxed);
        tokens.fetch_add(1, Ordering::Relaxed);
        upload.send(line.clone()).await?;
        count += 1;
    }
    upload.finish().await?.expect(200)?;
    client.post(&format!("/v1/streams/{name}/complete"), &json!({})).await?.expect(200)?;
    Ok(count)
}

/// Reads a live stream to its end: the number of its frames.
async fn drain(client: Client, name: String) -> Result<usize> {
    let mut stream = client.follow(&name, None).await?;
    let mut frames = 0;
    while stream.next().await?.is_some() {
        frames += 1;
    }
    Ok(frames)
}

/// Counts what the server is asked, by its own MONITOR: what scripts call is marked there.
struct Counter {
    thread: JoinHandle<Result<(u64, u64)>>,
    stop: Arc<AtomicBool>,
    port: u16,
}

impl Counter {
    fn start(server: &Server) -> Result<Self> {
        let mut monitor = Connection::open(server.port())?;
        monitor.call(&["MONITOR"])?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let count = move || {
            let (mut from_hosts, mut in_scripts) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                let line = monitor.reply()?.to_string();
                let origin = line.split(']').next().unwrap_or_default();
                if origin.ends_with(" lua") { in_scripts += 1 } else { from_hosts += 1 }
            }
            Ok((from_hosts, in_scripts))
        };
        Ok(Counter { thread: std::thread::spawn(count), stop, port: server.port() })
    }

    fn stop(self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        // One more line, for it to see that.
        Connection::open(self.port)?.call(&["PING"])?;
        self.thread.join().map_err(|_| anyhow::anyhow!("the counter has panicked"))?
    }
}
