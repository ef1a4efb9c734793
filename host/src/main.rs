//! The Rejoin server.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use rejoin::app::{self, App};
use rejoin::config::Config;
use rejoin::{http, shutdown};

fn main() -> ExitCode {
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
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let color = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(color).with_writer(std::io::stderr).init();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let served = runtime.block_on(serve(config));
    // Whatever still runs after the deadline, or after the second signal, is cut here.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let listener = http::listen(config.listen).with_context(|| {
        format!("cannot listen on {}: choose another address with --listen or REJOIN_LISTEN", config.listen)
    })?;
    let app = App::start(config).await?;
    println!("{}", greeting(listener.local_addr()?));
    let stop = async {
        if let Err(error) = shutdown::signals(1).await {
            tracing::error!(%error, "cannot wait for signals");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = app::serve(app, listener, stop) => Ok(()),
        Ok(()) = shutdown::signals(2) => anyhow::bail!("cut by the second signal"),
    }
}

/// What a person at the terminal wants to see: where it is, and something to paste.
fn greeting(address: SocketAddr) -> String {
    let (version, json) = (env!("CARGO_PKG_VERSION"), "-H 'content-type: application/json'");
    let step = r#"{"event":"on_run_step","data":{"id":"s1","index":0,"stepDetails":{"type":"message_creation"}}}"#;
    let delta = r#"{"event":"on_message_delta","data":{"id":"s1","delta":{"content":{"type":"text","text":"Hello"}}}}"#;
    format!(
        "rejoin {version} listens on http://{address}
inspector: http://{address}/
No access tokens are set up: everybody who reaches this address may do everything, so it is loopback only.

Try it:
  curl -X POST http://{address}/v1/streams/my-chat {json} -d '{{\"userId\":\"me\"}}'
  curl -X POST http://{address}/v1/streams/my-chat/events {json} -d '[{step},{delta}]'
  curl -X POST http://{address}/v1/streams/my-chat/complete
  curl -N http://{address}/v1/streams/my-chat/events -H 'accept: text/event-stream'
"
    )
}
