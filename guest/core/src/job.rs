//! The job table: status x command -> next status or refusal. Nothing else decides what may follow what.
//!
//! | status | append | complete | fail, time out | abort | pause | resolve |
//! |---|---|---|---|---|---|---|
//! | running | running | complete | error | aborted | requires_action | no such action |
//! | requires_action | requires_action | paused | error | aborted | paused | running |
//! | complete, error, aborted | not active | not active | not active | not active | not active | not active |

use crate::types::{Refusal, Status};

/// What someone wants of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Add records.
    Append,
    /// End well.
    Complete,
    /// End in an error; a time-out is one.
    Fail,
    /// Stop.
    Abort,
    /// Wait for a person.
    Pause,
    /// A person has answered.
    Resolve,
}

impl Command {
    /// All of them.
    pub const ALL: [Command; 6] =
        [Command::Append, Command::Complete, Command::Fail, Command::Abort, Command::Pause, Command::Resolve];
}

/// The status after `command`, or why it is refused.
pub fn next(status: Status, command: Command) -> Result<Status, Refusal> {
    match (status, command) {
        (Status::Complete | Status::Error | Status::Aborted, _) => Err(Refusal::NotActive(status)),
        (_, Command::Append) => Ok(status),
        (_, Command::Fail) => Ok(Status::Error),
        (_, Command::Abort) => Ok(Status::Aborted),
        (Status::Running, Command::Complete) => Ok(Status::Complete),
        (Status::Running, Command::Pause) => Ok(Status::RequiresAction),
        (Status::Running, Command::Resolve) => Err(Refusal::NoSuchAction),
        (Status::RequiresAction, Command::Resolve) => Ok(Status::Running),
        (Status::RequiresAction, Command::Complete | Command::Pause) => Err(Refusal::Paused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: API.md section 1, "Legal edges".
    const LEGAL: [(Status, Status); 7] = [
        (Status::Running, Status::Complete),
        (Status::Running, Status::Error),
        (Status::Running, Status::Aborted),
        (Status::Running, Status::RequiresAction),
        (Status::RequiresAction, Status::Running),
        (Status::RequiresAction, Status::Aborted),
        (Status::RequiresAction, Status::Error),
    ];

    #[test]
    fn the_table_has_every_legal_edge_and_no_other() {
        let mut edges = Vec::new();
        for from in Status::ALL {
            for command in Command::ALL {
                if let Ok(to) = next(from, command)
                    && from != to
                    && !edges.contains(&(from, to))
                {
                    edges.push((from, to));
                }
            }
        }
        assert_eq!(edges.len(), LEGAL.len());
        assert!(LEGAL.iter().all(|edge| edges.contains(edge)), "{edges:?}");
    }

    #[test]
    fn nothing_leaves_a_terminal_status() {
        for status in Status::ALL.into_iter().filter(|s| s.is_terminal()) {
            for command in Command::ALL {
                assert_eq!(next(status, command), Err(Refusal::NotActive(status)));
            }
        }
    }
}
