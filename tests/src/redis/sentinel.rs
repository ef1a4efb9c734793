//! A master, a replica, and sentinels that make the replica the master when the master is gone.

use anyhow::{Context, Result};

use super::{Server, until};

/// What the sentinels call the master.
const NAME: &str = "main";

/// Dropped: all of them are killed.
pub struct Sentinel {
    /// The data servers: first the one that is master at the start.
    pub servers: [Server; 2],
    /// The sentinels.
    pub sentinels: Vec<Server>,
}

impl Sentinel {
    /// Starts `count` of them over one master and one replica. Returns when the sentinels know the replica and each other.
    pub fn start(count: usize) -> Result<Self> {
        let master = Server::start()?;
        let port = master.port().to_string();
        let replica = Server::start_with(&["--replicaof", &format!("127.0.0.1 {port}")])?;
        until("the replica is up to date", || {
            Ok(replica.cli(&["INFO", "replication"])?.contains("master_link_status:up").then_some(()))
        })?;
        let mut sentinels = Vec::new();
        for _ in 0..count {
            let sentinel = Server::start_sentinel()?;
            sentinel.cli(&["SENTINEL", "MONITOR", NAME, "127.0.0.1", &port, &(count / 2 + 1).to_string()])?;
            let timing = ["down-after-milliseconds", "1000", "failover-timeout", "5000", "parallel-syncs", "1"];
            for pair in timing.chunks(2) {
                sentinel.cli(&["SENTINEL", "SET", NAME, pair[0], pair[1]])?;
            }
            sentinels.push(sentinel);
        }
        let sentinel = Sentinel { servers: [master, replica], sentinels };
        for one in &sentinel.sentinels {
            until("the sentinel knows all", || {
                let known = one.cli(&["SENTINEL", "MASTER", NAME])?;
                let lines: Vec<&str> = known.lines().collect();
                let count_of =
                    |name: &str| lines.iter().position(|line| *line == name).and_then(|at| lines.get(at + 1));
                let others = (count - 1).to_string();
                let all = count_of("num-slaves") == Some(&"1") && count_of("num-other-sentinels") == Some(&&*others);
                Ok(all.then_some(()))
            })?;
        }
        Ok(sentinel)
    }

    /// What a host is told as its store.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
        format!("redis+sentinel://{}/{NAME}", addresses.join(","))
    }

    /// The port that the sentinels name as the master's.
    pub fn master_port(&self) -> Result<u16> {
        let asked = self.sentinels.first().context("a sentinel")?;
        let named = asked.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
        Ok(named.lines().nth(1).context("a port")?.parse()?)
    }

    /// Makes the replica the master while both live.
    pub fn fail_over(&self) -> Result<()> {
        let before = self.master_port()?;
        self.sentinels.first().context("a sentinel")?.cli(&["SENTINEL", "FAILOVER", NAME])?;
        self.moved_from(before)
    }

    /// Waits until the sentinels name another master than this.
    pub fn moved_from(&self, port: u16) -> Result<()> {
        until("the sentinels name a new master", || {
            let now = self.master_port()?;
            let server = self.servers.iter().find(|server| server.port() == now).context("an unknown master")?;
            Ok((now != port && server.cli(&["ROLE"])?.starts_with("master")).then_some(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_master_is_killed_the_replica_takes_its_place() -> Result<()> {
        let sentinel = Sentinel::start(1)?;
        let [master, replica] = &sentinel.servers;
        assert_eq!(sentinel.master_port()?, master.port());
        // WAIT knows of the writes of its own connection only.
        let mut connection = master.connect()?;
        connection.call(&["SET", "k", "v"])?;
        assert_eq!(connection.call(&["WAIT", "1", "5000"])?.to_string(), "1");
        master.kill()?;
        sentinel.moved_from(master.port())?;
        assert_eq!(sentinel.master_port()?, replica.port());
        assert_eq!(replica.cli(&["GET", "k"])?, "v");
        Ok(())
    }
}
