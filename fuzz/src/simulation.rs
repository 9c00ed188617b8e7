//! A run: chaos, then everything is healed and progress is demanded.

mod clients;
mod faults;
mod progress;
mod setup;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fastrand::Rng;
use raft_core::{Body, Index, Message, NodeId, Ready, RoleKind, SnapshotStatus, StepError, TransferEnd};

use crate::cluster::{Handled, Node};
use crate::network::{Network, Weather};
use crate::oracle::Oracle;

/// How long a run is, and how large.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Simulated seconds of chaos.
    pub seconds: u64,
    /// The number of voters; drawn from 1 to 7 if there is none.
    pub nodes: Option<u64>,
    /// Does the membership change? Drawn if it isn't said. If so there are seven nodes, and leadership is handed over too.
    pub changes: Option<bool>,
}

impl Default for Options {
    fn default() -> Options {
        Options { seconds: 20, nodes: None, changes: None }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Events that were simulated.
    pub events: u64,
    /// Simulated microseconds.
    pub micros: u64,
    /// Nodes that lost power.
    pub crashes: u64,
    /// Terms that had a leader.
    pub terms_led: u64,
    /// The last index that was committed.
    pub committed: u64,
    /// Reads that were served.
    pub reads: u64,
    /// Snapshots that a node restored.
    pub snapshots: u64,
    /// Membership changes that were made.
    pub changes: u64,
    /// Transfers of leadership that ended with the leader stepping down.
    pub transfers: u64,
    /// A number that two equal runs share.
    pub fingerprint: u64,
}

/// A statement that didn't hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// Microseconds into it.
    pub at: u64,
    /// The statement.
    pub violation: String,
    /// The last events before it.
    pub trail: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} at {} us: {}", self.seed, self.at, self.violation)?;
        for line in &self.trail {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

/// Runs a seed.
///
/// # Errors
/// The first statement that doesn't hold.
pub fn run(seed: u64, options: Options) -> Result<Report, Failure> {
    let fault = |violation| Failure { seed, at: 0, violation, trail: Vec::new() };
    let mut world = World::new(seed, options).map_err(fault)?;
    match world.run(options) {
        Ok(()) => Ok(world.finish()),
        Err(violation) => Err(Failure { seed, at: world.now, violation, trail: world.trail.clone() }),
    }
}

/// A read that waits, and the least index that it must return.
type PendingReads = BTreeMap<(NodeId, u64), Index>;

struct World {
    rng: Rng,
    now: u64,
    nodes: Vec<Node>,
    network: Network,
    oracle: Oracle,
    /// When each node ticks, finishes a write, and applies a batch.
    due: BTreeSet<(u64, u64, Kind, NodeId)>,
    scheduled: u64,
    report: Report,
    reads: PendingReads,
    next_value: u64,
    /// Chaos goes on.
    chaos: bool,
    /// The membership changes, and leadership is handed over.
    changes: bool,
    /// Reads are linearizable without bounds on clocks only when leases are off.
    lease: bool,
    trail: Vec<String>,
    ready: Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Tick,
    Write,
    Apply,
    Restart,
    Client,
    Fault,
    /// The node's transport finds that a snapshot didn't arrive, or that it did.
    SnapshotLost(NodeId),
    SnapshotArrived(NodeId),
}

const TRAIL: usize = 60;

impl World {
    fn new(seed: u64, options: Options) -> Result<World, String> {
        let mut rng = Rng::with_seed(seed);
        let changes = options.changes.unwrap_or_else(|| rng.bool());
        let first = NodeId::new(1).ok_or("harness: there is no first node")?;
        let shared = setup::any_config(&mut rng, first, changes);
        let lease = shared.lease_reads;
        let nodes = setup::any_nodes(&mut rng, options.nodes, changes, &shared)?;
        let network = Network::new(Weather::any(&mut rng));
        Ok(World {
            rng,
            now: 0,
            nodes,
            network,
            oracle: Oracle::default(),
            due: BTreeSet::new(),
            scheduled: 0,
            report: Report::default(),
            reads: BTreeMap::new(),
            next_value: 0,
            chaos: true,
            changes,
            lease,
            trail: Vec::new(),
            ready: Ready::default(),
        })
    }

    fn schedule(&mut self, after: u64, kind: Kind, id: NodeId) {
        self.scheduled += 1;
        self.due.insert((self.now + after, self.scheduled, kind, id));
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.trail.len() == TRAIL {
            self.trail.remove(0);
        }
        self.trail.push(format!("{:>9} {}", self.now, line()));
    }

    fn run(&mut self, options: Options) -> Result<(), String> {
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        if let Some(founding) = self.nodes[0].disk.newest_snapshot() {
            self.oracle.on_founded(&founding);
        }
        for id in &ids {
            self.start(*id)?;
        }
        for kind in [Kind::Client, Kind::Fault] {
            self.schedule(0, kind, ids[0]);
        }
        self.run_until(options.seconds * 1_000_000)?;
        self.heal()?;
        self.demand_progress()
    }

    fn run_until(&mut self, end: u64) -> Result<(), String> {
        loop {
            let timer = self.due.first().map(|(at, ..)| *at);
            let arrival = self.network.next_at();
            let next = match (timer, arrival) {
                (Some(a), Some(b)) => a.min(b),
                (Some(a), None) | (None, Some(a)) => a,
                (None, None) => return Err("harness: nothing is scheduled".to_owned()),
            };
            if next >= end {
                self.now = end;
                return Ok(());
            }
            self.now = next;
            self.report.events += 1;
            if timer == Some(next) {
                if let Some((_, _, kind, id)) = self.due.pop_first() {
                    self.fire(kind, id)?;
                }
            } else if let Some(message) = self.network.receive() {
                self.deliver(message)?;
            }
        }
    }

    fn at(&self, id: NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == id).unwrap_or(0)
    }

    fn start(&mut self, id: NodeId) -> Result<(), String> {
        let at = self.at(id);
        let node = &mut self.nodes[at];
        if node.raw.is_some() {
            return Ok(());
        }
        node.disk.fail_reads(0);
        node.start().map_err(|error| format!("node {id} can't start: {error}"))?;
        let tick_every = node.options.tick_every;
        self.note(|| format!("{id} starts"));
        let phase = self.rng.u64(0..=tick_every);
        self.schedule(phase, Kind::Tick, id);
        Ok(())
    }

    fn fire(&mut self, kind: Kind, id: NodeId) -> Result<(), String> {
        let at = self.at(id);
        match kind {
            Kind::Tick => {
                let node = &mut self.nodes[at];
                let Some(raw) = &mut node.raw else { return Ok(()) };
                raw.tick();
                node.make_wanted_snapshot();
                let again = node.options.tick_every;
                self.schedule(again, Kind::Tick, id);
                self.drain(id)
            }
            Kind::Write => {
                let mut handled = Handled::default();
                let node = &mut self.nodes[at];
                if node.raw.is_none() {
                    return Ok(());
                }
                let batch = if self.chaos { self.rng.usize(1..=4) } else { usize::MAX };
                for _ in 0..batch.min(node.disk.queued()) {
                    node.complete_write(&mut handled)?;
                }
                self.settle(id, handled)?;
                self.drain(id)
            }
            Kind::Apply => {
                let mut handled = Handled::default();
                self.nodes[at].apply_one(&mut handled)?;
                self.settle(id, handled)?;
                self.drain(id)
            }
            Kind::Restart => self.start(id),
            Kind::SnapshotLost(peer) | Kind::SnapshotArrived(peer) => {
                let arrived = kind == Kind::SnapshotArrived(peer);
                let status = if arrived { SnapshotStatus::Finished } else { SnapshotStatus::Failed };
                let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
                raw.report_snapshot(peer, status);
                self.drain(id)
            }
            Kind::Client => self.client(),
            Kind::Fault => self.fault(),
        }
    }

    fn deliver(&mut self, message: Message) -> Result<(), String> {
        let id = message.to;
        let at = self.at(id);
        if let Body::InstallSnapshot(_) = message.body {
            let up = self.nodes[at].raw.is_some();
            let report = if up { Kind::SnapshotArrived(id) } else { Kind::SnapshotLost(id) };
            self.schedule(1_000, report, message.from);
        }
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        let before = (message.body.clone(), raw.status());
        let name = message.body.name();
        let (from, term) = (message.from, message.term);
        let result = raw.step(message);
        if let Body::PreVote(_) = before.0 {
            let mut after = raw.status();
            after.basic.counters = before.1.counters;
            if after != before.1 {
                return Err(format!("22: a pre-vote changed node {id}"));
            }
        }
        self.note(|| {
            format!(
                "{id} <- {from} {name} term {term} {}",
                result.as_ref().err().map_or(String::new(), ToString::to_string)
            )
        });
        match result {
            Ok(()) | Err(StepError::Storage(_) | StepError::Proposal(_)) => {}
            // One that has left, or whose coming isn't applied here yet.
            Err(StepError::UnknownPeer(_)) if self.changes => {}
            Err(error) => return Err(format!("node {id} refuses an honest peer's {name}: {error}")),
        }
        self.drain(id)
    }

    /// Takes all `Ready`s of a node.
    fn drain(&mut self, id: NodeId) -> Result<(), String> {
        let at = self.at(id);
        self.oracle.after_event(&self.nodes, id, &[])?;
        loop {
            let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
            if !raw.has_ready() {
                break;
            }
            let mut ready = std::mem::take(&mut self.ready);
            raw.ready_into(&mut ready);
            if ready.is_empty() {
                return Err(format!("has_ready() of node {id} was true for an empty Ready"));
            }
            let leads = ready.soft_state.is_some_and(|soft| soft.role == RoleKind::Leader);
            let term = raw.term();
            let handled = self.nodes[at].handle(ready)?;
            if leads {
                self.note(|| format!("{id} leads term {term}"));
                self.oracle.on_leader(&self.nodes[at], term)?;
            }
            self.settle(id, handled)?;
        }
        self.oracle.check_changes(&self.nodes[at])?;
        Ok(())
    }

    /// Sends what a node has to send, and checks and schedules what follows.
    fn settle(&mut self, id: NodeId, handled: Handled) -> Result<(), String> {
        let at = self.at(id);
        self.oracle.on_handled(&self.nodes[at], &handled)?;
        self.oracle.after_event(&self.nodes, id, &handled.moments)?;
        self.oracle.check_configuration(&self.nodes[at])?;
        self.count(id, &handled);
        for (index, context) in &handled.reads {
            let number = context.as_ref().try_into().map_or(0, u64::from_be_bytes);
            let least =
                self.reads.remove(&(id, number)).ok_or_else(|| format!("read {number} is answered twice"))?;
            self.report.reads += 1;
            if *index < least {
                return Err(format!("20: a read of node {id} at {index}, acknowledged was {least}"));
            }
        }
        for context in &handled.dropped_reads {
            let number = context.as_ref().try_into().map_or(0, u64::from_be_bytes);
            self.reads.remove(&(id, number)).ok_or_else(|| format!("read {number} is dropped twice"))?;
        }
        if handled.snapshot.is_some() {
            self.report.snapshots += 1;
        }
        for message in handled.messages.into_iter().chain(handled.released) {
            self.oracle.on_send(&self.nodes[at], &message)?;
            let snapshot_to = matches!(message.body, Body::InstallSnapshot(_)).then_some(message.to);
            let arrives = self.network.send(&mut self.rng, self.now, message);
            if let Some(to) = snapshot_to.filter(|_| !arrives) {
                self.schedule(50_000, Kind::SnapshotLost(to), id);
            }
        }
        let node = &self.nodes[at];
        if node.is_async() {
            let (writes, applies) = (node.disk.queued() > 0, !node.to_apply.is_empty());
            let pending =
                |kind: Kind, due: &BTreeSet<_>| due.iter().any(|(_, _, k, n)| *k == kind && *n == id);
            if writes && !pending(Kind::Write, &self.due) {
                let slow = if self.chaos && self.rng.u32(0..20) == 0 { 100 } else { 1 };
                let after = self.rng.u64(100..3_000) * slow;
                self.schedule(after, Kind::Write, id);
            }
            if applies && !pending(Kind::Apply, &self.due) {
                // A backlog of single entries must not look like a standstill once all is well.
                let slowest = if self.chaos { 5_000 } else { 100 };
                let after = self.rng.u64(10..slowest);
                self.schedule(after, Kind::Apply, id);
            }
        }
        Ok(())
    }

    fn count(&mut self, id: NodeId, handled: &Handled) {
        for (index, configured) in &handled.configured {
            self.report.changes += u64::from(configured.is_some());
            let name = configured.as_ref().map_or("refused".to_owned(), setup::name);
            self.note(|| format!("{id} applies change {index}: {name}"));
        }
        for outcome in &handled.transfers {
            let to = outcome.to;
            self.report.transfers += u64::from(outcome.end == TransferEnd::SteppedDown);
            self.note(|| format!("{id} handed over to {to}: {}", outcome.end));
        }
    }

    fn finish(mut self) -> Report {
        self.report.micros = self.now;
        self.report.terms_led = self.oracle.terms_led() as u64;
        self.report.committed = self.oracle.committed().get();
        self.report.fingerprint = self.nodes.iter().fold(self.report.events, |hash, node| {
            crate::machine::mix(crate::machine::mix(hash, node.machine.hash), self.rng.u64(..))
        });
        self.report
    }
}
