//! A native session whose every append is accepted.

use rejoin_core::lines::Framing;
use rejoin_core::session::{Fence, Pushed, Session, Settled};
use rejoin_core::types::{Effect, Limits, Outcome, Refusal};

pub(super) const NOW: u64 = 1_789_000_000_000;

/// The session and the records of its log.
pub(super) struct Native {
    pub(super) session: Session,
    pub(super) log: Vec<String>,
}

impl Native {
    /// On a new generation.
    pub(super) fn started(limits: Limits) -> Self {
        let mut native = Native { session: Session::open(None, None, limits), log: Vec::new() };
        let made = native.session.create(NOW, None, None, "{}");
        assert_eq!(made, Ok(Outcome::Pending));
        native.settle();
        native
    }

    pub(super) fn push(&mut self, framing: Framing, text: &str) -> Result<Pushed, Refusal> {
        let pushed = self.session.push(NOW, Fence(None), framing, text, None)?;
        let before = self.log.len();
        if pushed.outcome == Outcome::Pending {
            self.settle();
        }
        let own = self.log.len() - before - usize::try_from(pushed.appended).expect("small");
        assert!(own <= 1, "{own} records more than were pushed");
        Ok(pushed)
    }

    fn settle(&mut self) {
        for effect in self.session.take_effects() {
            let ticket = match effect {
                Effect::Create { ticket, .. } => ticket,
                Effect::Append { ticket, records, .. } => {
                    self.log.extend(records.into_iter().map(|record| record.json));
                    ticket
                }
                _ => continue,
            };
            assert_eq!(self.session.settle(ticket, Settled::Accepted), Ok(()));
        }
    }
}
