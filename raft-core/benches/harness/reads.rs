//! W10: reads at the leader, each confirmed by a quorum.

use super::cluster::Cluster;
use super::{Meter, Node, Setup, Workload};

const AT_ONCE: u64 = 64;
const BATCHES: u64 = 100;

/// 64 reads are asked for, and answered.
pub(crate) struct Reads<N: Node> {
    cluster: Cluster<N>,
    asked: u64,
}

impl<N: Node> Reads<N> {
    /// At a leader with two followers.
    pub(crate) fn new() -> Reads<N> {
        Reads { cluster: Cluster::elected(&Setup::of(3)), asked: 0 }
    }
}

impl<N: Node> Workload for Reads<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        let Reads { cluster, asked } = self;
        meter.measure(&mut || {
            for _ in 0..BATCHES {
                for _ in 0..AT_ONCE {
                    cluster.nodes[0].read(asked.to_le_bytes());
                    *asked += 1;
                }
                cluster.pump();
            }
        });
        AT_ONCE * BATCHES
    }

    fn check(&mut self) {
        assert_eq!(self.cluster.nodes[0].tally().reads, self.asked, "each read is answered once");
    }
}
