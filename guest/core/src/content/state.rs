//! The fold's state, changed only through the functions here: each notes how to take itself back.
//!
//! The reference throws in the middle of malformed events. Here such an event must leave nothing behind (Q23),
//! and whether it throws depends on what its own beginning has done. So every event runs as a transaction:
//! changes go into a journal of moved-out old values (no copies), and a throw plays it backwards.

use std::sync::Arc;

use super::Aggregator;
use super::part::{Body, Meta, Part};
use super::route::{Lane, Record};
use super::value;
use crate::json::Json;

/// Producer indexes from here on are appended instead of addressed (Q20).
const INDEX_MAX: f64 = 1e6;

/// The reference throws a TypeError here: the event is dropped as a whole (section 11).
pub(super) struct Thrown;

/// How one event ended.
pub(super) type Fold = Result<(), Thrown>;

/// A slot that was allocated. `cells` is ordered by slot because slots only grow (S2), so holes take no room and
/// a cell's position never changes.
#[derive(Clone)]
pub(super) struct Cell {
    /// Position in the reference's sparse list.
    pub(super) slot: u64,
    pub(super) part: Option<Part>,
    pub(super) meta: Meta,
}

/// A run step that was announced.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) key: Arc<str>,
    pub(super) cell: usize,
    pub(super) meta: Meta,
    pub(super) record: Option<Record>,
}

/// One change, to be taken back.
#[derive(Clone)]
pub(super) enum Undo {
    /// A part was replaced; its buffers may have moved on into the new one, then these were their lengths.
    Part {
        cell: usize,
        old: Option<Part>,
        moved: [Option<usize>; 2],
    },
    Shown(usize, Meta),
    Meta(usize, Meta),
    Source(Arc<str>, Option<usize>),
    Call(Arc<str>, Option<usize>),
    NewStep,
    Step(usize, usize, Meta),
    NewRecord(usize),
    NewLane(usize),
    Lane(usize, usize, Lane),
    Chunk(usize, u64, Option<usize>),
}

/// The counters at the start of an event.
pub(super) struct Mark {
    cells: usize,
    next: u64,
    written: usize,
    indexed: usize,
}

impl Aggregator {
    pub(super) fn mark(&self) -> Mark {
        Mark { cells: self.cells.len(), next: self.next, written: self.written, indexed: self.indexed }
    }

    /// Takes back everything since `mark`.
    pub(super) fn roll_back(&mut self, mark: &Mark) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Part { cell, mut old, moved } => {
                    let mut new = self.cells[cell].part.take();
                    if let (Some(old), Some(new)) = (&mut old, &mut new) {
                        for ((old, new), len) in old.buffers().into_iter().zip(new.buffers()).zip(moved) {
                            if let (Some(old), Some(new), Some(len)) = (old, new, len) {
                                new.truncate(len);
                                std::mem::swap(old, new);
                            }
                        }
                    }
                    self.cells[cell].part = old;
                }
                Undo::Shown(cell, old) => {
                    if let Some(part) = &mut self.cells[cell].part {
                        part.shown = old;
                    }
                }
                Undo::Meta(cell, old) => self.cells[cell].meta = old,
                Undo::Source(key, old) => put_back(&mut self.source, key, old),
                Undo::Call(key, old) => put_back(&mut self.call, key, old),
                Undo::NewStep => {
                    if let Some(step) = self.steps.pop() {
                        self.step_at.remove(&step.key);
                    }
                    self.last_step = 0;
                }
                Undo::Step(step, cell, meta) => (self.steps[step].cell, self.steps[step].meta) = (cell, meta),
                Undo::NewRecord(step) => self.steps[step].record = None,
                Undo::NewLane(step) => self.record(step).pop(),
                Undo::Lane(step, lane, old) => self.record(step).put_back(lane, old),
                Undo::Chunk(step, chunk, old) => put_back(&mut self.record(step).by_chunk, chunk, old),
            }
        }
        self.cells.truncate(mark.cells);
        (self.next, self.written, self.indexed) = (mark.next, mark.written, mark.indexed);
    }

    /// S2: a new slot at `min` or later; answers its cell.
    pub(super) fn allocate(&mut self, min: u64) -> usize {
        self.sync();
        let slot = self.next.max(min);
        self.next = slot + 1;
        self.cells.push(Cell { slot, part: None, meta: Meta::default() });
        self.cells.len() - 1
    }

    /// S3, S11, Q20: the cell of a producer index, new at its first use. What is no index is only a key.
    pub(super) fn resolve(&mut self, index: Option<Json<'_>>) -> usize {
        let key = value::key(index);
        if let Some(&cell) = key.as_deref().and_then(|key| self.source.get(key)) {
            return cell;
        }
        let position = index.filter(|json| json.kind() == crate::json::Kind::Number).map_or(0.0, value::number);
        let whole = position.fract() == 0.0 && (0.0..INDEX_MAX).contains(&position);
        let cell = self.allocate(if whole { position as u64 } else { 0 });
        self.bind_source(index, cell);
        cell
    }

    /// S3, S9: from now on the producer index means `cell`.
    pub(super) fn bind_source(&mut self, index: Option<Json<'_>>, cell: usize) {
        if let Some(key) = value::key(index) {
            let key: Arc<str> = key.into();
            let old = self.source.insert(key.clone(), cell);
            self.undo.push(Undo::Source(key, old));
        }
    }

    /// S4: takes ids and attribution out of parts that were not looked at yet.
    pub(super) fn sync(&mut self) {
        while self.indexed < self.written {
            let cell = self.indexed;
            self.indexed += 1;
            let Some(part) = &self.cells[cell].part else { continue };
            let (id, meta) = part.scan();
            if let Some(id) = id {
                self.bind_call(&id, cell);
            }
            self.note_meta(cell, &meta);
        }
    }

    /// S5: the cell of a call id; none for nil, "" and ids nobody has bound.
    pub(super) fn find_call(&mut self, id: Option<Json<'_>>) -> Option<usize> {
        let id = value::present(id).filter(|id| *id != Json::EMPTY)?;
        self.sync();
        self.call.get(&*value::key(Some(id))?).copied()
    }

    /// From now on the call id means `cell`.
    pub(super) fn bind_call(&mut self, id: &Arc<str>, cell: usize) {
        // Lists and objects are never the same id twice.
        if self.call.get(id) != Some(&cell) && !id.starts_with(['{', '[']) {
            let old = self.call.insert(id.clone(), cell);
            self.undo.push(Undo::Call(id.clone(), old));
        }
    }

    /// D7, C7: the call id means nothing any more if it meant `cell`.
    pub(super) fn forget_call(&mut self, id: &Arc<str>, cell: usize) {
        if self.call.get(id) == Some(&cell) {
            self.call.remove(id);
            self.undo.push(Undo::Call(id.clone(), Some(cell)));
        }
    }

    /// S6: the step with exactly this id.
    pub(super) fn find_step(&mut self, id: Option<Json<'_>>) -> Option<usize> {
        let key = value::key(id)?;
        if self.steps.get(self.last_step).is_none_or(|last| *last.key != *key) {
            self.last_step = *self.step_at.get(&*key)?;
        }
        Some(self.last_step)
    }

    /// Announces a step, or announces it again: then it keeps its record.
    pub(super) fn bind_step(&mut self, id: Option<Json<'_>>, cell: usize, meta: Meta) -> usize {
        if let Some(at) = self.find_step(id) {
            let step = &mut self.steps[at];
            let old = std::mem::replace(&mut step.meta, meta);
            self.undo.push(Undo::Step(at, step.cell, old));
            step.cell = cell;
            return at;
        }
        let at = self.steps.len();
        // A list or an object as id is never found again; the step still carries its own event.
        let key: Arc<str> = value::key(id).map_or_else(|| format!("[{at}]").into(), Arc::from);
        self.step_at.insert(key.clone(), at);
        self.steps.push(Step { key, cell, meta, record: None });
        self.undo.push(Undo::NewStep);
        at
    }

    /// X1: attribution of a slot, merged.
    pub(super) fn note_meta(&mut self, cell: usize, meta: &Meta) {
        let mine = &mut self.cells[cell].meta;
        let news = |mine: &Option<Arc<str>>, theirs: &Option<Arc<str>>| theirs.is_some() && mine != theirs;
        if news(&mine.agent, &meta.agent) || news(&mine.group, &meta.group) {
            self.undo.push(Undo::Meta(cell, mine.clone()));
            mine.merge(meta);
        }
    }

    /// X1 for the attribution of a step.
    pub(super) fn note_step(&mut self, cell: usize, step: usize) {
        if !self.steps[step].meta.is_empty() {
            let meta = self.steps[step].meta.clone();
            self.note_meta(cell, &meta);
        }
    }

    /// X2: the written part of a slot shows the slot's attribution.
    pub(super) fn show_meta(&mut self, cell: usize) -> Fold {
        let Cell { part, meta, .. } = &mut self.cells[cell];
        let Some(part) = part.as_mut().filter(|part| !meta.is_empty() && !part.is_null()) else { return Ok(()) };
        if part.is_primitive() {
            return Err(Thrown);
        }
        if part.shown != *meta {
            self.undo.push(Undo::Shown(cell, part.shown.clone()));
            part.shown.merge(meta);
        }
        Ok(())
    }

    /// The part of a slot, taken out to be put back by [`Aggregator::put`].
    pub(super) fn take(&mut self, cell: usize) -> Option<Part> {
        self.cells[cell].part.take()
    }

    /// Puts a new body into a slot in place of `old`. `moved`: lengths that `old`'s buffers had, where `body` has
    /// them now.
    pub(super) fn put(&mut self, cell: usize, body: Body, old: Option<Part>, moved: [Option<usize>; 2]) -> Fold {
        self.cells[cell].part = Some(Part::new(body));
        self.undo.push(Undo::Part { cell, old, moved });
        self.written = self.written.max(cell + 1);
        self.show_meta(cell)
    }

    /// Puts a new body into a slot that owes nothing to the old one.
    pub(super) fn replace(&mut self, cell: usize, body: Body) -> Fold {
        let old = self.take(cell);
        self.put(cell, body, old, [None, None])
    }
}

fn put_back<K: Ord, V>(map: &mut std::collections::BTreeMap<K, V>, key: K, old: Option<V>) {
    match old {
        Some(old) => map.insert(key, old),
        None => map.remove(&key),
    };
}
