//! A sans-IO Raft core: consensus as a pure, synchronous state machine.
//!
//! A [`RawNode`] takes ticks, messages and proposals, and emits [`Ready`] batches: entries to persist, messages to
//! send, committed entries to apply. Clocks, sockets and disks stay with the caller, so it runs under tokio, an epoll
//! loop, plain threads, in a browser or on a chip, and whole clusters run in a test, deterministically.
//!
//! # The one rule
//!
//! **What a `Ready` asks to be durable must be durable before its `persisted_messages` leave, and before it is
//! acknowledged.** Everything that Raft promises rests on that. Acknowledge a `Ready` that was never handed out, and you
//! get an [`AckError`]; acknowledge one that isn't durable, and a crash can lose what the cluster has committed.
//!
//! # The loop
//!
//! 1. Give the node whatever is there: [`tick`](RawNode::tick) at a steady pace, [`step`](RawNode::step) for each message
//!    that arrived, [`propose`](RawNode::propose) and [`read_index`](RawNode::read_index) for the clients.
//! 2. While [`has_ready`](RawNode::has_ready), take the [`ready`](RawNode::ready).
//! 3. Send its `messages`.
//! 4. Write its `snapshot`, then `entries`, then `hard_state`, all or none of them, and sync if `must_sync`.
//! 5. Send its `persisted_messages`.
//! 6. Restore the `snapshot`, then apply the `committed_entries`, in order; for a membership change call
//!    [`apply_conf_change`](RawNode::apply_conf_change), and keep the [`ConfState`] that it returns with the applied index.
//!    Serve the `read_states` whose index is applied.
//! 7. [`advance`](RawNode::advance).
//!
//! ```
//! use raft_core::{Config, MemoryStorage, NodeId, Payload, RawNode};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let id = NodeId::new(1).ok_or("zero is no node")?;
//! let mut node = RawNode::new(Config::new(id, 42), MemoryStorage::with_voters([id]))?; // 42: a random number, where it matters
//! let mut applied = Vec::new();
//!
//! node.campaign()?; // or tick() until it does by itself
//! while applied.is_empty() {
//!     // 1. inputs
//!     if node.leader() == Some(id) && node.last_index() == node.commit_index() {
//!         node.propose("hello".into())?;
//!     }
//!     // 2. outputs
//!     while node.has_ready() {
//!         let ready = node.ready();
//!         // 3. send: this node is alone
//!         assert!(ready.messages.is_empty());
//!         // 4. make durable
//!         node.storage_mut().persist(&ready)?;
//!         // 5. send what had to wait
//!         assert!(ready.persisted_messages.is_empty());
//!         // 6. apply
//!         for entry in ready.committed_entries.iter() {
//!             match &entry.payload {
//!                 Payload::Normal(data) => applied.push(data.clone()),
//!                 Payload::ConfChange(_) | Payload::ConfChangeV2(_) | Payload::LeaveJoint => {} // none is proposed here
//!                 Payload::TermStart | Payload::RefusedChange => {} // nothing to apply
//!             }
//!         }
//!         // 7. done
//!         node.advance(ready)?;
//!     }
//! }
//! assert_eq!(applied, ["hello"]);
//! # Ok(())
//! # }
//! ```
//!
//! # The loop, with a writer of its own
//!
//! The disk needn't hold up the loop. Steps 4 and 5 can go to a writer, which works through the `Ready`s in order, as many
//! in one sync as there are: when it is done with number *n*, its `persisted_messages` are sent and
//! [`on_persisted`](RawNode::on_persisted)`(n)` is called. Steps 6 and 7 go on meanwhile, with
//! [`on_applied`](RawNode::on_applied) after each batch; set [`Config::async_writes`] so that no entry is handed out for
//! application before it is durable here. [`advance`](RawNode::advance) is no more than the two acknowledgements at once.
//!
//! Who knows another core finds its names in `docs/from-etcd.md` and `docs/from-raft-rs.md`.
//!
//! # When something goes wrong
//!
//! A caller's mistake and a peer's are apart: [`ProposeError`], [`ReadError`], [`CampaignError`] and [`AckError`] are about
//! the call; [`StepError`] names how a peer misbehaves. Nothing here panics, and after an `Err` nothing has changed.
//! A read of the storage that fails costs the message that needed it, which is as if the network had lost it.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod batches;
mod config;
mod entry_batches;
mod error;
mod log;
mod membership;
mod progress;
pub mod quorum;
mod raft;
mod raw_node;
mod ready;
mod report;
mod status;
mod storage;
mod trace;

pub use config::{Config, ConfigError};
pub use entry_batches::{EntryBatches, EntryBatchesIter};
pub use error::{
    AckError, BootstrapError, CampaignError, ForgetLeaderError, ProposeError, ReadError,
    SnapshotRequestError, StartError, StepError, TransferError,
};
pub use membership::{ConfChangeError, ConfStateError, Configuration};
pub use raft::invariants::Violation;
pub use raw_node::RawNode;
pub use ready::Ready;
pub use report::{
    ConfChangeProposal, ConfChangeRefusal, Counters, DataLoss, DataLossReport, DroppedRead, Proposal,
    ReadMode, ReadState, RoleKind, SnapshotStatus, SoftState, TransferEnd, TransferOutcome,
};
pub use status::{
    BasicStatus, PeerState, PeerStatus, Status, WhyNotCommitted, WhyNotLeader, WhyPaused, WhyReadWaits,
};
pub use storage::{Inconsistency, InitialState, MemoryStorage, Storage, StorageError};

pub use raft_proto as proto;
pub use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, ConfChange, ConfChangeKind, ConfChangeSingle,
    ConfChangeTransition, ConfChangeV2, ConfState, Entries, Entry, EntryKind, HardState, Heartbeat,
    HeartbeatReply, Index, InstallSnapshot, LogPosition, Message, NodeId, Payload, Propose, ReadIndex,
    ReadIndexReply, RequestVote, Snapshot, SnapshotMetadata, Term, TransferLeader, VoteReply,
};
