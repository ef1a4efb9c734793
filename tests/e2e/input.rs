//! Bad input: refused with its line, and nothing lost before it.

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::{Answer, Client};
use rejoin_tests::random::Random;
use rejoin_tests::server::Server;
use rejoin_tests::{answer, delta};
use serde_json::{Value, json};

const NDJSON: &str = "application/x-ndjson";
const GOOD: [&str; 4] = [r#"{"event":"a","n":1}"#, r#"{"event":"b","n":2}"#, r#"{"event":"c"}"#, r#"{"event":"d"}"#];

async fn append(client: &Client, stream: &str, kind: &str, body: impl Into<bytes::Bytes>) -> Result<Answer> {
    client.send("POST", &format!("/v1/streams/{stream}/events"), &[("content-type", kind)], body).await
}

/// What a refused append says about what it kept: `appended`, sequence of `first` and `last`, `line`.
fn kept(problem: &Value) -> (Option<u64>, Option<u64>, Option<u64>, Option<u64>) {
    let sequence = |cursor: &Value| cursor.as_str()?.split_once('-')?.1.parse().ok();
    let count = |name: &str| problem[name].as_u64();
    (count("appended"), sequence(&problem["first"]), sequence(&problem["last"]), count("line"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_line_loses_nothing_before_it_and_nothing_after_it_is_taken() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let mut random = Random::new();
    let long = format!(r#"{{"event":"x","text":"{}"}}"#, "x".repeat(2 << 20));
    let cases: [(&str, &[u8], u16, &str); 16] = [
        ("truncated", br#"{"event":"x""#, 422, "invalid_record"),
        ("number", b"7", 422, "invalid_record"),
        ("list", br#"[{"event":"x"}]"#, 422, "invalid_record"),
        ("string", br#""event""#, 422, "invalid_record"),
        ("null", b"null", 422, "invalid_record"),
        ("word", b"hello", 422, "invalid_record"),
        ("two-on-a-line", br#"{"event":"x"} {"event":"y"}"#, 422, "invalid_record"),
        ("trailing-comma", br#"{"event":"x",}"#, 422, "invalid_record"),
        ("single-quotes", b"{'event':'x'}", 422, "invalid_record"),
        ("no-number", br#"{"event":"x","n":NaN}"#, 422, "invalid_record"),
        ("raw-nul-in-a-string", b"{\"event\":\"x\0y\"}", 422, "invalid_record"),
        ("raw-nul-between", b"{\"event\":\0\"x\"}", 422, "invalid_record"),
        ("byte-order-mark", "\u{feff}{\"event\":\"x\"}".as_bytes(), 422, "invalid_record"),
        ("no-utf8", b"{\"event\":\"x\xff\"}", 422, "invalid_utf8"),
        ("overlong-utf8", b"{\"event\":\"\xc0\xaf\"}", 422, "invalid_utf8"),
        ("long", long.as_bytes(), 413, "record_too_large"),
    ];
    for (name, bad, status, code) in cases {
        let body =
            [GOOD[0].as_bytes(), b"\n\n", GOOD[1].as_bytes(), b"\r\n", bad, b"\n", GOOD[2].as_bytes(), b"\n"].concat();
        for whole in [true, false] {
            let stream = format!("{name}-{whole}");
            client.create(&stream, &json!({})).await?;
            let answer = if whole {
                append(&client, &stream, NDJSON, body.clone()).await?
            } else {
                let upload = client.upload(&format!("/v1/streams/{stream}/events"), &[("content-type", NDJSON)]);
                for piece in random.pieces(&body, if bad.len() > 100 { 200_000 } else { 8 }) {
                    // The server may have answered already.
                    let _ = upload.send(piece).await;
                }
                upload.finish().await?
            };
            let problem = answer.refused(status, code).with_context(|| stream.clone())?;
            assert_eq!(kept(&problem), (Some(2), Some(1), Some(2), Some(4)), "{stream}: {problem}");
            assert_eq!(client.records(&stream).await?, GOOD[..2], "{stream}");

            let next = append(&client, &stream, NDJSON, GOOD[3]).await?.expect(200)?.json();
            assert_eq!(kept(&next), (Some(1), Some(3), Some(3), None), "{stream} goes on");
            assert_eq!(client.state(&stream).await?["status"], "running", "{stream}");
        }
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_ends_inside_a_character_keeps_the_lines_before() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let body = [GOOD[0].as_bytes(), b"\n{\"event\":\"\xf0\x9f\xa6"].concat();
    let problem = append(&client, "s", NDJSON, body).await?.refused(422, "invalid_utf8")?;
    assert_eq!(kept(&problem), (Some(1), Some(1), Some(1), Some(2)));
    assert_eq!(client.records("s").await?, GOOD[..1]);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_json_list_before_a_bad_one_are_kept() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let list = format!("[{},\n{},\n7,{}]", GOOD[0], GOOD[1], GOOD[2]);
    let problem = append(&client, "s", "application/json", list).await?.refused(422, "invalid_record")?;
    assert_eq!(kept(&problem), (Some(2), Some(1), Some(2), Some(3)));
    for broken in [format!("[{},", GOOD[2]), format!("[{} {}]", GOOD[2], GOOD[3]), "7".into(), "\"x\"".into()] {
        let problem = append(&client, "s", "application/json", broken.clone()).await?.refused(422, "invalid_record")?;
        assert_eq!(kept(&problem), (Some(0), None, None, Some(1)), "{broken}");
    }
    append(&client, "s", "application/json", &b"{\"event\":\"\xff\"}"[..]).await?.refused(400, "invalid_utf8")?;
    assert_eq!(client.records("s").await?, GOOD[..2]);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_body_above_its_bound_is_refused_whole() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let member = format!("{{\"event\":\"x\",\"text\":\"{}\"}}", "x".repeat(900_000));
    let body = format!("[{}]", vec![member; 10].join(","));
    append(&client, "s", "application/json", body.clone()).await?.refused(413, "body_too_large")?;
    // Without a length that tells beforehand.
    let upload = client.upload("/v1/streams/s/events", &[("content-type", "application/json")]);
    for piece in body.as_bytes().chunks(100_000) {
        if upload.send(piece.to_vec()).await.is_err() {
            break;
        }
    }
    upload.answer().await?.refused(413, "body_too_large")?;
    assert_eq!(client.records("s").await?, [""; 0]);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> Result<()> {
    let server = Server::start_with(|config| config.record_bytes_max = 1000).await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let record = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    for (kind, end) in [(NDJSON, ""), (NDJSON, "\n"), (NDJSON, "\r\n"), ("application/json", "\n")] {
        append(&client, "s", kind, record(1000) + end).await?.expect(200)?;
        append(&client, "s", kind, record(1001) + end).await?.refused(413, "record_too_large")?;
    }
    let event = format!("data: {}\n\n", record(1001));
    let kind = "text/event-stream; dialect=events";
    append(&client, "s", kind, event).await?.refused(413, "record_too_large")?;
    assert_eq!(client.records("s").await?, vec![record(1000); 4]);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_levels_of_nesting_are_kept_and_delivered_as_they_came() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let generation = client.create("s", &json!({})).await?;
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let unknown = format!("{{\"event\":\"deep\",\"data\":{deep_objects}}}");
    let call = format!(
        r#"{{"event":"on_run_step","data":{{"id":"s","index":0,"stepDetails":{{"type":"tool_calls","tool_calls":[{{"id":"c","name":"n","args":{deep}}}]}}}}}}"#
    );
    append(&client, "s", NDJSON, format!("{unknown}\n{call}\n")).await?.expect(200)?;
    append(&client, "s", "application/json", format!("[{unknown}]")).await?.expect(200)?;
    append(&client, "s", "text/event-stream;dialect=events", format!("data: {call}\n\n")).await?.expect(200)?;

    let sent = [&unknown, &call, &unknown, &call];
    assert_eq!(client.records("s").await?, sent.map(String::as_str));
    let mut live = client.follow("s", None).await?;
    for (at, record) in (1..).zip(sent) {
        let frame = live.frame().await?;
        assert_eq!((frame.id, frame.data == *record), (Some(format!("{generation}-{at}")), true));
    }
    for path in ["/v1/streams/s", "/v1/streams/s/resume"] {
        let answer = client.get(path).await?.expect(200)?;
        assert!(String::from_utf8_lossy(&answer.body).contains(&deep), "{path} has the arguments");
    }
    let state = client.subscribe("/v1/streams/s/events?resume=true", &[]).await?.frame().await?;
    assert!(state.data.contains(&deep), "the snapshot has the arguments");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lone_surrogates_heal_when_their_other_half_comes() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({})).await?;
    let halves = [delta("@").replace('@', "a\\ud83e"), delta("@").replace('@', "\\udd80 b\\udd80")];
    client.append("s", &[&answer(0)[0], &halves[0]]).await?.expect(200)?;
    client.append("s", &[&halves[1]]).await?.expect(200)?;
    assert_eq!(client.records("s").await?[1..], halves);
    let body = client.get("/v1/streams/s").await?.expect(200)?.body;
    let body = String::from_utf8(body.to_vec())?;
    // The pair is a character, in whatever spelling; the half that stays alone stays an escape.
    ensure!(body.contains("a\\ud83e\\udd80 b\\udd80") || body.contains("a🦀 b\\udd80"), "{body}");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_record_can_make_a_line_of_its_own_in_the_live_stream() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let evil = "x\r\nevent: evil\r\rid: 9-9\n\ndata: {\"evil\":1}\n\n\u{2028}\u{85}data: evil";
    let metadata = json!({"userId": evil, "sender": evil, "model": evil, "conversationId": evil});
    client.create("s", &metadata).await?;
    let pretty = "{\"event\":\r\"a\",\n\"data\":{\r\n\"evil\":\"\\ndata: evil\"}}";
    append(&client, "s", "application/json", format!("[{pretty},\n\n{}]", delta(evil))).await?.expect(200)?;
    append(&client, "s", NDJSON, "{\"event\":\"a\",\rdata: evil\r\"b\":1}").await?.refused(422, "invalid_record")?;
    append(&client, "s", NDJSON, "{\"event\":\"a\",\r\"b\":1}\r\n").await?.expect(200)?;
    let message = json!({"created": true, "message": {"messageId": evil, "text": evil}});
    client.append("s", &[message.to_string()]).await?.expect(200)?;
    client.post("/v1/streams/s/action", &json!({"type": "request", "action": {"id": evil}})).await?.expect(200)?;
    let failed = client.post("/v1/streams/s/complete", &json!({"error": evil})).await?.expect(200)?;
    assert_eq!(failed.json()["job"]["status"], "error");

    let mut frames = 0;
    for query in ["", "?resume=true", "?after=1-1"] {
        let path = format!("/v1/streams/s/events{query}");
        let answer = client.send("GET", &path, &[("accept", "text/event-stream")], "").await?.expect(200)?;
        let text = String::from_utf8(answer.body.to_vec())?;
        ensure!(!text.contains('\r'), "a carriage return ends a line too: {text:?}");
        for line in text.lines() {
            let field = line.split_once(": ").map_or(line, |(field, _)| field);
            ensure!(["", "id", "data", "event", "retry"].contains(&field), "{line:?} in {text:?}");
            ensure!(field != "event" || line == "event: error", "{line:?}");
            if let Some(data) = line.strip_prefix("data: ") {
                serde_json::from_str::<Value>(data).with_context(|| data.to_owned())?;
                frames += 1;
            }
        }
    }
    assert!(frames > 6, "{frames} frames");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_split_of_a_body_into_pieces_gives_the_same_records() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let mut random = Random::new();
    let mut lines = answer(40);
    lines.extend([r#"{"event":"žluťoučký 🦀","x":"\ud83e"}"#.into(), "{}".into(), delta(&"long ".repeat(3000))]);
    let ends = ["\n", "\r\n", "\n\n", "\n \t\r\n"];
    for case in 0..40 {
        let mut body: String = lines.iter().flat_map(|line| [line.as_str(), ends[random.below(ends.len())]]).collect();
        if random.below(2) == 0 {
            body.truncate(body.trim_end().len());
        }
        let longest = 1 << random.below(14);
        let stream = format!("split-{case}");
        client.create(&stream, &json!({})).await?;
        let upload = client.upload(&format!("/v1/streams/{stream}/events"), &[("content-type", NDJSON)]);
        for piece in random.pieces(body.as_bytes(), longest) {
            upload.send(piece).await?;
        }
        let done = upload.finish().await?.expect(200)?.json();
        let count = lines.len() as u64;
        assert_eq!(kept(&done), (Some(count), Some(1), Some(count), None), "pieces of up to {longest}");
        assert_eq!(client.records(&stream).await?, lines, "pieces of up to {longest}");
    }
    server.stop().await
}
