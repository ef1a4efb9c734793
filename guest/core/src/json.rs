//! JSON as borrowed text: checked once at the door, walked afterwards without copying.
//!
//! [`Json`] can only hold a valid JSON text, so walking it cannot fail. Values keep their own spelling: a
//! number keeps its digits, a string keeps its escapes. Two things fall out of that. Strings are concatenated
//! in escaped form ([`Json::literal`]), so surrogate halves that arrive in two pieces heal when they meet and
//! lone ones survive; and nesting costs no stack, because a value that nobody looks into is only skipped.

use std::borrow::Cow;

use memchr::memchr2;
use serde_json::value::RawValue;

/// A valid JSON text without blanks around it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

/// What a JSON value is, without looking into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// Any number.
    Number,
    /// Any string.
    String,
    /// A list.
    Array,
    /// An object.
    Object,
}

impl<'a> Json<'a> {
    /// `null`.
    pub const NULL: Json<'static> = Json("null");

    /// The empty string.
    pub const EMPTY: Json<'static> = Json("\"\"");

    /// Checks `text` and returns it as JSON. Depth of nesting is not limited: the check is not recursive.
    ///
    /// Errors: the reason with its column, in words for a person.
    pub fn parse(text: &'a str) -> Result<Json<'a>, String> {
        match serde_json::from_str::<&'a RawValue>(text) {
            Ok(raw) => Ok(Json(raw.get())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A text that came out of a `Json`, or was put together from such ones, as JSON again: not checked twice.
    pub(crate) fn known(text: &'a str) -> Json<'a> {
        debug_assert!(Json::parse(text).is_ok_and(|json| json.0.len() == text.len()), "not JSON: {text}");
        Json(text)
    }

    /// The value that `rest` begins with, and what follows it; none at the end of a list or an object.
    ///
    /// Shape: `rest` is the tail of a valid text, from where a value begins.
    pub(crate) fn first_of(rest: &'a str) -> Option<(Json<'a>, &'a str)> {
        let mut walk = Walk { text: rest, at: 0 };
        let value = walk.value()?;
        Some((Json(value), &rest[walk.at..]))
    }

    /// The text itself.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.0.as_bytes()[0] {
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Bool,
            b'"' => Kind::String,
            b'[' => Kind::Array,
            b'{' => Kind::Object,
            _ => Kind::Number,
        }
    }

    /// JSON `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// `true`, exactly.
    pub fn is_true(self) -> bool {
        self.0 == "true"
    }

    /// False for null, false, zero and the empty string; true for everything else, `[]` and `{}` included.
    pub fn is_truthy(self) -> bool {
        match self.kind() {
            Kind::Null => false,
            Kind::Bool => self.0 == "true",
            Kind::String => self.0 != "\"\"",
            Kind::Number => self.0.parse::<f64>().is_ok_and(|n| n != 0.0),
            Kind::Array | Kind::Object => true,
        }
    }

    /// The inside of a string in its own spelling, escapes and all, without the quotes; none for other kinds.
    pub fn literal(self) -> Option<&'a str> {
        (self.kind() == Kind::String).then(|| &self.0[1..self.0.len() - 1])
    }

    /// The decoded characters of a string as WTF-8 (UTF-8 that may hold lone surrogates); none for other kinds.
    pub fn decoded(self) -> Option<Cow<'a, [u8]>> {
        self.literal().map(decode)
    }

    /// The decoded string; none for other kinds and for strings with lone surrogates.
    pub fn string(self) -> Option<Cow<'a, str>> {
        match self.decoded()? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        }
    }

    /// A number that is a whole one in `u64`, spelled as digits only.
    pub fn as_u64(self) -> Option<u64> {
        if self.kind() == Kind::Number { self.0.parse().ok() } else { None }
    }

    /// Whether this is the string `text`.
    pub fn is_string(self, text: &str) -> bool {
        self.literal().is_some_and(|literal| literal_is(literal, text))
    }

    /// The members of an object in order, keys in their own spelling; nothing for other kinds.
    pub fn entries(self) -> Entries<'a> {
        Entries(Walk::into(self.0, b'{'))
    }

    /// The members of a list in order; nothing for other kinds.
    pub fn items(self) -> Items<'a> {
        Items(Walk::into(self.0, b'['))
    }

    /// The member `key` of an object, the last one where a key repeats.
    pub fn get(self, key: &str) -> Option<Json<'a>> {
        self.entries().filter(|(k, _)| literal_is(k, key)).map(|(_, value)| value).last()
    }

    /// The members `keys` of an object, each the last one where a key repeats, in one walk over it.
    pub fn pick<const N: usize>(self, keys: [&str; N]) -> [Option<Json<'a>>; N] {
        let mut found = [None; N];
        for (literal, value) in self.entries() {
            let at = match literal.contains('\\') {
                false => keys.iter().position(|key| *key == literal),
                true => keys.iter().position(|key| literal_is(literal, key)),
            };
            if let Some(slot) = at.and_then(|at| found.get_mut(at)) {
                *slot = Some(value);
            }
        }
        found
    }
}

impl std::fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Members of an object: `(key literal, value)`.
pub struct Entries<'a>(Walk<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a str, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.value()?;
        let value = self.0.value()?;
        Some((&key[1..key.len() - 1], Json(value)))
    }
}

/// Members of a list.
pub struct Items<'a>(Walk<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.value().map(Json)
    }
}

/// A walk over the direct members of one valid list or object.
struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    fn into(text: &'a str, open: u8) -> Self {
        let at = if text.as_bytes()[0] == open { 1 } else { text.len() };
        Walk { text, at }
    }

    /// The next key or value; blanks, commas and colons in front of it are passed over.
    fn value(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
            self.at += 1;
        }
        let start = self.at;
        match bytes.get(start)? {
            b'}' | b']' => return None,
            b'"' => self.at = string_end(bytes, start),
            b'{' | b'[' => self.at = nested_end(bytes, start),
            _ => {
                while !matches!(bytes.get(self.at), None | Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b'}' | b']')) {
                    self.at += 1;
                }
            }
        }
        Some(&self.text[start..self.at])
    }
}

/// One past the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        // Keys and most values are short: only a longer string is worth a call.
        let near = bytes[at..].iter().take(8).position(|byte| matches!(byte, b'"' | b'\\'));
        at += near.or_else(|| memchr2(b'"', b'\\', &bytes[at..])).unwrap_or(bytes.len() - at);
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            // In a valid text the end of the text is never met first.
            _ => return at + 1,
        }
    }
}

/// One past the bracket that closes the one at `start`. In a valid text brackets match by count alone.
fn nested_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0usize);
    loop {
        match bytes[at] {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Whether a string literal (without quotes) spells `text`, whatever escapes it uses.
pub fn literal_is(literal: &str, text: &str) -> bool {
    if literal.contains('\\') { *decode(literal) == *text.as_bytes() } else { literal == text }
}

/// Decodes a valid string literal (without quotes) to WTF-8; surrogate pairs join, lone halves stay.
pub fn decode(literal: &str) -> Cow<'_, [u8]> {
    let Some(first) = literal.find('\\') else { return Cow::Borrowed(literal.as_bytes()) };
    let bytes = literal.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(&bytes[..first]);
    let mut at = first;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let escape = bytes[at + 1];
        at += 2;
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => {
                let mut code = hex4(&bytes[at..]);
                at += 4;
                let low = if (0xD800..0xDC00).contains(&code) && bytes[at..].starts_with(b"\\u") {
                    Some(hex4(&bytes[at + 2..])).filter(|low| (0xDC00..0xE000).contains(low))
                } else {
                    None
                };
                if let Some(low) = low {
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                    at += 6;
                }
                push_wtf8(&mut out, code);
            }
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

fn hex4(bytes: &[u8]) -> u32 {
    bytes[..4].iter().fold(0, |n, b| n * 16 + (*b as char).to_digit(16).unwrap_or(0))
}

fn push_wtf8(out: &mut Vec<u8>, code: u32) {
    let low6 = |shift: u32| 0x80 | ((code >> shift) & 0x3F) as u8;
    match code {
        0..0x80 => out.push(code as u8),
        0x80..0x800 => out.extend([0xC0 | (code >> 6) as u8, low6(0)]),
        0x800..0x10000 => out.extend([0xE0 | (code >> 12) as u8, low6(6), low6(0)]),
        _ => out.extend([0xF0 | (code >> 18) as u8, low6(12), low6(6), low6(0)]),
    }
}

/// Appends `text` to `out` as a JSON string with its quotes.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

/// Appends the escaped form of `text` to `out`, without quotes.
pub fn escape(out: &mut String, text: &str) {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        if short.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(short);
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_come_in_order_and_the_last_of_a_repeated_key_wins() {
        let json = Json::parse(r#" {"a": 1 ,"b":[true , null],"\u0061":{"x":"}\""}} "#).expect("valid");
        let keys: Vec<_> = json.entries().map(|(k, v)| (k, v.text())).collect();
        assert_eq!(keys, [("a", "1"), ("b", "[true , null]"), ("\\u0061", r#"{"x":"}\""}"#)]);
        assert_eq!(json.get("a").map(Json::text), Some(r#"{"x":"}\""}"#));
        assert_eq!(json.get("b").map(|b| b.items().count()), Some(2));
        assert_eq!(json.get("c"), None);
    }

    #[test]
    fn ten_thousand_levels_need_no_stack() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let json = Json::parse(&deep).expect("valid");
        assert_eq!(json.get("a").map(|a| a.text().len()), Some(20_000));
    }

    #[test]
    fn lone_surrogates_pass_and_pairs_join() {
        let json = Json::parse(r#""\ud83d""#).expect("lone halves are valid JSON text");
        assert_eq!(json.decoded().as_deref(), Some(&[0xED, 0xA0, 0xBD][..]));
        assert_eq!(json.string(), None);
        assert_eq!(Json::parse(r#""\ud83d\ude00""#).expect("valid").string().as_deref(), Some("😀"));
    }

    #[test]
    fn an_escape_is_what_it_means_and_never_how_it_is_spelt() {
        assert!(literal_is(r"a\n", "a\n") && literal_is(r"a\\n", r"a\n"));
        assert!(!literal_is(r"a\n", r"a\n"));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in ["", "{", "{\"a\":}", "[1,]", "01", "nul", "\"\u{1}\"", "{} {}", "\"\\x\"", "\u{feff}{}"] {
            assert!(Json::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn escaping_and_decoding_are_inverse(text in any::<String>()) {
            let mut out = String::new();
            write_string(&mut out, &text);
            let json = Json::parse(&out).expect("escaped text is JSON");
            let decoded = json.string();
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
            prop_assert!(json.is_string(&text));
            prop_assert_eq!(json.is_string(json.literal().unwrap_or_default()), !out.contains('\\'));
            prop_assert_eq!(serde_json::from_str::<String>(&out).expect("valid"), text);
        }
    }
}
