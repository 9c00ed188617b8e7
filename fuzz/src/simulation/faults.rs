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
    Echo = "echo": "Messages of long ago arrive, again or for the first time.",
    Rivals = "rivals": "Nodes campaign at the same time, and again before they can have been answered.",
    Stranded = "stranded": "A leader is cut off with a slow disk and takes on proposals, and its successor throws its log away.",
    Damage = "damage": "A state machine is damaged: its node asks for a snapshot.",
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
        let fault = match self.rng.u32(0..26) {
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
            19 => Fault::Spoilt,
            20 => Fault::Echo,
            21 | 22 => Fault::Rivals,
            23 => Fault::Stranded,
            _ => Fault::Damage,
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
            Fault::Echo => {
                world.reached.reach(Situation::Echo);
                self.echo(world);
            }
            Fault::Rivals => self.rivals(world, at)?,
            Fault::Stranded => return self.strand(world),
            Fault::Damage => return self.damage(world, at),
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

    /// Two nodes want to lead, and are impatient: an answer may come when its question is no longer asked.
    fn rivals<P: Parts>(&mut self, world: &mut World<P>, at: usize) -> Check {
        world.reached.reach(Situation::Rivals);
        let spread = 4 * self.weather.max_delay;
        for at in [at, self.rng.usize(0..world.nodes.len())] {
            for _ in 0..self.rng.u32(1..4) {
                let after = self.rng.u64(0..spread);
                self.schedule(world.now + after, Due::Campaign(at));
            }
            if self.rng.bool() {
                let ticks = self.rng.u32(1..4);
                self.perform(world, Action::Hurry { at, ticks })?;
            }
        }
        if self.rng.bool() && self.plan.faults.contains(&Fault::Echo) {
            self.echo(world);
        }
        Ok(())
    }

    /// The leader is cut off, its disk does nothing until a while after it is heard again, and it takes on what the next leader
    /// knows nothing of.
    fn strand<P: Parts>(&mut self, world: &mut World<P>) -> Check<bool> {
        let Some(at) = world.leader() else { return Ok(false) };
        let away = self.rng.u64(1_000_000..6_000_000);
        let stuck = away + self.rng.u64(0..1_000_000);
        self.stick(world, at, stuck);
        (0..world.nodes.len()).filter(|other| *other != at).for_each(|other| {
            self.links.cut(at, other);
            self.links.cut(other, at);
        });
        for _ in 0..self.rng.u32(1..4) {
            let count = self.rng.u32(1..20);
            self.perform(world, Action::Propose { at, count, bytes: 1 })?;
            if self.plan.changes && self.rng.bool() {
                let change = self.any_change(world);
                self.perform(world, Action::Change { at, change, old_format: false })?;
            }
        }
        self.schedule(world.now + away, Due::Rescue(at));
        Ok(true)
    }

    /// A leader that was cut off is heard again.
    pub(super) fn rescue<P: Parts>(&mut self, world: &mut World<P>, at: usize) -> Check {
        self.links.mend();
        if let Some(leader) = world.leader().filter(|leader| *leader != at) {
            world.reached.reach(Situation::Stranded);
            self.perform(world, Action::Compact(leader))?;
        }
        Ok(())
    }

    /// A state machine is damaged; sometimes it turns out not to be, or power is lost. Only one at a time, since its node
    /// doesn't campaign until it has a snapshot.
    pub(super) fn damage<P: Parts>(&mut self, world: &mut World<P>, at: usize) -> Check<bool> {
        if world.nodes.iter().any(|node| node.damaged) {
            return Ok(false);
        }
        self.perform(world, Action::Damage(at))?;
        let (soon, life) = (world.now + self.rng.u64(10_000..1_000_000), world.nodes[at].lives);
        match self.rng.u32(0..4) {
            0 => self.schedule(soon, Due::Withdraw(at, life)),
            1 => return self.lose_power(world, at),
            _ => {}
        }
        Ok(world.nodes[at].damaged)
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
