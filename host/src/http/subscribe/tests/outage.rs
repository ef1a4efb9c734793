//! A store that forgets, and one that is away.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_state_ahead_of_a_log_that_forgot_is_sent_once() {
    let house = house();
    (1..=5).for_each(|sequence| house.publish(record(sequence)));
    let mut reader = connect(&house, Wanted::First).await;
    assert_eq!(reader.now(), all(1, 5));
    {
        let mut room = house.room();
        room.entries.truncate(2);
        room.job.as_mut().expect("a job").head = 2;
        room.snapshot = snapshot(5);
    }
    house.hub.wake(&stream());
    let start = Instant::now();
    assert_eq!(reader.next().await, Some(sync_framed(5, RESET)));
    assert_eq!(start.elapsed().as_secs(), 3, "a session that is ahead has its chance first");
    assert_eq!(reader.now(), "");
    advance(Duration::from_secs(10)).await;
    assert_eq!(reader.now(), "");
    house.publish(record(6));
    advance(Duration::from_secs(2)).await;
    assert_eq!(reader.now(), framed(6));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_given_back_what_it_forgot_resets_nobody() {
    let house = house();
    (1..=5).for_each(|sequence| house.publish(record(sequence)));
    house.room().snapshot = snapshot(5);
    let mut reader = connect(&house, Wanted::First).await;
    assert_eq!(reader.now(), all(1, 5));
    let forgotten = house.room().entries.split_off(2);
    house.room().job.as_mut().expect("a job").head = 2;
    house.hub.wake(&stream());
    assert_eq!(reader.now(), "");
    advance(Duration::from_secs(2)).await;
    assert_eq!(reader.now(), "");
    house.append(forgotten[2].clone());
    house.publish(record(6));
    assert_eq!(reader.next().await, Some(framed(6)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_stays_connected_while_the_store_is_away() {
    let house = house();
    house.publish(record(1));
    let mut reader = connect(&house, Wanted::First).await;
    assert_eq!(reader.now(), framed(1));
    house.room().failing_reads = usize::MAX;
    house.hub.wake(&stream());
    for _ in 0..20 {
        assert_eq!(reader.next().await.as_deref(), Some(": keep-alive\n\n"));
    }
    house.append(record(2));
    house.room().failing_reads = 0;
    assert_eq!(reader.next().await, Some(framed(2)));
}
