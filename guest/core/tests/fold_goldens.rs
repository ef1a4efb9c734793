//! The fold against the reference: recorded answers for whole logs, and laws that hold at every prefix of them.

#![forbid(unsafe_code)]

mod goldens;

use std::path::{Path, PathBuf};

use goldens::{canonical, files, member, parse, wanted, with_room};
use rejoin_core::content::{Aggregator, fold_line};
use rejoin_core::json::Json;

/// Cases of class `jsquirk` whose answer here is not the reference's, and why.
const DEVIATIONS: [(&str, &str); 3] = [
    ("S11-fractional-index-vanishes-and-poisons-later-slots", "Q20: what is no index is appended"),
    ("S11-not-a-number-index-poisons-everything-after", "Q20: what is no index is appended"),
    ("S11-index-2pow32-minus-1-vanishes", "Q20: what is no index is appended"),
];

const REQUIRED: [&str; 4] = ["realistic", "protocol", "malformed", "throws"];

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn name(case: Json<'_>) -> String {
    member(case, "name")
}

fn start(case: Json<'_>) -> Aggregator {
    case.get("seed").map_or_else(Aggregator::new, Aggregator::seeded)
}

#[test]
fn every_recorded_log_folds_to_the_recorded_content() {
    with_room(|| {
        let mut failures = Vec::new();
        for (file, text) in files(&root()) {
            let mut table = std::collections::BTreeMap::<String, [usize; 2]>::new();
            for case in text.lines().map(parse) {
                let (class, want) = (member(case, "class"), wanted(case));
                let seed = case.get("seed").map_or(String::new(), |seed| format!("\"seed\":{},", seed.text()));
                let events = case.get("events").expect("events").text();
                let got = fold_line(parse(&format!("{{{seed}\"events\":{events}}}")));
                let name = name(case);
                let same = canonical(&got) == canonical(want.text());
                let deviates = DEVIATIONS.iter().any(|(case, _)| *case == name);
                table.entry(class.clone()).or_default()[usize::from(!same)] += 1;
                if same == deviates {
                    failures.push(format!("{file} {name} [{class}]\n  want {:.400}\n  got  {got:.400}", want.text()));
                }
                assert!(REQUIRED.contains(&&*class) || class == "jsquirk", "unknown class {class}");
                assert!(!deviates || class == "jsquirk", "{name}: only a jsquirk may deviate");
            }
            for (class, [pass, fail]) in table {
                println!("{file} {class}: {pass} pass, {fail} deviate");
            }
        }
        assert!(failures.is_empty(), "{} cases\n{}", failures.len(), failures.join("\n"));
    });
}

#[test]
fn a_fold_saved_and_restored_at_any_point_goes_on_as_if_nothing_happened() {
    for (_, text) in files(&root()) {
        for case in text.lines().map(parse) {
            let events: Vec<Json<'_>> = case.get("events").expect("events").items().collect();
            let mut whole = start(case);
            events.iter().for_each(|event| whole.push(*event));
            let mut prefix = start(case);
            for (at, event) in events.iter().enumerate() {
                let saved = prefix.save();
                let mut rest = Aggregator::restore(parse(&saved)).expect("its own save");
                assert_eq!(rest.parts(), prefix.parts(), "{} at {at}", name(case));
                assert_eq!(rest.save(), saved, "{} at {at}", name(case));
                events[at..].iter().for_each(|event| rest.push(*event));
                assert_eq!(canonical(&rest.parts()), canonical(&whole.parts()), "{} from {at}", name(case));
                prefix.push(*event);
            }
        }
    }
}

#[test]
fn text_is_the_text_parts_trimmed() {
    let fold = |events: &str| {
        let mut fold = Aggregator::new();
        parse(events).items().for_each(|event| fold.push(event));
        fold.text()
    };
    assert_eq!(fold("[]"), "");
    assert_eq!(
        fold(
            r#"[{"event":"on_run_step","data":{"id":"a","index":0,"stepDetails":{}}},
            {"event":"on_run_step","data":{"id":"b","index":1,"stepDetails":{}}},
            {"event":"on_run_step","data":{"id":"c","index":2,"stepDetails":{}}},
            {"event":"on_message_delta","data":{"id":"a","delta":{"content":{"type":"text","text":" \n\u003c\ud83d"}}}},
            {"event":"on_message_delta","data":{"id":"b","delta":{"content":{"type":"think","think":"no"}}}},
            {"event":"on_message_delta","data":{"id":"c","delta":{"content":{"type":"text","text":"\ude00\\n\ufeff "}}}}]"#
        ),
        r"\u003c\ud83d\ude00\\n"
    );
}

#[test]
fn ten_thousand_levels_of_nesting_fold_without_stack() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let events = [
        format!(
            r#"{{"event":"on_run_step","data":{{"id":"s","index":0,"stepDetails":{{"type":"tool_calls","tool_calls":[{{"id":"c","name":"n","args":{deep}}}]}}}}}}"#
        ),
        format!(
            r#"{{"event":"on_run_step_completed","data":{{"result":{{"id":"s","tool_call":{{"id":"c","args":{deep},"output":{deep}}}}}}}}}"#
        ),
    ];
    let mut fold = Aggregator::new();
    for event in &events {
        fold.push(parse(event));
        fold = Aggregator::restore(parse(&fold.save())).expect("its own save");
    }
    assert_eq!(fold.parts().matches(&deep).count(), 2);
}

#[test]
fn twenty_thousand_deltas_make_one_text_whose_buffer_is_only_appended_to() {
    let mut fold = Aggregator::new();
    fold.push(parse(r#"{"event":"on_run_step","data":{"id":"s","index":0,"stepDetails":{}}}"#));
    let delta = r#"{"id":"s","delta":{"content":[{"type":"text","text":"four","citations":[1]}]}}"#;
    for _ in 0..20_000 {
        fold.push_event("on_message_delta", parse(delta));
    }
    assert_eq!(fold.text().len(), 80_000);
    let parts = fold.parts();
    assert_eq!(parts.len(), 80_000 + 40_000 + r#"[{"type":"text","text":"","citations":]}]"#.len());
    assert!(fold.size_hint() >= parts.len() && fold.save().len() <= fold.size_hint() + 256);
}

#[test]
fn what_is_no_save_is_refused() {
    for bad in [
        "null",
        "{}",
        r#"{"v":2,"next":0,"indexed":0,"cells":[],"steps":[],"source":[],"call":[]}"#,
        r#"{"v":1,"next":0,"indexed":1,"cells":[],"steps":[],"source":[],"call":[]}"#,
        r#"{"v":1,"next":1,"indexed":0,"cells":[{"s":1}],"steps":[],"source":[],"call":[]}"#,
        r#"{"v":1,"next":1,"indexed":0,"cells":[{"s":0}],"steps":[{"k":"a","c":1}],"source":[],"call":[]}"#,
        r#"{"v":1,"next":1,"indexed":0,"cells":[{"s":0}],"steps":[],"source":[0],"call":[]}"#,
    ] {
        assert!(Aggregator::restore(parse(bad)).is_err(), "{bad}");
    }
}
