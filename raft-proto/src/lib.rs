//! The messages of Raft.
//!
//! Two layers (see `raft-core/ARCHITECTURE.md`):
//!
//! * plain Rust types, one struct for each RPC of the paper, which admit only sense: an absent node is
//!   `None` and never zero, an answer is an enum, a configuration change is already decoded;
//! * behind the feature `wire`, their protobuf encoding. It is that of etcd's `raftpb`, so nodes of both kinds can form one
//!   cluster.
//!
//! `raft-core` uses the first layer only.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod conf_change;
mod entries;
mod entry;
mod ids;
mod message;
mod snapshot;
mod state;
#[cfg(feature = "wire")]
pub mod wire;

pub use conf_change::{ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2};
pub use entries::Entries;
pub use entry::{Entry, EntryKind, Payload};
pub use ids::{Index, LogPosition, NodeId, Term};
pub use message::{
    AppendEntries, AppendEntriesReply, Body, Heartbeat, HeartbeatReply, InstallSnapshot, Message, Propose,
    ReadIndex, ReadIndexReply, RequestVote, TransferLeader, VoteReply,
};
pub use snapshot::{Snapshot, SnapshotMetadata};
pub use state::{ConfState, HardState};
