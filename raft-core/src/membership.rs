//! The configuration: who votes and who only learns (thesis §4). Pure: no message, log or role is known here.

mod changer;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use raft_proto::{ConfState, NodeId};

pub use changer::ConfChangeError;

use crate::quorum::{JointQuorum, MajorityQuorum};

/// A configuration that is known to be valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Configuration {
    voters: JointQuorum,
    /// Nothing where there are none.
    learners: Option<Box<Learners>>,
    auto_leave: bool,
}

/// Who only learns, and who will, each in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Learners {
    now: Vec<NodeId>,
    next: Vec<NodeId>,
}

impl Learners {
    /// In the form in which equal ones are the same.
    fn boxed(self) -> Option<Box<Learners>> {
        if self.now.is_empty() && self.next.is_empty() { None } else { Some(Box::new(self)) }
    }
}

impl Configuration {
    /// The configuration that is stored in this form. The empty one is valid: a node has it that is to join a
    /// cluster and learns of its members by a snapshot or by the log.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn from_conf_state(state: &ConfState) -> Result<Configuration, ConfStateError> {
        let incoming = distinct(&state.voters)?;
        let outgoing = distinct(&state.voters_outgoing)?;
        let learners = distinct(&state.learners)?;
        let learners_next = distinct(&state.learners_next)?;
        let voters = JointQuorum {
            incoming: MajorityQuorum::new(incoming.iter().copied()),
            outgoing: MajorityQuorum::new(outgoing.iter().copied()),
        };
        if incoming.is_empty() && !(outgoing.is_empty() && learners.is_empty()) {
            return Err(ConfStateError::NoVoters);
        }
        if let Some(id) = learners.iter().find(|id| voters.contains(**id)) {
            return Err(ConfStateError::LearnerVotes(*id));
        }
        if let Some(id) = learners_next.iter().find(|id| !voters.outgoing.contains(**id)) {
            return Err(ConfStateError::LearnerNextIsNotLeaving(*id));
        }
        if let Some(id) = learners_next.iter().find(|id| voters.incoming.contains(**id)) {
            return Err(ConfStateError::LearnerVotes(*id));
        }
        if state.auto_leave && !voters.is_joint() {
            return Err(ConfStateError::NothingToLeave);
        }
        let learners = Learners { now: learners, next: learners_next }.boxed();
        Ok(Configuration { voters, learners, auto_leave: state.auto_leave })
    }

    /// The form that is stored, with every list in ascending order.
    pub fn to_conf_state(&self) -> ConfState {
        ConfState {
            voters: self.voters.incoming.voters().to_vec(),
            learners: self.learners().to_vec(),
            voters_outgoing: self.voters.outgoing.voters().to_vec(),
            learners_next: self.learners_next().to_vec(),
            auto_leave: self.auto_leave,
        }
    }

    /// The voters of both halves.
    pub fn voters(&self) -> &JointQuorum {
        &self.voters
    }

    /// The learners, in ascending order.
    pub fn learners(&self) -> &[NodeId] {
        self.learners.as_ref().map_or(&[], |learners| &learners.now)
    }

    /// The voters of the outgoing half that become learners when the joint configuration is left, in ascending order.
    pub fn learners_next(&self) -> &[NodeId] {
        self.learners.as_ref().map_or(&[], |learners| &learners.next)
    }

    /// Does this node have a vote, in either half?
    #[inline]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(id)
    }

    /// Does this node only learn?
    pub fn is_learner(&self, id: NodeId) -> bool {
        self.learners().binary_search(&id).is_ok()
    }

    /// Is this node in the configuration at all?
    #[inline]
    pub fn contains(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.is_learner(id)
    }

    /// All members, each once, in ascending order.
    pub fn members(&self) -> Vec<NodeId> {
        let mut members: Vec<NodeId> = self.voters.voters().chain(self.learners().iter().copied()).collect();
        members.sort_unstable();
        members
    }
}

/// The ids in ascending order.
fn distinct(ids: &[NodeId]) -> Result<Vec<NodeId>, ConfStateError> {
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    }) {
        Some(id) => Err(ConfStateError::Repeated(id)),
        None => Ok(sorted),
    }
}

/// Why a [`ConfState`] isn't a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfStateError {
    /// A list names a node twice.
    Repeated(NodeId),
    /// There are learners or outgoing voters, and no voter.
    NoVoters,
    /// A node is a voter and a learner.
    LearnerVotes(NodeId),
    /// A node is to become a learner on leaving the joint configuration, and isn't an outgoing voter.
    LearnerNextIsNotLeaving(NodeId),
    /// The configuration is to be left automatically, and isn't joint.
    NothingToLeave,
}

impl fmt::Display for ConfStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfStateError::Repeated(id) => write!(f, "node {id} is named twice"),
            ConfStateError::NoVoters => f.write_str("there is no voter"),
            ConfStateError::LearnerVotes(id) => write!(f, "node {id} is a voter and a learner"),
            ConfStateError::LearnerNextIsNotLeaving(id) => {
                write!(f, "node {id} is to become a learner and isn't an outgoing voter")
            }
            ConfStateError::NothingToLeave => f.write_str("the configuration is to be left and isn't joint"),
        }
    }
}

impl core::error::Error for ConfStateError {}
