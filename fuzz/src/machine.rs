//! The state machine of the simulation: the running hash of everything applied, so that two that differ anywhere differ for
//! ever.

use bytes::Bytes;
use raft_core::{ConfState, Entry, Index, LogPosition, Payload, Snapshot, SnapshotMetadata};

/// A state machine whose state says all about its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The last entry that was applied.
    pub applied: LogPosition,
    /// The hash of all entries so far.
    pub hash: u64,
}

impl Machine {
    /// Applies the next entry.
    pub fn apply(&mut self, entry: &Entry) {
        self.hash = mix(mix(self.hash, entry.term.get()), entry_hash(entry));
        self.applied = entry.position();
    }

    /// A snapshot of it.
    pub fn snapshot(&self, conf_state: ConfState) -> Snapshot {
        Snapshot {
            metadata: SnapshotMetadata { conf_state, index: self.applied.index, term: self.applied.term },
            data: Bytes::copy_from_slice(&self.hash.to_be_bytes()),
        }
    }

    /// The machine that a snapshot was made of.
    pub fn restore(snapshot: &Snapshot) -> Machine {
        let hash = snapshot.data.as_ref().try_into().map_or(0, u64::from_be_bytes);
        Machine { applied: snapshot.position(), hash }
    }

    /// The last index that was applied.
    pub fn index(&self) -> Index {
        self.applied.index
    }
}

/// A hash of what an entry holds.
pub fn entry_hash(entry: &Entry) -> u64 {
    let seed = mix(entry.index.get(), entry.kind() as u64);
    match &entry.payload {
        Payload::Normal(data) => data.iter().fold(seed, |hash, byte| mix(hash, u64::from(*byte))),
        Payload::ConfChange(_) | Payload::ConfChangeV2(_) => seed,
    }
}

/// One step of a hash (FNV-1a over whole words, then a shift to spread it).
pub fn mix(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3);
    hash ^ (hash >> 29)
}
