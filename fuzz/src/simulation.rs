//! A run: chaos, then everything is healed and progress is demanded.

mod action;
mod clients;
mod driver;
mod faults;
mod handle;
mod progress;
mod replay;
mod requests;
mod script;
mod setup;
mod trail;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

use crate::oracle::{Check, Operation, Violation};
use crate::parts::{Own, Parts};
use crate::reached::Reached;

use self::driver::Driver;
use self::trail::Trail;
use self::world::World;

pub use self::faults::Fault;
pub use self::replay::{replay, replay_with};
pub use self::script::{Schedule, TITLE, with_remarks};

/// How long a run is, and how large.
#[derive(Clone, Debug)]
pub struct Options {
    /// Simulated seconds of chaos.
    pub seconds: u64,
    /// The number of voters; drawn from 1 to 7, and seldom up to 12, if there is none.
    pub nodes: Option<u64>,
    /// Does the membership change? Drawn if it isn't said. If so there are seven nodes at least, and leadership is handed over too.
    pub changes: Option<bool>,
    /// What may break.
    pub faults: Vec<Fault>,
}

impl Default for Options {
    fn default() -> Options {
        Options { seconds: 60, nodes: None, changes: None, faults: Fault::to_be_borne() }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events that were simulated.
    pub events: u64,
    /// Among them, ticks.
    pub ticks: u64,
    /// Among them, messages that arrived.
    pub delivered: u64,
    /// Simulated microseconds.
    pub micros: u64,
    /// Messages that were lost.
    pub lost: u64,
    /// Nodes that lost power.
    pub crashes: u64,
    /// Faults, by kind.
    pub faults: [u64; Fault::ALL.len()],
    /// Terms that had a leader.
    pub terms_led: u64,
    /// The last index that was committed.
    pub committed: u64,
    /// Reads that were served.
    pub reads: u64,
    /// Snapshots that were sent, and restored.
    pub snapshots_sent: u64,
    /// Snapshots that a node restored.
    pub snapshots: u64,
    /// Membership changes that were committed and made.
    pub changes: u64,
    /// Membership changes that a node made.
    pub changes_applied: u64,
    /// Transfers of leadership that ended with the leader stepping down.
    pub transfers: u64,
    /// Election time-outs until the cluster was at rest, at worst.
    pub longest_wait: u64,
    /// What was met.
    pub reached: Reached,
    /// What the clients did.
    pub operations: Vec<Operation>,
    /// A number that two equal runs share.
    pub fingerprint: u64,
}

impl Report {
    /// Adds another run to this one, but for what its clients did.
    pub fn add(&mut self, other: &Report) {
        self.events += other.events;
        self.ticks += other.ticks;
        self.delivered += other.delivered;
        self.micros += other.micros;
        self.lost += other.lost;
        self.crashes += other.crashes;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, more)| *sum += more);
        self.terms_led += other.terms_led;
        self.committed += other.committed;
        self.reads += other.reads;
        self.snapshots_sent += other.snapshots_sent;
        self.snapshots += other.snapshots;
        self.changes += other.changes;
        self.changes_applied += other.changes_applied;
        self.transfers += other.transfers;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        self.reached.add(&other.reached);
    }
}

/// A statement that didn't hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// Microseconds into it.
    pub at: u64,
    /// The statement.
    pub violation: Violation,
    /// The last events before it.
    pub trail: Vec<String>,
    /// All that happened.
    pub schedule: Option<Schedule>,
}

impl Failure {
    /// The shortest schedule that is found and breaks the same statement; nothing if it doesn't even break when all that happened
    /// is done again.
    pub fn shrink(&self) -> Option<Schedule> {
        self.shrink_with(&Own)
    }

    /// The same for nodes that are made of these parts.
    pub fn shrink_with<P: Parts>(&self, parts: &P) -> Option<Schedule> {
        replay::shrink(self.schedule.as_ref()?, self.violation.statement, parts)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trail {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {} at {:.6} s: {}", self.seed, self.at as f64 / 1e6, self.violation)
    }
}

/// Runs a seed.
///
/// # Errors
/// The first statement that doesn't hold, or the panic of a node. The same seed fails in the same way.
pub fn run(seed: u64, options: &Options) -> Result<Report, Box<Failure>> {
    run_with(seed, options, &Own)
}

/// Runs a seed with nodes that are made of a user's [`Parts`].
///
/// # Errors
/// As [`run`]. If it fails only the first time, because the parts don't do the same each time, there is no trail.
pub fn run_with<P: Parts>(seed: u64, options: &Options, parts: &P) -> Result<Report, Box<Failure>> {
    attempt(seed, options, parts, false).map_err(|mut failure| {
        // Only who wants to read of it pays for the words.
        match attempt(seed, options, parts, true) {
            Err(failure) => failure,
            Ok(_) => {
                failure.violation.what.push_str(" (and not when it ran again)");
                failure
            }
        }
    })
}

fn attempt<P: Parts>(
    seed: u64,
    options: &Options,
    parts: &P,
    with_trail: bool,
) -> Result<Report, Box<Failure>> {
    let mut rng = Rng::with_seed(seed);
    let (mut world, plan) = setup::any_run(&mut rng, options, parts).map_err(|violation| {
        Box::new(Failure { seed, at: 0, violation: *violation, trail: Vec::new(), schedule: None })
    })?;
    world.trail = with_trail.then(Trail::default);
    let mut driver = Driver::new(rng, plan, world.nodes.len());
    let result = catch_unwind(AssertUnwindSafe(|| both_phases(&mut world, &mut driver, seed, options)));
    let violation = match result {
        Ok(Ok(())) => return Ok(finish(world, &mut driver)),
        Ok(Err(violation)) => *violation,
        Err(panic) => Violation { statement: "panic", what: words_of(&*panic) },
    };
    let trail = world.trail.as_ref().map_or(Vec::new(), Trail::lines);
    let schedule =
        world.trail.map(|trail| Schedule { seed, options: options.clone(), actions: trail.actions() });
    Err(Box::new(Failure { seed, at: world.now, violation, trail, schedule }))
}

fn both_phases<P: Parts>(world: &mut World<P>, driver: &mut Driver, seed: u64, options: &Options) -> Check {
    for at in 0..world.nodes.len() {
        driver.start(world, at)?;
    }
    driver.begin();
    driver.run_until(world, options.seconds * 1_000_000)?;
    driver.heal(world, seed)?;
    driver.demand_progress(world)
}

fn finish<P: Parts>(mut world: World<P>, driver: &mut Driver) -> Report {
    world.report.micros = world.now;
    world.report.terms_led = world.oracle.terms_led() as u64;
    world.report.committed = world.oracle.committed().get();
    world.report.changes = world.oracle.changes_made();
    world.report.fingerprint = world.nodes.iter().fold(world.report.events, |hash, node| {
        crate::machine::mix(crate::machine::mix(hash, node.machine.chain), driver.rng.u64(..))
    });
    world.report.reached = world.reached;
    world.report.operations = world.oracle.clients.into_operations();
    world.report
}

/// What a panic says.
fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}
