//! Every run of a small cluster, within bounds.
//!
//! The other tests try what a seed decides. Here everything is tried: from each state that a cluster of real
//! [`RawNode`](raft_core::RawNode)s can be in, each message that is on its way may be delivered, doubled or lost, each node may
//! time out, be asked by a client, finish a write, or lose its memory and start again, in every order. What must hold is
//! checked in each state, so a fault that these bounds hold can't hide, and the schedule that shows it is the shortest.
//!
//! A state of the cluster is small: the number of each node's state, the numbers of the messages on their way, and the number of
//! the past as far as checks need it. What a node does depends on its own state and the input
//! alone, so the core runs once for each pair of these; everything else is looking up. States are visited in the order of
//! their distance from the start, and of those visited only a fingerprint is kept.

mod history;
mod intern;
mod node;
mod schedule;
mod search;

use std::time::Duration;

use raft_core::{
    ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ConfState, MemoryStorage, NodeId,
};

pub use search::explore;

/// How often what can happen at any time may happen in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Election time-outs.
    pub time_outs: u8,
    /// Ticks of the nodes' clocks. A node that doesn't lead has none in the last term, so that it doesn't campaign.
    pub ticks: u8,
    /// Heartbeats, beside those of ticks.
    pub heartbeats: u8,
    /// Proposals of clients.
    pub proposals: u8,
    /// Membership changes, at most one: the last node isn't a member at the start, and is brought in by a joint change.
    pub changes: u8,
    /// Reads of clients.
    pub reads: u8,
    /// Losses of memory, with the writes that hadn't reached the disk.
    pub crashes: u8,
    /// Lost messages. (One that is never delivered is as good as lost, but goes on to count as on its way.)
    pub drops: u8,
    /// Messages that arrive twice.
    pub duplicates: u8,
}

/// Which runs there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many nodes, 1 to 9.
    pub nodes: u64,
    /// No term is above it.
    pub max_term: u64,
    /// No log is longer. What would make it so doesn't happen.
    pub max_log: usize,
    /// No more messages are on their way. What would send more doesn't happen.
    pub in_flight: usize,
    /// How often what may happen.
    pub budget: Budget,
    /// Writes are on their way for a while. Otherwise each is on the disk before anything else happens.
    pub background: bool,
    /// Committed entries are applied some time after they were handed out. Otherwise at once.
    pub apply_late: bool,
    /// Messages carry one entry each.
    pub one_entry: bool,
    /// The setting of the core.
    pub pre_vote: bool,
    /// The setting of the core. Without ticks, who has heard from a leader never votes again.
    pub check_quorum: bool,
    /// What the caller does wrong.
    pub mistake: Option<Mistake>,
}

/// What a caller of the core can do wrong. The search must find each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mistake {
    /// The disk loses the vote, though not the term, in a crash.
    ForgetVote,
    /// A commit index that needed no sync isn't there in spite of a later write that is.
    ForgetCommit,
    /// The disk loses the last entry in a crash.
    LoseTail,
    /// The messages that must wait for the disk leave at once.
    SendEarly,
    /// Writes are acknowledged before they have reached the disk.
    AcknowledgeEarly,
}

/// How much work may be done.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// So many states.
    pub states: u64,
    /// So much time.
    pub time: Duration,
    /// By so many threads.
    pub threads: usize,
}

/// How far the search has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Distinct states that were visited.
    pub states: u64,
    /// Steps from a state to another, or back to one that was known.
    pub transitions: u64,
    /// Steps from the start to the states that are being visited.
    pub depth: u32,
    /// Distinct states of single nodes.
    pub node_states: usize,
    /// Distinct messages.
    pub messages: usize,
}

/// What came of a search.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was visited.
    pub progress: Progress,
    /// Was that everything there is within the bounds?
    pub exhausted: bool,
    /// A statement that doesn't hold in some state, if there is one.
    pub violation: Option<Violation>,
}

/// A statement that doesn't hold, and how it comes to that.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The statement, with its number in `../shared/invariants.md`.
    pub statement: String,
    /// The steps, a line for each. No other schedule has fewer.
    pub schedule: Vec<String>,
}

impl Default for Bounds {
    /// Three nodes with writes in the background; two terms, a proposal, a crash, a lost message.
    fn default() -> Bounds {
        Bounds {
            nodes: 3,
            max_term: 2,
            max_log: 3,
            in_flight: 2,
            budget: Budget { time_outs: 2, proposals: 1, crashes: 1, drops: 1, ..Budget::default() },
            background: true,
            apply_late: false,
            one_entry: false,
            pre_vote: false,
            check_quorum: false,
            mistake: None,
        }
    }
}

impl Bounds {
    /// The nodes.
    fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        (1..=self.nodes).filter_map(NodeId::new)
    }

    /// The configurations through which the cluster goes.
    fn configurations(&self) -> Vec<ConfState> {
        let all: Vec<NodeId> = self.ids().collect();
        if self.budget.changes == 0 {
            return vec![ConfState::of_voters(all)];
        }
        let before: Vec<NodeId> = self.ids().take(all.len() - 1).collect();
        let joint = ConfState {
            voters: all.clone(),
            voters_outgoing: before.clone(),
            auto_leave: true,
            ..ConfState::default()
        };
        vec![ConfState::of_voters(before), joint, ConfState::of_voters(all)]
    }

    /// The disk of a node at the start.
    fn disk(&self) -> MemoryStorage {
        MemoryStorage::with_conf_state(self.configurations().remove(0))
    }

    /// The change that brings the last node in.
    fn change(&self) -> ConfChangeV2 {
        let single = ConfChangeSingle { kind: ConfChangeKind::AddVoter, node: NodeId::new(self.nodes) };
        ConfChangeV2 {
            transition: ConfChangeTransition::JointImplicit,
            changes: vec![single],
            ..ConfChangeV2::default()
        }
    }
}
