//! Who owns what: lists, counts, creation, and streams that change hands.

use anyhow::Result;
use rejoin_tests::server::Server;
use rejoin_tests::token::{token, token_with};
use serde_json::{Value, json};

use super::{ALL, User, guarded};

fn names(list: &Value) -> Vec<String> {
    let mut names: Vec<_> = list["streams"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|job| job["streamId"].as_str().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names
}

async fn three(server: &Server) -> Result<[User; 3]> {
    let users = [token("ann", ALL), token("bob", ALL), token("op", "admin")];
    Ok(users.map(|token| User::new(server, &token)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_counts_are_of_ones_own_streams() -> Result<()> {
    let server = guarded(|_| {}).await?;
    let [ann, bob, op] = three(&server).await?;
    for name in ["a-1", "a-2", "b-3"] {
        ann.send("POST", &format!("/v1/streams/{name}"), "{}").await?.expect(201)?;
    }
    bob.send("POST", "/v1/streams/a-4", "{}").await?.expect(201)?;
    bob.send("POST", "/v1/streams/a-4/complete", "{}").await?.expect(200)?;

    let list = async |user: &User, query: &str| user.send("GET", &format!("/v1/streams{query}"), "").await;
    assert_eq!(names(&list(&ann, "").await?.json()), ["a-1", "a-2", "b-3"]);
    assert_eq!(names(&list(&bob, "?userId=bob").await?.json()), ["a-4"]);
    assert_eq!(list(&bob, "?userId=ann").await?.problem(), (403, "forbidden".to_owned()));
    assert_eq!(names(&list(&op, "").await?.json()).len(), 4);
    assert_eq!(names(&list(&op, "?userId=ann").await?.json()).len(), 3);

    // A pattern narrows the list, page by page, and no page names what it does not show.
    let narrow = User::new(&server, &token_with("op", "admin", &json!({"stream": "a-*"})));
    let (mut after, mut all) = (String::new(), Vec::new());
    loop {
        let page = list(&narrow, &format!("?limit=1{after}")).await?.expect(200)?.json();
        all.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    all.sort();
    assert_eq!(all, ["a-1", "a-2", "a-4"]);

    let stats =
        async |user: &User| Ok::<_, anyhow::Error>(user.send("GET", "/v1/stats", "").await?.expect(200)?.json());
    let (ann, op) = (stats(&ann).await?, stats(&op).await?);
    assert_eq!((&ann["jobs"]["running"], &ann["jobs"]["complete"]), (&json!(3), &json!(0)));
    assert!(ann["subscribers"].is_null() && ann["sessions"].is_null(), "{ann}");
    assert_eq!((&op["jobs"]["running"], &op["jobs"]["complete"]), (&json!(3), &json!(1)));
    assert_eq!(stats(&bob).await?["jobs"]["complete"], 1);

    // A pattern narrows the figures as it narrows the list.
    for (pattern, running) in [("a-*", 2), ("b-3", 1), ("a-4", 0), ("*", 3)] {
        let narrow = User::new(&server, &token_with("ann", ALL, &json!({"stream": pattern})));
        let counts = stats(&narrow).await?["jobs"].clone();
        assert_eq!((&counts["running"], &counts["complete"]), (&json!(running), &json!(0)), "{pattern}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_belongs_to_whoever_creates_it() -> Result<()> {
    let server = guarded(|_| {}).await?;
    let [ann, bob, op] = three(&server).await?;
    let create = async |user: &User, name: &str, body: &'static str| {
        user.send("POST", &format!("/v1/streams/{name}"), body).await
    };
    let owner =
        |answer: rejoin_tests::client::Answer| answer.json()["job"]["userId"].as_str().unwrap_or("?").to_owned();
    assert_eq!(owner(create(&ann, "s", "{}").await?.expect(201)?), "ann");
    assert_eq!(owner(create(&ann, "s", r#"{"userId":"ann"}"#).await?.expect(201)?), "ann");
    assert_eq!(create(&bob, "t", r#"{"userId":"ann"}"#).await?.problem(), (403, "forbidden".to_owned()));
    assert_eq!(create(&bob, "t", r#"{"user\u0049d":"ann"}"#).await?.problem(), (403, "forbidden".to_owned()));
    assert_eq!(create(&bob, "t", r#"{"userId":"bob","userId":"ann"}"#).await?.problem(), (403, "forbidden".to_owned()));
    assert_eq!(create(&bob, "s", "{}").await?.problem(), (403, "forbidden".to_owned()));
    assert_eq!(owner(create(&op, "u", r#"{"userId":"ann"}"#).await?.expect(201)?), "ann");
    assert_eq!(owner(create(&op, "v", "{}").await?.expect(201)?), "op");
    op.send("GET", "/v1/streams/s", "").await?.expect(200)?;
    ann.send("GET", "/v1/streams/u", "").await?.expect(200)?;

    // The key of a request is its owner's.
    let key = [("idempotency-key", "k")];
    let made = ann.with("POST", "/v1/streams/k", &key, "{}").await?.expect(201)?.json();
    let stolen = bob.with("POST", "/v1/streams/k", &key, "{}").await?;
    assert_eq!(stolen.problem(), (403, "forbidden".to_owned()));
    let generation = made["generation"].to_string();
    assert!(!String::from_utf8_lossy(&stolen.body).contains(&generation));
    ann.with("POST", "/v1/streams/k", &key, "{}").await?.expect(200)?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_listeners_of_a_stream_end_when_it_becomes_somebody_elses() -> Result<()> {
    let server = guarded(|_| {}).await?;
    let [ann, bob, _] = three(&server).await?;
    ann.send("POST", "/v1/streams/s", "{}").await?.expect(201)?;
    ann.send("POST", "/v1/streams/s/events", r#"{"event":"x","data":{}}"#).await?.expect(200)?;
    let bearer = [("authorization", ann.bearer.as_str())];
    let client = server.client();
    let mut reader = client.subscribe("/v1/streams/s/events", &bearer).await?;
    let mut signals = client.subscribe("/v1/streams/s/signals", &bearer).await?;
    let cursor = reader.frame().await?.id.unwrap_or_default();

    ann.send("DELETE", "/v1/streams/s", "").await?.expect(204)?;
    bob.send("POST", "/v1/streams/s", "{}").await?.expect(201)?;
    bob.send("POST", "/v1/streams/s/events", r#"{"event":"of_bob","data":{}}"#).await?.expect(200)?;
    for frame in reader.rest().await?.into_iter().chain(signals.rest().await?) {
        assert!(!frame.data.contains("of_bob"), "{frame:?}");
    }
    // What ann still knows of it opens nothing of bob's.
    for (path, accept, status) in [
        (format!("/v1/streams/s/events?after={cursor}"), "text/event-stream", 404),
        ("/v1/streams/s/events?resume=true".to_owned(), "text/event-stream", 204),
        ("/v1/streams/s/events".to_owned(), "application/json", 404),
        ("/v1/streams/s/resume".to_owned(), "*/*", 404),
        ("/v1/streams/s".to_owned(), "*/*", 404),
    ] {
        let answer = ann.with("GET", &path, &[("accept", accept)], "").await?;
        assert_eq!(answer.status, status, "{path}");
    }
    server.stop().await
}
