//! The Rejoin server.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use rejoin::app::App;
use rejoin::auth::issue;
use rejoin::config::Config;
use rejoin::engine::COMPONENT_SHA256;
use rejoin::serve::serve as serve_until;
use rejoin::{descriptors, doctor, http, shutdown, trace};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(OsStr::to_str) {
        Some("token") => return issue::run(std::iter::once("rejoin token".into()).chain(arguments)),
        Some("doctor") => return doctor::run(std::iter::once("rejoin doctor".into()).chain(arguments)),
        _ => {}
    }
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(stop) => {
            if stop.exit_code == 0 {
                print!("{}", stop.text);
            } else {
                eprint!("{}", stop.text);
            }
            return ExitCode::from(stop.exit_code);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let descriptors = descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let guard = trace::start(&config.watch, runtime.handle())?;
    tracing::debug!(?descriptors, "open files that are allowed");
    let served = runtime.block_on(serve(config));
    // Without an order in the end nobody waits for traces.
    guard.end(*served.as_ref().unwrap_or(&Duration::ZERO));
    // Whatever still runs after the deadline, or after the second signal, is cut here.
    runtime.shutdown_background();
    served.map(drop)
}

/// Returns what is left of the time to stop.
async fn serve(config: Config) -> anyhow::Result<Duration> {
    // Before anybody can see that it is there: a signal that comes in the middle of the start is an order like any other.
    let signals = |count| shutdown::signals(count).context("cannot wait for signals");
    let (mut stop, cut) = (std::pin::pin!(signals(1)?), signals(2)?);
    let listener = http::listen(config.listen).with_context(|| {
        format!("cannot listen on {}: choose another address with --listen or REJOIN_LISTEN", config.listen)
    })?;
    let figures = config.watch.metrics_listen.map(figures).transpose()?;
    let app = tokio::select! {
        app = App::start(config) => app?,
        () = &mut stop => return Ok(Duration::ZERO),
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), component_sha256 = COMPONENT_SHA256, "starts");
    let text = greeting(&app, listener.local_addr()?, figures.as_ref())?;
    // Where nobody reads, it waits: the order to stop is heard all the same. Where nobody can read it, it serves without.
    let said = tokio::task::spawn_blocking(move || writeln!(std::io::stdout(), "{text}"));
    tokio::select! {
        _ = said => {}
        () = &mut stop => return Ok(Duration::ZERO),
    }
    let figures = async {
        match figures {
            Some(figures) => http::metrics::accept(&app.clone(), &figures).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        left = serve_until(app.clone(), listener, stop) => Ok(left),
        () = figures => anyhow::bail!("the port of the metrics has closed"),
        () = cut => anyhow::bail!("cut by the second signal"),
    }
}

/// The port for whoever reads the metrics.
fn figures(address: SocketAddr) -> anyhow::Result<TcpListener> {
    http::listen(address).with_context(|| {
        format!("cannot listen on {address}: choose another address with --metrics-listen or REJOIN_METRICS_LISTEN")
    })
}

/// What a person at the terminal wants to see: where it is, and something to paste.
fn greeting(app: &App, address: SocketAddr, figures: Option<&TcpListener>) -> anyhow::Result<String> {
    let (version, json) = (env!("CARGO_PKG_VERSION"), "-H 'content-type: application/json'");
    let step = r#"{"event":"on_run_step","data":{"id":"s1","index":0,"stepDetails":{"type":"message_creation"}}}"#;
    let delta = r#"{"event":"on_message_delta","data":{"id":"s1","delta":{"content":{"type":"text","text":"Hello"}}}}"#;
    let metrics = match figures {
        Some(port) => format!("metrics: http://{}/metrics\n", port.local_addr()?),
        None => String::new(),
    };
    let scheme = if app.tls.is_some() { "https" } else { "http" };
    let here = format!(
        "rejoin {version} listens on {scheme}://{address}\ninspector: {scheme}://{address}/\n{metrics}\
         component: sha256 {COMPONENT_SHA256}\n"
    );
    if app.auth.is_some() {
        return Ok(format!("{here}Access tokens are asked for; rejoin token --help says how to make one.\n"));
    }
    Ok(format!(
        "{here}No access tokens are set up: everybody who reaches this address may do everything, so it is loopback only.

Try it:
  curl -X POST {scheme}://{address}/v1/streams/my-chat {json} -d '{{\"userId\":\"me\"}}'
  curl -X POST {scheme}://{address}/v1/streams/my-chat/events {json} -d '[{step},{delta}]'
  curl -X POST {scheme}://{address}/v1/streams/my-chat/complete
  curl -N {scheme}://{address}/v1/streams/my-chat/events -H 'accept: text/event-stream'
"
    ))
}
