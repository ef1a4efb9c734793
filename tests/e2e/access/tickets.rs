//! Tickets: one use, one stream, one moment, any replica.

use std::time::Duration;

use anyhow::{Context, Result};
use rejoin::config::StoreKind;
use rejoin::store::redis::RedisTarget;
use rejoin_tests::redis;
use rejoin_tests::server::Server;
use rejoin_tests::token::token;
use rejoin_tests::wait::until;
use serde_json::json;

use super::{ALL, User, guarded};

async fn ticket(user: &User, stream: &str) -> Result<String> {
    let answer = user.send("POST", &format!("/v1/streams/{stream}/tickets"), "").await?.expect(201)?.json();
    assert!(answer["expiresAt"].as_u64().is_some(), "{answer}");
    Ok(answer["ticket"].as_str().context("a ticket")?.to_owned())
}

async fn status(server: &Server, path: &str) -> Result<u16> {
    let answer = server.client().send("GET", path, &[("accept", "text/event-stream")], "").await?;
    Ok(answer.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_reads_its_stream_once_and_does_nothing_else() -> Result<()> {
    let server = guarded(|_| {}).await?;
    let (ann, bob) = (User::new(&server, &token("ann", ALL)), User::new(&server, &token("bob", ALL)));
    for name in ["s", "other"] {
        ann.send("POST", &format!("/v1/streams/{name}"), "{}").await?.expect(201)?;
        ann.send("POST", &format!("/v1/streams/{name}/complete"), "{}").await?.expect(200)?;
    }
    let one = ticket(&ann, "s").await?;
    let mut reader = server.client().subscribe(&format!("/v1/streams/s/events?ticket={one}"), &[]).await?;
    assert!(reader.frame().await?.is_terminal());
    assert_eq!(status(&server, &format!("/v1/streams/s/events?ticket={one}")).await?, 401, "used");

    let one = ticket(&ann, "s").await?;
    assert_eq!(status(&server, &format!("/v1/streams/other/events?ticket={one}")).await?, 401, "another stream");
    for (method, path) in [
        ("GET", "/v1/streams/s"),
        ("GET", "/v1/streams/s/resume"),
        ("GET", "/v1/streams/s/signals"),
        ("HEAD", "/v1/streams/s/events"),
        ("POST", "/v1/streams/s/events"),
        ("POST", "/v1/streams/s/tickets"),
        ("POST", "/v1/streams/s/abort"),
        ("GET", "/v1/streams"),
    ] {
        let answer = server.client().send(method, &format!("{path}?ticket={one}"), &[], "").await?;
        assert_eq!(answer.status, 401, "{method} {path}");
    }
    let bearer =
        server.client().send("GET", "/v1/streams/s", &[("authorization", &format!("Bearer {one}"))], "").await?;
    assert_eq!(bearer.status, 401);
    assert_eq!(
        status(&server, &format!("/v1/streams/s/events?ticket={one}")).await?,
        200,
        "it was not used by all that"
    );

    // It is the owner's of that moment: when the stream is another's, it opens nothing.
    let one = ticket(&ann, "s").await?;
    ann.send("DELETE", "/v1/streams/s", "").await?.expect(204)?;
    bob.send("POST", "/v1/streams/s", "{}").await?.expect(201)?;
    assert_eq!(status(&server, &format!("/v1/streams/s/events?ticket={one}")).await?, 404);
    for garbage in ["", "x", "%00", &"A".repeat(43), &"A".repeat(4000)] {
        assert_eq!(status(&server, &format!("/v1/streams/other/events?ticket={garbage}")).await?, 401, "{garbage}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_ends_with_its_time_and_there_are_not_many() -> Result<()> {
    let server = guarded(|config| config.access.ticket_max = Duration::from_secs(3)).await?;
    let ann = User::new(&server, &token("ann", ALL));
    ann.send("POST", "/v1/streams/s", "{}").await?.expect(201)?;
    ann.send("POST", "/v1/streams/s/complete", "{}").await?.expect(200)?;
    let old = ticket(&ann, "s").await?;
    let mut full = ann.send("POST", "/v1/streams/s/tickets", "{}").await?;
    while full.status == 201 {
        full = ann.send("POST", "/v1/streams/s/tickets", "{}").await?;
    }
    assert_eq!(full.problem(), (429, "too_many_tickets".to_owned()));
    assert_eq!((&full.json()["limit"], &full.json()["ticketsMax"]), (&json!("stream"), &json!(32)));
    assert!(full.headers.contains_key("retry-after"));
    until(
        "room again",
        async || Ok((ann.send("POST", "/v1/streams/s/tickets", "").await?.status == 201).then_some(())),
    )
    .await?;
    assert_eq!(status(&server, &format!("/v1/streams/s/events?ticket={old}")).await?, 401, "it is over");
    server.stop().await
}

/// What one user may have of the tickets that a host keeps is no more than a part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_many_streams_does_not_take_the_tickets_of_others() -> Result<()> {
    // Long enough that none ends while they are made.
    let server = guarded(|config| config.access.ticket_max = Duration::from_secs(3600)).await?;
    let (ann, bob) = (User::new(&server, &token("ann", ALL)), User::new(&server, &token("bob", ALL)));
    let make = async |user: &User, name: &str| user.send("POST", &format!("/v1/streams/{name}/tickets"), "").await;
    for n in 0..512 / 32 {
        let name = format!("s{n}");
        ann.send("POST", &format!("/v1/streams/{name}"), "{}").await?.expect(201)?;
        for _ in 0..32 {
            make(&ann, &name).await?.expect(201)?;
        }
    }
    ann.send("POST", "/v1/streams/more", "{}").await?.expect(201)?;
    let full = make(&ann, "more").await?;
    assert_eq!(full.problem(), (429, "too_many_tickets".to_owned()));
    assert_eq!((&full.json()["limit"], &full.json()["ticketsMax"]), (&json!("user"), &json!(512)));
    assert!(full.headers.contains_key("retry-after"));
    bob.send("POST", "/v1/streams/of-bob", "{}").await?.expect(201)?;
    ticket(&bob, "of-bob").await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_one_replica_is_good_for_one_use_on_all_of_them() -> Result<()> {
    let redis = tokio::task::block_in_place(redis::Server::start)?;
    let target = RedisTarget::parse(&redis.url()).map_err(anyhow::Error::msg)?;
    let start = || guarded(|config| config.store = StoreKind::Redis(target.clone()));
    let (here, there) = (start().await?, start().await?);
    let ann = User::new(&here, &token("ann", ALL));
    ann.send("POST", "/v1/streams/s", "{}").await?.expect(201)?;
    ann.send("POST", "/v1/streams/s/complete", "{}").await?.expect(200)?;
    let one = ticket(&ann, "s").await?;
    let path = format!("/v1/streams/s/events?ticket={one}");
    let (a, b, c) = tokio::join!(status(&there, &path), status(&here, &path), status(&there, &path));
    let mut statuses = [a?, b?, c?];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401, 401]);
    // The store has no ticket that could be used, and what it has ends by itself.
    let two = ticket(&ann, "s").await?;
    let kept = tokio::task::block_in_place(|| redis.cli(&["HGETALL", "rejoin:{s}:tickets"]))?;
    assert!(kept.contains("ann") && !kept.contains(&two), "{kept}");
    let ttl = tokio::task::block_in_place(|| redis.cli(&["PTTL", "rejoin:{s}:tickets"]))?;
    assert!((1..=30_000).contains(&ttl.trim().parse::<i64>()?), "{ttl}");
    here.stop().await?;
    there.stop().await
}
