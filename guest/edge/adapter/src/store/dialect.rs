//! A command as a REST endpoint takes it, and its answer. Pure.

use serde_json::Value;

use crate::config::Dialect;

/// The body of a request, and its type.
pub(super) fn encode(dialect: Dialect, words: &[&str]) -> (&'static str, String) {
    match dialect {
        Dialect::Upstash => ("application/json", Value::from(words).to_string()),
        Dialect::Webdis => {
            let mut path = String::with_capacity(words.iter().map(|word| word.len() * 5 / 4 + 1).sum());
            for (at, word) in words.iter().enumerate() {
                if at > 0 {
                    path.push('/');
                }
                percent_encode(word, &mut path);
            }
            ("text/plain", path)
        }
    }
}

/// Everything but letters, digits and `-_~` as `%XX`: a dot would begin the ending that names a format.
fn percent_encode(word: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in word.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Redis refused the command: what it said.
    Refused(String),
    /// This is no answer of such an endpoint: what to say of it.
    Unreadable(&'static str),
}

/// The value of the answer to `command`: text, a number, null, or a list of these.
pub(super) fn decode(dialect: Dialect, command: &str, body: &[u8]) -> Result<Value, Failed> {
    let unreadable = Failed::Unreadable("its answer is not what REJOIN_REST_DIALECT says");
    let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else { return Err(unreadable) };
    match dialect {
        Dialect::Upstash => match (members.remove("error"), members.remove("result")) {
            (Some(Value::String(error)), _) => Err(Failed::Refused(error)),
            (None, Some(result)) => Ok(result),
            _ => Err(unreadable),
        },
        Dialect::Webdis => {
            // Under load Webdis at times answers what another client has asked.
            let Some((_, value)) = members.into_iter().find(|(name, _)| name == command) else {
                return Err(unreadable);
            };
            // A status is [true, "OK"], an error [false, "ERR …"]; no list of ours begins with a truth value.
            match value {
                Value::Array(parts) if matches!(parts.first(), Some(Value::Bool(_))) => {
                    let said = parts.get(1).and_then(Value::as_str).unwrap_or_default().to_owned();
                    if parts[0] == Value::Bool(true) { Ok(Value::String(said)) } else { Err(Failed::Refused(said)) }
                }
                value => Ok(value),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_a_list_or_a_path() {
        let words = ["EVAL", "return 1\n", "0", "a/b.é"];
        assert_eq!(encode(Dialect::Upstash, &words).1, r#"["EVAL","return 1\n","0","a/b.é"]"#);
        assert_eq!(encode(Dialect::Webdis, &words).1, "EVAL/return%201%0A/0/a%2Fb%2E%C3%A9");
        assert_eq!(encode(Dialect::Webdis, &["GET", ""]).1, "GET/");
    }

    // Those of https://upstash.com/docs/redis/features/restapi.
    #[test]
    fn the_documented_answers_of_upstash_are_read() {
        let read = |text: &str| decode(Dialect::Upstash, "GET", text.as_bytes());
        assert_eq!(read(r#"{ "result": "OK" }"#), Ok(json!("OK")));
        assert_eq!(read(r#"{"result":null}"#), Ok(Value::Null));
        assert_eq!(read(r#"{"result":137}"#), Ok(json!(137)));
        assert_eq!(read(r#"{"result":["value1",null,"value2"]}"#), Ok(json!(["value1", null, "value2"])));
        let refused = Failed::Refused("WRONGPASS invalid password".to_owned());
        assert_eq!(read(r#"{"error":"WRONGPASS invalid password"}"#), Err(refused));
        for other in ["", "<html>", "[]", "{}", r#"{"error":1}"#] {
            assert!(matches!(read(other), Err(Failed::Unreadable(_))), "{other}");
        }
    }

    #[test]
    fn the_answers_of_webdis_are_read() {
        let read = |text: &str| decode(Dialect::Webdis, text.split('"').nth(1).unwrap_or("GET"), text.as_bytes());
        assert_eq!(read(r#"{"SET":[true,"OK"]}"#), Ok(json!("OK")));
        assert_eq!(read(r#"{"GET":null}"#), Ok(Value::Null));
        assert_eq!(read(r#"{"HGETALL":{"a":"1"}}"#), Ok(json!({"a": "1"})));
        assert_eq!(read(r#"{"EVALSHA":["7",[]]}"#), Ok(json!(["7", []])));
        assert_eq!(read(r#"{"EVALSHA":[false,"NOSCRIPT No"]}"#), Err(Failed::Refused("NOSCRIPT No".to_owned())));
        let others = decode(Dialect::Webdis, "HGETALL", br#"{"EVALSHA":"x"}"#);
        assert!(matches!((read("{}"), others), (Err(Failed::Unreadable(_)), Err(Failed::Unreadable(_)))));
    }
}
