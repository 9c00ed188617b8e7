//! What breaks, and how it is mended.

use super::action::Action;
use super::driver::{Driver, Due};
use super::world::World;
use crate::cluster::Stage;
use crate::disk::ReadFault;
use crate::network::Weather;
use crate::oracle::Check;
use crate::parts::Parts;
use crate::reached::Situation;

macro_rules! faults {
    ($($name:ident = $text:literal: $doc:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $doc] $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Fault] = &[$(Fault::$name),*];

            /// The one of this name.
            pub fn of(text: &str) -> Option<Fault> {
                Fault::ALL.iter().copied().find(|fault| fault.text() == text)
            }

            /// Its name.
            pub fn text(self) -> &'static str {
                match self {
                    $(Fault::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    Crash = "crash": "A node loses power, and with it what wasn't synced.",
    Outage = "outage": "Some of the nodes lose power at once.",
    Mend = "mend": "All links work again.",
    CutOff = "cut-off": "A node can't be heard, or can't hear, or both.",
    Partition = "partition": "Any links fail, each in one direction.",
    Weather = "weather": "The network loses, repeats, delays and reorders in another way.",
    Reads = "reads": "A disk can't be read for a while, or must fetch what is asked for.",
    Stuck = "stuck": "A disk does nothing for a while.",
    Pause = "pause": "A node doesn't run for a while.",
    Spoilt = "spoilt": "A disk turns out to be damaged: its node stops, and comes back with an empty one.",
    Lie = "lie": "A disk loses a vote that it had said to be durable. No promise outlives that: it is for tests of the checks.",
}

impl Fault {
    /// Those that a cluster must bear: all but the last.
    pub fn to_be_borne() -> Vec<Fault> {
        Fault::ALL.iter().copied().filter(|fault| *fault != Fault::Lie).collect()
    }
}

impl Driver {
    /// Something breaks, or is mended.
    pub(super) fn fault<P: Parts>(&mut self, world: &mut World<P>) -> Check {
        if !self.chaos {
            return Ok(());
        }
        let after = self.rng.u64(self.plan.fault.0..self.plan.fault.1);
        self.schedule(world.now + after, Due::Fault);
        let fault = match self.rng.u32(0..20) {
            0..8 if self.plan.faults.contains(&Fault::Lie) => Fault::Lie,
            0..8 => Fault::Crash,
            8 => Fault::Outage,
            9..11 => Fault::Mend,
            11..13 => Fault::CutOff,
            13 => Fault::Partition,
            14 => Fault::Weather,
            15..17 => Fault::Reads,
            17 => Fault::Stuck,
            18 => Fault::Pause,
            _ => Fault::Spoilt,
        };
        if !self.plan.faults.contains(&fault) {
            return Ok(());
        }
        let at = self.rng.usize(0..world.nodes.len());
        if self.inflict(world, fault, at)? {
            world.report.faults[fault as usize] += 1;
        }
        Ok(())
    }

    /// Returns whether it made a difference.
    fn inflict<P: Parts>(&mut self, world: &mut World<P>, fault: Fault, at: usize) -> Check<bool> {
        let all = 0..world.nodes.len();
        match fault {
            Fault::Crash => return self.lose_power(world, at),
            Fault::Outage => {
                for at in all {
                    if self.rng.bool() {
                        self.lose_power(world, at)?;
                    }
                }
            }
            Fault::Mend => self.links.mend(),
            Fault::CutOff => {
                let (inward, outward) = [(true, true), (true, false), (false, true)][self.rng.usize(0..3)];
                world.reached.reach_if(inward != outward, Situation::CutOff);
                // One may be left who can be seen.
                let spared = if self.rng.u32(0..3) == 0 { Some(self.rng.usize(all.clone())) } else { None };
                for other in all.filter(|other| *other != at && Some(*other) != spared) {
                    if inward {
                        self.links.cut(other, at);
                    }
                    if outward {
                        self.links.cut(at, other);
                    }
                }
            }
            Fault::Partition => {
                for from in all.clone() {
                    for to in all.clone() {
                        if self.rng.u32(0..4) == 0 {
                            self.links.cut(from, to);
                        }
                    }
                }
            }
            Fault::Weather => self.weather = Weather::any(&mut self.rng),
            Fault::Reads => {
                let fault = if self.rng.bool() { ReadFault::Fetching } else { ReadFault::Error };
                let count = self.rng.u32(1..5);
                self.perform(world, Action::FailReads { at, count, fault })?;
            }
            Fault::Stuck => {
                world.reached.reach(Situation::DiskStuck);
                let micros = self.rng.u64(100_000..5_000_000);
                self.stick(world, at, micros);
            }
            Fault::Pause => {
                // A clock that stands still keeps no lease.
                if self.plan.leases {
                    return Ok(false);
                }
                world.reached.reach(Situation::Paused);
                let micros = self.rng.u64(100_000..5_000_000);
                self.pause(world, at, micros);
            }
            Fault::Lie => {
                self.perform(world, Action::Crash { at, keep: usize::MAX, torn: false })?;
                self.perform(world, Action::LoseVote(at))?;
                let after = self.rng.u64(10_000..200_000);
                self.schedule(world.now + after, Due::Start(at));
            }
            Fault::Spoilt => {
                if !self.plan.changes {
                    return Ok(false);
                }
                self.perform(world, Action::Spoil(at))?;
                if !world.nodes[at].spoilt {
                    return Ok(false);
                }
                self.schedule(world.now + 1_000_000, Due::Start(at));
            }
        }
        Ok(true)
    }

    fn lose_power<P: Parts>(&mut self, world: &mut World<P>, at: usize) -> Check<bool> {
        let node = &world.nodes[at];
        if node.raw.is_none() || node.fuse.is_some() {
            return Ok(false);
        }
        let action = if node.is_async() || self.rng.u32(0..3) == 0 {
            let keep = self.rng.usize(0..=node.disk.queued());
            Action::Crash { at, keep, torn: self.rng.bool() }
        } else {
            let stages = [Stage::Taken, Stage::Sent, Stage::Written, Stage::Released, Stage::Applied];
            Action::Fuse { at, stage: stages[self.rng.usize(0..stages.len())] }
        };
        self.perform(world, action)?;
        let after = self.rng.u64(10_000..self.plan.down);
        self.schedule(world.now + after, Due::Start(at));
        Ok(true)
    }
}
