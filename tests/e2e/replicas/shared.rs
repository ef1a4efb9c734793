//! What one host was told, the other one knows: keys of repeated requests, answers of a person, lists, counts, groups.

use anyhow::{Context, Result, ensure};
use rejoin_tests::redis::Server;
use rejoin_tests::sse::Sse;
use rejoin_tests::{answer, delta};
use serde_json::{Value, json};

use super::{blocking, turn, two};

const STREAM: &str = "/v1/streams/s";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_repeated_at_the_other_host_is_done_once() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let [here, there] = two(&redis.url(), &[]).await?;
    let (near, far) = (here.client(), there.client());
    let json_type = ("content-type", "application/json");
    let key = [json_type, ("idempotency-key", "k")];
    let made = near.send("POST", STREAM, &key, r#"{"userId":"u"}"#).await?.expect(201)?;
    let again = far.send("POST", STREAM, &key, r#"{"userId":"u"}"#).await?.expect(200)?;
    assert_eq!(made.json()["generation"], again.json()["generation"]);

    let events = format!("{STREAM}/events");
    let body = answer(2).join("\n");
    for (seq, client, appended) in [("1", &near, 3), ("1", &far, 0), ("2", &far, 3), ("2", &near, 0), ("1", &near, 0)] {
        let headers = [("producer-id", "p"), ("producer-seq", seq)];
        let done = client.send("POST", &events, &headers, body.clone()).await?.expect(200)?.json();
        assert_eq!((&done["appended"], &done["duplicate"]), (&json!(appended), &json!(3 - appended)), "{done}");
    }
    assert_eq!(near.records("s").await?.len(), 6);

    // The end, too: whoever repeats it elsewhere gets the same answer, whoever wants another end hears which one won.
    near.post(&format!("{STREAM}/complete"), &json!({})).await?.expect(200)?;
    far.post(&format!("{STREAM}/complete"), &json!({})).await?.expect(200)?;
    let late = far.post(&format!("{STREAM}/abort"), &json!({})).await?.refused(409, "already_settled")?;
    assert_eq!(late["jobStatus"], "complete");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_one_host_is_in_the_end_that_the_other_one_writes() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let [here, there] = two(&redis.url(), &[]).await?;
    let (near, far) = (here.client(), there.client());
    near.create("s", &json!({"userId": "u"})).await?;
    // Both hosts know the stream before it changes.
    far.append("s", &answer(1)).await?.expect(200)?;
    near.append("s", &[delta("near ")]).await?.expect(200)?;
    far.append("s", &[delta("far")]).await?.expect(200)?;
    let change = json!({"sender": "Somebody", "responseMessageId": "m1"});
    let json_type = [("content-type", "application/json")];
    near.send("PATCH", STREAM, &json_type, change.to_string()).await?.expect(200)?;
    let aborted = far.post(&format!("{STREAM}/abort"), &json!({})).await?.expect(200)?.json();
    let message = &aborted["finalEvent"]["responseMessage"];
    assert_eq!((&message["sender"], &message["messageId"]), (&json!("Somebody"), &json!("m1")), "{aborted}");
    assert_eq!(aborted["text"], "w0 near far");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_people_at_two_hosts_answers_and_the_producer_hears_it_at_the_other() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let [here, there] = two(&redis.url(), &[]).await?;
    let (near, far) = (here.client(), there.client());
    near.create("s", &json!({"userId": "u"})).await?;
    let mut listeners = Vec::new();
    for client in [&near, &far] {
        listeners.push(client.subscribe(&format!("{STREAM}/signals"), &[]).await?);
    }
    let action = format!("{STREAM}/action");
    for round in 0..20 {
        let id = format!("a{round}");
        near.post(&action, &json!({"type": "request", "action": {"id": id}})).await?.expect(200)?;
        let answer = |who: &str| json!({"type": "resolve", "actionId": id, "decision": who});
        let (one, other) = (answer("near"), answer("far"));
        let (one, other) = tokio::join!(near.post(&action, &one), far.post(&action, &other));
        let answers = [one?, other?];
        let won = answers.iter().position(|answer| answer.status == 200).context("nobody has won")?;
        answers[1 - won].refused(409, "no_such_action")?;
        for listener in &mut listeners {
            let heard = signal(listener, "action_resolved").await?;
            ensure!(heard["actionId"] == *id && heard["decision"] == ["near", "far"][won], "{heard}");
        }
    }
    Ok(())
}

async fn signal(listener: &mut Sse, name: &str) -> Result<Value> {
    let frame = listener.frame().await?;
    ensure!(frame.event.as_deref() == Some(name), "{frame:?} instead of {name}");
    Ok(frame.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_counts_and_groups_are_the_same_at_both_hosts() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let [here, there] = two(&redis.url(), &[]).await?;
    let clients = [here.client(), there.client()];
    for at in 0..8 {
        let client = &clients[at % 2];
        let name = format!("s{at}");
        let user = ["ann", "bob"][at % 2];
        client.create(&name, &json!({"userId": user})).await?;
        client.append(&name, &answer(1)).await?.expect(200)?;
        if at >= 2 {
            let verb = ["complete", "abort"][at % 2];
            let other = &clients[1 - at % 2];
            other.post(&format!("/v1/streams/{name}/{verb}"), &json!({})).await?.expect(200)?;
        }
    }
    let jobs = json!({"running": 2, "requires_action": 0, "complete": 3, "error": 0, "aborted": 3});
    for client in &clients {
        assert_eq!(client.get("/v1/stats").await?.expect(200)?.json()["jobs"], jobs);
        let list = client.get("/v1/streams?userId=ann&status=complete").await?.expect(200)?.json();
        let names: Vec<_> = list["streams"].as_array().context("streams")?.iter().map(|s| &s["streamId"]).collect();
        assert_eq!(names, ["s6", "s4", "s2"]);
    }

    let [near, far] = &clients;
    let group = "/v1/streams/s0/groups/g";
    near.send("PUT", group, &[], "").await?.expect(201)?;
    far.send("PUT", group, &[], "").await?.expect(200)?;
    far.append("s0", &[delta("b")]).await?.expect(200)?;
    let take = async |client: &rejoin_tests::client::Client| -> Result<Vec<Value>> {
        let page = client.get(&format!("{group}/events?consumer=c&count=1")).await?.expect(200)?.json();
        Ok(page["entries"].as_array().context("entries")?.clone())
    };
    let (first, second, none) = (take(near).await?, take(far).await?, take(near).await?);
    assert_eq!((first.len(), second.len(), none.len()), (1, 1, 0));
    ensure!(first[0]["id"] != second[0]["id"], "{first:?} {second:?}");
    let ids = json!({"ids": [first[0]["id"], second[0]["id"]]});
    assert_eq!(far.post(&format!("{group}/ack"), &ids).await?.expect(200)?.json()["acknowledged"], 2);
    let pending = near.get(&format!("{group}/pending")).await?.expect(200)?.json();
    assert_eq!(pending["pending"], json!([]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_host_tells_of_its_own_readers_and_says_that_there_are_others() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let [here, there] = two(&redis.url(), &[]).await?;
    let (near, far) = (here.client(), there.client());
    near.create("s", &json!({"userId": "u"})).await?;
    near.append("s", &answer(1)).await?.expect(200)?;
    let mut reader = near.follow("s", None).await?;
    reader.take(2).await?;
    let path = format!("{STREAM}/subscribers");
    let [mine, theirs] = [near.get(&path).await?.expect(200)?.json(), far.get(&path).await?.expect(200)?.json()];
    assert_eq!((&mine["total"], &theirs["total"]), (&json!(1), &json!(0)), "{mine} {theirs}");
    ensure!(mine["shared"] == true && theirs["shared"] == true && mine["host"] != theirs["host"], "{mine} {theirs}");
    Ok(())
}
