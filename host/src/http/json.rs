//! JSON out. What the store and the component hold as JSON text is spliced as text, never parsed again. Pure.

use crate::types::{Job, StreamId};

/// The row as clients see it. The component's own fields, whose names have a colon, are left out.
pub fn job_json(stream: &StreamId, job: &Job) -> String {
    let mut object = Object::new();
    object
        .string("streamId", stream.as_str())
        .number("generation", job.generation)
        .string("status", job.status.as_str())
        .bool("active", !job.status.is_terminal())
        .string("userId", &job.user_id)
        .number("createdAt", job.created_ms)
        .number("updatedAt", job.updated_ms);
    if let Some(settled_ms) = job.settled_ms {
        object.number("completedAt", settled_ms);
    }
    object.string("cursor", &job.cursor().to_string());
    for (name, value) in job.fields.iter().filter(|(name, _)| !name.contains(':')) {
        object.raw(name, value);
    }
    object.end()
}

/// A JSON object in the making.
#[derive(Debug)]
pub struct Object(String);

impl Object {
    /// `{`
    pub fn new() -> Self {
        Object("{".to_owned())
    }

    /// A member whose value is JSON text already.
    pub fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        push_string(&mut self.0, name);
        self.0.push(':');
        self.0.push_str(json);
        self
    }

    /// A string.
    pub fn string(&mut self, name: &str, value: &str) -> &mut Self {
        let mut quoted = String::with_capacity(value.len() + 2);
        push_string(&mut quoted, value);
        self.raw(name, &quoted)
    }

    /// A string, or null.
    pub fn string_or_null(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.string(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.raw(name, &value.to_string())
    }

    /// A truth value.
    pub fn bool(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// The members of another object's text follow.
    pub fn members_of(&mut self, object: &str) -> &mut Self {
        let inner = object.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let members = inner.unwrap_or_default().trim();
        if !members.is_empty() {
            if self.0.len() > 1 {
                self.0.push(',');
            }
            self.0.push_str(members);
        }
        self
    }

    /// `}`
    pub fn end(&mut self) -> String {
        self.0.push('}');
        std::mem::take(&mut self.0)
    }
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

/// A string as JSON.
fn push_string(out: &mut String, value: &str) {
    match serde_json::to_string(value) {
        Ok(quoted) => out.push_str(&quoted),
        Err(error) => unreachable!("a string is always JSON: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Status;

    #[test]
    fn a_job_is_its_row_with_fields_as_they_are() {
        let job = Job {
            generation: 1789000000000,
            status: Status::Complete,
            user_id: "u\"1".into(),
            created_ms: 1,
            updated_ms: 2,
            settled_ms: Some(3),
            head: 41,
            revision: 0,
            fields: vec![
                ("model".into(), r#""m""#.into()),
                ("producer:p".into(), r#"{"seq":1}"#.into()),
                ("userMessage".into(), r#"{"text":"1e400"}"#.into()),
            ],
        };
        let stream = StreamId::parse("a/b").expect("it is valid");
        let expected = concat!(
            r#"{"streamId":"a/b","generation":1789000000000,"status":"complete","active":false,"userId":"u\"1","#,
            r#""createdAt":1,"updatedAt":2,"completedAt":3,"cursor":"1789000000000-41","#,
            r#""model":"m","userMessage":{"text":"1e400"}}"#,
        );
        assert_eq!(job_json(&stream, &job), expected);
    }

    #[test]
    fn members_of_another_object_follow() {
        assert_eq!(Object::new().number("a", 1).members_of(" {\"b\":{}} ").end(), r#"{"a":1,"b":{}}"#);
        assert_eq!(Object::new().number("a", 1).members_of("{}").end(), r#"{"a":1}"#);
        assert_eq!(Object::new().members_of(r#"{"b":2}"#).end(), r#"{"b":2}"#);
    }
}
