//! How many bytes the store may hold.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::StoreError;

/// What a write is for, when room is short.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Stops where the reserve begins.
    Usual,
    /// Ends a generation, and may use the reserve: only what has ended gives room back, so a store full of active
    /// jobs that could not even be timed out would stay full for ever.
    Settle,
}

/// Counts the bytes in use against a bound that is never passed.
pub(super) struct Room {
    bytes_used: AtomicU64,
    bytes_max: u64,
}

impl Room {
    /// An empty room. One sixteenth of it is the reserve.
    pub(super) fn new(bytes_max: u64) -> Self {
        Room { bytes_used: AtomicU64::new(0), bytes_max }
    }

    /// Bytes in use.
    pub(super) fn bytes_used(&self) -> u64 {
        self.bytes_used.load(Ordering::Relaxed)
    }

    /// Gives `old` back and takes `new`, or changes nothing. Never refuses what shrinks.
    pub(super) fn exchange(&self, old: u64, new: u64, need: Need) -> Result<(), StoreError> {
        let Some(more) = new.checked_sub(old).filter(|more| *more > 0) else {
            self.bytes_used.fetch_sub(old - new, Ordering::Relaxed);
            return Ok(());
        };
        let bound = match need {
            Need::Usual => self.bytes_max - self.bytes_max / 16,
            Need::Settle => self.bytes_max,
        };
        let fits = |used: u64| used.checked_add(more).filter(|used| *used <= bound);
        match self.bytes_used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Full { bytes_max: self.bytes_max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_may_use_the_reserve_and_nothing_passes_the_bound() {
        let room = Room::new(160);
        assert!(room.exchange(0, 150, Need::Usual).is_ok());
        assert!(room.exchange(10, 11, Need::Usual).is_err());
        assert!(room.exchange(0, 11, Need::Settle).is_err());
        assert_eq!(room.bytes_used(), 150);
        assert!(room.exchange(0, 10, Need::Settle).is_ok());
        assert!(room.exchange(20, 20, Need::Usual).is_ok());
        assert!(room.exchange(160, 0, Need::Usual).is_ok());
        assert!(room.exchange(0, u64::MAX, Need::Settle).is_err());
        assert_eq!(room.bytes_used(), 0);
    }
}
