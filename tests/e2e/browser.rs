//! The inspector page in a real browser: whatever is cut, the reader has the whole answer in the end.

mod content;
mod hostile;
mod keys;
mod streams;
mod timeline;
mod token;

use anyhow::{Context, Result, ensure};
use rejoin_tests::browser::Browser;
use rejoin_tests::server::Server;
use tokio::process::Command;

/// Notes every state of the connection from now on, so that none is too short to be seen.
const WATCH: &str = "(() => {
    const state = document.querySelector('#state');
    window.states = [state.dataset.state];
    new MutationObserver(() => window.states.push(state.dataset.state))
        .observe(state, { attributes: true, attributeFilter: ['data-state'] });
})()";
const TEXT: &str = "[...document.querySelectorAll('#answer .text')].map((part) => part.textContent).join('')";
/// Records of the sample and the final one.
const RECORDS: &str = "296";

/// The page of a server.
async fn open(server: &Server) -> Result<Browser> {
    Browser::open(&format!("http://{}/", server.address)).await
}

async fn text(browser: &mut Browser, selector: &str) -> Result<String> {
    let text = browser.value(&format!("document.querySelector({selector:?}).textContent")).await?;
    Ok(text.as_str().context("text")?.to_owned())
}

/// Opens the page and presses "Play the sample": the page, and the stream that plays.
async fn replay(server: &Server) -> Result<(Browser, String)> {
    let mut browser = open(server).await?;
    browser.value(WATCH).await?;
    let before = text(&mut browser, "#title").await?;
    browser.click("#replay").await?;
    browser.until(&format!("document.querySelector('#title').textContent !== {before:?}")).await?;
    let stream = text(&mut browser, "#title").await?;
    Ok((browser, stream))
}

fn count_is_at_least(count: usize) -> String {
    format!("Number(document.querySelector('#count').textContent) >= {count}")
}

async fn check_cuts(mode: &str, records_between: usize) -> Result<()> {
    let server = Server::start().await?;
    let (mut browser, stream) = replay(&server).await?;
    browser.value(&format!("document.querySelector('#mode').value = {mode:?}")).await?;
    for cut in 1..=3 {
        browser.until(&count_is_at_least(records_between * cut)).await?;
        browser.until("['live', 'resumed'].includes(document.querySelector('#state').dataset.state)").await?;
        browser.click("#cut").await?;
        browser.until(&format!("document.querySelector('#resumes').textContent === '{cut}'")).await?;
        let cuts = browser.value("window.states.filter((state) => state === 'cut').length").await?;
        assert_eq!(cuts, cut, "the line was cut as often as it was resumed");
    }
    browser.until("document.querySelector('#verdict').dataset.verdict !== 'pending'").await?;
    assert_eq!(browser.value("document.querySelector('#verdict').dataset.verdict").await?, "match");
    assert_eq!(browser.value("document.querySelector('#state').dataset.state").await?, "ended");
    for (figure, wanted) in [("#resumes", "3"), ("#repeats", "0"), ("#skipped", "0")] {
        assert_eq!(text(&mut browser, figure).await?, wanted, "{figure}");
    }
    let count = text(&mut browser, "#count").await?;
    if mode == "cursor" {
        assert_eq!(count, RECORDS);
    } else {
        ensure!(count.parse::<usize>()? < RECORDS.parse()?, "a snapshot stands for many records: {count}");
    }
    let client = server.client();
    let shown = browser.value(TEXT).await?;
    let stored = client.text(&stream).await?;
    ensure!(stored.len() > 100 && shown == stored, "shown {shown}, stored {stored:?}");
    let state = client.state(&stream).await?;
    assert_eq!(state["status"], "complete");
    assert_eq!(browser.value("rejoin.parts()").await?, state["content"], "not the text alone");
    assert_eq!(browser.complaints, [""; 0], "the page runs without errors");
    browser.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_line_is_cut_comes_back_by_cursor_with_every_record_once() -> Result<()> {
    check_cuts("cursor", 40).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_line_is_cut_comes_back_by_snapshot_with_the_whole_answer() -> Result<()> {
    check_cuts("resume", 15).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_abort_button_ends_the_answer_and_what_came_stays() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    let (mut browser, stream) = replay(&server).await?;
    browser.until(&count_is_at_least(60)).await?;
    browser.click("#abort").await?;
    browser.until("document.querySelector('#verdict').dataset.verdict !== 'pending'").await?;
    assert_eq!(browser.value("document.querySelector('#verdict').dataset.verdict").await?, "match");
    assert_eq!(browser.value("document.querySelector('#state').dataset.state").await?, "ended");
    browser.until("document.querySelector('#status').textContent === 'aborted'").await?;
    ensure!(text(&mut browser, "#note").await?.starts_with("aborted at "));
    let state = client.state(&stream).await?;
    assert_eq!(state["status"], "aborted");
    assert_eq!(browser.value(TEXT).await?, client.text(&stream).await?);
    let log = client.records(&stream).await?;
    ensure!((61..296).contains(&log.len()), "{} records", log.len());
    assert_eq!(text(&mut browser, "#count").await?, log.len().to_string());
    browser.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_on_the_page_do_what_the_page_then_shows() -> Result<()> {
    let server = Server::start().await?;
    let mut browser = open(&server).await?;
    let commands = text(&mut browser, "#example").await?;
    assert_eq!(commands.split("\n\n").count(), 3, "{commands}");
    for command in commands.split("\n\n") {
        let command = command.replacen("curl ", "curl -sS --max-time 30 --fail-with-body ", 1);
        let output = Command::new("sh").args(["-c", &command]).kill_on_drop(true).output().await?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&said));
    }
    // The list on the page learns of it by itself; a click opens the stream, ended as it is.
    browser.value(WATCH).await?;
    browser.until("document.querySelector('#streams [title=my-chat]')").await?;
    browser.click("#streams [title=my-chat]").await?;
    browser.until("document.querySelector('#verdict').dataset.verdict === 'match'").await?;
    assert_eq!(browser.value(TEXT).await?, "Hello");
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}
