//! Recorded sessions in Chromium: the whole component, as the kit for Node has it transpiled.

use anyhow::{Context, Result, ensure};
use rejoin_tests::browser::Browser;
use rejoin_tests::files::Files;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_session_runs_in_a_page_to_the_same_bytes() -> Result<()> {
    let root = rejoin_tests::root();
    let (node, sessions) = (root.join("guest/embed/node"), root.join("tests/cases/sessions"));
    let bundle = node.join("generated/rejoin.js");
    ensure!(
        bundle.exists(),
        "{} is not there: `cargo xtask test` makes it, or npm ci && npm run build in guest/embed/node",
        bundle.display()
    );
    let (mut names, mut calls) = (Vec::new(), Vec::new());
    for file in std::fs::read_dir(&sessions).context("recorded sessions")? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            calls.push(std::fs::read_to_string(&path)?.lines().count() - 1);
            names.push(format!("/sessions/{}", path.file_name().and_then(|name| name.to_str()).context("a name")?));
        }
    }
    ensure!(!names.is_empty(), "no traces in {}", sessions.display());
    let files = Files::start(vec![
        ("/node", node),
        ("/sessions", sessions),
        ("/site", root.join("tests/e2e/embed/browser/site")),
    ]);
    let files = files.await?;
    let mut page = Browser::open(&format!("{}/site/empty.html", files.origin())).await?;
    let run = format!("import('/site/traces.js').then(({{ runTraces }}) => runTraces({}))", json!(names));
    assert_eq!(page.value(&run).await?, json!(calls), "calls of each trace");
    println!("{} traces, {} calls", names.len(), calls.iter().sum::<usize>());
    assert_eq!(page.complaints, [""; 0]);
    page.close().await
}
