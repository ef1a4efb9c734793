//! What producers hear while they work, and what late ones hear at once.

use std::time::Duration;

use anyhow::{Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::client::Client;
use rejoin_tests::server::Server;
use rejoin_tests::sse::Sse;
use serde_json::{Value, json};

const SIGNALS: &str = "/v1/streams/s/signals";

/// Its keep-alives, with which a lost signal is made up for, come later than any test waits.
async fn start() -> Result<Server> {
    Server::start_with(|config| config.keep_alive = Duration::from_secs(3600)).await
}

async fn create(client: &Client) -> Result<u64> {
    client.create("s", &json!({"userId": "u"})).await
}

async fn listen(client: &Client) -> Result<Sse> {
    client.subscribe(SIGNALS, &[]).await
}

/// The next signal is this one, by its event and in its data.
async fn expect(listener: &mut Sse, name: &str, generation: u64) -> Result<Value> {
    let frame = listener.frame().await?;
    let json = frame.json();
    ensure!(frame.event.as_deref() == Some(name) && json["signal"] == name, "{frame:?} instead of {name}");
    ensure!(json["generation"] == generation, "{frame:?} of another generation than {generation}");
    ensure!(frame.id.is_none(), "a signal is not a place to resume from: {frame:?}");
    Ok(json)
}

/// Nothing follows.
async fn expect_end(listener: &mut Sse) -> Result<()> {
    let more = listener.next().await?;
    ensure!(more.is_none(), "{more:?} after the last signal");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_comes_with_the_first_reader_and_to_late_listeners_at_once() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    let generation = create(&client).await?;
    let mut early = listen(&client).await?;
    let first = client.follow("s", None).await?;
    expect(&mut early, "ready", generation).await?;
    let second = client.follow("s", None).await?;
    let mut late = listen(&client).await?;
    expect(&mut late, "ready", generation).await?;
    drop(first);
    // Whether a second "ready" came before is seen by what comes next.
    client.post("/v1/streams/s/abort", &json!({})).await?.expect(200)?;
    for listener in [&mut early, &mut late] {
        expect(listener, "abort", generation).await?;
        expect_end(listener).await?;
    }
    drop(second);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_is_no_reader() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    let generation = create(&client).await?;
    let mut one = listen(&client).await?;
    let mut other = listen(&client).await?;
    assert_eq!(client.get("/v1/stats").await?.json()["subscribers"], 0);
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    for listener in [&mut one, &mut other] {
        assert_eq!(expect(listener, "settled", generation).await?["status"], "complete", "and no ready before");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_last_reader_leaves_producers_get_the_content_so_far() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    let generation = create(&client).await?;
    let mut listener = listen(&client).await?;
    for (count, words) in [(1, "w0 "), (2, "w0 w0 w1 ")] {
        let (mut one, two) = (client.follow("s", None).await?, client.follow("s", None).await?);
        expect(&mut listener, "ready", generation).await?;
        let lines = if count == 1 { answer(1) } else { answer(2).split_off(1) };
        client.append("s", &lines).await?.expect(200)?;
        one.frame().await?;
        drop(two);
        drop(one);
        let left = expect(&mut listener, "subscribers_left", generation).await?;
        assert_eq!(left["content"], json!([{"type": "text", "text": words}]));
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_is_heard_by_who_listens_and_by_who_comes_later() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    let generation = create(&client).await?;
    let mut early = listen(&client).await?;
    client.post("/v1/streams/s/abort", &json!({"generation": generation})).await?.expect(200)?;
    let mut late = listen(&client).await?;
    for listener in [&mut early, &mut late] {
        expect(listener, "abort", generation).await?;
        expect_end(listener).await?;
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_hears_which_generation_replaced_its_own() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    let old = create(&client).await?;
    let mut early = listen(&client).await?;
    let new = create(&client).await?;
    // A zombie that asks for its own generation hears the same.
    let mut late = client.subscribe(&format!("{SIGNALS}?generation={old}"), &[]).await?;
    for listener in [&mut early, &mut late] {
        assert_eq!(expect(listener, "replaced", old).await?["by"], new);
        expect_end(listener).await?;
    }
    let mut present = listen(&client).await?;
    let _reader = client.follow("s", None).await?;
    expect(&mut present, "ready", new).await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_s_answer_reaches_the_producer_whole() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    let generation = create(&client).await?;
    let mut listener = listen(&client).await?;
    for (n, decision) in [json!({"ok": [1, null, "ja\n"]}), json!(false), Value::Null].into_iter().enumerate() {
        let id = format!("a \"{n}\"");
        let request = json!({"type": "request", "action": {"id": id}});
        client.post("/v1/streams/s/action", &request).await?.expect(200)?;
        let answer = json!({"type": "resolve", "actionId": id, "decision": decision});
        client.post("/v1/streams/s/action", &answer).await?.expect(200)?;
        let heard = expect(&mut listener, "action_resolved", generation).await?;
        assert_eq!((&heard["actionId"], &heard["decision"]), (&json!(id), &decision));
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_job_is_the_last_signal() -> Result<()> {
    let server = start().await?;
    let client = server.client();
    for (body, status) in [(json!({}), "complete"), (json!({"error": "no"}), "error")] {
        let generation = create(&client).await?;
        let mut early = listen(&client).await?;
        client.post("/v1/streams/s/complete", &body).await?.expect(200)?;
        let mut late = listen(&client).await?;
        for listener in [&mut early, &mut late] {
            assert_eq!(expect(listener, "settled", generation).await?["status"], status);
            expect_end(listener).await?;
        }
    }
    server.stop().await
}
