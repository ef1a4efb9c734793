//! `conformance` on a Cluster of three masters.

use std::sync::{Arc, Mutex, Weak};

use rejoin_tests::redis::Cluster;

use super::{config, open_on, prefix, shared};
use crate::store::conformance::{Bench, conforms};

pub(super) fn open() -> Bench {
    static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let cluster: Arc<Cluster> = shared(&CLUSTER, || Cluster::start(3, 0).expect("redis-server runs"));
    let config = config(&cluster.url(), &prefix());
    open_on(cluster, config).1
}

conforms!(open, 6);
