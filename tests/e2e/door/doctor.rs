//! `rejoin doctor` against the server itself, and behind a real nginx that does each kind of harm.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use rejoin_tests::command::{program, run};
use rejoin_tests::nginx::Nginx;
use rejoin_tests::server::Server;
use rejoin_tests::steady::steady;
use rejoin_tests::tls::Pair;

/// Exit code and what is said.
async fn examine(url: &str, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = run(&[&["doctor", "--url", url, "--wait", "3s"], arguments].concat(), &[]).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    Ok((output.status.code(), said))
}

/// What is wrong, one each.
fn wrong(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.strip_prefix("WRONG ")).collect()
}

async fn start() -> Result<Server> {
    Server::start_with(|config| config.keep_alive = Duration::from_millis(800)).await
}

async fn nothing_is_left(server: &Server) -> Result<()> {
    let address = format!("http://{}", server.address);
    let list = server.client().get("/v1/streams").await?.json();
    ensure!(!list.to_string().contains("doctor-"), "{address}: {list}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_anything_in_between_all_is_well() -> Result<()> {
    let server = start().await?;
    let (code, said) = examine(&format!("http://{}", server.address), &[]).await?;
    ensure!(code == Some(0) && wrong(&said).is_empty(), "{said}");
    for part in
        ["HTTP/1.1, not encrypted", "as they are written", "Last-Event-ID arrives", "2 MiB is taken", "all is well"]
    {
        ensure!(said.contains(part), "{part:?} is missing in {said}");
    }
    nothing_is_left(&server).await?;
    server.stop().await?;

    let pair = Pair::new()?;
    let server = Server::start_with(|config| {
        (config.tls.tls_cert_file, config.tls.tls_key_file) = (Some(pair.certificate()), Some(pair.key()));
        config.keep_alive = Duration::from_millis(800);
    })
    .await?;
    let (url, trusted) = (format!("https://{}", server.address), pair.certificate().display().to_string());
    let (code, said) = examine(&url, &["--ca-file", &trusted]).await?;
    ensure!(code == Some(0) && said.contains("HTTP/2 over TLS 1.3"), "{said}");
    let stranger = Pair::new()?.certificate();
    let (code, said) = examine(&url, &["--ca-file", &stranger.display().to_string()]).await?;
    ensure!(code == Some(64) && said.contains("--ca-file"), "the file is gone: {said}");
    let stranger = Pair::new()?;
    let (code, said) = examine(&url, &["--ca-file", &stranger.certificate().display().to_string()]).await?;
    ensure!(code == Some(1) && said.contains("cannot be reached") && said.contains("TLS"), "{said}");
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_the_shipped_nginx_all_is_well() -> Result<()> {
    program()?;
    steady(async || {
        let server = start().await?;
        let nginx = Nginx::start(server.address, &[]).await?;
        let (code, said) = examine(&format!("http://{}", nginx.address), &[]).await?;
        ensure!(code == Some(0) && wrong(&said).is_empty(), "{said}");
        nothing_is_left(&server).await?;
        server.stop().await
    })
    .await
}

type Harm = (&'static [(&'static str, &'static str)], &'static str, &'static str);

/// Each setting alone, what it does, and what is said to do about it.
const HARMS: [Harm; 6] = [
    // What nginx does when it is told nothing: HTTP/1.0 to the host, and answers without a length wait for a full buffer.
    (
        &[
            ("proxy_buffering off;", "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"),
            ("proxy_http_version 1.1;", "proxy_http_version 1.0;"),
        ],
        "frames are held back",
        "nginx: proxy_buffering off;",
    ),
    (
        &[("proxy_request_buffering off;", "proxy_request_buffering on;")],
        "open bodies are held back",
        "nginx: proxy_request_buffering off;",
    ),
    (
        &[("proxy_read_timeout 60s;", "proxy_read_timeout 1s;")],
        "an idle live stream is cut after 1.",
        "nginx: proxy_read_timeout 60s;",
    ),
    (&[("client_max_body_size 0;", "")], "2 MiB is refused with 413", "nginx: client_max_body_size 0;"),
    (
        &[("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_set_header Last-Event-ID \"\";")],
        "Last-Event-ID does not arrive",
        "no proxy_set_header Last-Event-ID",
    ),
    (
        &[("client_body_timeout 1h;", "client_body_timeout 1s;")],
        "an open body that is silent for a while is cut",
        "nginx: client_body_timeout 1h;",
    ),
];

async fn check_harm(upstream: SocketAddr, (changes, says, remedy): Harm) -> Result<()> {
    let nginx = Nginx::start(upstream, changes).await?;
    let (code, said) = examine(&format!("http://{}", nginx.address), &[]).await?;
    let found = wrong(&said);
    ensure!(code == Some(1) && found.iter().any(|line| line.contains(says)), "{changes:?}: {said}");
    ensure!(said.contains(remedy), "{changes:?}: {said}");
    // Some settings do more than one harm: HTTP/1.0 knows no open bodies, and who gives up on a silent reader gives up on
    // a silent producer.
    let expected = |line: &str| line.contains(says) || line.contains("open bod");
    ensure!(found.iter().all(|line| expected(line)), "{changes:?}: {said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_harm_that_nginx_can_do_is_named_with_its_remedy() -> Result<()> {
    // Compiled before the clocks run.
    program()?;
    steady(async || {
        let server = start().await?;
        let quiet = Server::start_with(|config| config.keep_alive = Duration::from_secs(15)).await?;
        let (often, seldom) = (server.address, quiet.address);
        let harm = |n: usize| check_harm(if HARMS[n].1.contains("cut") { seldom } else { often }, HARMS[n]);
        tokio::try_join!(harm(0), harm(1), harm(2), harm(3), harm(4), harm(5))?;
        nothing_is_left(&server).await?;
        nothing_is_left(&quiet).await?;
        quiet.stop().await?;
        server.stop().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_cannot_be_examined() -> Result<()> {
    let port = rejoin_tests::redis::free_port()?;
    let (code, said) = examine(&format!("http://127.0.0.1:{port}"), &[]).await?;
    ensure!(code == Some(1) && said.contains("cannot connect to 127.0.0.1"), "{said}");
    let (code, said) = examine("ftp://127.0.0.1", &[]).await?;
    ensure!(code == Some(64) && said.contains("http://"), "{said}");
    Ok(())
}
