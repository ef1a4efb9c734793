//! A real Redis on a free port, in a directory of its own, that a test may kill, stop and start again.
//!
//! Everything here is synchronous, so that plain tests can use it as well as async ones. Nothing is kept up by threads: whoever
//! waits asks again until the event itself is there, with a deadline.

mod cluster;
mod connection;
mod sentinel;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::wait::PATIENCE;

pub use cluster::{Cluster, slot_of};
pub use connection::{Connection, Reply};
pub use sentinel::Sentinel;

/// Every write is on the disk before it is answered: a crash forgets nothing.
pub const AOF_ALWAYS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
/// The disk is up to a second behind: a crash may forget that much.
pub const AOF_EVERYSEC: &[&str] = &["--appendonly", "yes", "--appendfsync", "everysec"];

/// Either will do.
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];
/// A port that was free may be taken by somebody else before the server has it.
const ATTEMPTS: usize = 5;
const SENTINEL_FILE: &str = "sentinel.conf";

/// A running server. Dropped: killed, and its directory removed.
pub struct Server {
    child: Mutex<Option<Child>>,
    port: u16,
    directory: Directory,
    options: Vec<String>,
    password: Option<String>,
    sentinel: bool,
}

impl Server {
    /// Without persistence and without a password.
    ///
    /// Errors: no server is installed; then the error says how to install it.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// With further arguments (see [`AOF_ALWAYS`]); `--requirepass` becomes part of the address.
    pub fn start_with(options: &[&str]) -> Result<Self> {
        again_if_ports_collide(|| Self::launch(options, false))
    }

    /// A sentinel that watches nothing yet.
    fn start_sentinel() -> Result<Self> {
        again_if_ports_collide(|| Self::launch(&[], true))
    }

    fn launch(options: &[&str], sentinel: bool) -> Result<Self> {
        let after = |name: &str| options.iter().skip_while(move |option| **option != name).nth(1);
        let server = Server {
            child: Mutex::new(None),
            port: free_port()?,
            directory: Directory::create()?,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            password: after("--requirepass").map(|password| (*password).to_owned()),
            sentinel,
        };
        server.restart()?;
        Ok(server)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, with the password.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{password}127.0.0.1:{}", self.port)
    }

    /// The id of its process; none while it is dead.
    pub fn id(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&self) -> Result<()> {
        if let Some(mut child) = self.child().take() {
            child.kill().context("kill")?;
            child.wait().context("wait")?;
        }
        Ok(())
    }

    /// Starts it on the same port in the same directory, killed before if it still runs. It answers when this returns.
    pub fn restart(&self) -> Result<()> {
        self.kill()?;
        let mut command = Command::new(program()?);
        if self.sentinel {
            // It keeps what it knows in its file, which must be there.
            std::fs::OpenOptions::new().create(true).append(true).open(self.directory.0.join(SENTINEL_FILE))?;
            command.args([SENTINEL_FILE, "--sentinel"]);
        } else {
            command.args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
        }
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--logfile", "log"]);
        command.args(&self.options).current_dir(&self.directory.0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        *self.child() = Some(command.spawn().context("redis-server cannot be started")?);
        self.answers()
    }

    /// SIGSTOP: connections stay, nothing is answered.
    pub fn stop(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// SIGCONT.
    pub fn cont(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// A connection of one's own.
    pub fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::open(self.port)?;
        if let Some(password) = &self.password {
            connection.call(&["AUTH", password])?;
        }
        Ok(connection)
    }

    /// Runs one command and gives its answer as text: nothing for nil, one line for each element of an array.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let answer = self.connect().and_then(|mut connection| connection.call(arguments));
        Ok(answer.with_context(|| format!("{} of {}", arguments.join(" "), self.port))?.to_string())
    }

    /// A number out of `INFO`; `commandstats` come as `cmdstat_evalsha.calls`.
    pub fn info(&self, name: &str) -> Result<f64> {
        let (line, member) = name.split_once('.').map_or((name, None), |(line, member)| (line, Some(member)));
        let info = self.cli(&["INFO", "everything"])?;
        let value = info.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        // A command that was never called has no line.
        let Some(value) = value else { return Ok(0.0) };
        let value = match member {
            None => Some(value),
            Some(member) => value.split(',').find_map(|part| part.strip_prefix(member)?.strip_prefix('=')),
        };
        value.and_then(|value| value.trim().parse().ok()).with_context(|| format!("no number {name}"))
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.0.join("log")).unwrap_or_default()
    }

    fn answers(&self) -> Result<()> {
        until(&format!("redis-server on {} answers", self.port), || {
            let ended = self.child().as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                *self.child() = None;
                bail!("redis-server on {} has ended: {status}\n{}", self.port, self.log());
            }
            // Nobody listens yet, or it still reads its file. A sentinel knows PING too.
            Ok(self.connect().and_then(|mut connection| connection.call(&["PING"])).is_ok().then_some(()))
        })
    }

    fn signal(&self, name: &str) -> Result<()> {
        let id = self.id().context("it is dead")?.to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id]).status()?;
        ensure!(sent.success(), "kill -s {name} {id}: {sent}");
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL reaches a stopped process too.
        let _ = self.kill();
    }
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn create() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rejoin-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let found = NAMES.iter().find_map(|name| folders.iter().map(|f| f.join(name)).find(|program| program.is_file()));
    found.context("no redis-server on PATH: `cargo xtask test` installs one, or `apt-get install redis-server`")
}

fn again_if_ports_collide<T>(start: impl Fn() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        if let Ok(started) = start() {
            return Ok(started);
        }
    }
    start()
}

/// A port of 127.0.0.1 that nobody listens on, and that this process gives to nobody else for a long time.
///
/// Not one of those that the system itself hands out (from 32768 on): to a connection on its way out, say, which would have it
/// just when a server that was killed is to come back on it.
pub fn free_port() -> Result<u16> {
    const PORTS: std::ops::Range<u32> = 10_240..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end - PORTS.start;
    // Other test programs begin elsewhere.
    let begin = std::process::id().wrapping_mul(7_919) % count;
    for _ in 0..count {
        let port = PORTS.start + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, u16::try_from(port)?)) {
            return Ok(listener.local_addr()?.port());
        }
    }
    bail!("somebody listens on each of the ports {PORTS:?}")
}

/// Asks again and again until there is an answer; fails after [`PATIENCE`] and names what did not come.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < end, "{what}: not in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_was_killed_comes_back_on_its_port_with_what_was_on_the_disk() -> Result<()> {
        let server = Server::start_with(AOF_ALWAYS)?;
        assert_eq!(server.cli(&["SET", "k", "v"])?, "OK");
        let port = server.port();
        server.kill()?;
        assert!(server.id().is_none() && server.cli(&["PING"]).is_err());
        server.restart()?;
        assert_eq!((server.port(), server.cli(&["GET", "k"])?), (port, "v".to_owned()));
        Ok(())
    }

    #[test]
    fn without_a_file_a_crash_forgets_everything() -> Result<()> {
        let server = Server::start()?;
        server.cli(&["SET", "k", "v"])?;
        server.restart()?;
        assert_eq!(server.cli(&["GET", "k"])?, "");
        Ok(())
    }

    #[test]
    fn a_stopped_server_answers_when_it_is_continued() -> Result<()> {
        let server = Server::start()?;
        let mut connection = server.connect()?;
        connection.patience(Duration::from_millis(200))?;
        server.stop()?;
        assert!(connection.call(&["PING"]).is_err(), "it is stopped");
        server.cont()?;
        assert_eq!(server.cli(&["PING"])?, "PONG");
        Ok(())
    }

    #[test]
    fn a_password_is_part_of_the_address() -> Result<()> {
        let server = Server::start_with(&["--requirepass", "secret"])?;
        assert!(server.url().starts_with("redis://:secret@127.0.0.1:"), "{}", server.url());
        assert_eq!(server.cli(&["ECHO", "a b"])?, "a b");
        let refused = Connection::open(server.port())?.call(&["ECHO", "a"]).expect_err("nobody said the password");
        assert!(refused.to_string().contains("NOAUTH"), "{refused}");
        Ok(())
    }

    #[test]
    fn its_directory_and_process_end_with_it() -> Result<()> {
        let server = Server::start()?;
        let (directory, port) = (server.directory.0.clone(), server.port());
        assert!(directory.is_dir());
        drop(server);
        assert!(!directory.exists() && Connection::open(port).is_err());
        Ok(())
    }

    #[test]
    fn commands_are_counted() -> Result<()> {
        let server = Server::start()?;
        assert!(server.info("cmdstat_echo.calls")? == 0.0);
        server.cli(&["ECHO", "a"])?;
        assert!(server.info("cmdstat_echo.calls")? == 1.0);
        assert!(server.info("connected_clients")? >= 1.0);
        Ok(())
    }
}
