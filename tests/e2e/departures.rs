//! Clients that go at whatever byte or step of what they asked, and a server that ends at whatever moment of an answer:
//! what was said whole counts once, nobody is counted who is not there, and nothing of it is left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::client::Client;
use rejoin_tests::server::Server;
use rejoin_tests::tls::{Pair, shake_hands};
use rejoin_tests::wait::{all, soon, until};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
/// What waits for it waits for longer than any test does.
const NEVER: Duration = Duration::from_secs(3600);
/// Clients at a time.
const AT_ONCE: usize = 8;

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
enum Farewell {
    /// In order.
    Fin,
    /// At once: what is on its way in either direction is lost.
    Reset,
}

/// Connects, sends `request`, reads `read` bytes of what is said to it, and goes.
async fn visit(address: SocketAddr, request: &[u8], read: usize, farewell: Farewell) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    if matches!(farewell, Farewell::Reset) {
        stream.set_zero_linger()?;
    }
    stream.write_all(request).await?;
    let mut said = vec![0; read];
    let ended = soon("what it waits for", stream.read_exact(&mut said)).await?;
    ended.with_context(|| format!("{read} bytes of an answer"))?;
    Ok(())
}

/// A request of HTTP/1.1 for the path of a stream.
fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}").into_bytes()
}

/// Nobody is counted any more; the server ends without having to cut anything, and no task of it is left.
async fn leaves_nothing(server: Server) -> Result<()> {
    let app = server.app.clone();
    nobody_is_counted(&server).await?;
    soon("the server's end", server.stop()).await??;
    assert_eq!(Arc::strong_count(&app), 1, "a task of the server still holds it");
    Ok(())
}

async fn nobody_is_counted(server: &Server) -> Result<()> {
    let hub = &server.app.hub;
    let counted = async || Ok((hub.subscribers() == 0 && hub.listeners() == 0).then_some(()));
    until("nobody is counted", counted).await?;
    let permits = async || Ok((server.app.samples.available_permits() > 0).then_some(()));
    until("a permit is free", permits).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_goes_at_any_byte_has_said_its_whole_lines_once_when_it_repeats_all() -> Result<()> {
    let server = Server::start_with(|config| config.shutdown_max = NEVER).await?;
    let (client, address) = (server.client(), server.address);
    let lines = answer(2);
    let whole: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let chunked: String = lines.iter().map(|line| format!("{:x}\r\n{line}\n\r\n", line.len() + 1)).collect();
    let producer = "content-type: application/x-ndjson\r\nproducer-id: p\r\nproducer-seq: 1\r\n";
    let sized = format!("{producer}content-length: {}\r\n", whole.len());
    let open = format!("{producer}transfer-encoding: chunked\r\n");
    let mut visits = Vec::new();
    for (kind, headers, body) in [("sized", sized, whole.clone()), ("open", open, format!("{chunked}0\r\n\r\n"))] {
        let length = request("POST", "/v1/streams/0000/events", &headers, &body).len();
        for cut in 0..=length {
            let farewell = if cut % 2 == 0 { Farewell::Fin } else { Farewell::Reset };
            let (client, lines, whole) = (client.clone(), lines.clone(), whole.clone());
            let stream = format!("{kind}-{cut}");
            let request = request("POST", &format!("/v1/streams/{stream}/events"), &headers, &body);
            visits.push(async move {
                client.create(&stream, &json!({})).await?;
                let cut = cut + request.len() - length;
                visit(address, &request[..cut], 0, farewell).await?;
                // It may still be at work on what it has of that.
                let headers = [NDJSON, ("producer-id", "p"), ("producer-seq", "1")];
                let path = format!("/v1/streams/{stream}/events");
                let done = client.send("POST", &path, &headers, whole).await?.expect(200)?.json();
                let counted = done["appended"].as_u64().zip(done["duplicate"].as_u64()).map(|(one, two)| one + two);
                ensure!(counted == Some(lines.len() as u64), "{stream}: {done}");
                assert_eq!(client.records(&stream).await?, lines, "{stream}, {farewell:?}");
                assert_eq!(client.text(&stream).await?, "w0 w1 ", "{stream}");
                client.send("DELETE", &format!("/v1/streams/{stream}"), &[], "").await?.expect(204)?;
                Ok(())
            });
        }
    }
    all(AT_ONCE, visits).await?;
    drop(client);
    leaves_nothing(server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_or_listener_that_goes_at_any_byte_is_not_counted_and_takes_nothing_along() -> Result<()> {
    let server = Server::start_with(|config| config.shutdown_max = NEVER).await?;
    let (client, address) = (server.client(), server.address);
    client.create("s", &json!({})).await?;
    // More than a visitor waits for: whoever wants more than there is waits for ever.
    let lines = answer(30);
    client.append("s", &lines).await?.expect(200)?;
    let live = "accept: text/event-stream\r\n";
    let asked = ["events", "events?resume=true", "signals"];
    let asked = asked.map(|path| request("GET", &format!("/v1/streams/s/{path}"), live, ""));
    let mut visits = Vec::new();
    for request in &asked {
        for cut in 0..request.len() {
            let farewell = if cut % 2 == 0 { Farewell::Fin } else { Farewell::Reset };
            visits.push((request[..cut].to_vec(), 0, farewell));
        }
    }
    // A listener is told `retry` only, so it goes in the head of its answer.
    for (request, bytes) in [(&asked[0], 1200), (&asked[1], 500), (&asked[2], 150)] {
        for read in (0..bytes).step_by(7) {
            visits.push((request.clone(), read, if read % 2 == 0 { Farewell::Fin } else { Farewell::Reset }));
        }
    }
    let visits =
        visits.into_iter().map(|(asked, read, farewell)| async move { visit(address, &asked, read, farewell).await });
    let visits: Vec<_> = visits.collect();
    all(AT_ONCE, visits).await?;
    nobody_is_counted(&server).await?;
    let mut reader = client.follow("s", None).await?;
    let frames = reader.take(lines.len()).await?;
    ensure!(frames.iter().map(|frame| &frame.data).eq(&lines), "{frames:?}");
    drop((reader, client));
    leaves_nothing(server).await
}

/// One client that does everything, step by step; the errors of one whose server is gone are no faults. How many records
/// were acknowledged.
async fn busy(client: Client, generation: u64, lines: Vec<String>) -> usize {
    let mut acknowledged = 0;
    // What it gave up may still be under way when the next generation is there.
    let path = &format!("/v1/streams/s/events?generation={generation}");
    for (n, line) in lines.iter().enumerate() {
        let seq = n.to_string();
        let headers = [NDJSON, ("producer-id", "p"), ("producer-seq", seq.as_str())];
        let answer = match n % 2 {
            0 => client.send("POST", path, &headers, format!("{line}\n")).await,
            _ => {
                let upload = client.upload(path, &headers);
                let _ = upload.send(format!("{line}\n")).await;
                upload.finish().await
            }
        };
        match answer {
            Ok(answer) if answer.status == 200 => acknowledged = n + 1,
            _ => return acknowledged,
        }
    }
    acknowledged
}

/// Reads until it is let go. The records that it got.
async fn read(client: Client) -> Vec<String> {
    let Ok(mut reader) = client.follow("s", None).await else { return Vec::new() };
    let mut got = Vec::new();
    while let Ok(Some(frame)) = reader.next().await {
        got.push(frame.data);
    }
    got
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_give_up_at_any_step_over_both_versions_of_http_leave_nothing_behind() -> Result<()> {
    let server = Server::start_with(|config| config.shutdown_max = NEVER).await?;
    let client = server.client();
    let lines = answer(3);
    for (version, steps) in [("h1", 60), ("h2", 60)] {
        for step in 0..steps {
            let generation = client.create("s", &json!({})).await?;
            let caller = if version == "h1" { server.client() } else { Client::http2(server.address) };
            let producer = tokio::spawn(busy(caller.clone(), generation, lines.clone()));
            let reader = tokio::spawn(read(caller.clone()));
            let listener = tokio::spawn(async move {
                let mut heard = caller.subscribe("/v1/streams/s/signals", &[]).await?;
                heard.rest().await
            });
            for _ in 0..step * step / 4 {
                tokio::task::yield_now().await;
            }
            producer.abort();
            reader.abort();
            listener.abort();
            let _ = (producer.await, reader.await, listener.await);
            // Whatever it was in the middle of, the stream goes on for others at once.
            let said = client.records("s").await?;
            ensure!(lines.starts_with(&said), "{version}, step {step}: {said:?}");
            client.append("s", &lines[..1]).await?.expect(200)?;
            client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
        }
    }
    drop(client);
    leaves_nothing(server).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_told_to_end_at_any_moment_ends_by_itself_and_has_what_it_acknowledged() -> Result<()> {
    let lines = answer(5);
    for (round, http2) in (0..24).zip([false, true].into_iter().cycle()) {
        // Whatever waits for its deadline waits for ever.
        let mut server = Server::start_with(|config| {
            (config.shutdown_max, config.door.head_wait, config.door.rest_max) = (NEVER, NEVER, NEVER);
            config.sessions_max = 16;
        })
        .await?;
        let app = server.app.clone();
        let generation = server.client().create("s", &json!({})).await?;
        let client = || if http2 { Client::http2(server.address) } else { server.client() };
        let silent = TcpStream::connect(server.address).await?;
        let reader = tokio::spawn(read(client()));
        let listener = client();
        let listener = tokio::spawn(async move {
            let mut heard = listener.subscribe("/v1/streams/s/signals", &[]).await?;
            heard.rest().await
        });
        let producer = tokio::spawn(busy(client(), generation, lines.clone()));
        for _ in 0..round * round {
            tokio::task::yield_now().await;
        }
        server.begin_stop();
        soon("the server's end", server.stop()).await?.with_context(|| format!("round {round}"))?;
        let acknowledged = soon("the producer's", producer).await??;
        let got = soon("the reader's", reader).await??;
        // How a listener ends is shown elsewhere.
        let _ = soon("the listener's", listener).await?;
        drop(silent);
        assert_eq!((app.hub.subscribers(), app.hub.listeners()), (0, 0), "round {round}");
        assert_eq!(Arc::strong_count(&app), 1, "round {round}: a task of the server still holds it");
        let kept = kept(&app).await?;
        assert!(lines.starts_with(&kept) && kept.len() >= acknowledged, "round {round}: {acknowledged}, {kept:?}");
        assert!(kept.starts_with(&got), "round {round}: {got:?} of {kept:?}");
    }
    Ok(())
}

/// The records in a store whose server has ended.
async fn kept(app: &rejoin::app::App) -> Result<Vec<String>> {
    let stream = rejoin::types::StreamId::parse("s").map_err(|rule| anyhow::anyhow!(rule))?;
    let job = app.store.job(&stream).await?.context("the row")?;
    let start = rejoin::types::Cursor { generation: job.generation, sequence: 0 };
    match app.store.read(&stream, start, 1 << 20).await? {
        rejoin::store::Page::Entries(entries) => {
            let records = entries.iter().flat_map(rejoin::types::Entry::records);
            Ok(records.map(|(_, _, line)| String::from_utf8_lossy(line).into_owned()).collect())
        }
        other => anyhow::bail!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_goes_nowhere_does_not_hold_up_the_end() -> Result<()> {
    let pair = Pair::new()?;
    let (certificate, key) = (pair.certificate(), pair.key());
    let mut server = Server::start_with(|config| {
        (config.shutdown_max, config.door.head_wait) = (NEVER, NEVER);
        (config.tls.tls_cert_file, config.tls.tls_key_file) = (Some(certificate), Some(key));
    })
    .await?;
    let app = server.app.clone();
    let silent = TcpStream::connect(server.address).await?;
    // Whoever comes later is taken in later.
    shake_hands(server.address, &pair.now()?, &[], rustls::ALL_VERSIONS).await?;
    server.begin_stop();
    soon("the server's end", server.stop()).await??;
    assert_eq!(Arc::strong_count(&app), 1, "a task of the server still holds it");
    drop(silent);
    Ok(())
}
