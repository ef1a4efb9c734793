//! Recorded answers, with what a reader must have after each of their records: the records and states that the core
//! itself makes of them, without a server.

use anyhow::{Context, Result, anyhow, ensure};
use rejoin_core::json::Json;
use rejoin_core::lines::Framing;
use rejoin_core::session::{Fence, Session, Settled};
use rejoin_core::translate::{Dialect, Translator};
use rejoin_core::types::{Effect, Limits};

use crate::sse::Frame;

/// One answer and all that is expected of it.
pub struct Recording {
    /// The content type of its body.
    pub content_type: String,
    /// The body, cut where a producer may pause; and how many records there are then.
    pub pieces: Vec<(String, usize)>,
    /// Its records, the terminal one last.
    pub records: Vec<String>,
    /// The resume state after that many records: one for each, and one for none. The terminal record adds nothing.
    pub states: Vec<String>,
}

impl Recording {
    /// The answer that the inspector plays: records, one a line.
    pub fn sample() -> Result<Self> {
        let text = std::fs::read_to_string(crate::root().join("host/src/http/inspector/sample.jsonl"))?;
        let records: Vec<String> = text.lines().map(str::to_owned).collect();
        let pieces = records.iter().zip(1..).map(|(record, count)| (format!("{record}\n"), count)).collect();
        Recording { content_type: "application/x-ndjson".to_owned(), pieces, records, states: Vec::new() }.folded()
    }

    /// A model provider's body, chunk by chunk; none where the recordings are not beside the checkout.
    pub fn provider(name: &str, dialect: Dialect) -> Result<Option<Self>> {
        let Some(path) = crate::shared(&format!("transcripts/{name}.jsonl")) else { return Ok(None) };
        let mut translator = Translator::new(dialect);
        let (mut pieces, mut records) = (Vec::new(), Vec::new());
        let mut take = |translated: rejoin_core::translate::Translated| {
            ensure!(translated.bad.is_none(), "{:?}", translated.bad);
            records.extend(translated.records.lines().map(str::to_owned));
            Ok(records.len())
        };
        for chunk in std::fs::read_to_string(path)?.lines() {
            let piece = format!("data: {chunk}\n\n");
            let count = take(translator.push(&piece))?;
            pieces.push((piece, count));
        }
        take(translator.finish())?;
        let content_type = format!("text/event-stream; dialect={}", dialect.name());
        Recording { content_type, pieces, records, states: Vec::new() }.folded().map(Some)
    }

    /// How many records there are, the terminal one included.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The whole body.
    pub fn body(&self) -> String {
        self.pieces.iter().map(|(piece, _)| piece.as_str()).collect()
    }

    /// What one who never leaves sees of it.
    pub fn frames(&self, generation: u64) -> Vec<Frame> {
        let frame = |(record, sequence): (&String, usize)| Frame {
            id: Some(format!("{generation}-{sequence}")),
            event: None,
            data: record.clone(),
        };
        self.records.iter().zip(1..).map(frame).collect()
    }

    /// The sequence that a sync frame covers, once it is found to hold the state after exactly that many records.
    pub fn covered(&self, generation: u64, sync: &Frame) -> Result<usize> {
        let id = sync.id.as_deref().context("a sync frame has an id")?;
        let (run, sequence) = id.split_once('-').context("a cursor")?;
        ensure!(run == generation.to_string(), "{id} is not of generation {generation}");
        let sequence: usize = sequence.parse()?;
        let json = Json::parse(&sync.data).map_err(|error| anyhow!("{error}: {}", sync.data))?;
        ensure!(json.get("sync").is_some_and(Json::is_true), "no sync frame: {}", sync.data);
        ensure!(json.get("generation").and_then(Json::as_u64) == Some(generation), "{}", sync.data);
        let state = json.get("resumeState").context("resumeState")?.text();
        let expected = self.states.get(sequence).with_context(|| format!("no state covers record {sequence}"))?;
        ensure!(state == expected, "the state at {sequence} is\n{state}\ninstead of\n{expected}");
        Ok(sequence)
    }

    /// Adds the states after each record, and the terminal record that the core makes.
    fn folded(mut self) -> Result<Self> {
        let limits = Limits {
            record_bytes_max: 1 << 20,
            records_max: 1 << 20,
            log_bytes_max: 1 << 26,
            idle_ms: 60_000,
            paused_idle_ms: 60_000,
        };
        let mut session = Session::open(None, None, limits);
        session.create(1, Some("u"), None, "{}").map_err(|refusal| anyhow!("{refusal:?}"))?;
        settle(&mut session)?;
        for record in &self.records {
            self.states.push(state(&session)?);
            let pushed = session.push(1, Fence(None), Framing::Ndjson, record, None);
            ensure!(pushed.map_err(|refusal| anyhow!("{refusal:?}"))?.appended == 1, "{record}");
            settle(&mut session)?;
        }
        self.states.push(state(&session)?);
        session.complete(1, Fence(None), None).map_err(|refusal| anyhow!("{refusal:?}"))?;
        self.records.extend(settle(&mut session)?);
        ensure!(self.records.len() > 200, "only {} records", self.records.len());
        Ok(self)
    }
}

fn state(session: &Session) -> Result<String> {
    Ok(session.resume_state().map_err(|refusal| anyhow!("{refusal:?}"))?.state)
}

/// Accepts what was asked for: the records of it.
fn settle(session: &mut Session) -> Result<Vec<String>> {
    let (mut tickets, mut written) = (Vec::new(), Vec::new());
    for effect in session.take_effects() {
        match effect {
            Effect::Create { ticket, .. } => tickets.push(ticket),
            Effect::Append { ticket, records, .. } => {
                tickets.push(ticket);
                written.extend(records.into_iter().map(|record| record.json));
            }
            _ => {}
        }
    }
    let [ticket] = tickets[..] else { anyhow::bail!("{tickets:?} instead of one ticket") };
    session.settle(ticket, Settled::Accepted).map_err(|refusal| anyhow!("{refusal:?}"))?;
    session.take_effects();
    Ok(written)
}
