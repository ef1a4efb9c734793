//! The bytes of server-sent events. Pure: no clock, no state.
//!
//! A record has no raw line break (wit/types.wit `log-record`), so one `data:` line always holds it, byte for byte.

use crate::types::{Cursor, Entry, RecordKind};

/// How long a client waits before it reconnects. Sent once, at the start.
pub const RETRY: &[u8] = b"retry: 1000\n\n";

/// A comment that says only that the connection is alive.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Appends the frames of the records of `entry` strictly after the sequence `after`; internal records are passed over. The
/// number of frames.
pub fn encode(entry: &Entry, after: u64, out: &mut Vec<u8>) -> u64 {
    let id = Id::new(entry.first.generation);
    let skipped = after.saturating_add(1).saturating_sub(entry.first.sequence);
    if skipped == 0 {
        out.reserve(encoded_bytes_max(entry));
    }
    let mut frames = 0;
    for (cursor, kind, line) in entry.records().skip(usize::try_from(skipped).unwrap_or(usize::MAX)) {
        match kind {
            RecordKind::Internal => continue,
            RecordKind::Failure => out.extend_from_slice(b"event: error\n"),
            RecordKind::Event | RecordKind::Final => {}
        }
        id.write(cursor.sequence, out);
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n\n");
        frames += 1;
    }
    frames
}

/// Bytes that the frames of `entry` take at most; an `event: error` takes a few more.
pub fn encoded_bytes_max(entry: &Entry) -> usize {
    let digits = |number: u64| number.checked_ilog10().map_or(1, |tens| tens as usize + 1);
    let around = "id: -\ndata: \n".len() + digits(entry.first.generation) + digits(entry.last());
    let records = usize::try_from(entry.count).unwrap_or(usize::MAX);
    // Each record brings one line break of its own.
    entry.lines.len().saturating_add(records.saturating_mul(around))
}

/// The whole state (a JSON object) as one frame; the records strictly after `at` follow it. `reset`: the client's cursor
/// cannot be continued, what it has is void. Source: API.md section 3.
pub fn sync(at: Cursor, reset: bool, state: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(state.len() + 160);
    Id::new(at.generation).write(at.sequence, &mut out);
    out.extend_from_slice(b"\ndata: {\"sync\":true,");
    if reset {
        out.extend_from_slice(b"\"reset\":true,");
    }
    out.extend_from_slice(b"\"resumeState\":");
    push_line(&mut out, state);
    out.extend_from_slice(b",\"generation\":");
    push_number(&mut out, at.generation);
    out.extend_from_slice(b"}\n\n");
    out
}

/// Another generation, this one, has the stream now: the client asks again. The last frame.
pub fn reconcile(generation: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(112);
    out.extend_from_slice(
        b"data: {\"final\":true,\"reconcile\":true,\"reconcileReason\":\"generation_replaced\",\"generation\":",
    );
    push_number(&mut out, generation);
    out.extend_from_slice(b"}\n\n");
    out
}

/// A frame for producers: its name as event and in `signal`, the generation, and `members` (JSON members without braces,
/// or nothing).
pub fn signal(name: &str, generation: u64, members: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * name.len() + members.len() + 72);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: {\"signal\":\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\",\"generation\":");
    push_number(&mut out, generation);
    if !members.is_empty() {
        out.push(b',');
        push_line(&mut out, members);
    }
    out.extend_from_slice(b"}\n\n");
    out
}

/// Digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// Writes `id: <generation>-<sequence>` for many sequences of one generation.
struct Id {
    prefix: Vec<u8>,
}

impl Id {
    fn new(generation: u64) -> Self {
        let mut prefix = Vec::with_capacity("id: -".len() + DIGITS_MAX);
        prefix.extend_from_slice(b"id: ");
        push_number(&mut prefix, generation);
        prefix.push(b'-');
        Id { prefix }
    }

    fn write(&self, sequence: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        push_number(out, sequence);
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// JSON text on one line: raw line breaks can only stand between tokens, so blanks may take their place.
fn push_line(out: &mut Vec<u8>, json: &str) {
    let start = out.len();
    out.extend_from_slice(json.as_bytes());
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: u64, lines: &str, kinds: &[RecordKind]) -> Entry {
        let count = u64::try_from(lines.lines().count()).expect("small");
        let first = Cursor { generation: 1789000000000, sequence };
        Entry { first, lines: bytes::Bytes::copy_from_slice(lines.as_bytes()), kinds: kinds.into(), count }
    }

    fn encoded(entry: &Entry, after: u64) -> String {
        let mut out = Vec::new();
        encode(entry, after, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_record_is_its_cursor_and_its_bytes() {
        let entry = entry(41, "{\"event\": \"on_message_delta\"}\n", &[]);
        assert_eq!(encoded(&entry, 0).len(), encoded_bytes_max(&entry));
        assert_eq!(encoded(&entry, 0), "id: 1789000000000-41\ndata: {\"event\": \"on_message_delta\"}\n\n");
    }

    #[test]
    fn records_that_the_reader_has_are_skipped() {
        let entry = entry(9, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", &[]);
        let third = "id: 1789000000000-11\ndata: {\"a\":3}\n\n";
        let second = "id: 1789000000000-10\ndata: {\"a\":2}\n\n";
        assert_eq!(encoded(&entry, 9), [second, third].concat());
        assert_eq!(encoded(&entry, 10), third);
        assert_eq!(encoded(&entry, 11), "");
        assert_eq!(encoded(&entry, u64::MAX), "");
    }

    #[test]
    fn internal_records_are_not_sent_and_a_failure_is_an_error_event() {
        let kinds = [RecordKind::Internal, RecordKind::Event, RecordKind::Failure];
        let entry = entry(1, "{\"_internal\":true}\n{}\n{\"error\":\"x\"}\n", &kinds);
        assert_eq!(
            encoded(&entry, 0),
            "id: 1789000000000-2\ndata: {}\n\nevent: error\nid: 1789000000000-3\ndata: {\"error\":\"x\"}\n\n"
        );
    }

    #[test]
    fn a_final_record_is_a_plain_message() {
        let entry = entry(97, "{\"final\":true}\n", &[RecordKind::Final]);
        assert_eq!(encoded(&entry, 96), "id: 1789000000000-97\ndata: {\"final\":true}\n\n");
    }

    #[test]
    fn the_whole_state_is_one_frame_with_the_cursor_it_covers() {
        let at = Cursor { generation: 7, sequence: 41 };
        assert_eq!(
            sync(at, false, "{\"runSteps\":[]}"),
            b"id: 7-41\ndata: {\"sync\":true,\"resumeState\":{\"runSteps\":[]},\"generation\":7}\n\n"
        );
        assert_eq!(
            sync(at, true, "{\n}"),
            b"id: 7-41\ndata: {\"sync\":true,\"reset\":true,\"resumeState\":{ },\"generation\":7}\n\n"
        );
    }

    #[test]
    fn a_replaced_reader_is_told_the_new_generation_and_gets_no_cursor() {
        let expected = "data: {\"final\":true,\"reconcile\":true,\"reconcileReason\":\"generation_replaced\",\"generation\":12}\n\n";
        assert_eq!(reconcile(12), expected.as_bytes());
    }

    #[test]
    fn a_signal_names_itself_twice() {
        assert_eq!(signal("ready", 5, ""), b"event: ready\ndata: {\"signal\":\"ready\",\"generation\":5}\n\n");
        assert_eq!(
            signal("replaced", 5, "\"by\":6"),
            b"event: replaced\ndata: {\"signal\":\"replaced\",\"generation\":5,\"by\":6}\n\n"
        );
    }

    #[test]
    fn numbers_are_plain_decimals() {
        for number in [0, 9, 10, 99, 100, 1789000000000, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
