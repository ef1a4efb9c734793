//! The six events (sections 4, 6, 7).

use super::Aggregator;
use super::call::Incoming;
use super::part::Meta;
use super::state::{Fold, Thrown};
use super::value::{self, present};
use crate::json::{Json, Kind, literal_is};

impl Aggregator {
    /// `on_run_step`, section 4.
    pub(super) fn run_step(&mut self, data: Json<'_>) -> Fold {
        let [id, index, details, agent, group, summary] =
            data.pick(["id", "index", "stepDetails", "agentId", "groupId", "summary"]);
        let [kind, list] = present(details).ok_or(Thrown)?.pick(["type", "tool_calls"]);
        let has_tools = kind.is_some_and(|kind| kind.is_string("tool_calls"));
        let list = present(list).filter(|_| has_tools); // S7
        if list.is_some_and(|list| list.kind() != Kind::Array) {
            return Err(Thrown);
        }
        self.sync();
        let mut calls = Vec::new();
        for (at, call) in list.into_iter().flat_map(Json::items).enumerate() {
            if call.is_null() {
                return Err(Thrown);
            }
            let [id, name, args] = call.pick(["id", "name", "args"]);
            let cell = self.find_call(id);
            let cell = match (cell, at) {
                (Some(cell), 0) => {
                    self.bind_source(index, cell); // S9
                    cell
                }
                (None, 0) => self.resolve(index),
                (Some(cell), _) => cell,
                (None, _) => self.allocate(0),
            };
            calls.push((cell, Incoming { id, name, args, ..Incoming::default() })); // S8
        }
        let cell = match calls.first() {
            Some((cell, _)) => *cell,
            None => self.resolve(index),
        };
        let step = self.bind_step(id, cell, Meta::of(agent, group));
        self.note_step(cell, step);
        if let Some(summary) = present(summary) {
            self.update(cell, summary)?; // S10
        }
        if has_tools {
            self.register(step, cell, None);
        }
        for (cell, mut call) in calls {
            self.register(step, cell, named(call.id));
            self.note_step(cell, step);
            call.id = Some(named(call.id).unwrap_or(Json::EMPTY));
            self.update_call(cell, &call, false)?;
        }
        Ok(())
    }

    /// `on_message_delta` and `on_reasoning_delta`, U7 and U8.
    pub(super) fn message_delta(&mut self, data: Json<'_>) -> Fold {
        if let Some((id, part)) = lone_entry(data, ",\"delta\":{\"content\":[") {
            return match self.find_step(Some(id)) {
                Some(step) => self.update(self.steps[step].cell, part),
                None => Ok(()),
            };
        }
        let [id, delta] = data.pick(["id", "delta"]);
        let Some(step) = self.find_step(id) else { return Ok(()) };
        let cell = self.steps[step].cell;
        let Some(content) = present(delta).ok_or(Thrown)?.get("content") else { return Ok(()) };
        match content.kind() {
            Kind::Array => content.items().try_for_each(|part| self.update(cell, part)),
            _ => self.update(cell, content),
        }
    }

    /// `on_run_step_delta`, section 6.
    pub(super) fn step_delta(&mut self, data: Json<'_>) -> Fold {
        if let Some((id, entry)) = lone_entry(data, ",\"delta\":{\"type\":\"tool_calls\",\"tool_calls\":[") {
            return match self.find_step(Some(id)) {
                Some(step) => {
                    self.start_record(step);
                    self.call_chunk(step, entry, None, None)
                }
                None => Ok(()),
            };
        }
        let [id, delta] = data.pick(["id", "delta"]);
        let Some(step) = self.find_step(id) else { return Ok(()) };
        let [kind, list, auth, expires_at] =
            present(delta).ok_or(Thrown)?.pick(["type", "tool_calls", "auth", "expires_at"]);
        if !kind.is_some_and(|kind| kind.is_string("tool_calls")) {
            return Ok(());
        }
        let Some(list) = list.filter(|list| list.is_truthy()) else { return Ok(()) }; // D9
        if list.kind() != Kind::Array {
            return Err(Thrown);
        }
        self.start_record(step);
        list.items().try_for_each(|entry| self.call_chunk(step, entry, auth, expires_at))
    }

    /// One entry of `on_run_step_delta`, steps 1 to 9 of section 6.
    fn call_chunk(
        &mut self,
        step: usize,
        entry: Json<'_>,
        auth: Option<Json<'_>>,
        expires_at: Option<Json<'_>>,
    ) -> Fold {
        if entry.is_null() {
            return Err(Thrown);
        }
        let [index, id, name, args] = entry.pick(["index", "id", "name", "args"]);
        let id = named(id);
        let chunk = index.filter(|index| index.kind() == Kind::Number).map(|n| value::number(n).to_bits()); // D8
        let Some(cell) = self.route(step, chunk, id) else { return Ok(()) };
        self.register(step, cell, id);
        if let Some(chunk) = chunk {
            self.claim(step, cell, chunk);
        }
        self.note_step(cell, step);
        let bound = if id.is_none() { self.bound_id(step, cell) } else { None };
        let id = id.or(bound.as_deref().map(Json::known));
        let args = Some(present(args).unwrap_or(Json::EMPTY));
        self.update_call(cell, &Incoming { id, name, args, auth, expires_at, ..Incoming::default() }, false)
    }

    /// `on_run_step_completed`, section 7 and M3.
    pub(super) fn step_completed(&mut self, data: Json<'_>) -> Fold {
        let result = data.get("result").filter(|r| matches!(r.kind(), Kind::Object | Kind::Array)).ok_or(Thrown)?;
        let [id, kind, call, summary] = result.pick(["id", "type", "tool_call", "summary"]);
        let step = self.find_step(id);
        if let Some(summary) = summary.filter(|_| kind.is_some_and(|kind| kind.is_string("summary"))) {
            return match step {
                Some(step) => self.complete_summary(self.steps[step].cell, summary), // M3
                None => Ok(()),
            };
        }
        let Some(call) = call else { return Ok(()) }; // E5
        let call = Incoming::of(call)?;
        let cell = self.find_call(call.id).or_else(|| {
            let step = self.steps.get(step?)?;
            match &step.record {
                None => Some(step.cell), // E3
                Some(record) => record.lanes.first().filter(|_| record.lanes.len() == 1).map(|lane| lane.cell), // E2
            }
        });
        let Some(cell) = cell else { return Ok(()) }; // E4
        if let Some(step) = step {
            self.note_step(cell, step); // X3
        }
        self.update_call(cell, &call, true)
    }

    /// `on_agent_update`, section 5 A.
    pub(super) fn agent_update(&mut self, data: Json<'_>) -> Fold {
        let Some(update) = data.get("agent_update").filter(|update| update.kind() == Kind::Object) else {
            return Ok(()); // A4
        };
        let cell = self.resolve(update.get("index"));
        let update = with_member(update, "index", &self.cells[cell].slot.to_string()); // A2
        let part = with_member(data, "agent_update", &update);
        self.update(cell, Json::known(&part))
    }
}

/// The step id and the only entry of a delta that is spelled as producers spell nearly all of them:
/// `{"id":` id `middle` entry `]}}`. It spares walking over the entry once for each object around it.
fn lone_entry<'a>(data: Json<'a>, middle: &str) -> Option<(Json<'a>, Json<'a>)> {
    let (id, rest) = Json::first_of(data.text().strip_prefix("{\"id\":")?)?;
    let (entry, rest) = Json::first_of(rest.strip_prefix(middle)?)?;
    (rest == "]}}").then_some((id, entry))
}

/// An id that is one: not nil, not "".
fn named(id: Option<Json<'_>>) -> Option<Json<'_>> {
    present(id).filter(|id| *id != Json::EMPTY)
}

/// An object with the member `name` set to `value`: in place, or at the end where it was absent.
fn with_member(object: Json<'_>, name: &str, value: &str) -> String {
    let mut out = String::with_capacity(object.text().len() + value.len() + 16);
    let mut found = false;
    for (key, old) in object.entries() {
        let hit = literal_is(key, name);
        found |= hit;
        out.push_str(if out.is_empty() { "{\"" } else { ",\"" });
        out.push_str(key);
        out.push_str("\":");
        out.push_str(if hit { value } else { old.text() });
    }
    if !found {
        out.push_str(if out.is_empty() { "{\"" } else { ",\"" });
        out.push_str(name);
        out.push_str("\":");
        out.push_str(value);
    }
    out.push('}');
    out
}
