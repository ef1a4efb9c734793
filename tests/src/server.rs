//! A real server on a free port of this machine, ended with the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rejoin::app::App;
use rejoin::config::Config;
use rejoin::engine::RuntimeConfig;
use rejoin::serve::serve;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;

/// The component built with `test-traps`: events named `test_trap_*` do what they say.
static TRAPS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rejoin-traps.cwasm"));

/// A running server. Dropped: it ends on its own; [`Server::stop`] waits for it.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its inside, for what cannot be seen from outside.
    pub app: Arc<App>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Duration>,
}

impl Server {
    /// With the defaults, but a short farewell.
    pub async fn start() -> Result<Self> {
        Self::start_with(|_| {}).await
    }

    /// With other settings.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Result<Self> {
        let config = config(change);
        Self::launch(App::start(config).await?).await
    }

    /// With the component that traps on demand.
    pub async fn start_trapping(change: impl FnOnce(&mut Config)) -> Result<Self> {
        let config = config(change);
        let runtime = RuntimeConfig {
            component: TRAPS.into(),
            instances_max: config.sessions_max.saturating_add(16),
            memory_bytes_max: config.session_bytes_max,
            call_max: config.call_max,
        };
        Self::launch(App::start_with(config, &runtime).await?).await
    }

    async fn launch(app: Arc<App>) -> Result<Self> {
        // As the program does it: what a socket is told belongs to what is tested.
        let listener = rejoin::http::listen((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let running = serve(app.clone(), listener, async move {
            let _ = stopped.await;
        });
        Ok(Server { address, app, stop: Some(stop), task: tokio::spawn(running) })
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Asks it to end without waiting.
    pub fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Ends it and waits until nothing of it runs.
    pub async fn stop(mut self) -> Result<()> {
        self.begin_stop();
        self.task.await?;
        Ok(())
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    // Every session that may be open reserves 4 GiB of addresses, and many servers run at a time here.
    let mut config = Config { shutdown_max: Duration::from_secs(2), sessions_max: 512, ..Config::default() };
    change(&mut config);
    config
}
