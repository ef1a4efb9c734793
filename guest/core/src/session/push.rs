//! Appending: text to records, each folded as it is taken, all of them one append.

use super::*;
use crate::json::{Kind, literal_is};
use crate::lines::one_line;

/// Producers whose last request a generation remembers; the one that has been quiet longest is forgotten.
const PRODUCERS_MAX: usize = 64;
const PRODUCER_PREFIX: &str = "producer:";

/// Makes repeats of a request harmless.
#[derive(Clone, Copy, Debug)]
pub struct Producer<'a> {
    /// Who appends: 1 to 128 bytes.
    pub id: &'a str,
    /// Number of the request, growing by one.
    pub seq: u64,
    /// Records of the same request pushed before.
    pub offset: u64,
}

/// Where and why a push stopped. Everything before is kept, nothing from there on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Line (or list member) within the text, from 1.
    pub line: u32,
    /// Why.
    pub reason: Refusal,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Whether a ticket was issued.
    pub outcome: Outcome,
    /// New records.
    pub appended: u32,
    /// Repeats.
    pub duplicate: u32,
    /// Cursor of the first record of this push; of the first one then, for repeats.
    pub first: Option<Cursor>,
    /// Cursor of the last one.
    pub last: Option<Cursor>,
    /// Set when not all was taken.
    pub stopped: Option<Stopped>,
}

/// What is remembered of a producer's latest request.
#[derive(Clone, Copy, Debug, Default)]
struct Remembered {
    seq: u64,
    count: u64,
    first: u64,
    last: u64,
}

/// An append in the making.
struct Batch {
    status: Status,
    records: Vec<Record>,
    fields: Vec<Field>,
    ended: Option<Status>,
}

impl Session {
    /// Appends the records in `text`.
    pub fn push(
        &mut self,
        now_ms: u64,
        fence: Fence,
        framing: Framing,
        text: &str,
        producer: Option<Producer<'_>>,
    ) -> Result<Pushed, Refusal> {
        let job = self.active(fence)?;
        let generation = job.generation;
        let mut batch = Batch { status: job.status, records: Vec::new(), fields: Vec::new(), ended: None };
        let mut request = producer.map(|producer| remembered(job, producer)).transpose()?;
        let known = request.map_or(0, |request| request.count);
        let mut offset = producer.map_or(0, |producer| producer.offset);
        let before = self.sequence;

        let (mut duplicate, mut stopped) = (0, None);
        for (line, record) in Lines::new(framing, text) {
            let reason = match record {
                Err(reason) => Refusal::Invalid(reason),
                Ok(_) if request.is_some() && offset < known => {
                    (offset, duplicate) = (offset.saturating_add(1), duplicate + 1);
                    continue;
                }
                Ok(record) => match self.accept(record, &mut batch) {
                    Ok(()) => {
                        offset = offset.saturating_add(1);
                        continue;
                    }
                    Err(reason) => reason,
                },
            };
            stopped = Some(Stopped { line, reason });
            break;
        }
        if stopped.as_ref().is_some_and(|stopped| stopped.reason == Refusal::LogFull) && batch.ended.is_none() {
            let (record, change) = self.failure("log full", batch.status, std::mem::take(&mut batch.fields));
            batch.records.push(record);
            batch.fields = change.fields;
            batch.ended = change.status;
        }

        let appended = self.sequence - before;
        let own = u64::from(batch.ended == Some(Status::Error));
        let at = |sequence| Cursor { generation, sequence };
        let (mut first, mut last) = (None, None);
        if appended > own {
            (first, last) = (Some(at(before.saturating_add(1))), Some(at(self.sequence - own)));
        }
        if let (Some(producer), Some(request)) = (producer, &mut request) {
            if appended > own {
                if request.count == 0 {
                    request.first = before.saturating_add(1);
                }
                request.count = offset;
                request.last = self.sequence - own;
                remember(self.job.as_ref(), producer.id, request, &mut batch.fields);
            }
            if request.count > 0 {
                first = Some(at(request.first));
                last = Some(at(request.last));
            }
        }
        let outcome = if appended == 0 {
            Outcome::Unchanged
        } else {
            let Batch { status, records, fields, ended } = batch;
            self.append(now_ms, records, Change { status: ended, expected_status: status, fields }, None);
            Outcome::Pending
        };
        let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Pushed { outcome, appended: count(appended - own), duplicate, first, last, stopped })
    }

    /// Takes one record into the batch, or says why not.
    fn accept(&mut self, record: Json<'_>, batch: &mut Batch) -> Result<(), Refusal> {
        let bytes = record.text().len() as u64;
        if bytes > self.limits.record_bytes_max {
            return Err(Refusal::RecordTooLarge(self.limits.record_bytes_max));
        }
        let status = job::next(batch.ended.unwrap_or(batch.status), Command::Append)?;
        if self.sequence >= self.limits.records_max || self.bytes.saturating_add(bytes) > self.limits.log_bytes_max {
            return Err(Refusal::LogFull);
        }
        let event = Event::of(record);
        let mut kind = if event.is_internal { RecordKind::Internal } else { RecordKind::Event };
        if event.is_final {
            batch.ended = Some(job::next(status, Command::Complete)?);
            kind = RecordKind::Final;
        }
        if let Some(message) = event.created {
            created(message, &mut batch.fields);
        }
        self.take(record, &event);
        batch.records.push(Record { json: one_line(record).into_owned(), kind });
        Ok(())
    }
}

/// The `created` event names the user's message and the conversation.
fn created(message: Json<'_>, fields: &mut Vec<Field>) {
    if message.kind() != Kind::Object {
        return;
    }
    fields.push(Field { name: "userMessage".into(), value: one_line(message).into_owned() });
    if let Some(id) = message.get("conversationId").filter(|id| id.kind() == Kind::String) {
        fields.push(Field { name: "conversationId".into(), value: id.text().to_owned() });
    }
}

/// What is known of the request that `producer` names; an empty memory when it is new.
fn remembered(job: &Job, producer: Producer<'_>) -> Result<Remembered, Refusal> {
    if !(1..=128).contains(&producer.id.len()) {
        return Err(Refusal::Invalid("a producer id has 1 to 128 bytes".into()));
    }
    let field = job.fields.iter().find(|f| f.name.strip_prefix(PRODUCER_PREFIX) == Some(producer.id));
    let mut found = Remembered { seq: producer.seq, ..Remembered::default() };
    if let Some(json) = field.and_then(|field| Json::parse(&field.value).ok()) {
        let mut known = Remembered::default();
        for (key, value) in json.entries() {
            let value = value.as_u64().unwrap_or(0);
            for (name, slot) in [
                ("seq", &mut known.seq),
                ("count", &mut known.count),
                ("first", &mut known.first),
                ("last", &mut known.last),
            ] {
                if literal_is(key, name) {
                    *slot = value;
                }
            }
        }
        if producer.seq < known.seq {
            // Older than the latest request: it was answered before that one was sent. All of it is a repeat.
            return Ok(Remembered { seq: producer.seq, count: u64::MAX, first: known.first, last: known.last });
        }
        let next = known.seq.saturating_add(1);
        if producer.seq > next {
            return Err(Refusal::ProducerGap(next));
        }
        if producer.seq == known.seq {
            found = known;
        }
    }
    if producer.offset > found.count {
        return Err(Refusal::ProducerGap(found.count));
    }
    Ok(found)
}

fn remember(job: Option<&Job>, id: &str, request: &Remembered, fields: &mut Vec<Field>) {
    let Remembered { seq, count, first, last } = request;
    let name = format!("{PRODUCER_PREFIX}{id}");
    if let Some(job) = job
        && job.field(&name).is_none()
    {
        let mut others = job.fields.iter().filter(|f| f.name.starts_with(PRODUCER_PREFIX));
        // Fields stand in the order of their last write: the first one has been quiet longest.
        if others.clone().count() >= PRODUCERS_MAX
            && let Some(oldest) = others.next()
        {
            fields.push(Field { name: oldest.name.clone(), value: "null".into() });
        }
    }
    let value = format!("{{\"seq\":{seq},\"count\":{count},\"first\":{first},\"last\":{last}}}");
    fields.push(Field { name, value });
}
