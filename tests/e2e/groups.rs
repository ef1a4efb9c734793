//! Consumer groups: each entry of the log goes to one consumer, and comes again until it is acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_core::json::Json;
use rejoin_tests::client::{Answer, Client};
use rejoin_tests::server::Server;
use rejoin_tests::wait::{soon, until};
use rejoin_tests::{answer, delta};
use serde_json::{Value, json};

const GROUP: &str = "/v1/streams/s/groups/g";

async fn put(client: &Client, path: &str) -> Result<Answer> {
    client.send("PUT", path, &[], "").await
}

/// The ids and the records, byte for byte, that a consumer gets.
async fn next(client: &Client, group: &str, query: &str) -> Result<Vec<(String, Vec<String>)>> {
    let answer = client.get(&format!("{group}/events?{query}")).await?.expect(200)?;
    ensure!(answer.header("content-type") == "application/json", "{}", answer.header("content-type"));
    let text = String::from_utf8(answer.body.to_vec())?;
    let json = Json::parse(&text).map_err(|error| anyhow::anyhow!("the answer is not JSON: {error}"))?;
    ensure!(answer.json()["malformed"] == 0, "{text}");
    let mut entries = Vec::new();
    for entry in json.get("entries").context("entries")?.items() {
        let id = entry.get("id").and_then(Json::string).context("an id")?.into_owned();
        let records = entry.get("records").context("records")?.items();
        entries.push((id, records.map(|record| record.text().to_owned()).collect()));
    }
    Ok(entries)
}

async fn next_ids(client: &Client, group: &str, query: &str) -> Result<Vec<String>> {
    Ok(next(client, group, query).await?.into_iter().map(|(id, _)| id).collect())
}

async fn acknowledge(client: &Client, group: &str, ids: &[String]) -> Result<Value> {
    let answer = client.post(&format!("{group}/ack"), &json!({"ids": ids})).await?.expect(200)?;
    Ok(answer.json()["acknowledged"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_share_the_entries_of_a_log_as_they_were_appended() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({"userId": "u"})).await?;
    let made = put(&client, GROUP).await?.expect(201)?.json();
    assert_eq!(made, json!({"streamId": "s", "group": "g", "created": true}));
    let existed = put(&client, &format!("{GROUP}?from=now")).await?.expect(200)?.json();
    assert_eq!(existed, json!({"streamId": "s", "group": "g", "created": false}));
    assert_eq!(next(&client, GROUP, "consumer=a").await?, []);

    let internal = r#"{"event":"x","_internal": true,"n":1.0}"#.to_owned();
    let appends = [answer(2), vec![internal.clone(), delta("é\u{2028}")], vec![delta("z")]];
    let mut expected = Vec::new();
    let mut last = 0;
    for lines in &appends {
        client.append("s", lines).await?.expect(200)?;
        last += lines.len();
        expected.push((format!("{generation}-{last}"), lines.clone()));
    }
    let mut got = next(&client, GROUP, "consumer=a&count=2").await?;
    got.extend(next(&client, GROUP, "consumer=b").await?);
    assert_eq!(got, expected, "internal ones too");
    assert_eq!(next(&client, GROUP, "consumer=a").await?, []);

    put(&client, "/v1/streams/s/groups/late?from=now").await?.expect(201)?;
    client.post("/v1/streams/s/complete", &json!({"finalEvent": {"n": 1}})).await?.expect(200)?;
    for group in [GROUP, "/v1/streams/s/groups/late"] {
        let end = next(&client, group, "consumer=a").await?;
        let [(id, records)] = &end[..] else { anyhow::bail!("{end:?}") };
        assert_eq!(*id, format!("{generation}-{}", last + 1));
        ensure!(records.len() == 1 && records[0].contains(r#""final":true"#), "the end is data: {records:?}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_comes_again_until_it_is_acknowledged() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({})).await?;
    put(&client, &format!("{GROUP}?from=start")).await?.expect(201)?;
    for n in 0..3 {
        client.append("s", &[delta(&n.to_string())]).await?.expect(200)?;
    }
    let ids: Vec<_> = (1..=3).map(|sequence| format!("{generation}-{sequence}")).collect();
    assert_eq!(next_ids(&client, GROUP, "consumer=a%2Fb&count=2").await?, ids[..2]);
    assert_eq!(next_ids(&client, GROUP, "consumer=c&count=2").await?, ids[2..]);
    assert_eq!(next_ids(&client, GROUP, "consumer=c&redeliverAfter=600000").await?, [""; 0]);
    assert_eq!(acknowledge(&client, GROUP, &ids[..1]).await?, 1);
    assert_eq!(acknowledge(&client, GROUP, &[ids[0].clone(), "1-1".into(), "0-0".into()]).await?, 0);
    assert_eq!(next_ids(&client, GROUP, "consumer=c&redeliverAfter=0").await?, ids[1..]);

    // The time itself: it comes again, and not before.
    let began = tokio::time::Instant::now();
    let again = async || {
        let ids = next_ids(&client, GROUP, "consumer=d&redeliverAfter=300").await?;
        Ok((!ids.is_empty()).then_some(ids))
    };
    assert_eq!(until("both come again", again).await?, ids[1..]);
    ensure!(began.elapsed() > Duration::from_millis(200), "after {:?}", began.elapsed());

    let pending = client.get(&format!("{GROUP}/pending")).await?.expect(200)?.json()["pending"].clone();
    let held: Vec<_> = pending.as_array().context("a list")?.iter().collect();
    for (one, id) in held.iter().zip(&ids[1..]) {
        assert_eq!((&one["id"], &one["consumer"], &one["deliveries"]), (&json!(id), &json!("d"), &json!(3)));
        ensure!(one["idleMs"].as_u64().is_some_and(|ms| ms < 60_000), "{one}");
    }
    let one = client.get(&format!("{GROUP}/pending?limit=1")).await?.json();
    assert_eq!((held.len(), one["pending"].as_array().map(Vec::len)), (2, Some(1)));
    assert_eq!(acknowledge(&client, GROUP, &ids).await?, 2);
    assert_eq!(next_ids(&client, GROUP, "consumer=a&redeliverAfter=0").await?, [""; 0]);
    assert_eq!(client.get(&format!("{GROUP}/pending")).await?.json(), json!({"pending": []}));
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_empty_and_never_an_error() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let check_empty = async || -> Result<()> {
        assert_eq!(next(&client, GROUP, "consumer=a").await?, []);
        assert_eq!(client.get(&format!("{GROUP}/pending")).await?.expect(200)?.json(), json!({"pending": []}));
        assert_eq!(acknowledge(&client, GROUP, &["1-1".into()]).await?, 0);
        client.send("DELETE", GROUP, &[], "").await?.expect(204)?;
        Ok(())
    };
    check_empty().await?;
    put(&client, GROUP).await?.refused(404, "not_found")?;
    client.create("s", &json!({})).await?;
    check_empty().await?;
    client.append("s", &answer(1)).await?.expect(200)?;
    put(&client, GROUP).await?.expect(201)?;
    assert_eq!(next(&client, GROUP, "consumer=a").await?.len(), 1);
    client.send("DELETE", GROUP, &[], "").await?.expect(204)?;
    check_empty().await?;

    // A group goes with its generation, and with the stream.
    put(&client, GROUP).await?.expect(201)?;
    client.create("s", &json!({})).await?;
    client.append("s", &answer(1)).await?.expect(200)?;
    check_empty().await?;
    put(&client, GROUP).await?.expect(201)?;
    client.send("DELETE", "/v1/streams/s", &[], "").await?.expect(204)?;
    check_empty().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_by_name() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    client.append("s", &answer(1)).await?.expect(200)?;
    put(&client, GROUP).await?.expect(201)?;
    let long = "x".repeat(129);
    for bad in ["", "%0a", "%c3%a9", "%zz", &long] {
        put(&client, &format!("/v1/streams/s/groups/{bad}")).await?.refused(400, "invalid_group")?;
        client.get(&format!("/v1/streams/s/groups/{bad}/events?consumer=a")).await?.refused(400, "invalid_group")?;
    }
    put(&client, &format!("{GROUP}?from=end")).await?.refused(400, "invalid_query")?;
    for bad in [
        "",
        "count=1",
        "consumer=",
        "consumer=%0a",
        &format!("consumer={long}"),
        "consumer=a&count=0",
        "consumer=a&count=1001",
        "consumer=a&redeliverAfter=-1",
        "consumer=a&redeliverAfter=soon",
    ] {
        client.get(&format!("{GROUP}/events?{bad}")).await?.refused(400, "invalid_query")?;
    }
    client.get(&format!("{GROUP}/pending?limit=1001")).await?.refused(400, "invalid_query")?;
    for bad in [
        json!({}),
        json!({"ids": "1-1"}),
        json!({"ids": [1]}),
        json!({"ids": ["1-1", "1"]}),
        json!({"ids": ["1-99999999999999999999"]}),
        json!({"ids": vec!["1-1"; 1001]}),
        json!({"ids": [], "more": 1}),
    ] {
        client.post(&format!("{GROUP}/ack"), &bad).await?.refused(422, "invalid_request")?;
    }
    client.send("POST", &format!("{GROUP}/ack"), &[], "{").await?.refused(400, "invalid_json")?;
    for (method, path, allow) in [
        ("GET", GROUP.to_owned(), "PUT, DELETE"),
        ("POST", format!("{GROUP}/events"), "GET, HEAD"),
        ("DELETE", format!("{GROUP}/pending"), "GET, HEAD"),
        ("GET", format!("{GROUP}/ack"), "POST"),
    ] {
        let refused = client.send(method, &path, &[], "").await?;
        refused.refused(405, "method_not_allowed")?;
        assert_eq!(refused.header("allow"), allow);
    }
    for path in ["/v1/streams/s/groups", &format!("{GROUP}/"), &format!("{GROUP}/events/")] {
        client.get(path).await?.refused(404, "unknown_path")?;
    }
    // HEAD asks whether the stream exists, and takes nothing out.
    client.send("HEAD", &format!("{GROUP}/events?consumer=a"), &[], "").await?.expect(200)?;
    client.send("HEAD", "/v1/streams/t/groups/g/events?consumer=a", &[], "").await?.expect(404)?;
    assert_eq!(next(&client, GROUP, "consumer=a").await?.len(), 1, "nothing of all that was taken for a read");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_the_bytes_of_an_answer_are_bounded() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    for n in 0..64 {
        put(&client, &format!("/v1/streams/s/groups/g{n}")).await?.expect(201)?;
    }
    let refused = put(&client, "/v1/streams/s/groups/more").await?.refused(409, "too_many_groups")?;
    assert_eq!(refused["groupsMax"], 64);
    client.send("DELETE", "/v1/streams/s/groups/g7", &[], "").await?.expect(204)?;
    put(&client, "/v1/streams/s/groups/more").await?.expect(201)?;

    let large = json!({"event": "x", "text": "x".repeat(1_000_000)}).to_string();
    for _ in 0..20 {
        client.append("s", &[&large]).await?.expect(200)?;
    }
    let mut seen = Vec::new();
    for expected in [8, 8, 4, 0] {
        let entries = next(&client, "/v1/streams/s/groups/more", "consumer=a&count=1000").await?;
        assert_eq!(entries.len(), expected);
        ensure!(entries.iter().all(|(_, records)| *records == [large.as_str()]), "byte for byte");
        seen.extend(entries.into_iter().map(|(id, _)| id));
    }
    let pending = client.get("/v1/streams/s/groups/more/pending").await?.json();
    let pending = pending["pending"].as_array().context("a list")?.clone();
    assert_eq!(pending.iter().map(|one| one["id"].clone()).collect::<Vec<_>>(), seen);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_consumers_at_once_get_every_entry_once_while_it_is_written() -> Result<()> {
    const ENTRIES: usize = 200;
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    put(&client, GROUP).await?.expect(201)?;
    let taken = Arc::new(AtomicUsize::new(0));
    let consume = |name: usize| {
        let (client, taken) = (client.clone(), Arc::clone(&taken));
        async move {
            let mut ids = Vec::new();
            while taken.load(Ordering::Relaxed) <= ENTRIES {
                let some = next_ids(&client, GROUP, &format!("consumer=c{name}&count=3")).await?;
                assert_eq!(acknowledge(&client, GROUP, &some).await?, some.len(), "all of them were ours");
                taken.fetch_add(some.len(), Ordering::Relaxed);
                ids.extend(some);
            }
            anyhow::Ok(ids)
        }
    };
    let consumers: Vec<_> = (0..4).map(|name| tokio::spawn(consume(name))).collect();
    for n in 0..ENTRIES {
        client.append("s", &[delta(&n.to_string())]).await?.expect(200)?;
    }
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    let mut all = Vec::new();
    for consumer in consumers {
        all.extend(soon("every entry is taken", consumer).await???);
    }
    assert_eq!(all.len(), ENTRIES + 1, "the end too");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "none twice");
    assert_eq!(client.get(&format!("{GROUP}/pending")).await?.json(), json!({"pending": []}));
    server.stop().await
}
