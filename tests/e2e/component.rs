//! The component in a host of its own, against the recorded answers and against the same code run natively.

#[path = "../../guest/core/tests/goldens/mod.rs"]
pub(crate) mod goldens;

use anyhow::{Result, anyhow, ensure};
use goldens::{canonical, files, member, parse, wanted, with_room};
use rejoin_core::content::{Aggregator, fold_line};
use rejoin_core::json::{Json, Kind};
use rejoin_tests::component::Instance;

/// Classes whose recorded answer is the law; of the others (`jsquirk`) the native tests say where they deviate.
pub(crate) const REQUIRED: [&str; 4] = ["realistic", "protocol", "malformed", "throws"];

/// Runs `test` for every case of every file that is there.
fn each_case(test: impl Fn(&mut Instance, Json<'_>) -> Result<()> + Send + 'static) {
    with_room(move || {
        for (file, text) in files(&rejoin_tests::root()) {
            let mut instance = Instance::new().expect("the component starts");
            let mut failures = Vec::new();
            for case in text.lines().map(parse) {
                if let Err(error) = test(&mut instance, case) {
                    failures.push(format!("{file} {}: {error:#}", member(case, "name")));
                }
            }
            println!("{file}: {} cases", text.lines().count());
            assert!(failures.is_empty(), "{} cases\n{}", failures.len(), failures.join("\n"));
        }
    });
}

fn events<'a>(case: Json<'a>) -> Vec<Json<'a>> {
    case.get("events").map(|events| events.items().collect()).unwrap_or_default()
}

#[test]
fn every_recorded_log_folds_in_the_component_to_the_recorded_content() {
    each_case(|instance, case| {
        let events = events(case);
        let text = |joint: &str| events.iter().map(|event| event.text()).collect::<Vec<_>>().join(joint);
        let seed = case.get("seed").map(Json::text);
        let (line, list) = match seed {
            Some(seed) => (format!("{{\"seed\":{seed},\"events\":[{}]}}", text(",")), text("\n")),
            None => (format!("[{}]", text(",")), format!("[{}]", text(","))),
        };
        let got = instance.fold(seed, &list)?.map_err(|error| anyhow!(error))?;
        ensure!(got == fold_line(parse(&line)), "not what the same code gives natively: {got:.400}");
        if REQUIRED.contains(&&*member(case, "class")) {
            let want = wanted(case).text();
            ensure!(canonical(&got) == canonical(want), "\n  want {want:.400}\n  got  {got:.400}");
        }
        Ok(())
    });
}

#[test]
fn a_session_has_the_same_content_however_its_records_were_batched() {
    each_case(|instance, case| {
        let is_record = |event: &Json<'_>| event.kind() == Kind::Object && event.get("final").is_none();
        let records: Vec<_> = events(case).into_iter().filter(is_record).collect();
        let mut native = Aggregator::new();
        records.iter().for_each(|record| native.push(*record));
        let native = native.parts();
        let folded = records.iter().map(|record| record.text()).collect::<Vec<_>>().join(",");
        let folded = instance.fold(None, &format!("[{folded}]"))?.map_err(|error| anyhow!(error))?;
        ensure!(folded == native, "fold: {folded:.400}, not {native:.400}");

        for size in [1, 7, 64] {
            *instance.asked() = rejoin_tests::component::Asked { now_ms: 1_789_000_000_000, ..Default::default() };
            let mut session = instance.session()?;
            let mut appended = 0;
            for batch in records.chunks(size) {
                let lines: String = batch.iter().map(|record| format!("{}\n", record.text())).collect();
                let pushed = session.push(&lines)?;
                ensure!(pushed.stopped.is_none(), "stopped: {:?}", pushed.stopped);
                appended += pushed.appended as usize;
            }
            ensure!(appended == records.len(), "{appended} of {} records", records.len());
            let content = session.content()?;
            ensure!(content == native, "batches of {size}: {content:.400}, not {native:.400}");
            let logged = &session.asked().records;
            ensure!(logged.iter().map(String::as_str).eq(records.iter().map(|record| record.text())), "another log");
        }
        Ok(())
    });
}

#[test]
fn what_is_no_list_is_refused_and_the_instance_goes_on() -> Result<()> {
    let mut instance = Instance::new()?;
    for bad in ["", "{}", "7", "[", "[1,]", "nothing"] {
        ensure!(instance.fold(None, bad)?.is_err(), "{bad:?} is no list of events");
        ensure!(instance.fold(Some(bad), "")?.is_err(), "{bad:?} is no list of parts");
    }
    assert_eq!(instance.fold(None, "[]")?, Ok("[]".to_owned()));
    Ok(())
}
