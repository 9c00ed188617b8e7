//! A node's disk: what was written, how much of it would survive a loss of power, and what it gives back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use raft_core::{
    ConfState, Entry, HardState, Index, InitialState, MemoryStorage, NodeId, Ready, Snapshot, Storage,
    StorageError, Term,
};

/// How reads fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// What is asked for is being fetched.
    Fetching,
    /// The disk reports an error.
    Error,
}

/// The state behind a [`Disk`].
#[derive(Debug, Default)]
struct DiskState {
    stored: MemoryStorage,
    /// The hard state as of the last sync.
    synced: HardState,
    /// Writes on their way, in order. A crash loses any suffix of them.
    queue: VecDeque<Ready>,
    /// How many of the next reads fail, and how.
    failing: u32,
    fault: Option<ReadFault>,
    /// A read failed so since this was asked last.
    was_fetching: bool,
    /// A newer snapshot was asked for than there is.
    wants_snapshot: bool,
}

impl DiskState {
    fn write(&mut self, ready: &Ready) -> Result<(), StorageError> {
        self.stored.persist(ready)?;
        if ready.must_sync {
            self.synced = self.stored.hard_state();
        }
        Ok(())
    }

    fn complete_one(&mut self) -> Result<Option<Ready>, StorageError> {
        let Some(ready) = self.queue.pop_front() else { return Ok(None) };
        self.write(&ready)?;
        Ok(Some(ready))
    }
}

/// A disk that a node reads while the simulation writes to it.
#[derive(Clone, Debug, Default)]
pub struct Disk(Rc<RefCell<DiskState>>);

impl Disk {
    /// An empty disk of a node that starts in this configuration.
    pub fn new(conf_state: ConfState) -> Disk {
        let stored = MemoryStorage::with_conf_state(conf_state);
        Disk(Rc::new(RefCell::new(DiskState { stored, ..DiskState::default() })))
    }

    /// The disk of a node whose cluster began with this snapshot: who joins later can't have the log from its beginning.
    ///
    /// # Errors
    /// It isn't a snapshot.
    pub fn founded(snapshot: &Snapshot) -> Result<Disk, StorageError> {
        let disk = Disk::new(ConfState::default());
        let position = snapshot.position();
        {
            let DiskState { stored, synced, .. } = &mut *disk.0.borrow_mut();
            stored.apply_snapshot(snapshot.clone())?;
            *synced = HardState { term: position.term, vote: None, commit: position.index };
            stored.set_hard_state(*synced);
        }
        Ok(disk)
    }

    /// Hands what a `Ready` asks to be written to the disk.
    pub fn submit(&self, ready: Ready) {
        self.0.borrow_mut().queue.push_back(ready);
    }

    /// How many writes are on their way.
    pub fn queued(&self) -> usize {
        self.0.borrow().queue.len()
    }

    /// Writes what a `Ready` asks for, at once.
    ///
    /// # Errors
    /// The write doesn't fit what is there: the core asked for nonsense.
    pub fn write_now(&self, ready: &Ready) -> Result<(), StorageError> {
        self.0.borrow_mut().write(ready)
    }

    /// The oldest write reaches the disk.
    ///
    /// # Errors
    /// As [`write_now`](Disk::write_now).
    pub fn complete_one(&self) -> Result<Option<Ready>, StorageError> {
        self.0.borrow_mut().complete_one()
    }

    /// Power is lost: of the writes on their way the first `survive` have reached the disk, the rest is gone, the first of it
    /// perhaps half written, which its checksum tells when the disk is read again. What wasn't synced is lost too.
    ///
    /// # Errors
    /// As [`write_now`](Disk::write_now).
    pub fn crash(&self, survive: usize) -> Result<(), StorageError> {
        let mut state = self.0.borrow_mut();
        for _ in 0..survive {
            state.complete_one()?;
        }
        state.queue.clear();
        let synced = state.synced;
        state.stored.set_hard_state(synced);
        (state.failing, state.was_fetching, state.wants_snapshot) = (0, false, false);
        Ok(())
    }

    /// The vote is lost, though it was said to be durable.
    pub fn lose_vote(&self) {
        let DiskState { stored, synced, .. } = &mut *self.0.borrow_mut();
        synced.vote = None;
        stored.set_hard_state(*synced);
    }

    /// The next reads fail.
    pub fn fail_reads(&self, count: u32, fault: ReadFault) {
        let mut state = self.0.borrow_mut();
        (state.failing, state.fault) = (count, Some(fault));
    }

    /// Was anything to be fetched, since this was asked last?
    pub fn take_was_fetching(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().was_fetching)
    }

    /// Was a newer snapshot asked for than there is, since this was asked last?
    pub fn take_wants_snapshot(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().wants_snapshot)
    }

    /// Keeps a snapshot of the state machine, durably, and drops the log up to `compact`.
    pub fn keep_snapshot(&self, snapshot: Snapshot, compact: Index) {
        let mut state = self.0.borrow_mut();
        state.stored.set_snapshot(snapshot);
        // Nothing to drop is fine.
        let _ = state.stored.compact(compact);
    }

    /// The newest snapshot that a restart would begin from.
    pub fn newest_snapshot(&self) -> Option<Snapshot> {
        self.0.borrow().stored.snapshot(Index::ZERO, NodeId::new(1)?).ok()
    }

    /// What would survive a loss of power, as far as the log goes.
    pub fn look<T>(&self, look: impl FnOnce(&MemoryStorage) -> T) -> T {
        look(&self.0.borrow().stored)
    }

    /// The hard state that would survive a loss of power.
    pub fn synced(&self) -> HardState {
        self.0.borrow().synced
    }

    /// The durable term at `index`; nothing if there is no such entry, or no longer.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.0.borrow().stored.term(index).ok()
    }

    /// Is this entry durable here, or covered by what was compacted away?
    pub fn holds(&self, index: Index, term: Term) -> bool {
        match self.0.borrow().stored.term(index) {
            Ok(stored) => stored == term,
            Err(error) => matches!(error, StorageError::Compacted),
        }
    }

    /// The last index that is durable.
    pub fn last(&self) -> Index {
        self.look(|stored| stored.last_index().unwrap_or_default())
    }

    /// The snapshot that was handed to the disk and hasn't reached it.
    pub fn queued_snapshot(&self) -> Option<Index> {
        let state = self.0.borrow();
        let mut queue = state.queue.iter().rev();
        queue.find_map(|ready| ready.snapshot.as_ref()).map(|snapshot| snapshot.metadata.index)
    }

    /// Sets the configuration that a restart begins with.
    pub fn set_conf_state(&self, conf_state: ConfState) {
        self.0.borrow_mut().stored.set_conf_state(conf_state);
    }

    fn read<T>(
        &self,
        look: impl FnOnce(&MemoryStorage) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut state = self.0.borrow_mut();
        if state.failing > 0 {
            state.failing -= 1;
            return Err(match state.fault {
                Some(ReadFault::Error) => StorageError::Other("the disk can't be read".into()),
                Some(ReadFault::Fetching) | None => {
                    state.was_fetching = true;
                    StorageError::Fetching
                }
            });
        }
        look(&state.stored)
    }
}

impl Storage for Disk {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.0.borrow().stored.initial_state()
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        self.read(MemoryStorage::first_index)
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        self.read(MemoryStorage::last_index)
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        self.read(|stored| stored.term(index))
    }

    fn entries(
        &self,
        range: Range<Index>,
        max_bytes: u64,
        into: &mut Vec<Entry>,
    ) -> Result<(), StorageError> {
        self.read(|stored| stored.entries(range, max_bytes, into))
    }

    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError> {
        let result = self.read(|stored| stored.snapshot(at_least, to));
        if matches!(result, Err(StorageError::SnapshotTemporarilyUnavailable)) {
            self.0.borrow_mut().wants_snapshot = true;
        }
        result
    }
}
