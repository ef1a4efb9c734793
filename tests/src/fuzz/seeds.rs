//! Where a search begins: bodies and heads as they come, cases, recordings where they stand beside the checkout, and
//! everything that was ever found.

use std::fs;

use serde_json::json;

use crate::token::{Signer, claims, sign, token, token_with};
use crate::{answer, root, shared};

/// Seeds of a target, and the findings that are kept of it.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = match target {
        "ndjson" => bodies(),
        "provider" => recordings(),
        "cursor" => heads(),
        "token" => tokens(),
        "boundary" => calls(),
        _ => Vec::new(),
    };
    let kept = fs::read_dir(root().join("tests/cases/fuzz").join(target));
    let files = kept.into_iter().flatten().filter_map(|entry| fs::read(entry.ok()?.path()).ok());
    seeds.extend(files);
    seeds
}

fn bodies() -> Vec<Vec<u8>> {
    let mut bodies = vec![answer(4).join("\n"), "\r\n\n {} \n7\n{\"a\":\u{1f980}".to_owned()];
    let sample = fs::read_to_string(root().join("host/src/http/inspector/sample.jsonl"));
    bodies.extend(sample.iter().map(|text| text.lines().take(40).collect::<Vec<_>>().join("\n")));
    let cases = fs::read_to_string(root().join("tests/cases/aggregator/public.jsonl")).unwrap_or_default();
    // A case is one object: its events stand in a list.
    bodies.extend(cases.lines().filter(|line| line.len() < 4000).step_by(4).map(|case| {
        let case: serde_json::Value = serde_json::from_str(case).unwrap_or_default();
        let events = case["events"].as_array().cloned().unwrap_or_default();
        events.iter().map(|event| format!("{event}\n")).collect()
    }));
    bodies.into_iter().zip(0u8..).map(|(body, at)| [&[at, at, 7][..], body.as_bytes()].concat()).collect()
}

fn recordings() -> Vec<Vec<u8>> {
    let small = |text: &str| [&[0, 3][..], text.as_bytes()].concat();
    let mut seeds =
        vec![small("data: {\"event\":\"mine\",\"data\":{}}\n\n: comment\nevent: x\ndata:{}\r\n\r\ndata: [DONE]\n\n")];
    let Some(folder) = shared("transcripts") else { return seeds };
    for path in fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let dialect = match name.split("__").next() {
            Some("anthropic") => 3,
            Some("openai") if name.contains("responses") => 2,
            _ => 1,
        };
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<_> = text.lines().filter(|line| line.len() < 3000).collect();
        for chunk in lines.chunks(12).take(6) {
            let body: String = chunk.iter().map(|line| format!("data: {line}\n\n")).collect();
            seeds.push([&[dialect, 2][..], body.as_bytes()].concat());
        }
    }
    seeds
}

fn heads() -> Vec<Vec<u8>> {
    let heads = [
        "/v1/streams/chat-1/events?after=1789000000000-41&limit=10\x001789000000000-42\x00text/event-stream\0",
        "/v1/streams/a%2Fb/groups/g%20h/events?consumer=c&count=1\0\0application/json;q=0.5, text/*;q=0\0",
        "/v1/streams?userId=u+1&status=running&after=1789000000000.612f62\0\0*/*\0application/json; charset=utf-8\0",
        "/v1/streams/x/events?generation=1\0\0\0text/event-stream; dialect=\"openai-chat\"\0p\x007\0key\0W/\"1\", *\0",
        "/v1/streams/%C3%A9/events?resume=true&content=0\x00-1\0\0json\0",
    ];
    heads.iter().map(|head| head.as_bytes().to_vec()).collect()
}

fn tokens() -> Vec<Vec<u8>> {
    let seeds = ["chat-*\0chat-1\0u1\0\x01", "a\0a\0u\0\x04", "*\0x\0\0\x00", "a/../b*\0a/../bc\0u\0\x02"];
    let mut seeds: Vec<_> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let claims = claims("u1", "subscribe", &json!({"stream": "chat-*", "nbf": 1, "aud": ["a", "b"]}));
    let unsigned = sign(&json!({"alg": "none", "typ": "JWT"}), &claims, &Signer::Nobody);
    for token in [token("u1", "produce list"), token_with("u1", "admin", &json!({"aud": "a"})), unsigned] {
        seeds.push([&b"*\0x\0u1\0\x00"[..], token.as_bytes()].concat());
    }
    seeds
}

/// Begin a generation, then each call once, with a word or two.
fn calls() -> Vec<Vec<u8>> {
    let begin = [2, 1, 1, 0, 1, 1, 1, 0, 0, 3];
    (0..14u8).map(|call| [&begin[..], &[call, 2, 5, 9, 1, 3, 1, 2, 3, 1, 2, 7, 1, 3]].concat()).collect()
}
