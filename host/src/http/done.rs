//! What an append body has brought so far, as its answer says it.

use super::Problem;
use super::answer::Object;
use crate::types::Cursor;

/// What became of a body so far.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) first: Option<Cursor>,
    pub(super) last: Option<Cursor>,
    pub(super) appended: u64,
    pub(super) duplicate: u64,
}

impl Done {
    /// As members of an answer.
    pub(super) fn members<'a>(&self, object: &'a mut Object) -> &'a mut Object {
        object
            .string_or_null("first", text(self.first).as_deref())
            .string_or_null("last", text(self.last).as_deref())
            .number("appended", self.appended)
            .number("duplicate", self.duplicate)
    }

    /// As members of the problem that stopped the body at this line.
    pub(super) fn stopped(&self, problem: Problem, line: u64) -> Problem {
        problem
            .with("line", line)
            .with("first", text(self.first))
            .with("last", text(self.last))
            .with("appended", self.appended)
            .with("duplicate", self.duplicate)
    }
}

fn text(cursor: Option<Cursor>) -> Option<String> {
    cursor.map(|cursor| cursor.to_string())
}
