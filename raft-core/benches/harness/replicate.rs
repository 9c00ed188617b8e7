//! W1 to W6, W12: proposals to a cluster at rest, and to one that is always busy.

use std::collections::VecDeque;

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
    next: Vec<VecDeque<N::Message>>,
}

impl<N: Node> Pipeline<N> {
    /// Three nodes, and commands of this size.
    pub(crate) fn new(size: usize) -> Pipeline<N> {
        let cluster = Cluster::elected(&Setup::of(3));
        let next = cluster.nodes.iter().map(|_| VecDeque::new()).collect();
        Pipeline { cluster, payloads: Payloads::new(size), next }
    }
}

impl<N: Node> Workload for Pipeline<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        let Pipeline { cluster: Cluster { nodes, inboxes, .. }, payloads, next } = self;
        meter.measure(&mut || {
            for _ in 0..COMPACT_EVERY {
                nodes[0].propose(payloads.one());
                for (node, inbox) in nodes.iter_mut().zip(inboxes.iter_mut()) {
                    inbox.drain(..).for_each(|message| node.step(message));
                    node.handle(|to, message| next[place(to)].push_back(message));
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
