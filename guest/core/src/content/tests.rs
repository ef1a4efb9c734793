//! Laws of the fold, over events that are nearly right.

use proptest::collection::vec;
use proptest::prelude::*;

use super::garbage::Tape;
use super::*;

fn parse(text: &str) -> Json<'_> {
    Json::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn push_all(fold: &mut Aggregator, events: &[String]) {
    events.iter().for_each(|event| fold.push(parse(event)));
}

fn tape(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_event_panics_and_parts_are_json(tape in tape(600)) {
        let mut fold = Aggregator::new();
        for event in Tape(&tape).events() {
            fold.push(parse(&event));
            prop_assert_eq!(parse(&fold.parts()).kind(), Kind::Array);
            parse(&format!("\"{}\"", fold.text()));
            parse(&fold.save());
        }
    }

    #[test]
    fn a_save_restored_at_any_point_goes_on_as_if_nothing_happened(tape in tape(600), at in any::<prop::sample::Index>()) {
        let mut tape = Tape(&tape);
        let seed = format!("[{},{}]", tape.part(), tape.part());
        let events = tape.events();
        let (before, after) = events.split_at(at.index(events.len()));
        let mut whole = Aggregator::seeded(parse(&seed));
        push_all(&mut whole, before);
        let mut restored = Aggregator::restore(parse(&whole.save())).expect("its own save");
        prop_assert_eq!(restored.save(), whole.save());
        push_all(&mut whole, after);
        push_all(&mut restored, after);
        prop_assert_eq!(restored.save(), whole.save());
        prop_assert_eq!(restored.text(), whole.text());
    }

    #[test]
    fn a_save_that_was_changed_is_refused_or_goes_on_without_panic(
        tape in tape(400), changes in vec((any::<prop::sample::Index>(), 0u8..10), 1..4)
    ) {
        let events = Tape(&tape).events();
        let mut fold = Aggregator::new();
        push_all(&mut fold, &events);
        let mut saved = fold.save().into_bytes();
        for (at, digit) in changes {
            let digits: Vec<usize> = (0..saved.len()).filter(|at| saved[*at].is_ascii_digit()).collect();
            saved[digits[at.index(digits.len())]] = b'0' + digit;
        }
        let saved = String::from_utf8(saved).expect("digits for digits");
        if let Ok(Ok(mut fold)) = Json::parse(&saved).map(Aggregator::restore) {
            push_all(&mut fold, &events);
            parse(&fold.save());
        }
    }

    #[test]
    fn an_event_on_which_the_reference_throws_leaves_no_trace(tape in tape(600)) {
        let mut tape = Tape(&tape);
        let mut fold = Aggregator::seeded(parse(&format!("[{}]", tape.part())));
        let (mut without, mut thrown) = (fold.clone(), 0);
        for event in tape.events() {
            let before = fold.save();
            let [name, data] = parse(&event).pick(["event", "data"]);
            let (name, data) = (name.and_then(Json::literal).expect("a name"), data.expect("data"));
            if fold.try_event(name, data) {
                without.push(parse(&event));
            } else {
                thrown += 1;
                prop_assert_eq!(fold.save(), before, "event {}", event);
            }
        }
        prop_assert_eq!(fold.save(), without.save(), "{} thrown", thrown);
    }

    #[test]
    fn an_event_that_is_taken_back_leaves_no_trace(tape in tape(600)) {
        let mut fold = Aggregator::new();
        for event in Tape(&tape).events() {
            let before = fold.save();
            let mark = fold.mark();
            let [name, data] = parse(&event).pick(["event", "data"]);
            if let Some(fold_one) = handler(name.and_then(Json::literal).expect("a name")) {
                let _ = fold_one(&mut fold, data.expect("data"));
            }
            fold.roll_back(&mark);
            prop_assert_eq!(fold.save(), before, "event {}", event);
            fold.push(parse(&event));
        }
    }

    #[test]
    fn spelling_of_an_event_does_not_matter(tape in tape(300)) {
        let (mut tight, mut loose) = (Aggregator::new(), Aggregator::new());
        for event in Tape(&tape).events() {
            tight.push(parse(&event));
            // Blanks keep the short way for lone entries from being taken.
            loose.push(parse(&event.replacen(":{", ": {", 8)));
        }
        prop_assert_eq!(tight.parts(), loose.parts().replace(": {", ":{"));
    }
}

#[test]
fn other_events_and_falsy_data_change_nothing() {
    let mut fold = Aggregator::new();
    for record in [
        "null",
        "7",
        "[]",
        "{}",
        r#"{"event":"on_run_step"}"#,
        r#"{"event":"on_run_step","data":0}"#,
        r#"{"event":"ON_RUN_STEP","data":{"id":"s","stepDetails":{}}}"#,
        r#"{"event":5,"data":{"id":"s","stepDetails":{}}}"#,
    ] {
        fold.push(parse(record));
    }
    assert_eq!(fold.save(), Aggregator::new().save());
    fold.push(parse(r#"{"event":"on\u005frun_step","data":{"id":"s","stepDetails":{}}}"#));
    assert_ne!(fold.save(), Aggregator::new().save());
}

#[test]
fn a_huge_index_costs_nothing() {
    let mut fold = Aggregator::new();
    for index in ["999999", "4294967294", "1e300", "-1e300"] {
        fold.push(parse(&format!(
            r#"{{"event":"on_agent_update","data":{{"type":"agent_update","agent_update":{{"index":{index}}}}}}}"#
        )));
    }
    let slots: Vec<u64> = fold.cells.iter().map(|cell| cell.slot).collect();
    assert_eq!(slots, [999_999, 1_000_000, 1_000_001, 1_000_002]);
}
