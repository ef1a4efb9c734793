//! Model providers' bodies as they come off the wire, in any pieces, against a second reading of the same chunks.

mod bodies;

use anyhow::{Context, Result};
use rejoin_tests::client::Client;
use rejoin_tests::random::Random;
use rejoin_tests::server::Server;
use serde_json::{Value, json};

use bodies::{Body, all, own, stored};

async fn check_live(client: &Client, body: &Body, random: &mut Random) -> Result<()> {
    let stream = &*body.name;
    client.create(stream, &json!({})).await?;
    let mut live = client.follow(stream, None).await?;
    let kind = body.content_type();
    let upload = client.upload(&format!("/v1/streams/{stream}/events"), &[("content-type", &kind)]);
    let longest = 1 << random.below(12);
    for piece in random.pieces(body.text.as_bytes(), longest) {
        upload.send(piece).await?;
    }
    let done = upload.finish().await?.expect(200)?.json();
    client.post(&format!("/v1/streams/{stream}/complete"), &json!({})).await?.expect(200)?;

    let log = client.log(stream).await?;
    assert_eq!(done["appended"], log.len() - 1, "{done}");
    let frames = live.rest().await?;
    let frames: Vec<_> = frames.into_iter().map(|frame| (frame.id.unwrap_or_default(), frame.data)).collect();
    assert_eq!(frames, log, "the live stream and the page say the same");
    assert_eq!(stored(&client.state(stream).await?)?, body.seen(), "in pieces of up to {longest}");
    let events: Vec<Value> = log.iter().map(|(_, record)| Ok(serde_json::from_str(record)?)).collect::<Result<_>>()?;
    let count = |event: &str| events.iter().filter(|record| record["event"] == event).count();
    assert_eq!((count("on_finish"), count("on_usage") + count("on_error")), (1, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_body_in_any_pieces_becomes_the_content_that_it_says() -> Result<()> {
    let server = Server::start().await?;
    let mut random = Random::new();
    for body in all()? {
        check_live(&server.client(), &body, &mut random).await.with_context(|| body.name.clone())?;
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_one_generation_keep_apart_one_after_the_other_and_at_the_same_time() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("after", &json!({})).await?;
    let bodies = own()?;
    for body in &bodies {
        let headers = [("content-type", &*body.content_type())];
        client.send("POST", "/v1/streams/after/events", &headers, body.text.clone()).await?.expect(200)?;
    }
    let said = bodies[0].seen();
    // Calls keep their id over all bodies: three times the same one is one part.
    let seen = stored(&client.state("after").await?)?;
    assert_eq!((seen.text, seen.reasoning), (said.text.repeat(3), said.reasoning.repeat(3)));

    // Bodies that are read at the same moment must not take the same place: often enough to meet that moment.
    for _ in 0..40 {
        client.create("beside", &json!({})).await?;
        let mut live = client.follow("beside", None).await?;
        let pieces: Vec<Vec<&str>> = bodies.iter().map(|body| body.text.split_inclusive("\n\n").collect()).collect();
        let uploads: Vec<_> = bodies
            .iter()
            .map(|body| client.upload("/v1/streams/beside/events", &[("content-type", &*body.content_type())]))
            .collect();
        let longest = pieces.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..longest {
            for (upload, pieces) in uploads.iter().zip(&pieces) {
                if let Some(piece) = pieces.get(at) {
                    upload.send((*piece).to_owned()).await?;
                }
            }
            // Each body has begun before the first one ends.
            if at == 3 {
                live.take(3).await?;
            }
        }
        for upload in uploads {
            upload.finish().await?.expect(200)?;
        }
        let state = client.state("beside").await?;
        let parts = state["content"].as_array().context("content")?;
        for (kind, wanted) in [("text", &said.text), ("think", &said.reasoning)] {
            let found: Vec<_> = parts.iter().filter(|part| part["type"] == kind).collect();
            assert_eq!(found.len(), 3, "{state}");
            assert!(found.iter().all(|part| part[kind] == **wanted), "{state}");
        }
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_chunk_is_named_by_its_line_and_all_before_it_is_kept() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let mut random = Random::new();
    for body in own()? {
        let headers = [("content-type", &*body.content_type())];
        let events: Vec<&str> = body.text.split_inclusive("\n\n").collect();
        for broken in ["data: {\"id\":\n\n", "data: [1]\n\n", "data: 7\n\n", "event: x\ndata: oops\n\n"] {
            for at in 1..events.len().min(8) {
                // The whole body up to there, as if it had ended there by itself, is what must be kept.
                let before = events[..at].concat();
                client.create("before", &json!({})).await?;
                let upload = client.upload("/v1/streams/before/events", &headers);
                upload.send(before.clone()).await?;
                let kept = client.create("s", &json!({})).await?;
                let cut = before.clone() + broken + &events[at..].concat();
                let bad = client.upload("/v1/streams/s/events", &headers);
                for piece in random.pieces(cut.as_bytes(), 40) {
                    if bad.send(piece).await.is_err() {
                        break;
                    }
                }
                let problem = bad.answer().await?.refused(422, "invalid_chunk")?;
                let line = before.lines().count() + 1 + usize::from(broken.starts_with("event"));
                assert_eq!(problem["line"], line, "{} {at}: {problem}", body.name);
                let log = client.log("s").await?;
                assert_eq!(problem["appended"], log.len(), "{} {at}: {problem}", body.name);
                let last = log.last().map(|(cursor, _)| cursor.clone());
                assert_eq!(problem["last"].as_str(), last.as_deref(), "{} {at}", body.name);
                if let Some(last) = last {
                    assert_eq!(last, format!("{kept}-{}", log.len()));
                }
                // The other body is still open and has the same records, none of its end.
                let mut live = client.follow("before", None).await?;
                for (_, record) in &log {
                    assert_eq!(live.frame().await?.data, *record, "{} {at}", body.name);
                }
                upload.cut();
            }
        }
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_sends_no_utf8_keeps_what_came_before() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    for body in own()? {
        client.create("s", &json!({})).await?;
        let events: Vec<&str> = body.text.split_inclusive("\n\n").collect();
        let before = events[..3].concat();
        let bytes = [before.as_bytes(), b"data: {\"x\":\"\xe2\x82\"}\n\n", events[3..].concat().as_bytes()].concat();
        let headers = [("content-type", &*body.content_type())];
        let problem =
            client.send("POST", "/v1/streams/s/events", &headers, bytes).await?.refused(422, "invalid_utf8")?;
        assert_eq!(problem["line"], before.lines().count() + 1, "{}: {problem}", body.name);
        assert_eq!(problem["appended"], client.records("s").await?.len(), "{}: {problem}", body.name);
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_records_in_events_is_the_records() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let mut random = Random::new();
    let lines = rejoin_tests::answer(20);
    for end in ["\n", "\r\n"] {
        client.create("s", &json!({})).await?;
        let mut body = format!("\u{feff}: hello{end}retry: 5{end}{end}");
        for (line, at) in lines.iter().zip(1..) {
            body += &format!("id: {at}{end}event: x{end}data: {line}{end}{end}");
        }
        let upload = client.upload("/v1/streams/s/events", &[("content-type", "text/event-stream; dialect=events")]);
        for piece in random.pieces(body.as_bytes(), 30) {
            upload.send(piece).await?;
        }
        assert_eq!(upload.finish().await?.expect(200)?.json()["appended"], lines.len());
        assert_eq!(client.records("s").await?, lines);
    }
    server.stop().await
}
