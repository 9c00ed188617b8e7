//! The log as the core reads it.

use std::fmt;
use std::ops::Range;

use raft_proto::{ConfState, Entry, HardState, Index, NodeId, Snapshot, Term};

use super::DiskError;

/// Why something can't be read from the log.
#[derive(Debug)]
pub enum ReadError {
    /// It lies before the log.
    Compacted,
    /// It lies behind the log.
    Unavailable,
    /// There is no snapshot of that index yet.
    NoSnapshot,
    /// The disk failed, or an entry is damaged.
    Disk(DiskError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Compacted => f.write_str("the log is compacted beyond the index"),
            ReadError::Unavailable => f.write_str("the log ends before the index"),
            ReadError::NoSnapshot => f.write_str("there is no such snapshot yet"),
            ReadError::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads the log, beside the thread that writes it. Bounds and terms come from memory, so do the latest entries.
#[derive(Clone, Debug)]
pub struct LogReader {}

impl LogReader {
    /// The hard state that was written last, and the configuration of the latest snapshot (or that of the bootstrap).
    pub fn initial_state(&self) -> (HardState, ConfState) {
        todo!()
    }

    /// The index from which the state machine starts: that of the latest snapshot, or zero. The caller restores the
    /// machine from that snapshot and gives this as the core's `Config::applied`.
    pub fn applied_at_start(&self) -> Index {
        todo!()
    }

    /// The first index that can be read.
    pub fn first_index(&self) -> Index {
        todo!()
    }

    /// The index of the last entry.
    pub fn last_index(&self) -> Index {
        todo!()
    }

    /// The term of an entry, from the one before the first on.
    ///
    /// # Errors
    /// It lies outside the log.
    pub fn term(&self, _index: Index) -> Result<Term, ReadError> {
        todo!()
    }

    /// Appends the entries of the range to `into`, at least one, at most so many encoded bytes.
    ///
    /// # Errors
    /// They lie outside the log, or are damaged.
    pub fn entries(
        &self,
        _range: Range<Index>,
        _max_bytes: u64,
        _into: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        todo!()
    }

    /// The latest snapshot, if it covers `at_least`. If it doesn't, the wish is noted, see
    /// [`wanted_snapshot`](LogReader::wanted_snapshot).
    ///
    /// # Errors
    /// There is none.
    pub fn snapshot(&self, _at_least: Index, _to: NodeId) -> Result<Snapshot, ReadError> {
        todo!()
    }

    /// The latest snapshot.
    pub fn latest_snapshot(&self) -> Option<Snapshot> {
        todo!()
    }

    /// The index that a snapshot must cover that the core asked for in vain since the last call of this. The caller should make one.
    pub fn wanted_snapshot(&self) -> Option<Index> {
        todo!()
    }
}
