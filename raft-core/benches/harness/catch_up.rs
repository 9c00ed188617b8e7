//! W9: a follower that has nothing is brought up to the others.

use super::cluster::{Cluster, Payloads};
use super::{Meter, Node, Setup, Workload};

/// Of three nodes two hold these entries. Node 3 was cut off at the election.
pub(crate) struct CatchUp<N: Node> {
    entries: usize,
    /// Of the last round.
    last: Option<(Cluster<N>, Payloads)>,
}

impl<N: Node> CatchUp<N> {
    /// With so many entries of 256 bytes.
    pub(crate) fn new(entries: usize) -> CatchUp<N> {
        CatchUp { entries, last: None }
    }
}

impl<N: Node> Workload for CatchUp<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        let setup = Setup { max_bytes: 64 << 10, compacts: false, ..Setup::of(3) };
        let mut cluster = Cluster::<N>::start(&setup);
        cluster.connected = 2;
        cluster.elect();
        let mut payloads = Payloads::new(256);
        for _ in 0..self.entries.div_ceil(100) {
            cluster.nodes[0].propose_batch(payloads.batch(100));
            cluster.pump();
        }
        cluster.connected = 3;
        meter.measure(&mut || {
            cluster.nodes[0].tick();
            cluster.pump();
        });
        let units = payloads.proposed().count;
        self.last = Some((cluster, payloads));
        units
    }

    fn check(&mut self) {
        let (cluster, payloads) = self.last.as_ref().unwrap();
        cluster.check(payloads.proposed());
    }
}
