//! Nodes and their inboxes.

use super::{Node, Setup, Tally};

/// A cluster in one thread.
pub(crate) struct Cluster<N: Node> {
    /// In ascending order of their ids, which begin at 1 and have no gaps.
    pub(crate) nodes: Vec<N>,
    /// What has arrived at each.
    pub(crate) inboxes: Vec<Vec<N::Message>>,
    /// That of each: they stand for processes.
    pub(crate) rooms: Vec<N::Room>,
    /// How many nodes are there to the others; the messages to those after them are lost.
    pub(crate) connected: usize,
}

impl<N: Node> Cluster<N> {
    /// A cluster whose node 1 leads.
    pub(crate) fn elected(setup: &Setup) -> Cluster<N> {
        let mut cluster = Cluster::start(setup);
        cluster.elect();
        cluster
    }

    /// A cluster without a leader.
    pub(crate) fn start(setup: &Setup) -> Cluster<N> {
        let nodes: Vec<N> = setup.members().into_iter().map(|id| N::start(id, setup)).collect();
        let inboxes = nodes.iter().map(|_| Vec::new()).collect();
        let rooms = nodes.iter().map(|_| N::Room::default()).collect();
        Cluster { connected: nodes.len(), nodes, inboxes, rooms }
    }

    /// Node 1 campaigns and wins.
    pub(crate) fn elect(&mut self) {
        let mut rooms = std::mem::take(&mut self.rooms);
        self.elect_in(&mut rooms);
        self.rooms = rooms;
    }

    /// The same in the rooms of processes that have other nodes too.
    pub(crate) fn elect_in(&mut self, rooms: &mut [N::Room]) {
        self.nodes[0].campaign();
        self.pump_in(rooms);
        assert!(self.nodes[0].leads(), "node 1 has won");
    }

    /// Each node in turn steps what has arrived and handles one `Ready`, until none has anything to do. A message is there for
    /// a node that comes later in the same turn.
    pub(crate) fn pump(&mut self) {
        let mut rooms = std::mem::take(&mut self.rooms);
        self.pump_in(&mut rooms);
        self.rooms = rooms;
    }

    /// The same in the rooms of processes that have other nodes too.
    pub(crate) fn pump_in(&mut self, rooms: &mut [N::Room]) {
        let Cluster { nodes, inboxes, connected, .. } = self;
        let mut busy = true;
        while busy {
            busy = false;
            for (at, (node, room)) in nodes[..*connected].iter_mut().zip(&mut *rooms).enumerate() {
                let inbox = &mut inboxes[at];
                if !inbox.is_empty() {
                    inbox.drain(..).for_each(|message| node.step(message));
                    busy = true;
                }
                busy |= node.handle(room, |to, message| inboxes[place(to)].push(message));
            }
        }
        inboxes[*connected..].iter_mut().for_each(Vec::clear);
    }

    /// Panics unless every node that is connected has applied this.
    pub(crate) fn check(&self, expected: Tally) {
        for (at, node) in self.nodes[..self.connected].iter().enumerate() {
            let Tally { count, sum, .. } = node.tally();
            assert_eq!((count, sum), (expected.count, expected.sum), "what node {} has applied", at + 1);
        }
    }
}

/// Where the node of this id stands.
pub(crate) fn place(id: u64) -> usize {
    usize::try_from(id - 1).unwrap()
}

/// The commands of clients: zeroes with a number in front.
pub(crate) struct Payloads {
    size: usize,
    proposed: Tally,
}

impl Payloads {
    /// Of this many bytes each.
    pub(crate) fn new(size: usize) -> Payloads {
        Payloads { size, proposed: Tally::default() }
    }

    /// What there was of them until now.
    pub(crate) fn proposed(&self) -> Tally {
        self.proposed
    }

    /// The next one. Always inlined: whether it is would else depend on the core beside it.
    #[inline(always)]
    pub(crate) fn one(&mut self) -> Vec<u8> {
        let mut data = vec![0; self.size];
        data[..8].copy_from_slice(&self.proposed.count.to_le_bytes());
        self.proposed.sum += self.proposed.count;
        self.proposed.count += 1;
        data
    }

    /// The next ones: an iterator that knows its length.
    pub(crate) fn batch(&mut self, count: usize) -> impl ExactSizeIterator<Item = Vec<u8>> {
        (0..count).map(|_| self.one())
    }
}
