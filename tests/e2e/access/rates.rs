//! In which order a user is asked: who it is, how often they come, and only then the store.

use anyhow::Result;
use rejoin::config::{Config, StoreKind};
use rejoin::store::redis::RedisTarget;
use rejoin_tests::proxy::Proxy;
use rejoin_tests::redis;
use rejoin_tests::server::Server;
use rejoin_tests::token::token;
use rejoin_tests::wait::{soon, until};

use super::{ALL, User, guarded};

const LIVE: [(&str, &str); 1] = [("accept", "text/event-stream")];

fn one_connection(config: &mut Config) {
    config.door.user_connections_max = 1;
}

/// Ann has all that she may have open: for what she asks beyond it nobody looks whose the stream is.
async fn is_refused_whatever_the_stream_is(server: &Server, ann: &User) -> Result<()> {
    for path in ["/v1/streams/s/signals", "/v1/streams/of-nobody/signals"] {
        let refused = soon("a refusal", ann.with("GET", path, &LIVE, "")).await??;
        assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()), "{path}");
    }
    let append = soon("a refusal", ann.send("POST", "/v1/streams/of-nobody/events", "{}")).await??;
    assert_eq!(append.problem(), (429, "too_many_requests".to_owned()));
    // Without a good token, or for a stream that the token is not for, nothing is counted.
    let stranger = server.client().send("GET", "/v1/streams/s/signals", &LIVE, "").await?;
    assert_eq!(stranger.status, 401);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_above_the_rate_costs_the_store_nothing() -> Result<()> {
    let redis = tokio::task::block_in_place(redis::Server::start)?;
    let network = Proxy::start(redis.port()).await?;
    let target = RedisTarget::parse(&network.url()).map_err(anyhow::Error::msg)?;
    let stores = [StoreKind::Memory, StoreKind::Redis(target)];
    for store in stores {
        let server = guarded(|config| {
            one_connection(config);
            config.store = store;
        })
        .await?;
        let ann = User::new(&server, &token("ann", ALL));
        ann.send("POST", "/v1/streams/s", "{}").await?.expect(201)?;
        let bearer = [("authorization", ann.bearer.as_str())];
        let _live = server.client().subscribe("/v1/streams/s/events", &bearer).await?;
        // Whoever asked the store now would wait for it as long as the server has patience, and be told 503.
        network.black_hole();
        is_refused_whatever_the_stream_is(&server, &ann).await?;
        network.heal();
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_is_refused_for_too_much_is_used() -> Result<()> {
    let server = guarded(one_connection).await?;
    let ann = User::new(&server, &token("ann", ALL));
    ann.send("POST", "/v1/streams/s", "{}").await?.expect(201)?;
    let made = ann.send("POST", "/v1/streams/s/tickets", "").await?.expect(201)?.json();
    let path = format!("/v1/streams/s/events?ticket={}", made["ticket"].as_str().unwrap_or_default());
    let live = server.client().subscribe("/v1/streams/s/events", &[("authorization", &ann.bearer)]).await?;
    let refused = server.client().send("GET", &path, &LIVE, "").await?;
    assert_eq!(refused.problem(), (429, "too_many_requests".to_owned()));
    drop(live);
    let free = async || Ok((ann.send("POST", "/v1/streams/s/events", "{}").await?.status != 429).then_some(()));
    until("a free place", free).await?;
    assert_eq!(server.client().send("GET", &path, &LIVE, "").await?.status, 401);
    server.stop().await
}
