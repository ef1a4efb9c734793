//! Group commit: appends of many streams that wait at the same time go to Redis as one command. A lone append leaves at
//! once; under load a group leaves every [`PACE`], without waiting for the answer to the one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{RedisResult, Value};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::answer::Answer;
use super::columns::{base36, ticket};
use super::entry::kinds_text;
use super::keys::Keys;
use super::link::Link;
use super::script::Script;
use crate::store::{Append, StoreError};
use crate::types::Status;

/// Between two groups.
const PACE: Duration = Duration::from_millis(3);
/// Appends of one group.
const GROUP_MAX: usize = 128;
/// Bytes of one group, but for the last append in it.
const GROUP_BYTES_MAX: usize = 256 * 1024;
/// Groups on their way.
const GROUPS_MAX: usize = 8;
/// Appends that wait for a group. Who comes then waits to be let in.
const QUEUE_MAX: usize = 1024;

/// One append and who wants to know.
struct Item {
    job_key: String,
    append: Append,
    answer: oneshot::Sender<Result<Answer, StoreError>>,
}

impl Item {
    fn bytes(&self) -> usize {
        let fields = self.append.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.append.entry.as_ref().map_or(0, |entry| entry.lines.len()) + fields + self.job_key.len() + 64
    }
}

/// What every group needs.
pub(super) struct Appender {
    link: Arc<Link>,
    script: Script,
    /// The same, allowed to use memory that there is none of.
    ending: Script,
    /// What follows the time in the first argument of each script.
    settings: String,
    /// What all job keys begin with, up to the name.
    keys_begin: String,
    groups: AtomicU64,
}

impl Appender {
    pub(super) fn new(link: Arc<Link>, keys: &Keys, settings: &str) -> Self {
        const TEXT: &str = concat!(include_str!("scripts/stream.lua"), include_str!("scripts/append.lua"));
        const ENDING: &str =
            concat!("#!lua flags=allow-oom\n", include_str!("scripts/stream.lua"), include_str!("scripts/append.lua"));
        let (script, ending) = (Script::new(TEXT), Script::new(ENDING));
        let keys_begin = keys.begin();
        Appender {
            link,
            script,
            ending,
            settings: format!("{settings} {keys_begin}"),
            keys_begin,
            groups: AtomicU64::new(0),
        }
    }

    /// Groups that have left.
    pub(super) fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Sends one append by itself.
    pub(super) async fn alone(&self, job_key: &str, append: &Append) -> Result<Answer, StoreError> {
        let mut answers = self.send(&[(job_key, append)]).await?;
        answers.pop().ok_or_else(|| StoreError::Unavailable("a script answered nothing".to_owned()))
    }

    async fn group(&self, items: Vec<Item>) {
        let appends: Vec<_> = items.iter().map(|item| (item.job_key.as_str(), &item.append)).collect();
        let sent = self.send(&appends).await;
        match sent {
            Ok(answers) => {
                // Nobody listens where a request was given up: what was written stays.
                items.into_iter().zip(answers).for_each(|(item, answer)| drop(item.answer.send(Ok(answer))));
            }
            Err(error) => {
                items.into_iter().for_each(|item| drop(item.answer.send(Err(error.clone()))));
            }
        }
    }

    async fn send(&self, appends: &[(&str, &Append)]) -> Result<Vec<Answer>, StoreError> {
        let now_ms = appends.first().map_or(0, |(_, append)| append.now_ms);
        let (mut keys, mut arguments) = (Vec::new(), vec![format!("{now_ms} {}", self.settings).into_bytes()]);
        for (key, append) in appends {
            // A Cluster must see the key to know where to send the command; elsewhere its name is enough.
            let name = key.strip_prefix(self.keys_begin.as_str()).and_then(|rest| rest.strip_suffix("}:job"));
            let name = name.filter(|_| !self.link.is_cluster());
            keys.extend(name.is_none().then_some(*key));
            encode(name, append, now_ms, &mut arguments);
        }
        self.groups.fetch_add(1, Ordering::Relaxed);
        let ends = appends.iter().all(|(_, append)| append.status.is_some_and(Status::is_terminal));
        let script = if ends { &self.ending } else { &self.script };
        let answer: RedisResult<Value> = script.run(&self.link, &keys, &arguments).await;
        match answer.map_err(|error| self.link.refused(&error))? {
            Value::Array(answers) if answers.len() == appends.len() => Ok(answers.iter().map(Answer::read).collect()),
            _ => Err(StoreError::Unavailable("a script answered something else".to_owned())),
        }
    }
}

/// Gathers appends into groups. Its task ends with it.
pub(super) struct Committer {
    queue: mpsc::Sender<Item>,
    task: JoinHandle<()>,
}

impl Committer {
    pub(super) fn start(appender: Arc<Appender>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        Committer { queue, task: tokio::spawn(commit(appender, waiting)) }
    }

    /// Appends with the next group.
    pub(super) async fn append(&self, job_key: String, append: Append) -> Result<Answer, StoreError> {
        let ended = || StoreError::Unavailable("the store has ended".to_owned());
        let (answer, answered) = oneshot::channel();
        self.queue.send(Item { job_key, append, answer }).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Owner: the [`Committer`]. The groups on their way end with this task.
async fn commit(appender: Arc<Appender>, mut waiting: mpsc::Receiver<Item>) {
    let room = Arc::new(Semaphore::new(GROUPS_MAX));
    let mut groups = JoinSet::new();
    let mut next = Instant::now();
    while let Some(first) = waiting.recv().await {
        sleep_until(next).await;
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let mut bytes = first.bytes();
        let mut items = vec![first];
        while items.len() < GROUP_MAX && bytes < GROUP_BYTES_MAX {
            let Ok(item) = waiting.try_recv() else { break };
            bytes += item.bytes();
            items.push(item);
        }
        next = Instant::now() + PACE;
        while groups.try_join_next().is_some() {}
        let appender = appender.clone();
        groups.spawn(async move {
            appender.group(items).await;
            drop(permit);
        });
    }
}

/// One append as `append.lua` reads it, behind the name in its key where no key is sent.
fn encode(name: Option<&str>, append: &Append, now_ms: u64, arguments: &mut Vec<Vec<u8>>) {
    let Append { first, entry, .. } = append;
    let (count, lines) = entry.as_ref().map_or((0, &[][..]), |entry| (entry.count, &entry.lines[..]));
    let fields = last_of_each(&append.fields);
    let kinds = entry.as_ref().map(kinds_text).unwrap_or_default();
    let mut words = vec![
        difference(now_ms, first.generation),
        base36(first.sequence),
        base36(count),
        ticket(append.ticket),
        difference(append.expected_revision, first.sequence),
    ];
    let statuses: String = std::iter::once(append.expected_status).chain(append.status).map(letter).collect();
    let late = i128::from(append.now_ms) - i128::from(now_ms);
    words.extend([statuses, late.to_string(), fields.len().to_string(), kinds]);
    let usual = [(8, ""), (7, "0"), (6, "0"), (5, "r")];
    let needed = usual.iter().find(|(at, usual)| words[*at] != *usual).map_or(5, |(at, _)| at + 1);
    words.truncate(needed);
    words.splice(0..0, name.map(str::to_owned));
    let mut item = words.join(" ").into_bytes();
    item.push(b'\n');
    item.extend_from_slice(lines);
    arguments.push(item);
    for (name, value) in fields {
        arguments.push(name.as_bytes().to_vec());
        arguments.push(value.as_bytes().to_vec());
    }
}

/// `one - other`, short where they are near.
fn difference(one: u64, other: u64) -> String {
    let sign = if one < other { "-" } else { "" };
    format!("{sign}{}", base36(one.abs_diff(other)))
}

/// The last write of each name, in order.
fn last_of_each(fields: &[(String, String)]) -> Vec<&(String, String)> {
    let later = |at: usize, name: &str| fields[at + 1..].iter().any(|(other, _)| other == name);
    fields.iter().enumerate().filter(|(at, (name, _))| !later(*at, name)).map(|(_, field)| field).collect()
}

fn letter(status: Status) -> char {
    match status {
        Status::Running => 'r',
        Status::RequiresAction => 'p',
        Status::Complete => 'c',
        Status::Error => 'e',
        Status::Aborted => 'a',
    }
}
