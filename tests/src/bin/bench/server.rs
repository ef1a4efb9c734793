//! The real server under the load generator that stands beside the checkout, against that generator's own `ceiling`
//! server: an in-memory log with SSE fan-out and nothing else, the machine's limit. Both in one run, in turn.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rejoin_tests::client::Client;
use rejoin_tests::{answer, root, shared};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::core::median;

const ROUNDS: usize = 3;

/// Both servers and the generator.
pub(crate) struct Bench {
    generator: PathBuf,
    rejoin: Server,
    ceiling: Server,
    runtime: Runtime,
}

struct Server {
    name: &'static str,
    address: SocketAddr,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One result of the generator.
struct Figures(Value);

impl Figures {
    fn number(&self, path: &str) -> f64 {
        self.0.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    fn us_per_delivery(&self) -> f64 {
        self.number("/processes/server/us_per_delivered")
    }

    fn faultless(&self) -> Result<()> {
        for fault in ["lost", "duplicates", "reordered", "errors"] {
            let count = self.number(&format!("/{fault}"));
            ensure!(count == 0.0, "{fault}: {count} in {}", self.0);
        }
        Ok(())
    }
}

impl Bench {
    /// Builds and starts everything.
    pub(crate) fn start() -> Result<Self> {
        let binaries = build_generator()?;
        let free = || -> Result<SocketAddr> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?) };
        let (ours, theirs) = (free()?, free()?);
        let mut command = Command::new(rejoin_tests::command::program()?);
        command.args(["--listen", &ours.to_string(), "--memory-bytes-max", "4GiB", "--log-bytes-max", "1GiB"]);
        command.args(["--records-max", "10000000"]);
        let rejoin = launch("rejoin", ours, command)?;
        let mut command = Command::new(binaries.join("ceiling"));
        command.args(["--listen", &theirs.to_string()]);
        let ceiling = launch("ceiling", theirs, command)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Bench { generator: binaries.join("loadgen"), rejoin, ceiling, runtime })
    }

    /// As fast as one producer can, delivered to one subscriber.
    pub(crate) fn ingest(&self) -> Result<()> {
        println!("ingest and delivery to one subscriber, as fast as it goes (median of {ROUNDS})");
        println!("{:<34} {:>10} {:>14} {:>16}", "", "events/s", "us/event", "ceiling us/event");
        for (title, mode, events) in
            [("one open NDJSON body", "-stream", "300000"), ("one request per event", "", "20000")]
        {
            let arguments = ["--streams", "1", "--subs", "1", "--rate", "0", "--warmup", "0", "--max-events", events];
            let (ours, theirs) = self.both(mode, 1, &arguments)?;
            let us = |figures: &[Figures]| median(figures.iter().map(Figures::us_per_delivery).collect());
            let rate = median(ours.iter().map(|figures| figures.number("/delivered_per_s")).collect());
            println!("{title:<34} {rate:>10.0} {:>14.2} {:>16.2}", us(&ours), us(&theirs));
        }
        Ok(())
    }

    /// One stream at 50 events/s, and its subscribers.
    pub(crate) fn fan_out(&self) -> Result<()> {
        println!("delivery at 50 events/s (median of {ROUNDS}; server CPU per delivered event)");
        println!(
            "{:<34} {:>11} {:>12} {:>18} {:>9}",
            "", "delivered/s", "us/delivery", "ceiling us/delivery", "p99 ms"
        );
        for subscribers in ["1", "100", "500", "1000"] {
            for (title, mode) in [("request per event", ""), ("open body", "-stream")] {
                let arguments = ["--streams", "1", "--subs", subscribers, "--rate", "50", "--duration", "4"];
                let (ours, theirs) = self.both(mode, 1, &arguments)?;
                let of = |figures: &[Figures], path: &str| median(figures.iter().map(|f| f.number(path)).collect());
                let us = "/processes/server/us_per_delivered";
                println!(
                    "{:<34} {:>11.0} {:>12.2} {:>18.2} {:>9.1}",
                    format!("{subscribers} subscribers, {title}"),
                    of(&ours, "/delivered_per_s"),
                    of(&ours, us),
                    of(&theirs, us),
                    of(&ours, "/latency_ms/p99"),
                );
            }
        }
        Ok(())
    }

    /// Late readers of 20,000 records.
    pub(crate) fn catch_up(&self) -> Result<()> {
        println!("catch-up of 20,000 records by one late reader after the other");
        for (server, adapter) in self.servers("") {
            let prefix = self.streams(server, 1)?;
            let arguments = ["--events", "20000", "--readers", "20"];
            let figures = self.generate("catchup", server, &adapter, &prefix, &arguments)?;
            println!(
                "  {:<8} total p50 {:>6.2} ms, first byte p50 {:>5.2} ms, server CPU {:>5.2} ms a reader",
                server.name,
                figures.number("/total_ms/p50"),
                figures.number("/first_byte_ms/p50"),
                figures.number("/processes/server/cpu_ms_per_read"),
            );
        }
        Ok(())
    }

    fn both(&self, mode: &str, streams: usize, arguments: &[&str]) -> Result<(Vec<Figures>, Vec<Figures>)> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for (server, adapter) in self.servers(mode) {
                let prefix = self.streams(server, streams)?;
                let figures = self.generate("run", server, &adapter, &prefix, arguments)?;
                figures.faultless()?;
                if server.name == "rejoin" { ours.push(figures) } else { theirs.push(figures) }
            }
        }
        Ok((ours, theirs))
    }

    fn servers(&self, mode: &str) -> [(&Server, PathBuf); 2] {
        let theirs = shared("loadgen").unwrap_or_default().join(format!("adapters/ceiling{mode}.toml"));
        [(&self.rejoin, root().join(format!("tests/loadgen/rejoin{mode}.toml"))), (&self.ceiling, theirs)]
    }

    /// Makes streams with a run step, so that every event is really folded. The prefix of their names.
    fn streams(&self, server: &Server, count: usize) -> Result<String> {
        let prefix = format!("b{}", rejoin::types::now_ms());
        if server.name == "rejoin" {
            let client = Client::new(server.address);
            let step = answer(0)[0].replace("\"id\":\"s\"", "\"id\":\"step_1\"");
            for at in 0..count {
                let name = format!("{prefix}-{at}");
                self.runtime.block_on(async {
                    client.create(&name, &Value::Object(Default::default())).await?;
                    client.append(&name, &[&step]).await?.expect(200)
                })?;
            }
        }
        Ok(prefix)
    }

    fn generate(
        &self,
        verb: &str,
        server: &Server,
        adapter: &PathBuf,
        prefix: &str,
        arguments: &[&str],
    ) -> Result<Figures> {
        let out = std::env::temp_dir().join(format!("rejoin-bench-{}-{prefix}.json", std::process::id()));
        let output = Command::new(&self.generator)
            .arg(verb)
            .arg("--adapter")
            .arg(adapter)
            .args(["--base", &server.address.to_string(), "--prefix", prefix])
            .args(["--pid", &format!("server={}", server.child.id())])
            .arg("--out")
            .arg(&out)
            .args(arguments)
            .output()?;
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        let _ = std::fs::remove_file(&out);
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        let line = text.lines().last().context("the load generator wrote no result")?;
        Ok(Figures(serde_json::from_str(line)?))
    }
}

/// Builds the generator from a copy: where it stands it may not be written to.
fn build_generator() -> Result<PathBuf> {
    let source = shared("loadgen").context("these benchmarks need the load generator at ../shared/loadgen")?;
    let copy = root().join("target/loadgen");
    for folder in ["src", "src/bin"] {
        std::fs::create_dir_all(copy.join(folder))?;
        for entry in std::fs::read_dir(source.join(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                copy_if_changed(&entry.path(), &copy.join(folder).join(entry.file_name()))?;
            }
        }
    }
    let manifest = std::fs::read_to_string(source.join("Cargo.toml"))?;
    let manifest = format!("{manifest}\n[workspace]\n");
    if std::fs::read_to_string(copy.join("Cargo.toml")).ok().as_deref() != Some(&manifest) {
        std::fs::write(copy.join("Cargo.toml"), manifest)?;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(copy.join("Cargo.toml"))
        .env_remove("CARGO_TARGET_DIR")
        .status()?;
    ensure!(status.success(), "the load generator does not build");
    Ok(copy.join("target/release"))
}

/// Keeps the time stamps of what has not changed, so that cargo has nothing to do.
fn copy_if_changed(from: &PathBuf, to: &PathBuf) -> Result<()> {
    let bytes = std::fs::read(from)?;
    if std::fs::read(to).ok().as_ref() != Some(&bytes) {
        std::fs::write(to, bytes)?;
    }
    Ok(())
}

fn launch(name: &'static str, address: SocketAddr, mut command: Command) -> Result<Server> {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().with_context(|| name.to_owned())?;
    let server = Server { name, address, child };
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        ensure!(Instant::now() < deadline, "{name} does not listen on {address}");
        std::thread::yield_now();
    }
    Ok(server)
}
