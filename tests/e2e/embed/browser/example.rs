//! The example: a page whose worker follows a stream of a real server.

use anyhow::{Result, ensure};
use rejoin_tests::browser::Browser;
use rejoin_tests::files::Files;
use rejoin_tests::server::Server;
use rejoin_tests::{answer, delta};
use serde_json::json;
use tempfile::TempDir;

/// Waits until the page shows this.
async fn until(page: &mut Browser, id: &str, text: &str) -> Result<()> {
    page.until(&format!("document.querySelector('#{id}').textContent === {}", json!(text))).await
}

/// The folder that its README makes: the kit, and the component beside it.
fn folder() -> Result<TempDir> {
    let folder = TempDir::new()?;
    std::fs::create_dir(folder.path().join("example"))?;
    let kit = rejoin_tests::root().join("guest/embed/browser");
    for name in ["rejoin.js", "component.js", "resume.js", "example/index.html", "example/page.js", "example/follow.js"]
    {
        std::fs::copy(kit.join(name), folder.path().join(name))?;
    }
    Ok(folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_follows_a_stream_leaves_it_and_comes_back_without_a_gap() -> Result<()> {
    let folder = folder()?;
    let files = Files::start(vec![("/", folder.path().to_owned())]).await?;
    let origin = files.origin();
    let server = Server::start_with(|config| config.access.cors_origins = vec![origin.clone()]).await?;
    let client = server.client();
    let component = client.get("/inspector/rejoin.wasm").await?.expect(200)?;
    std::fs::write(folder.path().join("rejoin.wasm"), &component.body)?;

    client.create("chat-1", &json!({"userId": "me"})).await?;
    client.append("chat-1", &answer(3)).await?.expect(200)?;
    // The run step is in the snapshot that the page begins with; what follows names it.
    let address = format!("{origin}/example/?stream=chat-1&server=http://{}", server.address);
    let mut page = Browser::open(&address).await?;
    until(&mut page, "answer", "w0 w1 w2 ").await?;
    client.append("chat-1", &[delta("live ")]).await?.expect(200)?;
    until(&mut page, "answer", "w0 w1 w2 live ").await?;

    page.click("#leave").await?;
    page.until("document.querySelector('#state').textContent.startsWith('left at ')").await?;
    client.append("chat-1", &[delta("missed "), delta("this ")]).await?.expect(200)?;
    page.click("#return").await?;
    until(&mut page, "answer", "w0 w1 w2 live missed this ").await?;
    let call = r#"{"event":"on_run_step","data":{"id":"t","index":1,"stepDetails":{"type":"tool_calls","tool_calls":[{"id":"c","name":"look","args":"{}"}]}}}"#;
    client.append("chat-1", &[call.to_owned(), delta("end")]).await?.expect(200)?;
    client.post("/v1/streams/chat-1/complete", &json!({})).await?.expect(200)?;
    until(&mut page, "state", "complete").await?;
    page.until("document.querySelector('#answer').children.length === 2").await?;
    let shown = page.value("document.querySelector('#answer').firstChild.textContent").await?;
    assert_eq!(shown, client.text("chat-1").await?.as_str());

    // A cursor of an older generation: the server resets the reader to the present state.
    client.create("chat-1", &json!({"userId": "me"})).await?;
    client.append("chat-1", &[&answer(1)[0], &delta("another answer")]).await?.expect(200)?;
    page.click("#return").await?;
    until(&mut page, "answer", "another answer").await?;
    client.append("chat-1", &[delta(", which goes on")]).await?.expect(200)?;
    until(&mut page, "answer", "another answer, which goes on").await?;
    client.post("/v1/streams/chat-1/complete", &json!({"error": "the model is gone"})).await?.expect(200)?;
    until(&mut page, "state", "failed: the model is gone").await?;
    ensure!(page.complaints.is_empty(), "{:#?}", page.complaints);
    page.close().await?;
    server.stop().await
}

#[test]
fn the_example_is_as_short_as_it_is_said_to_be() -> Result<()> {
    let mut lines = 0;
    for file in std::fs::read_dir(rejoin_tests::root().join("guest/embed/browser/example"))? {
        lines += std::fs::read_to_string(file?.path())?.lines().count();
    }
    ensure!((40..=80).contains(&lines), "{lines} lines");
    Ok(())
}
