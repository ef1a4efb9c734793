//! A reader that leaves and comes back to any host, by its cursor or by the state, and checks every frame.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::random::Random;
use rejoin_tests::sse::{Frame, Sse};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::load::{Counts, Load, Stream};

/// It stays between a tenth of it and all of it.
const STAY_MAX_MS: usize = 1500;
const AGAIN_AFTER: Duration = Duration::from_millis(50);
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// Reads the stream to its end. Errors: anything is missing, repeated, out of order or of another stream.
pub(super) async fn read(load: Load, stream: Arc<Stream>, counts: Arc<Counts>, mut random: Random) -> Result<()> {
    let hosts: Vec<Client> = load.hosts.iter().map(|host| Client::new(*host)).collect();
    let mut known = Known { stream, counts, forgets: load.forgets, records: 0, sequence: 0, history: String::new() };
    loop {
        let host = random.below(hosts.len());
        let by_state = random.below(4) == 0;
        known.history.push_str(&format!(
            " | {}{host} at {}",
            if by_state { "state@" } else { "cursor@" },
            known.sequence
        ));
        let opening = known.open(&hosts[host], by_state);
        let Some(mut sse) = timeout(CONNECT_MAX, opening).await.unwrap_or(Ok(None))? else {
            known.counts.add(|counts| &counts.interruptions, 1);
            sleep(AGAIN_AFTER).await;
            continue;
        };
        let stay = STAY_MAX_MS / 10 + random.below(STAY_MAX_MS * 9 / 10);
        let end = Instant::now() + Duration::from_millis(stay as u64);
        loop {
            match timeout_at(end, sse.next()).await {
                Err(_) => break,
                Ok(Ok(Some(frame))) => {
                    if known.take(&frame, by_state).with_context(|| format!("{frame:?} came to {known:?}"))? {
                        return Ok(());
                    }
                }
                // Cut, in order or not.
                Ok(Ok(None) | Err(_)) => {
                    known.counts.add(|counts| &counts.interruptions, 1);
                    sleep(AGAIN_AFTER).await;
                    break;
                }
            }
        }
        known.counts.add(|counts| &counts.returns, 1);
    }
}

/// What a reader has.
struct Known {
    stream: Arc<Stream>,
    counts: Arc<Counts>,
    forgets: bool,
    /// This many records, by themselves or in a state.
    records: usize,
    /// The last place of it.
    sequence: u64,
    /// The ways that it came, for who looks for a fault.
    history: String,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.stream.name;
        write!(f, "a reader of {name} with {} records up to {}{}", self.records, self.sequence, self.history)
    }
}

impl Known {
    /// None: not now.
    async fn open(&self, client: &Client, by_state: bool) -> Result<Option<Sse>> {
        let path = format!("/v1/streams/{}/events", self.stream.name);
        let cursor = format!("{}-{}", self.stream.generation, self.sequence);
        let opened = match by_state {
            true => client.subscribe(&format!("{path}?resume=true"), &[]).await,
            false if self.sequence == 0 => client.subscribe(&path, &[]).await,
            false => client.subscribe(&path, &[("last-event-id", &cursor)]).await,
        };
        match opened {
            Ok(sse) => Ok(Some(sse)),
            Err(error) => {
                let text = format!("{error:#}");
                // No answer at all, "not now", or "unknown" where all was forgotten and not yet given back. Any other answer
                // says that the stream is not what it is.
                let for_now = match text.split_once("no stream but ") {
                    None => true,
                    Some((_, answer)) if self.forgets => {
                        ["503", "404", "204"].iter().any(|code| answer.starts_with(code))
                    }
                    Some((_, answer)) => answer.starts_with("503"),
                };
                ensure!(for_now, "{self:?}: {text}");
                Ok(None)
            }
        }
    }

    /// True after the terminal record.
    fn take(&mut self, frame: &Frame, by_state: bool) -> Result<bool> {
        let id = frame.id.as_deref().context("no id")?;
        let (generation, sequence) = id.split_once('-').context("no cursor")?;
        ensure!(generation == self.stream.generation.to_string(), "another generation");
        let sequence: u64 = sequence.parse()?;
        if frame.data.starts_with("{\"sync\"") {
            self.sync(&frame.json(), sequence, by_state)?;
            return Ok(false);
        }
        let expected = self.stream.records.get(self.records).context("more than there is")?;
        ensure!(frame.data == *expected, "not the next record, which is {expected}");
        ensure!(sequence > self.sequence, "a cursor that does not grow");
        ensure!(self.forgets || sequence == self.sequence + 1, "a jump");
        self.stream.note(sequence, self.records)?;
        (self.records, self.sequence) = (self.records + 1, sequence);
        let ended = self.records == self.stream.records.len();
        ensure!(frame.is_terminal() == ended, "an end that is none");
        Ok(ended)
    }

    /// A whole state: it holds what the producer said up to some record, and nothing else.
    fn sync(&mut self, sync: &Value, sequence: u64, by_state: bool) -> Result<()> {
        let state = &sync["resumeState"];
        let parts = state["aggregatedContent"].as_array().context("aggregatedContent")?;
        let text: String = parts.iter().filter_map(|part| part["text"].as_str()).collect();
        let steps = state["runSteps"].as_array().map_or(0, Vec::len);
        let records = match (steps, text.matches(' ').count()) {
            (0, 0) => 0,
            (_, words) => words + 1,
        };
        ensure!(text == self.stream.text(records), "a state that nobody said: {text}");
        let reset = sync["reset"] == true;
        if reset {
            self.counts.add(|counts| &counts.resets, 1);
        }
        match (self.forgets, by_state || reset) {
            (_, false) => bail!("a state that nobody asked for"),
            (false, true) => {
                ensure!(!reset, "a reset, although the store forgets nothing");
                ensure!(records >= self.records, "a state of {records} records only");
                ensure!(sequence == records as u64, "a state of {records} records at {sequence}");
            }
            // It may first hear of what is left, and be reset again when the writer has brought the rest back.
            (true, true) => {}
        }
        (self.records, self.sequence) = (records, sequence);
        Ok(())
    }
}

/// Who checks the checker.
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(forgets: bool) -> Known {
        let stream = Arc::new(Stream::new("s".to_owned(), 7, 10));
        Known { stream, counts: Arc::default(), forgets, records: 0, sequence: 0, history: String::new() }
    }

    fn frame(known: &Known, record: usize, sequence: u64) -> Frame {
        Frame { id: Some(format!("7-{sequence}")), event: None, data: known.stream.records[record].clone() }
    }

    fn sync(known: &Known, records: usize, sequence: u64, reset: bool) -> Frame {
        let text = known.stream.text(records);
        let state = json!({"runSteps": [{}], "aggregatedContent": [{"type": "text", "text": text}]});
        let data = json!({"sync": true, "reset": reset, "resumeState": state, "generation": 7}).to_string();
        // The member that tells it apart comes first, as hosts write it.
        let data = format!("{{\"sync\":true,{}", data.trim_start_matches('{'));
        Frame { id: Some(format!("7-{sequence}")), event: None, data }
    }

    /// The first three records come as they should. Whether what comes then is taken.
    fn takes(forgets: bool, then: impl Fn(&Known) -> Frame, by_state: bool) -> bool {
        let mut known = known(forgets);
        for record in 0..3 {
            let next = frame(&known, record, record as u64 + 1);
            known.take(&next, false).expect("it is the next record");
        }
        let then = then(&known);
        known.take(&then, by_state).is_ok()
    }

    #[test]
    fn what_is_missing_repeated_or_of_another_place_is_seen() {
        for forgets in [false, true] {
            assert!(takes(forgets, |known| frame(known, 3, 4), false));
            assert!(!takes(forgets, |known| frame(known, 2, 3), false), "repeated");
            assert!(!takes(forgets, |known| frame(known, 2, 4), false), "repeated at another place");
            assert!(!takes(forgets, |known| frame(known, 4, 5), false), "a silent hole");
            assert!(!takes(forgets, |known| frame(known, 3, 3), false), "a cursor that was another record");
            assert!(!takes(forgets, |known| Frame { id: Some("6-4".to_owned()), ..frame(known, 3, 4) }, false));
        }
        assert!(!takes(false, |known| frame(known, 3, 9), false), "a jump");
        assert!(takes(true, |known| frame(known, 3, 9), false), "a jump that the state before it explains");
    }

    #[test]
    fn a_state_that_is_false_or_that_nobody_wanted_is_seen() {
        assert!(takes(false, |known| sync(known, 5, 5, false), true));
        assert!(!takes(false, |known| sync(known, 5, 5, false), false), "unasked");
        assert!(!takes(false, |known| sync(known, 5, 6, false), true), "it covers less than it says");
        assert!(!takes(false, |known| sync(known, 2, 2, false), true), "it has less than the reader");
        assert!(!takes(false, |known| sync(known, 5, 5, true), false), "a reset");
        assert!(takes(true, |known| sync(known, 2, 2, true), false), "a reset where the store may forget");
        let other = |known: &Known| Frame {
            data: sync(known, 5, 5, false).data.replace("sw2", "sw1"),
            ..sync(known, 5, 5, false)
        };
        assert!(!takes(false, other, true), "words that nobody said");
    }
}
