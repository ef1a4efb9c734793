//! Connections that do harm by being slow, and requests that are none: whoever reads a live stream notices nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::delta;
use rejoin_tests::random::Random;
use rejoin_tests::server::Server;
use rejoin_tests::sse::Sse;
use rejoin_tests::steady::steady;
use rejoin_tests::tls::{Http2, Pair, shake_hands};
use rejoin_tests::wait::soon;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

const READERS: usize = 20;
/// A producer writes this often; nobody waits for a record for much longer, even where tests share a machine.
const BEAT: Duration = Duration::from_millis(25);
const GAP_MAX: Duration = Duration::from_millis(2500);
/// How long a head, and a body, may take here.
const WAIT: Duration = Duration::from_secs(2);

type Sent = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What one reader got, and the longest time between two.
type Heard = (Vec<String>, Duration);

/// Readers of one stream, and a producer that never stops.
struct Crowd {
    ended: Arc<AtomicBool>,
    producer: JoinHandle<Result<usize>>,
    readers: Vec<JoinHandle<Result<Heard>>>,
}

impl Crowd {
    fn start(readers: Vec<Sse>, append: impl Fn(String) -> Sent + Send + Sync + 'static) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        let producer = tokio::spawn(async move {
            let mut written = 0;
            while !end.load(Ordering::Relaxed) {
                append(record(written)).await?;
                written += 1;
                sleep(BEAT).await;
            }
            append(r#"{"final":true}"#.into()).await?;
            Ok(written)
        });
        let read = |mut reader: Sse| async move {
            let (mut heard, mut gap, mut last) = (Vec::new(), Duration::ZERO, Instant::now());
            while let Some(frame) = reader.next().await? {
                (gap, last) = (gap.max(last.elapsed()), Instant::now());
                heard.push(frame.data);
            }
            Ok((heard, gap))
        };
        Crowd { ended, producer, readers: readers.into_iter().map(|reader| tokio::spawn(read(reader))).collect() }
    }

    /// Each reader has heard all of it, once, in order, and never waited for long.
    async fn end(self) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        let written = soon("the producer", self.producer).await???;
        let wanted: Vec<String> = (0..written).map(record).collect();
        let mut longest = Duration::ZERO;
        for reader in self.readers {
            let (mut heard, gap) = soon("a reader", reader).await???;
            heard.pop().context("the end")?;
            assert!(heard == wanted, "{} records instead of {written}", heard.len());
            longest = longest.max(gap);
        }
        println!("{READERS} readers of {written} records each: nobody waited for longer than {longest:?}");
        ensure!(written > 20, "too short to see anything: {written}");
        ensure!(longest < GAP_MAX, "somebody waited for {longest:?}");
        Ok(())
    }
}

fn record(n: usize) -> String {
    delta(&format!("w{n} "))
}

/// Says `begin`, then a byte now and then. How long the peer put up with it.
async fn drip(mut stream: impl AsyncRead + AsyncWrite + Unpin, begin: String, began: Instant) -> Result<Duration> {
    stream.write_all(begin.as_bytes()).await?;
    let (mut reads, mut writes) = tokio::io::split(stream);
    let slow = async {
        while writes.write_all(b" ").await.is_ok() && writes.flush().await.is_ok() {
            sleep(WAIT / 10).await;
        }
    };
    let mut said = Vec::new();
    tokio::select! {
        _ = reads.read_to_end(&mut said) => {}
        () = slow => {}
    }
    Ok(began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_slow_connections_are_cut_and_twenty_readers_notice_nothing() -> Result<()> {
    steady(async || {
        let pair = Pair::new()?;
        let server = Server::start_with(|config| {
            (config.door.head_wait, config.door.body_wait, config.door.append_idle) = (WAIT, WAIT, WAIT);
            (config.tls.tls_cert_file, config.tls.tls_key_file) = (Some(pair.certificate()), Some(pair.key()));
        })
        .await?;
        let (address, trusted) = (server.address, pair.now()?);
        let connection = Arc::new(Http2::connect(address, &trusted).await?);
        let json = ("content-type", "application/json");
        connection.send("POST", "/v1/streams/s", &[json], "{}".into()).await?.expect(201)?;
        connection.send("POST", "/v1/streams/slow", &[json], "{}".into()).await?.expect(201)?;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(connection.follow("s").await?);
        }
        let producer = connection.clone();
        let crowd = Crowd::start(readers, move |record| {
            let producer = producer.clone();
            Box::pin(async move {
                producer.send("POST", "/v1/streams/s/events", &[json], record).await?.expect(200)?;
                Ok(())
            })
        });

        let mut slow = JoinSet::new();
        for n in 0..200 {
            let trusted = trusted.clone();
            slow.spawn(async move {
                let began = Instant::now();
                // The first bytes of a handshake, of a head, of a whole body, of an open body.
                if n % 4 == 0 {
                    let stream = TcpStream::connect(address).await?;
                    return drip(stream, "\x16\x03\x01\x02\x00\x01".into(), began).await;
                }
                let stream = shake_hands(address, &trusted, &["http/1.1"], rustls::ALL_VERSIONS).await?;
                let begin = match n % 4 {
                    1 => "GET /v1/stats HTTP/1.1\r\nhost: x\r\nx-slow:".to_owned(),
                    2 => "POST /v1/streams/slow/abort HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n".to_owned(),
                    _ => "POST /v1/streams/slow/events HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n".to_owned(),
                };
                drip(stream, begin, began).await
            });
        }
        let mut cut = 0;
        while let Some(lasted) = soon("a cut", slow.join_next()).await? {
            let lasted = lasted??;
            // What is left of a refused body is read for five seconds more, so that the answer is not lost.
            ensure!(lasted < WAIT + Duration::from_secs(12), "it was put up with for {lasted:?}");
            cut += 1;
        }
        assert_eq!(cut, 200);
        crowd.end().await?;
        server.stop().await
    })
    .await
}

/// One request that is none, on a connection of its own. Whether it was answered.
async fn garbage(address: SocketAddr, seed: u64) -> Result<bool> {
    let mut random = Random::seeded(seed);
    let bytes: Vec<u8> = (0..1 + random.below(200)).map(|_| random.number().to_le_bytes()[0]).collect();
    let line = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes();
    let kind = random.below(6);
    let request = match kind {
        0 => [bytes.as_slice(), b"\r\n\r\n"].concat(),
        1 => line("/v1/streams/%zz"),
        2 => line("/nowhere/at/all"),
        3 => line("/v1/streams/x/events?after=garbage"),
        4 => b"POST /v1/streams/x HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nconnection: close\r\n\r\n{{{".to_vec(),
        _ => b"GET / HTTP/1.1\r\ntransfer-encoding: \x01\r\ncontent-length: -1\r\n\r\n".to_vec(),
    };
    let mut stream = TcpStream::connect(address).await?;
    let _ = stream.write_all(&request).await;
    // It may be a beginning that could go on: nobody waits for that here.
    if kind == 0 {
        let _ = stream.shutdown().await;
    }
    let mut said = Vec::new();
    let _ = soon("an answer", stream.read_to_end(&mut said)).await?;
    ensure!(!said.starts_with(b"HTTP/1.1 2") && !said.starts_with(b"HTTP/1.1 5"), "{}", said.escape_ascii());
    Ok(!said.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_without_end_is_answered_and_twenty_readers_notice_nothing() -> Result<()> {
    steady(async || {
        let server = Server::start().await?;
        let (address, client) = (server.address, server.client());
        client.create("s", &json!({})).await?;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(client.follow("s", None).await?);
        }
        let crowd = Crowd::start(readers, move |record| {
            let client = client.clone();
            Box::pin(async move {
                client.append("s", &[record]).await?.expect(200)?;
                Ok(())
            })
        });
        let (seed, sent, answered) =
            (Random::new().number(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..16 {
            let (sent, answered) = (sent.clone(), answered.clone());
            clients.spawn(async move {
                while began.elapsed() < WAIT {
                    let n = sent.fetch_add(1, Ordering::Relaxed);
                    if garbage(address, seed ^ n as u64).await? {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        while let Some(done) = soon("the clients", clients.join_next()).await? {
            done??;
        }
        let (sent, answered) = (sent.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
        println!("{sent} pieces of garbage in {:?}, {answered} of them answered", began.elapsed());
        ensure!(answered * 10 > sent * 7, "{answered} of {sent} were answered");
        crowd.end().await?;
        server.stop().await
    })
    .await
}
