//! `wit/REFERENCE.md`: every item of the package on one page, made from the WIT.
//!
//! Not by `wit-bindgen-markdown` 0.63: it leaves out what exported interfaces say of themselves (the call order), and gives
//! the same anchor to every item of the same name.

use std::fmt::Write;

use anyhow::{Context, Result, anyhow};
use rejoin_tests::root;
use wit_parser::{
    Docs, Function, FunctionKind, Handle, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId, TypeOwner,
    WorldItem, WorldKey,
};

const WRITTEN_BY: &str = "BLESS=1 cargo test -p rejoin-tests contract";

#[test]
fn the_reference_says_what_the_wit_says() -> Result<()> {
    super::up_to_date("wit/REFERENCE.md", &page()?)
}

fn page() -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit")).map_err(|error| anyhow!("{error:?}"))?;
    let package = &resolve.packages[package];
    let mut page = Page { resolve: &resolve, text: String::new() };
    writeln!(page.text, "# `{}`\n\n<!-- written by `{WRITTEN_BY}` -->", package.name)?;
    page.words(&package.docs)?;
    for world in package.worlds.values() {
        page.world(*world)?;
    }
    let mut order: Vec<InterfaceId> = package.interfaces.values().copied().collect();
    // `types` first: everything else speaks in its words. Then as the world names them.
    let world = &resolve.worlds[*package.worlds.values().next().context("a world")?];
    let place = |id: InterfaceId| world.imports.values().chain(world.exports.values()).position(|item| is(item, id));
    order.sort_by_key(|id| place(*id));
    for id in order {
        page.interface(id)?;
    }
    Ok(page.text)
}

fn is(item: &WorldItem, interface: InterfaceId) -> bool {
    matches!(item, WorldItem::Interface { id, .. } if *id == interface)
}

struct Page<'a> {
    resolve: &'a Resolve,
    text: String,
}

impl Page<'_> {
    fn words(&mut self, docs: &Docs) -> Result<()> {
        if let Some(text) = docs.contents.as_deref() {
            writeln!(self.text, "\n{}", text.trim())?;
        }
        Ok(())
    }

    fn world(&mut self, id: wit_parser::WorldId) -> Result<()> {
        let world = &self.resolve.worlds[id];
        writeln!(self.text, "\n## World `{}`", world.name)?;
        self.words(&world.docs)?;
        writeln!(self.text, "\n| | interface | |\n|---|---|---|")?;
        for (way, items) in [("import", &world.imports), ("export", &world.exports)] {
            for (key, item) in items {
                let (name, docs) = match (key, item) {
                    (WorldKey::Interface(id), WorldItem::Interface { docs, .. }) => {
                        let interface = &self.resolve.interfaces[*id];
                        let ours = interface.package == world.package;
                        let name = interface.name.clone().context("a name")?;
                        let full = self.resolve.name_world_key(key);
                        (if ours { format!("[`{full}`](#{name})") } else { format!("`{full}`") }, docs)
                    }
                    _ => (format!("`{}`", self.resolve.name_world_key(key)), &Docs::default()),
                };
                let says = docs.contents.as_deref().unwrap_or("Types that the others use.");
                writeln!(self.text, "| {way} | {name} | {} |", one_line(says))?;
            }
        }
        Ok(())
    }

    fn interface(&mut self, id: InterfaceId) -> Result<()> {
        let interface = &self.resolve.interfaces[id];
        let name = interface.name.as_deref().context("a name")?;
        writeln!(self.text, "\n## <a id=\"{name}\"></a>Interface `{name}`")?;
        self.words(&interface.docs)?;
        for (type_name, type_id) in &interface.types {
            let definition = &self.resolve.types[*type_id];
            // `use other.{name}` is a name for what is explained there.
            if !matches!(definition.kind, TypeDefKind::Type(_)) {
                self.definition(name, type_name, *type_id, definition)?;
            }
        }
        for function in interface.functions.values().filter(|function| function.kind.resource().is_none()) {
            self.function(name, function)?;
        }
        Ok(())
    }

    fn definition(&mut self, interface: &str, name: &str, id: TypeId, definition: &TypeDef) -> Result<()> {
        let resource = matches!(definition.kind, TypeDefKind::Resource);
        let what = definition.kind.as_str();
        writeln!(self.text, "\n### <a id=\"{interface}.{name}\"></a>{what} `{name}`")?;
        self.words(&definition.docs)?;
        let rows: Vec<(&str, String, &Docs)> = match &definition.kind {
            TypeDefKind::Record(record) => {
                record.fields.iter().map(|part| (part.name.as_str(), self.named(&part.ty), &part.docs)).collect()
            }
            TypeDefKind::Variant(variant) => {
                let of = |ty: Option<Type>| ty.map(|ty| self.named(&ty)).unwrap_or_default();
                variant.cases.iter().map(|part| (part.name.as_str(), of(part.ty), &part.docs)).collect()
            }
            TypeDefKind::Enum(cases) => {
                cases.cases.iter().map(|part| (part.name.as_str(), String::new(), &part.docs)).collect()
            }
            TypeDefKind::Resource => Vec::new(),
            other => anyhow::bail!("{interface}.{name}: this page knows no {}", other.as_str()),
        };
        if !rows.is_empty() {
            writeln!(self.text, "\n| | | |\n|---|---|---|")?;
        }
        for (name, ty, docs) in rows {
            let says = docs.contents.as_deref().unwrap_or_default();
            writeln!(self.text, "| `{name}` | {ty} | {} |", one_line(says))?;
        }
        if resource && let TypeOwner::Interface(owner) = definition.owner {
            let functions = self.resolve.interfaces[owner].functions.values();
            for function in functions.filter(|function| function.kind.resource() == Some(id)) {
                self.function(&format!("{interface}.{name}"), function)?;
            }
        }
        Ok(())
    }

    fn function(&mut self, owner: &str, function: &Function) -> Result<()> {
        let (name, method) = (function.item_name(), matches!(function.kind, FunctionKind::Method(_)));
        let (name, kind) = match function.kind {
            FunctionKind::Constructor(_) => ("constructor", ""),
            FunctionKind::Static(_) => (name, "static "),
            _ => (name, ""),
        };
        let anchor = format!("{owner}.{name}");
        // The first parameter of a method is the resource that it stands under.
        let parameters = function.params.iter().skip(usize::from(method));
        let parameters: Vec<_> = parameters.map(|p| format!("`{}`: {}", p.name, self.named(&p.ty))).collect();
        let result = match &function.result {
            Some(result) if name != "constructor" => format!(" → {}", self.named(result)),
            _ => String::new(),
        };
        writeln!(self.text, "\n#### <a id=\"{anchor}\"></a>{kind}`{name}` ({}){result}", parameters.join(", "))?;
        self.words(&function.docs)
    }

    /// A type as the WIT writes it, each name of ours a link.
    fn named(&self, ty: &Type) -> String {
        let Type::Id(id) = ty else { return format!("`{}`", primitive(ty)) };
        let definition = &self.resolve.types[*id];
        // `use other.{name}` stands for what it names.
        if let TypeDefKind::Type(ty) = &definition.kind {
            return self.named(ty);
        }
        if let (Some(name), TypeOwner::Interface(owner)) = (&definition.name, definition.owner) {
            let owner = self.resolve.interfaces[owner].name.clone().unwrap_or_default();
            return format!("[`{name}`](#{owner}.{name})");
        }
        let inner = |ty: &Option<Type>| ty.as_ref().map_or("`_`".to_owned(), |ty| self.named(ty));
        match &definition.kind {
            TypeDefKind::Option(ty) => format!("`option` of {}", self.named(ty)),
            TypeDefKind::List(ty) => format!("`list` of {}", self.named(ty)),
            TypeDefKind::Result(result) => match (&result.ok, &result.err) {
                (None, err) => format!("`ok`, or {}", inner(err)),
                (ok, err) => format!("{}, or {}", inner(ok), inner(err)),
            },
            TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => self.named(&Type::Id(*id)),
            other => format!("`{}`", other.as_str()),
        }
    }
}

fn primitive(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::String => "string",
        _ => "another primitive",
    }
}

/// For a cell of a table.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
