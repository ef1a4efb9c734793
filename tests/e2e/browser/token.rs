//! The token field, and what refusals say.

use anyhow::{Context, Result, ensure};
use rejoin_tests::browser::Browser;
use rejoin_tests::server::Server;
use rejoin_tests::token::token;

use super::{open, text};
use crate::access::guarded;

/// Notes the address and the token of every request from now on.
const SPY: &str = "(() => {
    window.sent = [];
    const real = window.fetch;
    window.fetch = (path, init) => {
        window.sent.push([String(path), init?.headers?.Authorization ?? null]);
        return real(path, init);
    };
})()";

/// Enters a token with the keyboard.
async fn enter(browser: &mut Browser, token: &str) -> Result<()> {
    browser.click("#access").await?;
    browser.until("document.activeElement === document.querySelector('#token')").await?;
    browser.write(token).await?;
    browser.key("Enter").await
}

/// A page that works with this token, or with none: it plays the sample, and every request carries the token, in its
/// header alone.
async fn check_flow(server: &Server, token: Option<&str>) -> Result<()> {
    let mut browser = open(server).await?;
    browser.value(SPY).await?;
    if let Some(token) = token {
        enter(&mut browser, token).await?;
        browser.until("document.querySelector('#access').dataset.set === 'true'").await?;
        ensure!(browser.value("document.querySelector('#token').value").await? == "", "the field is emptied");
    }
    browser.value("window.sent.length = 0").await?;
    browser.click("#replay").await?;
    browser.until("Number(document.querySelector('#count').textContent) > 20").await?;
    browser.until("window.sent.some(([path]) => path.includes('/subscribers'))").await?;
    let live = browser.value("window.sent.filter(([path]) => path.endsWith('/events')).length").await?;
    assert_eq!(live, 1, "the live stream is one request like all others");
    browser.until("document.querySelector('#banner').hidden").await?;
    let wanted = token.map_or("null".to_owned(), |token| format!("'Bearer {token}'"));
    let others = browser.value(&format!("window.sent.filter(([, sent]) => sent !== {wanted})")).await?;
    assert_eq!(others, serde_json::json!([]), "requests that carry something else");
    if let Some(token) = token {
        let places = ["location.href", "document.cookie", "JSON.stringify(localStorage)", "document.body.innerText"];
        for place in places {
            let found = browser.value(&format!("{place}.includes({token:?})")).await?;
            assert_eq!(found, false, "{place}");
        }
        browser.click("#curl").await?;
        browser.until("document.querySelector('#command-text').textContent.includes('Bearer $TOKEN')").await?;
        browser.click("#access").await?;
        browser.click("#token-clear").await?;
        browser.until("document.querySelector('#access').dataset.set === 'false'").await?;
        assert_eq!(browser.value("sessionStorage.length").await?, 0, "it is forgotten");
    }
    // The browser itself notes each 401: before the token is there, and after it is forgotten.
    let complaints: Vec<_> =
        browser.complaints.iter().filter(|text| token.is_none() || !text.contains("401")).collect();
    ensure!(complaints.is_empty(), "{complaints:#?}");
    browser.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_a_key_is_looked_at_without_a_token() -> Result<()> {
    let server = Server::start().await?;
    check_flow(&server, None).await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_in_the_header_of_every_request_and_nowhere_else() -> Result<()> {
    let server = guarded(|_| {}).await?;
    check_flow(&server, Some(&token("me", "produce subscribe list"))).await?;
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_in_words_what_a_refusal_means() -> Result<()> {
    let server = Server::start().await?;
    let mut browser = open(&server).await?;
    enter(&mut browser, "not a tökén").await?;
    browser.until("document.querySelector('#token-note').textContent.startsWith('That is no token')").await?;
    browser.key("Escape").await?;
    browser.until("document.querySelector('#token-form').hidden").await?;

    browser.value("document.querySelector('#open').value = 'nobody'").await?;
    browser.value("document.querySelector('#open-form').requestSubmit()").await?;
    browser.until("document.querySelector('#note').textContent.startsWith('404: no such stream.')").await?;
    browser.until("document.querySelector('#state').dataset.state === 'failed'").await?;

    // As many samples play as may.
    let samples = server.app.samples.clone().acquire_many_owned(8).await.context("permits")?;
    browser.click("#replay").await?;
    browser.until("document.querySelector('#banner').textContent.includes('429: too much at a time.')").await?;
    ensure!(text(&mut browser, "#banner").await?.ends_with("Next try in 5 s."));
    drop(samples);
    browser.close().await?;
    server.stop().await
}
