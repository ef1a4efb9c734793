//! The component in a page and in a worker, in Chromium.

mod example;
mod traces;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rejoin_core::content::Aggregator;
use rejoin_core::json::{Json, Kind};
use rejoin_core::resume::RunSteps;
use rejoin_tests::browser::Browser;
use rejoin_tests::component::Instance;
use rejoin_tests::files::Files;
use rejoin_tests::server::Server;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::component::REQUIRED;
use crate::component::goldens::{canonical, files, member, parse, wanted, with_room};

/// A page of a site that has the kit as it is, the component as it is shipped, and what else the tests want there.
struct Site {
    files: Files,
    /// Is served at `/cases`.
    cases: TempDir,
    _component: TempDir,
    page: Browser,
}

impl Site {
    async fn open() -> Result<Self> {
        let (cases, component) = (TempDir::new()?, TempDir::new()?);
        // The bytes that the program itself hands out.
        let server = Server::start().await?;
        let shipped = server.client().get("/inspector/rejoin.wasm").await?.expect(200)?;
        server.stop().await?;
        std::fs::write(component.path().join("rejoin.wasm"), &shipped.body)?;
        std::fs::copy(traps(), component.path().join("rejoin-traps.wasm"))?;
        let files = Files::start(vec![
            ("/kit", rejoin_tests::root().join("guest/embed/browser")),
            ("/site", rejoin_tests::root().join("tests/e2e/embed/browser/site")),
            ("/component", component.path().to_owned()),
            ("/cases", cases.path().to_owned()),
        ]);
        let files = files.await?;
        let page = Browser::open(&format!("{}/site/", files.origin())).await?;
        Ok(Site { files, cases, _component: component, page })
    }

    fn write(&self, name: &str, value: &Value) -> Result<()> {
        Ok(std::fs::write(self.cases.path().join(name), value.to_string())?)
    }

    /// What a function of the page answers.
    async fn ask(&mut self, call: &str) -> Result<Value> {
        self.page.value(&format!("rejoin.{call}")).await
    }

    async fn close(self) -> Result<()> {
        assert_eq!(self.page.complaints, [""; 0]);
        self.page.close().await?;
        drop(self.files);
        Ok(())
    }
}

fn traps() -> PathBuf {
    PathBuf::from(concat!(env!("OUT_DIR"), "/rejoin-traps.wasm"))
}

/// One case of a file: what goes in, as it was recorded, and what comes out in wasmtime.
struct Case {
    name: String,
    given: Value,
    wasmtime: String,
    /// The recorded answer, canonical, where it is the law.
    wanted: Option<String>,
}

/// Every case of every file that is there.
async fn cases() -> Result<Vec<(&'static str, Vec<Case>)>> {
    let read = || {
        let (send, receive) = std::sync::mpsc::channel();
        with_room(move || {
            for (file, text) in files(&rejoin_tests::root()) {
                let mut instance = Instance::new().expect("the component starts");
                let cases: Result<Vec<_>> = text.lines().map(|line| case(&mut instance, parse(line))).collect();
                send.send((file, cases)).expect("somebody listens");
            }
        });
        receive.into_iter().map(|(file, cases)| Ok((file, cases?))).collect()
    };
    tokio::task::spawn_blocking(read).await?
}

fn case(instance: &mut Instance, case: Json<'_>) -> Result<Case> {
    let events: Vec<_> = case.get("events").map(|list| list.items().map(Json::text).collect()).unwrap_or_default();
    let seed = case.get("seed").map(Json::text);
    let list = if seed.is_some() { events.join("\n") } else { format!("[{}]", events.join(",")) };
    let wasmtime = instance.fold(seed, &list)?.map_err(|error| anyhow::anyhow!(error))?;
    let is_law = REQUIRED.contains(&&*member(case, "class"));
    Ok(Case {
        name: member(case, "name"),
        given: json!({"seed": seed, "list": list, "events": events}),
        wasmtime,
        wanted: is_law.then(|| canonical(wanted(case).text())),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_log_folds_in_pages_and_workers_to_the_bytes_that_wasmtime_gives() -> Result<()> {
    let mut site = Site::open().await?;
    for (file, cases) in cases().await? {
        let given: Vec<_> = cases.iter().map(|case| &case.given).collect();
        site.write("cases.json", &json!(given))?;
        for place in ["foldAll", "inWorker", "inServiceWorker"] {
            let got = site.ask(&format!("{place}('/cases/cases.json')")).await?;
            let got: Vec<[String; 2]> = serde_json::from_value(got)?;
            assert_eq!(got.len(), cases.len());
            for (case, got) in cases.iter().zip(got) {
                for got in got {
                    let Case { name, wasmtime, wanted, .. } = case;
                    ensure!(got == *wasmtime, "{file} {name}, {place}: {got:.400}\n  wasmtime: {wasmtime:.400}");
                    let law = wanted.as_ref().is_none_or(|wanted| canonical(&got) == *wanted);
                    ensure!(law, "{file} {name}, {place}: {got:.400}\n  want {wanted:?}");
                }
            }
        }
        println!("{file}: {} cases in three places", cases.len());
    }
    site.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fold_goes_on_from_a_snapshot_as_if_it_had_been_there_from_the_start() -> Result<()> {
    /// Calls without ids: what their fragments belong to is told by chunks that came before, which no snapshot has.
    const UNKNOWABLE: [&str; 1] = ["D2-chunk-index-is-remembered"];
    let sample = rejoin_tests::root().join("host/src/http/inspector/sample.jsonl");
    let mut logs = BTreeMap::from([("the sample".to_owned(), std::fs::read_to_string(sample)?)]);
    let public = std::fs::read_to_string(rejoin_tests::root().join("tests/cases/aggregator/public.jsonl"))?;
    for case in public.lines().map(parse).filter(|case| member(*case, "class") == "realistic") {
        let events = case.get("events").context("events")?.items().map(Json::text).collect::<Vec<_>>();
        logs.insert(member(case, "name"), events.join("\n"));
    }
    logs.retain(|name, _| !UNKNOWABLE.contains(&name.as_str()));
    let (mut given, mut wanted) = (Vec::new(), Vec::new());
    for (name, log) in &logs {
        let (mut fold, mut steps) = (Aggregator::new(), RunSteps::default());
        let lines: Vec<_> = log.lines().collect();
        let whole = lines.iter().fold(Aggregator::new(), |mut fold, line| {
            fold.push(parse(line));
            fold
        });
        for (line, at) in lines.iter().zip(1..) {
            let record = parse(line);
            fold.push(record);
            if let (Some(event), Some(data)) = (record.get("event").and_then(Json::literal), record.get("data")) {
                steps.push(event, data);
            }
            // Some fifty places in each log, the first records and the last ones among them.
            if at > 16 && at + 2 < lines.len() && at % (lines.len() / 32).max(1) != 0 {
                continue;
            }
            let mut run_steps = String::new();
            steps.write(&mut run_steps);
            let state = format!("{{\"aggregatedContent\":{},\"runSteps\":{run_steps}}}", fold.parts());
            given.push(format!("{{\"resumeState\":{state},\"rest\":{}}}", serde_json::to_string(&lines[at..])?));
            wanted.push((name, at, [fold.parts(), whole.parts()]));
        }
    }
    ensure!(wanted.len() > 500, "{} snapshots only", wanted.len());
    let mut site = Site::open().await?;
    std::fs::write(site.cases.path().join("snapshots.json"), format!("[{}]", given.join(",")))?;
    let got = site.ask("goOn('/cases/snapshots.json')").await?;
    let got: Vec<[String; 2]> = serde_json::from_value(got)?;
    assert_eq!(got.len(), wanted.len());
    for (got, (name, at, wanted)) in got.iter().zip(&wanted) {
        for (got, wanted) in got.iter().zip(wanted) {
            ensure!(
                canonical(got) == canonical(wanted),
                "{name} after {at} records\n  want {wanted:.600}\n  got  {got:.600}"
            );
        }
    }
    println!("{} snapshots of {} logs", wanted.len(), logs.len());
    site.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_costs_its_instance_alone_and_a_new_one_goes_on() -> Result<()> {
    let mut site = Site::open().await?;
    let trap = site.ask("trap()").await?;
    assert_eq!((&trap["trapped"], &trap["cause"]), (&json!(true), &json!("RuntimeError")), "{trap}");
    let message = trap["message"].as_str().context("a message")?;
    ensure!(message.starts_with("the component trapped (") && message.contains("make a new one"), "{message}");
    assert_eq!(trap["later"], json!([true, true, true]), "the lost one answers nothing any more");
    assert_eq!(trap["alive"], json!([false, true, true]));
    let text = |part: &Value| serde_json::from_str::<Value>(part.as_str().unwrap_or_default());
    assert_eq!(text(&trap["other"])?[0]["text"], "beside");
    assert_eq!(text(&trap["again"])?[0]["text"], "before and after");

    // A call that does not end: the page goes on, the worker is ended, and the next one folds.
    let one = json!({"seed": null, "list": "[]", "events": []});
    site.write("one.json", &json!([one]))?;
    assert_eq!(site.ask("spin()").await?, json!([{"spins": true}, [["[]", "[]"]]]));
    site.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_component_or_no_list_is_refused_in_words() -> Result<()> {
    let mut site = Site::open().await?;
    let said: Vec<String> = serde_json::from_value(site.ask("refusals()").await?)?;
    let wanted = [
        "TypeError: the component cannot be loaded: ",
        "TypeError: this is no WebAssembly component: is it the file rejoin.wasm",
        "TypeError: this is no WebAssembly component: is it the file rejoin.wasm",
        "TypeError: the component is cut off",
        "TypeError: this component does not export rejoin:streams/content@0.1.0",
        "TypeError: not a JSON list",
        "TypeError: not a JSON list",
        "TypeError: not a JSON list",
        "TypeError: this was freed",
        "TypeError: the dialect is one of events, openai-chat",
    ];
    assert_eq!(said.len(), wanted.len(), "{said:#?}");
    for (said, wanted) in said.iter().zip(wanted) {
        ensure!(said.starts_with(wanted), "{said}, not {wanted}");
    }
    // The browser itself notes the 404.
    site.page.complaints.retain(|complaint| !complaint.contains("404"));
    site.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_text_goes_in_and_out_unharmed_and_what_is_freed_is_used_again() -> Result<()> {
    let mut site = Site::open().await?;
    let edges = site.ask("edges()").await?;
    assert_eq!(edges["head"], "😀\0\u{feff}\u{2028}", "halves that come one by one are joined");
    assert_eq!((&edges["rest"], &edges["empty"]), (&json!(true), &json!("[]")), "{edges}");
    // Sixty texts of 1.5 MiB went through it, and it holds one.
    let memory = edges["memory"].as_u64();
    ensure!(memory > Some(3 << 19) && memory < Some(32 << 20), "{edges}");
    site.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_providers_body_becomes_records_and_parts_in_the_page() -> Result<()> {
    let mut site = Site::open().await?;
    let chunk = |text: &str| json!({"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]});
    let body = format!("data: {}\n\ndata: {}\n\ndata: nonsense\n\n", chunk("Hello "), chunk("world"));
    let given = site.ask(&format!("translate('openai-chat', {})", json!(body))).await?;
    assert_eq!(given["parts"], json!([{"type": "text", "text": "Hello world"}]));
    assert_eq!(given["bad"]["line"], 5, "{given}");
    ensure!(given["bad"]["reason"].as_str().is_some_and(|reason| reason.contains("not JSON")), "{given}");
    let step = parse(given["records"].as_str().and_then(|lines| lines.lines().next()).context("a record")?).text();
    ensure!(step.contains("\"index\":3"), "{step}");
    assert_eq!(parse(step).kind(), Kind::Object);
    site.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bench_of_a_page_measures_batches_and_starts() -> Result<()> {
    let mut site = Site::open().await?;
    let measured = site.ask("bench()").await?;
    println!("{measured}");
    for size in ["1", "16", "64"] {
        ensure!(measured["batches"][size].as_f64() > Some(0.0), "{measured}");
    }
    site.close().await
}
