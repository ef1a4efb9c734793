//! What is said on the channel of a stream, as `scripts/*.lua` and [`resolved`] write it. Hints: what cannot be read is
//! passed over, and the next look at the log finds it.
//!
//! | text | means |
//! |---|---|
//! | `e <gen> <first> <count> <kinds or ->`, line break, lines | these records are in the log |
//! | `h <gen> <head>` | the log ends here |
//! | `g <gen>` | the stream was forgotten, up to this generation |
//! | `p 1`, `p 0` | it has readers, it has none any more |
//! | `r <gen> <replica>`, line break, JSON | a person answered on that replica |

use memchr::memchr;

use super::entry;
use crate::store::Wake;
use crate::types::{Cursor, StreamId};

/// The message that tells of an answer.
pub(super) fn resolved(generation: u64, replica: &str, answer: &str) -> String {
    format!("r {generation} {replica}\n{answer}")
}

/// The wake in `message`; none when it is garbage, or an answer that this replica has told itself.
pub(super) fn parse(stream: StreamId, message: &[u8], replica: &str) -> Option<Wake> {
    let end = memchr(b'\n', message);
    let (header, body) = message.split_at(end.unwrap_or(message.len()));
    let body = body.get(1..).unwrap_or_default();
    let words: Vec<_> = std::str::from_utf8(header).ok()?.split(' ').collect();
    Some(match words[..] {
        ["e", generation, first, count, kinds] => {
            let (first, count) = (cursor(generation, first)?, number(count)?);
            let last = first.sequence.checked_add(count)?.checked_sub(1)?;
            let kinds = if kinds == "-" { "" } else { kinds };
            let id = Cursor { sequence: last, ..first };
            Wake::Entry(stream, entry::entry(id, count, body.to_vec(), kinds.as_bytes())?)
        }
        ["h", generation, head] => Wake::Head(stream, cursor(generation, head)?),
        ["g", generation] => Wake::Gone(stream, number(generation)?),
        ["p", "1"] => Wake::Ready(stream),
        ["p", "0"] => Wake::SubscribersLeft(stream),
        ["r", generation, by] if by != replica => {
            Wake::Resolved(stream, number(generation)?, std::str::from_utf8(body).ok()?.to_owned())
        }
        _ => return None,
    })
}

fn number(digits: &str) -> Option<u64> {
    Cursor::parse(&format!("{digits}-0")).map(|cursor| cursor.generation)
}

fn cursor(generation: &str, sequence: &str) -> Option<Cursor> {
    Some(Cursor { generation: number(generation)?, sequence: number(sequence)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::RecordKind;

    fn read(message: &str) -> Option<Wake> {
        parse(stream(), message.as_bytes(), "me")
    }

    fn stream() -> StreamId {
        StreamId::parse("s").expect("a stream id")
    }

    #[test]
    fn each_message_is_a_wake() {
        let Some(Wake::Entry(_, entry)) = read("e 7 4 2 02\n{}\n{\"a\":1}\n") else { panic!("no entry") };
        assert_eq!((entry.first, entry.last()), (Cursor { generation: 7, sequence: 4 }, 5));
        assert_eq!(entry.terminal(), Some(RecordKind::Final));
        assert!(matches!(read("e 7 1 1 -\n{}\n"), Some(Wake::Entry(_, entry)) if entry.kinds.is_empty()));
        assert_eq!(read("h 7 9"), Some(Wake::Head(stream(), Cursor { generation: 7, sequence: 9 })));
        assert_eq!(read("g 7"), Some(Wake::Gone(stream(), 7)));
        assert_eq!((read("p 1"), read("p 0")), (Some(Wake::Ready(stream())), Some(Wake::SubscribersLeft(stream()))));
        let answer = "{\"actionId\":\"a\",\n\"decision\":1}";
        assert_eq!(read(&resolved(7, "other", answer)), Some(Wake::Resolved(stream(), 7, answer.to_owned())));
        assert_eq!(read(&resolved(7, "me", answer)), None, "told here already");
    }

    #[test]
    fn garbage_is_passed_over() {
        let whole = "e 7 4 2 02\n{}\n{}\n";
        (1..whole.len()).for_each(|end| assert_eq!(read(&whole[..end]), None, "{end}"));
        for garbage in [
            "",
            "\n",
            "e",
            "x",
            "h",
            "h 1",
            "h -1 2",
            "h 1 2 3",
            "h a b",
            "p",
            "p 2",
            "g",
            "g x",
            "r 1",
            "e 1 0 0 -\n",
            "e 1 18446744073709551615 2 -\n\n\n",
            "e 1 1 18446744073709551615 -\n\n",
            "h 1 99999999999999999999",
        ] {
            assert_eq!(read(garbage), None, "{garbage:?}");
        }
        assert_eq!(parse(stream(), b"h 1 \xff", "me"), None);
    }
}
