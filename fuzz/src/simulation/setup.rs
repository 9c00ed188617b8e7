//! The cluster that a seed describes.

use fastrand::Rng;
use raft_core::{ConfState, Config, Index, LogPosition, NodeId, Term};

use crate::cluster::{Node, NodeOptions};
use crate::machine::Machine;

/// So many nodes there are where the membership changes; some of them are no members at first.
const NODES: u64 = 7;

/// The nodes. With changes the cluster begins with a snapshot, and who isn't a member knows of none.
pub(super) fn any_nodes(
    rng: &mut Rng,
    voters: Option<u64>,
    changes: bool,
    shared: &Config,
) -> Result<Vec<Node>, String> {
    let count = voters.unwrap_or_else(|| rng.u64(1..=NODES));
    let learners = if rng.u32(0..4) == 0 { rng.u64(1..=2) } else { 0 };
    let members: Vec<NodeId> = (1..=count + learners).filter_map(NodeId::new).collect();
    let voters = usize::try_from(count).unwrap_or(1);
    let conf_state = ConfState {
        voters: members.iter().take(voters).copied().collect(),
        learners: members.iter().skip(voters).copied().collect(),
        ..ConfState::default()
    };
    let applied = LogPosition::new(Term::new(1), Index::new(1));
    let founding = Machine { applied, ..Machine::new(conf_state.clone()) }.snapshot();
    let all = if changes { NODES.max(count + learners) } else { count + learners };
    let node = |id: NodeId| {
        let options = any_options(rng, id, shared);
        if !changes {
            return Ok(Node::new(options, conf_state.clone()));
        }
        if !members.contains(&id) {
            return Ok(Node::new(options, ConfState::default()));
        }
        Node::founder(options, founding.clone())
    };
    let nodes: Result<Vec<Node>, _> = (1..=all).filter_map(NodeId::new).map(node).collect();
    nodes.map_err(|error| format!("harness: {error}"))
}

/// A configuration, shortly.
pub(super) fn name(state: &ConfState) -> String {
    let list = |ids: &[NodeId]| ids.iter().map(|id| id.get().to_string()).collect::<Vec<_>>().join(" ");
    format!(
        "({})({}) learners ({})({}){}",
        list(&state.voters),
        list(&state.voters_outgoing),
        list(&state.learners),
        list(&state.learners_next),
        if state.auto_leave { " auto" } else { "" }
    )
}

/// The settings that all nodes of a cluster share.
pub(super) fn any_config(rng: &mut Rng, id: NodeId, changes: bool) -> Config {
    let mut config = Config::new(id, 0);
    config.election_ticks = rng.u32(5..15);
    config.heartbeat_ticks = rng.u32(1..=2);
    config.pre_vote = rng.bool();
    config.check_quorum = rng.bool();
    config.lease_reads = config.check_quorum && rng.u32(0..3) == 0;
    config.lease_drift_ticks = config.election_ticks / 3;
    // In the protocol of the paper's figure 2 nodes of a higher term ignore a leader whom their own campaigns don't reach, since
    // it came after their configuration; as in etcd, nothing ends that.
    config.pre_vote |= changes && !config.check_quorum;
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
    // With leases the clocks may differ by what the drift allows for.
    let spread = if shared.lease_reads { 1_000 } else { 5_000 };
    NodeOptions {
        snapshot_every: rng.u64(5..200),
        keep_entries: rng.u64(0..50),
        tick_every: 10_000 + rng.u64(0..spread),
        config,
    }
}
