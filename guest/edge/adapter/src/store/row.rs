//! Rows and log entries as Redis keeps them. What cannot be read is no row: never a panic. The server says the same in
//! `host/src/store/redis/{row,entry}.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr_iter;
use serde_json::Value;

use super::columns::{base36, field, whole};
use crate::config::Lifetimes;
use crate::types::{Cursor, Entry, Job, RecordKind, Status};

/// A row with what only the store needs.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) job: Job,
    active_ms: u64,
    expires_ms: Option<u64>,
}

impl Row {
    /// Out of `HGETALL`, whose answer is a list of names and values in turn, or an object.
    pub(super) fn read(value: Value) -> Option<Self> {
        let columns = columns_of(value)?;
        let number = |name: &str| whole(columns.get(name)?);
        let mut fields: Vec<_> = columns.iter().filter_map(field).collect();
        fields.sort();
        let created_ms = number("created")?;
        let job = Job {
            generation: number("gen")?,
            status: Status::parse(columns.get("status")?)?,
            user_id: columns.get("user")?.clone(),
            created_ms,
            updated_ms: number("updated").unwrap_or(created_ms),
            settled_ms: number("settled"),
            head: number("head")?,
            revision: number("rev")?,
            fields: fields.into_iter().map(|(_, name, json)| (name, json)).collect(),
        };
        Some(Row { job, active_ms: number("active").unwrap_or(0), expires_ms: number("expires") })
    }

    /// When the job is timed out or, settled, forgotten. The scripts say the same: `due_of`.
    pub(crate) fn due_ms(&self, lifetimes: Lifetimes) -> u64 {
        match (self.job.status, self.expires_ms) {
            (Status::Running, _) => self.active_ms.saturating_add(lifetimes.idle_ms),
            (Status::RequiresAction, _) => self.active_ms.saturating_add(lifetimes.idle_paused_ms),
            (_, Some(expires_ms)) => expires_ms,
            (_, None) => self.job.settled_ms.unwrap_or(self.active_ms).saturating_add(lifetimes.retention_ms),
        }
    }

    /// Whether it must not be seen any more.
    pub(super) fn is_expired(&self, now_ms: u64, lifetimes: Lifetimes) -> bool {
        self.job.status.is_terminal() && self.due_ms(lifetimes) <= now_ms
    }
}

fn columns_of(value: Value) -> Option<HashMap<String, String>> {
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        _ => None,
    };
    match value {
        Value::Object(members) => members.into_iter().map(|(name, value)| Some((name, text(value)?))).collect(),
        Value::Array(parts) => {
            let mut parts = parts.into_iter().map(text);
            std::iter::from_fn(|| Some(parts.next()?.zip(parts.next()?))).collect()
        }
        _ => None,
    }
}

/// `one - other` as the scripts read it.
pub(super) fn difference(one: u64, other: u64) -> String {
    let sign = if one < other { "-" } else { "" };
    format!("{sign}{}", base36(one.abs_diff(other)))
}

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

/// An entry out of `XRANGE`, `[id, [name, value, …]]`, with its id; none in place of an entry that is damaged.
pub(super) fn entry(value: &Value) -> Option<(Cursor, Option<Entry>)> {
    let [id, fields] = value.as_array()?.as_slice() else { return None };
    let id = Cursor::parse(id.as_str()?)?;
    Some((id, whole_entry(id, fields)))
}

fn whole_entry(id: Cursor, fields: &Value) -> Option<Entry> {
    let fields = fields.as_array()?;
    let of = |name: &str| fields.chunks_exact(2).find(|pair| pair[0] == name).and_then(|pair| pair[1].as_str());
    let (count, lines) = (of("n")?.parse::<u64>().ok()?, of("r")?);
    let digit = |digit: u8| KINDS.get(usize::from(digit.checked_sub(b'0')?)).copied();
    let kinds: Arc<[RecordKind]> = of("k").unwrap_or_default().bytes().map(digit).collect::<Option<_>>()?;
    let records = memchr_iter(b'\n', lines.as_bytes()).count() as u64;
    let fits = records == count && lines.ends_with('\n') && (kinds.is_empty() || kinds.len() as u64 == count);
    let sequence = id.sequence.checked_sub(count)?.checked_add(1)?;
    let lines = Bytes::copy_from_slice(lines.as_bytes());
    (fits && sequence > 0).then_some(Entry { first: Cursor { sequence, ..id }, lines, kinds, count })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_is_read_from_both_forms_and_a_damaged_one_is_none() {
        let object = json!({"gen": "7", "status": "running", "user": "é", "created": "1", "head": "0", "rev": "10",
            "f:a:b": "10:1", "f:z": "9.1:{\"x\":2}", "f:b": "9:3", "f:damaged": "x", "unknown": "x"});
        let list: Vec<_> = object.as_object().expect("one").iter().flat_map(|(k, v)| [json!(k), v.clone()]).collect();
        for form in [object.clone(), json!(list)] {
            let row = Row::read(form).expect("it is whole");
            let names: Vec<_> = row.job.fields.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!((row.job.user_id.as_str(), names), ("é", vec!["b", "z", "a:b"]));
        }
        for damaged in [json!({}), json!([]), json!(null), json!(["gen"]), json!({"gen": "x"})] {
            assert!(Row::read(damaged.clone()).is_none(), "{damaged}");
        }
    }

    #[test]
    fn an_entry_fits_or_is_none() {
        let read = |value: Value| entry(&value).and_then(|(_, entry)| entry);
        let good = read(json!(["7-5", ["n", "2", "r", "a\n\n", "k", "01", "t", "x.1"]])).expect("it fits");
        assert_eq!((good.first.sequence, good.last(), kinds_text(&good).as_str()), (4, 5, "01"));
        for (count, lines, kinds) in
            [("1", "a\nb\n", ""), ("2", "a\nb", ""), ("2", "a\nb\n", "0"), ("2", "a\nb\n", "04")]
        {
            assert_eq!(read(json!(["7-5", ["n", count, "r", lines, "k", kinds]])), None, "{count} {lines:?} {kinds}");
        }
        assert_eq!(read(json!(["7-5", ["n", "6", "r", "\n\n\n\n\n\n"]])), None, "it would begin before the log");
    }

    #[test]
    fn numbers_are_written_as_the_scripts_read_them() {
        assert_eq!((base36(0), base36(35), base36(36)), ("0".into(), "z".into(), "10".into()));
        assert_eq!((difference(1, 37), difference(37, 1)), ("-10".into(), "10".into()));
    }
}
