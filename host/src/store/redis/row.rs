//! Rows as Redis keeps them. What cannot be read is no row: never a panic.

use std::collections::HashMap;

use redis::{Value, from_redis_value};

use super::columns::{field, whole};
use crate::store::Head;
use crate::types::{Cursor, Job, Status};

/// A row with what only the store needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) job: Job,
    /// Last record or change of status.
    active_ms: u64,
    /// Replaces the usual retention.
    expires_ms: Option<u64>,
}

/// How long things stay, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    pub(super) idle_ms: u64,
    pub(super) idle_paused_ms: u64,
    pub(super) retention_ms: u64,
}

/// What [`head`] is made of.
pub(super) const HEAD: [&str; 8] = ["gen", "status", "head", "rev", "active", "settled", "expires", "created"];

impl Row {
    /// A row out of `HGETALL`; none when there is none, or it is damaged.
    pub(super) fn read(value: Value) -> Option<Self> {
        let texts: HashMap<String, Value> = from_redis_value(value).ok()?;
        let mut columns = HashMap::with_capacity(texts.len());
        for (name, value) in texts {
            columns.insert(name, from_redis_value::<String>(value).ok()?);
        }
        let number = |name: &str| whole(columns.get(name)?);
        let mut fields: Vec<_> = columns.iter().filter_map(field).collect();
        fields.sort();
        let (generation, head, revision) = (number("gen")?, number("head")?, number("rev")?);
        let status = Status::parse(columns.get("status")?)?;
        let created_ms = number("created")?;
        let job = Job {
            generation,
            status,
            user_id: columns.get("user")?.clone(),
            created_ms,
            updated_ms: number("updated").unwrap_or(created_ms),
            settled_ms: number("settled"),
            head,
            revision,
            fields: fields.into_iter().map(|(_, name, json)| (name, json)).collect(),
        };
        Some(Row { job, active_ms: number("active").unwrap_or(0), expires_ms: number("expires") })
    }

    /// When the job is timed out or, settled, forgotten. The scripts say the same: `due_of`.
    pub(super) fn due_ms(&self, lifetimes: Lifetimes) -> u64 {
        let Job { status, settled_ms, .. } = self.job;
        due_ms(status, self.active_ms, settled_ms, self.expires_ms, lifetimes)
    }

    /// Whether it must not be seen any more.
    pub(super) fn is_expired(&self, now_ms: u64, lifetimes: Lifetimes) -> bool {
        self.job.status.is_terminal() && self.due_ms(lifetimes) <= now_ms
    }
}

fn due_ms(
    status: Status,
    active_ms: u64,
    settled_ms: Option<u64>,
    expires_ms: Option<u64>,
    lifetimes: Lifetimes,
) -> u64 {
    match (status, expires_ms) {
        (Status::Running, _) => active_ms.saturating_add(lifetimes.idle_ms),
        (Status::RequiresAction, _) => active_ms.saturating_add(lifetimes.idle_paused_ms),
        (_, Some(expires_ms)) => expires_ms,
        (_, None) => settled_ms.unwrap_or(active_ms).saturating_add(lifetimes.retention_ms),
    }
}

/// Where a stream stands, out of `HMGET` of [`HEAD`]; none when it has no row, or must not be seen any more.
pub(super) fn head(value: Value, now_ms: u64, lifetimes: Lifetimes) -> Option<Head> {
    let columns: [Option<String>; 8] = from_redis_value::<Vec<Option<String>>>(value).ok()?.try_into().ok()?;
    let number = |at: usize| whole(columns[at].as_ref()?);
    let status = Status::parse(columns[1].as_deref()?)?;
    let due_ms = due_ms(status, number(4).unwrap_or(0), number(5), number(6), lifetimes);
    if status.is_terminal() && due_ms <= now_ms {
        return None;
    }
    number(7)?;
    Some(Head { cursor: Cursor { generation: number(0)?, sequence: number(2)? }, status, revision: number(3)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_the_order_in_which_they_were_last_written() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let row = [
            ("gen", "7"),
            ("status", "running"),
            ("user", "é"),
            ("created", "1"),
            ("head", "0"),
            ("rev", "10"),
            ("f:a:b", "10:1"),
            ("f:z", "9.1:{\"x\":2}"),
            ("f:b", "9:3"),
            ("f:damaged", "x"),
            ("unknown", "x"),
        ];
        let row = Row::read(Value::Map(row.iter().map(|(name, value)| (text(name), text(value))).collect()));
        let names: Vec<_> = row.expect("it is whole").job.fields.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b", "z", "a:b"]);
    }
}
