//! The real program from outside: how fast it answers first, what it weighs, and what a crowd or a flood does to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::command::program;
use rejoin_tests::delta;
use rejoin_tests::random::Random;
use rejoin_tests::redis::free_port;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

const STARTS: usize = 21;
const IDLE_CLIENTS: usize = 2000;
const IDLE_STREAMS: usize = 100;
/// Minutes, unless the variable `MINUTES` says otherwise.
const IDLE_MINUTES: u64 = 10;
const FLOOD: Duration = Duration::from_secs(10);
const READERS: usize = 20;

/// The program. Dropped: killed.
struct Server {
    address: SocketAddr,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it, and asks until it answers. How long that took.
    async fn start() -> Result<(Self, Duration)> {
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()?).into();
        let mut command = Command::new(program()?);
        command.args(["--listen", &address.to_string()]).env("RUST_LOG", "error");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let began = Instant::now();
        let server = Server { address, child: command.spawn()? };
        while !server.is_healthy().await {
            ensure!(began.elapsed() < Duration::from_secs(30), "it does not answer");
            sleep(Duration::from_micros(500)).await;
        }
        Ok((server, began.elapsed()))
    }

    async fn is_healthy(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.address).await else { return false };
        let mut said = [0; 15];
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok()
            && stream.read_exact(&mut said).await.is_ok()
            && &said == b"HTTP/1.1 200 OK"
    }

    /// A line of `/proc/<id>/status` in MiB.
    fn memory(&self, name: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a line")?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    rejoin::descriptors::raise();
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// From the start of the process to its first answer, and its memory then and a little later.
pub(crate) fn start() -> Result<()> {
    runtime()?.block_on(async {
        let (mut took, mut rest, mut peak) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let (server, duration) = Server::start().await?;
            took.push(duration.as_secs_f64() * 1000.0);
            sleep(Duration::from_millis(500)).await;
            rest.push(server.memory("VmRSS")?);
            peak.push(server.memory("VmHWM")?);
        }
        for (what, figures) in
            [("start to first answer, ms", took), ("memory at rest, MiB", rest), ("its peak, MiB", peak)]
        {
            let mut sorted = figures.clone();
            sorted.sort_by(f64::total_cmp);
            let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
            println!(
                "{what:<28} median {:>6.1}   ({least:.1} to {most:.1}, {STARTS} starts)",
                sorted[sorted.len() / 2]
            );
        }
        println!("{:<28} {:>6.1}", "program, MiB", std::fs::metadata(program()?)?.len() as f64 / (1 << 20) as f64);
        Ok(())
    })
}

/// Live streams on which nothing happens but keep-alives.
pub(crate) fn idle() -> Result<()> {
    let minutes = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(IDLE_MINUTES);
    runtime()?.block_on(async {
        let (server, _) = Server::start().await?;
        let client = Client::new(server.address);
        for n in 0..IDLE_STREAMS {
            client.create(&format!("idle-{n}"), &json!({"userId": format!("u{n}")})).await?;
        }
        let say = |when: &str| -> Result<()> {
            println!("{when:<24} {:>7.1} MiB resident", server.memory("VmRSS")?);
            Ok(())
        };
        say("nobody listens")?;
        let (keep_alives, last) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut readers = JoinSet::new();
        for n in 0..IDLE_CLIENTS {
            let mut stream = TcpStream::connect(server.address).await?;
            let path = format!("/v1/streams/idle-{}/events", n % IDLE_STREAMS);
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let (keep_alives, last) = (keep_alives.clone(), last.clone());
            readers.spawn(async move {
                let mut piece = [0; 4096];
                loop {
                    let read = stream.read(&mut piece).await?;
                    ensure!(read > 0, "cut");
                    let text = String::from_utf8_lossy(&piece[..read]);
                    keep_alives.fetch_add(text.matches(": keep-alive").count() as u64, Ordering::Relaxed);
                    if text.contains("the last one") {
                        last.fetch_add(1, Ordering::Relaxed);
                        return Ok(());
                    }
                }
            });
        }
        let connected =
            || async { Ok::<_, anyhow::Error>(client.get("/v1/stats").await?.json()["subscribers"].clone()) };
        sleep(Duration::from_secs(2)).await;
        say(&format!("{IDLE_CLIENTS} clients"))?;
        for minute in 1..=minutes {
            sleep(Duration::from_secs(60)).await;
            say(&format!("after {minute} minutes"))?;
        }
        println!(
            "subscribers as the server counts them: {}; keep-alives: {}",
            connected().await?,
            keep_alives.load(Ordering::Relaxed)
        );
        for n in 0..IDLE_STREAMS {
            client.append(&format!("idle-{n}"), &[delta("the last one")]).await?.expect(200)?;
        }
        while let Some(read) = readers.join_next().await {
            read??;
        }
        println!("{} clients were there to the end and got the last record", last.load(Ordering::Relaxed));
        say("nobody listens any more")
    })
}

/// Requests that are none, as fast as two clients' threads give them, beside twenty readers.
pub(crate) fn garbage() -> Result<()> {
    runtime()?.block_on(async {
        let (server, _) = Server::start().await?;
        let (client, address) = (Client::new(server.address), server.address);
        client.create("s", &json!({})).await?;
        for (name, flood) in [("nothing else", false), ("garbage", true)] {
            let ended = Arc::new(AtomicBool::new(false));
            let mut readers = JoinSet::new();
            for _ in 0..READERS {
                let cursor = client.get("/v1/streams/s?content=false").await?.json()["cursor"].as_str().map(str::to_owned);
                let mut reader = client.follow("s", cursor.as_deref()).await?;
                let ended = ended.clone();
                readers.spawn(async move {
                    let mut gaps = Vec::new();
                    let mut last = Instant::now();
                    while !ended.load(Ordering::Relaxed) {
                        reader.frame().await?;
                        gaps.push(last.elapsed().as_secs_f64() * 1000.0);
                        last = Instant::now();
                    }
                    Ok::<_, anyhow::Error>(gaps)
                });
            }
            let (producer, end) = (client.clone(), ended.clone());
            let writer = tokio::spawn(async move {
                let mut written = 0_u64;
                while !end.load(Ordering::Relaxed) || written == 0 {
                    producer.append("s", &[delta("w ")]).await?.expect(200)?;
                    written += 1;
                    sleep(Duration::from_millis(20)).await;
                }
                // So that every reader wakes up and sees the end.
                producer.append("s", &[delta("end ")]).await?.expect(200)?;
                Ok::<_, anyhow::Error>(written)
            });
            let answered = Arc::new(AtomicU64::new(0));
            let mut clients = JoinSet::new();
            for n in 0..if flood { 32 } else { 0 } {
                clients.spawn(pour(address, Random::seeded(n), answered.clone(), ended.clone()));
            }
            sleep(FLOOD).await;
            ended.store(true, Ordering::Relaxed);
            while let Some(done) = clients.join_next().await {
                done??;
            }
            let written = writer.await??;
            let mut gaps = Vec::new();
            while let Some(reader) = readers.join_next().await {
                gaps.extend(reader??);
            }
            gaps.sort_by(f64::total_cmp);
            let at = |share: usize| gaps.get(gaps.len() * share / 1000).copied().unwrap_or(f64::NAN);
            let rate = answered.load(Ordering::Relaxed) as f64 / FLOOD.as_secs_f64();
            println!(
                "{name:<14} {rate:>8.0} answers/s   {READERS} readers, a record each 20 ms: {written} written, between two median {:.0} ms, p99 {:.0} ms, most {:.0} ms",
                at(500), at(990), gaps.last().copied().unwrap_or(f64::NAN),
            );
        }
        println!("server: {:.1} MiB resident, peak {:.1}", server.memory("VmRSS")?, server.memory("VmHWM")?);
        Ok(())
    })
}

/// One client that asks for nonsense, ten at a time, and connects again when it is cut for it.
async fn pour(address: SocketAddr, mut random: Random, answered: Arc<AtomicU64>, ended: Arc<AtomicBool>) -> Result<()> {
    let kinds: [&[u8]; 6] = [
        b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/streams/%zz HTTP/1.1\r\nhost: x\r\n\r\n",
        b"BREW /v1/streams/s HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/streams/s/events?after=garbage HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n",
        b"POST /v1/streams/s/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 3\r\n\r\n{{{",
        b"\x16\x03\x01\0\x01\xff\xff\r\n\r\n",
    ];
    while !ended.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        let mut piece = vec![0; 64 * 1024];
        while !ended.load(Ordering::Relaxed) {
            // What cannot be read at all is one in a hundred: it costs a connection each.
            let count = kinds.len() - usize::from(random.below(10) > 0);
            let batch: Vec<u8> = (0..10).flat_map(|_| kinds[random.below(count)]).copied().collect();
            if stream.write_all(&batch).await.is_err() {
                break;
            }
            let mut got = 0;
            while got < 10 {
                match tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece)).await? {
                    Ok(0) | Err(_) => break,
                    Ok(read) => {
                        got += piece[..read]
                            .windows(11)
                            .filter(|part| part == b"HTTP/1.1 40" || part == b"HTTP/1.1 41" || part == b"HTTP/1.1 42")
                            .count()
                    }
                }
            }
            answered.fetch_add(got as u64, Ordering::Relaxed);
            if got < 10 {
                break;
            }
        }
    }
    Ok(())
}
