//! A place in a count, and a place in a channel: dropping one gives it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Hub, TooMany};
use crate::types::StreamId;

/// One place in a count with a bound, given back unless it is kept.
pub(super) struct Counted<'a>(Option<&'a AtomicUsize>);

impl<'a> Counted<'a> {
    pub(super) fn new(count: &'a AtomicUsize, max: usize) -> Result<Self, TooMany> {
        let more = |now: usize| (now < max).then_some(now + 1);
        match count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Counted(Some(count))),
            Err(_) => Err(TooMany::OnHost(max)),
        }
    }

    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The place of one reader or listener in its channel; dropping it leaves.
#[derive(Debug)]
pub(in crate::sse) struct Seat {
    hub: Arc<Hub>,
    stream: StreamId,
    channel: u64,
    /// The number of a subscriber's place; none for a listener.
    subscriber: Option<u64>,
}

impl Seat {
    pub(super) fn subscriber(hub: Arc<Hub>, stream: StreamId, channel: u64, number: u64) -> Self {
        Seat { hub, stream, channel, subscriber: Some(number) }
    }

    pub(in crate::sse) fn listener(hub: Arc<Hub>, stream: StreamId, channel: u64) -> Self {
        Seat { hub, stream, channel, subscriber: None }
    }

    pub(in crate::sse) fn stream(&self) -> &StreamId {
        &self.stream
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.leave(&self.stream, self.channel, self.subscriber);
    }
}
