//! The page without a mouse, and on a narrow screen.

use anyhow::{Result, bail};
use rejoin_tests::browser::Browser;
use rejoin_tests::server::Server;
use serde_json::json;

use super::{open, replay, text};

/// Presses Tab until that element has the focus.
async fn tab_to(browser: &mut Browser, id: &str) -> Result<()> {
    for _ in 0..40 {
        browser.key("Tab").await?;
        if browser.value("document.activeElement.id").await? == id {
            return Ok(());
        }
    }
    bail!("#{id} is not reached by Tab")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_found_opened_and_aborted_with_the_keyboard_alone() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    for (stream, user) in [("one", "ada"), ("two", "bob")] {
        client.create(stream, &json!({"userId": user})).await?;
    }
    let mut browser = open(&server).await?;
    browser.until("document.querySelector('#streams [title=one]')").await?;
    browser.key("/").await?;
    browser.write("ada").await?;
    browser.until("document.querySelector('#listnote').textContent === '1 stream'").await?;
    browser.key("ArrowDown").await?;
    browser.until("document.querySelector('#streams [aria-selected=true]')?.title === 'one'").await?;
    browser.key("Enter").await?;
    browser.until("document.querySelector('#state').dataset.state === 'live'").await?;
    assert_eq!(text(&mut browser, "#title").await?, "one");
    tab_to(&mut browser, "abort").await?;
    let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle").await?;
    assert_eq!(outline, "solid", "where the focus is can be seen");
    browser.key("Enter").await?;
    browser.until("document.querySelector('#status').textContent === 'aborted'").await?;
    assert_eq!(client.state("one").await?["status"], "aborted");
    assert_eq!(client.state("two").await?["status"], "running");

    // The tabs are one stop, and arrows go from one to the next.
    tab_to(&mut browser, "tab-records").await?;
    browser.key("ArrowRight").await?;
    browser.until("!document.querySelector('#panel-subscribers').hidden").await?;
    assert_eq!(browser.value("document.activeElement.id").await?, "tab-subscribers");
    browser.key("Escape").await?;
    browser.until("document.activeElement.id === 'streams'").await?;
    let names = "[...document.querySelectorAll('button, input, select, [tabindex=\"0\"]')]
        .filter((node) => !node.textContent.trim() && !node.labels?.length && !node.ariaLabel
            && !node.getAttribute('aria-labelledby') && node.offsetParent).map((node) => node.id)";
    assert_eq!(browser.value(names).await?, json!([]), "controls without a name");
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrow_screen_shows_the_list_or_the_stream_and_never_scrolls_sideways() -> Result<()> {
    const WIDTH: &str = "document.documentElement.scrollWidth";
    let server = Server::start().await?;
    let (mut browser, stream) = replay(&server).await?;
    browser.resize(360, 740).await?;
    browser.until("Number(document.querySelector('#count').textContent) > 100").await?;
    browser.click("#access").await?;
    browser.click("#curl").await?;
    for tab in ["#tab-records", "#tab-subscribers", "#tab-steps", "#tab-job"] {
        browser.click(tab).await?;
        assert_eq!(browser.value(WIDTH).await?, 360, "{tab}");
    }
    assert_eq!(browser.value("document.querySelector('#streams').offsetParent").await?, json!(null));
    browser.click("#back").await?;
    browser
        .until("document.querySelector('#streams').offsetParent && document.querySelector('#stream').hidden")
        .await?;
    assert_eq!(browser.value(WIDTH).await?, 360);
    let row = format!("#streams [title=\"{stream}\"]");
    browser.until(&format!("document.querySelector({row:?})?.offsetParent")).await?;
    browser.click(&row).await?;
    browser.until("!document.querySelector('#stream').hidden").await?;
    browser.key("Escape").await?;
    browser.until("document.querySelector('#token-form').hidden").await?;
    browser.key("Escape").await?;
    browser.until("document.querySelector('#stream').hidden && document.activeElement.id === 'streams'").await?;
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}
