//! What every store must do, as cases that any of them can be put through: `conforms!(open)`, where `open` gives a
//! [`Bench`] around an empty store.

mod access;
mod groups;
mod log;
mod model;
mod time;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::store::{Append, GroupKey, Page, Query, Store, StoreError, Ticket, Written};
use crate::types::{Cursor, Entry, Job, RecordKind, Status, StreamId};

pub(crate) use access::*;
pub(crate) use groups::*;
pub(crate) use log::*;
pub(crate) use model::*;
pub(crate) use time::*;
pub(crate) use writes::*;

/// The time that the store under test lives by.
pub(crate) trait TestClock: Send + Sync {
    fn now_ms(&self) -> u64;
    fn advance_ms(&self, ms: u64);
}

/// A running job without an append is named after this.
pub(crate) const IDLE: Duration = Duration::from_secs(10);
/// A paused one after this.
pub(crate) const IDLE_PAUSED: Duration = Duration::from_secs(20);
/// A settled one is gone after this.
pub(crate) const RETENTION: Duration = Duration::from_secs(5);

/// An empty store that keeps things as long as [`IDLE`], [`IDLE_PAUSED`] and [`RETENTION`] say, and what it takes to
/// use it.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn TestClock>,
    /// Runs a future to its end, from any thread.
    pub(crate) block_on: fn(BoxFuture<'_, ()>),
}

/// One test for each case. `$models`: how often commands are mixed at random.
macro_rules! conforms {
    ($open:path, $models:expr) => {
        $crate::store::conformance::conforms! { $open:
            a_stream_is_replaced_only_by_who_knows_its_generation
            an_append_is_there_once_however_often_it_is_repeated
            a_producer_of_an_old_generation_is_refused
            a_write_that_does_not_fit_leaves_no_trace
            a_settled_job_takes_fields_and_nothing_else
            only_one_of_two_racing_ends_is_accepted
            every_position_reads_the_rest_byte_for_byte
            a_cursor_that_the_log_does_not_have_is_reset
            the_checkpoint_that_covers_most_stays
            only_the_current_generation_can_be_removed
            the_list_is_newest_first_and_pages_without_gap_or_repeat
            a_settled_job_is_gone_after_its_retention_before_any_sweep
            a_settled_job_goes_when_it_was_told_to
            appends_put_off_the_time_out_and_an_idle_job_is_named_until_it_is_settled
            a_pause_has_a_patience_of_its_own_and_takes_nothing_from_the_work_after_it
            a_sweep_does_no_more_than_its_limit
            each_user_has_counts_of_their_own
            a_ticket_is_taken_once_and_only_for_its_stream
            a_ticket_ends_with_its_time
            a_stream_has_a_bounded_number_of_tickets
        }
        #[test]
        fn any_interleaving_of_commands_agrees_with_the_model() {
            $crate::store::conformance::any_interleaving_of_commands_agrees_with_the_model($open, $models);
        }
    };
    ($open:path: $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::store::conformance::$case(&$open());
            }
        )*
    };
}
pub(crate) use conforms;

/// The same for [`crate::store::Groups`].
macro_rules! conforms_groups {
    ($open:path) => {
        $crate::store::conformance::conforms! { $open:
            a_group_starts_at_the_first_record_or_after_the_last
            a_group_gets_kinds_and_bytes_as_they_were_written
            a_group_made_before_the_first_record_sees_it
            each_entry_goes_to_one_consumer_of_each_group
            what_does_not_fit_in_the_bytes_is_not_given_out
            an_entry_comes_again_after_its_time_to_whoever_asks
            what_is_pending_says_who_has_it_and_since_when
            an_acknowledged_entry_is_done_for_its_group_only
            an_existing_group_stays_where_it_is
            a_deleted_group_is_forgotten_and_may_start_again
            an_unknown_stream_or_group_is_empty
            groups_go_with_their_generation
            a_group_of_another_generation_is_not_touched
            a_generation_has_a_bounded_number_of_groups
            consumers_keep_no_job_alive
        }
    };
}
pub(crate) use conforms_groups;

pub(crate) fn stream(name: &str) -> StreamId {
    StreamId::parse(name).expect("test names are good")
}

/// A group of whichever generation is current.
pub(crate) fn group_key<'a>(stream: &'a StreamId, name: &'a str) -> GroupKey<'a> {
    GroupKey { stream, generation: None, name }
}

pub(crate) fn ticket(session: u64, number: u64) -> Ticket {
    Ticket { session, number }
}

pub(crate) fn entry(generation: u64, first: u64, records: &[&str]) -> Entry {
    Entry {
        first: Cursor { generation, sequence: first },
        lines: Bytes::from(records.iter().flat_map(|record| [record, "\n"]).collect::<String>()),
        kinds: Arc::from([]),
        count: records.len() as u64,
    }
}

/// The last write of a generation: one record and the status.
pub(crate) fn ending(write: Append, status: Status) -> Append {
    let kind = if status == Status::Error { RecordKind::Failure } else { RecordKind::Final };
    let last =
        Entry { kinds: Arc::from([kind]), ..entry(write.first.generation, write.first.sequence, &["{\"end\":1}"]) };
    Append { entry: Some(last), status: Some(status), ..write }
}

/// Fields have no order.
pub(crate) fn sorted(mut job: Job) -> Job {
    job.fields.sort();
    job
}

impl Bench {
    pub(crate) fn wait<T: Send>(&self, future: impl Future<Output = Result<T, StoreError>> + Send) -> T {
        let mut answer = None;
        (self.block_on)(Box::pin(async { answer = Some(future.await) }));
        answer.expect("block_on ends when the future does").expect("the store answers")
    }

    /// A running job of `user`, created now.
    pub(crate) fn new_job(&self, generation: u64, user_id: &str) -> Job {
        Job {
            generation,
            status: Status::Running,
            user_id: user_id.to_owned(),
            created_ms: self.clock.now_ms(),
            updated_ms: self.clock.now_ms(),
            settled_ms: None,
            head: 0,
            revision: 0,
            fields: vec![("model".to_owned(), "\"m\"".to_owned())],
        }
    }

    /// A job without records, by ticket `(generation, 0)`.
    pub(crate) fn create(&self, name: &str, previous: u64, generation: u64) -> Written {
        let job = self.new_job(generation, "ann");
        self.wait(self.store.create(&stream(name), ticket(generation, 0), previous, job))
    }

    pub(crate) fn job(&self, name: &str) -> Option<Job> {
        self.wait(self.store.job(&stream(name))).map(sorted)
    }

    /// A write to a running job, as it is now, that changes nothing yet: for struct updates.
    pub(crate) fn no_change(&self, name: &str, ticket: Ticket, generation: u64, first: u64) -> Append {
        Append {
            ticket,
            first: Cursor { generation, sequence: first },
            entry: None,
            expected_status: Status::Running,
            expected_revision: self.job(name).map_or(0, |job| job.revision),
            status: None,
            fields: Vec::new(),
            now_ms: self.clock.now_ms(),
        }
    }

    /// A write of records to a running job.
    pub(crate) fn records(&self, name: &str, ticket: Ticket, generation: u64, first: u64, records: &[&str]) -> Append {
        Append { entry: Some(entry(generation, first, records)), ..self.no_change(name, ticket, generation, first) }
    }

    pub(crate) fn append(&self, name: &str, append: Append) -> Written {
        self.wait(self.store.append(&stream(name), append))
    }

    /// Ends a running job.
    pub(crate) fn end(&self, name: &str, generation: u64, first: u64, status: Status) -> Written {
        self.append(name, ending(self.no_change(name, ticket(99, first), generation, first), status))
    }

    pub(crate) fn read(&self, name: &str, generation: u64, sequence: u64, bytes_max: usize) -> Page {
        self.wait(self.store.read(&stream(name), Cursor { generation, sequence }, bytes_max))
    }

    /// All records after a position, page by page, as `cursor record` lines. Fails when they have a gap or a repeat.
    pub(crate) fn log(
        &self,
        name: &str,
        generation: u64,
        after: u64,
        bytes_max: usize,
    ) -> Vec<(u64, RecordKind, String)> {
        let mut records = Vec::new();
        let mut at = after;
        loop {
            let Page::Entries(entries) = self.read(name, generation, at, bytes_max) else { panic!("no log at {at}") };
            if entries.is_empty() {
                return records;
            }
            let lines = entries.iter().flat_map(Entry::records).filter(|(cursor, ..)| cursor.sequence > at);
            for ((cursor, kind, line), expected) in lines.zip(at + 1..) {
                assert_eq!(cursor, Cursor { generation, sequence: expected });
                records.push((expected, kind, String::from_utf8(line.to_vec()).expect("records are text")));
            }
            at = entries.last().expect("not empty").last();
        }
    }

    pub(crate) fn sweep(&self, limit: usize) -> Vec<String> {
        let named = self.wait(self.store.sweep(self.clock.now_ms(), limit));
        named.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn list(&self, query: Query) -> Vec<(StreamId, Job)> {
        self.wait(self.store.list(query)).into_iter().map(|(id, job)| (id, sorted(job))).collect()
    }

    pub(crate) fn counts(&self) -> [u64; 5] {
        self.wait(self.store.counts())
    }

    pub(crate) fn active_of(&self, user_id: &str) -> u64 {
        let [running, requires_action, ..] = self.wait(self.store.counts_of(user_id));
        running + requires_action
    }
}
