//! Two sets of voters that must both agree (thesis §4.3).

use core::cmp::Ordering;

use raft_proto::{Index, NodeId};

use super::{MajorityQuorum, VoteResult};

/// The voters of a configuration: the incoming half, and in a joint configuration the outgoing one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JointQuorum {
    /// The voters of the configuration, or of the one that is being entered.
    pub incoming: MajorityQuorum,
    /// The voters of the one that is being left; empty unless joint.
    pub outgoing: MajorityQuorum,
}

impl JointQuorum {
    /// Is there an outgoing half?
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Is this node a voter in either half?
    #[inline]
    pub fn contains(&self, id: NodeId) -> bool {
        self.incoming.contains(id) || self.outgoing.contains(id)
    }

    /// Is this node the only voter there is?
    pub fn is_only(&self, id: NodeId) -> bool {
        !self.is_joint() && self.incoming.voters() == [id]
    }

    /// The voters of both halves, each once, in ascending order.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut incoming = self.incoming.voters().iter().copied().peekable();
        let mut outgoing = self.outgoing.voters().iter().copied().peekable();
        core::iter::from_fn(move || match (incoming.peek(), outgoing.peek()) {
            (Some(a), Some(b)) => match a.cmp(b) {
                Ordering::Less => incoming.next(),
                Ordering::Equal => {
                    outgoing.next();
                    incoming.next()
                }
                Ordering::Greater => outgoing.next(),
            },
            (Some(_), None) => incoming.next(),
            (None, _) => outgoing.next(),
        })
    }

    /// The largest index that is acknowledged by a quorum of each half; `None` means "no bound".
    pub fn committed_index(&self, acked: impl Fn(NodeId) -> Index) -> Option<Index> {
        let incoming = self.incoming.committed_index(&acked);
        if !self.is_joint() {
            return incoming;
        }
        let outgoing = self.outgoing.committed_index(&acked);
        match (incoming, outgoing) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (bound, None) | (None, bound) => bound,
        }
    }

    /// The same by commit groups; see [`MajorityQuorum::group_committed_index`].
    pub fn group_committed_index(&self, acked: impl Fn(NodeId) -> (Index, u64)) -> Option<Index> {
        let incoming = self.incoming.group_committed_index(&acked);
        let outgoing = self.outgoing.group_committed_index(&acked);
        match (incoming, outgoing) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (bound, None) | (None, bound) => bound,
        }
    }

    /// Do these nodes make a quorum of each half, with two groups in each? See [`MajorityQuorum::is_group_quorum`].
    pub fn is_group_quorum(&self, group: impl Fn(NodeId) -> Option<u64>) -> bool {
        self.incoming.is_group_quorum(&group) && self.outgoing.is_group_quorum(&group)
    }

    /// How a vote stands: won where both halves have, lost as soon as one is.
    pub fn vote_result(&self, vote: impl Fn(NodeId) -> Option<bool>) -> VoteResult {
        let incoming = self.incoming.vote_result(&vote);
        let outgoing = self.outgoing.vote_result(&vote);
        match (incoming, outgoing) {
            (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
            (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
            (VoteResult::Pending, _) | (_, VoteResult::Pending) => VoteResult::Pending,
        }
    }

    /// Do these nodes make a quorum of each half?
    pub fn is_quorum(&self, member: impl Fn(NodeId) -> bool) -> bool {
        self.vote_result(|id| Some(member(id))) == VoteResult::Won
    }
}
