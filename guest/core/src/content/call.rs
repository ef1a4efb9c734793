//! Tool calls: what is stored of one, and how an incoming one is merged into it (section 5 C).

use std::borrow::Cow;
use std::sync::Arc;

use super::Aggregator;
use super::part::{Body, Part, push};
use super::state::{Fold, Thrown};
use super::value::{self, present};
use crate::json::{Json, Kind};

/// A stored tool call. Ids and names are canonical JSON texts; other values JSON texts.
#[derive(Clone, Default)]
pub(super) struct Call {
    pub(super) id: Option<Arc<str>>,
    name: Option<Arc<str>>,
    pub(super) args: Args,
    auth: Option<Arc<str>>,
    expires_at: Option<Arc<str>>,
    /// Whether it was completed: `progress` is 1 (C2).
    pub(super) done: bool,
    output: Option<Arc<str>>,
    outcome: Option<Arc<str>>,
}

/// Arguments of a call.
#[derive(Clone, Default)]
pub(super) enum Args {
    #[default]
    Absent,
    /// A string, in escaped form: it grows.
    Text(String),
    /// Any other JSON value.
    Raw(Arc<str>),
}

/// An incoming tool call: of a step, a delta, a part or a completion.
#[derive(Clone, Copy, Default)]
pub(super) struct Incoming<'a> {
    pub(super) id: Option<Json<'a>>,
    pub(super) name: Option<Json<'a>>,
    pub(super) args: Option<Json<'a>>,
    pub(super) auth: Option<Json<'a>>,
    pub(super) expires_at: Option<Json<'a>>,
    pub(super) output: Option<Json<'a>>,
    pub(super) outcome: Option<Json<'a>>,
}

impl<'a> Incoming<'a> {
    /// The `tool_call` of a part or of a completion.
    pub(super) fn of(call: Json<'a>) -> Result<Self, Thrown> {
        if call.is_null() {
            return Err(Thrown);
        }
        let [id, name, args, auth, expires_at, output, outcome] =
            call.pick(["id", "name", "args", "auth", "expires_at", "output", "outcome"]);
        Ok(Incoming { id, name, args, auth, expires_at, output, outcome })
    }
}

impl Aggregator {
    /// Merges a tool call into a slot. `last`: it comes from a completion.
    pub(super) fn update_call(&mut self, cell: usize, new: &Incoming<'_>, last: bool) -> Fold {
        if !self.accepts(cell, "tool_call") {
            return Ok(()); // U5, C11
        }
        if !last && present(new.name).is_none_or(|name| name == Json::EMPTY) {
            return Ok(()); // C1
        }
        let part = self.cells[cell].part.as_ref();
        if !last && part.is_some_and(Part::is_frozen) {
            return Ok(()); // C2
        }
        let mut plain = match part.map(|part| &part.body) {
            Some(Body::Raw(raw)) => Call::of(raw.json().get("tool_call").unwrap_or(Json::NULL)),
            _ => Call::default(),
        };
        let old = match part.map(|part| &part.body) {
            Some(Body::Call(call)) => call,
            _ => &plain,
        };
        let id = first_named(new.id, &old.id)?;
        let name = first_named(new.name, &old.name)?;
        let auth = either(new.auth, &old.auth).filter(|auth| &**auth != "null");
        let expires_at = if auth.is_some() { either(new.expires_at, &old.expires_at) } else { None }; // C8
        let former = old.id.clone().filter(|former| *former != id);
        let plan = Plan::of(new.args, &old.args, last);

        let mut before = self.take(cell);
        let (args, moved) = match before.as_mut().map(|part| &mut part.body) {
            Some(Body::Call(call)) => plan.carry_out(&mut call.args),
            _ => (plan.carry_out(&mut plain.args).0, None),
        };
        let text = |json: Json<'_>| Arc::from(json.text());
        let output = new.output.filter(|_| last).map(text);
        let outcome = present(new.outcome).filter(|_| last).map(text); // C9, C10
        let call = Call { id: Some(id.clone()), name: Some(name), args, auth, expires_at, done: last, output, outcome };
        let put = self.put(cell, Body::Call(Box::new(call)), before, [moved, None]);

        if let Some(former) = former.filter(|former| !matches!(&**former, "\"\"" | "null")) {
            self.forget_call(&former, cell); // C7
        }
        if &*id != "\"\"" {
            self.bind_call(&id, cell);
            self.indexed = self.indexed.max(cell + 1); // S4
        }
        put
    }
}

/// C6: the first of two that is a string with a non-blank character, as canonical JSON text, else `""`.
fn first_named(new: Option<Json<'_>>, old: &Option<Arc<str>>) -> Result<Arc<str>, Thrown> {
    if let Some(new) = new
        && is_named(new.text())?
    {
        let new = value::quoted(new.text());
        return Ok(match old {
            Some(old) if **old == *new => old.clone(),
            _ => new.into(),
        });
    }
    match old {
        Some(old) if is_named(old)? => Ok(old.clone()),
        _ => Ok("\"\"".into()),
    }
}

/// Whether a JSON text is a string with a non-blank character. Throws on what is truthy and no string.
fn is_named(text: &str) -> Result<bool, Thrown> {
    let json = Json::known(text);
    match json.literal() {
        Some(literal) => Ok(!value::is_blank(literal)),
        None if json.is_truthy() => Err(Thrown),
        None => Ok(false),
    }
}

/// `new ?? old`.
fn either(new: Option<Json<'_>>, old: &Option<Arc<str>>) -> Option<Arc<str>> {
    match (present(new), old) {
        (Some(new), Some(old)) if *new.text() == **old => Some(old.clone()),
        (Some(new), _) => Some(new.text().into()),
        (None, old) => old.clone(),
    }
}

/// What becomes of stored arguments.
enum Plan<'a> {
    /// They are replaced (C3, C5).
    Set(Option<Json<'a>>),
    /// They stay (C5).
    Keep,
    /// They become a text that ends with this one (C4).
    Append(Cow<'a, str>),
}

impl<'a> Plan<'a> {
    fn of(new: Option<Json<'a>>, old: &Args, last: bool) -> Plan<'a> {
        let old_is_nil = match old {
            Args::Absent => true,
            Args::Text(_) => false,
            Args::Raw(raw) => &**raw == "null",
        };
        let old_is_object = matches!(old, Args::Raw(raw) if raw.starts_with(['{', '[', 'n']));
        let new_is_object = new.is_some_and(|new| matches!(new.kind(), Kind::Null | Kind::Array | Kind::Object));
        match (last, present(new)) {
            (true, None) if !old_is_nil => Plan::Keep,
            (true, _) => Plan::Set(new),
            _ if old_is_object || new_is_object => Plan::Set(new), // Q8: null counts as object
            _ => Plan::Append(new.map_or("".into(), value::as_text)),
        }
    }

    /// The new arguments, and the length of the text that moved out of the old ones into them.
    fn carry_out(self, old: &mut Args) -> (Args, Option<usize>) {
        let more = match self {
            Plan::Set(new) => return (Args::of(new), None),
            Plan::Keep => None,
            Plan::Append(more) => Some(more),
        };
        let (mut text, moved) = match (old, &more) {
            (Args::Text(text), _) => (std::mem::take(text), true),
            (Args::Raw(raw), None) => return (Args::Raw(raw.clone()), None),
            (Args::Raw(raw), Some(_)) => (value::as_text(Json::known(raw)).into_owned(), false),
            (Args::Absent, _) => (String::new(), false),
        };
        let moved = moved.then_some(text.len());
        text.push_str(&more.unwrap_or_default());
        (Args::Text(text), moved)
    }
}

impl Call {
    /// The stored call of a part that came as JSON: ids and names may be of any kind here.
    fn of(json: Json<'_>) -> Call {
        let [id, name, args, auth, expires_at] = json.pick(["id", "name", "args", "auth", "expires_at"]);
        let text = |json: Option<Json<'_>>| json.map(|json| value::quoted(json.text()).into());
        let raw = |json: Option<Json<'_>>| json.map(|json| json.text().into());
        Call {
            id: text(id),
            name: text(name),
            args: Args::of(args),
            auth: raw(auth),
            expires_at: raw(expires_at),
            ..Call::default()
        }
    }

    /// Bytes it takes when written, roughly.
    pub(super) fn size_hint(&self) -> usize {
        let args = match &self.args {
            Args::Absent => 0,
            Args::Text(text) => text.len(),
            Args::Raw(raw) => raw.len(),
        };
        let others = [&self.id, &self.name, &self.auth, &self.expires_at, &self.output, &self.outcome];
        64 + args + others.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }

    /// Appends the part that holds it, without the closing brace.
    pub(super) fn write(&self, out: &mut String) {
        let or_empty = |text: &Option<Arc<str>>| text.clone().unwrap_or_else(|| "\"\"".into());
        push(out, &["{\"type\":\"tool_call\",\"tool_call\":{\"id\":", &or_empty(&self.id)]);
        push(out, &[",\"name\":", &or_empty(&self.name)]);
        match &self.args {
            Args::Absent => {}
            Args::Text(args) => push(out, &[",\"args\":\"", args, "\""]),
            Args::Raw(args) => push(out, &[",\"args\":", args]),
        }
        out.push_str(",\"type\":\"tool_call\"");
        let done: Option<Arc<str>> = self.done.then(|| "1".into());
        for (name, value) in [
            (",\"auth\":", &self.auth),
            (",\"expires_at\":", &self.expires_at),
            (",\"progress\":", &done),
            (",\"output\":", &self.output),
            (",\"outcome\":", &self.outcome),
        ] {
            if let Some(value) = value {
                push(out, &[name, value]);
            }
        }
        out.push('}');
    }
}

impl Args {
    fn of(json: Option<Json<'_>>) -> Args {
        match json {
            None => Args::Absent,
            Some(json) => match json.literal() {
                Some(text) => Args::Text(text.into()),
                None => Args::Raw(json.text().into()),
            },
        }
    }
}
