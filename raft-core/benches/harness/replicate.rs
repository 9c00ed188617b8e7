//! W1 to W6, W12, W14: proposals to a cluster at rest, to one that is always busy, and to one whose log is long.

use super::cluster::{Cluster, Payloads, place};
use super::{COMPACT_EVERY, Meter, Node, Setup, Workload};

/// How the proposals come.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    size: usize,
    /// How many before each pump.
    count: usize,
    in_one_call: bool,
}

impl Load {
    /// One at a time, of this many bytes.
    pub(crate) fn single(size: usize) -> Load {
        Load { size, count: 1, in_one_call: false }
    }

    /// 64 in one call.
    pub(crate) fn batches(size: usize) -> Load {
        Load { size, count: 64, in_one_call: true }
    }

    /// 64 in a call each.
    pub(crate) fn calls(size: usize) -> Load {
        Load { size, count: 64, in_one_call: false }
    }
}

/// Propose, pump, and again.
pub(crate) struct Replicate<N: Node> {
    cluster: Cluster<N>,
    payloads: Payloads,
    load: Load,
}

impl<N: Node + 'static> Replicate<N> {
    /// A cluster under this load.
    pub(crate) fn boxed(setup: Setup, load: Load) -> Box<dyn Workload> {
        let cluster = Cluster::elected(&setup);
        Box::new(Replicate::<N> { cluster, payloads: Payloads::new(load.size), load })
    }
}

impl<N: Node> Workload for Replicate<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        let Replicate { cluster, payloads, load } = self;
        let before = payloads.proposed().count;
        meter.measure(&mut || {
            while payloads.proposed().count - before < COMPACT_EVERY {
                if load.in_one_call {
                    cluster.nodes[0].propose_batch(payloads.batch(load.count));
                } else {
                    payloads.batch(load.count).for_each(|data| cluster.nodes[0].propose(data));
                }
                cluster.pump();
            }
        });
        payloads.proposed().count - before
    }

    fn check(&mut self) {
        self.cluster.check(self.payloads.proposed());
    }
}

/// A proposal in each turn, while those before are on their way: a message arrives in the next turn.
pub(crate) struct Pipeline<N: Node> {
    cluster: Cluster<N>,
    payloads: Payloads,
    /// What arrives in the next turn.
    next: Vec<Vec<N::Message>>,
}

impl<N: Node> Pipeline<N> {
    /// Three nodes, and commands of this size.
    pub(crate) fn new(size: usize) -> Pipeline<N> {
        let cluster = Cluster::elected(&Setup::of(3));
        let next = cluster.nodes.iter().map(|_| Vec::new()).collect();
        Pipeline { cluster, payloads: Payloads::new(size), next }
    }
}

impl<N: Node> Workload for Pipeline<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        let Pipeline { cluster: Cluster { nodes, inboxes, rooms, .. }, payloads, next } = self;
        meter.measure(&mut || {
            for _ in 0..COMPACT_EVERY {
                nodes[0].propose(payloads.one());
                for ((node, inbox), room) in nodes.iter_mut().zip(inboxes.iter_mut()).zip(rooms.iter_mut()) {
                    inbox.drain(..).for_each(|message| node.step(message));
                    node.handle(room, |to, message| next[place(to)].push(message));
                }
                std::mem::swap(inboxes, next);
            }
        });
        COMPACT_EVERY
    }

    fn check(&mut self) {
        self.cluster.pump();
        self.cluster.check(self.payloads.proposed());
    }
}

/// W14: proposals of 64 commands of 16 bytes to a cluster whose log is never compacted.
pub(crate) struct Grown<N: Node> {
    cluster: Cluster<N>,
    payloads: Payloads,
}

const BATCH: usize = 64;
const BATCHES: u64 = 16;

impl<N: Node + 'static> Grown<N> {
    /// A log of so many entries in a cluster of which so many nodes are there; the others were cut off at the election.
    pub(crate) fn boxed(setup: Setup, entries: usize, connected: usize) -> Box<dyn Workload> {
        let mut cluster = Cluster::<N>::start(&Setup { compacts: false, ..setup });
        cluster.connected = connected;
        cluster.elect();
        let mut grown = Grown { cluster, payloads: Payloads::new(16) };
        for _ in 0..entries.div_ceil(BATCH) {
            grown.propose();
        }
        Box::new(grown)
    }
}

impl<N: Node> Grown<N> {
    fn propose(&mut self) {
        self.cluster.nodes[0].propose_batch(self.payloads.batch(BATCH));
        self.cluster.pump();
    }
}

impl<N: Node> Workload for Grown<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        meter.measure(&mut || (0..BATCHES).for_each(|_| self.propose()));
        BATCHES * BATCH as u64
    }

    fn check(&mut self) {
        self.cluster.check(self.payloads.proposed());
    }
}
