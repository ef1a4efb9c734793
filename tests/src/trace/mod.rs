//! Recorded session traces: tests/cases/sessions/README.md says what stands in them.
//!
//! Nothing here knows a function of the component by name: arguments, results and imports are read and written by the
//! types that the component itself declares.

mod value;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rejoin::engine::tunables;
use serde_json::{Value, json, to_string};
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Func, Linker, ResourceAny, Val};
use wasmtime::{Engine, Store};

use crate::component::shipped;

/// What the first line of a file says besides what the file is about.
const WORLD: &str = "rejoin:streams/engine@0.1.0";
const CLOCK: &str = "wasi:clocks/wall-clock";

/// Every recorded trace, by its file name.
pub fn files() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, std::fs::read_to_string(path)?);
        }
    }
    Ok(files)
}

/// Where they are.
pub fn folder() -> PathBuf {
    crate::root().join("tests/cases/sessions")
}

/// The first line of a trace, without its end.
pub fn heading(about: &str) -> Result<String> {
    Ok(format!(r#"{{"trace":1,"world":"{WORLD}","about":{}}}"#, to_string(about)?))
}

/// Plays a trace to a fresh instance and returns the number of calls.
///
/// Errors: the first line that came out otherwise, wanted and got.
pub fn play(text: &str) -> Result<usize> {
    let text = text.strip_suffix('\n').context("the last line has no end")?;
    let mut lines = text.split('\n');
    let first = lines.next().unwrap_or_default();
    let about: Value = serde_json::from_str(first)?;
    ensure!(first == heading(about["about"].as_str().unwrap_or_default())?, "another format or world: {first}");
    let mut player = Player::new()?;
    let mut calls = 0;
    for wanted in lines {
        let at = calls + 2;
        let line: Value = serde_json::from_str(wanted).with_context(|| format!("line {at}"))?;
        let call = line["call"].as_str().with_context(|| format!("line {at} has no call"))?;
        let got = player.call(call, &line["in"], line["now"].as_u64());
        let got = got.with_context(|| format!("line {at}: {call}"))?;
        ensure!(got == wanted, "line {at}\n  wanted {wanted}\n  got    {got}");
        calls += 1;
    }
    ensure!(calls > 0, "a trace without a call");
    Ok(calls)
}

/// A function of the component as traces name it, and its type.
pub type Function = (String, ComponentFunc);

/// What the component exports and what it imports, the clock left out.
pub fn functions(engine: &Engine) -> Result<(Vec<Function>, Vec<Function>)> {
    let ty = shipped(engine)?.component_type();
    let of = |name: &str, item: ComponentItem| match item {
        ComponentItem::ComponentInstance(instance) => {
            let function = |(function, item): (&str, _)| match item {
                ComponentItem::ComponentFunc(ty) => Some((call_name(name, function), ty)),
                _ => None,
            };
            let all = instance.exports(engine).filter_map(|(name, export)| function((name, export.ty)));
            all.collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    let exports = ty.exports(engine).flat_map(|(name, export)| of(name, export.ty)).collect();
    let imports = ty.imports(engine).filter(|(name, _)| !name.starts_with(CLOCK));
    Ok((exports, imports.flat_map(|(name, import)| of(name, import.ty)).collect()))
}

/// `[method]session.time-out` is `session.time-out`; what belongs to no resource goes by its interface.
fn call_name(interface: &str, function: &str) -> String {
    match function.strip_prefix('[').and_then(|function| function.split_once(']')) {
        Some(("constructor", resource)) => format!("{resource}.constructor"),
        Some((_, function)) => function.to_owned(),
        None => {
            let interface = interface.rsplit('/').next().unwrap_or_default();
            format!("{}.{function}", interface.split('@').next().unwrap_or_default())
        }
    }
}

/// What the imports see during one call.
#[derive(Default)]
struct Host {
    now: Option<u64>,
    /// The time that the component was told.
    told: Option<u64>,
    imports: Vec<String>,
}

/// One instance of the shipped component that is called by the lines of a trace.
pub struct Player {
    store: Store<Host>,
    functions: BTreeMap<String, Func>,
    /// The resources that are there, by their handles.
    handles: Vec<(String, ResourceAny)>,
    /// How many were ever made, by the letter of their kind.
    made: BTreeMap<char, u64>,
}

impl Player {
    /// A fresh instance.
    pub fn new() -> Result<Self> {
        let engine = Engine::new(&tunables::config())?;
        let component = shipped(&engine)?;
        let mut linker = Linker::<Host>::new(&engine);
        let ty = component.component_type();
        for (interface, import) in ty.imports(&engine) {
            let ComponentItem::ComponentInstance(items) = import.ty else { bail!("{interface} is no interface") };
            let mut instance = linker.instance(interface)?;
            for (name, item) in items.exports(&engine) {
                let ComponentItem::ComponentFunc(_) = item.ty else { continue };
                if interface.starts_with(CLOCK) {
                    instance.func_new(name, |mut store, _, _, results| now(store.data_mut(), results))?;
                    continue;
                }
                let call = call_name(interface, name);
                instance.func_new(name, move |mut store, ty, params, _| {
                    let line = import_line(&call, &ty, params).map_err(wasmtime::Error::from_anyhow)?;
                    store.data_mut().imports.push(line);
                    Ok(())
                })?;
            }
        }
        let mut store = Store::new(&engine, Host::default());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = linker.instantiate(&mut store, &component)?;
        let mut functions = BTreeMap::new();
        for (interface, export) in ty.exports(&engine) {
            let ComponentItem::ComponentInstance(items) = export.ty else { bail!("{interface} is no interface") };
            let index = instance.get_export_index(&mut store, None, interface);
            for (name, item) in items.exports(&engine) {
                let ComponentItem::ComponentFunc(_) = item.ty else { continue };
                let function = instance.get_export_index(&mut store, index.as_ref(), name);
                let function = function.and_then(|function| instance.get_func(&mut store, function));
                functions.insert(call_name(interface, name), function.with_context(|| format!("no {name}"))?);
            }
        }
        Ok(Player { store, functions, handles: Vec::new(), made: BTreeMap::new() })
    }

    /// Makes a call and returns its line, without the end. With `now` none the component must not ask for the time.
    ///
    /// Errors: no such function or resource, arguments of another shape, a trap.
    pub fn call(&mut self, call: &str, arguments: &Value, now: Option<u64>) -> Result<String> {
        *self.store.data_mut() = Host { now, ..Host::default() };
        if let Some(kind) = call.strip_suffix(".drop") {
            return self.give_back(call, kind, arguments);
        }
        let function = *self.functions.get(call).ok_or_else(|| anyhow!("no function {call}"))?;
        let ty = function.ty(&self.store);
        let known = |name: &str| self.handles.iter().find(|(known, _)| known == name).map(|(_, resource)| *resource);
        let mut params = Vec::new();
        for (name, ty) in ty.params() {
            let argument = arguments.get(name).with_context(|| format!("no argument {name}"))?;
            params.push((name.to_owned(), value::read(argument, &ty, &known).with_context(|| name.to_owned())?));
        }
        let values: Vec<Val> = params.iter().map(|(_, value)| value.clone()).collect();
        let mut results = vec![Val::Bool(false); ty.results().len()];
        function.call(&mut self.store, &values, &mut results)?;

        let mut line = String::new();
        value::members(&mut line, &params, &|resource| self.name_of(resource))?;
        let mut out = String::from("null");
        if let Some(result) = results.first() {
            out.clear();
            let new = Cell::new(None);
            let kind = call.chars().next().unwrap_or_default();
            let name = format!("{kind}{}", self.made.get(&kind).copied().unwrap_or(0) + 1);
            value::write(&mut out, result, &|resource| {
                new.set(Some(resource));
                name.clone()
            })?;
            if let Some(resource) = new.take() {
                *self.made.entry(kind).or_default() += 1;
                self.handles.push((name, resource));
            }
        }
        self.line(call, &line, &out)
    }

    fn give_back(&mut self, call: &str, kind: &str, arguments: &Value) -> Result<String> {
        let name = arguments["self"].as_str().context("no self")?;
        let at = self.handles.iter().position(|(known, _)| known == name && kind.starts_with(&known[..1]));
        let (name, resource) = self.handles.swap_remove(at.with_context(|| format!("no {kind} {name}"))?);
        resource.resource_drop(&mut self.store)?;
        self.line(call, &json!({ "self": name }).to_string(), "null")
    }

    fn line(&self, call: &str, arguments: &str, out: &str) -> Result<String> {
        let Host { told, imports, .. } = self.store.data();
        let (call, now, imports) = (to_string(call)?, to_string(told)?, imports.join(","));
        Ok(format!(r#"{{"call":{call},"in":{arguments},"now":{now},"imports":[{imports}],"out":{out}}}"#))
    }

    fn name_of(&self, resource: ResourceAny) -> String {
        let name = self.handles.iter().find(|(_, known)| *known == resource).map(|(name, _)| name.clone());
        name.unwrap_or_default()
    }
}

fn now(host: &mut Host, results: &mut [Val]) -> wasmtime::Result<()> {
    let Some(now) = host.now else { wasmtime::bail!("the component asked for the time where it did not before") };
    host.told = Some(now);
    let nanoseconds = u32::try_from(now % 1000).unwrap_or(0) * 1_000_000;
    results[0] = Val::Record(vec![
        ("seconds".to_owned(), Val::U64(now / 1000)),
        ("nanoseconds".to_owned(), Val::U32(nanoseconds)),
    ]);
    Ok(())
}

fn import_line(call: &str, ty: &ComponentFunc, params: &[Val]) -> Result<String> {
    let members: Vec<_> = ty.params().zip(params).map(|((name, _), value)| (name.to_owned(), value.clone())).collect();
    let mut line = format!(r#"{{"call":{},"in":"#, to_string(call)?);
    value::members(&mut line, &members, &|_| String::new())?;
    Ok(line + "}")
}
