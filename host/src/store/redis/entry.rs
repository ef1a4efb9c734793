//! Entries of the log as Redis keeps them.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr_iter;
use redis::{Value, from_redis_value};

use crate::types::{Cursor, Entry, RecordKind};

const KINDS: [RecordKind; 4] = [RecordKind::Event, RecordKind::Internal, RecordKind::Final, RecordKind::Failure];

/// The kinds as digits, one a record; empty when all are events.
pub(super) fn kinds_text(entry: &Entry) -> String {
    let digit = |kind: &RecordKind| match kind {
        RecordKind::Event => '0',
        RecordKind::Internal => '1',
        RecordKind::Final => '2',
        RecordKind::Failure => '3',
    };
    entry.kinds.iter().map(digit).collect()
}

/// The kinds out of their digits.
pub(crate) fn kinds(digits: &[u8]) -> Option<Arc<[RecordKind]>> {
    digits.iter().map(|digit| KINDS.get(usize::from(digit.checked_sub(b'0')?)).copied()).collect()
}

/// An entry out of `XRANGE` and its like, `[id, [name, value, …]]`, with its id; none in place of an entry that is damaged.
pub(crate) fn read(value: Value) -> Option<(Cursor, Option<Entry>)> {
    let Value::Array(parts) = value else { return None };
    let [id, fields] = <[Value; 2]>::try_from(parts).ok()?;
    let id = Cursor::parse(&from_redis_value::<String>(id).ok()?)?;
    Some((id, whole(id, fields)))
}

fn whole(id: Cursor, fields: Value) -> Option<Entry> {
    let fields: Vec<Vec<u8>> = from_redis_value(fields).ok()?;
    let (mut count, mut lines, mut digits) = (None, None, Vec::new());
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match name.as_slice() {
            b"n" => count = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<u64>().ok()),
            b"r" => lines = Some(value),
            b"k" => digits = value,
            _ => {}
        }
    }
    entry(id, count?, lines?, &digits)
}

/// An entry that ends at `id`, if its parts fit one another.
pub(crate) fn entry(id: Cursor, count: u64, lines: Vec<u8>, kinds_digits: &[u8]) -> Option<Entry> {
    let kinds = kinds(kinds_digits)?;
    let records = memchr_iter(b'\n', &lines).count() as u64;
    let fits = records == count && lines.ends_with(b"\n") && (kinds.is_empty() || kinds.len() as u64 == count);
    let sequence = id.sequence.checked_sub(count)?.checked_add(1)?;
    (fits && sequence > 0).then(|| Entry { first: Cursor { sequence, ..id }, lines: Bytes::from(lines), kinds, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_no_entry() {
        let id = Cursor { generation: 7, sequence: 5 };
        let good = entry(id, 2, b"a\n\n".to_vec(), b"01").expect("it fits");
        assert_eq!((good.first.sequence, good.last(), kinds_text(&good).as_str()), (4, 5, "01"));
        for (count, lines, kinds) in
            [(1, "a\nb\n", ""), (2, "a\nb", ""), (2, "a\nb\n", "0"), (2, "a\nb\n", "04"), (0, "", ""), (6, "a\n", "")]
        {
            assert_eq!(entry(id, count, lines.into(), kinds.as_bytes()), None, "{count} {lines:?} {kinds}");
        }
        assert!(entry(id, 6, b"\n\n\n\n\n\n".to_vec(), b"").is_none(), "it would begin before the log");
    }
}
