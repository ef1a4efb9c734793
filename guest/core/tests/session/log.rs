//! A store for tests, which checks the laws at every append.

use rejoin_core::session::{Session, Settled};
use rejoin_core::types::{Change, Cursor, Effect, Job, Record, RecordKind, Signal, Status};

use super::LIMITS;

/// A store in the small: it accepts what fits and keeps it.
#[derive(Default)]
pub(crate) struct Log {
    pub job: Option<Job>,
    pub records: Vec<Record>,
    pub checkpoint: Option<(Cursor, String)>,
    published: u64,
    pub signals: Vec<(u64, Signal)>,
}

impl Log {
    /// Carries out everything the session asks for, until it asks for nothing more.
    pub(crate) fn serve(&mut self, session: &mut Session) {
        loop {
            let effects = session.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Create { ticket, previous, job } => {
                        assert_eq!(self.job.as_ref().map_or(0, |job| job.generation), previous);
                        assert!(job.generation > previous, "a generation grows");
                        *self = Log { job: Some(job), signals: std::mem::take(&mut self.signals), ..Log::default() };
                        session.settle(ticket, Settled::Accepted).expect("under way");
                    }
                    Effect::Append { ticket, first, records, change } => {
                        self.append(first, records, change);
                        session.settle(ticket, Settled::Accepted).expect("under way");
                    }
                    Effect::Publish { at } => {
                        assert_eq!(at.sequence, self.records.len() as u64, "published is what is durable");
                        self.published = at.sequence;
                    }
                    Effect::Checkpoint { at, state } => {
                        assert_eq!(at.sequence, self.records.len() as u64, "a checkpoint covers what is durable");
                        self.checkpoint = Some((at, state));
                    }
                    Effect::Signal { generation, signal } => self.signals.push((generation, signal)),
                }
            }
        }
    }

    fn append(&mut self, first: Cursor, records: Vec<Record>, change: Change) {
        let job = self.job.as_mut().expect("append to a job");
        assert_eq!(first.generation, job.generation);
        assert_eq!(first.sequence, self.records.len() as u64 + 1, "the log has no gap and no repeat");
        assert_eq!(change.expected_status, job.status);
        assert!(records.is_empty() || !job.status.is_terminal(), "nothing follows a terminal record");
        let terminal = |record: &Record| matches!(record.kind, RecordKind::Final | RecordKind::Failure);
        assert!(!records.iter().rev().skip(1).any(terminal), "a terminal record is the last one");
        let ends = records.last().is_some_and(terminal);
        assert_eq!(ends, change.status.is_some_and(Status::is_terminal), "status and terminal record go together");
        for record in &records {
            assert!(!record.json.contains(['\n', '\r']), "a record is one line");
        }
        if let Some(status) = change.status {
            job.status = status;
        }
        change.fields.iter().for_each(|field| job.set(field));
        job.head += records.len() as u64;
        self.records.extend(records);
    }

    /// The stream as another host would open it.
    pub(crate) fn reopen(&self) -> Session {
        let checkpoint = self.checkpoint.as_ref().map(|(_, state)| state.as_str());
        let mut session = Session::open(self.job.clone(), checkpoint, LIMITS);
        let from = usize::try_from(session.head().sequence).expect("small");
        let tail: Vec<&str> = self.records[from..].iter().map(|record| record.json.as_str()).collect();
        session.replay(&tail.join("\n")).expect("what the log has can be read");
        session
    }
}
