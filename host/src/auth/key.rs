//! The file with the keys of access tokens, and what it may hold.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;

use super::crypto;

/// A shorter secret can be guessed (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Keys that are valid at a time.
const KEYS_MAX: usize = 64;
/// What stands before the 32 bytes of an Ed25519 key in a public key's DER (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a file has no key for this use. Never what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing, or almost nothing.
    #[error("a secret has at least 32 bytes, and this one has {0}: make one with `openssl rand -base64 48`")]
    Short(usize),
    /// Tokens are verified with the other half.
    #[error(
        "this is a private key, which the server must not have: give it the public one, \
         `openssl pkey -in private.pem -pubout`"
    )]
    Private,
    /// Tokens are signed with the other half.
    #[error("tokens are signed with the private key (or the secret), and this is a public one")]
    Public,
    /// Whoever knows it could sign tokens.
    #[error(
        "this looks like a public key or an address, not like a secret: give the public key as PEM \
         (-----BEGIN PUBLIC KEY-----), or the JWKS itself"
    )]
    LooksPublic,
    /// Another kind of PEM.
    #[error("the PEM holds no Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")]
    NotEd25519,
    /// A file that begins with a brace.
    #[error("a file that begins with {{ is a JWKS, {{\"keys\":[…]}} (RFC 7517), and this is none")]
    NotJwks,
    /// One key of a set.
    #[error("key {0} of the JWKS (from 1) is damaged: `k` and `x` are base64url, an oct key has at least 32 bytes")]
    Damaged(usize),
    /// A set without a key for us.
    #[error("the JWKS has no key for HS256 (kty oct) or EdDSA (kty OKP, crv Ed25519)")]
    NoneUsable,
    /// A set that is too large.
    #[error("a JWKS has at most 64 keys here")]
    TooMany,
}

/// The keys that are valid now: at least one.
pub(super) struct Keys(Vec<Key>);

/// One key, which knows by itself what it is for: no token can say otherwise.
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) verifying: DecodingKey,
    pub(super) rules: Validation,
}

/// What signs tokens.
pub(super) struct SigningKey {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) signing: EncodingKey,
}

impl Keys {
    /// Reads a file for whoever verifies. `audience`: what `aud` must be, or contain.
    pub(super) fn parse(file: &[u8], audience: Option<&str>) -> Result<Self, KeyError> {
        crypto::install();
        let keys = match Kind::of(file)? {
            Kind::Secret(secret) => vec![(None, Material::Secret(long_enough(secret)?.to_vec()))],
            Kind::Pem => vec![(None, Material::Public(public_key(file)?))],
            Kind::Jwks(set) => jwks(set)?,
        };
        let key = |(kid, material)| {
            let (algorithm, verifying) = match material {
                Material::Secret(secret) => (Algorithm::HS256, DecodingKey::from_secret(&secret)),
                Material::Public(key) => (Algorithm::EdDSA, DecodingKey::from_ed_der(&key)),
            };
            Key { kid, algorithm, verifying, rules: rules(algorithm, audience) }
        };
        Ok(Keys(keys.into_iter().map(key).collect()))
    }

    /// Those that may have made a token with this header.
    pub(super) fn of(&self, algorithm: Algorithm, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        let named = move |key: &&Key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid;
        self.0.iter().filter(move |key| key.algorithm == algorithm).filter(named)
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl SigningKey {
    /// Reads a file for whoever signs. Of a JWKS it is the first secret, or the one of that name.
    pub(super) fn parse(file: &[u8], kid: Option<&str>) -> Result<Self, KeyError> {
        crypto::install();
        let of_secret = |kid, secret: &[u8]| {
            let signing = EncodingKey::from_secret(secret);
            SigningKey { kid, algorithm: Algorithm::HS256, signing }
        };
        match Kind::of(file)? {
            Kind::Secret(secret) => Ok(of_secret(kid.map(str::to_owned), long_enough(secret)?)),
            Kind::Pem if !is_private(file) => Err(public_key(file).map_or_else(|error| error, |_| KeyError::Public)),
            Kind::Pem => {
                let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(file).map_err(|_| KeyError::NotEd25519)?;
                crypto::ed25519(pkcs8.secret_pkcs8_der()).ok_or(KeyError::NotEd25519)?;
                let signing = EncodingKey::from_ed_der(pkcs8.secret_pkcs8_der());
                Ok(SigningKey { kid: kid.map(str::to_owned), algorithm: Algorithm::EdDSA, signing })
            }
            Kind::Jwks(set) => {
                let mut secrets = jwks(set)?.into_iter().filter_map(|(known, material)| match material {
                    Material::Secret(secret) if kid.is_none() || known.as_deref() == kid => Some((known, secret)),
                    _ => None,
                });
                let (kid, secret) = secrets.next().ok_or(KeyError::Public)?;
                Ok(of_secret(kid, &secret))
            }
        }
    }
}

fn rules(algorithm: Algorithm, audience: Option<&str>) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.validate_nbf = true;
    rules.validate_aud = audience.is_some();
    if let Some(audience) = audience {
        rules.set_audience(&[audience]);
        rules.set_required_spec_claims(&["exp", "aud"]);
    }
    rules
}

/// What a file is, by its looks.
enum Kind<'a> {
    Pem,
    Jwks(&'a [u8]),
    Secret(&'a [u8]),
}

impl<'a> Kind<'a> {
    fn of(file: &'a [u8]) -> Result<Self, KeyError> {
        if file.windows(11).any(|window| window == b"-----BEGIN ") {
            return Ok(Kind::Pem);
        }
        let text = file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file).trim_ascii_start();
        if text.starts_with(b"{") {
            return Ok(Kind::Jwks(text));
        }
        if PUBLIC.iter().any(|begin| text.starts_with(begin)) {
            return Err(KeyError::LooksPublic);
        }
        // Editors and `openssl rand` put a line break at the end, which is not part of the secret.
        let secret = file.strip_suffix(b"\n").unwrap_or(file);
        Ok(Kind::Secret(secret.strip_suffix(b"\r").unwrap_or(secret)))
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How files begin that are no secret, although they are long enough for one: keys in DER, bare in base64 or of SSH, a list of
/// keys without the set around it, where keys are to be found.
const PUBLIC: [&[u8]; 8] = [
    b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70",
    b"MCowBQYDK2Vw",
    b"ssh-",
    b"ecdsa-",
    b"[",
    b"\"",
    b"http://",
    b"https://",
];

fn long_enough(secret: &[u8]) -> Result<&[u8], KeyError> {
    if secret.len() < SECRET_BYTES_MIN { Err(KeyError::Short(secret.len())) } else { Ok(secret) }
}

fn is_private(pem: &[u8]) -> bool {
    pem.windows(16).any(|window| window == b"PRIVATE KEY-----")
}

fn public_key(pem: &[u8]) -> Result<Vec<u8>, KeyError> {
    if is_private(pem) {
        return Err(KeyError::Private);
    }
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::NotEd25519)?;
    let key = der.as_ref().strip_prefix(&ED25519_PREFIX).filter(|key| key.len() == 32);
    key.map(<[u8]>::to_vec).ok_or(KeyError::NotEd25519)
}

enum Material {
    Secret(Vec<u8>),
    Public(Vec<u8>),
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    k: Option<String>,
    x: Option<String>,
    d: Option<serde::de::IgnoredAny>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
}

/// The keys of a set that are for signatures that this server knows; others are passed over, as RFC 7517 wants it.
fn jwks(file: &[u8]) -> Result<Vec<(Option<String>, Material)>, KeyError> {
    let set: Jwks = serde_json::from_slice(file).map_err(|_| KeyError::NotJwks)?;
    let mut keys = Vec::new();
    for (jwk, at) in set.keys.into_iter().zip(1..) {
        let is_for = |names: &[&str]| jwk.alg.as_deref().is_none_or(|alg| names.contains(&alg));
        let bytes = |text: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text.as_deref()?.trim_end_matches('=')).ok();
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            continue;
        }
        let material = match jwk.kty.as_str() {
            "oct" if is_for(&["HS256"]) => bytes(&jwk.k).filter(|k| k.len() >= SECRET_BYTES_MIN).map(Material::Secret),
            "OKP" if jwk.crv.as_deref() == Some("Ed25519") && is_for(&["EdDSA", "Ed25519"]) => {
                if jwk.d.is_some() {
                    return Err(KeyError::Private);
                }
                bytes(&jwk.x).filter(|x| x.len() == 32).map(Material::Public)
            }
            _ => continue,
        };
        keys.push((jwk.kid, material.ok_or(KeyError::Damaged(at))?));
    }
    match keys.len() {
        0 => Err(KeyError::NoneUsable),
        1..=KEYS_MAX => Ok(keys),
        _ => Err(KeyError::TooMany),
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn parse(file: &str) -> Result<Vec<(Option<String>, Algorithm)>, KeyError> {
        let keys = Keys::parse(file.as_bytes(), None)?;
        Ok(keys.0.into_iter().map(|key| (key.kid, key.algorithm)).collect())
    }

    #[test]
    fn a_file_is_a_secret_a_public_key_or_a_set() {
        let secret = "s".repeat(32);
        assert_eq!(parse(&secret), Ok(vec![(None, Algorithm::HS256)]));
        assert_eq!(parse(PUBLIC), Ok(vec![(None, Algorithm::EdDSA)]));
        let k = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        let set = format!(
            r#"{{"keys":[{{"kty":"oct","k":"{k}","kid":"a"}},{{"kty":"OKP","crv":"Ed25519","x":"{X}","alg":"EdDSA"}},
                {{"kty":"RSA","n":"x","e":"y"}},{{"kty":"oct","k":"{k}","use":"enc"}},{{"kty":"oct","k":"{k}","alg":"HS512"}}]}}"#
        );
        assert_eq!(parse(&set), Ok(vec![(Some("a".into()), Algorithm::HS256), (None, Algorithm::EdDSA)]));
    }

    #[test]
    fn the_line_break_at_the_end_is_not_part_of_a_secret() {
        let bytes = |file: &str| match Kind::of(file.as_bytes()).expect("a secret") {
            Kind::Secret(secret) => secret.to_vec(),
            Kind::Pem | Kind::Jwks(_) => panic!("a secret"),
        };
        for (file, secret) in
            [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc"), ("abc\n\n", "abc\n"), ("a\nb", "a\nb")]
        {
            assert_eq!(bytes(file), secret.as_bytes(), "{file:?}");
        }
        assert_eq!(parse(&format!("{}\n", "s".repeat(31))), Err(KeyError::Short(31)));
    }

    #[test]
    fn what_is_public_is_no_secret() {
        let key = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        for public in [
            key,
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFexampleexampleexample me@host",
            "https://login.example/.well-known/jwks.json",
            "\u{feff}[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]",
            "[{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}]            ",
        ] {
            let refused = Keys::parse(public.as_bytes(), None).err();
            assert!(matches!(refused, Some(KeyError::LooksPublic)), "{public}: {refused:?}");
        }
        let der = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &[7; 32]].concat();
        assert!(matches!(Keys::parse(&der, None).err(), Some(KeyError::LooksPublic)));
    }

    #[test]
    fn a_file_that_cannot_be_used_says_what_to_do() {
        let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
        let ec = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n";
        for (file, error) in [
            ("", KeyError::Short(0)),
            ("short", KeyError::Short(5)),
            (private, KeyError::Private),
            (ec, KeyError::NotEd25519),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KeyError::NotEd25519),
            ("{}", KeyError::NotJwks),
            (r#"{"keys":[]}"#, KeyError::NoneUsable),
            (r#"{"keys":[{"kty":"RSA"}]}"#, KeyError::NoneUsable),
            (r#"{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}"#, KeyError::Damaged(1)),
            (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"?"}]}"#, KeyError::Damaged(1)),
            (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}]}"#, KeyError::Private),
        ] {
            assert_eq!(parse(file), Err(error), "{file}");
        }
        assert!(SigningKey::parse(private.as_bytes(), None).is_ok_and(|key| key.algorithm == Algorithm::EdDSA));
        assert_eq!(SigningKey::parse(PUBLIC.as_bytes(), None).err(), Some(KeyError::Public));
    }
}
