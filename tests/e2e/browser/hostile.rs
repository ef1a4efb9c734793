//! What comes from producers and users stays text, whatever it is.

use anyhow::{Result, ensure};
use rejoin_tests::browser::Browser;
use rejoin_tests::server::Server;
use serde_json::{Value, json};

use super::TEXT;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_producer_sends_is_text_on_the_page_and_never_markup() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let evil = "<img src=x onerror=\"window.evil=1\"><script>window.evil=1</script></pre>&lt;";
    client.create("s", &json!({"userId": evil})).await?;
    let message = json!({"created": true, "message": {"messageId": evil, "text": evil}});
    let step = json!({"event": "on_run_step", "data": {"id": "t", "index": 1, "stepDetails": {
        "type": "tool_calls", "tool_calls": [{"id": evil, "name": evil, "args": evil}]}}});
    let unknown = json!({"event": evil, "data": {"x": evil}});
    let mut lines = vec![message.to_string(), rejoin_tests::answer(0).concat(), rejoin_tests::delta(evil)];
    lines.extend([step.to_string(), unknown.to_string()]);
    client.append("s", &lines).await?.expect(200)?;
    client.post("/v1/streams/s/complete", &json!({"error": evil})).await?.expect(200)?;

    let mut browser = Browser::open(&format!("http://{}/#s", server.address)).await?;
    browser.until("document.querySelector('#verdict').dataset.verdict === 'match'").await?;
    browser.until("document.querySelector('#owner').textContent.includes('<img')").await?;
    for record in 0..6 {
        let row = format!("document.querySelector('#records [data-index=\"{record}\"]:not(.mark)')");
        browser.value(&format!("{row}?.click()")).await?;
        browser.until("!document.querySelector('#detail').hidden").await?;
    }
    for tab in ["#tab-steps", "#tab-job", "#tab-subscribers"] {
        browser.click(tab).await?;
    }
    browser.until("document.querySelector('#steps')?.textContent.includes('<img')").await?;
    assert_eq!(browser.value(TEXT).await?, evil);
    assert_eq!(browser.value("document.querySelectorAll('main img, body script, nav img').length").await?, 0);
    assert_eq!(browser.value("window.evil ?? null").await?, Value::Null);
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_lines_and_characters_that_turn_the_text_around_harm_nobody() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let evil = "a\u{202e}b\u{7}c\u{2066}d";
    client.create("s", &json!({"userId": evil})).await?;
    let huge = "w".repeat(700 * 1024);
    let mut lines = rejoin_tests::answer(0);
    lines.push(rejoin_tests::delta(&huge));
    lines.push(json!({"event": evil, "data": {"x": evil}}).to_string());
    client.append("s", &lines).await?.expect(200)?;
    let mut browser = Browser::open(&format!("http://{}/#s", server.address)).await?;
    browser.resize(360, 740).await?;
    browser.until("document.querySelector('#count').textContent === '3'").await?;
    browser.until("document.querySelector('#owner').textContent.startsWith('user a\\\\u202eb\\\\u0007c')").await?;
    let shown = browser.value("document.querySelector('#answer .text').textContent.length").await?;
    ensure!(shown.as_u64() <= Some(128 * 1024), "{shown} characters are laid out");
    browser.until("document.querySelector('#answer .text').dataset.left.includes('not shown here')").await?;
    browser.until("[...document.querySelectorAll('#records .kind')].some((kind) => kind.textContent.startsWith('a\\\\u202eb'))").await?;
    let gists = browser
        .value("Math.max(...[...document.querySelectorAll('#records .gist')].map((row) => row.textContent.length))")
        .await?;
    ensure!(gists.as_u64() < Some(2_000), "a row shows {gists} characters");
    browser.click("#records [data-index=\"1\"]").await?;
    browser.until("document.querySelector('#detail-json').textContent.includes('Copy takes all of it')").await?;
    let turned = browser.value("/[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText)").await?;
    assert_eq!(turned, false, "no character turns the page around");
    let width = browser.value("document.documentElement.scrollWidth").await?;
    assert_eq!(width, 360, "nothing makes the page wider than the screen");
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}
