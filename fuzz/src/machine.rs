//! The state machine of the simulation: the running hash of everything applied, so that two that differ anywhere differ for
//! ever.

use bytes::Bytes;
use raft_core::{ConfChangeV2, ConfState, Entry, Index, LogPosition, Payload, Snapshot, SnapshotMetadata};

/// A state machine whose state says all about its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The last entry that was applied.
    pub applied: LogPosition,
    /// The hash of all entries so far.
    pub hash: u64,
    /// The configuration after the last entry that was applied.
    pub conf_state: ConfState,
}

impl Machine {
    /// One that has applied nothing.
    pub fn new(conf_state: ConfState) -> Machine {
        Machine { conf_state, ..Machine::default() }
    }

    /// Applies the next entry. The configuration that follows from a change is the core's to say.
    pub fn apply(&mut self, entry: &Entry) {
        self.hash = mix(mix(self.hash, entry.term.get()), entry_hash(entry));
        self.applied = entry.position();
    }

    /// A snapshot of it.
    pub fn snapshot(&self) -> Snapshot {
        let conf_state = self.conf_state.clone();
        Snapshot {
            metadata: SnapshotMetadata { conf_state, index: self.applied.index, term: self.applied.term },
            data: Bytes::copy_from_slice(&self.hash.to_be_bytes()),
        }
    }

    /// The machine that a snapshot was made of.
    pub fn restore(snapshot: &Snapshot) -> Machine {
        let hash = snapshot.data.as_ref().try_into().map_or(0, u64::from_be_bytes);
        Machine { applied: snapshot.position(), hash, conf_state: snapshot.metadata.conf_state.clone() }
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
        Payload::ConfChange(change) => change_hash(seed, &change.to_v2()),
        Payload::ConfChangeV2(change) => change_hash(seed, change),
        Payload::TermStart | Payload::RefusedChange | Payload::LeaveJoint => mix(seed, 1),
    }
}

fn change_hash(seed: u64, change: &ConfChangeV2) -> u64 {
    let seed = mix(seed, change.transition as u64);
    change.changes.iter().fold(seed, |hash, single| {
        mix(mix(hash, single.kind as u64), single.node.map_or(0, raft_core::NodeId::get))
    })
}

/// One step of a hash (FNV-1a over whole words, then a shift to spread it).
pub fn mix(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3);
    hash ^ (hash >> 29)
}
