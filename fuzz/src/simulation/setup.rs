//! The cluster that a seed describes.

use fastrand::Rng;
use raft_core::{ConfState, Config, Index, LogPosition, NodeId, Term};

use super::Options;
use super::faults::Fault;
use super::world::World;
use crate::cluster::{Line, Node, NodeOptions};
use crate::machine::{CLIENTS, Machine};
use crate::members::Members;
use crate::oracle::{Check, Oracle};
use crate::parts::Parts;

/// So many nodes there are where the membership changes; some of them are no members at first.
const NODES: u64 = 7;

/// One in so many clusters has more voters than that: a core may count them in another way.
const LARGE_ONE_IN: u32 = 50;

/// And that many at most.
const LARGE: u64 = 12;

/// How a run goes. Times are in simulated microseconds, and each pair is a range.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) faults: Vec<Fault>,
    /// The membership changes, and leadership is handed over.
    pub(super) changes: bool,
    /// Some reads are by lease.
    pub(super) leases: bool,
    /// Commits are by groups, now and then.
    pub(super) groups: bool,
    /// How many clients there are.
    pub(super) clients: usize,
    /// Between two things that a client does, and that the operator does.
    pub(super) think: (u64, u64),
    pub(super) operator: (u64, u64),
    /// Between two faults.
    pub(super) fault: (u64, u64),
    /// How long a node is down at most.
    pub(super) down: u64,
    /// How long a write takes, and how long a batch waits to be applied at most.
    pub(super) write: (u64, u64),
    pub(super) apply: u64,
}

/// What this seed is about.
pub(super) fn any_run<P: Parts>(rng: &mut Rng, options: &Options, parts: &P) -> Check<(World<P>, Plan)> {
    let changes = options.changes.unwrap_or_else(|| rng.bool());
    let shared = any_config(rng, changes);
    let plan = Plan {
        faults: options.faults.clone(),
        changes,
        leases: shared.lease_reads,
        groups: rng.u32(0..8) == 0,
        clients: rng.usize(1..=CLIENTS),
        think: [(50_000, 600_000), (20_000, 150_000), (300_000, 3_000_000)][rng.usize(0..3)],
        operator: (100_000, [1_000_000, 5_000_000][rng.usize(0..2)]),
        fault: (100_000, [2_000_000, 8_000_000][rng.usize(0..2)]),
        down: [1_000_000, 20_000_000][rng.usize(0..2)],
        write: (1_000, [10_000, 30_000, 200_000][rng.usize(0..3)]),
        apply: [1_000, 50_000, 500_000][rng.usize(0..3)],
    };
    let world = any_world(rng, options.nodes, changes, &shared, parts)?;
    Ok((world, plan))
}

/// How many voters there are.
fn any_count(rng: &mut Rng) -> u64 {
    // Drawn aside, so that the other seeds go on to mean what they meant before there were such clusters.
    let mut aside = rng.clone();
    let count = rng.u64(1..=NODES);
    if aside.u32(0..LARGE_ONE_IN) == 0 { aside.u64(NODES + 1..=LARGE) } else { count }
}

/// The nodes. With changes the cluster begins with a snapshot, and who isn't a member knows of none.
fn any_world<P: Parts>(
    rng: &mut Rng,
    voters: Option<u64>,
    changes: bool,
    shared: &Config,
    parts: &P,
) -> Check<World<P>> {
    let count = voters.unwrap_or_else(|| any_count(rng));
    let learners = if rng.u32(0..4) == 0 { rng.u64(1..=2) } else { 0 };
    let members: Vec<NodeId> = (1..=count + learners).filter_map(NodeId::new).collect();
    let voters = usize::try_from(count).unwrap_or(1);
    let conf_state = ConfState {
        voters: members.iter().take(voters).copied().collect(),
        learners: members.iter().skip(voters).copied().collect(),
        ..ConfState::default()
    };
    let founded = if changes { LogPosition::new(Term::new(1), Index::new(1)) } else { LogPosition::ZERO };
    let founding = Machine { applied: founded, ..Machine::new(conf_state.clone()) };
    let all = if changes { NODES.max(count + learners) } else { count + learners };
    let mut nodes = Vec::new();
    for id in (1..=all).filter_map(NodeId::new) {
        let options = any_options(rng, id, shared);
        nodes.push(match (changes, members.contains(&id)) {
            (false, _) => Node::new(options, conf_state.clone(), parts)?,
            (true, false) => Node::new(options, ConfState::default(), parts)?,
            (true, true) => Node::founder(options, founding.clone(), parts)?,
        });
    }
    let base = (founded.index, Line { term: founded.term, ..Line::default() });
    let oracle = Oracle::new(nodes.len(), Members::of_state(&conf_state), base);
    Ok(World::new(parts.clone(), nodes, oracle))
}

/// The settings that all nodes of a cluster share.
fn any_config(rng: &mut Rng, changes: bool) -> Config {
    let mut config = Config::new(NodeId::from(std::num::NonZeroU64::MIN), 0);
    config.election_ticks = rng.u32(5..15);
    config.heartbeat_ticks = rng.u32(1..=2);
    config.pre_vote = rng.bool();
    config.check_quorum = rng.bool();
    config.check_quorum_each_tick = rng.bool();
    config.lease_reads = config.check_quorum && rng.u32(0..3) == 0;
    config.lease_drift_ticks = config.election_ticks / 3;
    // In the protocol of the paper's figure 2 nodes of a higher term ignore a leader whom their own campaigns don't reach, since
    // it came after their configuration; as in etcd, nothing ends that.
    config.pre_vote |= changes && !config.check_quorum;
    config.disable_conf_change_validation = rng.u32(0..6) == 0;
    config.step_down_on_removal = !changes || rng.u32(0..4) > 0;
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
    config.forward_proposals = rng.u32(0..4) > 0;
    config.skip_commit_broadcast = rng.u32(0..4) == 0;
    config.batch_messages = rng.bool();
    config.priority = if rng.u32(0..6) == 0 { rng.i64(-1..=1) } else { 0 };
    let durable_machine = rng.u32(0..3) == 0;
    // A machine that survives a crash must not be ahead of the log.
    config.max_apply_ahead =
        if !durable_machine && rng.u32(0..3) == 0 { u32::try_from(rng.u64(1..20)).unwrap_or(1) } else { 0 };
    // With leases the clocks may differ by what the drift allows for. Without pre-vote a node that acts by an old configuration and
    // is much faster than the one that needs its vote is always a term ahead.
    let spread = if shared.lease_reads || !shared.pre_vote { 10_000 } else { 80_000 };
    NodeOptions {
        snapshot_every: if rng.bool() { rng.u64(3..20) } else { rng.u64(5..200) },
        keep_entries: if rng.bool() { rng.u64(0..4) } else { rng.u64(0..50) },
        tick_every: 100_000 + rng.u64(0..spread),
        durable_machine,
        advances: rng.u32(0..4) == 0,
        page: [1, 3, usize::MAX, usize::MAX][rng.usize(0..4)],
        config,
    }
}
