//! A certificate and a key: what is agreed on, and how both are changed under way.

use anyhow::{Result, ensure};
use rejoin_tests::command::{Program, run};
use rejoin_tests::tls::{Http2, Pair, shake_hands};
use rejoin_tests::{answer, wait};

const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

async fn start(pair: &Pair) -> Result<Program> {
    let (certificate, key) = (pair.certificate(), pair.key());
    let files = [("--tls-cert-file", certificate), ("--tls-key-file", key)];
    let arguments: Vec<String> = files.iter().map(|(flag, path)| format!("{flag}={}", path.display())).collect();
    Program::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn create(connection: &Http2, stream: &str) -> Result<()> {
    connection.send("POST", &format!("/v1/streams/{stream}"), &[JSON], "{}".into()).await?.expect(201)?;
    Ok(())
}

async fn append(connection: &Http2, stream: &str, lines: &[String]) -> Result<()> {
    let path = format!("/v1/streams/{stream}/events");
    connection.send("POST", &path, &[NDJSON], lines.join("\n")).await?.expect(200)?;
    Ok(())
}

/// A browser opens six connections of HTTP/1.1 to one server and no more: the seventh tab would hear nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_live_streams_share_one_encrypted_connection() -> Result<()> {
    let pair = Pair::new()?;
    let program = start(&pair).await?;
    let connection = Http2::connect(program.address, &pair.now()?).await?;
    create(&connection, "s").await?;
    let mut readers = Vec::new();
    for _ in 0..8 {
        readers.push(connection.follow("s").await?);
    }
    let lines = answer(20);
    append(&connection, "s", &lines).await?;
    for reader in &mut readers {
        let frames = reader.take(lines.len()).await?;
        assert_eq!(frames.iter().map(|frame| frame.data.clone()).collect::<Vec<_>>(), lines);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_of_tls_and_both_of_http_are_spoken_and_nothing_else() -> Result<()> {
    let pair = Pair::new()?;
    let program = start(&pair).await?;
    let trusted = pair.now()?;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (asked, agreed) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
            let stream = shake_hands(program.address, &trusted, asked, &[version]).await?;
            let session = stream.get_ref().1;
            assert_eq!(session.alpn_protocol(), agreed.map(str::as_bytes), "{asked:?}");
            assert_eq!(session.protocol_version(), Some(version.version));
        }
        let refused = shake_hands(program.address, &trusted, &["gopher"], &[version]).await;
        ensure!(refused.is_err(), "nothing in common");
    }
    let stranger = Pair::new()?;
    ensure!(shake_hands(program.address, &stranger.now()?, &[], rustls::ALL_VERSIONS).await.is_err());
    let plain = program.client().get("/healthz").await;
    ensure!(plain.is_err(), "no answer without encryption: {plain:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_for_new_connections_and_a_broken_one_for_none() -> Result<()> {
    let pair = Pair::new()?;
    let program = start(&pair).await?;
    let first = pair.now()?;
    let old = Http2::connect(program.address, &first).await?;
    create(&old, "s").await?;
    let mut reader = old.follow("s").await?;
    let lines = answer(4);
    append(&old, "s", &lines[..1]).await?;
    reader.take(1).await?;

    pair.renew()?;
    let second = pair.now()?;
    let new =
        wait::until("the new certificate", async || Ok(Http2::connect(program.address, &second).await.ok())).await?;
    ensure!(Http2::connect(program.address, &first).await.is_err(), "the first one is not given any more");
    append(&new, "s", &lines[1..2]).await?;
    append(&old, "s", &lines[2..3]).await?;
    reader.take(2).await?;

    // A key that is none: nobody notices. A whole pair then shows that the files were looked at in between, or are now.
    std::fs::write(pair.key(), "no key")?;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    Http2::connect(program.address, &second).await?;
    pair.renew()?;
    let third = pair.now()?;
    wait::until("the third certificate", async || Ok(Http2::connect(program.address, &third).await.ok())).await?;
    append(&old, "s", &lines[3..]).await?;
    assert_eq!(reader.take(1).await?[0].data, lines[3]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_cannot_be_used_ends_the_start_with_the_file_and_the_reason() -> Result<()> {
    let (pair, other) = (Pair::new()?, Pair::new()?);
    let key = pair.key();
    for (certificate, key, says) in [
        (pair.certificate(), other.key(), "not the key of the certificate"),
        (key.clone(), key.clone(), "no CERTIFICATE"),
        (pair.certificate(), "/nowhere/key.pem".into(), "/nowhere/key.pem"),
    ] {
        let files = [format!("--tls-cert-file={}", certificate.display()), format!("--tls-key-file={}", key.display())];
        let output = run(&["--listen", "127.0.0.1:0", &files[0], &files[1]], &[]).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.contains(says) && said.contains("--tls-"), "{said}");
        ensure!(!said.contains("BEGIN"), "a key is not shown: {said}");
    }
    Ok(())
}
