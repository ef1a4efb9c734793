//! Rows as Redis keeps them. What cannot be read is no row: never a panic.

use std::collections::HashMap;

use redis::{Value, from_redis_value};

use crate::store::{Head, Ticket};
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

/// A number that the scripts can read too.
fn whole(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= 1 << 53)
}

/// A job's field with what orders it: when it was last written, and its place in that write.
fn field((name, text): (&String, &String)) -> Option<((u64, u64), String, String)> {
    let name = name.strip_prefix("f:")?;
    let (written, json) = text.split_once(':')?;
    let (revision, place) = written.split_once('.').unwrap_or((written, "0"));
    Some(((revision.parse().ok()?, place.parse().ok()?), name.to_owned(), json.to_owned()))
}

/// The columns of a whole row, names and values in turn, for the scripts that write it anew.
pub(super) fn columns(job: &Job) -> Vec<String> {
    let mut columns = Vec::with_capacity(2 * (10 + job.fields.len()));
    let mut put = |name: &str, value: String| columns.extend([name.to_owned(), value]);
    put("gen", job.generation.to_string());
    put("status", job.status.as_str().to_owned());
    put("user", job.user_id.clone());
    put("created", job.created_ms.to_string());
    put("updated", job.updated_ms.to_string());
    if let Some(settled_ms) = job.settled_ms {
        put("settled", settled_ms.to_string());
    }
    put("head", job.head.to_string());
    put("rev", job.revision.to_string());
    put("active", job.created_ms.max(job.updated_ms).to_string());
    for (at, (name, json)) in job.fields.iter().enumerate() {
        put(&format!("f:{name}"), format!("{}.{at}:{json}", job.revision));
    }
    columns
}

/// The ticket as the log keeps it.
pub(super) fn ticket(ticket: Ticket) -> String {
    format!("{}.{}", base36(ticket.session), base36(ticket.number))
}

/// A number as `tonumber(text, 36)` reads it.
pub(super) fn base36(mut number: u64) -> String {
    let mut digits = Vec::with_capacity(13);
    loop {
        // A remainder of 36 is below 36.
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize]);
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_base_36_is_read_back() {
        for number in [0, 1, 35, 36, 1_789_000_000_000, u64::MAX] {
            assert_eq!(u64::from_str_radix(&base36(number), 36), Ok(number));
        }
        assert_eq!(base36(1_789_000_000_000).len(), 8);
    }

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
