//! W13, W15 to W17: many groups that begin, elections, a node at rest, a restart.

use std::hint::black_box;

use super::cluster::{Cluster, Payloads};
use super::{Meter, Node, Setup, Workload};

/// W13: so many groups of three nodes begin at once, and tick until all have elected.
pub(crate) struct Begin<N: Node> {
    count: usize,
    groups: Vec<Cluster<N>>,
    /// Of the three processes that have a node of each group.
    rooms: [N::Room; 3],
}

impl<N: Node> Begin<N> {
    /// So many.
    pub(crate) fn new(count: usize) -> Begin<N> {
        Begin { count, groups: Vec::new(), rooms: Default::default() }
    }
}

fn leads<N: Node>(group: &Cluster<N>) -> bool {
    group.nodes.iter().any(N::leads)
}

impl<N: Node> Workload for Begin<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        self.groups.clear();
        self.groups.extend((0..self.count).map(|_| Cluster::start(&Setup::of(3))));
        let mut waiting: Vec<&mut Cluster<N>> = self.groups.iter_mut().collect();
        let rooms = &mut self.rooms;
        meter.measure(&mut || {
            while !waiting.is_empty() {
                for group in &mut waiting {
                    group.nodes.iter_mut().for_each(N::tick);
                    group.pump_in(rooms);
                }
                waiting.retain(|group| !leads(group));
            }
        });
        self.count as u64
    }

    fn check(&mut self) {
        assert!(self.groups.iter().all(leads), "every group has a leader");
    }
}

/// W16: a node campaigns and wins, and its first entry is applied by all.
pub(crate) struct Election<N: Node> {
    voters: u64,
    last: Vec<Cluster<N>>,
}

const ELECTIONS: u64 = 10;

impl<N: Node> Election<N> {
    /// Among so many.
    pub(crate) fn new(voters: u64) -> Election<N> {
        Election { voters, last: Vec::new() }
    }
}

impl<N: Node> Workload for Election<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        let setup = Setup::of(self.voters);
        self.last = (0..ELECTIONS).map(|_| Cluster::start(&setup)).collect();
        meter.measure(&mut || self.last.iter_mut().for_each(Cluster::elect));
        ELECTIONS
    }

    fn check(&mut self) {
        assert!(self.last.iter().all(|cluster| cluster.nodes[0].leads()));
    }
}

/// W15: a leader is asked whether there is anything to do, and there isn't.
pub(crate) struct AtRest<N: Node>(Cluster<N>);

const QUESTIONS: u64 = 10_000;

impl<N: Node> AtRest<N> {
    /// With two followers.
    pub(crate) fn new() -> AtRest<N> {
        AtRest(Cluster::elected(&Setup::of(3)))
    }
}

impl<N: Node> Workload for AtRest<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        let leader = &self.0.nodes[0];
        meter.measure(&mut || {
            for _ in 0..QUESTIONS {
                assert!(!black_box(leader).has_ready());
            }
        });
        QUESTIONS
    }

    fn check(&mut self) {
        assert!(self.0.nodes[0].leads());
    }
}

/// W17: a node starts from its storage, which holds a log of which all is applied, until it has nothing to do.
pub(crate) struct Restart<N: Node> {
    setup: Setup,
    node: Option<N>,
    room: N::Room,
}

const RESTARTS: u64 = 10;

impl<N: Node> Restart<N> {
    /// With so many entries of 16 bytes.
    pub(crate) fn new(entries: usize) -> Restart<N> {
        let setup = Setup { compacts: false, ..Setup::of(1) };
        let mut cluster = Cluster::<N>::elected(&setup);
        let mut payloads = Payloads::new(16);
        for _ in 0..entries.div_ceil(100) {
            cluster.nodes[0].propose_batch(payloads.batch(100));
            cluster.pump();
        }
        cluster.check(payloads.proposed());
        Restart { setup, node: cluster.nodes.pop(), room: N::Room::default() }
    }
}

impl<N: Node> Workload for Restart<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        let Restart { setup, node, room } = self;
        for _ in 0..RESTARTS {
            let mut stopped = node.take().map(N::stop);
            meter.measure(&mut || {
                let mut started = N::restart(1, setup, stopped.take().unwrap());
                while started.handle(room, |_, _| ()) {}
                *node = Some(started);
            });
        }
        RESTARTS
    }

    fn check(&mut self) {
        let node = self.node.as_mut().unwrap();
        node.campaign();
        while node.handle(&mut self.room, |_, _| ()) {}
        assert!(node.leads(), "a voter that is alone leads when it wants to");
        assert_eq!(node.tally().count, 0, "nothing is applied twice");
    }
}
