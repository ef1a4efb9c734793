//! The annotated session in `wit/README.md`: what really goes in and out of the component.

use std::fmt::Write;
use std::mem::take;

use anyhow::{Context, Result, anyhow};
use rejoin::engine::tunables;
use rejoin_tests::root;
use wasmtime::component::{Instance, Linker, Val};
use wasmtime::{Engine, Store};

const README: &str = "wit/README.md";
const BEGIN: &str = "<!-- session: written by `BLESS=1 cargo test -p rejoin-tests contract` -->";
const END: &str = "<!-- end of session -->";
const NOW_MS: u64 = 1_789_000_000_000;
const WIDTH: usize = 104;
const SESSION: &str = "rejoin:streams/session@0.1.0";

#[test]
fn the_annotated_session_is_what_the_component_says_and_asks_for() -> Result<()> {
    let told = format!("```text\n{}```\n", walk()?);
    let readme = super::read(root().join(README))?;
    super::up_to_date(README, &super::between(&readme, BEGIN, END, &told)?)
}

/// The session, from open to the final record.
fn walk() -> Result<String> {
    let mut walk = Walk::new()?;
    walk.says("The stream is new: the store has no job of it, so `open` gets none.")?;
    walk.opens(option(None))?;
    walk.says("The request is a JSON text. Each write is asked for through an import and has a ticket.")?;
    let created = walk.calls("create", vec![option(Some(text("me"))), option(None), text("{}")])?;
    let job = created.argument("store.create", 3)?;
    walk.says("The host makes the row, if the generation is still 0, and says so.")?;
    walk.calls("settle", vec![Val::U64(1), variant("accepted", None)])?;

    walk.says("Two records in one call. Nothing is visible yet: the component only asks for the append.")?;
    let step = r#"{"event":"on_run_step","data":{"id":"s","index":0,"stepDetails":{"type":"message_creation"}}}"#;
    let lines = format!("{step}\n{}\n", delta("Hello"));
    let pushed = walk.calls("push", push(&lines))?;
    walk.says("They are in the log. Now subscribers may be told.")?;
    walk.calls("settle", vec![Val::U64(2), variant("accepted", None)])?;

    walk.says("Another host has appended in between: the store refuses, and this session is no longer true.")?;
    walk.calls("push", push(&delta(" world")))?;
    let behind = variant("behind", Some(Val::U64(3)));
    walk.calls("settle", vec![Val::U64(3), variant("refused", Some(behind))])?;
    walk.closes("The host drops it, opens another one with the row and the log as they are now, and pushes again.")?;
    let records = pushed.argument("store.append", 3)?;
    let theirs = delta(",");
    walk.opens(option(Some(with(&job, "head", Val::U64(3)))))?;
    walk.calls("replay", vec![text(&format!("{}{theirs}\n", lines_of(&records)?))])?;
    walk.calls("push", push(&delta(" world")))?;
    walk.calls("settle", vec![Val::U64(1), variant("accepted", None)])?;

    walk.says("A reader comes back without a cursor. It gets this, and the records after 4.")?;
    walk.calls("resume-state", vec![])?;
    walk.says("The end: one last record, and the new status, in one append. Exactly one session wins it.")?;
    walk.calls("complete", vec![option(None), option(None)])?;
    walk.calls("settle", vec![Val::U64(2), variant("accepted", None)])?;
    walk.says("From here on everything is refused, until a `create` starts the next generation.")?;
    walk.calls("abort", vec![option(None)])?;
    Ok(walk.told)
}

/// What the component called while one call ran.
#[derive(Default)]
struct Asked(Vec<(&'static str, Vec<Val>)>);

impl Asked {
    fn argument(&self, function: &str, place: usize) -> Result<Val> {
        let call = self.0.iter().find(|(name, _)| *name == function);
        call.and_then(|(_, arguments)| arguments.get(place)).cloned().with_context(|| format!("no {function}"))
    }
}

struct Walk {
    store: Store<Asked>,
    instance: Instance,
    handle: Option<Val>,
    told: String,
}

impl Walk {
    fn new() -> Result<Self> {
        let engine = Engine::new(&tunables::config())?;
        let component = rejoin_tests::component::shipped(&engine)?;
        let mut linker = Linker::<Asked>::new(&engine);
        for (interface, functions) in [
            (
                "store",
                &[("store.create", "create"), ("store.append", "append"), ("store.checkpoint", "checkpoint")][..],
            ),
            ("sse", &[("sse.publish", "publish"), ("sse.signal", "signal")]),
        ] {
            let mut instance = linker.instance(&format!("rejoin:streams/{interface}@0.1.0"))?;
            for (shown, name) in functions {
                instance.func_new(name, move |mut store, _, arguments, _| {
                    store.data_mut().0.push((shown, arguments.to_vec()));
                    Ok(())
                })?;
            }
        }
        let mut clock = linker.instance("wasi:clocks/wall-clock@0.2.0")?;
        let time = |ms: u64| {
            let nanoseconds = Val::U32(u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000);
            Val::Record(vec![("seconds".into(), Val::U64(ms / 1000)), ("nanoseconds".into(), nanoseconds)])
        };
        for (name, ms) in [("now", NOW_MS), ("resolution", 1)] {
            clock.func_new(name, move |_, _, _, results| {
                results[0] = time(ms);
                Ok(())
            })?;
        }
        let mut store = Store::new(&engine, Asked::default());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = linker.instantiate(&mut store, &component)?;
        Ok(Walk { store, instance, handle: None, told: String::new() })
    }

    /// A line of explanation, before what it explains.
    fn says(&mut self, words: &str) -> Result<()> {
        let gap = if self.told.is_empty() { "" } else { "\n" };
        Ok(writeln!(self.told, "{gap}# {words}")?)
    }

    fn opens(&mut self, job: Val) -> Result<()> {
        let limits = [
            ("record-bytes-max", 1 << 20),
            ("records-max", 200_000),
            ("log-bytes-max", 64 << 20),
            ("idle-ms", 1_800_000),
            ("paused-idle-ms", 86_400_000),
        ];
        let limits = limits.map(|(name, value)| (name.to_owned(), Val::U64(value)));
        let arguments = vec![text("chat-1"), job, option(None), Val::Record(limits.to_vec())];
        let (result, _) = self.call("[static]session.open", "open", arguments)?;
        self.handle = result;
        Ok(())
    }

    /// One method of the session that is open.
    fn calls(&mut self, method: &str, arguments: Vec<Val>) -> Result<Asked> {
        let handle = self.handle.clone().context("a session is open")?;
        let arguments = [vec![handle], arguments].concat();
        Ok(self.call(&format!("[method]session.{method}"), method, arguments)?.1)
    }

    fn closes(&mut self, words: &str) -> Result<()> {
        if let Some(Val::Resource(handle)) = self.handle.take() {
            handle.resource_drop(&mut self.store)?;
        }
        self.says(words)
    }

    fn call(&mut self, export: &str, shown: &str, arguments: Vec<Val>) -> Result<(Option<Val>, Asked)> {
        let interface = self.instance.get_export_index(&mut self.store, None, SESSION).context(SESSION)?;
        let index = self.instance.get_export_index(&mut self.store, Some(&interface), export).context("a function")?;
        let function = self.instance.get_func(&mut self.store, index).with_context(|| export.to_owned())?;
        let mut results = vec![Val::Bool(false); function.ty(&self.store).results().len()];
        function.call(&mut self.store, &arguments, &mut results)?;
        // The session that a method is of goes without saying, and so do its limits the second time.
        let mut arguments: Vec<_> = arguments.into_iter().filter(|a| !matches!(a, Val::Resource(_))).collect();
        if shown == "open" && self.told.contains("→ open(") {
            arguments[3] = Val::Enum("limits".to_owned());
        }
        writeln!(self.told, "→ {}", call(shown, &arguments))?;
        let asked = take(self.store.data_mut());
        for (name, arguments) in &asked.0 {
            writeln!(self.told, "    ← {}", call(name, arguments))?;
        }
        if let Some(result) = results.first() {
            writeln!(self.told, "  = {}", show(result, 4))?;
        }
        Ok((results.pop(), asked))
    }
}

fn delta(text: &str) -> String {
    let content = format!(r#"[{{"type":"text","text":"{text}"}}]"#);
    format!(r#"{{"event":"on_message_delta","data":{{"id":"s","delta":{{"content":{content}}}}}}}"#)
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

fn option(value: Option<Val>) -> Val {
    Val::Option(value.map(Box::new))
}

fn variant(case: &str, value: Option<Val>) -> Val {
    Val::Variant(case.to_owned(), value.map(Box::new))
}

fn push(lines: &str) -> Vec<Val> {
    vec![option(None), Val::Enum("ndjson".to_owned()), text(lines), option(None)]
}

/// `record` with another value in one field.
fn with(record: &Val, field: &str, value: Val) -> Val {
    let Val::Record(fields) = record else { return record.clone() };
    let other = |(name, old): &(String, Val)| (name.clone(), if name == field { value.clone() } else { old.clone() });
    Val::Record(fields.iter().map(other).collect())
}

/// The JSON of log records, one a line.
fn lines_of(records: &Val) -> Result<String> {
    let Val::List(records) = records else { return Err(anyhow!("no list: {records:?}")) };
    let json = |record: &Val| match record {
        Val::Record(fields) => match fields.first() {
            Some((_, Val::String(json))) => Ok(format!("{json}\n")),
            other => Err(anyhow!("no JSON: {other:?}")),
        },
        other => Err(anyhow!("no record: {other:?}")),
    };
    records.iter().map(json).collect()
}

fn call(name: &str, arguments: &[Val]) -> String {
    let line = format!("{name}({})", shown(arguments.iter(), 0).join(", "));
    if line.chars().count() <= WIDTH {
        return line;
    }
    let lines = shown(arguments.iter(), 8).join(",\n        ");
    format!("{name}(\n        {lines})")
}

fn shown<'a>(values: impl Iterator<Item = &'a Val>, indent: usize) -> Vec<String> {
    values.map(|value| show(value, indent)).collect()
}

/// A value as WAVE, the component model's text for values, writes it; one part a line where it is long.
fn show(value: &Val, indent: usize) -> String {
    let inside =
        |value: &Option<Box<Val>>| value.as_deref().map_or(String::new(), |value| format!("({})", show(value, indent)));
    match value {
        Val::U32(number) => number.to_string(),
        Val::U64(number) => number.to_string(),
        // Full of quotation marks: between backticks, with line breaks as `\n`.
        Val::String(text) if text.contains('"') => format!("`{}`", text.replace('\n', "\\n")),
        Val::String(text) => format!("{text:?}"),
        Val::Enum(case) => case.clone(),
        Val::Option(None) => "none".to_owned(),
        Val::Option(value) => format!("some{}", inside(value)),
        Val::Variant(case, value) => format!("{case}{}", inside(value)),
        Val::Result(Ok(value)) => format!("ok{}", inside(value)),
        Val::Result(Err(value)) => format!("err{}", inside(value)),
        Val::Resource(_) => "session".to_owned(),
        Val::List(items) => group('[', shown(items.iter(), indent + 2), ']', indent),
        Val::Record(fields) => {
            let field = |(name, value): &(String, Val)| format!("{name}: {}", show(value, indent + 2));
            group('{', fields.iter().map(field).collect(), '}', indent)
        }
        other => format!("{other:?}"),
    }
}

fn group(open: char, parts: Vec<String>, close: char, indent: usize) -> String {
    let line = format!("{open}{}{close}", parts.join(", "));
    if indent + line.chars().count() <= WIDTH {
        return line;
    }
    let inner = " ".repeat(indent + 2);
    format!("{open}\n{inner}{}\n{}{close}", parts.join(&format!(",\n{inner}")), " ".repeat(indent))
}
