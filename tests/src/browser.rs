//! A real browser without a window, driven through the DevTools protocol.
//!
//! The protocol runs over two pipes (`--remote-debugging-pipe`: requests in on 3, answers and events out on 4, each
//! ended by a zero byte), so there is no port, no WebSocket and no second program.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Nothing that a test waits for takes longer. The first start of a browser on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// One page in a browser of its own with a fresh profile. Dropped: the browser is killed.
pub struct Browser {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    profile: PathBuf,
    session: Option<String>,
    number: u64,
    /// Uncaught exceptions of the page, and what the browser complains about (blocked resources, failed policies).
    pub complaints: Vec<String>,
    loaded: bool,
}

impl Browser {
    /// Starts one and opens `url`.
    pub async fn open(url: &str) -> Result<Self> {
        let program = program()?;
        static PROFILES: AtomicU32 = AtomicU32::new(0);
        let number = PROFILES.fetch_add(1, Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("rejoin-browser-{}-{number}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"]).arg(program);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("sh cannot be started")?;
        let (requests, answers) = (child.stdin.take().context("stdin")?, child.stdout.take().context("stdout")?);
        let (answers, session, complaints) = (BufReader::new(answers), None, Vec::new());
        let mut browser = Browser { child, requests, answers, profile, session, number: 0, complaints, loaded: false };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach).await?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({})).await?;
        }
        browser.go(url).await?;
        Ok(browser)
    }

    /// Opens another address in the same page and waits until it is loaded.
    pub async fn go(&mut self, url: &str) -> Result<()> {
        self.loaded = false;
        let gone = self.call("Page.navigate", json!({ "url": url })).await?;
        ensure!(gone["errorText"].is_null(), "{url}: {gone}");
        while !self.loaded {
            self.message().await?;
        }
        Ok(())
    }

    /// The value of a JavaScript expression; a promise is waited for.
    pub async fn value(&mut self, expression: &str) -> Result<Value> {
        let request = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", request).await.with_context(|| expression.to_owned())?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true: it is looked at after every change of the page.
    pub async fn until(&mut self, condition: &str) -> Result<()> {
        let promise = format!(
            "new Promise((done) => {{
                const look = () => {{ if ({condition}) {{ observer.disconnect(); done(true); }} }};
                const observer = new MutationObserver(look);
                observer.observe(document, {{ subtree: true, childList: true, characterData: true, attributes: true }});
                look();
            }})"
        );
        if let Err(error) = self.value(&promise).await {
            let page = self.value("document.querySelector('main')?.innerText").await.unwrap_or_default();
            return Err(error.context(format!("never true: {condition}\n{page:.2000}")));
        }
        Ok(())
    }

    /// Clicks the element of that selector.
    pub async fn click(&mut self, selector: &str) -> Result<()> {
        self.value(&format!("document.querySelector({selector:?}).click()")).await.map(drop)
    }

    /// Presses a key as a person does: a character, or the name of a key.
    pub async fn key(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "PageDown" => (34, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            character => (0, character),
        };
        let mut press = json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        if !text.is_empty() {
            press["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", press).await?;
        let release = json!({"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", release).await.map(drop)
    }

    /// Types a text into what has the focus.
    pub async fn write(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// The page as it is on a screen of that many pixels.
    pub async fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", screen).await.map(drop)
    }

    /// Ends the browser in order.
    pub async fn close(mut self) -> Result<()> {
        self.session = None;
        self.call("Browser.close", json!({})).await?;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.context("the browser goes on")??;
        Ok(())
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.number += 1;
        let mut request = json!({"id": self.number, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            request["sessionId"] = session.as_str().into();
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).await.context("the browser has ended")?;
        loop {
            let mut answer = self.message().await.with_context(|| format!("{method} is not answered"))?;
            if answer["id"] == self.number {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].take());
            }
        }
    }

    /// The next message; events are noted.
    async fn message(&mut self) -> Result<Value> {
        let mut bytes = Vec::new();
        let read = self.answers.read_until(0, &mut bytes);
        tokio::time::timeout(PATIENCE, read).await.context("the browser says nothing")??;
        if bytes.pop() != Some(0) {
            bail!("the browser has ended: {}", String::from_utf8_lossy(&bytes));
        }
        let message: Value = serde_json::from_slice(&bytes)?;
        match message["method"].as_str() {
            Some("Page.loadEventFired") => self.loaded = true,
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(message["params"]["exceptionDetails"].to_string());
            }
            Some("Log.entryAdded") => {
                let entry = &message["params"]["entry"];
                if ["warning", "error"].contains(&entry["level"].as_str().unwrap_or_default()) {
                    self.complaints.push(entry.to_string());
                }
            }
            _ => {}
        }
        Ok(message)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let found = NAMES.iter().find_map(|name| folders.iter().map(|f| f.join(name)).find(|program| program.is_file()));
    found.context("no browser on PATH: `cargo xtask test` installs one, or `apt-get install chromium`")
}
