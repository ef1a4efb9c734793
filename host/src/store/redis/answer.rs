//! What the scripts answer.

use redis::Value;

use super::index::Place;
use crate::store::Written;
use crate::types::{Cursor, Status};

/// An answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// As the trait says it; with the place that the index must hear of.
    Written(Written, Option<Place>),
    /// The script failed: what Redis said.
    Failed(String),
}

impl Answer {
    /// Reads one answer: see `append.lua`.
    pub(super) fn read(value: &Value) -> Self {
        let bytes: &[u8] = match value {
            Value::BulkString(bytes) => bytes,
            Value::SimpleString(text) => text.as_bytes(),
            _ => b"",
        };
        let text = String::from_utf8_lossy(bytes);
        parse(&text).unwrap_or_else(|| Answer::Failed(format!("a script answered {text:?}")))
    }
}

fn parse(text: &str) -> Option<Answer> {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let written = match kind {
        "A" => Written::Accepted,
        "N" => Written::NotFound,
        "G" => Written::GenerationReplaced(rest.parse().ok()?),
        "T" => Written::NotActive(Status::parse(rest)?),
        "B" => Written::Behind(rest.parse().ok()?),
        "H" => {
            let (generation, sequence) = rest.split_once(' ')?;
            Written::Ahead(Cursor { generation: generation.parse().ok()?, sequence: sequence.parse().ok()? })
        }
        "P" => return Some(Answer::Written(Written::Accepted, Some(Place::parse(rest)?))),
        "E" => return Some(Answer::Failed(rest.to_owned())),
        _ => return None,
    };
    Some(Answer::Written(written, None))
}
