//! From the text of a token to who asks.

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{decode, decode_header};
use serde::{Deserialize, Deserializer};

use super::key::Keys;
use super::{Identity, Pattern, Scope};

/// A longer token is not looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
const SUBJECT_BYTES_MAX: usize = 256;

/// Why a token is none of ours; from what is known least about it to what is known best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refused {
    /// No JWT, or one of an algorithm or with a header that is not understood.
    #[error("the access token is no JWT signed with HS256 or EdDSA")]
    Malformed,
    /// Its signature is of none of the keys.
    #[error("the access token is signed with none of the keys of this server")]
    UnknownKey,
    /// Signed by us, but it lacks something.
    #[error(
        "the access token needs `exp` and `sub` (1 to 256 bytes); `scope` is text or a list of texts, `stream` is text"
    )]
    Claims,
    /// Not for us.
    #[error("the access token is for another audience: `aud` must name --auth-audience")]
    Audience,
    /// Not yet.
    #[error("the access token is not valid yet (`nbf`)")]
    Early,
    /// No longer.
    #[error("the access token has expired: get a new one")]
    Expired,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    scope: Scopes,
    #[serde(default, deserialize_with = "given")]
    stream: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scopes {
    Line(String),
    List(Vec<String>),
}

impl Default for Scopes {
    fn default() -> Self {
        Scopes::List(Vec::new())
    }
}

/// What is there must be text: a `null` by mistake would open all streams.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    String::deserialize(value).map(Some)
}

/// Who asks. The key says which algorithm it is for; the header only chooses among the keys.
pub(super) fn verify(token: &str, keys: &Keys) -> Result<Identity, Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused::Malformed);
    }
    let header = decode_header(token).map_err(|_| Refused::Malformed)?;
    // An extension that must be understood (RFC 7515, 4.1.11), and none is.
    if header.crit.is_some() {
        return Err(Refused::Malformed);
    }
    let mut refused = Refused::UnknownKey;
    for key in keys.of(header.alg, header.kid.as_deref()) {
        match decode::<Claims>(token, &key.verifying, &key.rules) {
            Ok(token) => return token.claims.identity(),
            Err(error) => refused = refused.max(why(&error)),
        }
    }
    Err(refused)
}

impl Claims {
    fn identity(self) -> Result<Identity, Refused> {
        if self.sub.is_empty() || self.sub.len() > SUBJECT_BYTES_MAX {
            return Err(Refused::Claims);
        }
        let names: Vec<&str> = match &self.scope {
            Scopes::Line(line) => line.split(' ').collect(),
            Scopes::List(list) => list.iter().map(String::as_str).collect(),
        };
        let scopes = Scope::ALL.into_iter().filter(|scope| names.contains(&scope.as_str())).collect();
        Ok(Identity::of(&self.sub, scopes, self.stream.as_deref().map(Pattern::parse)))
    }
}

fn why(error: &Error) -> Refused {
    match error.kind() {
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::Early,
        ErrorKind::InvalidAudience => Refused::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Refused::Audience,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => Refused::Claims,
        ErrorKind::InvalidSignature => Refused::UnknownKey,
        _ => Refused::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use jsonwebtoken::{Algorithm, Header, encode, get_current_timestamp};
    use serde_json::{Value, json};

    use super::super::key::SigningKey;
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

    fn signed(file: &str, kid: Option<&str>, claims: &Value) -> String {
        let key = SigningKey::parse(file.as_bytes(), kid).expect("a key");
        let header = Header { kid: key.kid, ..Header::new(key.algorithm) };
        encode(&header, claims, &key.signing).expect("a token")
    }

    fn seconds(from_now: i64) -> u64 {
        get_current_timestamp().saturating_add_signed(from_now)
    }

    fn claims(more: Value) -> Value {
        let mut claims = json!({"sub": "u1", "scope": "subscribe", "exp": seconds(600)});
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        claims
    }

    fn check(more: Value) -> Result<Identity, Refused> {
        verify(&signed(SECRET, None, &claims(more)), &Keys::parse(SECRET.as_bytes(), None).expect("a key"))
    }

    #[test]
    fn a_token_says_who_asks_and_what_they_may_do() {
        for scope in [json!("subscribe abort nonsense"), json!(["subscribe", "abort", "nonsense"])] {
            let identity = check(json!({"scope": scope})).expect("it is valid");
            assert_eq!(identity.subject(), Some("u1"));
            let may = Scope::ALL.map(|scope| identity.may(scope));
            assert_eq!(may, [false, true, true, false, false]);
        }
        let none = check(json!({"scope": ""})).expect("it is valid");
        assert!(Scope::ALL.into_iter().all(|scope| !none.may(scope)));
    }

    #[test]
    fn claims_that_are_wrong_are_refused() {
        let long = "x".repeat(257);
        for (more, refused) in [
            (json!({"exp": seconds(-120)}), Refused::Expired),
            (json!({"exp": null}), Refused::Claims),
            (json!({"exp": "tomorrow"}), Refused::Claims),
            (json!({"nbf": seconds(120)}), Refused::Early),
            (json!({"nbf": "later"}), Refused::Claims),
            (json!({"sub": ""}), Refused::Claims),
            (json!({"sub": 1}), Refused::Claims),
            (json!({"sub": long}), Refused::Claims),
            (json!({"scope": 1}), Refused::Claims),
            (json!({"stream": null}), Refused::Claims),
            (json!({"stream": ["a"]}), Refused::Claims),
        ] {
            assert_eq!(check(more.clone()).err(), Some(refused), "{more}");
        }
        for more in [json!({"exp": seconds(-30)}), json!({"nbf": seconds(30)}), json!({"sub": "x".repeat(256)})] {
            assert!(check(more.clone()).is_ok(), "{more}: clocks differ by up to a minute");
        }
    }

    #[test]
    fn an_audience_that_is_asked_for_must_be_named() {
        let keys = Keys::parse(SECRET.as_bytes(), Some("rejoin")).expect("a key");
        let check = |more| verify(&signed(SECRET, None, &claims(more)), &keys).err();
        assert_eq!(check(json!({"aud": "rejoin"})), None);
        assert_eq!(check(json!({"aud": ["other", "rejoin"]})), None);
        for wrong in [json!({}), json!({"aud": "other"}), json!({"aud": []}), json!({"aud": 1}), json!({"aud": null})] {
            assert_eq!(check(wrong.clone()), Some(Refused::Audience), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_used_for_its_own_algorithm_whatever_the_token_says() {
        let claims = claims(json!({}));
        let [hs, ed] = [SECRET, PUBLIC].map(|file| Keys::parse(file.as_bytes(), None).expect("a key"));
        assert!(verify(&signed(PRIVATE, None, &claims), &ed).is_ok());
        assert_eq!(verify(&signed(PRIVATE, None, &claims), &hs).err(), Some(Refused::UnknownKey));
        assert_eq!(verify(&signed(SECRET, None, &claims), &ed).err(), Some(Refused::UnknownKey));
        // The public key is known to everybody: as a secret it must open nothing, whole file or bare bytes.
        let bare = BASE64_URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").expect("base64url");
        for secret in [PUBLIC.as_bytes(), PUBLIC.trim().as_bytes(), &bare] {
            let token =
                encode(&Header::new(Algorithm::HS256), &claims, &jsonwebtoken::EncodingKey::from_secret(secret));
            assert_eq!(verify(&token.expect("a token"), &ed).err(), Some(Refused::UnknownKey));
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let keys = Keys::parse(SECRET.as_bytes(), None).expect("a key");
        let good = signed(SECRET, None, &claims(json!({})));
        assert!(verify(&good, &keys).is_ok());
        let parts: Vec<&str> = good.split('.').collect();
        let none = |alg: &str| BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#));
        let crit = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#);
        for bad in [
            String::new(),
            "..".into(),
            "garbage".into(),
            format!("{}.{}.", none("none"), parts[1]),
            format!("{}.{}.{}", none("none"), parts[1], parts[2]),
            format!("{}.{}.{}", none("None"), parts[1], parts[2]),
            format!("{}.{}.{}", none("HS512"), parts[1], parts[2]),
            format!("{crit}.{}.{}", parts[1], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{good}.{}", parts[2]),
            format!(
                "{}.{}.{}",
                parts[0],
                BASE64_URL_SAFE_NO_PAD.encode(claims(json!({"sub": "u2"})).to_string()),
                parts[2]
            ),
            format!("{good}="),
            format!("{good}\u{e9}"),
            signed(SECRET, None, &claims(json!({"pad": "x".repeat(8 * 1024)}))),
        ] {
            assert!(verify(&bad, &keys).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_of_a_set_are_chosen_by_name_and_tried_in_turn_without_one() {
        let k = |byte: u8| BASE64_URL_SAFE_NO_PAD.encode([byte; 32]);
        let set = |names: &[(&str, u8)]| {
            let keys: Vec<_> =
                names.iter().map(|(kid, byte)| json!({"kty": "oct", "kid": kid, "k": k(*byte)})).collect();
            json!({ "keys": keys }).to_string()
        };
        let both = Keys::parse(set(&[("old", 1), ("new", 2)]).as_bytes(), None).expect("keys");
        let by = |names: &[(&str, u8)], kid| signed(&set(names), kid, &claims(json!({})));
        assert!(verify(&by(&[("old", 1)], None), &both).is_ok());
        assert!(verify(&by(&[("new", 2)], None), &both).is_ok());
        assert_eq!(verify(&by(&[("new", 1)], None), &both).err(), Some(Refused::UnknownKey), "another key's name");
        assert_eq!(verify(&by(&[("none", 1)], None), &both).err(), Some(Refused::UnknownKey));
        let nameless = String::from_utf8(vec![2; 32]).expect("ASCII");
        assert!(verify(&signed(&nameless, None, &claims(json!({}))), &both).is_ok());
    }
}
