//! One producer that listens: what it must hear while it is busy elsewhere.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};

use super::hub::{Hub, Seat};
use crate::types::StreamId;

/// What producers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The first subscriber came.
    Ready,
    /// Stop: the generation was aborted.
    Abort,
    /// Stop: this newer generation took the stream over.
    Replaced(u64),
    /// Go on: a person answered. A JSON object `{"actionId", "decision"}`.
    Resolved(String),
    /// The last subscriber left.
    SubscribersLeft,
    /// The last record of the generation is in the log: the job row says how it ended.
    Settled,
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A signal, and the generation that it is about.
    Signal(u64, Signal),
    /// Signals were lost because nobody listened for too long: the job row says where things stand.
    Lagged,
    /// The stream was forgotten.
    Gone,
}

/// Signals that wait for one listener; when there are more it has [`Heard::Lagged`].
pub(super) const SIGNALS_MAX: usize = 16;

/// A counted listener. Dropping it un-counts it.
#[derive(Debug)]
pub struct Listener {
    _seat: Seat,
    signals: broadcast::Receiver<(u64, Signal)>,
    ready: bool,
}

impl Listener {
    pub(super) fn new(
        hub: Arc<Hub>,
        stream: StreamId,
        channel: u64,
        signals: broadcast::Receiver<(u64, Signal)>,
        ready: bool,
    ) -> Self {
        Listener { _seat: Seat::listener(hub, stream, channel), signals, ready }
    }

    /// Whether a subscriber was there when this listener came; one that came later is heard as [`Signal::Ready`].
    pub fn ready(&self) -> bool {
        self.ready
    }

    /// The next signal. May be dropped at any time: nothing is lost.
    pub async fn next(&mut self) -> Heard {
        match self.signals.recv().await {
            Ok((generation, signal)) => Heard::Signal(generation, signal),
            Err(RecvError::Lagged(_)) => Heard::Lagged,
            Err(RecvError::Closed) => Heard::Gone,
        }
    }
}
