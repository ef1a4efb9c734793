//! A real nginx in front of a server, with the configuration that is shipped, changed where a test says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::redis::free_port;
use crate::wait;

/// A running nginx. Dropped: killed, and its directory removed.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Nginx {
    /// In front of `upstream`, with `deploy/nginx.conf` but for ports, and `changes`: each from what stands there to
    /// something else.
    ///
    /// Errors: nginx is not installed, or what should be changed does not stand there.
    pub async fn start(upstream: SocketAddr, changes: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, free_port()?).into();
        let mut text = std::fs::read_to_string(crate::root().join("deploy/nginx.conf"))?;
        let pid = folder.path().join("pid").display().to_string();
        let (listen, first) = (format!("listen {address};"), format!("server {upstream} "));
        let ours = [
            ("listen 127.0.0.1:8080;", listen.as_str()),
            ("/tmp/rejoin-nginx.pid", &pid),
            ("server 127.0.0.1:8787 ", &first),
            ("server 127.0.0.1:8788 max_fails=2 fail_timeout=2s;", ""),
            ("server 127.0.0.1:8789 max_fails=2 fail_timeout=2s;", ""),
        ];
        for (from, to) in ours.iter().chain(changes) {
            ensure!(text.contains(from), "deploy/nginx.conf has no {from:?} any more");
            text = text.replace(from, to);
        }
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text)?;
        let debian = std::path::Path::new("/usr/sbin/nginx");
        let mut command = Command::new(if debian.exists() { debian } else { "nginx".as_ref() });
        // One process, so that nothing is left when it is killed.
        command.args(["-g", "daemon off; master_process off;", "-e", "stderr", "-p"]).arg(folder.path());
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().context("nginx cannot be started; install it: sudo apt-get install nginx")?;
        let mut nginx = Nginx { address, child, _folder: folder };
        wait::until("nginx", async || {
            if let Some(status) = nginx.child.try_wait()? {
                bail!("nginx has ended: {status}");
            }
            Ok(TcpStream::connect(address).await.ok())
        })
        .await?;
        Ok(nginx)
    }

    /// A client that goes through it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
