mod outage;

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::fake::{GENERATION, House, Reader, at, entry, framed, record, stream};
use super::*;
use crate::engine::Snapshot;
use crate::sse::HubConfig;
use crate::types::{RecordKind, Status};

const RETRY: &str = "retry: 1000\n\n";

fn house() -> Arc<House> {
    House::new(HubConfig::default())
}

fn last(sequence: u64) -> crate::types::Entry {
    entry(sequence, "{\"final\":true}\n", RecordKind::Final)
}

fn last_framed(sequence: u64) -> String {
    format!("id: {GENERATION}-{sequence}\ndata: {{\"final\":true}}\n\n")
}

/// Frames of the records `from..=to`.
fn all(from: u64, to: u64) -> String {
    (from..=to).map(framed).collect()
}

fn snapshot(sequence: u64) -> Option<Snapshot> {
    Some(Snapshot { at: at(sequence), state: "{\"runSteps\":[]}".to_owned() })
}

fn sync_framed(sequence: u64, reset: &str) -> String {
    format!(
        "id: {GENERATION}-{sequence}\ndata: {{\"sync\":true,{reset}\"resumeState\":{{\"runSteps\":[]}},\"generation\":{GENERATION}}}\n\n"
    )
}

const RESET: &str = "\"reset\":true,";

async fn connect(house: &Arc<House>, wanted: Wanted) -> Reader {
    let source: Arc<dyn Source> = Arc::<House>::clone(house);
    let response = open(source, &stream(), wanted, Arc::default()).await.expect("a stream");
    assert_eq!(response.status(), StatusCode::OK);
    let mut reader = Reader::new(response);
    let first = reader.next().await.expect("a first frame");
    match first.strip_prefix(RETRY) {
        Some("") => reader,
        Some(state) => reader.with(state),
        None => panic!("{first}"),
    }
}

async fn status(house: &Arc<House>, wanted: Wanted) -> StatusCode {
    let source: Arc<dyn Source> = Arc::<House>::clone(house);
    match open(source, &stream(), wanted, Arc::default()).await {
        Ok(response) => response.status(),
        Err(problem) => problem.status,
    }
}

#[tokio::test]
async fn a_stream_is_its_records_from_the_first_to_the_terminal_one() {
    let house = house();
    house.publish(record(1));
    let source: Arc<dyn Source> = Arc::<House>::clone(&house);
    let response = open(source, &stream(), Wanted::First, Arc::default()).await.expect("a stream");
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("ASCII").to_owned());
    assert_eq!(header("content-type").as_deref(), Some("text/event-stream; charset=utf-8"));
    assert_eq!(header("cache-control").as_deref(), Some("no-cache, no-transform"));
    assert_eq!(header("x-accel-buffering").as_deref(), Some("no"));
    assert_eq!(header("content-encoding").as_deref(), Some("identity"));

    let mut reader = Reader::new(response);
    assert_eq!(reader.now(), [RETRY, &framed(1)].concat());
    house.publish(record(2));
    assert_eq!(reader.next().await, Some(framed(2)));
    house.publish(entry(3, "{\"_internal\":true}\n", RecordKind::Internal));
    house.publish(record(4));
    house.publish(last(5));
    assert_eq!(reader.rest().await, [framed(4), last_framed(5)].concat());
    drop(reader);
    assert_eq!(house.hub.subscribers(), 0);
}

#[tokio::test]
async fn a_client_that_comes_back_at_any_cursor_gets_the_rest() {
    let house = house();
    (1..20).for_each(|sequence| house.append(record(sequence)));
    house.append(last(20));
    for sequence in 0..20 {
        let mut reader = connect(&house, Wanted::After(at(sequence))).await;
        assert_eq!(reader.rest().await, [all(sequence + 1, 19), last_framed(20)].concat());
    }
    assert_eq!(status(&house, Wanted::After(at(20))).await, StatusCode::NO_CONTENT);
}

#[test]
fn the_header_wins_over_the_query_and_a_cursor_over_resume() {
    let parse = |header: Option<&'static str>, query: &str| {
        let header = header.map(|value| (HeaderName::from_static("last-event-id"), HeaderValue::from_static(value)));
        let query = Query::of(&format!("/x?{query}").parse().expect("a URI")).expect("a query");
        Wanted::parse(&header.into_iter().collect(), &query).map_err(|problem| problem.status)
    };
    let after = |generation, sequence| Ok(Wanted::After(Cursor { generation, sequence }));
    assert_eq!(parse(None, ""), Ok(Wanted::First));
    assert_eq!(parse(None, "resume=true"), Ok(Wanted::State));
    assert_eq!(parse(None, "resume=false&after="), Ok(Wanted::First));
    assert_eq!(parse(None, "a=b&after=1-2"), after(1, 2));
    assert_eq!(parse(Some("1-3"), "after=1-2"), after(1, 3));
    assert_eq!(parse(Some(""), "after=1-2&resume=true"), after(1, 2));
    assert_eq!(parse(Some(""), "resume=true"), Ok(Wanted::State));
    assert_eq!(parse(Some("1-2"), "resume=true"), after(1, 2));
    for garbage in ["1", "x", "1-2-3", "1-99999999999999999999"] {
        assert_eq!(parse(Some(garbage), "after=1-2"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(parse(None, &format!("after={garbage}")), Err(StatusCode::BAD_REQUEST));
    }
}

#[tokio::test]
async fn a_stream_that_is_not_known_has_nothing_to_resume() {
    let house = house();
    house.room().job = None;
    assert_eq!(status(&house, Wanted::State).await, StatusCode::NO_CONTENT);
    assert_eq!(status(&house, Wanted::First).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&house, Wanted::After(at(1))).await, StatusCode::NOT_FOUND);
    assert_eq!(house.hub.subscribers(), 0);
}

#[tokio::test]
async fn a_full_house_says_when_to_come_again() {
    let house = House::new(HubConfig { subscribers_max: 2, subscribers_per_stream_max: 1, ..HubConfig::default() });
    let reader = connect(&house, Wanted::First).await;
    assert_eq!(status(&house, Wanted::First).await, StatusCode::TOO_MANY_REQUESTS);
    let _others = (house.hub.subscribe(&crate::types::StreamId::parse("t").expect("a stream id"), 1), reader);
    assert_eq!(status(&house, Wanted::First).await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_resumed_client_gets_the_state_and_what_follows_it() {
    let house = house();
    (1..=5).for_each(|sequence| house.publish(record(sequence)));
    house.room().snapshot = snapshot(3);
    let mut reader = connect(&house, Wanted::State).await;
    assert_eq!(reader.now(), [sync_framed(3, ""), all(4, 5)].concat());
    house.publish(last(6));
    assert_eq!(reader.rest().await, last_framed(6));
    let mut late = connect(&house, Wanted::State).await;
    assert_eq!(late.rest().await, [sync_framed(3, ""), all(4, 5), last_framed(6)].concat());
}

#[tokio::test]
async fn a_cursor_of_another_generation_or_of_the_future_is_reset() {
    let house = house();
    (1..=5).for_each(|sequence| house.publish(record(sequence)));
    house.room().snapshot = snapshot(5);
    for (generation, sequence) in [(GENERATION - 1, 3), (GENERATION + 1, 3), (GENERATION, 6)] {
        let mut reader = connect(&house, Wanted::After(Cursor { generation, sequence })).await;
        assert_eq!(reader.now(), sync_framed(5, RESET));
    }
}

#[tokio::test]
async fn a_cursor_that_is_gone_from_the_log_is_reset_once() {
    let house = house();
    (1..=9).for_each(|sequence| house.append(record(sequence)));
    house.room().entries.drain(..5);
    for (covered, follows) in [(8, 9), (2, 6)] {
        house.room().snapshot = snapshot(covered);
        let mut reader = connect(&house, Wanted::After(at(3))).await;
        assert_eq!(reader.now(), [sync_framed(covered, RESET), all(follows, 9)].concat());
    }
    let mut kept = connect(&house, Wanted::After(at(5))).await;
    assert_eq!(kept.now(), all(6, 9));
}

#[tokio::test]
async fn a_hole_in_the_log_is_never_silent() {
    let house = house();
    (1..=9).for_each(|sequence| house.append(record(sequence)));
    house.room().entries.drain(3..6);
    house.room().snapshot = snapshot(8);
    let mut reader = connect(&house, Wanted::First).await;
    assert_eq!(reader.now(), [all(1, 3), sync_framed(8, RESET), framed(9)].concat());
    house.room().snapshot = None;
    let mut reader = connect(&house, Wanted::First).await;
    let none = format!(
        "id: {GENERATION}-0\ndata: {{\"sync\":true,{RESET}\"resumeState\":null,\"generation\":{GENERATION}}}\n\n"
    );
    assert_eq!(reader.now(), [all(1, 3), none, all(1, 3), all(7, 9)].concat(), "no state: what records there are");
}

#[tokio::test]
async fn a_state_that_cannot_be_computed_is_null_and_all_records_follow() {
    let house = house();
    (1..=3).for_each(|sequence| house.publish(record(sequence)));
    let mut reader = connect(&house, Wanted::State).await;
    let none =
        format!("id: {GENERATION}-0\ndata: {{\"sync\":true,\"resumeState\":null,\"generation\":{GENERATION}}}\n\n");
    assert_eq!(reader.now(), [none, all(1, 3)].concat());
}

#[tokio::test]
async fn a_replaced_stream_tells_its_readers_and_ends() {
    let reconcile = |generation: u64| {
        let reason = "\"reconcile\":true,\"reconcileReason\":\"generation_replaced\"";
        format!("data: {{\"final\":true,{reason},\"generation\":{generation}}}\n\n")
    };
    let house = house();
    house.publish(record(1));
    let mut told_by_the_hub = connect(&house, Wanted::First).await;
    assert_eq!(told_by_the_hub.now(), framed(1));
    let mut told_by_the_log = connect(&house, Wanted::First).await;
    assert_eq!(told_by_the_log.now(), framed(1));
    house.room().job.as_mut().expect("a job").generation = GENERATION + 7;
    house.hub.wake(&stream());
    assert_eq!(told_by_the_log.rest().await, reconcile(GENERATION + 7));
    house.hub.generation(&stream(), GENERATION + 8);
    assert_eq!(told_by_the_hub.rest().await, reconcile(GENERATION + 8));
}

#[tokio::test]
async fn a_forgotten_stream_ends() {
    let house = house();
    let mut reader = connect(&house, Wanted::First).await;
    assert_eq!(reader.now(), "");
    house.room().job = None;
    house.hub.gone(&stream(), u64::MAX);
    assert_eq!(reader.rest().await, "");
    assert_eq!(house.hub.subscribers(), 0);
}

#[tokio::test]
async fn a_stopping_host_ends_its_responses() {
    let house = house();
    let mut reader = connect(&house, Wanted::First).await;
    assert_eq!(reader.now(), "");
    house.stop.cancel();
    assert_eq!(reader.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn fifteen_silent_seconds_are_a_comment() {
    let house = house();
    let mut reader = connect(&house, Wanted::First).await;
    let start = Instant::now();
    assert_eq!(reader.next().await.as_deref(), Some(": keep-alive\n\n"));
    assert_eq!(start.elapsed().as_secs(), 15);
    advance(Duration::from_secs(10)).await;
    house.publish(record(1));
    assert_eq!(reader.next().await, Some(framed(1)));
    assert_eq!(reader.next().await.as_deref(), Some(": keep-alive\n\n"));
    assert_eq!(start.elapsed().as_secs(), 40, "fifteen seconds after the frame");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_asked_again_while_the_connection_lives() {
    let house = house();
    house.append(record(1));
    house.room().failing_reads = 4;
    let mut reader = connect(&house, Wanted::First).await;
    let start = Instant::now();
    assert_eq!(reader.next().await, Some(framed(1)));
    assert_eq!(start.elapsed().as_millis(), 250 + 500 + 1_000 + 2_000);

    house.room().hangs = true;
    house.hub.wake(&stream());
    assert_eq!(reader.next().await.as_deref(), Some(": keep-alive\n\n"));
    assert_eq!(reader.next().await.as_deref(), Some(": keep-alive\n\n"));
    house.append(record(2));
    house.room().hangs = false;
    assert_eq!(reader.next().await, Some(framed(2)), "a read that hangs is begun anew with each comment");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_lacks_what_was_published_is_not_asked_in_a_loop() {
    let house = house();
    let mut reader = connect(&house, Wanted::First).await;
    assert_eq!(reader.now(), "");
    house.hub.publish(&stream(), &record(9));
    let start = Instant::now();
    assert_eq!(reader.next().await.as_deref(), Some(": keep-alive\n\n"));
    assert_eq!(start.elapsed().as_secs(), 15);
    let reads = house.reads.load(Ordering::Relaxed);
    assert!((8..20).contains(&reads), "{reads} reads in fifteen seconds");
}

#[tokio::test]
async fn what_commits_between_the_read_and_the_ring_is_sent_once() {
    let house = house();
    house.append(record(1));
    house.room().after_read = Some(record(2));
    let mut reader = connect(&house, Wanted::First).await;
    assert_eq!(reader.now(), all(1, 2));
    house.room().after_read = Some(record(3));
    house.hub.wake(&stream());
    assert_eq!(reader.now(), framed(3));
    // From another replica: it comes with a wake, or with nothing but the next publish.
    house.append(record(4));
    house.publish(record(5));
    assert_eq!(reader.now(), all(4, 5));
}

#[tokio::test]
async fn a_reader_that_joined_behind_the_ring_reads_the_log_to_its_end() {
    let house = house();
    let mut first = connect(&house, Wanted::First).await;
    house.publish(record(1));
    // Appended elsewhere, and its wake came before the second reader.
    house.append(record(2));
    house.hub.wake(&stream());
    let mut second = connect(&house, Wanted::First).await;
    assert_eq!(second.now(), all(1, 2));
    assert_eq!(first.now(), all(1, 2));
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_one_page_and_loses_nothing() {
    let house = House::new(HubConfig { ring_bytes_max: 16 * 1024, ..HubConfig::default() });
    let mut reader = connect(&house, Wanted::First).await;
    let padding = "x".repeat(1_000);
    for sequence in 1..=500 {
        let line = format!("{{\"n\":{sequence},\"p\":\"{padding}\"}}\n");
        house.publish(entry(sequence, &line, RecordKind::Event));
    }
    house.publish(last(501));
    let (mut sequence, mut frames) = (0, 0);
    while let Some(text) = reader.next().await {
        assert!(text.len() < 70 * 1024, "{} bytes", text.len());
        frames += 1;
        for id in text.lines().filter_map(|line| line.strip_prefix("id: ")) {
            sequence += 1;
            assert_eq!(id, at(sequence).to_string());
        }
    }
    assert_eq!(sequence, 501);
    assert!(frames < 20, "{frames}");
}

#[tokio::test]
async fn a_settled_log_without_a_terminal_record_ends_all_the_same() {
    let house = house();
    house.append(record(1));
    house.room().job.as_mut().expect("a job").status = Status::Error;
    let mut reader = connect(&house, Wanted::First).await;
    assert_eq!(reader.rest().await, framed(1));
}
