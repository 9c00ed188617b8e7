//! A node's disk: what was written, and how much of it would survive a loss of power.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use raft_core::{
    ConfState, Entry, HardState, Index, InitialState, MemoryStorage, Message, NodeId, Ready, Snapshot,
    Storage, StorageError, Term,
};

/// A write that was handed to the disk and hasn't reached it.
#[derive(Debug)]
pub struct Write {
    /// The number of its `Ready`.
    pub number: u64,
    /// What replaces the log.
    pub snapshot: Option<Snapshot>,
    /// What is appended.
    pub entries: Vec<Entry>,
    /// The hard state.
    pub hard_state: Option<HardState>,
    /// The messages that leave when the write is durable.
    pub messages: Vec<Message>,
}

impl Write {
    /// The write that a `Ready` asks for.
    pub fn of(ready: &mut Ready) -> Write {
        Write {
            number: ready.number,
            snapshot: ready.snapshot.take(),
            entries: std::mem::take(&mut ready.entries),
            hard_state: ready.hard_state,
            messages: std::mem::take(&mut ready.persisted_messages),
        }
    }

    fn apply(&self, storage: &mut MemoryStorage) -> Result<(), StorageError> {
        if let Some(snapshot) = &self.snapshot {
            storage.apply_snapshot(snapshot.clone())?;
        }
        storage.append(&self.entries)?;
        if let Some(hard_state) = self.hard_state {
            storage.set_hard_state(hard_state);
        }
        Ok(())
    }
}

/// The state behind a [`Disk`].
#[derive(Debug, Default)]
pub struct DiskState {
    /// What survives.
    pub durable: MemoryStorage,
    /// Writes on their way, in order. A crash loses any suffix of them.
    pub queue: VecDeque<Write>,
    /// How many of the next reads fail.
    pub failing_reads: u32,
    /// A newer snapshot was asked for than there is.
    pub wants_snapshot: bool,
}

/// A disk that a node reads while the simulation writes to it.
#[derive(Clone, Debug, Default)]
pub struct Disk(Rc<RefCell<DiskState>>);

impl Disk {
    /// An empty disk of a node that starts in this configuration.
    pub fn new(conf_state: ConfState) -> Disk {
        let durable = MemoryStorage::with_conf_state(conf_state);
        Disk(Rc::new(RefCell::new(DiskState { durable, ..DiskState::default() })))
    }

    /// The disk of a node whose cluster began with this snapshot: who joins later can't have the log from its beginning.
    ///
    /// # Errors
    /// It isn't a snapshot.
    pub fn founded(snapshot: Snapshot) -> Result<Disk, StorageError> {
        let disk = Disk::new(ConfState::default());
        let position = snapshot.position();
        {
            let durable = &mut disk.0.borrow_mut().durable;
            durable.apply_snapshot(snapshot)?;
            durable.set_hard_state(HardState { term: position.term, vote: None, commit: position.index });
        }
        Ok(disk)
    }

    /// Hands a write to the disk.
    pub fn submit(&self, write: Write) {
        self.0.borrow_mut().queue.push_back(write);
    }

    /// How many writes are on their way.
    pub fn queued(&self) -> usize {
        self.0.borrow().queue.len()
    }

    /// The oldest write reaches the disk.
    ///
    /// # Errors
    /// The write doesn't fit what is there: the core asked for nonsense.
    pub fn complete_one(&self) -> Result<Option<Write>, StorageError> {
        let mut state = self.0.borrow_mut();
        let Some(write) = state.queue.pop_front() else { return Ok(None) };
        write.apply(&mut state.durable)?;
        Ok(Some(write))
    }

    /// Power is lost: of the writes on their way the first `survive` have reached the disk, the rest is gone.
    ///
    /// # Errors
    /// As [`complete_one`](Disk::complete_one).
    pub fn crash(&self, survive: usize) -> Result<(), StorageError> {
        for _ in 0..survive {
            self.complete_one()?;
        }
        self.0.borrow_mut().queue.clear();
        Ok(())
    }

    /// The next reads fail.
    pub fn fail_reads(&self, count: u32) {
        self.0.borrow_mut().failing_reads = count;
    }

    /// Was a newer snapshot asked for than there is, since this was asked last?
    pub fn take_wants_snapshot(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().wants_snapshot)
    }

    /// Keeps a snapshot of the state machine, durably, and drops the log up to `compact`.
    pub fn keep_snapshot(&self, snapshot: Snapshot, compact: Index) {
        let mut state = self.0.borrow_mut();
        state.durable.set_snapshot(snapshot);
        // Nothing to drop is fine.
        let _ = state.durable.compact(compact);
    }

    /// The newest snapshot that a restart would begin from.
    pub fn newest_snapshot(&self) -> Option<Snapshot> {
        let state = self.0.borrow();
        state.durable.snapshot(Index::ZERO, NodeId::new(1)?).ok()
    }

    /// The durable part.
    pub fn with_durable<T>(&self, look: impl FnOnce(&MemoryStorage) -> T) -> T {
        look(&self.0.borrow().durable)
    }

    /// The term of the entry at `index`, as far as it was handed to the disk: the log as its node sees it, right after a
    /// `Ready` was taken.
    pub fn written_term(&self, index: Index) -> Option<Term> {
        let state = self.0.borrow();
        for write in state.queue.iter().rev() {
            if let Some(entry) = write.entries.iter().find(|entry| entry.index == index) {
                return Some(entry.term);
            }
            if write.entries.first().is_some_and(|first| first.index < index) {
                return None; // cut off by this write
            }
            if let Some(snapshot) = &write.snapshot {
                let metadata = &snapshot.metadata;
                return (metadata.index == index).then_some(metadata.term);
            }
        }
        state.durable.term(index).ok()
    }

    /// The index before the first entry that is still held.
    pub fn compacted_to(&self) -> Index {
        let state = self.0.borrow();
        let snapshot = state.queue.iter().rev().find_map(|write| write.snapshot.as_ref());
        match snapshot {
            Some(snapshot) => snapshot.metadata.index,
            None => state.durable.first_index().map_or(Index::ZERO, Index::prev),
        }
    }

    /// Is a snapshot on its way?
    pub fn has_snapshot_queued(&self) -> bool {
        self.0.borrow().queue.iter().any(|write| write.snapshot.is_some())
    }

    /// Sets the configuration that a restart begins with.
    pub fn set_conf_state(&self, conf_state: ConfState) {
        self.0.borrow_mut().durable.set_conf_state(conf_state);
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&MemoryStorage) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut state = self.0.borrow_mut();
        if state.failing_reads > 0 {
            state.failing_reads -= 1;
            return Err(StorageError::Fetching);
        }
        look(&state.durable)
    }
}

impl Storage for Disk {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.0.borrow().durable.initial_state()
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        self.read(MemoryStorage::first_index)
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        self.read(MemoryStorage::last_index)
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        self.read(|storage| storage.term(index))
    }

    fn entries(
        &self,
        range: Range<Index>,
        max_bytes: u64,
        into: &mut Vec<Entry>,
    ) -> Result<(), StorageError> {
        self.read(|storage| storage.entries(range, max_bytes, into))
    }

    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError> {
        let result = self.read(|storage| storage.snapshot(at_least, to));
        if matches!(result, Err(StorageError::SnapshotTemporarilyUnavailable)) {
            self.0.borrow_mut().wants_snapshot = true;
        }
        result
    }
}
