//! The last record of a generation. Its shape is that of the system this one replaces (API.md section 3).

use crate::json::{self, Json};
use crate::lines::one_line;
use crate::resume::write_member;
use crate::types::Job;

/// How a generation ended, for the event that the core makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The producer completed it without an event of its own.
    Complete,
    /// Someone stopped it.
    Aborted,
}

/// The final event of `job` with this content (a JSON list) and text (an escaped string without quotes).
pub fn build(job: &Job, content: &str, text: &str, ending: Ending) -> String {
    let member = |name: &str| job.field(name);
    let user_message = member("userMessage").and_then(|text| Json::parse(text).ok());
    let user_message_id = user_message.and_then(|m| m.get("messageId")).filter(|id| id.literal().is_some());
    let conversation_id = member("conversationId").unwrap_or("null");
    let stopped = ending == Ending::Aborted;

    let mut out = String::with_capacity(content.len() + text.len() + 512);
    out.push_str(r#"{"final":true,"conversation":{"conversationId":"#);
    out.push_str(conversation_id);
    out.push_str(r#"},"title":"New Chat","requestMessage":"#);
    match user_message {
        None => out.push_str("null"),
        Some(message) => {
            out.push('{');
            for name in ["messageId", "parentMessageId", "conversationId", "text"] {
                if let Some(value) = message.get(name) {
                    write_member(&mut out, name, value.text());
                }
            }
            write_member(&mut out, "isCreatedByUser", "true");
            out.push('}');
        }
    }
    out.push_str(r#","responseMessage":{"#);
    match member("responseMessageId") {
        Some(id) => write_member(&mut out, "messageId", id),
        None => {
            let nobody = if stopped { "aborted" } else { "complete" };
            let id = user_message_id.and_then(Json::literal).unwrap_or(nobody);
            write_member(&mut out, "messageId", &format!("\"{id}_\""));
        }
    }
    write_member(&mut out, "parentMessageId", user_message_id.map_or("null", Json::text));
    write_member(&mut out, "conversationId", conversation_id);
    write_member(&mut out, "content", content);
    write_member(&mut out, "text", &format!("\"{text}\""));
    write_member(&mut out, "sender", member("sender").unwrap_or("\"AI\""));
    for name in ["endpoint", "iconURL", "model"] {
        if let Some(value) = member(name) {
            write_member(&mut out, name, value);
        }
    }
    write_member(&mut out, "unfinished", if stopped { "true" } else { "false" });
    write_member(&mut out, "error", "false");
    write_member(&mut out, "isCreatedByUser", "false");
    out.push('}');
    if stopped {
        write_member(&mut out, "aborted", "true");
    }
    out.push('}');
    out
}

/// A producer's own final event on one line, with `"final":true` whatever it said before.
pub fn given(event: Json<'_>) -> String {
    if event.get("final").is_some_and(Json::is_true) {
        return one_line(event).into_owned();
    }
    let mut out = String::from(r#"{"final":true"#);
    for (key, value) in event.entries().filter(|(key, _)| !json::literal_is(key, "final")) {
        write_member(&mut out, key, &one_line(value));
    }
    out.push('}');
    out
}

/// The last record of a failed generation.
pub fn failure(reason: &str) -> String {
    let mut out = String::from(r#"{"error":"#);
    json::write_string(&mut out, reason);
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Field, Status};

    fn job(fields: &[(&str, &str)]) -> Job {
        Job {
            generation: 1,
            status: Status::Running,
            user_id: "u".into(),
            created_ms: 1,
            updated_ms: 1,
            settled_ms: None,
            head: 0,
            fields: fields.iter().map(|(n, v)| Field { name: (*n).into(), value: (*v).into() }).collect(),
        }
    }

    #[test]
    fn an_abort_without_anything_known_still_has_every_member() {
        assert_eq!(
            build(&job(&[]), "[]", "", Ending::Aborted),
            concat!(
                r#"{"final":true,"conversation":{"conversationId":null},"title":"New Chat","requestMessage":null,"#,
                r#""responseMessage":{"messageId":"aborted_","parentMessageId":null,"conversationId":null,"content":[],"#,
                r#""text":"","sender":"AI","unfinished":true,"error":false,"isCreatedByUser":false},"aborted":true}"#
            )
        );
    }

    #[test]
    fn an_abort_names_the_user_message_it_answers() {
        let known = job(&[
            ("conversationId", "\"c1\""),
            ("sender", "\"Claude\""),
            ("userMessage", r#"{"messageId":"m1","text":"hi","extra":1}"#),
        ]);
        let event = build(&known, r#"[{"type":"text","text":"yo"}]"#, "yo", Ending::Aborted);
        assert!(event.contains(r#""requestMessage":{"messageId":"m1","text":"hi","isCreatedByUser":true}"#), "{event}");
        assert!(event.contains(r#""messageId":"m1_","parentMessageId":"m1","conversationId":"c1""#), "{event}");
        assert!(event.contains(r#""text":"yo","sender":"Claude""#), "{event}");
    }

    #[test]
    fn a_given_final_event_says_final_once_and_stands_on_one_line() {
        let event = Json::parse("{\"final\":false,\n\"title\":\"T\"}").expect("valid");
        assert_eq!(given(event), r#"{"final":true,"title":"T"}"#);
        let own = Json::parse("{\"title\":\"T\",\n\"final\":true}").expect("valid");
        assert_eq!(given(own), "{\"title\":\"T\", \"final\":true}");
    }
}
