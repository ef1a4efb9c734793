//! Complete, abort, replace and time-out race from two hosts: one wins, the others are told who, and the log has one end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rejoin_tests::answer;
use rejoin_tests::client::{Answer, Client};
use rejoin_tests::random::Random;
use rejoin_tests::redis::Server;
use rejoin_tests::sse::Frame;
use rejoin_tests::wait::all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{blocking, turn, two};

/// How often each of complete, abort, the new generation and the time-out won.
#[derive(Default)]
struct Won([AtomicU64; 4]);

impl Won {
    fn count(&self, who: usize) {
        self.0[who].fetch_add(1, Ordering::Relaxed);
    }

    fn all(&self) -> [u64; 4] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

/// One race on a stream of its own.
struct Race {
    stream: String,
    clients: [Client; 2],
    old: u64,
    /// What a reader at the other host than the creator's saw.
    frames: Vec<Frame>,
    completed: Answer,
    aborted: Answer,
    replaced: Option<Answer>,
}

/// Runs it: the requests go out at the same time, or as far apart as `spread` allows, from alternating hosts. None: the time
/// was up before it had begun.
async fn run(
    clients: [Client; 2],
    round: usize,
    mut random: Random,
    wait: Duration,
    spread: usize,
) -> Result<Option<Race>> {
    let stream = format!("race-{round}");
    let host = |at: usize| &clients[(round + at) % 2];
    let user = json!({"userId": format!("u{round}")});
    let old = host(0).create(&stream, &user).await?;
    let began = Instant::now();
    let appended = host(1).append(&stream, &answer(1)).await?;
    if appended.status == 409 && !wait.is_zero() && began.elapsed() >= wait {
        return Ok(None);
    }
    appended.expect(200)?;
    let mut live = host(1).follow(&stream, None).await?;
    sleep(wait).await;
    let mut apart = [0; 3].map(|_| Duration::from_micros(random.below(spread * 1000 + 1) as u64));
    apart[round % 3] = Duration::ZERO;
    let replaces = round.is_multiple_of(2);
    let (completing, aborting, replacing) = (random.below(2), random.below(2), random.below(2));
    let complete = async {
        sleep(apart[0]).await;
        let path = format!("/v1/streams/{stream}/complete?generation={old}");
        host(completing).post(&path, &json!({"finalEvent": {"by": "complete"}})).await
    };
    let abort = async {
        sleep(apart[1]).await;
        host(aborting).post(&format!("/v1/streams/{stream}/abort"), &json!({"generation": old})).await
    };
    let replace = async {
        if !replaces {
            return Ok(None);
        }
        sleep(apart[2]).await;
        host(replacing).post(&format!("/v1/streams/{stream}"), &user).await.map(Some)
    };
    let (completed, aborted, replaced) = tokio::try_join!(complete, abort, replace)?;
    let frames = live.rest().await?;
    Ok(Some(Race { stream, clients, old, frames, completed, aborted, replaced }))
}

impl Race {
    /// Everybody agrees on one winner.
    async fn judge(self, won: &Won) -> Result<()> {
        let ends = self.frames.iter().filter(|frame| frame.is_terminal()).count();
        let end = self.frames.last().context("no frame")?;
        ensure!(ends == 1 && end.is_terminal(), "{ends} ends: {:?}", self.frames);
        let new = match &self.replaced {
            Some(answer) => {
                ensure!(answer.status == 201, "a new generation may replace any: {answer:?}");
                let new = answer.json()["generation"].as_u64().context("a generation")?;
                ensure!(new > self.old, "{new} after {}", self.old);
                Some(new)
            }
            None => None,
        };
        let losers = [(&self.completed, "not_active"), (&self.aborted, "already_settled")];
        let mut named = Vec::new();
        for (answer, own) in losers {
            // Told who won: the status, or the new generation.
            match (answer.status, answer.problem().1.as_str()) {
                (200, _) => {}
                (409, "generation_replaced") => {
                    ensure!(new.is_some_and(|new| answer.json()["generation"] == new), "{answer:?} and {new:?}");
                }
                (409, code) if code == own => named.push(answer.json()["jobStatus"].clone()),
                other => bail!("{other:?}: {answer:?}"),
            }
        }
        let winner = match (self.completed.status, self.aborted.status) {
            (200, 409) => 0,
            (409, 200) => 1,
            (409, 409) if named.iter().any(|status| status == "error") => 3,
            (409, 409) => match self.frames.last().map(Frame::json) {
                // A new generation, unless the time was up before it came.
                Some(end) if end["error"].is_string() => 3,
                _ => 2,
            },
            both => bail!("{both:?}"),
        };
        let status = ["complete", "aborted", "", "error"][winner];
        ensure!(named.iter().all(|named| named == status), "{named:?}, but the winner is {status:?}");
        ensure!(winner != 2 || new.is_some(), "nobody won");
        won.count(winner);
        self.end_of(winner, &end.json(), new)?;
        self.log(status, new).await.with_context(|| format!("{} won by {winner}", self.stream))
    }

    /// A reader may learn of the new generation before it has read the end of the old one; never of another end.
    fn end_of(&self, winner: usize, end: &Value, new: Option<u64>) -> Result<()> {
        if end["reconcile"] == true {
            ensure!(new.is_some_and(|new| end["generation"] == new), "{end} and {new:?}");
            return Ok(());
        }
        let right = match winner {
            0 => end["by"] == "complete",
            1 => end["aborted"] == true && *end == self.aborted.json()["finalEvent"],
            3 => end["error"].as_str().is_some_and(|error| error.contains("timed out")),
            _ => false,
        };
        ensure!(right, "{end} is the end, but {winner} won");
        Ok(())
    }

    /// Both hosts say the same of the present generation.
    async fn log(&self, status: &str, new: Option<u64>) -> Result<()> {
        for client in &self.clients {
            let (state, log) = (client.state(&self.stream).await?, client.records(&self.stream).await?);
            match new {
                Some(new) => {
                    ensure!(state["generation"] == new, "{state} instead of {new}");
                    // Where jobs are timed out soon, the new one may have been, a moment ago.
                    let timed_out = log.len() == 1 && log[0].contains("timed out");
                    ensure!(timed_out || log.is_empty(), "the new log: {log:?}");
                }
                None => {
                    ensure!(state["generation"] == self.old && state["status"] == status, "{state}, not {status}");
                    let end = self.frames.last().map(|frame| &frame.data);
                    ensure!(log.len() == 3 && log.last() == end, "the log: {log:?}");
                }
            }
        }
        Ok(())
    }
}

async fn rounds(
    arguments: &[&str],
    rounds: usize,
    at_a_time: usize,
    wait_ms: u64,
    spread_ms: usize,
) -> Result<[u64; 4]> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let hosts = two(&redis.url(), arguments).await?;
    let (won, mut random) = (Arc::new(Won::default()), Random::new());
    let races = (0..rounds).map(|round| {
        let (clients, won) = (hosts.each_ref().map(|host| host.client()), won.clone());
        let random = Random::seeded(random.number());
        async move {
            let wait = Duration::from_millis(wait_ms);
            let Some(race) = run(clients, round, random, wait, spread_ms).await? else { return Ok(()) };
            race.judge(&won).await.with_context(|| format!("round {round}"))
        }
    });
    all(at_a_time, races).await?;
    let [completed, aborted, replaced, timed_out] = won.all();
    println!(
        "complete won {completed} times, abort {aborted}, the new generation {replaced}, the time-out {timed_out}"
    );
    Ok(won.all())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_complete_abort_and_replace_at_two_hosts_one_wins_a_thousand_times() -> Result<()> {
    let won = rounds(&[], 1000, 8, 0, 3).await?;
    ensure!(won[..3].iter().all(|won| *won > 0) && won[3] == 0, "{won:?}");
    Ok(())
}

/// Both hosts sweep each second; what is late by half a second is settled by either, unless somebody settles it right then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_complete_abort_replace_and_time_out_at_two_hosts_one_wins() -> Result<()> {
    let mut sum = [0; 4];
    // Who wins how often is a matter of clocks, and the machine may stand still; that one wins, and only one, is not.
    for _ in 0..5 {
        let won = rounds(&["--job-idle", "500ms"], 200, 100, 500, 1200).await?;
        sum.iter_mut().zip(won).for_each(|(sum, won)| *sum += won);
        if sum.iter().all(|won| *won > 0) {
            return Ok(());
        }
    }
    bail!("{sum:?}")
}

/// The state comes from the other host's row, checkpoint and log, between which the end may fall. It never contains the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_by_state_while_the_other_host_completes_has_the_end_after_it() -> Result<()> {
    let _turn = turn().await;
    let redis = blocking(Server::start)?;
    let hosts = two(&redis.url(), &[]).await?;
    let mut random = Random::new();
    let rounds = (0..500).map(|round| {
        let [near, far] = hosts.each_ref().map(|host| host.client());
        let apart = Duration::from_micros(random.below(4000) as u64);
        async move {
            let stream = format!("end-{round}");
            near.create(&stream, &json!({"userId": format!("u{round}")})).await?;
            near.append(&stream, &answer(3)).await?.expect(200)?;
            let (body, path) = (json!({}), format!("/v1/streams/{stream}/complete"));
            let (completed, frames) = tokio::join!(near.post(&path, &body), async {
                sleep(apart).await;
                far.subscribe(&format!("/v1/streams/{stream}/events?resume=true"), &[]).await?.rest().await
            });
            completed?.expect(200)?;
            let frames = frames?;
            let ends = frames.iter().filter(|frame| frame.is_terminal()).count();
            ensure!(frames.len() == 2 && ends == 1 && frames[1].is_terminal(), "round {round}: {frames:?}");
            Ok(())
        }
    });
    all(4, rounds).await?;
    Ok(())
}
