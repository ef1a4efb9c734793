//! Hosts in other languages: a process that answers a task by line, or a page.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use rejoin_tests::browser::Browser;
use rejoin_tests::files::Files;
use rejoin_tests::root;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Host, Round, Task, component};

/// The version whose fold the golden cases were made with.
const REFERENCE: &str = "3.9.2";

/// Where requests go.
trait Ask {
    fn ask(&mut self, request: &Value) -> Result<Value>;
}

/// One of the hosts behind it.
struct Guest<A> {
    name: &'static str,
    asked: Rc<RefCell<A>>,
}

impl<A: Ask> Host for Guest<A> {
    fn round(&mut self, task: Task) -> Result<Option<Round>> {
        let answer = self.asked.borrow_mut().ask(&task.request(self.name))?;
        if answer.is_null() {
            return Ok(None);
        }
        let ns = answer["ns"].as_f64().with_context(|| format!("no time in {answer:.200}"))?;
        Ok(Some(Round { ns, content: answer["out"].as_str().unwrap_or_default().to_owned() }))
    }
}

/// A program that answers one line of JSON with another. Ends with its standard input.
pub(super) struct Process {
    asked: Rc<RefCell<Lines>>,
    /// Whether the reference could be installed.
    pub(super) has_reference: bool,
}

struct Lines {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Ask for Lines {
    fn ask(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.requests, "{request}").context("it has ended: see above")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(!answer.is_empty(), "it has ended: see above");
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(mut command: Command, log: &[String], has_reference: bool) -> Result<Self> {
        let program = command.get_program().to_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let (requests, answers) = (child.stdin.take().context("stdin")?, child.stdout.take().context("stdout")?);
        let mut lines = Lines { child, requests, answers: BufReader::new(answers) };
        let known = lines.ask(&json!({ "log": log }))?;
        ensure!(known == log.len(), "{known} lines of the log arrived");
        Ok(Process { asked: Rc::new(RefCell::new(lines)), has_reference })
    }

    /// Node with both kits, and with the reference where it is there or can be installed.
    pub(super) fn node(log: &[String]) -> Result<Self> {
        let kit = root().join("guest/embed/node");
        ensure!(
            kit.join("dist/index.js").exists(),
            "guest/embed/node is not built: start this by `cargo xtask bench embed`"
        );
        let reference = root().join("target/tools/bench-embed");
        let installed = install_reference(&reference);
        if let Err(error) = &installed {
            eprintln!("without @librechat/agents: {error:#}");
        }
        let mut command = program("node");
        command.arg(scripts().join("node.mjs")).arg(kit).arg(root().join("guest/embed/browser"));
        command.arg(if installed.is_ok() { reference } else { PathBuf::new() }).arg(component());
        Process::start(command, log, installed.is_ok())
    }

    /// The Python of the kit's own tests.
    pub(super) fn python(log: &[String]) -> Result<Self> {
        let python = root().join("target/tools/python/bin/python");
        ensure!(python.exists(), "the kit for Python has no Python: start this by `cargo xtask bench embed`");
        let mut command = Command::new(python);
        command.arg(scripts().join("python.py")).env("PYTHONPATH", root().join("guest/embed/python"));
        command.env("REJOIN_COMPONENT", component());
        Process::start(command, log, false)
    }

    pub(super) fn host(&self, name: &'static str) -> impl Host + use<> {
        Guest { name, asked: self.asked.clone() }
    }
}

/// A page in Chromium.
pub(super) struct Page {
    asked: Rc<RefCell<Tab>>,
}

struct Tab {
    browser: Browser,
    runtime: Runtime,
    _files: Files,
}

impl Ask for Tab {
    fn ask(&mut self, request: &Value) -> Result<Value> {
        let expression = format!("import('/bench/page.mjs').then(({{ answer }}) => answer({request}))");
        self.runtime.block_on(self.browser.value(&expression))
    }
}

impl Page {
    pub(super) fn open(log: &[String]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mounts = vec![
            ("/bench", scripts()),
            ("/kit", root().join("guest/embed/browser")),
            ("/bindings", root().join("guest/embed/node/generated")),
            ("/rejoin.wasm", component()),
        ];
        let files = runtime.block_on(Files::start(mounts))?;
        let browser = runtime.block_on(Browser::open(&format!("{}/bench/page.html", files.origin())))?;
        let mut tab = Tab { browser, runtime, _files: files };
        let known = tab.ask(&json!({ "log": log }))?;
        ensure!(known == log.len(), "{known} lines of the log arrived");
        Ok(Page { asked: Rc::new(RefCell::new(tab)) })
    }

    pub(super) fn host(&self, name: &'static str) -> impl Host + use<> {
        Guest { name, asked: self.asked.clone() }
    }
}

fn scripts() -> PathBuf {
    root().join("tests/src/bin/bench/embed")
}

/// A program of Node; one in `target/tools` goes before that of the machine.
fn program(name: &str) -> Command {
    let own = root().join("target/tools/node/bin").join(name);
    if own.exists() { Command::new(own) } else { Command::new(name) }
}

/// Half a gigabyte of packages: only where the reference is wanted.
fn install_reference(folder: &Path) -> Result<()> {
    let package = folder.join("node_modules/@librechat/agents/package.json");
    let spelt = format!("\"version\": \"{REFERENCE}\"");
    if std::fs::read_to_string(&package).is_ok_and(|package| package.contains(&spelt)) {
        return Ok(());
    }
    eprintln!("installing @librechat/agents {REFERENCE} to target/tools/bench-embed");
    std::fs::create_dir_all(folder)?;
    let wanted = json!({ "private": true, "dependencies": { "@librechat/agents": REFERENCE } });
    std::fs::write(folder.join("package.json"), wanted.to_string())?;
    let mut npm = program("npm");
    npm.args(["install", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]);
    npm.current_dir(folder).stdin(Stdio::null()).stdout(std::io::stderr());
    if !npm.status().context("cannot run npm")?.success() {
        bail!("npm cannot install it: see above");
    }
    Ok(())
}
