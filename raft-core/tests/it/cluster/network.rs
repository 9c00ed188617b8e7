//! The messages between the nodes: delivered, lost or kept as the test says.

use raft_core::{Message, StepError};

use super::Cluster;

impl Cluster {
    /// Delivers messages until there are none.
    pub fn settle(&mut self) {
        for n in self.numbers() {
            self.pump(n);
        }
        let mut delivered = 0;
        while self.deliver_next() {
            delivered += 1;
            assert!(delivered < 20_000, "the nodes don't stop talking");
        }
        self.check_logs();
    }

    /// The same, but messages that `lost` picks are lost, and can be had from [`take_lost`](Cluster::take_lost).
    pub fn settle_without(&mut self, lost: impl Fn(&Message) -> bool) {
        self.lost.clear();
        for n in self.numbers() {
            self.pump(n);
        }
        loop {
            let mut taken = self.take_if(&lost);
            self.lost.append(&mut taken);
            if !self.deliver_next() {
                return;
            }
        }
    }

    /// What the last [`settle_without`](Cluster::settle_without) lost.
    pub fn take_lost(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.lost)
    }

    /// Delivers the oldest message. Returns false if there is none.
    pub fn deliver_next(&mut self) -> bool {
        self.deliver_at(0)
    }

    /// Delivers the message at this place of the queue. Returns false if there is none.
    pub fn deliver_at(&mut self, at: usize) -> bool {
        match self.network.remove(at) {
            Some(message) => {
                self.deliver(message);
                true
            }
            None => false,
        }
    }

    /// Delivers a message, if its link and its receiver are up. One that is refused is a fault of the core: here all
    /// nodes are honest.
    pub fn deliver(&mut self, message: Message) {
        let link = (message.from.get(), message.to.get());
        if self.cut.contains(&link) || !self.slots.contains_key(&link.1) || !self.is_up(link.1) {
            return;
        }
        match self.step(message.clone()) {
            Ok(()) | Err(StepError::Proposal(_)) => {}
            // One that has left, or whose coming isn't applied there yet.
            Err(StepError::UnknownPeer(_)) if self.oracle.membership_changed() => {}
            Err(error) => panic!("node {} refused {message:?}: {error}", link.1),
        }
    }

    /// Delivers those messages on their way that `chosen` picks, once each.
    pub fn deliver_if(&mut self, chosen: impl Fn(&Message) -> bool) {
        for message in self.take_if(chosen) {
            self.deliver(message);
        }
    }

    /// Takes messages off the network.
    pub fn take_if(&mut self, chosen: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (taken, kept) = self.network.drain(..).partition(chosen);
        self.network = kept;
        Vec::from(taken)
    }

    /// Takes all messages off the network.
    pub fn take_all(&mut self) -> Vec<Message> {
        self.network.drain(..).collect()
    }

    pub fn cut_link(&mut self, a: u64, b: u64) {
        self.cut.insert((a, b));
        self.cut.insert((b, a));
    }

    /// Cuts one direction only.
    pub fn cut_one_way(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    pub fn isolate(&mut self, n: u64) {
        for other in self.numbers() {
            if other != n {
                self.cut_link(n, other);
            }
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        self.lose = None;
    }

    /// Messages that leave are lost if `lost` says so.
    pub fn lose_if(&mut self, lost: impl FnMut(&Message) -> bool + 'static) {
        self.lose = Some(Box::new(lost));
    }
}
