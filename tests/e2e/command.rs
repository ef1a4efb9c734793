//! The real program: what it refuses before it listens, what it prints, how it ends.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rejoin_tests::answer;
use rejoin_tests::command::{Program, program, run};
use rejoin_tests::redis::free_port;
use rejoin_tests::wait::{soon, until};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_setting_ends_it_with_64_and_names_flag_and_variable() -> Result<()> {
    for (flag, variable, value, says) in [
        ("--retention", "REJOIN_RETENTION", "5", "a unit"),
        ("--records-max", "REJOIN_RECORDS_MAX", "0", "at least 1"),
        ("--record-bytes-max", "REJOIN_RECORD_BYTES_MAX", "1MB", "MiB"),
        ("--store", "REJOIN_STORE", "http://u:secret@h", "redis://"),
        ("--listen", "REJOIN_LISTEN", "here", "IP:PORT"),
    ] {
        let free = if flag == "--listen" { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        for (arguments, variables) in
            [([free, &[flag, value]].concat(), vec![]), (free.to_vec(), vec![(variable, value)])]
        {
            let output = run(&arguments, &variables).await?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{arguments:?} {variables:?}: {said}");
            // The address of a store may hold a password.
            let shown = if flag == "--store" { "…" } else { value };
            for part in [flag, variable, shown, says] {
                ensure!(said.contains(part), "{part:?} is missing in {said}");
            }
            assert_eq!(output.stdout, b"", "it did not listen");
        }
    }
    let output = run(&["--no-such-flag"], &[]).await?;
    assert_eq!(output.status.code(), Some(64));
    ensure!(String::from_utf8_lossy(&output.stderr).contains("--no-such-flag"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tokens_it_listens_on_loopback_only_and_says_why() -> Result<()> {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8787"] {
        for (arguments, variables) in [(vec!["--listen", address], vec![]), (vec![], vec![("REJOIN_LISTEN", address)])]
        {
            let output = run(&arguments, &variables).await?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{address}: {said}");
            for part in ["loopback", "token", "--listen", "REJOIN_LISTEN", address] {
                ensure!(said.contains(part), "{part:?} is missing in {said}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_named() -> Result<()> {
    let first = Program::start(&[]).await?;
    let address = first.address.to_string();
    let output = run(&["--listen", &address], &[]).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    ensure!(said.contains(&address) && said.contains("--listen"), "{said}");
    first.client().get("/healthz").await?.expect(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_and_version_are_answers_and_no_errors() -> Result<()> {
    let help = run(&["--help"], &[]).await?;
    let said = String::from_utf8_lossy(&help.stdout);
    ensure!(help.status.success() && said.contains("--listen") && said.contains("REJOIN_RETENTION"), "{said}");
    let version = run(&["--version"], &[]).await?;
    ensure!(version.status.success() && version.stdout.starts_with(b"rejoin "));
    Ok(())
}

/// Two live streams and an open body, then the signal: the streams end in order, so their readers come back elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_it_gracefully() -> Result<()> {
    for signal in ["TERM", "INT"] {
        let mut program = Program::start(&["--shutdown-max", "10s"]).await?;
        let client = program.client();
        client.create("s", &json!({})).await?;
        let mut reader = client.follow("s", None).await?;
        client.append("s", &answer(3)).await?.expect(200)?;
        reader.take(4).await?;
        program.signal(signal).await?;
        assert_eq!(reader.rest().await?, [], "the response ends, the answer does not");
        assert_eq!(program.end().await?, Some(0), "{signal}");
    }
    Ok(())
}

/// It listens, and cannot say so, because nobody ever reads what it prints: so it stands in the middle of its start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_in_the_middle_of_the_start_ends_it_in_order() -> Result<()> {
    use std::io::Write;

    let (_unread, mut full) = std::io::pipe()?;
    // What a pipe holds on Linux.
    full.write_all(&[b'.'; 64 << 10])?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let mut command = std::process::Command::new(program()?);
    command.args(["--listen", &address]).env("RUST_LOG", "warn").stdin(Stdio::null()).stdout(full);
    let mut child = Command::from(command).kill_on_drop(true).spawn()?;
    until("it listens", async || Ok(TcpStream::connect(&address).await.ok())).await?;
    let id = child.id().context("it lives")?.to_string();
    ensure!(Command::new("sh").args(["-c", "kill -s TERM $0", &id]).status().await?.success());
    let status = soon("its end", child.wait()).await??;
    assert_eq!(status.code(), Some(0), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_at_the_signal_gets_its_answer() -> Result<()> {
    let mut program = Program::start(&["--shutdown-max", "20s"]).await?;
    let client = program.client();
    client.create("s", &json!({})).await?;
    let mut reader = client.follow("s", None).await?;
    let lines = answer(3);
    let upload = client.upload("/v1/streams/s/events", &[("content-type", "application/x-ndjson")]);
    upload.send(format!("{}\n", lines[0])).await?;
    reader.take(1).await?;
    program.signal("TERM").await?;
    assert_eq!(reader.rest().await?, []);
    upload.send(lines[1..].join("\n")).await?;
    assert_eq!(upload.finish().await?.expect(200)?.json()["appended"], 4);
    assert_eq!(program.end().await?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_that_it_prints_works_when_it_is_pasted() -> Result<()> {
    let mut program = Program::start(&[]).await?;
    let mut examples = Vec::new();
    while !examples.iter().any(|line: &String| line.contains("text/event-stream")) {
        let line = program.line().await?;
        if line.trim_start().starts_with("curl ") {
            examples.push(line);
        }
    }
    ensure!(examples.len() >= 3, "{examples:?}");
    let mut printed = Vec::new();
    for example in &examples {
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &example.replacen("curl ", "curl -sS --fail-with-body ", 1)]);
        let output = shell.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(Duration::from_secs(30), output).await.context("curl does not end")??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{example}\n{said}{}", String::from_utf8_lossy(&output.stderr));
        printed.push(said);
    }
    let stream = printed.last().context("the live stream")?;
    ensure!(stream.contains("on_message_delta") && stream.contains("\"final\":true"), "{stream}");
    Ok(())
}

/// 256 MiB in one line, in a body without a length: refused when it passes the limit of a record, never gathered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_without_end_is_refused_before_it_is_held() -> Result<()> {
    let program = Program::start(&[]).await?;
    let client = program.client();
    client.create("s", &json!({})).await?;
    client.append("s", &answer(1)).await?.expect(200)?;
    let before = program.memory_peak()?;
    let piece = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    let mut answers = 0;
    for kind in ["application/x-ndjson", "text/event-stream; dialect=events", "application/json"] {
        for _ in 0..4 {
            let upload = client.upload("/v1/streams/s/events", &[("content-type", kind)]);
            upload.send("{\"event\":\"x\",\"text\":\"").await?;
            for _ in 0..64 {
                // A server that has answered stops reading at some point.
                let sent = tokio::time::timeout(Duration::from_secs(5), upload.send(piece.clone())).await;
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
            }
            if let Ok(answer) = upload.answer().await {
                answers += 1;
                assert_eq!(answer.status, 413, "{kind}: {}", String::from_utf8_lossy(&answer.body));
            }
        }
    }
    println!("{answers} answers");
    ensure!(answers > 0, "nobody was told why");
    let grown = program.memory_peak()?.saturating_sub(before);
    println!("{} MiB more", grown >> 20);
    // One record, one line of a provider or one JSON body at a time, and what the allocator keeps of it.
    ensure!(grown < 48 << 20, "{} MiB more", grown >> 20);
    assert_eq!(client.records("s").await?, answer(1));
    Ok(())
}
