//! What a node keeps on disk beside its log.

use alloc::vec::Vec;

use crate::{Index, NodeId, Term};

/// The persistent state of figure 2 (§5), with the commit index, whose persistence only saves work after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HardState {
    /// The latest term that the node has seen.
    pub term: Term,
    /// The candidate that it voted for in that term.
    pub vote: Option<NodeId>,
    /// The highest index that it knows to be committed.
    pub commit: Index,
}

/// A configuration (thesis §4) as it is stored: in snapshots, and at a node's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConfState {
    /// The voters; in a joint configuration those of its incoming half.
    pub voters: Vec<NodeId>,
    /// The learners: they receive the log and have no vote.
    pub learners: Vec<NodeId>,
    /// The voters of the outgoing half of a joint configuration; empty otherwise.
    pub voters_outgoing: Vec<NodeId>,
    /// Voters of the outgoing half that become learners when the joint configuration is left.
    pub learners_next: Vec<NodeId>,
    /// The joint configuration is left by itself, as soon as that is safe.
    pub auto_leave: bool,
}

impl ConfState {
    /// A configuration of these voters alone.
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> ConfState {
        ConfState { voters: voters.into_iter().collect(), ..ConfState::default() }
    }
}
