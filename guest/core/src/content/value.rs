//! The few JavaScript notions the rules lean on: sameness of ids, blanks, values as text.
//!
//! Strings stay in escaped form. Where two of them are compared, both are brought to one spelling first
//! ([`canonical`]): as few escapes as JSON allows, lone surrogates as lowercase `\udXXX`.

use std::borrow::Cow;
use std::fmt::Write;

use crate::json::{self, Json, Kind};

/// A string literal (without quotes) in the one spelling in which equal strings are equal bytes.
pub(super) fn canonical(literal: &str) -> Cow<'_, str> {
    if !literal.contains('\\') {
        return Cow::Borrowed(literal);
    }
    let decoded = json::decode(literal);
    let (mut out, mut rest) = (String::with_capacity(literal.len()), &*decoded);
    while let Err(error) = std::str::from_utf8(rest) {
        let (good, bad) = rest.split_at(error.valid_up_to());
        json::escape(&mut out, std::str::from_utf8(good).unwrap_or_default());
        // What is not UTF-8 in WTF-8 is a lone surrogate: three bytes, 1110xxxx 10xxxxxx 10xxxxxx.
        let code = bad.iter().take(3).fold(0u32, |code, byte| (code << 6) | u32::from(byte & 0x3F));
        let _ = write!(out, "\\u{:04x}", code & 0xFFFF);
        rest = bad.get(3..).unwrap_or_default();
    }
    json::escape(&mut out, std::str::from_utf8(rest).unwrap_or_default());
    Cow::Owned(out)
}

/// A value as key: equal ids have equal keys, unequal ones have not. Absent is the empty text.
///
/// None for lists and objects: two of them are never the same in the reference (Map keys by reference).
pub(super) fn key<'a>(json: Option<Json<'a>>) -> Option<Cow<'a, str>> {
    let Some(json) = json else { return Some(Cow::Borrowed("")) };
    match json.kind() {
        Kind::Null | Kind::Bool => Some(Cow::Borrowed(json.text())),
        Kind::String => Some(quoted(json.text())),
        Kind::Number => Some(match number(json) {
            _ if json.text().len() < 16 && json.text().bytes().all(|b| b.is_ascii_digit()) => json.text().into(),
            n if n.is_finite() => n.to_string().into(),
            n => if n < 0.0 { "-1e999" } else { "1e999" }.into(),
        }),
        Kind::Array | Kind::Object => None,
    }
}

/// A JSON string text (with quotes) in canonical spelling; any other JSON text as it is.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).map(canonical) {
        Some(Cow::Owned(inner)) => Cow::Owned(format!("\"{inner}\"")),
        _ => Cow::Borrowed(text),
    }
}

/// A number as double, without minus zero; 0 for other kinds.
pub(super) fn number(json: Json<'_>) -> f64 {
    json.text().parse::<f64>().map_or(0.0, |n| n + 0.0)
}

/// Whether a value counts as missing: absent or null.
pub(super) fn present(json: Option<Json<'_>>) -> Option<Json<'_>> {
    json.filter(|json| !json.is_null())
}

/// A value as the text that `"" + value` gives, in escaped form (C4, Q22). Lists, which no rule asks for, give "".
pub(super) fn as_text(json: Json<'_>) -> Cow<'_, str> {
    match json.kind() {
        Kind::String => json.literal().unwrap_or_default().into(),
        Kind::Null | Kind::Bool => json.text().into(),
        Kind::Number => number_text(number(json)).into(),
        Kind::Object => "[object Object]".into(),
        Kind::Array => "".into(),
    }
}

/// ECMAScript `Number::toString`: shortest digits, plain between 1e-6 and 1e21, else exponential.
fn number_text(n: f64) -> String {
    let sign = if n < 0.0 { "-" } else { "" };
    let spelled = format!("{:e}", n.abs());
    let Some((mantissa, exponent)) = spelled.split_once('e') else { return format!("{sign}Infinity") };
    let digits = mantissa.replace('.', "");
    let (count, point) = (digits.len(), exponent.parse::<i32>().unwrap_or(0) + 1);
    let before = usize::try_from(point).unwrap_or(0);
    match point {
        1..=21 if before >= count => format!("{sign}{digits}{}", "0".repeat(before - count)),
        1..=21 => format!("{sign}{}.{}", &digits[..before], &digits[before..]),
        -5..=0 => format!("{sign}0.{}{digits}", "0".repeat(usize::try_from(-point).unwrap_or(0))),
        _ => format!("{sign}{mantissa}e{:+}", point - 1),
    }
}

/// Whether a string literal is empty or all blanks (C6).
pub(super) fn is_blank(literal: &str) -> bool {
    Units(literal).all(|(_, blank)| blank)
}

/// A string literal without blanks at both ends, as JavaScript's `trim` cuts them.
pub(super) fn trim(literal: &str) -> &str {
    let (mut at, mut from, mut to) = (0, None, 0);
    for (len, blank) in Units(literal) {
        if !blank {
            from = from.or(Some(at));
            to = at + len;
        }
        at += len;
    }
    from.and_then(|from| literal.get(from..to)).unwrap_or_default()
}

/// The characters and escapes of a literal: `(length in bytes, is a blank)`.
struct Units<'a>(&'a str);

impl Iterator for Units<'_> {
    type Item = (usize, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.0.chars().next()?;
        let (len, blank) = match (first, self.0.as_bytes().get(1)) {
            ('\\', Some(b'u')) => {
                let code = self.0.get(2..6).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                (6, code.and_then(char::from_u32).is_some_and(is_space))
            }
            ('\\', escape) => (2, matches!(escape, Some(b'n' | b'r' | b't' | b'f'))),
            (other, _) => (other.len_utf8(), is_space(other)),
        };
        self.0 = self.0.get(len..).unwrap_or_default();
        Some((len, blank))
    }
}

/// ECMAScript white space and line ends. Unlike `char::is_whitespace`: U+FEFF is one, U+0085 is not (Q16).
fn is_space(c: char) -> bool {
    matches!(c, '\u{9}'..='\u{d}' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{2028}' | '\u{2029}'
        | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::parse(text).expect("valid JSON")
    }

    #[test]
    fn equal_values_have_one_key_however_they_are_spelled() {
        let keys = |text| key(Some(json(text))).map(Cow::into_owned);
        assert_eq!(keys(r#""a\/b\u0041""#), keys(r#""a/bA""#));
        assert_eq!(keys(r#""\uD83D\uDE00 \uDE00x""#).as_deref(), Some("\"😀 \\ude00x\""));
        assert_eq!(keys("2.0"), keys("2"));
        assert_eq!(keys("-0"), keys("0"));
        assert_eq!(keys("1e400").as_deref(), Some("1e999"));
        assert_ne!(keys("2"), keys("\"2\""));
        assert_eq!(keys("{}"), None);
    }

    #[test]
    fn numbers_are_spelled_as_javascript_spells_them() {
        for (text, spelled) in [
            ("5", "5"),
            ("-0", "0"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("1e-7", "1e-7"),
            ("0.000001", "0.000001"),
            ("-12.50", "-12.5"),
            ("5e-324", "5e-324"),
            ("123e30", "1.23e+32"),
            ("1e999", "Infinity"),
        ] {
            assert_eq!(as_text(json(text)), spelled, "{text}");
        }
    }

    #[test]
    fn trim_cuts_blanks_in_every_spelling_and_nothing_else() {
        assert_eq!(trim(r" \n\ufeff\u3000a \\n \t "), r"a \\n");
        assert_eq!(trim("\u{feff} \u{a0}"), "");
        assert_eq!(trim("\u{85}\u{200b}"), "\u{85}\u{200b}");
        assert_eq!(trim(r"\ud83d \b"), r"\ud83d \b");
        assert!(is_blank(r"\u0020\t") && !is_blank(r"\\"));
    }
}
