//! Repeats are harmless: of a create by its key, of an append by producer and number.

use anyhow::{Context, Result};
use bytes::Bytes;
use rejoin_tests::answer;
use rejoin_tests::client::{Answer, Client};
use rejoin_tests::random::Random;
use rejoin_tests::server::Server;
use serde_json::{Value, json};

const EVENTS: &str = "/v1/streams/s/events";

async fn create(client: &Client, stream: &str, key: &str) -> Result<Answer> {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    client.send("POST", &format!("/v1/streams/{stream}"), &headers, r#"{"userId":"u"}"#).await
}

fn headers<'a>(id: &'a str, seq: &'a str) -> [(&'static str, &'a str); 3] {
    [("content-type", "application/x-ndjson"), ("producer-id", id), ("producer-seq", seq)]
}

async fn produce(client: &Client, id: &str, seq: u64, lines: &[String]) -> Result<Answer> {
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    client.send("POST", EVENTS, &headers(id, &seq.to_string()), body).await
}

/// Appended, repeated, and the sequences of the first and last record.
fn counts(answer: &Answer) -> (Option<u64>, Option<u64>, Option<u64>, Option<u64>) {
    let body = answer.json();
    let sequence = |cursor: &Value| cursor.as_str()?.split_once('-')?.1.parse().ok();
    (body["appended"].as_u64(), body["duplicate"].as_u64(), sequence(&body["first"]), sequence(&body["last"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_with_a_key_that_was_there_is_the_same_generation() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let first = create(&client, "s", "k1").await?.expect(201)?.json();
    client.append("s", &answer(2)).await?.expect(200)?;
    let again = create(&client, "s", "k1").await?.expect(200)?.json();
    assert_eq!((&again["generation"], &again["streamId"]), (&first["generation"], &first["streamId"]));
    assert_eq!(client.records("s").await?.len(), 3, "the log goes on");
    // The session may be gone in between: the key is in the row.
    server.app.sessions.forget(&rejoin::types::StreamId::parse("s").map_err(anyhow::Error::msg)?);
    assert_eq!(create(&client, "s", "k1").await?.expect(200)?.json()["generation"], first["generation"]);

    let second = create(&client, "s", "k2").await?.expect(201)?.json();
    assert!(second["generation"].as_u64() > first["generation"].as_u64());
    let stale = create(&client, "s", "k1").await?.refused(409, "generation_replaced")?;
    assert_eq!(stale["generation"], second["generation"], "a late repeat replaces nothing");
    assert_eq!(create(&client, "other", "k1").await?.expect(201)?.json()["streamId"], "other");
    for bad in ["", &"k".repeat(257)] {
        create(&client, "s", bad).await?.refused(400, "invalid_header")?;
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_creates_with_one_key_that_come_together_one_makes_the_generation() -> Result<()> {
    let server = Server::start().await?;
    for round in 0..10 {
        let stream = format!("s{round}");
        let creating: Vec<_> = (0..8)
            .map(|_| {
                let (client, stream) = (server.client(), stream.clone());
                tokio::spawn(async move { create(&client, &stream, "key").await })
            })
            .collect();
        let mut answers = Vec::new();
        for create in creating {
            answers.push(create.await??);
        }
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
        let generations: Vec<_> = answers.iter().map(|answer| answer.json()["generation"].clone()).collect();
        assert!(generations.iter().all(|generation| *generation == generations[0]), "{generations:?}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_sent_again_adds_nothing_and_gets_its_answer_again() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let lines = answer(5);
    let (one, two) = lines.split_at(3);
    assert_eq!(counts(&produce(&client, "p", 1, one).await?.expect(200)?), (Some(3), Some(0), Some(1), Some(3)));
    assert_eq!(counts(&produce(&client, "p", 1, one).await?.expect(200)?), (Some(0), Some(3), Some(1), Some(3)));
    assert_eq!(counts(&produce(&client, "p", 2, two).await?.expect(200)?), (Some(3), Some(0), Some(4), Some(6)));
    server.app.sessions.forget(&rejoin::types::StreamId::parse("s").map_err(anyhow::Error::msg)?);
    assert_eq!(counts(&produce(&client, "p", 2, two).await?.expect(200)?), (Some(0), Some(3), Some(4), Some(6)));
    let late = counts(&produce(&client, "p", 1, one).await?.expect(200)?);
    assert_eq!((late.0, late.1), (Some(0), Some(3)), "an older request is a repeat as well");
    assert_eq!(client.records("s").await?, lines);

    // Another producer counts for itself.
    assert_eq!(
        counts(&produce(&client, "q", 1, &lines[..1]).await?.expect(200)?),
        (Some(1), Some(0), Some(7), Some(7))
    );
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_was_cut_goes_on_where_it_stopped() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let mut random = Random::new();
    let lines = answer(30);
    for round in 0..8 {
        client.create("s", &json!({})).await?;
        let mut live = client.follow("s", None).await?;
        let known = 1 + random.below(lines.len() - 1);
        let upload = client.upload(EVENTS, &headers("p", "0"));
        let cut: String = lines[..known].iter().map(|line| format!("{line}\n")).collect();
        // The line that is cut counts for nothing.
        upload.send(cut + &lines[known][..lines[known].len() / 2]).await?;
        live.take(known).await?;
        upload.cut();
        let done = counts(&produce(&client, "p", 0, &lines).await?.expect(200)?);
        let (all, known) = (lines.len() as u64, known as u64);
        assert_eq!(done, (Some(all - known), Some(known), Some(1), Some(all)), "round {round}");
        let rest = live.take(lines.len() - usize::try_from(known)?).await?;
        assert_eq!(rest.last().context("the rest")?.data, lines[lines.len() - 1]);
        assert_eq!(client.records("s").await?, lines, "round {round}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_line_can_be_mended_under_the_same_number() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let lines = answer(2);
    let broken = [lines[0].clone(), "{".into(), lines[2].clone()];
    let problem = produce(&client, "p", 1, &broken).await?;
    problem.refused(422, "invalid_record")?;
    assert_eq!(counts(&problem), (Some(1), Some(0), Some(1), Some(1)));
    assert_eq!(counts(&produce(&client, "p", 1, &lines).await?.expect(200)?), (Some(2), Some(1), Some(1), Some(3)));
    assert_eq!(client.records("s").await?, lines);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_skips_is_refused_with_the_one_expected() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let lines = answer(1);
    produce(&client, "p", 1, &lines[..1]).await?.expect(200)?;
    let problem = produce(&client, "p", 3, &lines[1..]).await?.refused(409, "producer_gap")?;
    assert_eq!((&problem["expected"], &problem["appended"]), (&json!(2), &json!(0)), "{problem}");
    assert_eq!(client.records("s").await?.len(), 1);
    produce(&client, "p", 2, &lines[1..]).await?.expect(200)?;
    for half in [&[("producer-id", "p")][..], &[("producer-seq", "3")]] {
        client.send("POST", EVENTS, half, Bytes::from_static(b"{}")).await?.refused(400, "invalid_header")?;
    }
    for (id, seq) in [("p", "-1"), ("p", "x"), ("p", ""), ("", "3"), (&*"i".repeat(129), "3")] {
        client.send("POST", EVENTS, &headers(id, seq), "{}").await?.refused(400, "invalid_header")?;
    }
    assert_eq!(client.records("s").await?, lines);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_twice_at_once_is_once_in_the_log() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let lines = answer(200);
    let body: Bytes = lines.iter().map(|line| format!("{line}\n")).collect::<String>().into();
    let mut random = Random::new();
    for round in 0..10 {
        client.create("s", &json!({})).await?;
        let mut sending = Vec::new();
        for _ in 0..3 {
            let pieces = random.pieces(&body, 2000);
            let upload = client.upload(EVENTS, &headers("p", "7"));
            sending.push(tokio::spawn(async move {
                for piece in pieces {
                    upload.send(piece).await?;
                }
                upload.finish().await
            }));
        }
        let mut appended = 0;
        for request in sending {
            let answer = request.await??.expect(200)?;
            let (new, repeated, first, last) = counts(&answer);
            assert_eq!((first, last), (Some(1), Some(201)), "round {round}");
            assert_eq!(new.zip(repeated).map(|(new, repeated)| new + repeated), Some(201), "round {round}");
            appended += new.unwrap_or(0);
        }
        assert_eq!(appended, 201, "round {round}");
        assert_eq!(client.records("s").await?, lines, "round {round}");
    }
    server.stop().await
}
