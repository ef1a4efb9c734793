//! WIT values as JSON and back, guided by the types of the component: tests/cases/sessions/README.md has the table.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, to_string};
use wasmtime::component::types::Type;
use wasmtime::component::{ResourceAny, Val};

/// The value of type `ty` that `json` describes. `handle` knows the resources.
///
/// Errors: another shape than the type's, or a handle that is not known.
pub(super) fn read(json: &Value, ty: &Type, handle: &dyn Fn(&str) -> Option<ResourceAny>) -> Result<Val> {
    let boxed = |ty: Option<Type>| -> Result<Option<Box<Val>>> {
        let Some(ty) = ty else { return Ok(None) };
        Ok(Some(Box::new(read(json.get("val").context("a case without its val")?, &ty, handle)?)))
    };
    Ok(match ty {
        Type::U64 => Val::U64(json.as_u64().with_context(|| format!("{json} is no u64"))?),
        Type::String => Val::String(text(json)?.to_owned()),
        Type::List(list) => {
            let items = json.as_array().with_context(|| format!("{json} is no list"))?;
            Val::List(items.iter().map(|item| read(item, &list.ty(), handle)).collect::<Result<_>>()?)
        }
        Type::Record(record) => {
            let field = |field: wasmtime::component::types::Field<'_>| {
                let value = json.get(field.name).with_context(|| format!("no {} in {json}", field.name))?;
                Ok((field.name.to_owned(), read(value, &field.ty, handle)?))
            };
            Val::Record(record.fields().map(field).collect::<Result<_>>()?)
        }
        Type::Variant(variant) => {
            let tag = text(json.get("tag").context("a variant without its tag")?)?;
            let case = variant.cases().find(|case| case.name == tag).with_context(|| format!("no case {tag}"))?;
            Val::Variant(tag.to_owned(), boxed(case.ty)?)
        }
        Type::Enum(_) => Val::Enum(text(json)?.to_owned()),
        Type::Option(_) if json.is_null() => Val::Option(None),
        Type::Option(option) => Val::Option(Some(Box::new(read(json, &option.ty(), handle)?))),
        Type::Own(_) | Type::Borrow(_) => {
            let name = text(json)?;
            Val::Resource(handle(name).with_context(|| format!("no resource {name}"))?)
        }
        other => bail!("no arguments of type {other:?} in this world"),
    })
}

fn text(json: &Value) -> Result<&str> {
    json.as_str().ok_or_else(|| anyhow!("{json} is no string"))
}

/// Appends `value` as JSON. `handle` names the resources.
pub(super) fn write(out: &mut String, value: &Val, handle: &dyn Fn(ResourceAny) -> String) -> Result<()> {
    let payload = |out: &mut String, value: &Option<Box<Val>>| match value {
        Some(value) => write(out, value, handle),
        None => {
            out.push_str("null");
            Ok(())
        }
    };
    match value {
        Val::U32(number) => out.push_str(&number.to_string()),
        Val::U64(number) => out.push_str(&number.to_string()),
        Val::String(text) | Val::Enum(text) => out.push_str(&to_string(text)?),
        Val::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write(out, item, handle)?;
            }
            out.push(']');
        }
        Val::Record(fields) => members(out, fields, handle)?,
        Val::Variant(tag, value) => {
            out.push_str(&format!("{{\"tag\":\"{tag}\""));
            if value.is_some() {
                out.push_str(",\"val\":");
                payload(out, value)?;
            }
            out.push('}');
        }
        Val::Option(value) => payload(out, value)?,
        Val::Result(result) => {
            let (name, value) = match result {
                Ok(value) => ("ok", value),
                Err(value) => ("err", value),
            };
            out.push_str(&format!("{{\"{name}\":"));
            payload(out, value)?;
            out.push('}');
        }
        Val::Resource(resource) => out.push_str(&to_string(&handle(*resource))?),
        other => bail!("no values like {other:?} in this world"),
    }
    Ok(())
}

/// Appends an object of these members in this order.
pub(super) fn members(
    out: &mut String,
    members: &[(String, Val)],
    handle: &dyn Fn(ResourceAny) -> String,
) -> Result<()> {
    out.push('{');
    for (at, (name, value)) in members.iter().enumerate() {
        out.push_str(if at > 0 { ",\"" } else { "\"" });
        out.push_str(name);
        out.push_str("\":");
        write(out, value, handle)?;
    }
    out.push('}');
    Ok(())
}
