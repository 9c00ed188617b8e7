//! What the core asks of its caller, and how it is cut from the outbox and the log.

use alloc::vec::Vec;

use bytes::Bytes;
use raft_proto::{Entry, HardState, Index, Message, NodeId, Snapshot};

use crate::error::ReadError;
use crate::storage::StorageError;

/// The role of a node (§5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// A batch of work for the caller, by obligation. See the crate's documentation for the order.
#[derive(Debug, Default)]
#[must_use = "a Ready that is dropped takes its messages and entries with it"]
pub struct Ready {
    /// Its number, for [`on_persisted`](crate::RawNode::on_persisted): one more than that of the `Ready` before.
    pub number: u64,

    // -- to take note of
    /// Role and leader, if either changed.
    pub soft_state: Option<SoftState>,
    /// Reads that may be served once their index is applied.
    pub read_states: Vec<ReadState>,
    /// Reads that were accepted and won't be answered, each with its reason.
    pub dropped_reads: Vec<DroppedRead>,
    /// Committed entries couldn't be read from the storage, for this reason. They are asked for again at the next tick.
    pub storage_error: Option<StorageError>,

    // -- to send at once
    /// Messages that may leave before anything of this `Ready` is durable (thesis §10.2.1).
    pub messages: Vec<Message>,

    // -- to make durable, in one write: snapshot, then entries, then hard state
    /// Replaces the log and the state machine.
    pub snapshot: Option<Snapshot>,
    /// To append. Where the log has entries from the first of these indexes on, they are replaced.
    pub entries: Vec<Entry>,
    /// Term, vote and commit index, if any changed.
    pub hard_state: Option<HardState>,
    /// The write must reach the disk (fsync) before it is acknowledged. False if only the commit index changed, which
    /// may be lost: then an acknowledgement may follow at once.
    pub must_sync: bool,

    // -- to send when everything in this Ready, and in those before, is durable
    /// Votes, requests for them, and acknowledgements.
    pub persisted_messages: Vec<Message>,

    // -- to apply: after the snapshot, and after `entries` are durable
    /// Committed entries, in order, each exactly once.
    pub committed_entries: Vec<Entry>,
}

impl Ready {
    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.soft_state.is_none()
            && self.read_states.is_empty()
            && self.dropped_reads.is_empty()
            && self.storage_error.is_none()
            && self.messages.is_empty()
            && self.snapshot.is_none()
            && self.entries.is_empty()
            && self.hard_state.is_none()
            && self.persisted_messages.is_empty()
            && self.committed_entries.is_empty()
    }
}
