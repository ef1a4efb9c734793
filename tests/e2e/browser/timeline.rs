//! The records of a stream, and who reads it.

use anyhow::{Result, ensure};
use rejoin_tests::browser::Browser;
use rejoin_tests::raw::Raw;
use rejoin_tests::server::Server;
use rejoin_tests::{answer, delta};
use serde_json::{Value, json};

use super::{RECORDS, replay, text};

/// Every sequence number that the timeline shows while it is walked from its begin to its end.
const WALK: &str = "(async () => {
    const box = document.querySelector('#records'), frame = () => new Promise((done) => requestAnimationFrame(done));
    const shown = new Map();
    let nodes = 0;
    // A list that follows its end lets go of it with the scroll event: not before that.
    do {
        box.scrollTop = 0;
        await frame();
        await frame();
    } while (box.scrollTop > 0);
    for (let top = 0; top < box.scrollHeight; top += 200) {
        box.scrollTop = top;
        await frame();
        await frame();
        const rows = [...box.querySelectorAll('[role=option]:not([hidden]):not(.mark)')];
        nodes = Math.max(nodes, rows.length);
        for (const row of rows) shown.set(row.dataset.index, Number(row.querySelector('.cursor').textContent));
    }
    return { shown: [...shown.values()].sort((a, b) => a - b), nodes };
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeline_has_each_record_of_a_played_sample_once() -> Result<()> {
    let server = Server::start().await?;
    let (mut browser, stream) = replay(&server).await?;
    browser.until("Number(document.querySelector('#count').textContent) > 40").await?;
    browser.click("#pause").await?;
    let height = browser.value("document.querySelector('#records').scrollHeight").await?;
    browser.until("document.querySelector('#pause').textContent.includes('new')").await?;
    assert_eq!(browser.value("document.querySelector('#records').scrollHeight").await?, height, "it stands still");
    browser.click("#cut").await?;
    browser.until("document.querySelector('#verdict').dataset.verdict === 'match'").await?;
    browser.click("#pause").await?;
    browser.until("document.querySelector('#pause').textContent === 'Pause'").await?;

    let walked = browser.value(WALK).await?;
    let all: Vec<u64> = (1..=RECORDS.parse()?).collect();
    assert_eq!(walked["shown"], json!(all), "left and came back once, every record is there once");
    ensure!(walked["nodes"].as_u64() < Some(100), "{} rows in the document", walked["nodes"]);

    // One kind, one record.
    browser.value("document.querySelector('#kind').value = 'on_run_step'").await?;
    browser.value("document.querySelector('#kind').dispatchEvent(new Event('change'))").await?;
    let records = server.client().records(&stream).await?;
    let steps: Vec<_> = records.iter().filter(|record| record.starts_with(r#"{"event":"on_run_step","#)).collect();
    let shown = browser.value("document.querySelectorAll('#records [role=option]:not([hidden])').length").await?;
    assert_eq!(shown, steps.len());
    browser.click("#records [data-index=\"0\"]").await?;
    browser.until("!document.querySelector('#detail').hidden").await?;
    let opened: Value = serde_json::from_str(&text(&mut browser, "#detail-json").await?)?;
    assert_eq!(opened, serde_json::from_str::<Value>(steps[0])?, "the record as it is stored");
    browser.key("Escape").await?;
    browser.until("document.querySelector('#detail').hidden && document.activeElement.id === 'records'").await?;
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lag_of_a_subscriber_appears_and_goes() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("s", &json!({"userId": "u"})).await?;
    client.append("s", &answer(0)).await?.expect(200)?;
    let mut stuck = Raw::subscribe_unbuffered(server.address, "/v1/streams/s/events").await?;
    let mut browser = Browser::open(&format!("http://{}/#s", server.address)).await?;
    browser.click("#tab-subscribers").await?;
    let lags =
        "[...document.querySelectorAll('#subscribers [role=option]:not([hidden])')].map((row) => row.dataset.lag)";
    browser.until(&format!("({lags}).join() === '0,0'")).await?;
    for _ in 0..6 {
        client.append("s", &vec![delta(&"x".repeat(8 * 1024)); 20]).await?.expect(200)?;
    }
    browser.until(&format!("({lags}).length === 2 && ({lags})[0] > 0 && ({lags})[1] === '0'")).await?;
    ensure!(text(&mut browser, "#subscribers b").await?.ends_with(" behind"));
    let reading = tokio::spawn(async move { stuck.rest().await });
    browser.until(&format!("({lags}).join() === '0,0'")).await?;
    client.post("/v1/streams/s/complete", &json!({})).await?.expect(200)?;
    browser.until("document.querySelector('#readers').textContent === '0'").await?;
    reading.await??;
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_can_do_to_a_stream_is_done() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    client.create("it's", &json!({"userId": "u"})).await?;
    let question = json!({"type": "request", "action": {"id": "a1", "tool": "send_mail"}});
    client.append("it's", &answer(2)).await?.expect(200)?;
    let mut browser = Browser::open(&format!("http://{}/#it's", server.address)).await?;
    browser.until("document.querySelector('#count').textContent === '3'").await?;
    browser.click("#append").await?;
    browser.until("document.querySelector('#note').textContent.startsWith('test record appended as ')").await?;
    ensure!(client.records("it's").await?[3].contains("inspector_test"));

    client.post("/v1/streams/it's/action", &question).await?.expect(200)?;
    browser.until("document.querySelector('#pending-json').textContent.includes('send_mail')").await?;
    browser.value("document.querySelector('#decision').value = '{\"approved\":true}'").await?;
    browser.value("document.querySelector('#resolve').requestSubmit()").await?;
    browser.until("document.querySelector('#pending').hidden").await?;
    assert_eq!(client.state("it's").await?["status"], "running");

    browser.click("#curl").await?;
    let command = text(&mut browser, "#command-text").await?;
    ensure!(command.contains(r"/it'\''s/events'") && command.contains("Last-Event-ID: "), "{command}");
    browser.click("#complete").await?;
    browser.until("document.querySelector('#status').textContent === 'complete'").await?;
    browser.click("#delete").await?;
    assert_eq!(text(&mut browser, "#delete").await?, "Really delete?");
    client.get("/v1/streams/it's").await?.expect(200)?;
    browser.click("#delete").await?;
    browser.until("document.querySelector('#stream').hidden").await?;
    client.get("/v1/streams/it's").await?.expect(404)?;
    // Asked about in the moment in which it went: the browser notes every 404.
    browser.complaints.retain(|complaint| !complaint.contains("404"));
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}
