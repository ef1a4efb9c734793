//! `rejoin token`: prints a token, for development and for scripts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use jsonwebtoken::{Header, encode, get_current_timestamp};
use serde::Serialize;

use super::Scope;
use super::key::SigningKey;
use super::keyring;
use crate::config::time;

const KEYS: &str = "\
Keys:
  openssl rand -base64 48 > secret                   one secret for both sides (HS256): the server takes the same file
  openssl genpkey -algorithm ed25519 > private.pem   signs (EdDSA); only whoever makes tokens has it
  openssl pkey -in private.pem -pubout > public.pem  verifies: rejoin --auth-key-file public.pem

A line break at the end of a secret's file is not part of the secret. Of a JWKS file the first `oct` key signs.

Your own application makes tokens with any JWT library: `sub` (the user), `exp`, `scope` (words with blanks between),
and where they are wanted `stream` (a name, or `begin*`), `aud`, `nbf`.
";

/// Prints an access token.
#[derive(Debug, Parser)]
#[command(name = "rejoin token", about = "Prints an access token.", after_help = KEYS)]
struct Issue {
    /// The user.
    #[arg(long, value_name = "USER", value_parser = subject)]
    sub: String,
    /// What it allows, separated by commas.
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true)]
    scope: Vec<Scope>,
    /// Only this stream, or, with a star at the end, those that begin so.
    #[arg(long, value_name = "PATTERN")]
    stream: Option<String>,
    /// How long it is valid.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    ttl: Duration,
    /// For servers with this --auth-audience.
    #[arg(long, value_name = "TEXT")]
    aud: Option<String>,
    /// A secret, an Ed25519 private key in PEM, or a JWKS file with a secret.
    #[arg(long, env = "REJOIN_AUTH_KEY_FILE", value_name = "FILE")]
    key_file: PathBuf,
    /// The name of the key, for a server that has several.
    #[arg(long, value_name = "TEXT")]
    kid: Option<String>,
}

impl ValueEnum for Scope {
    fn value_variants<'a>() -> &'a [Self] {
        &Scope::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.as_str().into())
    }
}

fn subject(text: &str) -> Result<String, &'static str> {
    if (1..=256).contains(&text.len()) { Ok(text.to_owned()) } else { Err("a user has 1 to 256 bytes") }
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    iat: u64,
    exp: u64,
}

/// The whole command, program name first. 64: it was asked wrongly.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let issue = match Issue::try_parse_from(arguments) {
        Ok(issue) => issue,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    match issue.token() {
        Ok(token) => {
            println!("{token}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: key file {}: {error}", issue.key_file.display());
            ExitCode::FAILURE
        }
    }
}

impl Issue {
    fn token(&self) -> Result<String, Box<dyn std::error::Error>> {
        let key = SigningKey::parse(&keyring::read(&self.key_file)?, self.kid.as_deref())?;
        let scopes: Vec<_> = self.scope.iter().map(|scope| scope.as_str()).collect();
        let now = get_current_timestamp();
        let claims = Claims {
            sub: &self.sub,
            scope: scopes.join(" "),
            stream: self.stream.as_deref(),
            aud: self.aud.as_deref(),
            iat: now,
            exp: now.saturating_add(self.ttl.as_secs().max(1)),
        };
        Ok(encode(&Header { kid: key.kid, ..Header::new(key.algorithm) }, &claims, &key.signing)?)
    }
}
