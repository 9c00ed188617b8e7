//! The network: it loses, repeats, delays and reorders, and its links can be cut in one direction.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use fastrand::Rng;
use raft_core::{Message, NodeId};

/// How badly the network behaves.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Chance of a loss, in thousandths.
    pub loss: u32,
    /// Chance of a repetition, in thousandths.
    pub repetition: u32,
    /// The shortest delay, in microseconds.
    pub min_delay: u64,
    /// The longest delay of most messages.
    pub max_delay: u64,
    /// Chance of a delay of up to a hundred times that, in thousandths.
    pub straggler: u32,
}

impl Weather {
    /// A network without fault.
    pub fn fair() -> Weather {
        Weather { loss: 0, repetition: 0, min_delay: 500, max_delay: 1_000, straggler: 0 }
    }

    /// Any weather.
    pub fn any(rng: &mut Rng) -> Weather {
        let min_delay = rng.u64(100..2_000);
        Weather {
            loss: if rng.bool() { rng.u32(0..200) } else { 0 },
            repetition: if rng.bool() { rng.u32(0..100) } else { 0 },
            min_delay,
            max_delay: min_delay + rng.u64(1..20_000),
            straggler: if rng.bool() { rng.u32(0..50) } else { 0 },
        }
    }
}

/// Messages on their way.
#[derive(Debug)]
pub struct Network {
    /// How it behaves now.
    pub weather: Weather,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    messages: BTreeMap<u64, Message>,
    sent: u64,
    cut: BTreeSet<(NodeId, NodeId)>,
}

impl Network {
    /// An empty network.
    pub fn new(weather: Weather) -> Network {
        Network {
            weather,
            queue: BinaryHeap::new(),
            messages: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
        }
    }

    /// A message leaves at `now`, in microseconds. Returns whether it will arrive.
    pub fn send(&mut self, rng: &mut Rng, now: u64, message: Message) -> bool {
        let Weather { loss, repetition, min_delay, max_delay, straggler } = self.weather;
        if self.cut.contains(&(message.from, message.to)) || rng.u32(0..1000) < loss {
            return false;
        }
        let copies = if rng.u32(0..1000) < repetition { 2 } else { 1 };
        for _ in 0..copies {
            let scale = if rng.u32(0..1000) < straggler { rng.u64(1..100) } else { 1 };
            let at = now + rng.u64(min_delay..=max_delay) * scale;
            self.sent += 1;
            self.queue.push(Reverse((at, self.sent)));
            self.messages.insert(self.sent, message.clone());
        }
        true
    }

    /// When the next message arrives.
    pub fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// The next message.
    pub fn receive(&mut self) -> Option<Message> {
        let Reverse((_, number)) = self.queue.pop()?;
        self.messages.remove(&number)
    }

    /// Messages from one node to another are lost from now on.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// All links work.
    pub fn mend(&mut self) {
        self.cut.clear();
    }
}
