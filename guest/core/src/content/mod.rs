//! The fold: from the events of one generation to the list of content parts that is stored and shown.
//!
//! Ported from `createContentAggregator` of `@librechat/agents` **3.9.2** together with the event filter of
//! `getContentParts`. Rule ids in this module (S3, C1, …) are those of its written semantics: the case names in
//! `tests/cases/aggregator` start with them. It is a pure left fold: every prefix of the log has an answer.
//!
//! | file | what it knows |
//! |---|---|
//! | `step` | the six events (S7-S10, D, E, A) |
//! | `route` | which slot a tool call chunk belongs to (D1-D8) |
//! | `update`, `call` | one part into one slot (U, T, K, M, C) |
//! | `part` | what is stored, and how it is written |
//! | `state` | slots, ids, attribution (S1-S6, X), and how a change is taken back |
//! | `save` | the whole fold as JSON |
//! | `value` | JavaScript notions: sameness, blanks, values as text |
//!
//! # Where it deviates from the reference
//!
//! * Q20: a producer index that is a whole number from 0 up to a million is a position, in every spelling (`2.0`).
//!   Everything else (absent, null, `"2"`, negative, fractional, larger) means "append", remembered under its own
//!   value. Nothing vanishes, nothing is poisoned, nothing is allocated by index.
//! * Q23: an event on which the reference throws is dropped as a whole and the rest is kept.
//! * Q25: lists grow in place. Q26: values are values; nobody can change a part from outside.
//! * M1: a summary whose `content` is a string counts as one without content (the reference spreads it into letters).
//! * A: an `agent_update` that is no object is ignored (the reference spreads a string into letters).
//! * I1: an `image_url` part on a slot that holds a string (after M3) leaves the string.
//! * U5, T, K: a stored type that is a list with items accepts no part, a stored text that is a list counts as ""
//!   (the reference joins the items). Both need a seed or a summary completion (M3) of that shape.
//! * Numbers keep their digits (`12345678901234567890`, `1.0`) where the reference prints a double.
//!
//! Copied though marked optional: absent ids match absent ids (Q21), numbers and truth values as arguments become
//! text (Q22), attribution in part bodies reaches the slot (Q24).

mod call;
#[cfg(test)]
mod garbage;
mod part;
mod route;
mod save;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod update;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::json::{Json, Kind};

use part::{Meta, Part};
use state::{Cell, Fold, Step, Undo};

/// The fold of one generation's events.
#[derive(Clone, Default)]
pub struct Aggregator {
    /// S1 `parts` and `meta`: allocated slots in order, holes left out.
    cells: Vec<Cell>,
    /// S1: the lowest slot never allocated.
    next: u64,
    /// One past the last cell with a part.
    written: usize,
    /// S4: how far the scan for ids and attribution has come, in cells.
    indexed: usize,
    /// S1 `steps` and `tools`.
    steps: Vec<Step>,
    step_at: BTreeMap<Arc<str>, usize>,
    /// The step found last: deltas come in runs.
    last_step: usize,
    /// S1: producer index to cell.
    source: BTreeMap<Arc<str>, usize>,
    /// S1: tool call id to cell.
    call: BTreeMap<Arc<str>, usize>,
    /// The journal of the event under way; empty between events.
    undo: Vec<Undo>,
}

impl Aggregator {
    /// A fold of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A fold that starts from parts that are already there (section 9). `parts`: a JSON list; anything else is none.
    pub fn seeded(parts: Json<'_>) -> Self {
        let mut fold = Self::new();
        for (slot, part) in (0u64..).zip(parts.items()) {
            fold.cells.push(Cell { slot, part: Some(Part::raw(part)), meta: Meta::default() });
            fold.next = slot + 1;
        }
        fold.written = fold.cells.len();
        fold
    }

    /// Folds one record `{"event", "data"}`. Any other value, any other event and every malformed event changes
    /// nothing (F1, F4, Q23).
    pub fn push(&mut self, record: Json<'_>) {
        let [event, data] = record.pick(["event", "data"]);
        if let (Some(event), Some(data)) = (event.and_then(Json::literal), data) {
            self.push_event(event, data);
        }
    }

    /// [`Aggregator::push`] for a caller who has taken the record apart. `event`: the inside of the string, undecoded.
    pub fn push_event(&mut self, event: &str, data: Json<'_>) {
        self.try_event(event, data);
    }

    /// False when the reference throws on the event; then nothing has changed.
    fn try_event(&mut self, event: &str, data: Json<'_>) -> bool {
        let Some(fold) = handler(event).filter(|_| data.is_truthy()) else { return true };
        let mark = self.mark();
        let done = fold(self, data).is_ok();
        if !done {
            self.roll_back(&mark);
        }
        self.undo.clear();
        self.undo.shrink_to(64);
        done
    }

    /// The content parts as a JSON list: ascending slots without holes (F3), one line if every record was one.
    pub fn parts(&self) -> String {
        let mut out = String::with_capacity(self.cells.iter().flat_map(|c| &c.part).map(Part::size_hint).sum());
        self.write_parts(&mut out);
        out
    }

    /// Appends what [`Aggregator::parts`] returns.
    pub fn write_parts(&self, out: &mut String) {
        out.push('[');
        for (at, part) in self.cells.iter().flat_map(|cell| &cell.part).enumerate() {
            out.push_str(if at == 0 { "" } else { "," });
            part.write(out);
        }
        out.push(']');
    }

    /// The text of all `text` parts, joined without a separator and trimmed as JavaScript trims.
    ///
    /// Shape: the inside of a JSON string, in escaped form without quotes.
    pub fn text(&self) -> String {
        let mut all = String::new();
        self.cells.iter().flat_map(|cell| &cell.part).filter_map(Part::text).for_each(|text| all.push_str(text));
        match value::trim(&all) {
            trimmed if trimmed.len() == all.len() => all,
            trimmed => trimmed.to_owned(),
        }
    }

    /// The whole fold as one JSON object, from which [`Aggregator::restore`] continues with the same results.
    pub fn save(&self) -> String {
        let mut out = String::with_capacity(self.size_hint());
        self.write_save(&mut out);
        out
    }

    /// Bytes that a save takes, roughly. Time: the number of parts and steps, whatever their size.
    pub fn size_hint(&self) -> usize {
        let parts: usize = self.cells.iter().flat_map(|cell| &cell.part).map(Part::size_hint).sum();
        let lanes: usize = self.steps.iter().flat_map(|step| &step.record).map(|record| record.lanes.len()).sum();
        let keys: usize = self.steps.iter().map(|step| step.key.len()).sum();
        128 + parts
            + keys
            + 24 * self.cells.len()
            + 32 * self.steps.len()
            + 48 * (lanes + self.source.len() + self.call.len())
    }
}

/// What folds an event of this name (undecoded); none for every other name (F1, F4).
fn handler(event: &str) -> Option<fn(&mut Aggregator, Json<'_>) -> Fold> {
    Some(match &*value::canonical(event) {
        "on_message_delta" | "on_reasoning_delta" => Aggregator::message_delta, // U8
        "on_run_step_delta" => Aggregator::step_delta,
        "on_run_step" => Aggregator::run_step,
        "on_run_step_completed" => Aggregator::step_completed,
        "on_agent_update" => Aggregator::agent_update,
        _ => {
            #[cfg(feature = "test-traps")]
            test_trap(event);
            return None;
        }
    })
}

/// One line of the checking protocol, natively: a list of records, or `{"seed": [parts], "events": [records]}`;
/// answers the parts. Any other JSON value counts as no records.
pub fn fold_line(line: Json<'_>) -> String {
    let (mut fold, events) = match line.kind() {
        Kind::Object => {
            let [seed, events] = line.pick(["seed", "events"]);
            (seed.map_or_else(Aggregator::new, Aggregator::seeded), events.unwrap_or(Json::NULL))
        }
        _ => (Aggregator::new(), line),
    };
    events.items().for_each(|event| fold.push(event));
    fold.parts()
}

/// How the host's tests reach a trap, an endless loop and the end of memory inside the sandbox.
#[cfg(feature = "test-traps")]
fn test_trap(event: &str) {
    match event {
        "test_trap_panic" => panic!("test_trap_panic"),
        "test_trap_spin" => loop {
            std::hint::black_box(());
        },
        "test_trap_memory" => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1; 1 << 20]));
            }
        }
        _ => {}
    }
}
