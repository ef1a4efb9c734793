//! Which slot an entry of `on_run_step_delta` belongs to (section 6).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Aggregator;
use super::state::Undo;
use super::value;
use crate::json::Json;

/// The tool slots of one step, in the order they came, and what is known of them (S1).
#[derive(Clone, Default)]
pub(super) struct Record {
    pub(super) lanes: Vec<Lane>,
    /// Cell to lane.
    lane_of: BTreeMap<usize, usize>,
    /// Chunk index (bits of a double without minus zero) to cell.
    pub(super) by_chunk: BTreeMap<u64, usize>,
    /// Before these no lane is free, by id or by chunk: lanes are claimed once and for all.
    search_from: [usize; 2],
}

/// One tool slot of a step.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) cell: usize,
    /// The call id it is bound to, as key.
    pub(super) id: Option<Arc<str>>,
    /// No chunk index has claimed it.
    pub(super) unclaimed: bool,
    /// Without a call id, and no chunk index has claimed it.
    pub(super) unbound: bool,
}

impl Record {
    /// Adds a lane at the end.
    pub(super) fn push(&mut self, lane: Lane) -> usize {
        self.lane_of.insert(lane.cell, self.lanes.len());
        self.lanes.push(lane);
        self.lanes.len() - 1
    }

    /// Takes back [`Record::push`].
    pub(super) fn pop(&mut self) {
        if let Some(lane) = self.lanes.pop() {
            self.lane_of.remove(&lane.cell);
        }
        self.search_from = self.search_from.map(|from| from.min(self.lanes.len()));
    }

    /// Takes back a change of a lane.
    pub(super) fn put_back(&mut self, at: usize, old: Lane) {
        self.lanes[at] = old;
        self.search_from = self.search_from.map(|from| from.min(at));
    }

    /// D5: the first lane that is unbound, or (without an id) unclaimed.
    fn free(&mut self, with_id: bool) -> Option<usize> {
        let from = &mut self.search_from[usize::from(with_id)];
        let free = |lane: &Lane| if with_id { lane.unbound } else { lane.unclaimed };
        *from += self.lanes.iter().skip(*from).take_while(|lane| !free(lane)).count();
        self.lanes.get(*from).map(|lane| lane.cell)
    }
}

impl Aggregator {
    /// D0: a step without a record, such as a message step, gets one with its own slot.
    pub(super) fn start_record(&mut self, step: usize) {
        if self.steps[step].record.is_none() {
            self.register(step, self.steps[step].cell, None);
        }
    }

    /// The record of a step, made at first use.
    pub(super) fn record(&mut self, step: usize) -> &mut Record {
        let Self { steps, undo, .. } = self;
        steps[step].record.get_or_insert_with(|| {
            undo.push(Undo::NewRecord(step));
            Record::default()
        })
    }

    /// D1-D6: the cell for an entry; none when nothing tells (D4).
    pub(super) fn route(&mut self, step: usize, chunk: Option<u64>, id: Option<Json<'_>>) -> Option<usize> {
        if let Some(cell) = self.find_call(id) {
            return Some(cell); // D1, across all steps
        }
        let record = self.record(step);
        if let Some(&cell) = chunk.and_then(|chunk| record.by_chunk.get(&chunk)) {
            return Some(cell); // D2
        }
        if let ([lane], None) = (&*record.lanes, id)
            && (chunk.is_none() || lane.id.is_some() || lane.unclaimed)
        {
            return Some(lane.cell); // D3
        }
        if chunk.is_none() && id.is_none() {
            return None; // D4
        }
        let free = record.free(id.is_some()); // D5
        Some(free.unwrap_or_else(|| self.allocate(0))) // D6
    }

    /// D7: `cell` is a tool slot of the step, and bound to `id` if there is one.
    pub(super) fn register(&mut self, step: usize, cell: usize, id: Option<Json<'_>>) {
        let record = self.record(step);
        let at = match record.lane_of.get(&cell) {
            Some(&at) => at,
            None => {
                let at = record.push(Lane { cell, id: None, unclaimed: true, unbound: true });
                self.undo.push(Undo::NewLane(step));
                at
            }
        };
        let Some(id) = id else { return };
        let key = value::key(Some(id)).unwrap_or(id.text().into());
        let lane = &self.record(step).lanes[at];
        let bound = lane.id.clone();
        let unbound = lane.unbound;
        if let Some(bound) = bound.clone().filter(|bound| **bound == *key) {
            self.bind_call(&bound, cell);
        } else {
            if let Some(bound) = &bound {
                self.forget_call(bound, cell);
            }
            let key: Arc<str> = key.into();
            self.bind_call(&key, cell);
            self.change_lane(step, at, |lane| lane.id = Some(key));
        }
        if unbound {
            self.change_lane(step, at, |lane| lane.unbound = false);
        }
    }

    /// Step 8 of section 6: the chunk index means `cell`, which nobody else may claim.
    pub(super) fn claim(&mut self, step: usize, cell: usize, chunk: u64) {
        let record = self.record(step);
        if record.by_chunk.get(&chunk) != Some(&cell) {
            let old = record.by_chunk.insert(chunk, cell);
            self.undo.push(Undo::Chunk(step, chunk, old));
        }
        let record = self.record(step);
        if let Some(&at) = record.lane_of.get(&cell)
            && (record.lanes[at].unclaimed || record.lanes[at].unbound)
        {
            self.change_lane(step, at, |lane| (lane.unclaimed, lane.unbound) = (false, false));
        }
    }

    /// The call id a slot of the step is bound to.
    pub(super) fn bound_id(&mut self, step: usize, cell: usize) -> Option<Arc<str>> {
        let record = self.record(step);
        record.lane_of.get(&cell).and_then(|&at| record.lanes[at].id.clone())
    }

    fn change_lane(&mut self, step: usize, at: usize, change: impl FnOnce(&mut Lane)) {
        let lane = &mut self.record(step).lanes[at];
        let old = lane.clone();
        change(lane);
        self.undo.push(Undo::Lane(step, at, old));
    }
}
