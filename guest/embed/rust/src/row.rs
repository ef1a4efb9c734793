//! What every store does with an append, and how a cursor is written.

use std::fmt;
use std::str::FromStr;

use crate::{Change, Cursor, Job, Outcome, Refusal, Status};

impl Job {
    /// The rule of a store, and the row after it: refused, and nothing has changed, unless the row still has the generation and
    /// status that the component saw and the log ends right before `first`.
    ///
    /// Check, row and log must be one atomic step: a lock, a transaction, a script. On `Accepted` keep the records.
    /// Source: wit/store.wit `append`.
    pub fn append(&mut self, first: Cursor, records: usize, change: &Change, now_ms: u64) -> Outcome {
        if first.generation != self.generation {
            return Outcome::Refused(Refusal::GenerationReplaced(self.generation));
        }
        let expected = change.expected_status == self.status;
        let only_fields = records == 0 && change.status.is_none();
        if self.status.is_terminal() && !(only_fields && expected) {
            return Outcome::Refused(Refusal::NotActive(self.status));
        }
        if !expected || first.sequence != self.head + 1 {
            return Outcome::Refused(Refusal::Behind(self.head));
        }
        if records > 0 {
            self.head += records as u64;
            self.updated_ms = self.updated_ms.max(now_ms);
        }
        for field in &change.fields {
            self.fields.retain(|known| known.name != field.name);
            if field.value != "null" {
                self.fields.push(field.clone());
            }
        }
        if let Some(status) = change.status {
            self.status = status;
            self.settled_ms = status.is_terminal().then_some(now_ms);
        }
        Outcome::Accepted
    }
}

impl Job {
    /// How many records of this generation a reader has who has everything up to `after`: none, when that is of another one,
    /// or beyond the end of a log that was lost in part.
    pub fn known(&self, after: Option<Cursor>) -> u64 {
        after
            .filter(|after| after.generation == self.generation && after.sequence <= self.head)
            .map_or(0, |after| after.sequence)
    }

    /// The record that a reader who has everything up to `after` gets next; it may not be there yet. A reader of another generation
    /// begins at the first one of this. None: nothing follows, now or later.
    pub fn next_after(&self, after: Option<Cursor>) -> Option<Cursor> {
        let has = self.known(after);
        let ended = self.status.is_terminal() && has >= self.head;
        (!ended).then(|| Cursor { generation: self.generation, sequence: has.saturating_add(1) })
    }
}

impl Status {
    /// Whether nothing follows.
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Complete | Status::Error | Status::Aborted)
    }
}

/// `<generation>-<sequence>`: the SSE id.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.sequence)
    }
}

/// Errors: not two numbers with a hyphen between them.
impl FromStr for Cursor {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let numbers = text.split_once('-').and_then(|(a, b)| Some((number(a)?, number(b)?)));
        let (generation, sequence) = numbers.ok_or_else(|| Refusal::Invalid("not a cursor".to_owned()))?;
        Ok(Cursor { generation, sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;

    fn job() -> Job {
        Job {
            generation: 7,
            status: Status::Running,
            user_id: "me".to_owned(),
            created_ms: 1,
            updated_ms: 1,
            settled_ms: None,
            head: 3,
            fields: vec![Field { name: "model".to_owned(), value: "1".to_owned() }],
        }
    }

    fn change(status: Option<Status>) -> Change {
        Change { status, expected_status: Status::Running, fields: Vec::new() }
    }

    fn at(generation: u64, sequence: u64) -> Cursor {
        Cursor { generation, sequence }
    }

    #[test]
    fn records_right_behind_the_end_are_accepted_and_move_the_head() {
        let mut job = job();
        assert_eq!(job.append(at(7, 4), 2, &change(None), 9), Outcome::Accepted);
        assert_eq!((job.head, job.updated_ms, job.status), (5, 9, Status::Running));
    }

    #[test]
    fn whoever_comes_late_is_refused_and_changes_nothing() {
        let mut ended = job();
        assert_eq!(ended.append(at(7, 4), 1, &change(Some(Status::Aborted)), 9), Outcome::Accepted);
        for (mut row, first, refusal) in [
            (job(), at(6, 4), Refusal::GenerationReplaced(7)),
            (job(), at(7, 3), Refusal::Behind(3)),
            (job(), at(7, 5), Refusal::Behind(3)),
            (ended, at(7, 5), Refusal::NotActive(Status::Aborted)),
        ] {
            let before = row.clone();
            assert_eq!(row.append(first, 1, &change(None), 9), Outcome::Refused(refusal));
            assert_eq!(row, before);
        }
    }

    #[test]
    fn a_field_is_written_and_null_removes_it() {
        let mut job = job();
        let field = |name: &str, value: &str| Field { name: name.to_owned(), value: value.to_owned() };
        let fields = vec![field("sender", "2"), field("model", "null")];
        let change = Change { fields, ..change(None) };
        assert_eq!(job.append(at(7, 4), 0, &change, 9), Outcome::Accepted);
        assert_eq!((job.fields, job.head), (vec![field("sender", "2")], 3));
    }

    #[test]
    fn a_reader_continues_behind_its_cursor_and_from_the_start_behind_one_of_another_generation() {
        let (running, ended) = (job(), Job { status: Status::Complete, ..job() });
        assert_eq!(running.next_after(None), Some(at(7, 1)));
        assert_eq!(running.next_after(Some(at(7, 3))), Some(at(7, 4)), "it is not there yet");
        assert_eq!(running.next_after(Some(at(6, 9))), Some(at(7, 1)));
        assert_eq!(ended.next_after(Some(at(7, 2))), Some(at(7, 3)));
        assert_eq!(ended.next_after(Some(at(7, 3))), None);
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written_and_nothing_else_is() {
        assert_eq!(at(7, 4).to_string().parse(), Ok(at(7, 4)));
        for text in ["", "7", "7-", "-4", "7-4-1", "+7-4", "7-x", "99999999999999999999-1"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }
}
