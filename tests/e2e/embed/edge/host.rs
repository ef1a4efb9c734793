//! What stands around the edge component: a stock `wasmtime serve`, and a real HTTP front of a real Redis.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::redis::{Server, free_port};
use rejoin_tests::wait::{PATIENCE, until};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A file that `cargo xtask test` has made.
pub(super) fn made(name: &str) -> Result<PathBuf> {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")).join(name);
    ensure!(file.is_file(), "{} is not there: `cargo xtask test` makes it", file.display());
    Ok(file)
}

/// The edge component for one version of `wasi:http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edition {
    P2,
    P3,
}

impl Edition {
    pub(super) fn file(self) -> &'static str {
        match self {
            Edition::P2 => "rejoin-edge.wasm",
            Edition::P3 => "rejoin-edge-p3.wasm",
        }
    }
}

/// The secret that a host adds to every request itself.
pub(super) const TOKEN: (&str, &str) = ("REJOIN_TOKEN", "added by the host");

/// `wasmtime serve` with the edge component. Dropped: killed.
pub(super) struct Host {
    address: SocketAddr,
    _child: Child,
}

impl Host {
    /// On a free port, with these variables; a name with dashes is a flag of the host.
    pub(super) async fn start(edition: Edition, variables: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(made("tools/wasmtime/bin/wasmtime")?);
        command.args(["serve", "-S", "cli", "--addr", "127.0.0.1:0"]);
        if variables.contains(&TOKEN) {
            command.args(["--header", &format!("authorization: Bearer {}", TOKEN.1)]);
        }
        for (name, value) in variables {
            match name.starts_with("--") {
                true => command.args([name, value]),
                false => command.args(["--env", &format!("{name}={value}")]),
            };
        }
        command.arg(made(edition.file())?).stderr(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("stderr")?).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line()).await.context("wasmtime says nothing")??;
        let first = first.context("wasmtime has ended")?;
        let address = first.split_once("http://").and_then(|(_, rest)| rest.trim_end_matches('/').parse().ok());
        // What it says later is for whoever reads the test's output, and must be read for it to go on.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("wasmtime: {line}");
            }
        });
        Ok(Host { address: address.with_context(|| format!("no address in {first:?}"))?, _child: child })
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.address)
    }
}

/// Redis, its HTTP front, and hosts over it that look at the log often: tests do not wait for silence.
pub(super) struct Edge {
    pub(super) redis: Server,
    _front: Webdis,
    hosts: Vec<Host>,
}

impl Edge {
    pub(super) async fn start(edition: Edition, hosts: usize) -> Result<Self> {
        Self::start_with(edition, hosts, &[]).await
    }

    pub(super) async fn start_with(edition: Edition, hosts: usize, further: &[(&str, &str)]) -> Result<Self> {
        let redis = Server::start()?;
        let front = Webdis::start(&redis).await?;
        let variables = [("REJOIN_REST_URL", front.url.as_str()), ("REJOIN_REST_DIALECT", "webdis")];
        // With 0.3 this host keeps the `Host` header, and without a secret nobody is let in.
        let secret = (edition == Edition::P3).then_some(TOKEN);
        let variables: Vec<_> = variables.iter().chain(further).copied().chain(secret).collect();
        let mut started = Vec::new();
        for _ in 0..hosts {
            started.push(Host::start(edition, &variables).await?);
        }
        Ok(Edge { redis, _front: front, hosts: started })
    }

    pub(super) fn client(&self, at: usize) -> Client {
        self.hosts[at].client()
    }
}

/// Debian's HTTP front of Redis. Dropped: killed.
struct Webdis {
    url: String,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Webdis {
    async fn start(redis: &Server) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let file = folder.path().join("webdis.json");
        // With more threads than one it at times gives a client the answer to another one.
        let settings = json!({
            "redis_host": "127.0.0.1", "redis_port": redis.port(), "redis_auth": null, "database": 0,
            "http_host": "127.0.0.1", "http_port": port, "threads": 1, "pool_size": 8, "daemonize": false,
            "verbosity": 0, "logfile": folder.path().join("webdis.log"), "acl": [],
        });
        std::fs::write(&file, settings.to_string())?;
        let mut command = Command::new("webdis");
        command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().context("webdis: `cargo xtask test` installs it, or apt-get install webdis")?;
        until("webdis", async || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok())).await?;
        Ok(Webdis { url: format!("http://127.0.0.1:{port}"), _child: child, _folder: folder })
    }
}
