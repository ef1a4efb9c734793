//! Any interleaving of commands.

use proptest::prelude::*;
use rejoin_core::lines::Framing;
use rejoin_core::session::Fence;

use super::{LIMITS, NOW, STEP, delta, started};

#[derive(Clone, Debug)]
enum Ask {
    Push(Vec<u8>, Option<i64>),
    Complete(bool),
    Fail,
    Abort(Option<i64>),
    TimeOut(u64),
    Pause,
    Resolve,
    Update,
    Create,
    Refuse,
    Reopen,
}

fn ask() -> impl Strategy<Value = Ask> {
    let generation = || prop::option::weighted(0.3, -1..2i64);
    prop_oneof![
        8 => (prop::collection::vec(0..8u8, 0..6), generation()).prop_map(|(lines, g)| Ask::Push(lines, g)),
        1 => any::<bool>().prop_map(Ask::Complete),
        1 => Just(Ask::Fail),
        1 => generation().prop_map(Ask::Abort),
        1 => prop_oneof![Just(0), Just(LIMITS.idle_ms)].prop_map(Ask::TimeOut),
        2 => Just(Ask::Pause),
        2 => Just(Ask::Resolve),
        1 => Just(Ask::Update),
        3 => Just(Ask::Create),
        1 => Just(Ask::Refuse),
        3 => Just(Ask::Reopen),
    ]
}

fn lines(kinds: &[u8]) -> String {
    let line = |kind: &u8| match kind {
        0 => STEP.to_owned(),
        1..=3 => delta(&kind.to_string()),
        4 => r#"{"created":true,"message":{"messageId":"m","conversationId":"c"}}"#.to_owned(),
        5 => r#"{"event":"on_message_delta","data":{"id":"s","delta":{}},"_internal":true}"#.to_owned(),
        6 => "not json".to_owned(),
        _ => r#"{"final":true}"#.to_owned(),
    };
    kinds.iter().map(line).collect::<Vec<_>>().join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The log of [`Log::append`] checks at every step that the table is closed; here: what the session believes is what the
    /// log says, at every step, also after being opened again.
    #[test]
    fn any_interleaving_of_commands_keeps_job_log_and_content_together(asks in prop::collection::vec(ask(), 1..60)) {
        let (mut session, mut log) = started();
        let mut now = NOW;
        for ask in asks {
            now += 7;
            let generation = session.head().generation;
            let fence = |by: Option<i64>| Fence(by.map(|by| generation.saturating_add_signed(by)));
            let before = session.job().cloned();
            let refused = match ask {
                Ask::Push(kinds, by) => session.push(now, fence(by), Framing::Ndjson, &lines(&kinds), None).is_err(),
                Ask::Complete(own) => session.complete(now, Fence(None), own.then_some("{\"a\":1}")).is_err(),
                Ask::Fail => session.fail(now, Fence(None), "why").is_err(),
                Ask::Abort(by) => session.abort(now, fence(by)).is_err(),
                Ask::TimeOut(after) => session.time_out(now + after).is_err(),
                Ask::Pause => session.pause(now, Fence(None), "{\"id\":\"a\"}").is_err(),
                Ask::Resolve => session.resolve(now, Fence(None), "a", "1").is_err(),
                Ask::Update => session.update(now, "{\"sender\":\"S\"}").is_err(),
                Ask::Create => session.create(now, Some("u"), None, "{}").is_err(),
                Ask::Refuse => {
                    // Another producer was faster: what this session took is not in the log, and it is thrown away.
                    let _ = session.push(now, Fence(None), Framing::Ndjson, &lines(&[0, 1]), None);
                    session = log.reopen();
                    false
                }
                Ask::Reopen => {
                    session = log.reopen();
                    false
                }
            };
            if refused {
                prop_assert_eq!(session.job(), before.as_ref(), "a refusal changes nothing");
                prop_assert!(session.take_effects().is_empty(), "a refusal asks for nothing");
            }
            log.serve(&mut session);
            let (job, stored) = (session.job().expect("created"), log.job.as_ref().expect("created"));
            prop_assert_eq!((job.generation, job.status, job.head), (stored.generation, stored.status, stored.head));
            prop_assert_eq!(session.head().sequence, log.records.len() as u64);
            let again = log.reopen();
            prop_assert_eq!(again.content(), session.content());
            prop_assert_eq!(again.resume_state(), session.resume_state());
        }
    }
}
