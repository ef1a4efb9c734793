//! Time, and waiting for something until then.

use std::time::Duration;

use crate::bindings::wasi::clocks0_2_12::{monotonic_clock, wall_clock};
use crate::bindings::wasi::io::poll::{Pollable, poll};

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds.saturating_mul(1000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

/// A point in time that is waited for at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at_ns: u64,
}

impl Deadline {
    /// This long from now.
    pub(crate) fn after(time: Duration) -> Self {
        Deadline { at_ns: monotonic_clock::now().saturating_add(nanoseconds(time)) }
    }

    /// What is left of it.
    pub(crate) fn left(self) -> Duration {
        Duration::from_nanos(self.at_ns.saturating_sub(monotonic_clock::now()))
    }

    /// Whether it has come.
    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// Waits for `event`. False: the time has come first.
    pub(crate) fn wait(self, event: &Pollable) -> bool {
        let end = monotonic_clock::subscribe_instant(self.at_ns);
        poll(&[event, &end]).contains(&0)
    }
}

/// Waits.
pub(crate) fn sleep(time: Duration) {
    monotonic_clock::subscribe_duration(nanoseconds(time)).block();
}

/// A duration as `wasi:clocks` counts it.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
