//! Append bodies: the host's line cutter, then the core's lines and fold.

use rejoin::http::lines::{Broken, LineSplitter, is_blank};
use rejoin_core::lines::Framing;
use rejoin_core::types::Limits;

use super::input::Input;
use super::session::Native;

/// Three bytes decide about bounds and pieces; the rest is the body.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let line_bytes_max = match input.byte() {
        0..=127 => 1 << 20,
        small => usize::from(small - 127),
    };
    let batch_bytes_max = 1 + input.below(64);
    let piece_bytes = 1 + input.below(48);
    let body = input.rest();

    let whole = split(&[body], line_bytes_max, 1 << 20);
    let pieces: Vec<_> = body.chunks(piece_bytes).collect();
    let again = split(&pieces, line_bytes_max, batch_bytes_max);
    assert_eq!(again.lines, whole.lines, "another split of the same bytes");
    assert_eq!(again.broken, whole.broken);

    let limits =
        Limits { record_bytes_max: 200, records_max: 20, log_bytes_max: 2000, idle_ms: 1000, paused_idle_ms: 1000 };
    let large = Limits { record_bytes_max: 1 << 20, records_max: 1 << 20, log_bytes_max: 1 << 30, ..limits };
    for limits in [limits, large] {
        assert_eq!(taken(&again.batches, limits), taken(&whole.lines, limits), "another batch of the same lines");
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let mut native = Native::started(limits);
        let _ = native.push(Framing::Json, text);
    }
}

#[derive(Debug)]
struct Split {
    lines: Vec<String>,
    batches: Vec<String>,
    broken: Option<Broken>,
}

fn split(pieces: &[&[u8]], line_bytes_max: usize, batch_bytes_max: usize) -> Split {
    let mut splitter = LineSplitter::new(line_bytes_max, batch_bytes_max);
    let mut found = Split { lines: Vec::new(), batches: Vec::new(), broken: None };
    for (piece, is_last) in pieces.iter().map(|piece| (*piece, false)).chain([(&[][..], true)]) {
        splitter.feed(piece);
        if is_last {
            splitter.finish();
        }
        while found.broken.is_none() {
            match splitter.take() {
                Ok(Some(batch)) => {
                    assert_eq!(batch.lines_before, found.lines.len() as u64);
                    found.lines.extend(batch.text.split_inclusive('\n').map(str::to_owned));
                    found.batches.push(batch.text);
                }
                Ok(None) => break,
                Err(broken) => found.broken = Some(broken),
            }
        }
    }
    found
}

/// What becomes of texts that are pushed one after another, as `http/produce.rs` does: log, content, and the line (of all
/// texts together) where it stopped.
fn taken(texts: &[String], limits: Limits) -> (Vec<String>, Option<String>, Option<(u64, String)>) {
    let mut native = Native::started(limits);
    let (mut before, mut stopped) = (0, None);
    for text in texts.iter() {
        // A text of blank lines is passed over at the door.
        if is_blank(text) {
            before += text.lines().count() as u64;
            continue;
        }
        let stop = match native.push(Framing::Ndjson, text) {
            Ok(pushed) => pushed.stopped.map(|stopped| (u64::from(stopped.line), stopped.reason)),
            Err(refusal) => {
                let blank = text.lines().take_while(|line| is_blank(line)).count() as u64;
                Some((blank + 1, refusal))
            }
        };
        if let Some((line, reason)) = stop {
            stopped = Some((before + line, format!("{reason:?}")));
            break;
        }
        before += text.lines().count() as u64;
    }
    (native.log, native.session.content().ok(), stopped)
}
