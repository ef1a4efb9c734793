//! Several of the real program over one store: each may be killed, started again where it was, stopped and continued.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};

use crate::client::Client;
use crate::command::Program;
use crate::redis::free_port;

/// One host. It keeps its port over its deaths, so that clients find it again. Dropped: killed.
pub struct Replica {
    /// Where it listens, now or when it is started again.
    pub address: SocketAddr,
    arguments: Vec<String>,
    program: Option<Program>,
}

impl Replica {
    /// Starts it over this store, with further arguments.
    pub async fn start(store: &str, arguments: &[&str]) -> Result<Self> {
        let address = (Ipv4Addr::LOCALHOST, free_port()?).into();
        let arguments = ["--store", store].iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        let mut replica = Replica { address, arguments, program: None };
        replica.restart().await?;
        Ok(replica)
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        let mut program = self.program.take().context("it is dead")?;
        program.signal("KILL").await?;
        ensure!(program.end().await?.is_none(), "it ended by itself");
        Ok(())
    }

    /// Starts it again on the same port. It listens when this returns.
    pub async fn restart(&mut self) -> Result<()> {
        ensure!(self.program.is_none(), "it lives");
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.program = Some(Program::start_at(self.address, &arguments).await?);
        Ok(())
    }

    /// SIGSTOP: its connections stay, it does nothing.
    pub async fn stop(&self) -> Result<()> {
        self.program.as_ref().context("it is dead")?.signal("STOP").await
    }

    /// SIGCONT.
    pub async fn cont(&self) -> Result<()> {
        self.program.as_ref().context("it is dead")?.signal("CONT").await
    }
}
