//! Those who try to get in, and what they get: tokens, tickets, streams of others, pages of other origins.

mod attempts;
mod injection;
mod owners;
mod pages;
mod rates;
mod rotation;
mod secrets;
mod tickets;
mod walk;

use std::io::Write as _;

use anyhow::Result;
use bytes::Bytes;
use rejoin::config::Config;
use rejoin_tests::client::{Answer, Client};
use rejoin_tests::server::Server;
use rejoin_tests::token::SECRET;
use tempfile::NamedTempFile;

const ALL: &str = "produce subscribe abort list";

/// A file with this text.
fn file(text: &str) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// A server that asks for tokens by [`SECRET`].
pub(super) async fn guarded(change: impl FnOnce(&mut Config)) -> Result<Server> {
    let key = file(SECRET)?;
    Server::start_with(|config| {
        config.access.auth_key_file = Some(key.path().to_owned());
        change(config);
    })
    .await
    // It goes on with the keys that it has when the file goes.
}

/// A client with a token in its hand.
struct User {
    client: Client,
    bearer: String,
}

impl User {
    fn new(server: &Server, token: &str) -> Self {
        User { client: server.client(), bearer: format!("Bearer {token}") }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Result<Answer> {
        self.with(method, path, &[], body).await
    }

    async fn with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Answer> {
        let mut all = vec![("authorization", self.bearer.as_str()), ("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.client.send(method, path, &all, body).await
    }
}
