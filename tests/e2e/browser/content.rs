//! The content that the page shows is folded by the component, in the page.

use anyhow::Result;
use rejoin_tests::answer;
use rejoin_tests::browser::Browser;
use rejoin_tests::server::Server;
use serde_json::{Value, json};

use super::{TEXT, open, replay};

fn fragment(step: &str, entry: Value) -> String {
    let delta = json!({"type": "tool_calls", "tool_calls": [entry]});
    json!({"event": "on_run_step_delta", "data": {"id": step, "delta": delta}}).to_string()
}

fn call(step: &str, index: u64, id: &str) -> [String; 2] {
    let details = json!({"type": "tool_calls", "tool_calls": [{"id": id, "name": "look", "args": {}}]});
    let run_step = json!({"event": "on_run_step", "data": {"id": step, "index": index, "stepDetails": details}});
    let named = json!({"index": index, "id": id, "name": "look", "args": ""});
    [run_step.to_string(), fragment(step, named)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_of_parallel_calls_are_shown_while_they_stream_and_as_the_content_has_them_afterwards() -> Result<()>
{
    const SHOWN: &str = "[...document.querySelectorAll('#answer .tool')].map((call) => call.querySelector('pre')?.textContent ?? '').join()";
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", &[call("one", 0, "a"), call("two", 1, "b")].concat()).await?.expect(200)?;
    let mut browser = Browser::open(&format!("http://{}/#s", server.address)).await?;
    browser.until("document.querySelectorAll('#answer .tool').length === 2").await?;
    // All fragments come under the step of the last call.
    let pieces = [(0, "{\"x\":"), (1, "{\"y\""), (0, "1"), (1, ":2")];
    for (index, args) in pieces {
        client.append("s", &[fragment("two", json!({"index": index, "args": args}))]).await?.expect(200)?;
    }
    browser.until(&format!("({SHOWN}) === '{{\"x\":1,{{\"y\":2'")).await?;

    // Back by snapshot: what came before it is not known.
    browser.value("document.querySelector('#mode').value = 'resume'").await?;
    browser.click("#cut").await?;
    browser.until("document.querySelector('#resumes').textContent === '1'").await?;
    client.append("s", &[fragment("one", json!({"index": 0, "args": "}"}))]).await?.expect(200)?;
    browser.until(&format!("({SHOWN}).startsWith('… }},')")).await?;
    let call = json!({"id": "a", "name": "look", "args": "{\"x\":1}", "output": "seen"});
    let done = json!({"event": "on_run_step_completed", "data": {"result": {"id": "one", "type": "tool_call", "tool_call": call}}});
    client.append("s", &[done.to_string()]).await?.expect(200)?;
    browser.until("document.querySelector('#answer .tool .pill').dataset.state === 'done'").await?;
    let shown =
        browser.value("[...document.querySelector('#answer .tool').children].map((node) => node.textContent)").await?;
    assert_eq!(shown, json!(["lookdone", "Arguments", "{ \"x\": 1 }", "Output", "seen"]));
    assert_eq!(browser.value("rejoin.parts()").await?, client.state("s").await?["content"]);
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_cannot_have_the_component_says_so_and_lists_the_records_all_the_same() -> Result<()> {
    const BLOCK: &str = "(() => {
        const real = window.fetch;
        window.blocked = true;
        window.fetch = (path, init) => (window.blocked && String(path).endsWith('.wasm')
            ? Promise.resolve(new Response('', { status: 503 })) : real(path, init));
    })()";
    let server = Server::start().await?;
    let client = server.client();
    let mut browser = open(&server).await?;
    browser.value(BLOCK).await?;
    client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", &answer(2)).await?.expect(200)?;
    browser.until("document.querySelector('#streams [title=s]')").await?;
    browser.click("#streams [title=s]").await?;
    browser.until("document.querySelectorAll('#records [role=option]:not([hidden])').length === 4").await?;
    let marks = "[...document.querySelectorAll('#records .mark .gist')].map((row) => row.textContent)";
    let said = "the content cannot be shown here: the component cannot be loaded:  answers 503";
    assert_eq!(browser.value(marks).await?, json!([said]));
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    browser
        .until("document.querySelector('#verdict').textContent === 'not made: the content cannot be shown here'")
        .await?;
    assert_eq!(browser.value(TEXT).await?, "");

    // Whoever opens it again tries again.
    browser.value("window.blocked = false").await?;
    browser.click("#streams [title=s]").await?;
    browser.until("document.querySelector('#verdict').dataset.verdict === 'match'").await?;
    assert_eq!(browser.value(TEXT).await?, "w0 w1 ");
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_do_not_change_are_not_painted_again() -> Result<()> {
    let server = Server::start().await?;
    let (mut browser, _) = replay(&server).await?;
    browser.until("document.querySelector('#verdict').dataset.verdict === 'match'").await?;
    let changes = "new Promise((done) => {
        let changes = 0;
        const observer = new MutationObserver((records) => { changes += records.length; });
        observer.observe(document.querySelector('#answer'), { subtree: true, childList: true, characterData: true });
        document.querySelector('#pause').click();
        document.querySelector('#pause').click();
        requestAnimationFrame(() => requestAnimationFrame(() => done(changes)));
    })";
    assert_eq!(browser.value(changes).await?, 0);
    browser.close().await?;
    server.stop().await
}
