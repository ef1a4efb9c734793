//! The list of streams: filters, counts, and a thousand rows.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rejoin_tests::browser::Browser;
use rejoin_tests::server::Server;
use rejoin_tests::steady::steady;
use rejoin_tests::wait::all;
use serde_json::json;

use super::{open, text};

/// The names that the list shows, in their order.
const SHOWN: &str = "[...document.querySelectorAll('#streams [role=option]:not([hidden])')]
    .sort((a, b) => a.dataset.index - b.dataset.index).map((row) => row.title).join(' ')";
const ACTIVE: &str = "document.querySelector('#streams [aria-selected=true]')?.title";
/// From a key to what it does. The page itself takes a tenth of that; the machine may be busy.
const PROMPT: Duration = Duration::from_secs(10);

async fn until_shown(browser: &mut Browser, names: &str) -> Result<()> {
    browser.until(&format!("({SHOWN}) === {names:?}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_filtered_by_user_and_by_status_and_tells_all_counts() -> Result<()> {
    let server = Server::start().await?;
    let client = server.client();
    for (stream, user, end) in
        [("a", "ada", "complete"), ("b", "bob", "abort"), ("c", "ada", ""), ("d", "ada&status=x", "")]
    {
        client.create(stream, &json!({"userId": user})).await?;
        if !end.is_empty() {
            client.post(&format!("/v1/streams/{stream}/{end}"), &json!({})).await?.expect(200)?;
        }
        // The list is ordered by the millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut browser = open(&server).await?;
    until_shown(&mut browser, "d c b a").await?;
    for (status, count) in
        [("", 4), ("running", 2), ("requires_action", 0), ("complete", 1), ("error", 0), ("aborted", 1)]
    {
        let chip = format!("#statuses [data-status=\"{status}\"] b");
        browser.until(&format!("document.querySelector({chip:?}).textContent === '{count}'")).await?;
    }
    browser.key("/").await?;
    browser.until("document.activeElement.id === 'user'").await?;
    browser.write("ada").await?;
    until_shown(&mut browser, "c a").await?;
    browser.click("#statuses [data-status=running]").await?;
    until_shown(&mut browser, "c").await?;
    browser.click("#statuses [data-status=error]").await?;
    browser.until("document.querySelector('#listnote').textContent === 'No stream fits the filter.'").await?;
    browser.click("#statuses [data-status='']").await?;
    browser.key("Escape").await?;
    until_shown(&mut browser, "d c b a").await?;
    browser.write("ada&status=x").await?;
    until_shown(&mut browser, "d").await?;
    assert_eq!(browser.complaints, [""; 0]);
    browser.close().await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_are_walked_by_keyboard_with_a_handful_of_nodes() -> Result<()> {
    steady(async || {
        let server = Server::start().await?;
        let client = server.client();
        client.create("oldest", &json!({"userId": "u"})).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
        let create = |n: usize| {
            let client = client.clone();
            async move { client.create(&format!("chat-{n}"), &json!({"userId": format!("u{}", n % 40)})).await }
        };
        all(8, (0..1_100).map(create)).await?;

        let mut browser = open(&server).await?;
        browser.until("document.querySelector('#listnote').textContent.includes('so far')").await?;
        browser.key("/").await?;
        browser.key("ArrowDown").await?;
        browser.until("document.activeElement.id === 'streams'").await?;
        let began = Instant::now();
        browser.key("End").await?;
        browser.until(&format!("{ACTIVE} === 'oldest'")).await?;
        let took = began.elapsed();
        println!("to the last of 1,101 streams: {took:?}");
        ensure!(took < PROMPT, "{took:?}");
        assert_eq!(text(&mut browser, "#listnote").await?, "1,101 streams");
        let size = browser
            .value("document.querySelector('#streams [aria-selected=true]').getAttribute('aria-setsize')")
            .await?;
        assert_eq!(size, "1101");

        // A newer stream and several refreshes later the focus and the selection are where they were, and in sight.
        client.create("newest", &json!({"userId": "u"})).await?;
        browser.until("document.querySelector('#listnote').textContent === '1,102 streams'").await?;
        assert_eq!(browser.value(ACTIVE).await?, "oldest");
        assert_eq!(browser.value("document.activeElement.id").await?, "streams");
        let began = Instant::now();
        for _ in 0..50 {
            browser.key("ArrowUp").await?;
        }
        let at = "document.querySelector('#streams [aria-selected=true]').dataset.index";
        assert_eq!(browser.value(at).await?, "1051");
        println!("fifty steps: {:?}", began.elapsed());
        ensure!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
        let nodes = browser.value("document.querySelectorAll('#streams [role=option]').length").await?;
        ensure!(nodes.as_u64() < Some(80), "{nodes} rows in the document");

        let wanted = browser.value(ACTIVE).await?;
        browser.key("Enter").await?;
        browser.until("!document.querySelector('#stream').hidden").await?;
        assert_eq!(text(&mut browser, "#title").await?, wanted);
        assert_eq!(browser.complaints, [""; 0]);
        browser.close().await?;
        server.stop().await
    })
    .await
}
