//! What end to end tests and benchmarks share: a server on a free port, and a client that sees every byte.

pub mod browser;
pub mod client;
pub mod command;
pub mod component;
pub mod files;
pub mod foreign;
pub mod fuzz;
pub mod nginx;
pub mod proxy;
pub mod random;
pub mod raw;
pub mod read;
pub mod recording;
pub mod redis;
pub mod replica;
pub mod server;
pub mod sse;
pub mod steady;
pub mod tls;
pub mod token;
pub mod trace;
pub mod wait;

use std::path::PathBuf;

/// The root of the checkout.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Material that is read in place where it stands beside the checkout; none elsewhere.
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(path);
    path.exists().then_some(path)
}

/// One run step of a message and `count` text deltas of it, one record a line.
pub fn answer(count: usize) -> Vec<String> {
    let step = r#"{"event":"on_run_step","data":{"id":"s","index":0,"stepDetails":{"type":"message_creation"}}}"#;
    std::iter::once(step.to_owned()).chain((0..count).map(|n| delta(&format!("w{n} ")))).collect()
}

/// One text delta of the step `s`.
pub fn delta(text: &str) -> String {
    let part = serde_json::json!({"event": "on_message_delta", "data": {"id": "s", "delta": {"content": [{"type": "text", "text": text}]}}});
    part.to_string()
}
