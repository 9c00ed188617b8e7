//! The words that a node and its caller use of each other's doings.

use core::fmt;

use bytes::Bytes;
use raft_proto::{Index, NodeId, Term};

use crate::error::ReadError;

/// The role of a node (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RoleKind {
    /// Passive: answers leaders and candidates.
    Follower,
    /// Asks whether it could win, without raising the term (thesis §9.6).
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Handles the clients' requests.
    Leader,
}

/// What a node knows of leadership. It isn't persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SoftState {
    /// The leader of the current term, if known.
    pub leader: Option<NodeId>,
    /// This node's role.
    pub role: RoleKind,
}

/// A read may be served as soon as the state machine has applied `index` (thesis §6.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadState {
    /// The index to wait for.
    pub index: Index,
    /// The bytes that the caller gave to [`read_index`](crate::RawNode::read_index).
    pub context: Bytes,
}

/// A read that was accepted and won't be answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DroppedRead {
    /// The bytes that the caller gave to [`read_index`](crate::RawNode::read_index).
    pub context: Bytes,
    /// Why.
    pub reason: ReadError,
}

/// How a read is confirmed (thesis §6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadMode {
    /// By a round of heartbeats that a quorum answers. Linearizable, whatever the clocks do.
    #[default]
    Quorum,
    /// By the leader's lease if it holds one, otherwise as `Quorum`. Linearizable while the clocks differ by no
    /// more than [`Config::lease_drift_ticks`](crate::Config::lease_drift_ticks) allows. Needs
    /// [`Config::lease_reads`](crate::Config::lease_reads).
    Lease,
}

/// How the transfer of a snapshot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotStatus {
    /// The peer has it.
    Finished,
    /// It hasn't; another will be sent when the peer is heard again.
    Failed,
}

/// What a proposal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proposal {
    /// This node leads and has appended it. It is committed when the entry that is applied at its index has its term;
    /// if one of another term is applied there, it was lost.
    Appended {
        /// The term of its entries.
        term: Term,
        /// The index of the first.
        first: Index,
        /// The index of the last.
        last: Index,
    },
    /// It was passed on to the leader. It may get lost on the way, or arrive twice, and nothing tells.
    Forwarded {
        /// The leader.
        to: NodeId,
    },
}

/// What the proposal of a membership change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfChangeProposal {
    /// This node leads and has appended it; the change is made when the entry is applied.
    Appended {
        /// The term of its entry.
        term: Term,
        /// Its index.
        index: Index,
    },
    /// It can't be made now. An empty entry stands in its place.
    Refused {
        /// The term of the empty entry.
        term: Term,
        /// Its index.
        index: Index,
        /// Why.
        reason: ConfChangeRefusal,
    },
    /// It was passed on to the leader.
    Forwarded {
        /// The leader.
        to: NodeId,
    },
}

/// Why a membership change can't be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfChangeRefusal {
    /// An earlier change may be unapplied until this index is applied here.
    ChangePending {
        /// The index.
        index: Index,
    },
    /// The joint configuration must be left first.
    JointPending,
    /// There is no joint configuration to leave.
    NotJoint,
}

/// How a transfer of leadership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferOutcome {
    /// To whom it was to go.
    pub to: NodeId,
    /// How it ended.
    pub end: TransferEnd,
}

/// How a transfer of leadership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferEnd {
    /// This node no longer leads. Who does is in [`Ready::soft_state`](crate::Ready::soft_state), as soon as it is heard.
    SteppedDown,
    /// The target didn't take over within an election time-out. It still may.
    TimedOut,
    /// The target is no longer a voter.
    TargetRemoved,
    /// Another transfer was asked for.
    Superseded,
}

/// A node's log ends before what it had acknowledged: its disk was replaced, or lied about a sync. It follows, but doesn't
/// vote, campaign, or answer the leader that counts on what was lost. It serves again when a leader's log has brought it
/// past that: after it is removed and added again, as a learner first, or under a new leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DataLoss {
    /// The index up to which a leader counts on this node.
    pub acknowledged: Index,
    /// The last index of its log when that was noticed.
    pub last: Index,
}

/// News of a [`DataLoss`], to be stored with the rest of its [`Ready`](crate::Ready) and given back in
/// [`InitialState`](crate::InitialState): a node that forgot it in a restart would vote again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataLossReport {
    /// It was noticed, or found to be larger than it seemed.
    Noticed(DataLoss),
    /// A leader's log has brought this node past what it lost.
    Regained,
}

impl DataLossReport {
    /// What is lost now.
    pub fn lost(self) -> Option<DataLoss> {
        match self {
            DataLossReport::Noticed(lost) => Some(lost),
            DataLossReport::Regained => None,
        }
    }
}

/// What a node has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counters {
    /// Messages that were of no use any more: of an earlier term, or for another role.
    pub dropped_messages: u64,
    /// Messages that [`step`](crate::RawNode::step) refused with an error.
    pub refused_messages: u64,
    /// Reads of the storage that failed, or for which it asked to wait. What they were for is tried again.
    pub storage_failures: u64,
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RoleKind::Follower => "follower",
            RoleKind::PreCandidate => "pre-candidate",
            RoleKind::Candidate => "candidate",
            RoleKind::Leader => "leader",
        })
    }
}

impl fmt::Display for ConfChangeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfChangeRefusal::ChangePending { index } => {
                write!(f, "an earlier change may be unapplied until index {index} is applied")
            }
            ConfChangeRefusal::JointPending => f.write_str("the joint configuration must be left first"),
            ConfChangeRefusal::NotJoint => f.write_str("there is no joint configuration to leave"),
        }
    }
}

impl fmt::Display for TransferEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TransferEnd::SteppedDown => "stepped down",
            TransferEnd::TimedOut => "timed out",
            TransferEnd::TargetRemoved => "target removed",
            TransferEnd::Superseded => "superseded",
        })
    }
}
