//! W7: what many groups cost that have nothing to do.

use super::cluster::Cluster;
use super::{Meter, Node, Setup, Tally, Workload};

/// After how many ticks the leaders hear from their followers, and the followers from their leaders.
const ANSWERED_EVERY: u64 = 5;

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

/// Many groups of three nodes, in each of which node 1 leads.
pub(crate) struct Groups<N: Node> {
    groups: Vec<Cluster<N>>,
    part: Part,
}

impl<N: Node + 'static> Groups<N> {
    /// So many, of which this is measured.
    pub(crate) fn boxed(count: usize, part: Part) -> Box<dyn Workload> {
        let groups = (0..count).map(|_| Cluster::elected(&Setup::of(3))).collect();
        Box::new(Groups::<N> { groups, part })
    }
}

impl<N: Node> Groups<N> {
    fn each(&mut self, mut what: impl FnMut(&mut Cluster<N>)) {
        self.groups.iter_mut().for_each(&mut what);
    }

    /// The leaders tick and send; nobody has stepped anything yet.
    fn beat(&mut self) {
        self.each(|group| {
            group.nodes[0].tick();
            group.drain(0);
        });
    }

    fn forget_messages(&mut self) {
        self.each(|group| group.inboxes.iter_mut().for_each(|inbox| inbox.clear()));
    }
}

impl<N: Node> Workload for Groups<N> {
    fn round(&mut self, meter: &mut dyn Meter) -> u64 {
        for tick in 1..=ANSWERED_EVERY {
            match self.part {
                Part::Leaders => {
                    meter.measure(&mut || self.beat());
                    if tick < ANSWERED_EVERY {
                        self.forget_messages();
                    }
                }
                Part::Followers => {
                    self.beat();
                    meter.measure(&mut || {
                        self.each(|group| {
                            group.drain(1);
                            group.nodes[1].tick();
                        });
                    });
                }
                Part::Idle => {
                    meter.measure(&mut || {
                        self.each(|group| {
                            group.nodes[1].tick();
                            while group.nodes[1].handle(|_, _| ()) {}
                        });
                    });
                    if tick == ANSWERED_EVERY {
                        self.beat();
                    }
                }
                Part::AnsweredLeaders => {
                    meter.measure(&mut || self.beat());
                    self.each(|group| {
                        group.drain(1);
                        group.drain(2);
                    });
                    meter.measure(&mut || self.each(|group| group.drain(0)));
                }
            }
            if tick == ANSWERED_EVERY || self.part == Part::Followers {
                self.each(Cluster::pump);
            }
        }
        ANSWERED_EVERY * self.groups.len() as u64
    }

    fn check(&mut self) {
        for group in &self.groups {
            assert!(group.nodes[0].leads(), "a quiet group keeps its leader");
            group.check(Tally::default());
        }
    }
}
