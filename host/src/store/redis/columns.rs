//! Columns of a row and numbers as the scripts write and read them. The edge component has this very file too.

use crate::store::Ticket;
use crate::types::Job;

/// A number that the scripts can read too.
pub(super) fn whole(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= 1 << 53)
}

/// What orders a field, its name, its JSON text.
type Field = ((u64, u64), String, String);

/// A job's field with what orders it: when it was last written, and its place in that write.
pub(super) fn field((name, text): (&String, &String)) -> Option<Field> {
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
}
