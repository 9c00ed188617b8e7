//! A sans-IO Raft core.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
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
pub use error::{AckError, CampaignError, ProposeError, ReadError, StartError, StepError};
pub use membership::{ConfStateError, Configuration};
pub use raft::invariants::Violation;
pub use raw_node::RawNode;
pub use ready::Ready;
pub use report::{Counters, DroppedRead, Proposal, ReadMode, ReadState, RoleKind, SnapshotStatus, SoftState};
pub use status::{PeerState, PeerStatus, Status};
pub use storage::{Inconsistency, InitialState, MemoryStorage, Storage, StorageError};

pub use raft_proto as proto;
pub use raft_proto::{
    Body, ConfState, Entries, Entry, EntryKind, HardState, Index, LogPosition, Message, NodeId, Payload,
    Snapshot, SnapshotMetadata, Term,
};
