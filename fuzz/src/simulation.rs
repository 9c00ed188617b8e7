//! A run: chaos, then everything is healed and progress is demanded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use fastrand::Rng;
use raft_core::{
    Body, ConfState, Config, Index, Message, NodeId, ReadMode, Ready, RoleKind, SnapshotStatus, StepError,
};

use crate::cluster::{Handled, Node, NodeOptions};
use crate::network::{Network, Weather};
use crate::oracle::Oracle;

/// How long a run is, and how large.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Simulated seconds of chaos.
    pub seconds: u64,
    /// The number of voters; drawn from 1 to 7 if there is none.
    pub nodes: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options { seconds: 20, nodes: None }
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
    let mut world = World::new(seed, options);
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
    fn new(seed: u64, options: Options) -> World {
        let mut rng = Rng::with_seed(seed);
        let count = options.nodes.unwrap_or_else(|| rng.u64(1..=7));
        let learners = if rng.u32(0..4) == 0 { rng.u64(1..=2) } else { 0 };
        let ids: Vec<NodeId> = (1..=count + learners).filter_map(NodeId::new).collect();
        let voters = usize::try_from(count).unwrap_or(1);
        let conf_state = ConfState {
            voters: ids.iter().take(voters).copied().collect(),
            learners: ids.iter().skip(voters).copied().collect(),
            ..ConfState::default()
        };
        let shared = any_config(&mut rng, ids[0]);
        let lease = shared.lease_reads;
        let nodes = ids.iter().map(|id| Node::new(any_options(&mut rng, *id, &shared), conf_state.clone()));
        let nodes: Vec<Node> = nodes.collect();
        let network = Network::new(Weather::any(&mut rng));
        World {
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
            lease,
            trail: Vec::new(),
            ready: Ready::default(),
        }
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
            after.counters = before.1.counters;
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
            Err(error) => return Err(format!("node {id} refuses an honest peer's {name}: {error}")),
        }
        self.drain(id)
    }

    /// Takes all `Ready`s of a node.
    fn drain(&mut self, id: NodeId) -> Result<(), String> {
        let at = self.at(id);
        self.oracle.after_event(&self.nodes, id)?;
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
            self.oracle.after_event(&self.nodes, id)?;
        }
        Ok(())
    }

    /// Sends what a node has to send, and checks and schedules what follows.
    fn settle(&mut self, id: NodeId, handled: Handled) -> Result<(), String> {
        let at = self.at(id);
        self.oracle.on_handled(&self.nodes[at], &handled)?;
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
                let after = self.rng.u64(10..5_000);
                self.schedule(after, Kind::Apply, id);
            }
        }
        Ok(())
    }

    /// The clients do something.
    fn client(&mut self) -> Result<(), String> {
        if self.chaos {
            let after = self.rng.u64(500..30_000);
            self.schedule(after, Kind::Client, self.nodes[0].id);
        }
        let at = self.rng.usize(0..self.nodes.len());
        let id = self.nodes[at].id;
        let what = self.rng.u32(0..100);
        let count = self.rng.usize(1..=5);
        let large = self.rng.u32(0..50) == 0;
        let quorum = !self.lease || self.rng.bool();
        self.next_value += 1;
        let number = self.next_value;
        let committed = self.oracle.committed();
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        match what {
            0..60 => {
                let size = if large { 3_000 } else { 20 };
                let value = |k: usize| {
                    let mut data = vec![0; size];
                    data[..8].copy_from_slice(&(number * 8 + k as u64).to_be_bytes());
                    Bytes::from(data)
                };
                self.next_value += 1;
                let _ = raw.propose_batch((0..count).map(value));
            }
            60..95 => {
                let mode = if quorum { ReadMode::Quorum } else { ReadMode::Lease };
                let context = Bytes::copy_from_slice(&number.to_be_bytes());
                if raw.read_index(context, mode).is_ok() {
                    self.reads.insert((id, number), committed);
                }
            }
            _ => {
                let _ = raw.campaign();
            }
        }
        self.drain(id)
    }

    /// Something breaks, or is mended.
    fn fault(&mut self) -> Result<(), String> {
        if !self.chaos {
            return Ok(());
        }
        let after = self.rng.u64(10_000..800_000);
        self.schedule(after, Kind::Fault, self.nodes[0].id);
        let at = self.rng.usize(0..self.nodes.len());
        let id = self.nodes[at].id;
        match self.rng.u32(0..10) {
            0..3 => {
                self.crash(at)?;
                let after = self.rng.u64(1_000..2_000_000);
                self.schedule(after, Kind::Restart, id);
            }
            3 => {
                for at in 0..self.nodes.len() {
                    if self.rng.bool() {
                        self.crash(at)?;
                        let (id, after) = (self.nodes[at].id, self.rng.u64(1_000..1_000_000));
                        self.schedule(after, Kind::Restart, id);
                    }
                }
            }
            4 => self.network.mend(),
            5 => {
                let others: Vec<NodeId> =
                    self.nodes.iter().map(|node| node.id).filter(|other| *other != id).collect();
                let (inward, outward) = match self.rng.u32(0..3) {
                    0 => (true, true),
                    1 => (true, false),
                    _ => (false, true),
                };
                for other in others {
                    if inward {
                        self.network.cut(other, id);
                    }
                    if outward {
                        self.network.cut(id, other);
                    }
                }
                self.note(|| format!("{id} is cut off"));
            }
            6 => {
                let pairs: Vec<(NodeId, NodeId)> =
                    self.nodes.iter().flat_map(|a| self.nodes.iter().map(|b| (a.id, b.id))).collect();
                for (a, b) in pairs {
                    if self.rng.u32(0..4) == 0 {
                        self.network.cut(a, b);
                    }
                }
            }
            7 => self.network.weather = Weather::any(&mut self.rng),
            8 => {
                let count = self.rng.u32(1..5);
                self.nodes[at].disk.fail_reads(count);
            }
            _ => {
                let peers: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
                let peer = peers[self.rng.usize(0..peers.len())];
                let finished = self.rng.bool();
                if let Some(raw) = &mut self.nodes[at].raw {
                    if self.rng.bool() {
                        raw.report_unreachable(peer);
                    } else if !finished {
                        raw.report_snapshot(peer, SnapshotStatus::Failed);
                    }
                }
                return self.drain(id);
            }
        }
        Ok(())
    }

    fn crash(&mut self, at: usize) -> Result<(), String> {
        let node = &mut self.nodes[at];
        if node.raw.is_none() {
            return Ok(());
        }
        let id = node.id;
        let survive = self.rng.usize(0..=node.disk.queued());
        // What had reached the disk by then was never acknowledged; its messages die with the node.
        node.crash(survive).map_err(|error| format!("a write doesn't fit the disk: {error}"))?;
        node.disk.fail_reads(0);
        self.due.retain(|(_, _, kind, due)| {
            *due != id || matches!(kind, Kind::Restart | Kind::Client | Kind::Fault)
        });
        self.reads.retain(|(node, _), _| *node != id);
        self.oracle.on_crash(id);
        self.report.crashes += 1;
        self.note(|| format!("{id} crashes, {survive} writes survive"));
        Ok(())
    }

    /// Everything works from here on.
    fn heal(&mut self) -> Result<(), String> {
        self.chaos = false;
        self.network.mend();
        self.network.weather = Weather::fair();
        self.note(|| "everything is healed".to_owned());
        for at in 0..self.nodes.len() {
            self.nodes[at].disk.fail_reads(0);
            let id = self.nodes[at].id;
            self.start(id)?;
        }
        Ok(())
    }

    /// A leader, equal logs, and nothing that waits: soon, and again after another proposal.
    fn demand_progress(&mut self) -> Result<(), String> {
        let slowest = self.nodes.iter().map(|node| node.options.tick_every).max().unwrap_or(1);
        let election = u64::from(self.nodes[0].options.config.election_ticks) * slowest;
        for round in 0..2 {
            let deadline = self.now + 60 * election;
            while !self.is_settled() {
                if self.now >= deadline {
                    return Err(format!(
                        "25-26: no progress within 60 election time-outs (round {round}): {}",
                        self.picture()
                    ));
                }
                self.run_until(self.now + election)?;
            }
            let leader = self.nodes.iter().find_map(|node| {
                let raw = node.raw.as_ref()?;
                (raw.role() == RoleKind::Leader).then_some(node.id)
            });
            let Some(id) = leader else { return Err("25: no leader".to_owned()) };
            let at = self.at(id);
            if let Some(raw) = &mut self.nodes[at].raw {
                raw.propose(Bytes::from_static(b"after the storm"))
                    .map_err(|error| format!("26: a proposal is refused at rest: {error}"))?;
            }
            self.drain(id)?;
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        let statuses: Vec<_> =
            self.nodes.iter().filter_map(|node| node.raw.as_ref().map(|raw| raw.status())).collect();
        let Some(leader) = statuses.iter().find(|status| status.role == RoleKind::Leader) else {
            return false;
        };
        let machine = self.nodes[self.at(leader.id)].machine.clone();
        self.reads.is_empty()
            && leader.uncommitted_bytes == 0
            && leader
                .progress
                .iter()
                .all(|peer| peer.match_index == leader.last && peer.inflight_messages == 0)
            && statuses.iter().all(|status| {
                status.term == leader.term
                    && status.leader == Some(leader.id)
                    && status.commit == leader.last
                    && status.applied == leader.last
                    && status.last == leader.last
            })
            && self.nodes.iter().all(|node| node.machine == machine)
    }

    fn picture(&self) -> String {
        let mut picture = format!("{} reads pending", self.reads.len());
        for node in &self.nodes {
            if let Some(raw) = &node.raw {
                picture.push_str(&format!("\n    {:?}", raw.status()));
            }
        }
        picture
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

/// The settings that all nodes of a cluster share.
fn any_config(rng: &mut Rng, id: NodeId) -> Config {
    let mut config = Config::new(id);
    config.election_ticks = rng.u32(5..15);
    config.heartbeat_ticks = rng.u32(1..=2);
    config.pre_vote = rng.bool();
    config.check_quorum = rng.bool();
    config.lease_reads = config.check_quorum && rng.u32(0..3) == 0;
    config.lease_drift_ticks = config.election_ticks / 3;
    config
}

/// The settings of one node, and its disk and clock.
fn any_options(rng: &mut Rng, id: NodeId, shared: &Config) -> NodeOptions {
    let mut config = shared.clone();
    config.id = id;
    config.seed = rng.u64(..);
    config.async_writes = rng.bool();
    config.max_message_bytes = [0, 100, 4_000, 1 << 20][rng.usize(0..4)];
    // A long pipeline of tiny messages over a network that reorders is rejected and sent again many times over.
    let windows = if config.max_message_bytes < 1_000 { 3 } else { 4 };
    config.max_inflight_messages = [1, 2, 16, 256][rng.usize(0..windows)];
    config.max_inflight_bytes = [1, 1_000, 1 << 30][rng.usize(0..3)];
    config.max_committed_bytes = [1, 200, 1 << 30][rng.usize(0..3)];
    config.max_uncommitted_bytes = [1, 2_000, 1 << 30][rng.usize(0..3)];
    config.disable_proposal_forwarding = rng.u32(0..4) == 0;
    // With leases the clocks may differ by what the drift allows for.
    let spread = if shared.lease_reads { 1_000 } else { 5_000 };
    NodeOptions {
        snapshot_every: rng.u64(5..200),
        keep_entries: rng.u64(0..50),
        tick_every: 10_000 + rng.u64(0..spread),
        config,
    }
}
