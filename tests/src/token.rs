//! Access tokens, good and bad: made by hand, so that they can say anything.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// A secret that is long enough.
pub const SECRET: &str = "a secret of at least 32 bytes for tests";

/// What signs.
pub enum Signer<'a> {
    /// HS256.
    Secret(&'a [u8]),
    /// EdDSA.
    Ed25519(&'a Ed25519KeyPair),
    /// Nothing.
    Nobody,
}

/// Base64url of it.
pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with exactly this header and these claims.
pub fn sign(header: &Value, claims: &Value, signer: &Signer<'_>) -> String {
    let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    let signature = match signer {
        Signer::Secret(secret) => encoded(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes())),
        Signer::Ed25519(key) => encoded(key.sign(message.as_bytes())),
        Signer::Nobody => String::new(),
    };
    format!("{message}.{signature}")
}

/// Whether the token is signed by [`SECRET`], found out without the code that is tested.
pub fn is_signed(token: &str) -> bool {
    let Some((message, signature)) = token.rsplit_once('.') else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    BASE64_URL_SAFE_NO_PAD.decode(signature).is_ok_and(|tag| hmac::verify(&key, message.as_bytes(), &tag).is_ok())
}

/// Seconds since 1970, so many from now.
pub fn seconds(from_now: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    now.saturating_add_signed(from_now)
}

/// Claims that are fine, but for what `more` says.
pub fn claims(sub: &str, scope: &str, more: &Value) -> Value {
    let mut claims = json!({"sub": sub, "scope": scope, "exp": seconds(600)});
    for (name, value) in more.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

/// A good token by [`SECRET`].
pub fn token(sub: &str, scope: &str) -> String {
    token_with(sub, scope, &json!({}))
}

/// The same with further claims.
pub fn token_with(sub: &str, scope: &str, more: &Value) -> String {
    sign(&json!({"alg": "HS256", "typ": "JWT"}), &claims(sub, scope, more), &Signer::Secret(SECRET.as_bytes()))
}

/// An Ed25519 key made of these bytes.
pub fn ed25519(seed: [u8; 32]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a key")
}

/// Its public half as a PEM file.
pub fn public_pem(key: &Ed25519KeyPair) -> String {
    pem(
        "PUBLIC KEY",
        &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00],
        key.public_key().as_ref(),
    )
}

/// The private key of these bytes as a PEM file.
pub fn private_pem(seed: [u8; 32]) -> String {
    let begin = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    pem("PRIVATE KEY", &begin, &seed)
}

fn pem(name: &str, begin: &[u8], key: &[u8]) -> String {
    let der = BASE64_STANDARD.encode([begin, key].concat());
    format!("-----BEGIN {name}-----\n{der}\n-----END {name}-----\n")
}
