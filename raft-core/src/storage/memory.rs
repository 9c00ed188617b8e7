//! A storage in memory, for tests, examples and simulations.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use raft_proto::{ConfState, Entry, HardState, Index, LogPosition, NodeId, Snapshot, Term};

use super::{InitialState, Storage, StorageError};
use crate::report::DataLoss;

/// A log in memory. It outlives the [`RawNode`](crate::RawNode) only if the caller keeps it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    hard_state: HardState,
    conf_state: ConfState,
    snapshot: Option<Box<Snapshot>>,
    /// The last entry that was compacted away.
    before: LogPosition,
    entries: Vec<Entry>,
    lost: Option<Box<DataLoss>>,
}

impl MemoryStorage {
    /// An empty log whose configuration is that of these voters.
    pub fn with_voters(voters: impl IntoIterator<Item = NodeId>) -> MemoryStorage {
        MemoryStorage::with_conf_state(ConfState::of_voters(voters))
    }

    /// An empty log with this configuration.
    pub fn with_conf_state(conf_state: ConfState) -> MemoryStorage {
        MemoryStorage { conf_state, ..MemoryStorage::default() }
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
        self.conf_state = conf_state;
    }

    /// Appends entries; from the first of them on, they replace what is there. Those that are compacted away are
    /// skipped.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] if they would leave a gap.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), StorageError> {
        if entries.is_empty() {
            return Ok(());
        }
        let skip = entries.iter().take_while(|entry| entry.index <= self.before.index).count();
        let Some(entries) = entries.get(skip..) else { return Ok(()) };
        let Some(first) = entries.first() else { return Ok(()) };
        if first.index > self.last().next() {
            return Err(StorageError::Unavailable);
        }
        self.entries.truncate(self.offset(first.index));
        if self.entries.capacity() == 0 {
            self.entries.reserve_exact(entries.len());
        }
        self.entries.extend_from_slice(entries);
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
        self.before = snapshot.position();
        self.entries.clear();
        self.conf_state = snapshot.metadata.conf_state.clone();
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
        if index <= self.before.index {
            return Err(StorageError::Compacted);
        }
        self.entries.drain(..self.offset(index.next()));
        self.before = LogPosition::new(term, index);
        Ok(())
    }

    /// The stored hard state.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The entries that are stored.
    pub fn all_entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The index that the snapshot covers; zero without one.
    fn snapshot_index(&self) -> Index {
        self.snapshot.as_ref().map_or(Index::ZERO, |snapshot| snapshot.metadata.index)
    }

    fn last(&self) -> Index {
        self.entries.last().map_or(self.before.index, |entry| entry.index)
    }

    /// Where the entry at `index` stands, or would stand.
    fn offset(&self, index: Index) -> usize {
        usize::try_from(index.since(self.before.index.next())).unwrap_or(usize::MAX).min(self.entries.len())
    }
}

impl Storage for MemoryStorage {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        Ok(InitialState {
            hard_state: self.hard_state,
            conf_state: self.conf_state.clone(),
            lost: self.lost.as_deref().copied(),
        })
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        Ok(self.before.index.next())
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        Ok(self.last())
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        if index < self.before.index {
            return Err(StorageError::Compacted);
        }
        if index == self.before.index {
            return Ok(self.before.term);
        }
        self.entries.get(self.offset(index)).map(|entry| entry.term).ok_or(StorageError::Unavailable)
    }

    fn entries(
        &self,
        range: Range<Index>,
        max_bytes: u64,
        into: &mut Vec<Entry>,
    ) -> Result<(), StorageError> {
        if range.start <= self.before.index {
            return Err(StorageError::Compacted);
        }
        if range.end > self.last().next() {
            return Err(StorageError::Unavailable);
        }
        let wanted = self.entries.get(self.offset(range.start)..self.offset(range.end)).unwrap_or_default();
        let mut bytes: u64 = 0;
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(entry.encoded_len());
            is_first || bytes <= max_bytes
        };
        let count = wanted.iter().take_while(fits).count();
        into.extend(wanted.iter().take(count).cloned());
        Ok(())
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
