//! One session against the laws: the job table stays closed whatever is asked in whatever order, nothing unsettled is
//! seen, repeats change nothing, and a session opened again is the same session.

#![forbid(unsafe_code)]

mod any;
mod log;

use rejoin_core::lines::Framing;
use rejoin_core::session::{Fence, Producer, Pushed, Session, Settled};
use rejoin_core::types::{Effect, Job, Limits, Outcome, RecordKind, Refusal, Signal, Status};

use self::log::Log;

const NOW: u64 = 1_789_000_000_000;
const LIMITS: Limits = Limits {
    record_bytes_max: 1 << 20,
    records_max: 200_000,
    log_bytes_max: 64 << 20,
    idle_ms: 60_000,
    paused_idle_ms: 600_000,
};
const STEP: &str = r#"{"event":"on_run_step","data":{"id":"s","index":0,"stepDetails":{"type":"message_creation"}}}"#;

fn delta(text: &str) -> String {
    format!(
        r#"{{"event":"on_message_delta","data":{{"id":"s","delta":{{"content":[{{"type":"text","text":"{text}"}}]}}}}}}"#
    )
}

fn started() -> (Session, Log) {
    let (mut session, mut log) = (Session::open(None, None, LIMITS), Log::default());
    assert_eq!(session.create(NOW, Some("u"), None, "{}"), Ok(Outcome::Pending));
    log.serve(&mut session);
    (session, log)
}

fn push(session: &mut Session, log: &mut Log, text: &str) -> Result<Pushed, Refusal> {
    let pushed = session.push(NOW + 1, Fence(None), Framing::Ndjson, text, None);
    log.serve(session);
    pushed
}

#[test]
fn between_push_and_settle_nothing_can_be_seen_or_done() {
    let (mut session, mut log) = started();
    session.push(NOW, Fence(None), Framing::Ndjson, STEP, None).expect("running");
    assert_eq!(session.content(), Err(Refusal::Busy));
    assert_eq!(session.resume_state(), Err(Refusal::Busy));
    assert_eq!(session.abort(NOW, Fence(None)), Err(Refusal::Busy));
    assert!(session.push(NOW, Fence(None), Framing::Ndjson, STEP, None).is_err());
    log.serve(&mut session);
    assert_eq!(session.content().as_deref(), Ok("[]"));
}

#[test]
fn a_session_that_the_store_refused_is_lost_for_good() {
    let (mut session, _) = started();
    session.push(NOW, Fence(None), Framing::Ndjson, STEP, None).expect("running");
    session.settle(2, Settled::Refused(Refusal::Behind(7))).expect("under way");
    assert!(session.take_effects().iter().all(|effect| matches!(effect, Effect::Append { .. })), "nobody is told");
    assert_eq!(session.content(), Err(Refusal::Lost));
    assert_eq!(session.complete(NOW, Fence(None), None), Err(Refusal::Lost));
    assert_eq!(session.settle(2, Settled::Accepted), Err(Refusal::Lost));
}

#[test]
fn a_ticket_is_settled_once() {
    let (mut session, mut log) = started();
    session.push(NOW, Fence(None), Framing::Ndjson, STEP, None).expect("running");
    assert!(matches!(session.settle(1, Settled::Accepted), Err(Refusal::Invalid(_))), "an older ticket");
    log.serve(&mut session);
    assert!(matches!(session.settle(2, Settled::Accepted), Err(Refusal::Invalid(_))), "the same one again");
}

#[test]
fn everything_before_a_bad_line_is_kept_and_nothing_after_it() {
    let (mut session, mut log) = started();
    for (bad, line) in [("7", 3), ("{\"a\":", 3), ("nonsense", 3)] {
        let before = log.records.len();
        let text = format!("{STEP}\n\n{bad}\n{}", delta("never"));
        let pushed = push(&mut session, &mut log, &text).expect("running");
        assert_eq!(pushed.appended, 1);
        assert!(matches!(pushed.stopped, Some(ref s) if s.line == line && matches!(s.reason, Refusal::Invalid(_))));
        assert_eq!(log.records.len(), before + 1);
    }
}

#[test]
fn a_final_record_of_the_producer_completes_the_job_and_ends_the_push() {
    let (mut session, mut log) = started();
    let text = format!("{STEP}\n{{\"final\":true,\"title\":\"T\"}}\n{}", delta("late"));
    let pushed = push(&mut session, &mut log, &text).expect("running");
    assert_eq!((pushed.appended, pushed.last.map(|at| at.sequence)), (2, Some(2)));
    assert_eq!(pushed.stopped.map(|s| (s.line, s.reason)), Some((3, Refusal::NotActive(Status::Complete))));
    assert_eq!(log.job.as_ref().map(|job| job.status), Some(Status::Complete));
    assert_eq!(session.complete(NOW, Fence(None), None), Ok(Outcome::Unchanged), "completing again is harmless");
    assert_eq!(session.abort(NOW, Fence(None)), Err(Refusal::NotActive(Status::Complete)));
}

#[test]
fn a_resume_state_of_an_ended_generation_leaves_the_end_to_be_read() {
    let (mut session, mut log) = started();
    push(&mut session, &mut log, &format!("{STEP}\n{}", delta("Hi"))).expect("running");
    session.abort(NOW, Fence(None)).expect("running");
    log.serve(&mut session);
    let snapshot = session.resume_state().expect("settled");
    assert_eq!((snapshot.at.sequence, session.head().sequence), (2, 3));
    assert!(snapshot.state.contains(r#""aggregatedContent":[{"type":"text","text":"Hi"}]"#), "{}", snapshot.state);
    assert!(log.records[2].json.contains(r#""text":"Hi""#) && log.records[2].json.ends_with(r#""aborted":true}"#));
    assert_eq!(log.signals, [(NOW, Signal::Abort)]);
}

#[test]
fn a_repeated_request_appends_only_what_was_missing() {
    let (mut session, mut log) = started();
    let request = |session: &mut Session, log: &mut Log, seq, offset, text: &str| {
        let producer = Producer { id: "p", seq, offset };
        let pushed = session.push(NOW, Fence(None), Framing::Ndjson, text, Some(producer));
        log.serve(session);
        pushed.map(|p| (p.appended, p.duplicate, p.first.map(|c| c.sequence), p.last.map(|c| c.sequence)))
    };
    let (one, two) = (format!("{STEP}\n{}", delta("a")), delta("b"));
    assert_eq!(request(&mut session, &mut log, 1, 0, &one), Ok((2, 0, Some(1), Some(2))));
    push(&mut session, &mut log, &delta("x")).expect("another producer in between");
    // The first part got through, the answer was lost, the whole request comes again.
    assert_eq!(request(&mut session, &mut log, 1, 0, &format!("{one}\n{two}")), Ok((1, 2, Some(1), Some(4))));
    // Once more, on a session opened elsewhere.
    let mut session = log.reopen();
    assert_eq!(request(&mut session, &mut log, 1, 0, &format!("{one}\n{two}")), Ok((0, 3, Some(1), Some(4))));
    assert_eq!(request(&mut session, &mut log, 3, 0, &two), Err(Refusal::ProducerGap(2)));
    assert_eq!(request(&mut session, &mut log, 2, 1, &two), Err(Refusal::ProducerGap(0)));
    assert_eq!(request(&mut session, &mut log, 2, 0, &two), Ok((1, 0, Some(5), Some(5))));
    assert_eq!(request(&mut session, &mut log, 1, 0, &one).map(|r| r.0), Ok(0), "an older request is all repeats");
    assert_eq!(session.content().as_deref(), Ok(r#"[{"type":"text","text":"axbb"}]"#));
}

#[test]
fn the_last_number_that_a_producer_can_count_to_is_repeated_like_every_other() {
    let (mut session, mut log) = started();
    let mut request = |text: &str| {
        let producer = Producer { id: "p", seq: u64::MAX, offset: 0 };
        let pushed = session.push(NOW, Fence(None), Framing::Ndjson, text, Some(producer));
        log.serve(&mut session);
        pushed.map(|pushed| (pushed.appended, pushed.duplicate))
    };
    assert_eq!(request(STEP), Ok((1, 0)));
    assert_eq!(request(STEP), Ok((0, 1)));
}

#[test]
fn a_stream_without_a_generation_left_says_so() {
    let (session, _) = started();
    let last = Job { generation: u64::MAX, head: u64::MAX, ..session.job().expect("started").clone() };
    let mut session = Session::open(Some(last), None, LIMITS);
    assert!(matches!(session.create(NOW, Some("u"), None, "{}"), Err(Refusal::Invalid(_))));
    assert_eq!(session.fail(NOW, Fence(None), "no more"), Ok(Outcome::Pending), "it can still be ended");
}

#[test]
fn a_full_log_ends_the_generation_with_a_record_that_says_so() {
    let limits = Limits { records_max: 3, ..LIMITS };
    let mut log = Log::default();
    let mut session = Session::open(None, None, limits);
    session.create(NOW, None, None, "").expect_err("an empty text is not a request");
    session.create(NOW, None, None, "{}").expect("free");
    log.serve(&mut session);
    let text = [STEP, &delta("a"), &delta("b"), &delta("c")].join("\n");
    let pushed = push(&mut session, &mut log, &text).expect("running");
    assert_eq!(pushed.appended, 3);
    assert_eq!(pushed.stopped.map(|s| s.reason), Some(Refusal::LogFull));
    assert_eq!(
        log.records.last().map(|r| (r.json.as_str(), r.kind)),
        Some((r#"{"error":"log full"}"#, RecordKind::Failure))
    );
    assert_eq!(log.job.as_ref().map(|job| job.status), Some(Status::Error));
}

#[test]
fn a_key_that_made_a_generation_makes_no_second_one() {
    let (mut session, mut log) = (Session::open(None, None, LIMITS), Log::default());
    for (key, expected) in [
        ("k1", Ok(Outcome::Pending)),
        ("k1", Ok(Outcome::Unchanged)),
        ("k2", Ok(Outcome::Pending)),
        ("k2", Ok(Outcome::Unchanged)),
        ("k1", Err(Refusal::GenerationReplaced(NOW + 1))),
    ] {
        assert_eq!(session.create(NOW, Some("u"), Some(key), "{}"), expected, "{key}");
        log.serve(&mut session);
        session = log.reopen();
    }
    assert_eq!(log.signals, [(NOW, Signal::Replaced(NOW + 1))]);
}

#[test]
fn who_may_create_and_when() {
    let (mut session, mut log) = started();
    let mut create = |user, request: &str| {
        let outcome = session.create(NOW, user, None, request);
        log.serve(&mut session);
        outcome
    };
    assert_eq!(create(Some("other"), "{}"), Err(Refusal::Forbidden));
    assert_eq!(create(None, r#"{"userId":"other"}"#), Err(Refusal::Forbidden));
    assert_eq!(create(Some("u"), r#"{"ifActive":"reject"}"#), Err(Refusal::AlreadyActive(NOW)));
    assert_eq!(create(Some("u"), r#"{"expectedGeneration":5}"#), Err(Refusal::GenerationMismatch(NOW)));
    for wrong in [r#"{"ifActive":1}"#, r#"{"expectedGeneration":-1}"#, r#"{"nope":1}"#, r#"{"sender":7}"#, "[]"] {
        assert!(matches!(create(Some("u"), wrong), Err(Refusal::Invalid(_))), "{wrong}");
    }
    let good = format!(r#"{{"userId":"u","expectedGeneration":{NOW},"sender":"S","metadata":{{"model":"m"}}}}"#);
    assert_eq!(create(None, &good), Ok(Outcome::Pending));
    assert_eq!(log.job.as_ref().and_then(|job| job.field("model")), Some("\"m\""));
}

#[test]
fn exactly_one_answer_resolves_an_action() {
    let (mut session, mut log) = started();
    session.pause(NOW, Fence(None), r#"{"kind":"approve"}"#).expect("running");
    log.serve(&mut session);
    let id = format!("action_{NOW}-0");
    assert_eq!(session.pause(NOW, Fence(None), "{}"), Err(Refusal::Paused));
    assert_eq!(session.complete(NOW, Fence(None), None), Err(Refusal::Paused));
    assert_eq!(session.resolve(NOW, Fence(None), "other", "true"), Err(Refusal::NoSuchAction));
    assert!(session.resume_state().expect("settled").state.contains("pendingAction"));
    session.resolve(NOW, Fence(None), &id, r#"{"ok":true}"#).expect("pending");
    log.serve(&mut session);
    assert_eq!(session.resolve(NOW, Fence(None), &id, "true"), Err(Refusal::NoSuchAction));
    let answered = format!(r#"{{"actionId":"{id}","decision":{{"ok":true}}}}"#);
    assert_eq!(log.signals, [(NOW, Signal::Resolved(answered))]);
    session.pause(NOW, Fence(None), "{}").expect("running again");
    log.serve(&mut session);
    session.abort(NOW, Fence(None)).expect("paused");
    log.serve(&mut session);
    let job = log.job.as_ref().expect("created");
    assert_eq!(job.field("pendingAction"), None, "an ended job waits for nobody");
}

#[test]
fn a_job_times_out_only_after_its_idle_time() {
    let (mut session, mut log) = started();
    assert_eq!(session.time_out(NOW + LIMITS.idle_ms - 1), Ok(Outcome::Unchanged));
    assert_eq!(session.time_out(NOW + LIMITS.idle_ms), Ok(Outcome::Pending));
    log.serve(&mut session);
    assert_eq!(log.records[0].json, r#"{"error":"timed out"}"#);
    assert_eq!(session.time_out(NOW * 2), Err(Refusal::NotActive(Status::Error)));

    let (mut session, mut log) = started();
    session.pause(NOW, Fence(None), "{}").expect("running");
    log.serve(&mut session);
    assert_eq!(session.time_out(NOW + LIMITS.idle_ms), Ok(Outcome::Unchanged), "a person may take longer");
    assert_eq!(session.time_out(NOW + LIMITS.paused_idle_ms), Ok(Outcome::Pending));
}

#[test]
fn metadata_is_typed_and_never_touches_the_status() {
    let (mut session, mut log) = started();
    assert_eq!(session.update(NOW, r#"{"promptTokens":12,"sender":"S"}"#), Ok(Outcome::Pending));
    log.serve(&mut session);
    assert_eq!(session.update(NOW, r#"{"sender":"S"}"#), Ok(Outcome::Unchanged));
    assert_eq!(session.update(NOW, r#"{"sender":null}"#), Ok(Outcome::Pending));
    log.serve(&mut session);
    for wrong in [r#"{"status":"complete"}"#, r#"{"promptTokens":"12"}"#, "3", "{"] {
        assert!(matches!(session.update(NOW, wrong), Err(Refusal::Invalid(_))), "{wrong}");
    }
    let job = session.job().expect("created");
    assert_eq!((job.field("sender"), job.field("promptTokens"), job.head), (None, Some("12"), 0));
}

#[test]
fn the_content_that_broke_a_generation_is_not_needed_to_end_it() {
    let (mut session, mut log) = started();
    push(&mut session, &mut log, &format!("{STEP}\n{}", delta("Hi"))).expect("running");
    let mut bare = Session::open(log.job.clone(), None, LIMITS);
    bare.fail(NOW, Fence(None), "limit exceeded").expect("running");
    log.checkpoint = None;
    log.serve(&mut bare);
    assert_eq!(log.records.len(), 3);
    assert!(log.checkpoint.is_none(), "what it did not read it does not save");
    assert_eq!(log.reopen().content().as_deref(), Ok(r#"[{"type":"text","text":"Hi"}]"#));
}

#[test]
fn what_the_store_forgot_comes_back_from_the_session_that_knew_it() {
    let (mut session, mut log) = started();
    push(&mut session, &mut log, &format!("{STEP}\n{}", delta("one "))).expect("running");
    let forgetful = log.job.clone();
    push(&mut session, &mut log, &delta("two ")).expect("running");
    session.push(NOW + 2, Fence(None), Framing::Ndjson, &delta("three"), None).expect("running");

    // The store is back at the second record, and the fourth one is under way.
    let saved = session.save().expect("it knows everything");
    let job = session.job().cloned().expect("created");
    assert_eq!((forgetful.map(|job| job.head), job.head), (Some(2), 4));
    let opened = Session::open(Some(job), Some(&saved), LIMITS);
    assert_eq!(opened.head().sequence, 4, "no cursor is used twice");
    assert_eq!(opened.content().as_deref(), Ok(r#"[{"type":"text","text":"one two three"}]"#));

    log.serve(&mut session);
    assert!(session.save().is_ok());
    let bare = Session::open(log.job.clone(), None, LIMITS);
    assert!(bare.save().is_err(), "without its content it has nothing to save");
}
