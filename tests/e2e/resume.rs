//! The proof: whoever leaves after any record and comes back, by cursor or by state, has what one who stayed has.
//! Zero gaps, zero repeats, and a state that holds exactly the records up to its cursor.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rejoin_core::translate::Dialect;
use rejoin_tests::client::Client;
use rejoin_tests::random::Random;
use rejoin_tests::recording::Recording;
use rejoin_tests::server::Server;
use rejoin_tests::sse::{Frame, Sse};
use rejoin_tests::wait::all;
use serde_json::json;
use tokio::task::JoinSet;

const EVENTS: &str = "/v1/streams/chat/events";
const RESUME: &str = "/v1/streams/chat/events?resume=true";

/// A stream to be read, and what everybody must have read at its end.
#[derive(Clone)]
struct Answer {
    recording: Arc<Recording>,
    client: Client,
    generation: u64,
    frames: Arc<Vec<Frame>>,
}

impl Answer {
    async fn begin(server: &Server, recording: Recording) -> Result<Self> {
        let client = server.client();
        let generation = client.create("chat", &json!({"userId": "u"})).await?;
        let frames = Arc::new(recording.frames(generation));
        Ok(Answer { recording: Arc::new(recording), client, generation, frames })
    }

    fn cursor(&self, sequence: usize) -> String {
        format!("{}-{sequence}", self.generation)
    }

    async fn complete(&self) -> Result<()> {
        self.client.post("/v1/streams/chat/complete", &json!({})).await?.expect(200)?;
        Ok(())
    }

    /// The next frame is the record of this sequence.
    async fn expect_next(&self, reader: &mut Sse, sequence: usize) -> Result<()> {
        let frame = reader.frame().await.with_context(|| format!("waiting for record {sequence}"))?;
        ensure!(frame == self.frames[sequence - 1], "{frame:?} instead of {:?}", self.frames[sequence - 1]);
        Ok(())
    }

    /// Everything after this sequence follows, once and in order, and then the end.
    async fn expect_rest(&self, reader: &mut Sse, after: usize) -> Result<()> {
        let rest = reader.rest().await?;
        let first_wrong = rest.iter().zip(&self.frames[after..]).position(|(got, wanted)| got != wanted);
        ensure!(
            rest == self.frames[after..],
            "after {after}: {} frames instead of {}, the first other one at {first_wrong:?}",
            rest.len(),
            self.frames.len() - after
        );
        Ok(())
    }

    /// Comes back by cursor. None: there is nothing to come, as after the terminal record.
    async fn by_cursor(&self, after: usize) -> Result<Option<Sse>> {
        if after < self.frames.len() {
            return self.client.follow("chat", Some(&self.cursor(after))).await.map(Some);
        }
        let cursor = self.cursor(after);
        let headers = [("accept", "text/event-stream"), ("last-event-id", cursor.as_str())];
        self.client.send("GET", EVENTS, &headers, "").await?.expect(204)?;
        Ok(None)
    }

    /// Comes back by state: the reader, and the sequence that the state covers, which is true to the records.
    async fn by_state(&self) -> Result<(Sse, usize)> {
        let mut reader = self.client.subscribe(RESUME, &[]).await?;
        let sync = reader.frame().await?;
        let covered = self.recording.covered(self.generation, &sync)?;
        Ok((reader, covered))
    }
}

/// The stream is complete. A reader takes `left_at` records, goes, and comes back either way.
async fn leaves_a_finished_answer(answer: Answer, left_at: usize) -> Result<()> {
    let before_the_end = answer.frames.len() - 1;
    let mut reader = answer.client.follow("chat", None).await?;
    for sequence in 1..=left_at {
        answer.expect_next(&mut reader, sequence).await?;
    }
    drop(reader);
    if let Some(mut back) = answer.by_cursor(left_at).await? {
        answer.expect_rest(&mut back, left_at).await?;
    }
    let (mut back, covered) = answer.by_state().await?;
    ensure!(covered == before_the_end, "the state covers {covered}, all but the terminal record is {before_the_end}");
    answer.expect_rest(&mut back, covered).await
}

async fn check_finished(recording: Recording) -> Result<()> {
    let server = Server::start().await?;
    let answer = Answer::begin(&server, recording).await?;
    let content_type = answer.recording.content_type.as_str();
    let body = answer.recording.body();
    answer.client.send("POST", EVENTS, &[("content-type", content_type)], body).await?.expect(200)?;
    answer.complete().await?;
    answer.expect_rest(&mut answer.client.follow("chat", None).await?, 0).await?;
    all(16, (0..=answer.frames.len()).map(|left_at| leaves_a_finished_answer(answer.clone(), left_at))).await?;
    server.stop().await
}

/// The producer pauses after each piece. Two readers leave and come back after every record, one by cursor, one by state;
/// after every record two more come back likewise and stay.
async fn check_live(recording: Recording) -> Result<()> {
    let server = Server::start().await?;
    let answer = Answer::begin(&server, recording).await?;
    let recording = answer.recording.clone();
    let mut stayed = answer.client.follow("chat", None).await?;
    let mut by_cursor = answer.client.follow("chat", None).await?;
    let (mut by_state, mut covered) = answer.by_state().await?;
    let upload = answer.client.upload(EVENTS, &[("content-type", &recording.content_type)]);
    let mut back: JoinSet<Result<()>> = JoinSet::new();
    let (mut upload, mut pieces) = (Some(upload), recording.pieces.iter());
    let mut sequence = 0;
    while sequence + 1 < recording.len() {
        let head = match (pieces.next(), &upload) {
            (Some((piece, head)), Some(upload)) => {
                upload.send(piece.clone()).await?;
                *head
            }
            _ => {
                // The end of the body may bring records of its own.
                let upload = upload.take().context("records are missing after the end of the body")?;
                upload.finish().await?.expect(200)?;
                recording.len() - 1
            }
        };
        while sequence < head {
            sequence += 1;
            answer.expect_next(&mut stayed, sequence).await?;
            answer.expect_next(&mut by_cursor, sequence).await?;
            by_cursor = answer.by_cursor(sequence).await?.context("it is live")?;
            let (staying, mut reader) = (answer.clone(), answer.by_cursor(sequence).await?.context("it is live")?);
            back.spawn(async move { staying.expect_rest(&mut reader, sequence).await });
            if covered < sequence {
                answer.expect_next(&mut by_state, sequence).await?;
                (by_state, covered) = answer.by_state().await?;
                ensure!(covered == head, "the producer rests at {head}, the state covers {covered}");
                let (staying, (mut reader, covered)) = (answer.clone(), answer.by_state().await?);
                back.spawn(async move { staying.expect_rest(&mut reader, covered).await });
            }
        }
    }
    if let Some(upload) = upload {
        upload.finish().await?.expect(200)?;
    }
    answer.complete().await?;
    answer.expect_rest(&mut stayed, sequence).await?;
    answer.expect_rest(&mut by_cursor, sequence).await?;
    answer.expect_rest(&mut by_state, covered).await?;
    ensure!(back.len() > recording.len(), "only {} came back", back.len());
    while let Some(done) = back.join_next().await {
        done??;
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_a_finished_answer_at_any_record_loses_and_repeats_nothing() -> Result<()> {
    check_finished(Recording::sample()?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_a_live_answer_at_any_record_loses_and_repeats_nothing() -> Result<()> {
    check_live(Recording::sample()?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_a_model_provider_s_finished_answer_at_any_record_loses_and_repeats_nothing() -> Result<()> {
    match Recording::provider("openai__chat__openai-text", Dialect::OpenaiChat)? {
        Some(recording) => check_finished(recording).await,
        None => {
            println!("SKIPPED: no recordings beside the checkout");
            Ok(())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_a_model_provider_s_live_answer_at_any_record_loses_and_repeats_nothing() -> Result<()> {
    match Recording::provider("deepseek__chat__deepseek-reasoning", Dialect::OpenaiChat)? {
        Some(recording) => check_live(recording).await,
        None => {
            println!("SKIPPED: no recordings beside the checkout");
            Ok(())
        }
    }
}

/// Leaves after a random number of records, comes back in a random way, until the end.
async fn leaves_and_returns(answer: Answer, mut random: Random) -> Result<usize> {
    let (mut reader, mut at, mut returns) = (answer.client.follow("chat", None).await?, 0, 0);
    while at < answer.frames.len() {
        for _ in 0..random.below(12).min(answer.frames.len() - at) {
            at += 1;
            answer.expect_next(&mut reader, at).await?;
        }
        returns += 1;
        if random.below(2) == 0 {
            match answer.by_cursor(at).await? {
                Some(back) => reader = back,
                None => break,
            }
        } else if at < answer.frames.len() {
            let covered;
            (reader, covered) = answer.by_state().await?;
            ensure!(covered >= at, "the state covers {covered}: record {at} was there before");
            at = covered;
        }
    }
    Ok(returns)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_while_the_producer_goes_on_loses_and_repeats_nothing() -> Result<()> {
    let server = Server::start().await?;
    let mut random = Random::new();
    for _ in 0..4 {
        let answer = Answer::begin(&server, Recording::sample()?).await?;
        let mut readers = JoinSet::new();
        for _ in 0..12 {
            readers.spawn(leaves_and_returns(answer.clone(), Random::seeded(random.number())));
        }
        let mut pace = answer.client.follow("chat", None).await?;
        let upload = answer.client.upload(EVENTS, &[("content-type", &answer.recording.content_type)]);
        for (piece, sequence) in &answer.recording.pieces {
            upload.send(piece.clone()).await?;
            // Never far ahead: readers must come back to a stream that is live.
            if random.below(3) == 0 {
                while pace.frame().await?.id != Some(answer.cursor(*sequence)) {}
            }
        }
        upload.finish().await?.expect(200)?;
        answer.complete().await?;
        let mut returns = 0;
        while let Some(done) = readers.join_next().await {
            returns += done??;
        }
        ensure!(returns > 12 * 10, "they left {returns} times only");
    }
    server.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_on_resume_is_what_the_resume_route_answers() -> Result<()> {
    let server = Server::start().await?;
    let answer = Answer::begin(&server, Recording::sample()?).await?;
    for (piece, sequence) in answer.recording.pieces.iter().take(120) {
        answer.client.append("chat", &[piece.trim_end()]).await?.expect(200)?;
        let route = answer.client.get("/v1/streams/chat/resume").await?.expect(200)?.json();
        let mut state: serde_json::Value = serde_json::from_str(&answer.recording.states[*sequence])?;
        state["cursor"] = answer.cursor(*sequence).into();
        state["generation"] = answer.generation.into();
        assert_eq!(route, state);
    }
    // The words of the records, put together by a reader that knows nothing of the fold.
    let records = answer.recording.records.iter().take(120).map(|record| serde_json::from_str(record));
    let records: Vec<serde_json::Value> = records.collect::<Result<_, _>>()?;
    let words = |event: &str, kind: &str| -> String {
        let of_event = records.iter().filter(|record| record["event"] == event);
        of_event.filter_map(|record| record["data"]["delta"]["content"][0][kind].as_str()).collect()
    };
    let state = answer.client.get("/v1/streams/chat/resume").await?.json();
    let parts = state["aggregatedContent"].as_array().context("parts")?;
    let folded = |kind: &str| -> String { parts.iter().filter_map(|part| part[kind].as_str()).collect() };
    assert_eq!(folded("text"), words("on_message_delta", "text"));
    assert_eq!(folded("think"), words("on_reasoning_delta", "think"));
    ensure!(folded("text").len() + folded("think").len() > 100, "hardly a word in {state}");
    server.stop().await
}
