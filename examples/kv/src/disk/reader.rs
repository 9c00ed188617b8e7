//! The log as the core reads it.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use raft_core::DataLoss;
use raft_proto::{ConfState, Entry, HardState, Index, NodeId, Snapshot, Term};

use super::DiskError;
use super::engine::Engine;
use super::folder::Folder;
use super::index::LogIndex;
use super::record::State;

/// Why something can't be read from the log.
#[derive(Debug)]
#[non_exhaustive]
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

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Disk(error) => Some(error),
            _ => None,
        }
    }
}

/// Reads the log, beside the thread that writes it. Bounds and terms come from memory, so do the latest entries.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// What the reader and the writer have in common.
#[derive(Debug)]
pub(super) struct Shared {
    /// Dropped before the folder, so that the engine's file is closed while the folder is still locked.
    pub(super) engine: Engine,
    view: RwLock<View>,
    /// The index that a snapshot was asked for in vain; zero if none was.
    wanted_snapshot: AtomicU64,
    applied_at_start: Index,
    pub(super) folder: Arc<Folder>,
}

/// What can be read now.
///
/// The writer takes away from it *before* it commits and adds to it *after*. A reader opens its transaction on the
/// engine while it holds this, so the engine has everything that the view promised it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) index: LogIndex,
    pub(super) recent: Recent,
    pub(super) state: State,
}

impl Shared {
    pub(super) fn new(engine: Engine, folder: Arc<Folder>, view: View) -> Shared {
        let applied_at_start = view.state.snapshot.as_ref().map_or(Index::ZERO, |s| s.metadata.index);
        Shared {
            engine,
            view: RwLock::new(view),
            wanted_snapshot: AtomicU64::new(0),
            applied_at_start,
            folder,
        }
    }

    // Nothing panics while it holds the lock; if something did, the view is still one of those between two steps.
    pub(super) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> LogReader {
        LogReader { shared }
    }

    /// The hard state that was written last, and the configuration of the latest snapshot (or that of the
    /// bootstrap).
    pub fn initial_state(&self) -> (HardState, ConfState) {
        let view = self.shared.view();
        (view.state.hard_state, view.state.conf_state().clone())
    }

    /// What the node has lost of what it had acknowledged, as was written last.
    pub fn lost(&self) -> Option<DataLoss> {
        self.shared.view().state.lost
    }

    /// The index from which the state machine starts: that of the latest snapshot when the folder was opened,
    /// or zero. The caller restores the machine from that snapshot and gives this as the core's
    /// `Config::applied`.
    pub fn applied_at_start(&self) -> Index {
        self.shared.applied_at_start
    }

    /// The first index that can be read.
    pub fn first_index(&self) -> Index {
        self.shared.view().index.base().index.next()
    }

    /// The index of the last entry.
    pub fn last_index(&self) -> Index {
        self.shared.view().index.last()
    }

    /// How many writes this folder has seen, each with one flush, however many entries it brought: the number of the
    /// last, see [`LogWriter::last_write`](super::LogWriter::last_write).
    pub fn last_write(&self) -> u64 {
        self.shared.view().state.number
    }

    /// The term of an entry, from the one before the first on.
    ///
    /// # Errors
    /// It lies outside the log.
    pub fn term(&self, index: Index) -> Result<Term, ReadError> {
        self.shared.view().index.term(index)
    }

    /// Appends the entries of the range to `into`, at least one, at most so many encoded bytes.
    ///
    /// # Errors
    /// They lie outside the log, or are damaged.
    pub fn entries(
        &self,
        range: Range<Index>,
        max_bytes: u64,
        into: &mut Vec<Entry>,
    ) -> Result<(), ReadError> {
        if range.is_empty() {
            return Ok(());
        }
        let disk = |error: super::engine::EngineError| ReadError::Disk(error.at(self.shared.folder.dir()));
        let (engine, recent, from_engine) = {
            let view = self.shared.view();
            if range.start <= view.index.base().index {
                return Err(ReadError::Compacted);
            }
            if range.end > view.index.last().next() {
                return Err(ReadError::Unavailable);
            }
            let split = view.recent.first().map_or(range.end, |first| first.clamp(range.start, range.end));
            if split == range.start {
                view.recent.entries(range, max_bytes, true, into);
                return Ok(());
            }
            // Those that follow in memory, for the case that the limit isn't met before.
            let mut recent = Vec::new();
            view.recent.entries(split..range.end, max_bytes, false, &mut recent);
            (self.shared.engine.view().map_err(disk)?, recent, range.start..split)
        };
        if let Some(mut left) = engine.entries(from_engine, max_bytes, into).map_err(disk)? {
            for entry in recent {
                let Some(rest) = left.checked_sub(entry.encoded_len()) else { break };
                left = rest;
                into.push(entry);
            }
        }
        Ok(())
    }

    /// The latest snapshot, if it covers `at_least`. If it doesn't, the wish is noted, see
    /// [`wanted_snapshot`](LogReader::wanted_snapshot).
    ///
    /// # Errors
    /// There is none.
    pub fn snapshot(&self, at_least: Index, _to: NodeId) -> Result<Snapshot, ReadError> {
        match self.latest_snapshot() {
            Some(snapshot) if snapshot.metadata.index >= at_least => Ok(snapshot),
            _ => {
                self.shared.wanted_snapshot.fetch_max(at_least.get().max(1), Ordering::Relaxed);
                Err(ReadError::NoSnapshot)
            }
        }
    }

    /// The latest snapshot.
    pub fn latest_snapshot(&self) -> Option<Snapshot> {
        self.shared.view().state.snapshot.clone()
    }

    /// The index that a snapshot must cover that the core asked for in vain since the last call of this. The
    /// caller should make one.
    pub fn wanted_snapshot(&self) -> Option<Index> {
        match self.shared.wanted_snapshot.swap(0, Ordering::Relaxed) {
            0 => None,
            index => Some(Index::new(index)),
        }
    }
}

/// The latest entries, consecutive, as many as fit a number of bytes.
#[derive(Debug)]
pub(super) struct Recent {
    entries: VecDeque<Entry>,
    bytes: u64,
    limit: u64,
}

impl Recent {
    pub(super) fn new(limit: u64) -> Recent {
        Recent { entries: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn first(&self) -> Option<Index> {
        self.entries.front().map(|entry| entry.index)
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Forgets the entries behind this one.
    pub(super) fn truncate(&mut self, last: Index) {
        while self.entries.back().is_some_and(|entry| entry.index > last) {
            let gone = self.entries.pop_back().map_or(0, |entry| entry.encoded_len());
            self.bytes = self.bytes.saturating_sub(gone);
        }
    }

    /// Forgets the entries up to this one.
    pub(super) fn compact(&mut self, to: Index) {
        while self.entries.front().is_some_and(|entry| entry.index <= to) {
            self.pop_oldest();
        }
    }

    /// Puts an entry behind the last. What doesn't follow on it takes the place of everything.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.back().is_some_and(|last| last.index.next() != entry.index) {
            self.clear();
        }
        self.bytes = self.bytes.saturating_add(entry.encoded_len());
        self.entries.push_back(entry);
        while self.bytes > self.limit {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) {
        let gone = self.entries.pop_front().map_or(u64::MAX, |entry| entry.encoded_len());
        self.bytes = self.bytes.saturating_sub(gone);
    }

    fn entries(&self, range: Range<Index>, max_bytes: u64, at_least_one: bool, into: &mut Vec<Entry>) {
        let Some(first) = self.first() else { return };
        let skip = usize::try_from(range.start.since(first)).unwrap_or(usize::MAX);
        let count = usize::try_from(range.end.since(range.start)).unwrap_or(usize::MAX);
        let mut left = max_bytes;
        let mut must = at_least_one;
        for entry in self.entries.iter().skip(skip).take(count) {
            match left.checked_sub(entry.encoded_len()) {
                Some(rest) => left = rest,
                None if must => left = 0,
                None => break,
            }
            must = false;
            into.push(entry.clone());
        }
    }
}
