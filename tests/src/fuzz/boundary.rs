//! The WIT boundary: the same calls go to the component and to the code that it was made of.

use std::cell::RefCell;
use std::fmt::Debug;
use std::mem;

use rejoin_core::lines::Framing;
use rejoin_core::session::{Fence, Producer, Session, Settled};
use rejoin_core::types::{Effect, Field, Job, Limits, Refusal, Status};
use wasmtime::component::ResourceAny;

use super::input::Input;
use super::session::NOW;
use crate::component::{Asked, Instance, types, wit};

/// Runs of one instance: its memory never shrinks.
const RUNS: usize = 1000;
/// Calls of one run.
const CALLS: usize = 64;

/// What texts are made of, beside raw ones.
const WORDS: [&str; 20] = [
    "{}",
    r#"{"userId":"u"}"#,
    r#"{"userId":"v","ifActive":"reject"}"#,
    r#"{"expectedGeneration":0,"metadata":{"model":"m"}}"#,
    r#"{"model":"m","sender":null,"userMessage":{"messageId":"m1"}}"#,
    r#"{"event":"on_run_step","data":{"id":"s","index":0,"stepDetails":{"type":"message_creation"}}}"#,
    r#"{"event":"on_run_step","data":{"id":"t","index":1,"stepDetails":{"type":"tool_calls","tool_calls":[{"id":"c","name":"n","args":{}}]}}}"#,
    r#"{"event":"on_run_step_delta","data":{"id":"t","delta":{"type":"tool_calls","tool_calls":[{"index":0,"args":"{\"a\""}]}}}"#,
    r#"{"event":"on_run_step_completed","data":{"result":{"id":"t","index":1,"type":"tool_call","tool_call":{"id":"c","name":"n","args":"{}","output":"o"}}}}"#,
    r#"{"event":"on_message_delta","data":{"id":"s","delta":{"content":[{"type":"text","text":"a"}]}}}"#,
    r#"{"event":"on_reasoning_delta","data":{"id":"s","delta":{"content":[{"type":"think","think":"b"}]}}}"#,
    r#"{"created":true,"message":{"messageId":"m","conversationId":"c"}}"#,
    r#"{"final":true,"title":"T"}"#,
    r#"{"_internal":true}"#,
    r#"{"id":"a"}"#,
    "a",
    "[",
    "\n",
    "\u{1f980}",
    "18446744073709551615",
];

/// Calls and their arguments, out of bytes.
pub fn run(bytes: &[u8]) {
    thread_local! {
        static INSTANCE: RefCell<(usize, Option<Instance>)> = const { RefCell::new((0, None)) };
    }
    INSTANCE.with_borrow_mut(|(runs, kept)| {
        let mut instance = kept.take().unwrap_or_else(|| Instance::new().expect("the component starts"));
        pair(&mut instance, &mut Input::new(bytes));
        *runs += 1;
        *kept = (!runs.is_multiple_of(RUNS)).then_some(instance);
    });
}

fn pair(instance: &mut Instance, input: &mut Input<'_>) {
    *instance.asked() = Asked { now_ms: NOW, ..Asked::default() };
    let limits = match input.below(3) {
        0 => Limits { record_bytes_max: 120, records_max: 6, log_bytes_max: 600, idle_ms: 50, paused_idle_ms: 500 },
        1 => Limits { record_bytes_max: 0, records_max: 0, log_bytes_max: 0, idle_ms: 0, paused_idle_ms: 0 },
        _ => Limits {
            record_bytes_max: u64::MAX,
            records_max: u64::MAX,
            log_bytes_max: u64::MAX,
            idle_ms: u64::MAX,
            paused_idle_ms: u64::MAX,
        },
    };
    let job = input.maybe(job);
    let checkpoint = input.maybe(text);
    let mut pair = Pair::open(instance, job, checkpoint, limits);
    for _ in 0..CALLS {
        if input.is_empty() {
            break;
        }
        pair.call(input);
        pair.compare_effects();
    }
    pair.look();
    pair.close();
}

fn job(input: &mut Input<'_>) -> Job {
    let fields = (0..input.below(3)).map(|_| Field {
        name: ["userMessage", "pendingAction", "idempotency:keys", "producer:p", "x"][input.below(5)].into(),
        value: text(input),
    });
    let fields = fields.collect();
    Job {
        generation: input.number(),
        status: status(input),
        user_id: ["anonymous", "u"][input.below(2)].into(),
        created_ms: input.number(),
        updated_ms: input.number(),
        settled_ms: input.maybe(Input::number),
        head: input.number(),
        fields,
    }
}

fn status(input: &mut Input<'_>) -> Status {
    use Status::{Aborted, Complete, Error, RequiresAction, Running};
    [Running, Running, RequiresAction, Complete, Error, Aborted][input.below(6)]
}

fn text(input: &mut Input<'_>) -> String {
    let words = (0..input.below(5)).map(|_| match input.below(WORDS.len() + 2) {
        raw if raw >= WORDS.len() => input.text(),
        word => WORDS[word].to_owned(),
    });
    words.collect::<Vec<_>>().join(["", "\n", ","][input.below(3)])
}

/// Both of them, and the ticket that waits.
struct Pair<'a> {
    instance: &'a mut Instance,
    handle: ResourceAny,
    native: Session,
    limits: Limits,
    waiting: Option<u64>,
}

/// Calls a method of the component's session; a trap ends the run.
macro_rules! component {
    ($pair:expr, $method:ident $(, $argument:expr)*) => {{
        let Instance { store, exports } = &mut *$pair.instance;
        let guest = exports.rejoin_streams_session();
        guest.session().$method(&mut *store $(, $argument)*).expect("the component does not trap")
    }};
}

impl<'a> Pair<'a> {
    fn open(instance: &'a mut Instance, job: Option<Job>, checkpoint: Option<String>, limits: Limits) -> Self {
        let given = job.as_ref().map(wit_job);
        let Instance { store, exports } = &mut *instance;
        let guest = exports.rejoin_streams_session();
        let opened =
            guest.session().call_open(store, "fuzz", given.as_ref(), checkpoint.as_deref(), wit_limits(limits));
        let handle = opened.expect("the component does not trap");
        let native = Session::open(job, checkpoint.as_deref(), limits);
        Pair { instance, handle, native, limits, waiting: None }
    }

    fn call(&mut self, input: &mut Input<'_>) {
        let (handle, now) = (self.handle, self.instance.asked().now_ms);
        match input.below(14) {
            0 => {
                let (user, key, request) = (input.maybe(text), input.maybe(text), text(input));
                let (user, key) = (user.as_deref(), key.as_deref());
                let answer = component!(self, call_create, handle, user, key, &request);
                same(answer, self.native.create(now, user, key, &request));
            }
            1 | 2 => {
                let (fence, text, json) = (self.generation(input), text(input), input.below(4) == 0);
                let producer = input.maybe(|input| (["p", "q", ""][input.below(3)], input.number(), input.number()));
                let (framing, wit_framing) = match json {
                    true => (Framing::Json, wit::Framing::Json),
                    false => (Framing::Ndjson, wit::Framing::Ndjson),
                };
                let given = producer.map(|(id, seq, offset)| wit::Producer { id: id.to_owned(), seq, offset });
                let answer = component!(self, call_push, handle, fence, wit_framing, &text, given.as_ref());
                let producer = producer.map(|(id, seq, offset)| Producer { id, seq, offset });
                same(answer, self.native.push(now, Fence(fence), framing, &text, producer));
            }
            3 => {
                let fields = text(input);
                same(component!(self, call_update, handle, &fields), self.native.update(now, &fields));
            }
            4 => {
                let (fence, event) = (self.generation(input), input.maybe(text));
                let answer = component!(self, call_complete, handle, fence, event.as_deref());
                same(answer, self.native.complete(now, Fence(fence), event.as_deref()));
            }
            5 => {
                let (fence, reason) = (self.generation(input), text(input));
                let answer = component!(self, call_fail, handle, fence, &reason);
                same(answer, self.native.fail(now, Fence(fence), &reason));
            }
            6 => {
                let fence = self.generation(input);
                same(component!(self, call_abort, handle, fence), self.native.abort(now, Fence(fence)));
            }
            7 => same(component!(self, call_time_out, handle), self.native.time_out(now)),
            8 => {
                let (fence, action) = (self.generation(input), text(input));
                let answer = component!(self, call_pause, handle, fence, &action);
                same(answer, self.native.pause(now, Fence(fence), &action));
            }
            9 => {
                let (fence, id, decision) = (self.generation(input), text(input), text(input));
                let answer = component!(self, call_resolve, handle, fence, &id, &decision);
                same(answer, self.native.resolve(now, Fence(fence), &id, &decision));
            }
            10 => {
                let lines = text(input);
                same(component!(self, call_replay, handle, &lines), self.native.replay(&lines));
            }
            11 => self.settle(input),
            12 => self.reopen(),
            _ => {
                self.instance.asked().now_ms = now.saturating_add(input.number() % (1 << 40));
                self.look();
            }
        }
        // What a host does as a rule: it settles at once.
        self.compare_effects();
        if self.waiting.is_some() && input.below(4) > 0 {
            self.accept();
        }
    }

    fn generation(&self, input: &mut Input<'_>) -> Option<u64> {
        let current = self.native.head().generation;
        [None, None, Some(current), Some(current.wrapping_add(1)), Some(current.wrapping_sub(1))][input.below(5)]
    }

    fn settle(&mut self, input: &mut Input<'_>) {
        let ticket = self.waiting.filter(|_| input.below(3) > 0).unwrap_or_else(|| input.number());
        let refused = match input.below(5) {
            0 => (Refusal::Busy, types::Refusal::Busy),
            1 => (Refusal::Behind(ticket), types::Refusal::Behind(ticket)),
            2 => (Refusal::Invalid("x".into()), types::Refusal::Invalid("x".into())),
            _ => return self.accept(),
        };
        self.waiting = None;
        let answer = component!(self, call_settle, self.handle, ticket, &wit::Outcome::Refused(refused.1));
        same(answer, self.native.settle(ticket, Settled::Refused(refused.0)));
    }

    fn accept(&mut self) {
        let Some(ticket) = self.waiting.take() else { return };
        let answer = component!(self, call_settle, self.handle, ticket, &wit::Outcome::Accepted);
        same(answer, self.native.settle(ticket, Settled::Accepted));
    }

    /// What a host does after a while: both go on from what they saved.
    fn reopen(&mut self) {
        let (answer, saved) = (component!(self, call_save, self.handle), self.native.save());
        same(&answer, &saved);
        let (Ok(saved), None) = (saved, self.waiting) else { return };
        self.handle.resource_drop(&mut self.instance.store).expect("it is dropped");
        let job = self.native.job().cloned();
        let Instance { store, exports } = &mut *self.instance;
        let guest = exports.rejoin_streams_session();
        let given = guest.session();
        let row = job.as_ref().map(wit_job);
        let opened = given.call_open(store, "fuzz", row.as_ref(), Some(&saved), wit_limits(self.limits));
        self.handle = opened.expect("the component does not trap");
        self.native = Session::open(job, Some(&saved), self.limits);
    }

    /// Everything that can be read.
    fn look(&mut self) {
        let handle = self.handle;
        same(component!(self, call_head, handle), self.native.head());
        same(component!(self, call_job, handle), self.native.job());
        same(component!(self, call_content, handle), self.native.content());
        same(component!(self, call_text, handle), self.native.text());
        same(component!(self, call_next_index, handle), self.native.next_index());
        let native = self.native.resume_state();
        same(component!(self, call_resume_state, handle), native);
        for json in [self.native.content(), self.native.text()].into_iter().flatten() {
            assert!(rejoin_core::json::Json::parse(&json).is_ok(), "no JSON: {json}");
        }
    }

    /// What both asked of their host since the last time.
    fn compare_effects(&mut self) {
        let asked = self.instance.asked();
        let given = Asked { now_ms: asked.now_ms, ..Asked::default() };
        let asked = mem::replace(asked, given);
        let mut wanted = Asked::default();
        for effect in self.native.take_effects() {
            match effect {
                Effect::Create { ticket, .. } => wanted.tickets.push(ticket),
                Effect::Append { ticket, records, .. } => {
                    wanted.tickets.push(ticket);
                    wanted.records.extend(records.into_iter().map(|record| record.json));
                }
                Effect::Checkpoint { state, .. } => wanted.checkpoints.push(state),
                Effect::Publish { .. } => wanted.published += 1,
                Effect::Signal { .. } => {}
            }
        }
        assert_eq!(asked.tickets, wanted.tickets);
        assert_eq!(asked.records, wanted.records);
        assert_eq!(asked.checkpoints, wanted.checkpoints);
        assert_eq!(asked.published, wanted.published);
        assert!(wanted.records.iter().all(|record| !record.contains(['\n', '\r'])), "a record is one line");
        self.waiting = wanted.tickets.last().copied().or(self.waiting);
    }

    fn close(self) {
        self.handle.resource_drop(&mut self.instance.store).expect("it is dropped");
    }
}

/// The same value in two sets of types: the names in which they differ are taken out.
fn same(component: impl Debug, native: impl Debug) {
    let plain = |text: String| {
        let text = text.replace('-', "_").replace("effect: ", "outcome: ");
        ["Effect::", "Status::", "Refusal::"].iter().fold(text, |text, name| text.replace(name, ""))
    };
    assert_eq!(plain(format!("{component:?}")), plain(format!("{native:?}")));
}

fn wit_job(job: &Job) -> types::Job {
    let field = |field: &Field| types::Field { name: field.name.clone(), value: field.value.clone() };
    types::Job {
        generation: job.generation,
        status: wit_status(job.status),
        user_id: job.user_id.clone(),
        created_ms: job.created_ms,
        updated_ms: job.updated_ms,
        settled_ms: job.settled_ms,
        head: job.head,
        fields: job.fields.iter().map(field).collect(),
    }
}

fn wit_status(status: Status) -> types::Status {
    match status {
        Status::Running => types::Status::Running,
        Status::RequiresAction => types::Status::RequiresAction,
        Status::Complete => types::Status::Complete,
        Status::Error => types::Status::Error,
        Status::Aborted => types::Status::Aborted,
    }
}

fn wit_limits(limits: Limits) -> types::Limits {
    let Limits { record_bytes_max, records_max, log_bytes_max, idle_ms, paused_idle_ms } = limits;
    types::Limits { record_bytes_max, records_max, log_bytes_max, idle_ms, paused_idle_ms }
}
