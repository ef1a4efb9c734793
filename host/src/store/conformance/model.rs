//! Case: after any commands, in any order, rows, logs, lists and counts are those of a store that walks everything.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::store::{Append, Page, Query, Ticket, Written};
use crate::types::{Cursor, Entry, Job, RecordKind, Status};

use super::{Bench, IDLE, IDLE_PAUSED, RETENTION, ending, entry, sorted, stream, ticket};

const STREAMS: [&str; 4] = ["a", "b", "c", "d"];
const USERS: [&str; 2] = ["ann", "bob"];

/// One command. What it names is taken from the model when it is done, so that most commands mean something.
#[derive(Clone, Debug)]
enum Step {
    Create { user: usize, known: bool },
    CreateAgain,
    Append { records: usize, status: Option<Status>, field: Option<(bool, bool)>, wrong: Wrong },
    AppendAgain,
    Checkpoint { sequence: u64, generation: u64 },
    Remove { generation: u64 },
    ExpireIn { ms: u64 },
    Wait { ms: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    Generation(bool),
    Position(bool),
    Status,
    Revision(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let wrong = prop_oneof![
        8 => Just(Wrong::Nothing),
        1 => any::<bool>().prop_map(Wrong::Generation),
        1 => any::<bool>().prop_map(Wrong::Position),
        1 => Just(Wrong::Status),
        1 => any::<bool>().prop_map(Wrong::Revision),
    ];
    let status = prop_oneof![3 => Just(None), 2 => prop::sample::select(&Status::ALL[..]).prop_map(Some)];
    let append = (0..4_usize, status, any::<Option<(bool, bool)>>(), wrong);
    prop_oneof![
        4 => (0..2_usize, prop::bool::weighted(0.8)).prop_map(|(user, known)| Step::Create { user, known }),
        1 => Just(Step::CreateAgain),
        12 => append.prop_map(|(records, status, field, wrong)| Step::Append { records, status, field, wrong }),
        2 => Just(Step::AppendAgain),
        2 => (0..6_u64, 0..5_u64).prop_map(|(sequence, off)| Step::Checkpoint { sequence, generation: off / 4 }),
        1 => (0..3_u64).prop_map(|off| Step::Remove { generation: off / 2 }),
        1 => (0..8_000_u64).prop_map(|ms| Step::ExpireIn { ms }),
        4 => (1_000..12_000_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

#[derive(Clone)]
struct Row {
    job: Job,
    log: Vec<Entry>,
    checkpoint: Option<(Cursor, String)>,
    created: (Ticket, u64, Job),
    written: Option<Append>,
    active_ms: u64,
    expires_ms: Option<u64>,
    named_ms: Option<u64>,
}

#[derive(Default)]
struct Model {
    rows: HashMap<&'static str, Row>,
    /// Grows, so that no generation and no ticket comes twice.
    number: u64,
}

pub(crate) fn any_interleaving_of_commands_agrees_with_the_model(open: impl Fn() -> Bench, cases: u32) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let steps = vec((prop::sample::select(&STREAMS[..]), step()), 1..80);
    let run = |steps: Vec<(&'static str, Step)>| {
        let bench = open();
        let mut model = Model::default();
        for (name, step) in steps {
            model.act(&bench, name, &step);
            model.compare(&bench);
        }
        Ok(())
    };
    if let Err(failure) = TestRunner::new(config).run(&steps, run) {
        panic!("{failure}");
    }
}

impl Model {
    fn act(&mut self, bench: &Bench, name: &'static str, step: &Step) {
        self.number += 1;
        let (id, now_ms) = (stream(name), bench.clock.now_ms());
        let row = self.rows.get(name);
        let (generation, head) = row.map_or((0, 0), |row| (row.job.generation, row.job.head));
        match step {
            Step::Create { user, known } => {
                let previous = if *known { generation } else { generation + 1 };
                let job = bench.new_job(1_000 + self.number, USERS[*user]);
                self.create(bench, name, (ticket(0, self.number), previous, job));
            }
            Step::CreateAgain => {
                let created = row.map(|row| row.created.clone());
                created.into_iter().for_each(|created| self.create(bench, name, created));
            }
            Step::Append { records, status, field, wrong } => {
                let append = self.write(bench, name, *records, *status, *field, *wrong);
                self.append(bench, name, append);
            }
            Step::AppendAgain => {
                let written = row.and_then(|row| row.written.clone());
                written.into_iter().for_each(|written| self.append(bench, name, written));
            }
            Step::Checkpoint { sequence, generation: off } => {
                let at = Cursor { generation: generation + off, sequence: head.saturating_sub(*sequence) };
                let state = format!("state {}", self.number);
                bench.wait(bench.store.put_checkpoint(&id, at, state.clone()));
                let covers_more = |row: &Row| row.checkpoint.as_ref().is_none_or(|(old, _)| at.sequence > old.sequence);
                let row = self.rows.get_mut(name).filter(|row| *off == 0 && covers_more(row));
                row.into_iter().for_each(|row| row.checkpoint = Some((at, state.clone())));
            }
            Step::Remove { generation: off } => {
                let expected = row.is_some() && *off == 0;
                assert_eq!(bench.wait(bench.store.remove(&id, generation + off)), expected);
                if expected {
                    self.rows.remove(name);
                }
            }
            Step::ExpireIn { ms } => {
                bench.wait(bench.store.expire_at(&id, generation, now_ms + ms));
                self.rows.get_mut(name).into_iter().for_each(|row| row.expires_ms = Some(now_ms + ms));
                self.sweep(bench);
            }
            Step::Wait { ms } => {
                bench.clock.advance_ms(*ms);
                self.sweep(bench);
            }
        }
        // A settled job that was told its end before is over at once.
        self.sweep(bench);
    }

    fn create(&mut self, bench: &Bench, name: &'static str, created: (Ticket, u64, Job)) {
        let (ticket, previous, job) = created.clone();
        let current = self.rows.get(name);
        let again = current.is_some_and(|row| row.created.0 == ticket && row.job.generation == job.generation);
        let current = current.map_or(0, |row| row.job.generation);
        let answer = bench.wait(bench.store.create(&stream(name), ticket, previous, job.clone()));
        if again {
            assert_eq!(answer, Written::Accepted);
        } else if current != previous {
            assert_eq!(answer, Written::GenerationReplaced(current));
        } else {
            assert_eq!(answer, Written::Accepted);
            let active_ms = bench.clock.now_ms();
            let row = Row {
                job: Job { revision: 1, ..job },
                log: Vec::new(),
                checkpoint: None,
                created,
                written: None,
                active_ms,
                expires_ms: None,
                named_ms: None,
            };
            self.rows.insert(name, row);
        }
    }

    /// A write that fits, but for what is `wrong` with it.
    fn write(
        &self,
        bench: &Bench,
        name: &str,
        records: usize,
        status: Option<Status>,
        field: Option<(bool, bool)>,
        wrong: Wrong,
    ) -> Append {
        let job = self.rows.get(name).map(|row| &row.job);
        let (generation, head) = job.map_or((5, 0), |job| (job.generation, job.head));
        let fits = bench.no_change(name, ticket(1, self.number), generation, head + 1);
        let texts = ["{\"n\":1}", "", "{\"n\":22}"];
        let mut write = Append {
            entry: (records > 0).then(|| entry(generation, head + 1, &texts[..records])),
            expected_status: job.map_or(Status::Running, |job| job.status),
            status,
            fields: Vec::new(),
            ..fits
        };
        if let Some(status) = status.filter(|status| status.is_terminal() && records > 0) {
            write = ending(write, status);
        }
        if let Some((first, value)) = field {
            let name = if first { "one" } else { "two" };
            let value = if value { self.number.to_string() } else { "null".to_owned() };
            write.fields.push((name.to_owned(), value));
        }
        let other = |number: u64, up: bool| if up { number + 1 } else { number.saturating_sub(1) };
        match wrong {
            Wrong::Nothing => {}
            Wrong::Generation(newer) => write.first.generation = other(generation, newer),
            Wrong::Position(later) => write.first.sequence = other(head + 1, later),
            Wrong::Status if write.expected_status == Status::Running => write.expected_status = Status::RequiresAction,
            Wrong::Status => write.expected_status = Status::Running,
            Wrong::Revision(newer) => write.expected_revision = other(write.expected_revision, newer),
        }
        if let Some(entry) = &mut write.entry {
            entry.first = write.first;
        }
        write
    }

    fn append(&mut self, bench: &Bench, name: &'static str, append: Append) {
        let answer = bench.append(name, append.clone());
        let Some(row) = self.rows.get_mut(name) else {
            assert_eq!(answer, Written::NotFound);
            return;
        };
        let job = &mut row.job;
        let again = row.written.as_ref().is_some_and(|old| old.ticket == append.ticket && old.first == append.first);
        let expected_status = append.expected_status == job.status && append.expected_revision == job.revision;
        let fields_only = append.entry.is_none() && append.status.is_none();
        let expected = if append.first.generation < job.generation {
            Written::GenerationReplaced(job.generation)
        } else if append.first.generation > job.generation {
            Written::Ahead(job.cursor())
        } else if again {
            Written::Accepted
        } else if job.status.is_terminal() && !(fields_only && expected_status) {
            Written::NotActive(job.status)
        } else if append.first.sequence > job.head + 1
            || (append.first.sequence == job.head + 1 && append.expected_revision > job.revision)
        {
            Written::Ahead(job.cursor())
        } else if append.first.sequence <= job.head || !expected_status {
            Written::Behind(job.head)
        } else {
            Written::Accepted
        };
        assert_eq!(answer, expected);
        if again || expected != Written::Accepted {
            return;
        }
        if !fields_only {
            row.active_ms = append.now_ms;
        }
        job.revision += 1;
        if let Some(entry) = &append.entry {
            job.head += entry.count;
            job.updated_ms = append.now_ms;
            row.log.push(entry.clone());
        }
        append.fields.iter().for_each(|(name, value)| job.set_field(name, value));
        if let Some(status) = append.status {
            job.status = status;
            job.settled_ms = if status.is_terminal() { Some(append.now_ms) } else { job.settled_ms };
        }
        row.written = Some(append);
    }

    fn sweep(&mut self, bench: &Bench) {
        let now_ms = bench.clock.now_ms();
        let named = bench.sweep(usize::MAX);
        let ms = |time: std::time::Duration| time.as_millis() as u64;
        let (mut idle, mut fresh) = (0, 0);
        self.rows.retain(|name, row| {
            let patience = match row.job.status {
                Status::Running => IDLE,
                Status::RequiresAction => IDLE_PAUSED,
                _ => {
                    let settled_ms = row.job.settled_ms.expect("it has ended");
                    return row.expires_ms.unwrap_or(settled_ms + ms(RETENTION)) > now_ms;
                }
            };
            if row.active_ms + ms(patience) <= now_ms {
                // A store may leave the caller a second before it names a job again.
                let lately = row.named_ms.is_some_and(|named_ms| named_ms + 1_000 > now_ms);
                let is_named = named.iter().any(|id| id == name);
                assert!(is_named || lately, "{name} is idle");
                idle += usize::from(is_named);
                fresh += usize::from(is_named && !lately);
                row.named_ms = if is_named { Some(now_ms) } else { row.named_ms };
            }
            true
        });
        assert!(fresh <= named.len() && named.len() == idle, "named {named:?}: too many");
    }

    fn compare(&self, bench: &Bench) {
        for name in STREAMS {
            let row = self.rows.get(name);
            assert_eq!(bench.job(name), row.map(|row| sorted(row.job.clone())));
            let Some(row) = row else {
                assert_eq!(bench.read(name, 1, 0, 1), Page::Gone);
                continue;
            };
            let generation = row.job.generation;
            let records = row.log.iter().flat_map(Entry::records);
            let records: Vec<(u64, RecordKind, String)> = records
                .map(|(cursor, kind, line)| (cursor.sequence, kind, String::from_utf8_lossy(line).into_owned()))
                .collect();
            assert_eq!(bench.log(name, generation, 0, 10), records);
            let checkpoint = bench.wait(bench.store.checkpoint(&stream(name), generation));
            assert_eq!(checkpoint, row.checkpoint);
        }
        let mut rows: Vec<_> = self.rows.iter().map(|(name, row)| (stream(name), sorted(row.job.clone()))).collect();
        rows.sort_by(|(a, one), (b, other)| (other.created_ms, b).cmp(&(one.created_ms, a)));
        let counts = Status::ALL.map(|status| rows.iter().filter(|(_, job)| job.status == status).count() as u64);
        assert_eq!(bench.counts(), counts);
        for user in USERS {
            let active = rows.iter().filter(|(_, job)| job.user_id == user && !job.status.is_terminal());
            assert_eq!(bench.active_of(user), active.count() as u64);
        }
        for user_id in [None, Some(USERS[0]), Some(USERS[1])] {
            for status in Status::ALL.map(Some).into_iter().chain([None]) {
                let fits = |(_, job): &&(_, Job)| {
                    user_id.is_none_or(|user_id| job.user_id == user_id)
                        && status.is_none_or(|status| job.status == status)
                };
                let expected: Vec<_> = rows.iter().filter(fits).cloned().collect();
                let user_id = user_id.map(str::to_owned);
                assert_eq!(bench.list(Query { user_id, status, limit: 9, after: None }), expected);
            }
        }
    }
}
