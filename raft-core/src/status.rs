//! What a node knows of itself, at a glance.

mod explain;

use alloc::vec::Vec;
use core::ops::Deref;

use raft_proto::{ConfState, Index, NodeId, Term};

use crate::progress::{Progress, ProgressState};
use crate::raft::{Raft, Role};
use crate::report::{Counters, DataLoss, RoleKind};
use crate::storage::Storage;

pub use explain::{WhyNotCommitted, WhyNotLeader, WhyPaused, WhyReadWaits};
pub(crate) use explain::{why_not_committed, why_not_leader, why_paused, why_read_waits};

/// The state of a node but for what has a size: it is copied, and nothing is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BasicStatus {
    /// This node.
    pub id: NodeId,
    /// Its current term.
    pub term: Term,
    /// Whom it voted for in that term.
    pub vote: Option<NodeId>,
    /// Its role.
    pub role: RoleKind,
    /// The leader, if it knows one.
    pub leader: Option<NodeId>,
    /// The highest index known to be committed.
    pub commit: Index,
    /// The highest index that the state machine is known to have applied.
    pub applied: Index,
    /// The last index of its log.
    pub last: Index,
    /// The last index of its log that is known to be durable.
    pub durable: Index,
    /// Ticks since it heard from its leader, gave its vote or began to campaign; a leader's since it checked its quorum.
    pub election_elapsed: u32,
    /// The ticks after which it campaigns.
    pub election_timeout: u32,
    /// Writes that were handed out and whose acknowledgement is waited for. That of a new commit index alone isn't.
    pub writes_in_flight: usize,
    /// Encoded bytes of the entries that the core keeps in memory: those that aren't durable, and before them those that it
    /// hasn't handed out to be applied, as far as [`max_inflight_bytes`](crate::Config::max_inflight_bytes) go.
    pub log_bytes_in_memory: u64,
    /// Payload bytes that a leader has appended in its term and not yet applied.
    pub uncommitted_bytes: u64,
    /// The state machine waits for a snapshot of this index or above.
    pub snapshot_wanted: Option<Index>,
    /// What this node has lost of what it had acknowledged.
    pub lost: Option<DataLoss>,
    /// To whom a leader is handing over.
    pub transferee: Option<NodeId>,
    /// Reads that wait to be confirmed.
    pub pending_reads: usize,
    /// What it has counted since its start.
    pub counters: Counters,
}

/// The state of a node. It costs a copy of the configuration, and at a leader of a row for each member: where that is too much,
/// [`basic_status`](crate::RawNode::basic_status) is what costs neither, and [`progress`](crate::RawNode::progress) and
/// [`conf_state`](crate::RawNode::conf_state) are the two others alone.
///
/// It reads like a [`BasicStatus`]: `status.term` is `status.basic.term`. Serialised, the two are one as well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Status {
    /// What has no size.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub basic: BasicStatus,
    /// The configuration that it acts by.
    pub conf_state: ConfState,
    /// A leader's view of all members, itself included, in ascending order; empty in other roles.
    pub progress: Vec<PeerStatus>,
}

impl Deref for Status {
    type Target = BasicStatus;

    fn deref(&self) -> &BasicStatus {
        &self.basic
    }
}

/// A member, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PeerStatus {
    /// The member.
    pub id: NodeId,
    /// How the leader sends to it.
    pub state: PeerState,
    /// Its log is known to agree, durably, up to here.
    pub match_index: Index,
    /// The next index to send.
    pub next_index: Index,
    /// It has no vote.
    pub is_learner: bool,
    /// It was heard since the quorum was last checked.
    pub recently_active: bool,
    /// Nothing is sent to it until it is heard.
    pub paused: bool,
    /// Messages with entries that are on their way.
    pub inflight_messages: usize,
    /// Their payload bytes.
    pub inflight_bytes: u64,
    /// No more of them may be.
    pub window_full: bool,
}

/// How a leader sends to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PeerState {
    /// One message at a time, until it is known where the logs agree.
    Probe,
    /// A pipeline.
    Replicate,
    /// A snapshot is on its way.
    Snapshot {
        /// It covers up to here.
        pending: Index,
    },
}

/// A leader's view of all members.
pub(crate) fn progress<S: Storage>(raft: &Raft<S>) -> Vec<PeerStatus> {
    let Role::Leader(leader) = &raft.role else { return Vec::new() };
    let peers = leader.progress.iter();
    peers.map(|(id, peer)| PeerStatus::of(id, peer, raft.common.membership.is_learner(id))).collect()
}

/// A leader's view of one member.
pub(crate) fn peer<S: Storage>(raft: &Raft<S>, id: NodeId) -> Option<PeerStatus> {
    let Role::Leader(leader) = &raft.role else { return None };
    let peer = leader.progress.get(id)?;
    Some(PeerStatus::of(id, peer, raft.common.membership.is_learner(id)))
}

/// To whom a leader is handing over.
pub(crate) fn transferee<S: Storage>(raft: &Raft<S>) -> Option<NodeId> {
    let Role::Leader(leader) = &raft.role else { return None };
    leader.transferee()
}

/// Payload bytes that a leader has appended in its term and not yet applied.
pub(crate) fn uncommitted_bytes<S: Storage>(raft: &Raft<S>) -> u64 {
    let Role::Leader(leader) = &raft.role else { return 0 };
    leader.uncommitted()
}

/// Reads that wait to be confirmed.
pub(crate) fn pending_reads<S: Storage>(raft: &Raft<S>) -> usize {
    match &raft.role {
        Role::Follower(follower) => follower.pending_reads(),
        Role::Candidate(_) => 0,
        Role::Leader(leader) => leader.pending_reads(),
    }
}

impl BasicStatus {
    pub(crate) fn of<S: Storage>(raft: &Raft<S>) -> BasicStatus {
        let common = &raft.common;
        let soft_state = raft.soft_state();
        BasicStatus {
            id: common.id(),
            term: common.term,
            vote: common.vote,
            role: soft_state.role,
            leader: soft_state.leader,
            commit: common.log.committed(),
            applied: common.log.applied(),
            last: common.log.last().index,
            durable: common.log.durable(),
            election_elapsed: common.clock.election_elapsed(),
            election_timeout: common.clock.election_timeout(),
            writes_in_flight: common.log.writes_in_flight(),
            log_bytes_in_memory: common.log.bytes_in_memory(),
            uncommitted_bytes: uncommitted_bytes(raft),
            snapshot_wanted: common.log.wanted(),
            lost: common.lost.as_deref().copied(),
            transferee: transferee(raft),
            pending_reads: pending_reads(raft),
            counters: common.counters(),
        }
    }
}

impl Status {
    pub(crate) fn of<S: Storage>(raft: &Raft<S>) -> Status {
        Status {
            basic: BasicStatus::of(raft),
            conf_state: raft.common.membership.to_conf_state(),
            progress: progress(raft),
        }
    }
}

impl PeerStatus {
    fn of(id: NodeId, peer: &Progress, is_learner: bool) -> PeerStatus {
        let (state, inflight_messages, inflight_bytes) = match peer.state() {
            ProgressState::Probe => (PeerState::Probe, 0, 0),
            ProgressState::Replicate(inflights) => {
                (PeerState::Replicate, inflights.count(), inflights.bytes())
            }
            ProgressState::Snapshot { pending } => (PeerState::Snapshot { pending: *pending }, 0, 0),
        };
        PeerStatus {
            id,
            state,
            match_index: peer.match_index(),
            next_index: peer.next_index(),
            is_learner,
            recently_active: peer.recently_active,
            paused: peer.is_paused(),
            inflight_messages,
            inflight_bytes,
            window_full: peer.is_full(),
        }
    }
}
