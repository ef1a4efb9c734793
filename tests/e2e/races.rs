//! Whoever races whom: one wins, the others are told who, and the log has one end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use rejoin_tests::answer;
use rejoin_tests::client::{Answer, Client};
use rejoin_tests::server::Server;
use rejoin_tests::sse::Frame;
use rejoin_tests::wait::all;
use serde_json::{Value, json};
use tokio::sync::Barrier;

/// Sends all requests at the same time; the answers in their order.
async fn at_once(client: &Client, requests: &[(String, Value)]) -> Result<Vec<Answer>> {
    let start = Arc::new(Barrier::new(requests.len()));
    let requests = requests.iter().cloned().map(|(path, body)| {
        let (client, start) = (client.clone(), start.clone());
        tokio::spawn(async move {
            start.wait().await;
            client.post(&path, &body).await
        })
    });
    let mut answers = Vec::new();
    for answer in requests.collect::<Vec<_>>() {
        answers.push(answer.await??);
    }
    Ok(answers)
}

/// The race of `round` in another order each time, so that nobody always begins; the answers in the order given.
async fn shuffled(client: &Client, round: u64, requests: &[(String, Value)]) -> Result<Vec<Answer>> {
    let turn = usize::try_from(round)? % requests.len();
    let mut turned = requests.to_vec();
    turned.rotate_left(turn);
    let mut answers = at_once(client, &turned).await?;
    answers.rotate_right(turn);
    Ok(answers)
}

/// How a stream ended for one who was connected, and that it did so once, as the last thing.
fn only_end(frames: &[Frame]) -> Result<&Frame> {
    let ends = frames.iter().filter(|frame| frame.is_terminal()).count();
    ensure!(ends == 1, "{ends} ends: {frames:?}");
    let last = frames.last().context("no frame")?;
    ensure!(last.is_terminal(), "more after the end: {frames:?}");
    Ok(last)
}

/// How often each side won.
#[derive(Default)]
struct Won([AtomicU64; 3]);

impl Won {
    fn count(&self, who: usize) {
        self.0[who].fetch_add(1, Ordering::Relaxed);
    }

    fn all(&self) -> [u64; 3] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

async fn complete_against_abort(client: Client, round: u64, won: Arc<Won>) -> Result<()> {
    let stream = format!("race-{round}");
    client.create(&stream, &json!({"userId": format!("u{}", round % 64)})).await?;
    client.append(&stream, &answer(1)).await?.expect(200)?;
    let mut live = client.follow(&stream, None).await?;
    let requests = [
        (format!("/v1/streams/{stream}/complete"), json!({"finalEvent": {"by": "complete"}})),
        (format!("/v1/streams/{stream}/abort"), json!({})),
    ];
    let answers = shuffled(&client, round, &requests).await?;
    let [completed, aborted] = &answers[..] else { bail!("two answers") };

    let frames = live.rest().await?;
    let end = only_end(&frames)?;
    let status = match (completed.status, aborted.status) {
        (200, 409) => {
            won.count(0);
            ensure!(aborted.refused(409, "already_settled")?["jobStatus"] == "complete");
            ensure!(end.data == r#"{"final":true,"by":"complete"}"#, "{}", end.data);
            "complete"
        }
        (409, 200) => {
            won.count(1);
            ensure!(completed.refused(409, "not_active")?["jobStatus"] == "aborted");
            ensure!(end.json()["aborted"] == true, "{}", end.data);
            ensure!(aborted.json()["finalEvent"] == end.json(), "the abort answers another end than its record");
            "aborted"
        }
        both => bail!("{both:?}"),
    };
    ensure!(client.state(&stream).await?["status"] == status);
    let log = client.records(&stream).await?;
    ensure!(log.len() == 3 && log[2] == end.data, "the log: {log:?}");
    client.send("DELETE", &format!("/v1/streams/{stream}"), &[], "").await?.expect(204)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_complete_and_abort_one_wins_a_thousand_times() -> Result<()> {
    let server = Server::start().await?;
    let won = Arc::new(Won::default());
    all(8, (0..1000).map(|round| complete_against_abort(server.client(), round, won.clone()))).await?;
    let [completed, aborted, _] = won.all();
    println!("complete won {completed} times, abort {aborted} times");
    ensure!(completed > 0 && aborted > 0 && completed + aborted == 1000, "{completed} and {aborted}");
    server.stop().await
}

async fn three_way(client: Client, round: u64, won: Arc<Won>) -> Result<()> {
    let stream = format!("race-{round}");
    let user = json!({"userId": format!("u{}", round % 64)});
    let old = client.create(&stream, &user).await?;
    client.append(&stream, &answer(1)).await?.expect(200)?;
    let mut live = client.follow(&stream, None).await?;
    let requests = [
        (format!("/v1/streams/{stream}/complete?generation={old}"), json!({"finalEvent": {"by": "complete"}})),
        (format!("/v1/streams/{stream}/abort"), json!({"generation": old})),
        (format!("/v1/streams/{stream}"), user),
    ];
    let answers = shuffled(&client, round, &requests).await?;
    let [completed, aborted, replaced] = &answers[..] else { bail!("three answers") };
    ensure!(replaced.status == 201, "a new generation may replace the job in any status: {replaced:?}");
    let new = replaced.json()["generation"].as_u64().context("a generation")?;
    ensure!(new > old, "{new} after {old}");

    let frames = live.rest().await?;
    let end = only_end(&frames)?.json();
    match (completed.status, aborted.status) {
        (200, 409) => won.count(0),
        (409, 200) => won.count(1),
        (409, 409) => won.count(2),
        both => bail!("{both:?}"),
    }
    for (answer, own) in [(completed, "not_active"), (aborted, "already_settled")] {
        // Told who won: the other one, or the new generation.
        match (answer.status, answer.problem().1.as_str()) {
            (200, _) => {}
            (409, "generation_replaced") => ensure!(answer.json()["generation"] == new),
            (409, code) if code == own => ensure!(answer.json()["jobStatus"] != "running"),
            other => bail!("{other:?}"),
        }
    }
    // A reader may learn of the new generation before it has read the end of the old one; never of two ends.
    if end["reconcile"] == true {
        ensure!(end["reconcileReason"] == "generation_replaced" && end["generation"] == new, "{end}");
    } else if end["aborted"] == true {
        ensure!(aborted.status == 200, "{end}, but the abort lost");
    } else {
        ensure!(end["by"] == "complete" && completed.status == 200, "{end}, but complete lost");
    }
    let state = client.state(&stream).await?;
    ensure!(state["status"] == "running" && state["generation"] == new, "{state}");
    ensure!(client.log(&stream).await?.is_empty(), "the new log begins empty");
    client.send("DELETE", &format!("/v1/streams/{stream}"), &[], "").await?.expect(204)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_complete_abort_and_replace_each_finds_one_end() -> Result<()> {
    let server = Server::start().await?;
    let won = Arc::new(Won::default());
    all(8, (0..500).map(|round| three_way(server.client(), round, won.clone()))).await?;
    let [completed, aborted, replaced] = won.all();
    println!("complete won {completed} times, abort {aborted} times, the new generation {replaced} times");
    ensure!(completed > 0 && aborted > 0 && replaced > 0, "{completed}, {aborted} and {replaced}");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_who_answer_an_action_one_wins() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({"userId": "u"})).await?;
    let mut live = client.follow("s", None).await?;
    for round in 0..5 {
        let id = format!("a{round}");
        let request = json!({"type": "request", "action": {"id": id, "tool": "rm"}});
        let paused = client.post("/v1/streams/s/action", &request).await?.expect(200)?.json();
        assert_eq!(paused["job"]["status"], "requires_action");
        assert_eq!(client.get("/v1/streams/s/resume").await?.json()["pendingAction"]["id"], id);
        client.post("/v1/streams/s/action", &request).await?.refused(409, "requires_action")?;
        client.post("/v1/streams/s/complete", &json!({})).await?.refused(409, "requires_action")?;
        let other = json!({"type": "resolve", "actionId": "another", "decision": 0});
        client.post("/v1/streams/s/action", &other).await?.refused(409, "no_such_action")?;

        let resolve = |n: usize| {
            let body = json!({"type": "resolve", "actionId": id, "decision": {"by": n}});
            ("/v1/streams/s/action".to_owned(), body)
        };
        let answers = at_once(&client, &(0..50).map(resolve).collect::<Vec<_>>()).await?;
        let winners: Vec<usize> = (0..50).filter(|n| answers[*n].status == 200).collect();
        let [winner] = winners[..] else { bail!("{} winners", winners.len()) };
        for loser in answers.iter().filter(|answer| answer.status != 200) {
            loser.refused(409, "no_such_action")?;
        }
        assert_eq!(answers[winner].json()["job"]["status"], "running");
        assert_eq!(live.frame().await?.json()["event"], "on_action_requested");
        let resolved = live.frame().await?.json();
        let expected = json!({"actionId": id, "decision": {"by": winner}});
        assert_eq!(resolved, json!({"event": "on_action_resolved", "data": expected}));
        assert_eq!(client.get("/v1/streams/s/resume").await?.json()["pendingAction"], Value::Null);
    }
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    assert_eq!(live.rest().await?.len(), 1, "the losers left nothing in the log");
    server.stop().await
}

/// Two producers that append at the same time: both get in, whole appends one after the other, nothing lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_that_append_at_once_all_get_in_without_mixing() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    let mut live = client.follow("s", None).await?;
    let appends = (0..200).map(|n| {
        let client = client.clone();
        async move {
            let lines: Vec<String> = (0..3).map(|part| format!("{{\"n\":{n},\"part\":{part}}}")).collect();
            let answer = client.append("s", &lines).await?.expect(200)?.json();
            Ok((n, answer["first"].as_str().context("a cursor")?.to_owned()))
        }
    });
    let answered = all(16, appends).await?;
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    let frames = live.rest().await?;
    assert_eq!(frames.len(), 601);
    for (frame, sequence) in frames.iter().zip(1..) {
        assert_eq!(frame.id, Some(format!("{generation}-{sequence}")));
    }
    for (n, first) in answered {
        let at = frames.iter().position(|frame| frame.id.as_deref() == Some(&first)).context("its cursor")?;
        let parts: Vec<Value> = frames[at..at + 3].iter().map(Frame::json).collect();
        assert_eq!(parts, [0, 1, 2].map(|part| json!({"n": n, "part": part})));
    }
    server.stop().await
}
