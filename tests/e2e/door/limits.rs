//! The bounds of a connection: whoever stays within them notices nothing, everybody else is told, or cut.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rejoin_tests::client::Client;
use rejoin_tests::server::Server;
use rejoin_tests::steady::steady;
use rejoin_tests::wait::soon;
use rejoin_tests::{answer, delta, wait};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const SHORT: Duration = Duration::from_millis(700);

/// What comes until the peer ends the connection, however it does.
async fn rest(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match soon("the end of the connection", stream.read(&mut piece)).await? {
            Ok(0) | Err(_) => return Ok(all),
            Ok(read) => all.extend_from_slice(&piece[..read]),
        }
    }
}

async fn say(address: SocketAddr, text: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_431() -> Result<()> {
    let server = Server::start().await?;
    for client in [server.client(), Client::http2(server.address)] {
        for (bytes, status) in [(30 << 10, 200), (40 << 10, 431), (90 << 10, 431)] {
            let long = "x".repeat(bytes);
            let answer = client.send("GET", "/healthz", &[("x-long", &long)], "").await?;
            assert_eq!(answer.status, status, "{bytes}");
        }
    }
    let long = "x".repeat(40 << 10);
    let answer = server.client().send("GET", "/healthz", &[("x-long", &long)], "").await?;
    assert_eq!(answer.problem(), (431, "head_too_large".to_owned()));
    server.stop().await
}

/// A byte now and then is no progress.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_end_is_cut_in_time() -> Result<()> {
    steady(async || {
        let server = Server::start_with(|config| config.door.head_wait = SHORT).await?;
        for before in ["", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let mut stream = say(server.address, before).await?;
            if !before.is_empty() {
                let mut head = [0; 15];
                soon("an answer", stream.read_exact(&mut head)).await??;
                assert_eq!(&head, b"HTTP/1.1 200 OK");
            }
            let began = Instant::now();
            let (mut reads, mut writes) = stream.into_split();
            let drip = tokio::spawn(async move {
                for byte in b"GET /healthz HTTP/1.1\r\nx-slow: ".iter().cycle() {
                    if writes.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(SHORT / 20).await;
                }
            });
            let mut rest = Vec::new();
            let _ = soon("the cut", reads.read_to_end(&mut rest)).await?;
            let took = began.elapsed();
            drip.abort();
            ensure!(took > SHORT / 2 && took < SHORT * 6, "{took:?} instead of {SHORT:?}");
        }
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_may_rest_for_so_long_and_a_live_stream_for_ever() -> Result<()> {
    steady(async || {
        let server = Server::start_with(|config| config.door.rest_max = SHORT).await?;
        let client = server.client();
        client.create("s", &json!({})).await?;
        let mut readers = vec![client.follow("s", None).await?, Client::http2(server.address).follow("s", None).await?];
        let began = Instant::now();
        let mut stream = say(server.address, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let said = rest(&mut stream).await?;
        ensure!(said.starts_with(b"HTTP/1.1 200 OK") && began.elapsed() >= SHORT, "{:?}", began.elapsed());
        ensure!(began.elapsed() < SHORT * 6, "{:?} instead of {SHORT:?}", began.elapsed());
        client.append("s", &answer(1)).await?.expect(200)?;
        for reader in &mut readers {
            reader.take(2).await?;
        }
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_body_that_comes_too_slowly_is_408() -> Result<()> {
    steady(async || {
        let server = Server::start_with(|config| config.door.body_wait = SHORT).await?;
        let client = server.client();
        client.create("s", &json!({})).await?;
        let upload = client.upload("/v1/streams/s/events", &[("content-type", "application/json")]);
        let began = Instant::now();
        while began.elapsed() < SHORT * 2 {
            if upload.send(" ").await.is_err() {
                break;
            }
            tokio::time::sleep(SHORT / 20).await;
        }
        assert_eq!(upload.answer().await?.problem(), (408, "body_timeout".to_owned()));
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_body_that_brings_nothing_is_ended_and_what_came_is_kept() -> Result<()> {
    steady(async || {
        let server = Server::start_with(|config| config.door.append_idle = SHORT).await?;
        let client = server.client();
        let lines = answer(4);
        for kind in ["application/x-ndjson", "text/event-stream; dialect=events"] {
            let generation = client.create("s", &json!({})).await?;
            let upload = client.upload("/v1/streams/s/events", &[("content-type", kind)]);
            let framed = |line: &str| match kind {
                "application/x-ndjson" => format!("{line}\n"),
                _ => format!("data: {line}\n\n"),
            };
            for line in &lines {
                upload.send(framed(line)).await?;
                // Together longer than it may be silent.
                tokio::time::sleep(SHORT / 3).await;
            }
            upload.send(r#"{"event":"half"#).await?;
            let answer = soon("an answer", upload.answer()).await??;
            let said = answer.json();
            ensure!(answer.problem() == (408, "body_idle".to_owned()), "{kind}: {answer:?}");
            ensure!(said["appended"] == 5 && said["last"] == format!("{generation}-5"), "{kind}: {said}");
            assert_eq!(client.records("s").await?, lines);
            client.append("s", &[delta("on it goes")]).await?.expect(200)?;
        }
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_so_many_connections_and_no_more() -> Result<()> {
    let server = Server::start_with(|config| config.door.connections_max = Some(2)).await?;
    let held = [say(server.address, "GET ").await?, say(server.address, "GET ").await?];
    let mut third = wait::until("a refusal", async || {
        let mut stream = say(server.address, "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
        let said = rest(&mut stream).await?;
        Ok(said.starts_with(b"HTTP/1.1 503").then_some(said))
    })
    .await?;
    third.make_ascii_lowercase();
    ensure!(String::from_utf8_lossy(&third).contains("retry-after: 1"));
    drop(held);
    wait::until("a place", async || Ok(server.client().get("/healthz").await.ok().filter(|a| a.status == 200))).await?;
    server.stop().await
}

/// It answers pings, so its connection lives; but it takes nothing of what it asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_reader_that_grants_no_window_is_cut_and_its_neighbour_is_not() -> Result<()> {
    steady(async || {
        let server = Server::start_with(|config| config.stall_max = SHORT).await?;
        let client = server.client();
        client.create("s", &json!({})).await?;
        let stream = TcpStream::connect(server.address).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let open = || {
            let request = http::Request::get(format!("http://{}/v1/streams/s/events", server.address));
            let request = request.header("accept", "text/event-stream").body(Empty::<bytes::Bytes>::new());
            let mut sender = sender.clone();
            async move { Ok::<_, anyhow::Error>(sender.send_request(request?).await?) }
        };
        let (mut greedy, mut good) = (open().await?.into_body(), open().await?.into_body());
        let long = delta(&"x".repeat(100_000));
        let mut heard = 0;
        for _ in 0..40 {
            client.append("s", &[&long]).await?.expect(200)?;
            while heard < long.len() {
                let frame = soon("a frame", good.frame()).await?.context("the neighbour is not cut")??;
                heard += frame.into_data().map_or(0, |data| data.len());
            }
            heard -= long.len();
            tokio::time::sleep(SHORT / 20).await;
        }
        // What was on its way can still be read, then it is told that no more comes.
        let cut = soon("the cut", async {
            loop {
                match greedy.frame().await {
                    Some(Ok(_)) => {}
                    other => return other,
                }
            }
        })
        .await?;
        ensure!(matches!(cut, Some(Err(_))), "the answer broke off");
        ensure!(!connection.is_finished(), "the connection lives");
        connection.abort();
        server.stop().await
    })
    .await
}

/// Requests that are taken back at once, thousands in a row ("rapid reset").
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_resets_ends_that_connection_only() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let mut live = client.follow("s", None).await?;
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for id in (1..4001_u32).step_by(2) {
        // GET / http, authority "a"; then RST_STREAM, CANCEL.
        flood.extend([0, 0, 6, 1, 5].iter().chain(&id.to_be_bytes()).chain(&[0x82, 0x84, 0x86, 0x41, 1, b'a']));
        flood.extend([0, 0, 4, 3, 0].iter().chain(&id.to_be_bytes()).chain(&[0, 0, 0, 8]));
    }
    let mut stream = TcpStream::connect(server.address).await?;
    // It may be cut before all is written.
    let _ = stream.write_all(&flood).await;
    let said = rest(&mut stream).await?;
    // GOAWAY whose reason is ENHANCE_YOUR_CALM.
    let goaway = said.windows(17).any(|frame| frame[3] == 7 && frame[13..17] == [0, 0, 0, 0x0b]);
    ensure!(goaway || said.is_empty(), "{}", said.escape_ascii());
    client.append("s", &answer(1)).await?.expect(200)?;
    live.take(2).await?;
    server.stop().await
}
