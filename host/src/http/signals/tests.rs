use super::*;
use crate::http::subscribe::fake::{GENERATION, House, Reader, at, entry, record, stream};
use crate::sse::HubConfig;
use crate::types::RecordKind;

const RETRY: &str = "retry: 1000\n\n";

fn house() -> Arc<House> {
    House::new(HubConfig::default())
}

async fn listen(house: &Arc<House>, wanted: Option<u64>) -> Reader {
    let source: Arc<dyn Source> = Arc::<House>::clone(house);
    Reader::new(open(source, &stream(), wanted, Arc::default()).await.expect("a stream"))
}

fn framed(name: &str, members: &str) -> String {
    format!("event: {name}\ndata: {{\"signal\":\"{name}\",\"generation\":{GENERATION}{members}}}\n\n")
}

#[tokio::test]
async fn a_producer_hears_the_first_reader_and_the_last_one() {
    let house = house();
    house.room().snapshot = Some(crate::engine::Snapshot { at: at(0), state: String::new() });
    let mut early = listen(&house, None).await;
    assert_eq!(early.now(), RETRY);
    let reader = house.hub.subscribe(&stream(), GENERATION).expect("room");
    assert_eq!(early.now(), framed("ready", ""));
    let mut late = listen(&house, Some(GENERATION)).await;
    assert_eq!(late.now(), [RETRY, &framed("ready", "")].concat());
    drop(reader);
    let left = framed("subscribers_left", ",\"content\":[{\"type\":\"text\"}]");
    assert_eq!([early.now(), late.now()], [left.clone(), left]);
    house.room().snapshot = None;
    drop(house.hub.subscribe(&stream(), GENERATION));
    assert_eq!(early.now(), [framed("ready", ""), framed("subscribers_left", ",\"content\":null")].concat());
}

#[tokio::test]
async fn readers_of_all_replicas_are_told_once_each_time_that_it_changes() {
    let house = House::new(HubConfig { shared: true, ..HubConfig::default() });
    house.room().readers = Some(true);
    let mut there = listen(&house, None).await;
    assert_eq!(there.now(), [RETRY, &framed("ready", "")].concat());
    house.room().readers = Some(false);
    let mut none = listen(&house, None).await;
    assert_eq!(none.now(), RETRY);
    let say = |signal: Signal| house.hub.signal(&stream(), crate::sse::Hub::EVERY_GENERATION, signal);
    (0..3).for_each(|_| say(Signal::Ready));
    assert_eq!((there.now(), none.now()), (String::new(), framed("ready", "")));
    (0..3).for_each(|_| say(Signal::SubscribersLeft));
    let left = framed("subscribers_left", ",\"content\":null");
    assert_eq!((there.now(), none.now()), (left.clone(), left));
    let reader = house.hub.subscribe(&stream(), GENERATION).expect("room");
    drop(reader);
    assert_eq!((there.now(), none.now()), Default::default(), "a reader here is told by the store");
}

#[tokio::test]
async fn an_abort_is_the_last_signal_whenever_the_producer_comes() {
    let house = house();
    let mut early = listen(&house, None).await;
    house.append(entry(1, "{\"final\":true}\n", RecordKind::Final));
    house.room().job.as_mut().expect("a job").status = Status::Aborted;
    house.hub.signal(&stream(), GENERATION, Signal::Abort);
    let expected = [RETRY, &framed("abort", "")].concat();
    assert_eq!(early.rest().await, expected);
    assert_eq!(listen(&house, None).await.rest().await, expected);
}

#[tokio::test]
async fn a_replaced_generation_is_told_by_whom() {
    let house = house();
    let expected = [RETRY, &framed("replaced", ",\"by\":1789000000007")].concat();
    let mut by_signal = listen(&house, None).await;
    house.hub.signal(&stream(), GENERATION, Signal::Replaced(GENERATION + 7));
    assert_eq!(by_signal.rest().await, expected);
    let mut by_the_next_one = listen(&house, None).await;
    house.hub.signal(&stream(), GENERATION - 1, Signal::Abort);
    house.hub.signal(&stream(), GENERATION + 7, Signal::Ready);
    assert_eq!(by_the_next_one.rest().await, expected);
    house.room().job.as_mut().expect("a job").generation = GENERATION + 7;
    assert_eq!(listen(&house, Some(GENERATION)).await.rest().await, expected);
}

#[tokio::test]
async fn the_end_of_the_job_is_the_end_of_its_signals() {
    let house = house();
    let mut early = listen(&house, None).await;
    house.publish(record(1));
    house.publish(entry(2, "{\"final\":true}\n", RecordKind::Final));
    let expected = [RETRY, &framed("settled", ",\"status\":\"complete\"")].concat();
    assert_eq!(early.rest().await, expected);
    assert_eq!(listen(&house, None).await.rest().await, expected);
}

#[tokio::test]
async fn an_answer_is_passed_on() {
    let house = house();
    let mut reader = listen(&house, None).await;
    let answer = r#"{"actionId":"a","decision":{"yes":true}}"#;
    house.hub.signal(&stream(), GENERATION, Signal::Resolved(answer.to_owned()));
    let frame = framed("action_resolved", ",\"actionId\":\"a\",\"decision\":{\"yes\":true}");
    assert_eq!(reader.now(), [RETRY, &frame].concat());
}

#[tokio::test]
async fn a_producer_that_missed_signals_learns_where_things_stand() {
    let house = house();
    let mut reader = listen(&house, None).await;
    let _reader = house.hub.subscribe(&stream(), GENERATION).expect("room");
    house.hub.signal(&stream(), GENERATION, Signal::Abort);
    for _ in 0..40 {
        house.hub.signal(&stream(), GENERATION - 1, Signal::Ready);
    }
    house.room().job.as_mut().expect("a job").status = Status::Aborted;
    assert_eq!(reader.rest().await, [RETRY, &framed("ready", ""), &framed("abort", "")].concat());
}

#[tokio::test(start_paused = true)]
async fn a_lost_signal_costs_one_keep_alive() {
    let house = house();
    let mut reader = listen(&house, None).await;
    assert_eq!(reader.now(), RETRY);
    house.room().job.as_mut().expect("a job").status = Status::Error;
    let expected = [": keep-alive\n\n", &framed("settled", ",\"status\":\"error\"")].concat();
    assert_eq!(reader.rest().await, expected);
}

#[tokio::test]
async fn a_forgotten_stream_and_a_stopping_host_end_the_signals() {
    let house = house();
    let mut forgotten = listen(&house, None).await;
    house.hub.gone(&stream(), u64::MAX);
    assert_eq!(forgotten.rest().await, RETRY);
    let mut stopped = listen(&house, None).await;
    house.stop.cancel();
    assert_eq!(stopped.rest().await, RETRY);
    house.room().job = None;
    let source: Arc<dyn Source> = Arc::<House>::clone(&house);
    let problem = open(source, &stream(), None, Arc::default()).await.expect_err("not found");
    assert_eq!(problem.status, 404);
}
