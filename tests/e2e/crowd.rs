//! Many readers, slow ones, and ones that read nothing: each gets all of it in order, and none costs memory.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::command::Program;
use rejoin_tests::raw::Raw;
use rejoin_tests::server::Server;
use rejoin_tests::sse::Sse;
use rejoin_tests::steady::steady;
use rejoin_tests::wait::{all, until};
use rejoin_tests::{answer, delta};
use serde_json::{Value, json};

const EVENTS: &str = "/v1/streams/s/events";
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// More KiB than the kernel keeps of a connection on loopback (about 3 MiB): the rest waits in the server, or in the log.
const RECORDS: u64 = 4_500;

/// A record of one KiB that no fold looks at.
fn record(sequence: u64) -> String {
    format!("{{\"n\":{sequence},\"padding\":\"{}\"}}", "x".repeat(1000))
}

/// What a reader must get for the records strictly after `after`, and the end.
fn frames(generation: u64, after: u64) -> Vec<u8> {
    let mut all: String =
        (after + 1..=RECORDS).map(|n| format!("id: {generation}-{n}\ndata: {}\n\n", record(n))).collect();
    all.push_str(&format!("id: {generation}-{}\ndata: {{\"final\":true,\"done\":1}}\n\n", RECORDS + 1));
    all.into_bytes()
}

const RETRY: &[u8] = b"retry: 1000\n\n";

/// Pushes all records through one open body, `at_once` in a piece, and completes.
async fn produce(client: &Client, at_once: usize, mut meanwhile: impl AsyncFnMut(u64) -> Result<()>) -> Result<()> {
    let upload = client.upload(EVENTS, &[NDJSON]);
    let sequences: Vec<u64> = (1..=RECORDS).collect();
    for piece in sequences.chunks(at_once) {
        let lines: String = piece.iter().map(|n| format!("{}\n", record(*n))).collect();
        upload.send(lines).await?;
        meanwhile(*piece.last().context("no piece is empty")?).await?;
    }
    assert_eq!(upload.finish().await?.expect(200)?.json()["appended"], RECORDS);
    client.post("/v1/streams/s/complete", &json!({"finalEvent": {"done": 1}})).await?.expect(200)?;
    Ok(())
}

async fn subscribers(client: &Client) -> Result<u64> {
    client.get("/v1/stats").await?.expect(200)?.json()["subscribers"].as_u64().context("subscribers")
}

/// The sequence of the last whole frame.
fn last_whole(bytes: &[u8]) -> Result<(u64, usize)> {
    let end = bytes.windows(2).rposition(|pair| pair == b"\n\n").context("no whole frame")? + 2;
    let frames = std::str::from_utf8(&bytes[..end])?;
    let id = frames.lines().rfind(|line| line.starts_with("id: ")).context("no id")?;
    let (_, sequence) = id.split_once('-').context("a cursor")?;
    Ok((sequence.parse()?, end))
}

/// 200 readers, of which 50 read nothing. The program has little more memory in the end than the log itself and one page
/// and one connection's buffers (64 KiB each, and as much again in frames) for everybody: 5 MiB + 200 x 192 KiB. Measured: 6 MiB. If
/// those 50 had what they do not read kept for them, that would be some 100 MiB more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_read_nothing_cost_no_memory_and_are_cut_and_lose_nothing() -> Result<()> {
    steady(async || {
        let program = Program::start(&["--stall-max", "3s"]).await?;
        let client = program.client();
        let generation = client.create("s", &json!({"userId": "u"})).await?;
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(Raw::subscribe_unbuffered(program.address, EVENTS).await?);
        }
        let mut reading = Vec::new();
        for _ in 0..150 {
            let mut reader = Raw::subscribe(program.address, EVENTS).await?;
            reading.push(tokio::spawn(async move { reader.rest().await }));
        }
        until("all are connected", async || Ok((subscribers(&client).await? == 200).then_some(()))).await?;

        let before = program.memory_peak()?;
        produce(&client, 16, async |_| Ok(())).await?;
        let expected = [RETRY, &frames(generation, 0)].concat();
        for reader in reading {
            let bytes = reader.await??;
            assert!(expected.starts_with(&bytes), "{} bytes that are not those of the log", bytes.len());
            ensure!(bytes == expected, "cut after {} of {} bytes", bytes.len(), expected.len());
        }
        until("those who read nothing are cut", async || Ok((subscribers(&client).await? == 0).then_some(()))).await?;
        let grown = program.memory_peak()? - before;
        println!("{} KiB more memory", grown / 1024);
        assert!(grown < 40 << 20, "{} MiB more memory", grown >> 20);

        for mut reader in silent.drain(..2) {
            let mut bytes = reader.rest().await?;
            let (sequence, end) = last_whole(&bytes)?;
            ensure!(sequence < RECORDS, "it got everything although it read nothing: it was never stalled");
            bytes.truncate(end);
            let path = format!("{EVENTS}?after={generation}-{sequence}");
            let rest = Raw::subscribe(program.address, &path).await?.rest().await?;
            bytes.extend(rest.strip_prefix(RETRY).context("a new response begins with retry")?);
            assert!(expected.starts_with(&bytes), "cut at {sequence}: other bytes than those of the log");
            ensure!(bytes == expected, "cut at {sequence}: {} bytes instead of {}", bytes.len(), expected.len());
        }
        Ok(())
    })
    .await
}

/// It takes a sip while the producer works: the ring, which holds four records, is long past it when it reads on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_from_the_log_what_the_ring_has_dropped() -> Result<()> {
    let server = Server::start_with(|config| config.ring_bytes_max = 4096).await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    let mut pace = client.follow("s", None).await?;
    let mut slow = Raw::subscribe_unbuffered(server.address, EVENTS).await?;
    let mut bytes = slow.sip(1024).await?;
    produce(&client, 3, async |sequence| {
        // One append at a time, so that the ring is in use; and the slow one sips along for a while.
        while pace.frame().await?.id != Some(format!("{generation}-{sequence}")) {}
        if sequence % 60 == 0 && sequence < RECORDS / 2 {
            bytes.extend(slow.sip(1024).await?);
        }
        Ok(())
    })
    .await?;
    let expected = [RETRY, &frames(generation, 0)].concat();
    ensure!(bytes.len() < expected.len() / 4, "it is not slow: {} bytes", bytes.len());
    while let more = slow.sip(16 * 1024).await?
        && !more.is_empty()
    {
        bytes.extend(more);
    }
    ensure!(bytes == expected, "{} bytes instead of {}", bytes.len(), expected.len());
    server.stop().await
}

/// As long as it takes something now and then it stays, however far it is behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_little_by_little_is_not_cut() -> Result<()> {
    steady(async || {
        let stall_max = Duration::from_secs(2);
        let server = Server::start_with(|config| config.stall_max = stall_max).await?;
        let client = server.client();
        let generation = client.create("s", &json!({"userId": "u"})).await?;
        let mut slow = Raw::subscribe_unbuffered(server.address, EVENTS).await?;
        let mut bytes = slow.sip(1024).await?;
        produce(&client, 64, async |_| Ok(())).await?;
        let expected = [RETRY, &frames(generation, 0)].concat();
        // A MiB in the time after which it would be cut.
        let mut pace = tokio::time::interval(stall_max / 8);
        loop {
            pace.tick().await;
            let wanted = bytes.len() + (128 << 10);
            while bytes.len() < wanted {
                let more = slow.sip(64 * 1024).await?;
                if more.is_empty() {
                    assert!(expected.starts_with(&bytes), "{} bytes that are not those of the log", bytes.len());
                    ensure!(bytes == expected, "cut after {} of {} bytes", bytes.len(), expected.len());
                    return server.stop().await;
                }
                bytes.extend(more);
            }
        }
    })
    .await
}

const HEAVY: usize = 20_000;

/// Everything from here to the end follows in order: how many records that were.
async fn expect_run(mut reader: Sse, generation: u64, after: usize) -> Result<usize> {
    let mut at = after;
    while let Some(frame) = reader.next().await? {
        at += 1;
        ensure!(frame.id == Some(format!("{generation}-{at}")), "{:?} after {}", frame.id, at - 1);
        ensure!(frame.is_terminal() == (at == HEAVY + 2), "{} ends at {at}", frame.data);
        if at > 1 && at < HEAVY + 2 {
            ensure!(frame.data == delta(&format!("w{} ", at - 2)), "{at} is {}", frame.data);
        }
    }
    ensure!(at == HEAVY + 2, "it ends after {at}");
    Ok(at - after)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_joins_a_heavy_stream_gets_one_contiguous_run() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    let mut pace = client.follow("s", None).await?;
    let (upload, uploading) = (client.upload(EVENTS, &[NDJSON]), answer(HEAVY));
    let producer = tokio::spawn(async move {
        for lines in uploading.chunks(5) {
            upload.send(lines.iter().map(|line| format!("{line}\n")).collect::<String>()).await?;
        }
        upload.finish().await?.expect(200)
    });
    let mut joined = Vec::new();
    for join in 1..=6 {
        let seen = join * 3_000;
        while pace.frame().await?.id != Some(format!("{generation}-{seen}")) {}
        joined.push((client.follow("s", None).await?, 0));
        joined.push((client.follow("s", Some(&format!("{generation}-{seen}"))).await?, seen));
        let mut resumed = client.subscribe(&format!("{EVENTS}?resume=true"), &[]).await?;
        let sync = resumed.frame().await?;
        let covered = sync.id.as_deref().and_then(|id| id.split_once('-')).context("a cursor")?.1.parse()?;
        ensure!(covered >= seen, "the state covers {covered}, and {seen} was seen");
        let words: String = (0..covered - 1).map(|n| format!("w{n} ")).collect();
        let state: Value = sync.json()["resumeState"].clone();
        ensure!(state["aggregatedContent"] == json!([{"type": "text", "text": words}]), "another text at {covered}");
        joined.push((resumed, covered));
    }
    let readers = joined.into_iter().map(move |(reader, after)| expect_run(reader, generation, after));
    let reading = tokio::spawn(all(32, readers));
    assert_eq!(producer.await??.json()["appended"], HEAVY + 1);
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    assert_eq!(pace.rest().await?.len(), HEAVY + 2 - 18_000);
    assert_eq!(reading.await??.len(), 18);
    server.stop().await
}
