//! A Redis Cluster: masters that share the slots evenly, each with its replicas.

use anyhow::{Context, Result};

use super::{Server, again_if_ports_collide, free_port, until};

const SLOTS: usize = 16_384;
/// A node that says nothing for this long is taken for dead by the others.
const NODE_TIMEOUT_MS: &str = "1500";

/// The nodes: first the masters as they were at the start, in the order of their slots, then the replicas of the first one, and
/// so on. Dropped: all of them are killed.
pub struct Cluster {
    /// See above.
    pub nodes: Vec<Node>,
    masters: usize,
}

/// One of them.
pub struct Node {
    /// Its process.
    pub server: Server,
    bus: u16,
    id: String,
}

impl Cluster {
    /// Starts and joins the nodes. Returns when all of them say that the cluster works and every replica is up to date.
    pub fn start(masters: usize, replicas_each: usize) -> Result<Self> {
        let count = masters * (1 + replicas_each);
        let cluster = Cluster { nodes: (0..count).map(|_| Node::start()).collect::<Result<_>>()?, masters };
        let first = &cluster.nodes[0];
        let (port, bus) = (first.server.port().to_string(), first.bus.to_string());
        for (at, node) in cluster.nodes.iter().enumerate() {
            // Nodes that come with the same epoch settle that first, and that takes them seconds.
            node.server.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()])?;
            if at < masters {
                let (from, to) = (SLOTS * at / masters, SLOTS * (at + 1) / masters - 1);
                node.server.cli(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()])?;
            }
            if at > 0 {
                node.server.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
            }
        }
        for node in &cluster.nodes {
            until("all nodes know each other", || {
                let known = node.server.cli(&["CLUSTER", "NODES"])?;
                let joined = known.lines().count() == count && !known.contains("handshake");
                Ok(joined.then_some(()))
            })?;
        }
        for master in 0..masters {
            for replica in cluster.replicas_of(master) {
                cluster.nodes[replica].server.cli(&["CLUSTER", "REPLICATE", &cluster.nodes[master].id])?;
            }
        }
        cluster.works()?;
        Ok(cluster)
    }

    /// Addresses of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.server.url()).collect()
    }

    /// What a host is told as its store.
    pub fn url(&self) -> String {
        self.urls().join(",")
    }

    /// The replicas that a node had at the start.
    pub fn replicas_of(&self, master: usize) -> std::ops::Range<usize> {
        let each = self.nodes.len() / self.masters - 1;
        self.masters + master * each..self.masters + (master + 1) * each
    }

    /// The node that serves a key now, as the living nodes see it.
    pub fn master_of(&self, key: &str) -> Result<usize> {
        let slot = slot_of(key);
        let asked = self.living().next().context("no node lives")?;
        for line in asked.server.cli(&["CLUSTER", "NODES"])?.lines() {
            let mut words = line.split(' ');
            let id = words.next().unwrap_or_default();
            let serves = words.skip(7).filter_map(|range| {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                Some(from.parse::<u16>().ok()?..=to.parse::<u16>().ok()?)
            });
            if serves.into_iter().any(|range| range.contains(&slot)) {
                return self.nodes.iter().position(|node| node.id == id).context("a node of another cluster");
            }
        }
        anyhow::bail!("nobody serves slot {slot}")
    }

    /// Makes a replica the master: in agreement with its master, which must live (nothing is lost), or by itself with `takeover`.
    /// Returns when it is one.
    pub fn fail_over(&self, replica: usize, takeover: bool) -> Result<()> {
        let node = &self.nodes[replica].server;
        until("the replica becomes master", || {
            if node.cli(&["ROLE"])?.starts_with("master") {
                return Ok(Some(()));
            }
            // Refused while the link to its master is down; asked again, it does no harm.
            let _ = node.cli(if takeover { &["CLUSTER", "FAILOVER", "TAKEOVER"] } else { &["CLUSTER", "FAILOVER"] });
            std::thread::sleep(std::time::Duration::from_millis(50));
            Ok(None)
        })
    }

    /// Cuts a stopped replica off for good, so that what its master writes from now on does not even wait in its socket.
    pub fn cut_off(&self, master: usize, replica: usize) -> Result<()> {
        self.nodes[replica].server.stop()?;
        self.nodes[master].server.cli(&["CLIENT", "KILL", "TYPE", "replica"])?;
        Ok(())
    }

    /// Waits until all living nodes say that the cluster works, and its replicas are up to date.
    pub fn works(&self) -> Result<()> {
        for node in self.living() {
            until("the cluster works", || {
                let works = node.server.cli(&["CLUSTER", "INFO"])?.contains("cluster_state:ok");
                let info = node.server.cli(&["INFO", "replication"])?;
                Ok((works && !info.contains("master_link_status:down")).then_some(()))
            })?;
        }
        Ok(())
    }

    fn living(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.server.id().is_some())
    }
}

impl Node {
    fn start() -> Result<Self> {
        again_if_ports_collide(|| {
            let bus = free_port()?;
            let options = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
            let more = ["--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-replica-validity-factor", "0"];
            let server = Server::start_with(&[&options[..], &more].concat())?;
            let id = server.cli(&["CLUSTER", "MYID"])?;
            Ok(Node { server, bus, id })
        })
    }
}

/// The slot of a key: CRC16 (XMODEM) of what stands in its first braces, or of all of it.
pub fn slot_of(key: &str) -> u16 {
    let braces = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let hashed = braces.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = hashed.bytes().fold(0u16, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    });
    crc % 16_384
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // From the cluster specification: CRC16 of 123456789 is 0x31C3.
        assert_eq!(slot_of("123456789"), 0x31c3);
        assert_eq!(slot_of("a{123456789}b"), 0x31c3);
        assert_eq!(slot_of("{}123"), slot_of("{}123"));
        assert_ne!(slot_of("{}123"), slot_of("{}124"));
    }

    #[test]
    fn a_replica_that_was_cut_off_forgets_what_came_after() -> Result<()> {
        let cluster = Cluster::start(3, 1)?;
        assert_eq!(cluster.urls().len(), 6);
        let master = cluster.master_of("k")?;
        let replica = cluster.replicas_of(master).start;
        let server = &cluster.nodes[master].server;
        // WAIT knows of the writes of its own connection only.
        let mut connection = server.connect()?;
        connection.call(&["SET", "k", "old"])?;
        assert_eq!(connection.call(&["WAIT", "1", "5000"])?.to_string(), "1");
        cluster.cut_off(master, replica)?;
        server.cli(&["SET", "k", "new"])?;
        server.kill()?;
        cluster.nodes[replica].server.cont()?;
        cluster.fail_over(replica, true)?;
        cluster.works()?;
        assert_eq!(cluster.master_of("k")?, replica);
        assert_eq!(cluster.nodes[replica].server.cli(&["GET", "k"])?, "old");
        Ok(())
    }

    #[test]
    fn a_fail_over_in_agreement_forgets_nothing() -> Result<()> {
        let cluster = Cluster::start(3, 1)?;
        let master = cluster.master_of("k")?;
        let replica = cluster.replicas_of(master).start;
        cluster.nodes[master].server.cli(&["SET", "k", "v"])?;
        cluster.fail_over(replica, false)?;
        cluster.works()?;
        assert_eq!(cluster.nodes[replica].server.cli(&["GET", "k"])?, "v");
        Ok(())
    }
}
