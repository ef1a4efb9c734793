//! Pages of other origins, with keys and without.

use anyhow::Result;
use rejoin_tests::client::Answer;
use rejoin_tests::server::Server;
use rejoin_tests::token::token;

use super::{ALL, User, guarded};

const ORIGIN: &str = "https://chat.example";

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_listed_origin_may_read_and_write_with_a_token() -> Result<()> {
    let server = guarded(|config| config.access.cors_origins = vec![ORIGIN.to_owned()]).await?;
    let ask = [("origin", ORIGIN), ("access-control-request-method", "POST")];
    let preflight = server.client().send("OPTIONS", "/v1/streams/s/events", &ask, "").await?.expect(204)?;
    assert_eq!(header(&preflight, "access-control-allow-origin"), ORIGIN);
    assert_eq!((header(&preflight, "access-control-max-age"), header(&preflight, "vary")), ("7200", "Origin"));
    assert!(header(&preflight, "access-control-allow-methods").contains("DELETE"));
    for name in ["Authorization", "Last-Event-ID", "Idempotency-Key", "Producer-Seq", "traceparent", "Content-Type"] {
        assert!(header(&preflight, "access-control-allow-headers").contains(name), "{name}");
    }
    assert!(!preflight.headers.contains_key("access-control-allow-credentials"));

    let ann = User::new(&server, &token("ann", ALL));
    let made = ann.with("POST", "/v1/streams/s", &[("origin", ORIGIN)], "{}").await?.expect(201)?;
    assert_eq!(header(&made, "access-control-allow-origin"), ORIGIN);
    // Refusals, too: a page must be able to read why.
    let refused = server.client().send("GET", "/v1/streams/s", &[("origin", ORIGIN)], "").await?.expect(401)?;
    assert_eq!(header(&refused, "access-control-allow-origin"), ORIGIN);
    assert!(header(&refused, "access-control-expose-headers").contains("Retry-After"));

    for foreign in ["https://chat.example.evil.example", "http://chat.example", "https://chat.example:444", "null"] {
        let ask = [("origin", foreign), ("access-control-request-method", "POST")];
        let preflight = server.client().send("OPTIONS", "/v1/streams/s", &ask, "").await?;
        assert_eq!(preflight.problem(), (403, "cross_site".to_owned()), "{foreign}");
        let read = ann.with("GET", "/v1/streams/s", &[("origin", foreign)], "").await?;
        for answer in [preflight, read] {
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{foreign}");
            assert_eq!(header(&answer, "vary"), "Origin", "{foreign}");
        }
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_a_foreign_page_changes_nothing_and_a_foreign_name_reads_nothing() -> Result<()> {
    let server = Server::start_with(|config| config.access.cors_origins = vec![ORIGIN.to_owned()]).await?;
    let client = server.client();
    let post = async |headers: &[(&str, &str)]| {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let answer = client.send("POST", "/v1/streams/s", &all, r#"{"userId":"me"}"#).await?;
        Ok::<_, anyhow::Error>((answer.status, answer.problem().1))
    };
    let cross_site = || (403, "cross_site".to_owned());
    let own = format!("http://{}", server.address);
    assert_eq!(post(&[]).await?.0, 201);
    assert_eq!(post(&[("origin", &own)]).await?.0, 201);
    assert_eq!(
        post(&[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")]).await?.0,
        201,
        "a proxy"
    );
    assert_eq!(post(&[("origin", ORIGIN), ("sec-fetch-site", "cross-site")]).await?.0, 201);
    assert_eq!(post(&[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")]).await?, cross_site());
    assert_eq!(post(&[("origin", "https://evil.example")]).await?, cross_site());
    assert_eq!(post(&[("sec-fetch-site", "cross-site")]).await?, cross_site());
    assert_eq!(post(&[("origin", "null")]).await?, cross_site());

    for host in ["evil.example", "evil.example:8787", "127.0.0.1.evil.example"] {
        for path in ["/", "/v1/streams", "/v1/streams/s", "/v1/streams/s/events"] {
            let answer = client.send("GET", path, &[("host", host)], "").await?;
            assert_eq!(answer.problem(), (403, "foreign_host".to_owned()), "{host} {path}");
        }
    }
    for host in ["localhost", "127.0.0.1:8080", "[::1]:8787"] {
        client.send("GET", "/v1/streams", &[("host", host)], "").await?.expect(200)?;
    }
    client.send("GET", "/healthz", &[("host", "anything")], "").await?.expect(200)?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_lets_its_address_out() -> Result<()> {
    let server = guarded(|_| {}).await?;
    let ann = User::new(&server, &token("ann", ALL));
    ann.send("POST", "/v1/streams/s", "{}").await?.expect(201)?;
    ann.send("POST", "/v1/streams/s/complete", "{}").await?.expect(200)?;
    for path in ["/", "/healthz", "/nowhere", "/v1/streams/s", "/v1/streams/t", "/v1/streams/s/events?ticket=x"] {
        for answer in [ann.send("GET", path, "").await?, server.client().get(path).await?] {
            assert_eq!(header(&answer, "referrer-policy"), "no-referrer", "{path}");
            assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        }
    }
    server.stop().await
}
