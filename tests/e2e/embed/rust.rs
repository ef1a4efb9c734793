//! The component in somebody else's Rust server: the kit's example, over HTTP.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rejoin_embed::{
    Bounds, Change, Component, Cursor, Error, Imports, Job, LIMITS, LogRecord, Outcome, Refusal, now_ms,
};
use rejoin_tests::client::{Answer, Client};
use rejoin_tests::sse::Frame;
use rejoin_tests::{answer, command, delta, root, wait};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The component as a user has it: a file. The build scripts leave it beside the machine code.
fn component(variant: &str) -> Result<tempfile::TempPath> {
    let variant = if variant == "traps" { xtask::Variant::Traps } else { xtask::Variant::Shipped };
    let file = tempfile::NamedTempFile::with_suffix(".wasm")?.into_temp_path();
    std::fs::write(&file, xtask::build_component(&root().canonicalize()?, variant)?)?;
    Ok(file)
}

/// The example, listening on a free port. Dropped: killed.
struct Example {
    _child: Child,
    _component: tempfile::TempPath,
    client: Client,
}

impl Example {
    async fn start(variant: &str) -> Result<Self> {
        let component = component(variant)?;
        let mut command = Command::new(command::example("axum")?);
        command.arg(component.as_os_str()).env("LISTEN", "127.0.0.1:0");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
        // It compiles the component first, with a compiler that is itself a debug build: ten seconds of CPU.
        let line = tokio::time::timeout(8 * wait::PATIENCE, lines.next_line()).await.context("it prints nothing")??;
        let line = line.context("it has ended")?;
        let address: SocketAddr = line.strip_prefix("http://").with_context(|| line.clone())?.parse()?;
        Ok(Example { _child: child, _component: component, client: Client::new(address) })
    }

    async fn post(&self, path: &str, lines: &[String]) -> Result<Answer> {
        self.client.send("POST", path, &[], lines.join("\n")).await
    }

    async fn follow(&self, stream: &str, after: Option<&str>) -> Result<rejoin_tests::sse::Sse> {
        let headers = after.map(|after| ("last-event-id", after));
        self.client.subscribe(&format!("/{stream}"), headers.as_slice()).await
    }
}

fn texts(frames: &[Frame]) -> Vec<String> {
    let text = |frame: &Frame| frame.json()["data"]["delta"]["content"][0]["text"].as_str().map(str::to_owned);
    frames.iter().filter_map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_example_leaves_returns_and_misses_nothing_until_the_answer_is_stopped() -> Result<()> {
    let example = Example::start("shipped").await?;
    example.post("/chat/create", &[]).await?.expect(200)?;
    let mut reader = example.follow("chat", None).await?;
    example.post("/chat/append", &answer(3)).await?.expect(200)?;
    let frames = reader.take(3).await?;
    assert_eq!(texts(&frames), ["w0 ", "w1 "]);
    let left_at = frames[2].id.clone().context("an id")?;
    drop(reader);

    example.post("/chat/append", &[delta("alone ")]).await?.expect(200)?;
    let mut back = example.follow("chat", Some(&left_at)).await?;
    assert_eq!(texts(&back.take(2).await?), ["w2 ", "alone "]);
    example.post("/chat/append", &[delta("live")]).await?.expect(200)?;
    assert_eq!(texts(&back.take(1).await?), ["live"]);

    example.post("/chat/stop", &[]).await?.expect(200)?;
    let rest = back.rest().await?;
    ensure!(rest.len() == 1 && rest[0].is_terminal(), "{rest:?}");
    ensure!(rest[0].json()["aborted"] == true, "{rest:?}");
    assert_eq!(example.post("/chat/append", &[delta("late")]).await?.status, 409);
    let end = rest[0].id.clone().context("an id")?;
    assert_eq!(example.client.send("GET", "/chat", &[("last-event-id", &end)], "").await?.status, 204);

    example.post("/chat/create", &[]).await?.expect(200)?;
    example.post("/chat/append", &answer(1)).await?.expect(200)?;
    let mut next = example.follow("chat", Some(&end)).await?;
    assert_eq!(texts(&next.take(2).await?), ["w0 "], "a cursor of the generation before is no place in this one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_no_record_is_refused_and_those_before_it_are_kept() -> Result<()> {
    let example = Example::start("shipped").await?;
    assert_eq!(example.post("/chat/append", &[delta("x")]).await?.status, 409, "there is no generation yet");
    example.post("/chat/create", &[]).await?.expect(200)?;
    let refused = example.post("/chat/append", &[answer(1), vec!["no record".into(), delta("x")]].concat()).await?;
    assert_eq!(refused.status, 409);
    example.post("/chat/complete", &[]).await?.expect(200)?;
    let frames = example.follow("chat", None).await?.rest().await?;
    assert_eq!((frames.len(), texts(&frames)), (3, vec!["w0 ".to_owned()]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_ends_one_session_only_and_its_stream_goes_on_from_the_log() -> Result<()> {
    let example = Example::start("traps").await?;
    for stream in ["bad", "good"] {
        example.post(&format!("/{stream}/create"), &[]).await?.expect(200)?;
        example.post(&format!("/{stream}/append"), &answer(2)).await?.expect(200)?;
    }
    let mut good = example.follow("good", None).await?;
    let mut bad = example.follow("bad", None).await?;
    good.take(3).await?;
    bad.take(3).await?;
    for kind in ["panic", "memory", "spin"] {
        let event = format!(r#"{{"event":"test_trap_{kind}","data":{{}}}}"#);
        let trapped = example.post("/bad/append", &[delta("lost"), event]).await?;
        assert_eq!(trapped.status, 500, "{kind}: {}", String::from_utf8_lossy(&trapped.body));
        example.post("/good/append", &[delta(kind)]).await?.expect(200)?;
        example.post("/bad/append", &[delta(kind)]).await?.expect(200)?;
        assert_eq!(texts(&good.take(1).await?), [kind]);
        assert_eq!(texts(&bad.take(1).await?), [kind], "what the trapped call was to write is not written");
    }
    example.post("/bad/complete", &[]).await?.expect(200)?;
    let last = bad.rest().await?;
    ensure!(last.len() == 1 && last[0].data.contains("w0 w1 panicmemoryspin"), "{last:?}");
    Ok(())
}

/// A store that needs time, or that another host may have written to.
#[derive(Default)]
struct Slow {
    asked: Vec<u64>,
}

impl Imports for Slow {
    fn create(&mut self, _: &str, ticket: u64, _: u64, _: Job) -> Option<Outcome> {
        self.asked.push(ticket);
        None
    }

    fn append(&mut self, _: &str, ticket: u64, _: Cursor, _: Vec<LogRecord>, _: Change) -> Option<Outcome> {
        self.asked.push(ticket);
        None
    }

    fn now_ms(&mut self) -> u64 {
        now_ms()
    }
}

#[test]
fn a_store_that_needs_time_settles_later_and_a_refused_write_ends_the_session() -> Result<()> {
    let component = Component::from_file(component("shipped")?, Bounds::default())?;
    let mut session = component.open(Slow::default(), "chat", None, None, LIMITS)?;
    session.create(None, None, "{}")?;
    let busy = session.push(&delta("too early"));
    ensure!(matches!(busy, Err(Error::Refused(Refusal::Busy))) && session.is_alive(), "{busy:?}");
    let ticket = session.imports().asked.pop().context("a ticket")?;
    session.settle(ticket, Outcome::Accepted)?;
    session.push(&answer(1).join("\n"))?;
    let ticket = session.imports().asked.pop().context("a ticket")?;
    let refused = session.settle(ticket, Outcome::Refused(Refusal::Behind(7)));
    ensure!(matches!(refused, Err(Error::Refused(Refusal::Behind(7)))) && !session.is_alive(), "{refused:?}");
    ensure!(matches!(session.content(), Err(Error::Trapped(_) | Error::Refused(_))));
    Ok(())
}

#[test]
fn the_fold_alone_gives_the_parts_with_or_without_parts_to_begin_with() -> Result<()> {
    let component = Component::<Slow>::from_file(component("shipped")?, Bounds::default())?;
    let mut fold = component.aggregator(None)?;
    fold.push(&answer(2).join("\n"))?;
    let parts = fold.parts()?;
    ensure!(parts.contains("w0 w1 "), "{parts}");
    assert_eq!(component.aggregator(Some(&parts))?.parts()?, parts);
    ensure!(component.aggregator(Some("{}")).is_err(), "a seed is a list");
    Ok(())
}

#[test]
fn a_file_that_is_no_component_is_named_with_what_to_do() {
    let error = Component::<Slow>::from_file(root().join("README.md"), Bounds::default()).err().expect("it is none");
    let said = error.to_string();
    assert!(said.contains("README.md") && said.contains("cargo xtask component"), "{said}");
}

#[test]
fn the_example_has_at_most_sixty_lines() -> Result<()> {
    let example = std::fs::read_to_string(root().join("guest/embed/rust/examples/axum.rs"))?;
    ensure!(example.lines().count() <= 60, "{}", example.lines().count());
    Ok(())
}
