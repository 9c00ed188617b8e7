//! W7 and W13: what many groups cost that have nothing to do.

use super::cluster::Cluster;
use super::{Meter, Node, Setup, Workload};

/// After how many ticks a node hears from the others of its group.
const HEARD_EVERY: u64 = 5;

/// What is measured of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// W7a: the leaders tick, and send two heartbeats.
    Leaders,
    /// W7b: a follower steps a heartbeat, answers, and ticks.
    Followers,
    /// W7c: a follower ticks, and has nothing to do.
    Idle,
    /// W7d: the leaders tick, send two heartbeats, and step two answers.
    AnsweredLeaders,
}

impl Part {
    fn leads(self) -> bool {
        match self {
            Part::Leaders | Part::AnsweredLeaders => true,
            Part::Followers | Part::Idle => false,
        }
    }

    /// The process that is measured.
    fn place(self) -> usize {
        if self.leads() { 0 } else { 1 }
    }
}

/// Many groups of three, each node in another of three processes, of which one is measured.
pub(crate) struct Groups<N: Node> {
    processes: [Vec<N>; 3],
    /// What the others say to a node in each tick: a heartbeat, or the answers to two. Nothing ever changes, so it is always the
    /// same, in all groups.
    words: Vec<N::Message>,
    /// What arrives in this tick.
    inbox: Vec<N::Message>,
    room: N::Room,
    part: Part,
}

/// What is sent is lost. Always inlined: whether it is would else depend on the core beside it.
#[inline(always)]
fn drain<N: Node>(node: &mut N, room: &mut N::Room) {
    while node.handle(room, |_, _| ()) {}
}

/// What a node sends now.
fn said<N: Node>(node: &mut N, room: &mut N::Room) -> Vec<N::Message> {
    let mut messages = Vec::new();
    while node.handle(room, |_, message| messages.push(message)) {}
    messages
}

impl<N: Node + 'static> Groups<N> {
    /// So many, of which this is measured.
    pub(crate) fn boxed(count: usize, part: Part) -> Box<dyn Workload> {
        let mut rooms: [N::Room; 3] = Default::default();
        let mut processes: [Vec<N>; 3] = [(); 3].map(|()| Vec::with_capacity(count));
        for _ in 0..count {
            let mut group = Cluster::start(&Setup::of(3));
            group.elect_in(&mut rooms);
            processes.iter_mut().zip(group.nodes).for_each(|(nodes, node)| nodes.push(node));
        }
        let [leading, second, third] = &mut processes;
        let [room, second_room, third_room] = &mut rooms;
        leading[0].tick();
        let heartbeats = said(&mut leading[0], room);
        let mut words = Vec::from([heartbeats[0].clone()]);
        if part.leads() {
            words.clear();
            let followers = [(&mut second[0], second_room), (&mut third[0], third_room)];
            for ((node, room), heartbeat) in followers.into_iter().zip(heartbeats) {
                node.step(heartbeat);
                words.extend(said(node, room));
            }
        }
        let [leading, following, _] = rooms;
        let room = if part.leads() { leading } else { following };
        Box::new(Groups::<N> { processes, words, inbox: Vec::new(), room, part })
    }
}

impl<N: Node> Workload for Groups<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        for tick in 1..=HEARD_EVERY {
            let Groups { processes, words, inbox, room, part } = self;
            let nodes = &mut processes[part.place()];
            inbox.clear();
            nodes.iter().for_each(|_| inbox.extend_from_slice(words));
            let mut arrived = inbox.drain(..);
            let mut hear = |node: &mut N, messages| {
                arrived.by_ref().take(messages).for_each(|message| node.step(message))
            };
            meter.measure(&mut || match part {
                Part::Leaders | Part::Idle => nodes.iter_mut().for_each(|node| {
                    node.tick();
                    drain(node, room);
                }),
                Part::Followers => nodes.iter_mut().for_each(|node| {
                    hear(node, 1);
                    drain(node, room);
                    node.tick();
                }),
                Part::AnsweredLeaders => nodes.iter_mut().for_each(|node| {
                    node.tick();
                    drain(node, room);
                    hear(node, 2);
                    drain(node, room);
                }),
            });
            if tick == HEARD_EVERY {
                for node in nodes.iter_mut() {
                    words.iter().for_each(|word| node.step(word.clone()));
                    drain(node, room);
                }
            }
        }
        HEARD_EVERY * self.processes[0].len() as u64
    }

    fn check(&mut self) {
        let Groups { processes, words, room, part, .. } = self;
        for node in &mut processes[part.place()] {
            assert_eq!(node.leads(), part.leads(), "a quiet group keeps its leader");
            words.iter().for_each(|word| node.step(word.clone()));
            let answers = if part.leads() { 0 } else { 1 };
            assert_eq!(said(node, room).len(), answers, "a heartbeat is answered, and an answer isn't");
        }
    }
}
