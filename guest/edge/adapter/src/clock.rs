//! Points in time.

use std::time::Duration;

use crate::wasi::{nanoseconds, now_ns};

/// A point in time that is waited for at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at_ns: u64,
}

impl Deadline {
    /// This long from now.
    pub(crate) fn after(time: Duration) -> Self {
        Deadline { at_ns: now_ns().saturating_add(nanoseconds(time)) }
    }

    /// What is left of it.
    pub(crate) fn left(self) -> Duration {
        Duration::from_nanos(self.at_ns.saturating_sub(now_ns()))
    }

    /// Whether it has come.
    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }
}
