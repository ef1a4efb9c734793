//! Looking into chunks.

use std::borrow::Cow;

use crate::json::{Json, literal_is};

/// The members of an object, walked once for many looks.
pub(super) struct Fields<'a>(Vec<(&'a str, Json<'a>)>);

impl<'a> Fields<'a> {
    /// Those of `object`; none when it is something else.
    pub(super) fn of(object: Json<'a>) -> Self {
        Fields(object.entries().collect())
    }
}

/// Something with members.
pub(super) trait Object<'a> {
    /// The member `key`, the last one where a key repeats.
    fn member(self, key: &str) -> Option<Json<'a>>;
}

impl<'a> Object<'a> for Json<'a> {
    fn member(self, key: &str) -> Option<Json<'a>> {
        self.get(key)
    }
}

impl<'a> Object<'a> for &Fields<'a> {
    fn member(self, key: &str) -> Option<Json<'a>> {
        self.0.iter().rfind(|(name, _)| literal_is(name, key)).map(|(_, value)| *value)
    }
}

/// The type of a chunk: its own `type`, else the name of its event.
pub(super) fn chunk_type<'a>(chunk: impl Object<'a>, event: &'a str) -> Cow<'a, str> {
    chunk.member("type").and_then(Json::string).unwrap_or(event.into())
}

/// The literal of a string member; "" when it is absent or of another kind.
pub(super) fn literal<'a>(object: impl Object<'a>, key: &str) -> &'a str {
    object.member(key).and_then(Json::literal).unwrap_or("")
}

/// The first of these string members that is not empty; "" when there is none.
pub(super) fn first_literal<'a>(object: impl Object<'a> + Copy, keys: &[&str]) -> &'a str {
    keys.iter().map(|key| literal(object, key)).find(|literal| !literal.is_empty()).unwrap_or("")
}

/// A member that is there and not null.
pub(super) fn present<'a>(object: impl Object<'a>, key: &str) -> Option<Json<'a>> {
    object.member(key).filter(|value| !value.is_null())
}

/// A member, or null.
pub(super) fn value<'a>(object: impl Object<'a>, key: &str) -> Json<'a> {
    object.member(key).unwrap_or(Json::NULL)
}

/// A member that counts; 0 when it is absent or of another kind.
pub(super) fn number<'a>(object: impl Object<'a>, key: &str) -> u64 {
    object.member(key).and_then(Json::as_u64).unwrap_or(0)
}

/// The members of a list that may be absent.
pub(super) fn list<'a>(object: impl Object<'a>, key: &str) -> crate::json::Items<'a> {
    value(object, key).items()
}
