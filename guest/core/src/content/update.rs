//! One part into one slot (section 5).

use std::sync::Arc;

use super::Aggregator;
use super::call::Incoming;
use super::part::{Body, Part, Raw, write_members};
use super::state::{Fold, Thrown};
use super::value::{self, canonical, present};
use crate::json::{Json, Kind, literal_is};

impl Aggregator {
    /// Folds a part into the slot of `cell`. What the rules skip changes nothing, X6.
    pub(super) fn update(&mut self, cell: usize, part: Json<'_>) -> Fold {
        let [kind, text, think, ids, citations, agent, call, content] =
            part.pick(["type", "text", "think", "tool_call_ids", "citations", "agent_update", "tool_call", "content"]);
        let Some(kind) = kind.filter(|kind| kind.is_truthy()) else { return Ok(()) }; // U1, U2
        let kind = canonical(kind.literal().ok_or(Thrown)?); // U4
        if !self.accepts(cell, &kind) {
            return Ok(()); // U5
        }
        let text = text.and_then(Json::literal);
        let citations = citations.filter(|citations| citations.kind() == Kind::Array);
        if kind.starts_with("text") && (text.is_some() || citations.is_some()) {
            return self.add_text(cell, text, ids, citations);
        }
        if kind.starts_with("think")
            && let Some(think) = think.and_then(Json::literal)
        {
            return self.add_think(cell, think);
        }
        if kind.starts_with("agent_update")
            && let Some(agent) = present(agent)
        {
            return self.replace(cell, Body::Agent(agent.text().into()));
        }
        match (&*kind, call) {
            ("toolCall" | "toolResponse", _) => self.replace(cell, Body::Raw(Box::new(Raw::new(part)))), // G1
            ("summary", _) => self.add_summary(cell, part, content),
            ("tool_call", Some(call)) => self.update_call(cell, &Incoming::of(call)?, false),
            ("tool_call", None) => self.show_meta(cell),
            _ if self.is_empty(cell) => self.replace(cell, Body::Shell((*kind).into())), // U3, U6, I1
            _ => self.show_meta(cell),
        }
    }

    /// U5: the incoming type starts with the stored one; a slot that counts as empty takes any.
    pub(super) fn accepts(&self, cell: usize, kind: &str) -> bool {
        match &self.cells[cell].part {
            Some(part) if part.is_truthy() => kind.starts_with(part.kind()),
            _ => true,
        }
    }

    fn is_empty(&self, cell: usize) -> bool {
        self.cells[cell].part.as_ref().is_none_or(|part| !part.is_truthy())
    }

    /// Section T.
    fn add_text(
        &mut self,
        cell: usize,
        more: Option<&str>,
        ids: Option<Json<'_>>,
        citations: Option<Json<'_>>,
    ) -> Fold {
        let list = self.cells[cell].part.as_ref().and_then(|part| match &part.body {
            Body::Text { citations, .. } => citations.as_deref().map(|list| list.starts_with('[')),
            Body::Raw(raw) => present(raw.json().get("citations")).map(|list| list.kind() == Kind::Array),
            _ => None,
        });
        if citations.is_some() && list == Some(false) {
            return Err(Thrown);
        }
        let mut old = self.take(cell);
        let (mut text, old_ids, mut list, moved) = match old.as_mut().map(|part| &mut part.body) {
            Some(Body::Text { text, ids, citations }) => {
                let moved = [Some(text.len()), citations.as_ref().map(String::len)];
                // An empty list stays behind: where a roll-back puts it back.
                let list = citations.as_mut().map(std::mem::take);
                (std::mem::take(text), ids.clone(), list, moved)
            }
            Some(Body::Raw(raw)) => {
                let [text, ids, list] = raw.json().pick(["text", "tool_call_ids", "citations"]);
                let text = text.filter(|text| text.is_truthy()).map_or("".into(), value::as_text);
                let ids = ids.filter(|ids| ids.is_truthy()).map(|ids| ids.text().into());
                (text.into_owned(), ids, present(list).map(open_list), [None, None])
            }
            _ => (String::new(), None, None, [None, None]),
        };
        text.push_str(more.unwrap_or_default());
        let ids: Option<Arc<str>> = match ids.filter(|ids| ids.is_truthy()) {
            Some(ids) => Some(ids.text().into()),
            None => old_ids.filter(|_| more.is_none()), // T3
        };
        if let Some(citations) = citations {
            extend_list(list.get_or_insert_with(|| "[".into()), citations); // T4, T5
        }
        self.put(cell, Body::Text { text, ids, citations: list }, old, moved)
    }

    /// Section K.
    fn add_think(&mut self, cell: usize, more: &str) -> Fold {
        let mut old = self.take(cell);
        let (mut text, moved) = match old.as_mut().map(|part| &mut part.body) {
            Some(Body::Think(text)) => (std::mem::take(text), true),
            Some(Body::Raw(raw)) => {
                let text = raw.json().get("think").filter(|think| think.is_truthy());
                (text.map_or("".into(), value::as_text).into_owned(), false)
            }
            _ => (String::new(), false),
        };
        let moved = [moved.then_some(text.len()), None];
        text.push_str(more);
        self.put(cell, Body::Think(text), old, moved)
    }

    /// M1: `content` grows, all else is replaced.
    fn add_summary(&mut self, cell: usize, part: Json<'_>, more: Option<Json<'_>>) -> Fold {
        let stored = match self.cells[cell].part.as_ref().map(|part| &part.body) {
            Some(Body::Raw(raw)) => present(raw.json().get("content")),
            _ => None,
        };
        let more = present(more);
        if [stored, more].into_iter().flatten().any(|list| !matches!(list.kind(), Kind::Array | Kind::String)) {
            return Err(Thrown);
        }
        let stored = stored.filter(|list| list.kind() == Kind::Array).map(open_list);
        let mut old = self.take(cell);
        let (mut content, moved) = match old.as_mut().map(|part| &mut part.body) {
            Some(Body::Summary { content, .. }) => (std::mem::take(content), true),
            _ => (stored.unwrap_or_else(|| "[".into()), false),
        };
        let moved = [None, moved.then_some(content.len())];
        if let Some(more) = more.filter(|more| more.kind() == Kind::Array) {
            extend_list(&mut content, more);
        }
        let mut rest = String::from("{");
        write_members(&mut rest, part.entries().filter(|(key, _)| !literal_is(key, "content")));
        rest.push('}');
        self.put(cell, Body::Summary { rest: rest.into(), content }, old, moved)
    }

    /// M3: the part of the slot is this value, whatever it is.
    pub(super) fn complete_summary(&mut self, cell: usize, summary: Json<'_>) -> Fold {
        self.replace(cell, Part::raw(summary).body)
    }
}

/// A list without its closing bracket, to grow; what is no list stays as it is.
fn open_list(json: Json<'_>) -> String {
    let mut out = String::new();
    match json.kind() {
        Kind::Array => {
            out.push('[');
            extend_list(&mut out, json);
        }
        _ => out.push_str(json.text()),
    }
    out
}

/// Appends the items of `list` to an open list.
fn extend_list(open: &mut String, list: Json<'_>) {
    for item in list.items() {
        if open.len() > 1 {
            open.push(',');
        }
        open.push_str(item.text());
    }
}
