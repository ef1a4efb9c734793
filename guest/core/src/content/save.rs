//! The whole fold as one JSON object, and back.
//!
//! ```text
//! { "v": 1, "next": 7, "indexed": 2,
//!   "cells":  [ { "s": slot, "p": part?, "a": agentId?, "g": groupId? } ],
//!   "steps":  [ { "k": id, "c": cell, "a"?, "g"?, "l"?: [ { "c": cell, "f": flags, "id"? } ], "x"?: [chunk, cell, …] } ],
//!   "source": [ index, cell, … ], "call": [ id, cell, … ] }
//! ```
//!
//! Cells are meant by position. Parts are saved as they are shown: the rules read nothing else of them, so a part
//! that comes back as plain JSON goes on as it would have. An absent id is spelled `[]`, which no id can be.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::Aggregator;
use super::part::{Meta, Part, push};
use super::route::{Lane, Record};
use super::state::{Cell, Step};
use super::value;
use crate::json::{Json, Kind};

/// The form of a save that this code writes and reads.
const VERSION: u64 = 1;

/// No fold gets here by events: they come one slot at a time.
const SLOT_MAX: u64 = 1 << 53;

impl Aggregator {
    /// Appends what [`Aggregator::save`] returns.
    pub fn write_save(&self, out: &mut String) {
        let _ = write!(out, "{{\"v\":{VERSION},\"next\":{},\"indexed\":{},\"cells\":[", self.next, self.indexed);
        for (at, cell) in self.cells.iter().enumerate() {
            let _ = write!(out, "{}{{\"s\":{}", comma(at), cell.slot);
            if let Some(part) = &cell.part {
                out.push_str(",\"p\":");
                part.write(out);
            }
            write_meta(out, &cell.meta);
            out.push('}');
        }
        out.push_str("],\"steps\":[");
        for (at, step) in self.steps.iter().enumerate() {
            push(out, &[comma(at), "{\"k\":", spelled(&step.key)]);
            let _ = write!(out, ",\"c\":{}", step.cell);
            write_meta(out, &step.meta);
            if let Some(record) = &step.record {
                write_record(out, record);
            }
            out.push('}');
        }
        out.push_str("],\"source\":");
        write_map(out, &self.source);
        out.push_str(",\"call\":");
        write_map(out, &self.call);
        out.push('}');
    }

    /// The fold that a save holds: it continues with the same results.
    ///
    /// Errors: in words, when `saved` is no save of this version or was changed.
    pub fn restore(saved: Json<'_>) -> Result<Self, String> {
        let [version, next, indexed, cells, steps, source, call] =
            saved.pick(["v", "next", "indexed", "cells", "steps", "source", "call"]);
        if version.and_then(Json::as_u64) != Some(VERSION) {
            return Err(format!("not a save of the fold, version {VERSION}"));
        }
        let mut fold = Aggregator::new();
        fold.next = natural(next, "next")?;
        if fold.next > SLOT_MAX {
            return Err("the fold has more slots than there are".into());
        }
        for cell in list(cells, "cells")? {
            let [slot, part, agent, group] = cell.pick(["s", "p", "a", "g"]);
            let slot = natural(slot, "slot")?;
            if slot >= fold.next || fold.cells.last().is_some_and(|last| last.slot >= slot) {
                return Err("slots of the fold are out of order".into());
            }
            fold.cells.push(Cell { slot, part: part.map(Part::raw), meta: Meta::of(agent, group) });
        }
        let count = fold.cells.len();
        fold.written = fold.cells.iter().rposition(|cell| cell.part.is_some()).map_or(0, |at| at + 1);
        fold.indexed = position(indexed, count + 1)?;
        for step in list(steps, "steps")? {
            let [key, cell, agent, group, lanes, chunks] = step.pick(["k", "c", "a", "g", "l", "x"]);
            let key = unspelled(key.ok_or("a step of the fold has no key")?);
            let record = match lanes {
                Some(_) => Some(read_record(lanes, chunks, count)?),
                None => None,
            };
            fold.step_at.insert(key.clone(), fold.steps.len());
            fold.steps.push(Step { key, cell: position(cell, count)?, meta: Meta::of(agent, group), record });
        }
        fold.source = read_map(source, count)?.into_iter().map(|(key, cell)| (unspelled(key), cell)).collect();
        fold.call = read_map(call, count)?.into_iter().map(|(key, cell)| (unspelled(key), cell)).collect();
        Ok(fold)
    }
}

fn comma(at: usize) -> &'static str {
    if at == 0 { "" } else { "," }
}

fn spelled(key: &str) -> &str {
    if key.is_empty() { "[]" } else { key }
}

fn unspelled(key: Json<'_>) -> Arc<str> {
    if key.text() == "[]" { "".into() } else { value::quoted(key.text()).into() }
}

fn write_meta(out: &mut String, meta: &Meta) {
    for (name, value) in [(",\"a\":", &meta.agent), (",\"g\":", &meta.group)] {
        if let Some(value) = value {
            push(out, &[name, value]);
        }
    }
}

fn write_map(out: &mut String, map: &BTreeMap<Arc<str>, usize>) {
    out.push('[');
    for (at, (key, cell)) in map.iter().enumerate() {
        let _ = write!(out, "{}{},{cell}", comma(at), spelled(key));
    }
    out.push(']');
}

fn write_record(out: &mut String, record: &Record) {
    out.push_str(",\"l\":[");
    for (at, lane) in record.lanes.iter().enumerate() {
        let flags = u8::from(lane.unclaimed) | (u8::from(lane.unbound) << 1);
        let _ = write!(out, "{}{{\"c\":{},\"f\":{flags}", comma(at), lane.cell);
        if let Some(id) = &lane.id {
            push(out, &[",\"id\":", id]);
        }
        out.push('}');
    }
    out.push_str("],\"x\":[");
    for (at, (chunk, cell)) in record.by_chunk.iter().enumerate() {
        let _ = write!(out, "{}{chunk},{cell}", comma(at));
    }
    out.push(']');
}

fn read_record(lanes: Option<Json<'_>>, chunks: Option<Json<'_>>, count: usize) -> Result<Record, String> {
    let mut record = Record::default();
    for lane in list(lanes, "lanes")? {
        let [cell, flags, id] = lane.pick(["c", "f", "id"]);
        let flags = natural(flags, "flags")?;
        record.push(Lane {
            cell: position(cell, count)?,
            id: id.map(|id| value::quoted(id.text()).into()),
            unclaimed: flags & 1 != 0,
            unbound: flags & 2 != 0,
        });
    }
    for (chunk, cell) in read_map(chunks, count)? {
        record.by_chunk.insert(natural(Some(chunk), "chunk")?, cell);
    }
    Ok(record)
}

fn read_map<'a>(json: Option<Json<'a>>, count: usize) -> Result<Vec<(Json<'a>, usize)>, String> {
    let mut items = list(json, "maps")?;
    let mut pairs = Vec::new();
    while let Some(key) = items.next() {
        pairs.push((key, position(items.next(), count)?));
    }
    Ok(pairs)
}

fn list<'a>(json: Option<Json<'a>>, what: &str) -> Result<crate::json::Items<'a>, String> {
    let json = json.filter(|json| json.kind() == Kind::Array);
    json.map(Json::items).ok_or_else(|| format!("{what} of the fold are not a list"))
}

fn natural(json: Option<Json<'_>>, what: &str) -> Result<u64, String> {
    json.and_then(Json::as_u64).ok_or_else(|| format!("{what} of the fold is not a whole number"))
}

fn position(json: Option<Json<'_>>, count: usize) -> Result<usize, String> {
    let at = usize::try_from(natural(json, "position")?).map_err(|error| error.to_string())?;
    if at < count { Ok(at) } else { Err(format!("the fold has no cell {at}")) }
}
