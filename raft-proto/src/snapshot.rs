//! Snapshots (§7).

use bytes::Bytes;

use crate::{ConfState, Index, LogPosition, Term};

/// What a snapshot replaces: the log up to a position, with the configuration as of there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotMetadata {
    /// The configuration after the last entry that the snapshot covers.
    pub conf_state: ConfState,
    /// The index of that entry.
    pub index: Index,
    /// The term of that entry (not the current term).
    pub term: Term,
}

/// The state machine as of a position in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// What it replaces.
    pub metadata: SnapshotMetadata,
    /// The application's own bytes: the state itself, or where to fetch it.
    pub data: Bytes,
}

impl Snapshot {
    /// The position of the last entry that it covers.
    pub fn position(&self) -> LogPosition {
        LogPosition { term: self.metadata.term, index: self.metadata.index }
    }
}
