//! A storage in memory, for tests, examples and simulations.

use alloc::boxed::Box;
use core::ops::Range;

use raft_proto::{ConfState, Entries, Entry, HardState, Index, LogPosition, NodeId, Snapshot, Term};

use super::{InitialState, Storage, StorageError};
use crate::batches::Batches;
use crate::report::DataLoss;

/// A log in memory. It outlives the [`RawNode`](crate::RawNode) only if the caller keeps it.
///
/// It shares the batches that it is given, and gives them out again without a copy where it can.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    hard_state: HardState,
    conf_state: Members,
    snapshot: Option<Box<Snapshot>>,
    /// They begin behind the last entry that was compacted away.
    log: Batches,
    lost: Option<Box<DataLoss>>,
}

/// A configuration in little room: nearly every one is of voters alone.
#[derive(Clone, Debug)]
enum Members {
    Voters(Box<[NodeId]>),
    Any(Box<ConfState>),
}

impl Default for Members {
    fn default() -> Members {
        Members::Voters(Box::default())
    }
}

impl From<ConfState> for Members {
    fn from(state: ConfState) -> Members {
        let ConfState { voters, learners, voters_outgoing, learners_next, auto_leave } = &state;
        if learners.is_empty() && voters_outgoing.is_empty() && learners_next.is_empty() && !auto_leave {
            Members::Voters(voters.as_slice().into())
        } else {
            Members::Any(Box::new(state))
        }
    }
}

impl Members {
    fn to_conf_state(&self) -> ConfState {
        match self {
            Members::Voters(voters) => ConfState { voters: voters.to_vec(), ..ConfState::default() },
            Members::Any(state) => ConfState::clone(state),
        }
    }
}

impl MemoryStorage {
    /// An empty log whose configuration is that of these voters.
    pub fn with_voters(voters: impl IntoIterator<Item = NodeId>) -> MemoryStorage {
        MemoryStorage::with_conf_state(ConfState::of_voters(voters))
    }

    /// An empty log with this configuration.
    pub fn with_conf_state(conf_state: ConfState) -> MemoryStorage {
        MemoryStorage { conf_state: conf_state.into(), ..MemoryStorage::default() }
    }

    /// Sets the hard state.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Sets what the node has lost of what it had acknowledged.
    pub fn set_lost(&mut self, lost: Option<DataLoss>) {
        self.lost = lost.map(Box::new);
    }

    /// Sets the configuration as of the last entry applied.
    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state.into();
    }

    /// Appends entries; from the first of them on, they replace what is there. Those that are compacted away are
    /// skipped.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if they would leave a gap.
    pub fn append(&mut self, entries: &Entries) -> Result<(), StorageError> {
        let Some(first) = entries.first().map(|entry| entry.index) else { return Ok(()) };
        let before = self.log.before().index;
        if first <= before {
            let skip = entries.iter().take_while(|entry| entry.index <= before).count();
            return self.append(&entries.slice(skip..));
        }
        if first > self.log.last().index.next() {
            return Err(StorageError::Unavailable);
        }
        self.log.cut_behind(first.prev());
        self.log.push(entries.clone());
        Ok(())
    }

    /// Replaces the log by a snapshot, whose configuration becomes the stored one.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] if there is one already that covers more, or this one covers nothing.
    pub fn apply_snapshot(&mut self, snapshot: Snapshot) -> Result<(), StorageError> {
        let index = snapshot.metadata.index;
        if index < self.snapshot_index() || index.is_zero() {
            return Err(StorageError::Compacted);
        }
        self.log = Batches::behind(snapshot.position());
        self.conf_state = snapshot.metadata.conf_state.clone().into();
        self.hard_state.commit = self.hard_state.commit.max(snapshot.metadata.index);
        self.set_snapshot(snapshot);
        Ok(())
    }

    /// Keeps a snapshot that the application made of its own state; the log stays.
    pub fn set_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(Box::new(snapshot));
    }

    /// Drops the entries up to and including `index`.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] if they are gone already, [`StorageError::Unavailable`] beyond the last one.
    pub fn compact(&mut self, index: Index) -> Result<(), StorageError> {
        let term = self.term(index)?;
        if index <= self.log.before().index {
            return Err(StorageError::Compacted);
        }
        self.log.drop_up_to(LogPosition::new(term, index));
        Ok(())
    }

    /// The stored hard state.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The entries that are stored, in order.
    pub fn all_entries(&self) -> impl Iterator<Item = &Entry> {
        self.log.from(self.log.before().index.next())
    }

    /// The index that the snapshot covers; zero without one.
    fn snapshot_index(&self) -> Index {
        self.snapshot.as_ref().map_or(Index::ZERO, |snapshot| snapshot.metadata.index)
    }
}

impl Storage for MemoryStorage {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        Ok(InitialState {
            hard_state: self.hard_state,
            conf_state: self.conf_state.to_conf_state(),
            lost: self.lost.as_deref().copied(),
        })
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        Ok(self.log.before().index.next())
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        Ok(self.log.last().index)
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        if index < self.log.before().index {
            return Err(StorageError::Compacted);
        }
        self.log.term(index).ok_or(StorageError::Unavailable)
    }

    fn entries(&self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError> {
        if range.start <= self.log.before().index {
            return Err(StorageError::Compacted);
        }
        if range.end > self.log.last().index.next() {
            return Err(StorageError::Unavailable);
        }
        Ok(if range.is_empty() { Entries::default() } else { self.log.page(range, max_bytes) })
    }

    fn snapshot(&self, at_least: Index, _to: NodeId) -> Result<Snapshot, StorageError> {
        match &self.snapshot {
            Some(snapshot) if snapshot.metadata.index >= at_least && !snapshot.metadata.index.is_zero() => {
                Ok(Snapshot::clone(snapshot))
            }
            Some(_) | None => Err(StorageError::SnapshotTemporarilyUnavailable),
        }
    }
}
