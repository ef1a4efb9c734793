//! Checkpoints: when one is due, how it is written, how a session starts from it.

use super::*;
use crate::json::Kind;

/// A checkpoint is due after this many records ...
const RECORDS: u64 = 256;
/// ... or this many bytes of records, but not before the log has grown by as much as the last checkpoint weighed: a
/// long answer would otherwise be written again and again, in all the square of its length. So checkpoints never cost
/// more bytes than the log itself.
const BYTES: u64 = 64 * 1024;
/// What was taken since the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct Pace {
    records: u64,
    bytes: u64,
    last_size: u64,
}

impl Pace {
    pub(super) fn note(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }

    pub(super) fn due(&self, terminal: bool) -> bool {
        let many = self.records >= RECORDS || self.bytes >= BYTES;
        (many && self.bytes >= self.last_size) || (terminal && self.records > 0)
    }

    pub(super) fn written(&mut self, size: usize) {
        *self = Pace { records: 0, bytes: 0, last_size: size as u64 };
    }
}

impl Session {
    /// Everything up to the job's head as a checkpoint, an append that is not settled yet included: for a store that has
    /// forgotten what it had accepted.
    ///
    /// Errors: `Lost`; `Invalid` for a session that was opened without its content.
    pub fn save(&self) -> Result<String, Refusal> {
        let whole = self.job.as_ref().is_some_and(|job| self.sequence >= job.head) && !self.partial;
        match self.state {
            State::Lost => Err(Refusal::Lost),
            _ if !whole => Err(Refusal::Invalid("this session was opened without its content".into())),
            _ => Ok(self.checkpoint()),
        }
    }

    /// Everything that the log up to here has made, as one JSON object.
    pub(super) fn checkpoint(&self) -> String {
        let Cursor { generation, sequence } = self.head();
        let mut out = String::with_capacity(self.fold.size_hint() + self.steps.size() + 128);
        out.push_str(&format!(
            "{{\"v\":1,\"generation\":{generation},\"sequence\":{sequence},\"bytes\":{},\"fold\":",
            self.bytes
        ));
        self.fold.write_save(&mut out);
        out.push_str(",\"steps\":");
        self.steps.write(&mut out);
        out.push('}');
        out
    }

    /// Starts from a checkpoint; one that cannot be used changes nothing, the log is the truth.
    pub(super) fn restore(&mut self, saved: &str) {
        let Ok(json) = Json::parse(saved) else { return };
        let number = |name: &str| json.get(name).and_then(Json::as_u64);
        let generation = self.job.as_ref().map_or(0, |job| job.generation);
        if number("v") != Some(1) || number("generation") != Some(generation) {
            return;
        }
        let (Some(sequence), Some(bytes)) = (number("sequence"), number("bytes")) else { return };
        let Some(Ok(fold)) = json.get("fold").map(Aggregator::restore) else { return };
        let Some(steps) = json.get("steps").filter(|steps| steps.kind() == Kind::Array) else { return };
        self.fold = fold;
        self.steps = RunSteps::read(steps);
        self.sequence = sequence;
        self.bytes = bytes;
        self.pace.written(saved.len());
    }
}
