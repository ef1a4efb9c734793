//! The store's answer, and what it sets in motion.

use super::*;

/// What became of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Done, now or by an earlier attempt of the same ticket.
    Accepted,
    /// Not done.
    Refused(Refusal),
}

impl Session {
    /// Takes the store's answer. Accepted: subscribers and producers are told, and a checkpoint is due or not.
    /// Refused: this session is lost.
    ///
    /// Errors: `Invalid` for a ticket that is not under way (nothing changes), `Lost`.
    pub fn settle(&mut self, ticket: u64, settled: Settled) -> Result<(), Refusal> {
        match &mut self.state {
            State::Lost => return Err(Refusal::Lost),
            State::Pending(pending) if pending.ticket == ticket => {}
            _ => return Err(Refusal::Invalid(format!("ticket {ticket} is not under way"))),
        }
        let State::Pending(pending) = std::mem::replace(&mut self.state, State::Lost) else { return Ok(()) };
        if settled != Settled::Accepted {
            return Ok(());
        }
        self.state = State::Ready;
        if pending.publish {
            self.effects.push(Effect::Publish { at: self.head() });
        }
        if let Some((generation, signal)) = pending.signal {
            self.effects.push(Effect::Signal { generation, signal });
        }
        let terminal = self.job.as_ref().is_some_and(|job| job.status.is_terminal());
        if !self.partial && self.pace.due(terminal) {
            let state = self.checkpoint();
            self.pace.written(state.len());
            self.effects.push(Effect::Checkpoint { at: self.head(), state });
        }
        Ok(())
    }
}
