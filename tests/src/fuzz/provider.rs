//! Bodies of model providers: every dialect.

use rejoin_core::lines::Framing;
use rejoin_core::translate::{Dialect, Translator};
use rejoin_core::types::{Limits, Refusal};

use super::input::Input;
use super::session::Native;

const LIMITS: Limits = Limits {
    record_bytes_max: u64::MAX,
    records_max: u64::MAX,
    log_bytes_max: u64::MAX,
    idle_ms: 1000,
    paused_idle_ms: 1000,
};

/// Two bytes decide about the dialect and the pieces; the rest is the body.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let dialect = Dialect::ALL[input.below(Dialect::ALL.len())];
    let lines_a_piece = 1 + input.below(7);
    let body = String::from_utf8_lossy(input.rest());

    let whole = translated(dialect, &[body.clone().into_owned()]);
    let lines: Vec<_> = body.split_inclusive('\n').collect();
    let pieces: Vec<_> = lines.chunks(lines_a_piece).map(<[&str]>::concat).collect();
    assert_eq!(translated(dialect, &pieces), whole, "another split of the same lines");

    let mut native = Native::started(LIMITS);
    if let Ok(pushed) = native.push(Framing::Ndjson, &whole.0)
        && let Some(stopped) = pushed.stopped
    {
        assert!(!matches!(stopped.reason, Refusal::Invalid(_)), "{stopped:?} in {}", whole.0);
    }
}

/// The records of a body that comes in these pieces, and where it stopped.
fn translated(dialect: Dialect, pieces: &[String]) -> (String, Option<(u64, String)>) {
    let mut translator = Translator::new(dialect);
    let mut records = String::new();
    for piece in pieces.iter().map(Some).chain([None]) {
        let translated = match piece {
            Some(piece) => translator.push(piece),
            None => translator.finish(),
        };
        records.push_str(&translated.records);
        if let Some(bad) = translated.bad {
            return (records, Some((bad.line, bad.reason)));
        }
    }
    (records, None)
}
