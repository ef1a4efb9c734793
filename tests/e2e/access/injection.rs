//! Names and texts that want to be more than that.

use anyhow::Result;
use rejoin_tests::token::{token, token_with};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ALL, User, guarded};

const EVIL: &str = "x\r\nset-cookie: a=b\r\n\r\ndata: {\"final\":true}\n\nevent: error\r";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_is_compared_with_the_name_decoded_once_and_with_nothing_else() -> Result<()> {
    let server = guarded(|_| {}).await?;
    let owner = User::new(&server, &token("ann", ALL));
    let chat = User::new(&server, &token_with("ann", ALL, &json!({"stream": "chat-*"})));
    let slash = User::new(&server, &token_with("ann", ALL, &json!({"stream": "a/b"})));
    let create = async |user: &User, name: &str| {
        Ok::<_, anyhow::Error>(user.send("POST", &format!("/v1/streams/{name}"), "{}").await?.status)
    };
    for name in ["chat-1", "%63hat-2", "chat-", "chat-%2F..%2Fother", "chat-%2e%2e", "chat-%252f", "chat-*"] {
        assert_eq!(create(&chat, name).await?, 201, "{name}");
    }
    for name in ["other", "CHAT-1", "cha", "x%2Fchat-1", "..%2Fchat-1", "%252e%252e", "*", "chat", "%63ha"] {
        assert_eq!(create(&chat, name).await?, 403, "{name}");
    }
    assert_eq!(create(&slash, "a%2Fb").await?, 201);
    assert_eq!(create(&slash, "a%2fb").await?, 201, "the same name");
    assert_eq!(create(&slash, "a%252Fb").await?, 403, "decoded once");
    owner.send("GET", "/v1/streams/a%252Fb", "").await?.expect(404)?;
    owner.send("GET", "/v1/streams/a%2Fb", "").await?.expect(200)?;
    for (name, status) in [
        ("chat-%00", 400),
        ("chat-%0d%0a", 400),
        ("chat-%20", 400),
        ("chat-%e2%80%ae", 400),
        ("chat-%ff", 400),
        ("chat-%", 400),
        ("%ef%bd%83hat-1", 400),
        (&format!("chat-{}", "x".repeat(256)), 400),
        ("", 400),
        ("chat-1/../../other", 404),
        ("chat-1//events", 404),
    ] {
        assert_eq!(create(&chat, name).await?, status, "{name}");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_breaks_in_texts_are_never_line_breaks_on_the_wire() -> Result<()> {
    let server = guarded(|_| {}).await?;
    let evil = User::new(&server, &token(EVIL, ALL));
    let op = User::new(&server, &token("op", "admin"));
    let body = json!({"conversationId": EVIL, "model": EVIL, "sender": EVIL, "responseMessageId": EVIL}).to_string();
    evil.send("POST", "/v1/streams/s", body).await?.expect(201)?;
    let record = json!({"event": EVIL, "data": {"id": EVIL, "text": EVIL}}).to_string();
    evil.send("POST", "/v1/streams/s/events", record.clone()).await?.expect(200)?;
    let end = json!({"finalEvent": {"final": true, "title": EVIL}}).to_string();
    evil.send("POST", "/v1/streams/s/complete", end).await?.expect(200)?;

    for path in ["/v1/streams/s", "/v1/streams", "/v1/streams/s/resume", "/v1/stats"] {
        for user in [&evil, &op] {
            let answer = user.send("GET", path, "").await?.expect(200)?;
            assert!(!answer.headers.contains_key("set-cookie"), "{path}");
            assert!(answer.json().is_object() && !answer.body.contains(&b'\r'), "{path}");
        }
    }
    assert_eq!(op.send("GET", "/v1/streams/s", "").await?.json()["job"]["userId"], EVIL);
    for query in ["", "?resume=true"] {
        let headers = [("authorization", evil.bearer.as_str())];
        let mut reader = server.client().subscribe(&format!("/v1/streams/s/events{query}"), &headers).await?;
        assert!(!reader.headers.contains_key("set-cookie"));
        let frames = reader.rest().await?;
        assert_eq!(frames.len(), 2, "{frames:?}");
        assert!(frames.iter().all(|frame| frame.event.is_none() && frame.json().is_object()), "{frames:?}");
    }
    for group in ["%0d%0aset-cookie:a", "a%0ab", "%00"] {
        let answer = evil.send("PUT", &format!("/v1/streams/s/groups/{group}"), "").await?;
        assert_eq!(answer.problem(), (400, "invalid_group".to_owned()), "{group}");
    }
    // An error that names what it was given stays one line of JSON.
    let failed = json!({"error": EVIL}).to_string();
    evil.send("POST", "/v1/streams/e", "{}").await?.expect(201)?;
    evil.send("POST", "/v1/streams/e/complete", failed).await?.expect(200)?;
    let headers = [("authorization", evil.bearer.as_str())];
    let frames = server.client().subscribe("/v1/streams/e/events", &headers).await?.rest().await?;
    assert!(matches!(frames.as_slice(), [only] if only.json()["error"] == EVIL), "{frames:?}");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_request_reach_nothing() -> Result<()> {
    let server = guarded(|_| {}).await?;
    let good = token("ann", ALL);
    for request in [
        format!(
            "GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer\r\n {good}\r\nConnection: close\r\n\r\n"
        ),
        format!(
            "GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer {good}\r\nConnection: close\r\n\r\n"
        ),
        format!(
            "GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nX: \x00\r\nAuthorization: Bearer {good}\r\nConnection: close\r\n\r\n"
        ),
        format!(
            "GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {good}\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n"
        ),
    ] {
        let mut stream = TcpStream::connect(server.address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let _ = rejoin_tests::wait::soon("an answer", stream.read_to_end(&mut answer)).await?;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 401 "), "{request}: {answer}");
    }
    server.stop().await
}
