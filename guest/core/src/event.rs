//! What a record means to the job, found in one scan of its members.

use crate::json::{Json, decode};

/// A record, looked at once. Everything unknown is kept and delivered untouched.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// `event` and `data`, for the fold and the run steps. The name is a string literal in its own spelling.
    pub named: Option<(&'a str, Json<'a>)>,
    /// `"created": true` with its `message`.
    pub created: Option<Json<'a>>,
    /// `"final": true`: the final event; completes the job.
    pub is_final: bool,
    /// `"_internal": true`: never delivered.
    pub is_internal: bool,
}

impl<'a> Event<'a> {
    /// Scans the members of a record.
    pub fn of(record: Json<'a>) -> Self {
        let (mut name, mut data, mut message) = (None, None, None);
        let (mut created, mut is_final, mut is_internal) = (false, false, false);
        for (key, value) in record.entries() {
            match std::str::from_utf8(&decode(key)).unwrap_or_default() {
                "event" => name = value.literal(),
                "data" => data = Some(value),
                "created" => created = value.is_true(),
                "message" => message = Some(value),
                "final" => is_final = value.is_true(),
                "_internal" => is_internal = value.is_true(),
                _ => {}
            }
        }
        Event {
            named: name.zip(data),
            created: if created { Some(message.unwrap_or(Json::NULL)) } else { None },
            is_final,
            is_internal,
        }
    }
}
