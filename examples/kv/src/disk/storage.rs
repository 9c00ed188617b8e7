//! The reader as the core's storage.

use std::ops::Range;

use raft_core::{InitialState, Storage, StorageError};
use raft_proto::{Entries, Index, NodeId, Snapshot, Term};

use super::{LogReader, ReadError};

impl From<ReadError> for StorageError {
    fn from(error: ReadError) -> StorageError {
        match error {
            ReadError::Compacted => StorageError::Compacted,
            ReadError::Unavailable => StorageError::Unavailable,
            ReadError::NoSnapshot => StorageError::SnapshotTemporarilyUnavailable,
            ReadError::Disk(error) => StorageError::Other(Box::new(error)),
        }
    }
}

impl Storage for LogReader {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let (hard_state, conf_state) = LogReader::initial_state(self);
        Ok(InitialState { hard_state, conf_state, lost: self.lost() })
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        Ok(LogReader::first_index(self))
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        Ok(LogReader::last_index(self))
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        Ok(LogReader::term(self, index)?)
    }

    fn entries(&self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError> {
        let mut entries = Vec::new();
        LogReader::entries(self, range, max_bytes, &mut entries)?;
        Ok(entries.into())
    }

    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError> {
        Ok(LogReader::snapshot(self, at_least, to)?)
    }
}
