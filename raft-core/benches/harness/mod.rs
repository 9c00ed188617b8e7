//! The workloads on which cores are compared, for any core that implements [`Node`].
//!
//! One definition serves the clock, the counting allocator and valgrind ([`Meter`]), for this core and for others
//! (`benches/peers`). `benches/README.md` says what each workload is.

#![allow(dead_code, reason = "each program that this is part of uses a part of it")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that goes wrong is to stop"
)]

use std::env;

pub(crate) mod baseline;
mod catch_up;
pub(crate) mod clock;
mod cluster;
pub(crate) mod codec;
mod groups;
mod life;
mod reads;
mod replicate;
pub(crate) mod valgrind;
pub(crate) mod weight;

use catch_up::CatchUp;
use groups::{Groups, Part};
use life::{AtRest, Begin, Election, Restart};
use reads::Reads;
use replicate::{Grown, Load, Pipeline, Replicate};

/// The settings in which workloads differ.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The voters.
    pub(crate) voters: Vec<u64>,
    /// The other voters of a joint configuration; none in a simple one.
    pub(crate) outgoing: Vec<u64>,
    /// Encoded bytes of entries in a message, and of committed entries in a `Ready`.
    pub(crate) max_bytes: u64,
    /// Is the log compacted now and then?
    pub(crate) compacts: bool,
}

impl Setup {
    /// Voters 1 to `n`, with 1 MiB in a message.
    pub(crate) fn of(n: u64) -> Setup {
        Setup { voters: (1..=n).collect(), outgoing: Vec::new(), max_bytes: 1 << 20, compacts: true }
    }

    /// Seven nodes in a joint configuration of two halves of five.
    fn joint() -> Setup {
        Setup { voters: (1..=5).collect(), outgoing: (3..=7).collect(), ..Setup::of(7) }
    }

    /// Every node, once.
    pub(crate) fn members(&self) -> Vec<u64> {
        let mut members: Vec<u64> = self.voters.iter().chain(&self.outgoing).copied().collect();
        members.sort_unstable();
        members.dedup();
        members
    }
}

/// What a node's state machine has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Entries of clients.
    pub(crate) count: u64,
    /// The sum of the numbers in front of them.
    pub(crate) sum: u64,
    /// Reads that were answered.
    pub(crate) reads: u64,
}

impl Tally {
    /// Applies an entry. One without data is a leader's own.
    pub(crate) fn apply(&mut self, data: &[u8]) {
        if let Some((number, _)) = data.split_first_chunk() {
            self.count += 1;
            self.sum = self.sum.wrapping_add(u64::from_le_bytes(*number));
        }
    }
}

/// A node of a core, with its storage in memory and its state machine.
pub(crate) trait Node {
    /// What travels.
    type Message: Clone;
    /// What is left of a node that stops: its storage, and how much it has applied.
    type Stopped;
    /// What its caller needs to handle a `Ready`. All nodes of a thread can use the same.
    type Room: Default;

    /// A node with an empty log, in a cluster that is known.
    fn start(id: u64, setup: &Setup) -> Self;
    /// The node stops; its state machine stays.
    fn stop(self) -> Self::Stopped;
    /// It starts again where it stopped. What it has applied since then counts from zero.
    fn restart(id: u64, setup: &Setup, stopped: Self::Stopped) -> Self;
    /// Campaign now.
    fn campaign(&mut self);
    /// Does it lead?
    fn leads(&self) -> bool;
    /// Propose a command.
    fn propose(&mut self, data: Vec<u8>);
    /// Propose several in one call.
    fn propose_batch(&mut self, data: impl Iterator<Item = Vec<u8>>);
    /// A client wants to read.
    fn read(&mut self, context: [u8; 8]);
    /// A unit of time has passed.
    fn tick(&mut self);
    /// A message has arrived.
    fn step(&mut self, message: Self::Message);
    /// Is there anything to do?
    fn has_ready(&self) -> bool;
    /// If there is a `Ready`: take it, send its messages, write, send what had to wait, apply, acknowledge; then compact, if it
    /// is time. Returns whether there was one.
    fn handle(&mut self, room: &mut Self::Room, send: impl FnMut(u64, Self::Message)) -> bool;
    /// What was applied.
    fn tally(&self) -> Tally;
}

/// After how many applied entries a node compacts its log.
pub(crate) const COMPACT_EVERY: u64 = 10_000;
/// How many applied entries it keeps then.
pub(crate) const COMPACT_KEEPS: u64 = 1_000;

/// Measures the parts of a round that count.
pub(crate) trait Meter {
    /// Runs this, and adds up what it takes.
    fn measure(&mut self, part: &mut dyn FnMut());
}

/// A meter that measures nothing: to warm up.
pub(crate) struct Unmeasured;

impl Meter for Unmeasured {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        part();
    }
}

/// A workload that is set up.
pub(crate) trait Workload {
    /// One round, which is the same each time: where logs are compacted, each node does that once. Returns of how many units.
    fn round(&mut self, meter: &mut dyn Meter) -> u64;
    /// Panics unless every node has done all that it was to do.
    fn check(&mut self);
}

/// How large a workload is where the size doesn't change what a unit takes, but for the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// As it is defined.
    Full,
    /// Smaller, for counting: valgrind takes its time.
    Counted,
}

impl Scale {
    fn pick(self, full: usize, counted: usize) -> usize {
        match self {
            Scale::Full => full,
            Scale::Counted => counted,
        }
    }
}

/// A workload by name.
pub(crate) struct Spec {
    /// As in the table.
    pub(crate) name: &'static str,
    /// What the figures are per.
    pub(crate) unit: &'static str,
    /// Sets it up.
    pub(crate) make: fn(Scale) -> Box<dyn Workload>,
}

impl Spec {
    pub(crate) fn new(name: &'static str, unit: &'static str, make: fn(Scale) -> Box<dyn Workload>) -> Spec {
        Spec { name, unit, make }
    }
}

/// Those whose names are among the program's arguments; all if none is named.
pub(crate) fn chosen<T>(all: Vec<T>, name: fn(&T) -> &'static str) -> Vec<T> {
    let wanted: Vec<String> = env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |one: &T| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name(one));
    all.into_iter().filter(is_wanted).collect()
}

/// Those that run on any core.
pub(crate) fn all<N: Node + 'static>() -> Vec<Spec> {
    Vec::from([
        Spec::new("W1", "proposal", |_| Replicate::<N>::boxed(Setup::of(3), Load::single(16))),
        Spec::new("W2", "proposal", |_| Replicate::<N>::boxed(Setup::of(3), Load::batches(256))),
        Spec::new("W2s", "proposal", |_| Replicate::<N>::boxed(Setup::of(3), Load::calls(256))),
        Spec::new("W3", "proposal", |_| Replicate::<N>::boxed(Setup::of(3), Load::batches(4096))),
        Spec::new("W4", "proposal", |_| Replicate::<N>::boxed(Setup::of(5), Load::batches(256))),
        Spec::new("W5", "proposal", |_| Replicate::<N>::boxed(Setup::of(25), Load::batches(256))),
        Spec::new("W6", "proposal", |_| Box::new(Pipeline::<N>::new(256))),
        Spec::new("W7a", "node·tick", |scale| Groups::<N>::boxed(scale.pick(10_000, 100), Part::Leaders)),
        Spec::new("W7b", "node·tick", |scale| Groups::<N>::boxed(scale.pick(10_000, 100), Part::Followers)),
        Spec::new("W7c", "node·tick", |scale| Groups::<N>::boxed(scale.pick(10_000, 100), Part::Idle)),
        Spec::new("W7d", "node·tick", |scale| {
            Groups::<N>::boxed(scale.pick(10_000, 100), Part::AnsweredLeaders)
        }),
        Spec::new("W9", "entry", |scale| Box::new(CatchUp::<N>::new(scale.pick(100_000, 20_000)))),
        Spec::new("W10", "read", |_| Box::new(Reads::<N>::new())),
        Spec::new("W12", "proposal", |_| Replicate::<N>::boxed(Setup::joint(), Load::batches(256))),
        Spec::new("W13a", "node·tick", |scale| Groups::<N>::boxed(scale.pick(100_000, 100), Part::Idle)),
        Spec::new("W13b", "group elected", |scale| Box::new(Begin::<N>::new(scale.pick(100_000, 100)))),
        Spec::new("W14a", "entry at 10³", |_| Grown::<N>::boxed(Setup::of(3), 1_000, 3)),
        Spec::new("W14b", "entry at 10⁵", |scale| {
            Grown::<N>::boxed(Setup::of(3), scale.pick(100_000, 10_000), 3)
        }),
        Spec::new("W14c", "entry at 10⁷", |scale| {
            Grown::<N>::boxed(Setup::of(3), scale.pick(10_000_000, 100_000), 3)
        }),
        Spec::new("W14d", "entry, none of 101 lags", |_| Grown::<N>::boxed(Setup::of(101), 1_000, 101)),
        Spec::new("W14e", "entry, one of 101 lags", |_| Grown::<N>::boxed(Setup::of(101), 1_000, 100)),
        Spec::new("W15", "question", |_| Box::new(AtRest::<N>::new())),
        Spec::new("W16a", "election of 3", |_| Box::new(Election::<N>::new(3))),
        Spec::new("W16b", "election of 5", |_| Box::new(Election::<N>::new(5))),
        Spec::new("W16c", "election of 25", |_| Box::new(Election::<N>::new(25))),
        Spec::new("W17", "restart", |scale| Box::new(Restart::<N>::new(scale.pick(1_000_000, 10_000)))),
    ])
}
