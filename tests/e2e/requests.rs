//! Bad requests: names, numbers, cursors, types, paths, and what is no HTTP at all.

use anyhow::{Context, Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::server::Server;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_id_is_checked_before_anything_else() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let long = "x".repeat(257);
    for bad in ["%0d%0a", "a%0Ab", "%00", "a%20b", "%7f", "caf%c3%a9", "%ff", "%", "%2", "%zz", &long] {
        for (method, tail) in [("POST", ""), ("GET", ""), ("POST", "/events"), ("GET", "/events"), ("GET", "/resume")] {
            let path = format!("/v1/streams/{bad}{tail}");
            let answer = client.send(method, &path, &[], "").await?;
            answer.refused(400, "invalid_stream_id").with_context(|| format!("{method} {path}"))?;
        }
    }
    client.send("POST", "/v1/streams/", &[], "").await?.refused(400, "invalid_stream_id")?;
    let longest = "y".repeat(256);
    for (raw, name) in [("a%2fb", "a/b"), ("a%252fb", "a%2fb"), ("%22%3c%3e%5c", "\"<>\\"), (&*longest, &*longest)] {
        let created = client.post(&format!("/v1/streams/{raw}"), &json!({})).await?.expect(201)?.json();
        assert_eq!(created["streamId"], name);
        client.append(raw, &answer(1)).await?.expect(200)?;
        assert_eq!(client.records(raw).await?.len(), 2, "{raw}");
    }
    let listed = client.get("/v1/streams").await?.expect(200)?.json();
    assert_eq!(listed["streams"].as_array().map(Vec::len), Some(4));
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_is_none_is_400_and_one_of_elsewhere_is_a_reset() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({})).await?;
    client.append("s", &answer(2)).await?.expect(200)?;
    let live = ("accept", "text/event-stream");
    for garbage in ["x", "1", "1-", "-1", "1-1-1", "+1-1", "1-99999999999999999999", "0x1-1", "1-1%20"] {
        let path = format!("/v1/streams/s/events?after={garbage}");
        client.send("GET", &path, &[live], "").await?.refused(400, "invalid_cursor").context(garbage)?;
        client.send("GET", &path, &[], "").await?.refused(400, "invalid_cursor").context(garbage)?;
        let header = [live, ("last-event-id", garbage)];
        client
            .send("GET", "/v1/streams/s/events", &header, "")
            .await?
            .refused(400, "invalid_cursor")
            .context(garbage)?;
    }
    let largest = u64::MAX;
    let elsewhere = [
        format!("{generation}-4"),
        format!("{generation}-{largest}"),
        format!("{}-1", generation - 1),
        format!("{}-1", generation + 1),
        format!("{largest}-{largest}"),
        "0-0".to_owned(),
    ];
    for cursor in &elsewhere {
        let mut reader = client.follow("s", Some(cursor)).await?;
        let frame = reader.frame().await?;
        let state = frame.json();
        assert_eq!((&state["sync"], &state["reset"]), (&json!(true), &json!(true)), "{cursor}: {state}");
        assert_eq!(frame.id, Some(format!("{generation}-3")), "{cursor}");
        assert_eq!(state["resumeState"]["aggregatedContent"][0]["text"], "w0 w1 ", "{cursor}: {state}");
        let page = client.get(&format!("/v1/streams/s/events?after={cursor}")).await?;
        page.refused(410, "cursor_gone").with_context(|| cursor.clone())?;
    }
    // The beginning is a cursor too.
    let first = client.follow("s", Some(&format!("{generation}-0"))).await?.frame().await?;
    assert_eq!(first.id, Some(format!("{generation}-1")));
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_none_is_400_and_changes_nothing() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    for bad in ["-1", "1.0", "+1", "0x1", "x", "", "99999999999999999999", "1e3", "%zz"] {
        let append = client.post(&format!("/v1/streams/s/events?generation={bad}"), &json!({"event": "x"})).await?;
        append.refused(400, "invalid_query").context(bad)?;
        client
            .post(&format!("/v1/streams/s/abort?generation={bad}"), &json!({}))
            .await?
            .refused(400, "invalid_query")?;
        for path in ["/v1/streams/s/events?limit=", "/v1/streams?limit="] {
            client.get(&format!("{path}{bad}")).await?.refused(400, "invalid_query").context(bad)?;
        }
        let seq = bad.trim_start_matches('%');
        let headers = [("content-type", "application/json"), ("producer-id", "p"), ("producer-seq", seq)];
        let append = client.send("POST", "/v1/streams/s/events", &headers, r#"{"event":"x"}"#).await?;
        append.refused(400, "invalid_header").context(bad)?;
    }
    for limit in ["0", "1001"] {
        client.get(&format!("/v1/streams?limit={limit}")).await?.refused(400, "invalid_query").context(limit)?;
    }
    client.get("/v1/streams?status=asleep").await?.refused(400, "invalid_query")?;
    client.get("/v1/streams?after=garbage").await?.refused(400, "invalid_query")?;
    let state = client.state("s").await?;
    assert_eq!((&state["status"], &state["content"]), (&json!("running"), &json!([])));
    assert_eq!(client.records("s").await?, [""; 0]);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_type_of_body_is_415_and_an_unknown_wish_406() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let events = "/v1/streams/s/events";
    for (kind, code) in [
        ("text/plain", "unsupported_media_type"),
        ("application/xml", "unsupported_media_type"),
        ("nonsense", "unsupported_media_type"),
        ("multipart/form-data; boundary=x", "unsupported_media_type"),
        ("text/event-stream", "unknown_dialect"),
        ("text/event-stream; dialect=klingon", "unknown_dialect"),
        ("text/event-stream; dialect=", "unknown_dialect"),
    ] {
        let sent = client.send("POST", events, &[("content-type", kind)], "{\"event\":\"x\"}\n").await?;
        sent.refused(415, code).context(kind)?;
    }
    for path in ["/v1/streams/other", "/v1/streams/s/complete", "/v1/streams/s/abort", "/v1/streams/s/action"] {
        let sent = client.send("POST", path, &[("content-type", "text/plain")], "{}").await?;
        sent.refused(415, "unsupported_media_type").context(path)?;
    }
    client.send("GET", events, &[("accept", "image/png")], "").await?.refused(406, "not_acceptable")?;
    assert_eq!(client.records("s").await?, [""; 0]);
    assert_eq!(client.state("s").await?["status"], "running");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_with_a_member_nobody_knows_is_422_and_one_that_is_no_json_400() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({"sender": "before"})).await?;
    let commands = [
        ("POST", "/v1/streams/new"),
        ("POST", "/v1/streams/s"),
        ("PATCH", "/v1/streams/s"),
        ("POST", "/v1/streams/s/complete"),
        ("POST", "/v1/streams/s/abort"),
        ("POST", "/v1/streams/s/action"),
    ];
    let json = [("content-type", "application/json")];
    for (method, path) in commands {
        for unknown in [r#"{"nope":1}"#, r#"{"status":"complete"}"#, "[]", "7", "null"] {
            let refused = client.send(method, path, &json, unknown).await?.refused(422, "invalid_request");
            refused.with_context(|| format!("{method} {path} {unknown}"))?;
        }
        for broken in ["{", "{\"generation\":1", "hello", "{} {}", "{\"a\":01}"] {
            let refused = client.send(method, path, &json, broken).await?.refused(400, "invalid_json");
            refused.with_context(|| format!("{method} {path} {broken}"))?;
        }
        let refused =
            client.send(method, path, &json, &b"{\"sender\":\"\xff\"}"[..]).await?.refused(400, "invalid_utf8");
        refused.with_context(|| format!("{method} {path}"))?;
        let large = format!("{{\"sender\":\"{}\"}}", "x".repeat(2 << 20));
        client.send(method, path, &json, large).await?.refused(413, "body_too_large")?;
    }
    for (path, body) in [
        ("/v1/streams/s", json!({"ifActive": "maybe"})),
        ("/v1/streams/s", json!({"expectedGeneration": -1})),
        ("/v1/streams/s", json!({"userId": ""})),
        ("/v1/streams/s", json!({"userId": 7})),
        ("/v1/streams/s/abort", json!({"generation": "x"})),
        ("/v1/streams/s/abort", json!({"generation": -1})),
        ("/v1/streams/s/complete", json!({"finalEvent": 7})),
        ("/v1/streams/s/complete", json!({"finalEvent": {}, "error": "x"})),
        ("/v1/streams/s/action", json!({"type": "request"})),
        ("/v1/streams/s/action", json!({"type": "dance", "action": {}})),
    ] {
        client.post(path, &body).await?.refused(422, "invalid_request").with_context(|| format!("{path} {body}"))?;
    }
    let state = client.state("s").await?;
    assert_eq!((&state["status"], &state["job"]["sender"]), (&json!("running"), &json!("before")));
    client.get("/v1/streams/new").await?.refused(404, "not_found")?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_method_names_the_right_ones_and_a_wrong_path_is_404() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    for (method, path, allowed) in [
        ("PUT", "/v1/streams/s", ["GET", "HEAD", "POST", "PATCH", "DELETE"].as_slice()),
        ("DELETE", "/v1/streams/s/events", &["GET", "HEAD", "POST"]),
        ("GET", "/v1/streams/s/complete", &["POST"]),
        ("POST", "/v1/streams/s/resume", &["GET", "HEAD"]),
        ("POST", "/v1/streams", &["GET", "HEAD"]),
        ("POST", "/healthz", &["GET", "HEAD"]),
        ("OPTIONS", "/v1/streams/s/abort", &["POST"]),
        ("BREW", "/v1/streams/s/events", &["GET", "HEAD", "POST"]),
    ] {
        let answer = client.send(method, path, &[], "").await?;
        answer.refused(405, "method_not_allowed").with_context(|| format!("{method} {path}"))?;
        let mut named: Vec<&str> = answer.header("allow").split(", ").collect();
        named.sort_unstable();
        let mut wanted = allowed.to_vec();
        wanted.sort_unstable();
        assert_eq!(named, wanted, "{method} {path}");
    }
    for path in ["/nothing", "/v1", "/v1/streams/s/nothing", "/v1/streams/s/events/", "/v1/streams/a/b/events", "//"] {
        client.get(path).await?.refused(404, "unknown_path").context(path)?;
    }
    for (method, tail) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/resume")] {
        let answer = client.send(method, &format!("/v1/streams/unknown{tail}"), &[], "").await?;
        answer.refused(404, "not_found").with_context(|| format!("{method} {tail}"))?;
    }
    for tail in ["/events", "/complete", "/abort"] {
        let answer = client.post(&format!("/v1/streams/unknown{tail}"), &json!({})).await?;
        answer.refused(404, "not_found").context(tail)?;
    }
    let head = client.send("HEAD", "/v1/streams/unknown", &[], "").await?;
    assert_eq!((head.status, head.body.len()), (404, 0));
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_harms_nobody_else() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let mut reader = client.follow("s", None).await?;
    let upload = client.upload("/v1/streams/s/events", &[("content-type", "application/x-ndjson")]);
    let lines = answer(40);
    let mut garbage: Vec<Vec<u8>> = vec![
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"\0".repeat(1000),
        b"\r\n\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /v1/streams/s HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n".to_vec(),
        b"POST /v1/streams/s/events HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{}".to_vec(),
        b"POST /v1/streams/s/events HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"POST /v1/streams/s/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        [b"GET /".as_slice(), &b"x".repeat(200_000), b" HTTP/1.1\r\n\r\n"].concat(),
        [b"GET / HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(20_000), b"\r\n"].concat(),
    ];
    garbage.push((0..=255).cycle().take(5000).collect());
    let sent = garbage.len();
    for (line, noise) in lines.iter().zip(garbage.into_iter().cycle().take(lines.len())) {
        let mut socket = TcpStream::connect(server.address).await?;
        // It may be refused before all of it was sent.
        let _ = socket.write_all(&noise).await;
        let _ = socket.shutdown().await;
        let mut said = Vec::new();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(30), socket.read_to_end(&mut said)).await?;
        let said = String::from_utf8_lossy(&said);
        ensure!(
            !said.starts_with("HTTP/1.1 2") && !said.starts_with("HTTP/1.1 5"),
            "{said} to {}",
            noise.escape_ascii()
        );
        upload.send(format!("{line}\n")).await?;
        assert_eq!(reader.frame().await?.data, *line);
    }
    assert!(sent < lines.len(), "each kind of noise came");
    assert_eq!(upload.finish().await?.expect(200)?.json()["appended"], lines.len());
    assert_eq!(client.records("s").await?, lines);
    server.stop().await
}
