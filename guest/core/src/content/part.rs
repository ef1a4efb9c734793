//! One content part: what is stored in a slot, and how it is written.

use std::sync::Arc;

use super::call::{Args, Call};
use super::value::{self, present};
use crate::json::{Json, Kind, literal_is};

/// Attribution of a slot, a step or a written part: values as JSON texts (X1).
#[derive(Clone, Default, PartialEq)]
pub(super) struct Meta {
    pub(super) agent: Option<Arc<str>>,
    pub(super) group: Option<Arc<str>>,
}

impl Meta {
    /// X1: an agent that is not nil and not "", a group that is not nil (0 and "" count).
    pub(super) fn of(agent: Option<Json<'_>>, group: Option<Json<'_>>) -> Meta {
        let agent = present(agent).filter(|agent| *agent != Json::EMPTY);
        Meta { agent: agent.map(|a| a.text().into()), group: present(group).map(|g| g.text().into()) }
    }

    /// Takes over what `newer` says and keeps the rest.
    pub(super) fn merge(&mut self, newer: &Meta) {
        for (mine, theirs) in [(&mut self.agent, &newer.agent), (&mut self.group, &newer.group)] {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.agent.is_none() && self.group.is_none()
    }

    /// Appends the members that are there to an open object.
    pub(super) fn write(&self, out: &mut String) {
        for (name, value) in [("\"agentId\":", &self.agent), ("\"groupId\":", &self.group)] {
            if let Some(value) = value {
                push(out, &[if out.ends_with('{') { "" } else { "," }, name, value]);
            }
        }
    }
}

/// A written part and the attribution it shows, which may be older than the slot's (X2).
#[derive(Clone)]
pub(super) struct Part {
    pub(super) body: Body,
    pub(super) shown: Meta,
}

/// What a part holds. Texts are in escaped form without quotes; a *list* lacks its closing bracket, so it can grow.
#[derive(Clone)]
pub(super) enum Body {
    /// `{"type": …}` and nothing else (U3, U6).
    Shell(Box<str>),
    /// Section T. `citations` is a list (or, after M3 only, any other JSON text).
    Text { text: String, ids: Option<Arc<str>>, citations: Option<String> },
    /// Section K.
    Think(String),
    /// Section A: the JSON text of `agent_update`.
    Agent(Box<str>),
    /// Section C.
    Call(Box<Call>),
    /// Section M: an object of the members other than `content`, and the content list.
    Summary { rest: Box<str>, content: String },
    /// Any JSON value as it came: seeds, G1, M3, parts of a restored save.
    Raw(Box<Raw>),
}

/// A JSON value with what every event may ask of it looked up once.
#[derive(Clone)]
pub(super) struct Raw {
    pub(super) text: Box<str>,
    /// Its `type` as [`Part::kind`] gives it.
    kind: Box<str>,
    /// Whether its `tool_call` has `progress` 1.
    frozen: bool,
}

impl Raw {
    pub(super) fn new(json: Json<'_>) -> Raw {
        let [kind, call] = json.pick(["type", "tool_call"]);
        let kind = match present(kind) {
            Some(list) if list.items().next().is_some() => "[".into(), // The beginning of no type.
            Some(kind) => value::as_text(kind),
            None => "".into(),
        };
        let progress = call.and_then(|call| call.get("progress"));
        let frozen = progress.is_some_and(|p| p.kind() == Kind::Number && value::number(p) == 1.0);
        Raw { text: json.text().into(), kind: (*value::canonical(&kind)).into(), frozen }
    }

    pub(super) fn json(&self) -> Json<'_> {
        Json::known(&self.text)
    }
}

impl Part {
    pub(super) fn new(body: Body) -> Part {
        Part { body, shown: Meta::default() }
    }

    /// A part as it stands in a list of parts: a seed (section 9), a restored or a completed one (M3).
    pub(super) fn raw(json: Json<'_>) -> Part {
        Part::new(Body::Raw(Box::new(Raw::new(json))))
    }

    /// The stored type in canonical spelling, "" when there is none (U5).
    pub(super) fn kind(&self) -> &str {
        match &self.body {
            Body::Shell(kind) => kind,
            Body::Text { .. } => "text",
            Body::Think(_) => "think",
            Body::Agent(_) => "agent_update",
            Body::Call(_) => "tool_call",
            Body::Summary { .. } => "summary",
            Body::Raw(raw) => &raw.kind,
        }
    }

    /// False when the slot counts as empty (U3): null, false, 0, "".
    pub(super) fn is_truthy(&self) -> bool {
        match &self.body {
            Body::Raw(raw) => raw.json().is_truthy(),
            _ => true,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.body, Body::Raw(raw) if &*raw.text == "null")
    }

    /// A string, number or truth value: it cannot carry attribution.
    pub(super) fn is_primitive(&self) -> bool {
        matches!(&self.body, Body::Raw(raw) if !raw.text.starts_with(['{', '[', 'n']))
    }

    /// C2: completed, so deltas do not change it.
    pub(super) fn is_frozen(&self) -> bool {
        match &self.body {
            Body::Call(call) => call.done,
            Body::Raw(raw) => raw.frozen,
            _ => false,
        }
    }

    /// What a scan of the part finds (S4): the id of its tool call, its attribution.
    pub(super) fn scan(&self) -> (Option<Arc<str>>, Meta) {
        let mut meta = Meta::default();
        let id = match &self.body {
            Body::Call(call) => call.id.clone(),
            Body::Summary { rest, .. } => {
                let [agent, group] = Json::known(rest).pick(["agentId", "groupId"]);
                meta = Meta::of(agent, group);
                None
            }
            Body::Raw(raw) => {
                let [agent, group, call] = raw.json().pick(["agentId", "groupId", "tool_call"]);
                meta = Meta::of(agent, group);
                let id = call.filter(|_| &*raw.kind == "tool_call").and_then(|call| call.get("id"));
                present(id).and_then(|id| value::key(Some(id))).map(Arc::from)
            }
            _ => None,
        };
        meta.merge(&self.shown);
        (id.filter(|id| &**id != "\"\""), meta)
    }

    /// The text of a `text` part, escaped.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Text { text, .. } => Some(text),
            Body::Raw(raw) if &*raw.kind == "text" => raw.json().get("text")?.literal(),
            _ => None,
        }
    }

    /// The buffers that grow in place: the text, the list.
    pub(super) fn buffers(&mut self) -> [Option<&mut String>; 2] {
        match &mut self.body {
            Body::Text { text, citations, .. } => [Some(text), citations.as_mut()],
            Body::Think(text) => [Some(text), None],
            Body::Summary { content, .. } => [None, Some(content)],
            Body::Call(call) => match &mut call.args {
                Args::Text(text) => [Some(text), None],
                _ => [None, None],
            },
            _ => [None, None],
        }
    }

    /// Bytes it takes when written, roughly.
    pub(super) fn size_hint(&self) -> usize {
        let len = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let body = match &self.body {
            Body::Shell(kind) => kind.len(),
            Body::Text { text, ids, citations } => text.len() + len(ids) + citations.as_ref().map_or(0, String::len),
            Body::Think(text) => text.len(),
            Body::Agent(update) => update.len(),
            Body::Summary { rest, content } => rest.len() + content.len(),
            Body::Raw(raw) => raw.text.len(),
            Body::Call(call) => call.size_hint(),
        };
        64 + body + len(&self.shown.agent) + len(&self.shown.group)
    }

    /// Appends the part as JSON.
    pub(super) fn write(&self, out: &mut String) {
        match &self.body {
            Body::Shell(kind) => push(out, &["{\"type\":\"", kind, "\""]),
            Body::Text { text, ids, citations } => {
                push(out, &["{\"type\":\"text\",\"text\":\"", text, "\""]);
                if let Some(ids) = ids {
                    push(out, &[",\"tool_call_ids\":", ids]);
                }
                if let Some(citations) = citations {
                    push(out, &[",\"citations\":", citations, if citations.starts_with('[') { "]" } else { "" }]);
                }
            }
            Body::Think(text) => push(out, &["{\"type\":\"think\",\"think\":\"", text, "\""]),
            Body::Agent(update) => push(out, &["{\"type\":\"agent_update\",\"agent_update\":", update]),
            Body::Call(call) => call.write(out),
            Body::Summary { rest, content } => {
                self.write_members(out, Json::known(rest));
                push(out, &[",\"content\":", content, "]"]);
            }
            Body::Raw(raw) if !raw.text.starts_with('{') => return out.push_str(&raw.text),
            Body::Raw(raw) => self.write_members(out, raw.json()),
        }
        self.shown.write(out);
        out.push('}');
    }

    /// Appends an object without its closing brace, and without the members that the attribution replaces.
    fn write_members(&self, out: &mut String, object: Json<'_>) {
        let replaced = |key: &str| {
            (self.shown.agent.is_some() && literal_is(key, "agentId"))
                || (self.shown.group.is_some() && literal_is(key, "groupId"))
        };
        out.push('{');
        write_members(out, object.entries().filter(|(key, _)| !replaced(key)));
    }
}

/// Appends members with commas between them, without braces.
pub(super) fn write_members<'a>(out: &mut String, members: impl Iterator<Item = (&'a str, Json<'a>)>) {
    for (at, (key, value)) in members.enumerate() {
        push(out, &[if at == 0 { "\"" } else { ",\"" }, key, "\":", value.text()]);
    }
}

/// Appends `pieces`.
pub(super) fn push(out: &mut String, pieces: &[&str]) {
    pieces.iter().for_each(|piece| out.push_str(piece));
}
