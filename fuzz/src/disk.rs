//! A node's disk: what was written, how much of it would survive a loss of power, and what it gives back.

mod store;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use raft_core::{
    ConfState, Entries, HardState, Index, InitialState, LogPosition, MemoryStorage, NodeId, Ready, Snapshot,
    Storage, StorageError, Term,
};

use crate::oracle::{Check, broken};

pub use store::{Expected, Store};

/// How reads fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// What is asked for is being fetched.
    Fetching,
    /// The disk reports an error.
    Error,
}

/// The state behind a [`Disk`].
#[derive(Debug)]
struct DiskState<S> {
    /// What is on it.
    stored: MemoryStorage,
    /// The hard state as of the last sync.
    synced: HardState,
    /// A storage that is to hold the same, and is read in its place.
    store: S,
    node: NodeId,
    /// The configuration that it was made with.
    at_first: ConfState,
    /// Writes on their way, in order. A crash loses any suffix of them.
    queue: VecDeque<Ready>,
    /// It gives no more entries than this at a time.
    page: usize,
    /// How many of the next reads fail, and how.
    failing: u32,
    fault: Option<ReadFault>,
    /// A read failed so since this was asked last.
    was_fetching: bool,
    /// A newer snapshot was asked for than there is.
    wants_snapshot: bool,
    /// How often a snapshot was asked for.
    snapshots_asked: u64,
    /// The storage couldn't read, for this reason, though nothing was to fail.
    failure: Option<String>,
}

impl<S: Store> DiskState<S> {
    /// The write doesn't fit what is there: the core asked for nonsense.
    fn fits<T>(&self, result: Result<T, StorageError>) -> Check<T> {
        result.or_else(|error| {
            broken("11", format!("a write doesn't fit the disk of node {}: {error}", self.node))
        })
    }

    /// The storage does what it is asked to.
    fn done<T>(&self, result: Result<T, String>) -> Check<T> {
        result.or_else(|why| broken("storage", format!("that of node {} fails: {why}", self.node)))
    }

    fn write(&mut self, ready: &Ready) -> Check {
        let result = self.stored.persist(ready);
        self.fits(result)?;
        let result = self.store.write(ready);
        self.done(result)?;
        if ready.must_sync {
            self.synced = self.stored.hard_state();
        }
        if let Err(why) = self.store.compare_end(&self.stored) {
            return broken("11", format!("the storage of node {} after a write: {why}", self.node));
        }
        self.compact_as_there()
    }

    fn complete_one(&mut self) -> Check<Option<Ready>> {
        let Some(ready) = self.queue.pop_front() else { return Ok(None) };
        self.write(&ready)?;
        Ok(Some(ready))
    }

    /// Drops what the storage has dropped.
    fn compact_as_there(&mut self) -> Check {
        let own = self.fits(self.stored.first_index())?;
        let first = self.done(self.store.first(own))?;
        if first == own {
            return Ok(());
        }
        let snapshot = newest(&self.stored).map_or(Index::ZERO, |snapshot| snapshot.metadata.index);
        if first < own || first > snapshot.next() || self.stored.compact(first.prev()).is_err() {
            let node = self.node;
            return broken(
                "11",
                format!(
                    "the log of node {node} begins at {first} after {own}, its snapshot is of {snapshot}"
                ),
            );
        }
        Ok(())
    }

    /// See [`Disk::crash`].
    fn crash(&mut self, survive: usize, torn: bool) -> Check<Option<MemoryStorage>> {
        for _ in 0..survive {
            self.complete_one()?;
        }
        let torn = if torn { self.queue.pop_front() } else { None };
        let half = torn.as_ref().filter(|_| S::NONE).and_then(|ready| self.half_of(ready));
        self.queue.clear();
        (self.failing, self.was_fetching, self.wants_snapshot, self.failure) = (0, false, false, None);
        let result = self.store.crash(torn.as_ref());
        self.done(result)?;
        if let Some(ready) = torn.filter(|_| !S::NONE)
            && self.is_whole(&ready)?
        {
            return Ok(half);
        }
        let DiskState { stored, synced, store, at_first, node, .. } = self;
        match store.compare(&Expected { stored, synced: *synced, at_first }) {
            Ok(found) => {
                stored.set_hard_state(found);
                Ok(half)
            }
            Err(why) => broken("8", format!("the storage of node {node} after a crash: {why}")),
        }
    }

    /// What a storage holds that kept the entries of this write and lost its term; nothing if all is there without it.
    fn half_of(&self, ready: &Ready) -> Option<MemoryStorage> {
        let term = self.stored.hard_state().term;
        if ready.snapshot.is_some() || ready.entries.last().is_none_or(|last| last.term <= term) {
            return None;
        }
        let mut half = self.stored.clone();
        let mut entries = Ready::default();
        entries.entries = ready.entries.clone();
        half.persist(&entries).ok().map(|()| half)
    }

    /// Has a write reached the storage that was being written in the crash?
    fn is_whole(&mut self, ready: &Ready) -> Check<bool> {
        let mut stored = self.stored.clone();
        let result = stored.persist(ready);
        self.fits(result)?;
        let synced = if ready.must_sync { stored.hard_state() } else { self.synced };
        let expected = Expected { stored: &stored, synced, at_first: &self.at_first };
        let Ok(found) = self.store.compare(&expected) else { return Ok(false) };
        stored.set_hard_state(found);
        (self.stored, self.synced) = (stored, synced);
        Ok(true)
    }
}

fn newest(storage: &impl Storage) -> Option<Snapshot> {
    storage.snapshot(Index::ZERO, NodeId::new(1)?).ok()
}

/// A disk that a node reads while the simulation writes to it. With a storage of a user's it keeps that one, and compares it with
/// what should be there.
#[derive(Debug)]
pub struct Disk<S = ()>(Rc<RefCell<DiskState<S>>>);

impl<S> Clone for Disk<S> {
    fn clone(&self) -> Disk<S> {
        Disk(Rc::clone(&self.0))
    }
}

impl<S: Store> Disk<S> {
    /// The disk of a node that starts in this configuration, with a storage that is empty.
    pub fn new(node: NodeId, conf_state: ConfState, store: S) -> Disk<S> {
        Disk(Rc::new(RefCell::new(DiskState {
            stored: MemoryStorage::with_conf_state(conf_state.clone()),
            synced: HardState::default(),
            store,
            node,
            at_first: conf_state,
            queue: VecDeque::new(),
            page: usize::MAX,
            failing: 0,
            fault: None,
            was_fetching: false,
            wants_snapshot: false,
            snapshots_asked: 0,
            failure: None,
        })))
    }

    /// The cluster of a node whose disk is empty begins with this snapshot: who joins later can't have the log from its beginning.
    ///
    /// # Errors
    /// It isn't a snapshot, or can't be written.
    pub fn found(&self, snapshot: Snapshot) -> Check {
        let LogPosition { term, index } = snapshot.position();
        let mut ready = Ready::default();
        ready.snapshot = Some(self.receive(snapshot)?);
        ready.hard_state = Some(HardState { term, vote: None, commit: index });
        ready.must_sync = true;
        self.write_now(&ready)
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
    /// The write doesn't fit what is there (11): the core asked for nonsense. Or the storage can't write it, or holds something else then.
    pub fn write_now(&self, ready: &Ready) -> Check {
        self.0.borrow_mut().write(ready)
    }

    /// The oldest write reaches the disk.
    ///
    /// # Errors
    /// As [`write_now`](Disk::write_now).
    pub fn complete_one(&self) -> Check<Option<Ready>> {
        self.0.borrow_mut().complete_one()
    }

    /// Power is lost: of the writes on their way the first `survive` have reached the disk, the rest is gone, the first of it
    /// perhaps half written. The disk's own checksum tells, when it is read again; a storage must tell too, and holds that
    /// write as a whole or not at all. What wasn't synced may be lost as well.
    ///
    /// Returns what would be there if half of that write were taken for a whole one, where that can be told from all that it held.
    ///
    /// # Errors
    /// As [`write_now`](Disk::write_now), or the storage doesn't hold what it should (8).
    pub fn crash(&self, survive: usize, torn: bool) -> Check<Option<MemoryStorage>> {
        self.0.borrow_mut().crash(survive, torn)
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

    /// It gives no more entries than this at a time, and the core asks for the rest.
    pub fn give_at_most(&self, entries: usize) {
        self.0.borrow_mut().page = entries;
    }

    /// Was anything to be fetched, since this was asked last?
    pub fn take_was_fetching(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().was_fetching)
    }

    /// Was a newer snapshot asked for than there is, since this was asked last?
    pub fn take_wants_snapshot(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().wants_snapshot)
    }

    /// How often a snapshot was asked for.
    pub fn snapshots_asked(&self) -> u64 {
        self.0.borrow().snapshots_asked
    }

    /// Keeps a snapshot of the state machine, durably, and drops the log up to `compact`.
    ///
    /// # Errors
    /// The storage can't do it, or drops something else.
    pub fn keep_snapshot(&self, snapshot: Snapshot, compact: Index) -> Check {
        let snapshot = self.receive(snapshot)?;
        let mut state = self.0.borrow_mut();
        let result = state.store.keep(&snapshot, compact);
        state.done(result)?;
        state.stored.set_snapshot(snapshot);
        if S::NONE {
            // Nothing to drop is fine.
            let _ = state.stored.compact(compact);
        }
        state.compact_as_there()
    }

    /// A snapshot that comes with the whole state becomes one that can be written.
    ///
    /// # Errors
    /// The storage can't take it.
    pub fn receive(&self, snapshot: Snapshot) -> Check<Snapshot> {
        let mut state = self.0.borrow_mut();
        let result = state.store.receive(snapshot);
        state.done(result)
    }

    /// The same snapshot, with the whole state.
    ///
    /// # Errors
    /// The storage can't give it.
    pub fn with_state(&self, snapshot: &Snapshot) -> Check<Snapshot> {
        let state = self.0.borrow();
        let data = state.done(state.store.state_of(snapshot))?;
        Ok(Snapshot { data, metadata: snapshot.metadata.clone() })
    }

    /// What was being fetched is there.
    pub fn fetch(&self) {
        self.0.borrow_mut().store.fetch();
    }

    /// The storage reads what it was asked for.
    ///
    /// # Errors
    /// It couldn't, since this was asked last, though nothing was to fail.
    pub fn check_reads(&self) -> Check {
        let mut state = self.0.borrow_mut();
        let result = state.failure.take().map_or(Ok(()), Err);
        state.done(result)
    }

    /// The newest snapshot that a restart would begin from.
    pub fn newest_snapshot(&self) -> Option<Snapshot> {
        let state = self.0.borrow();
        newest(state.store.reads(&state.stored))
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

    fn read<T>(&self, look: impl FnOnce(&S::Reads) -> Result<T, StorageError>) -> Result<T, StorageError> {
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
        let result = look(state.store.reads(&state.stored));
        if !S::NONE {
            match &result {
                Err(StorageError::Fetching) => state.was_fetching = true,
                Err(StorageError::Other(error)) => state.failure = Some(error.to_string()),
                _ => {}
            }
        }
        result
    }
}

impl<S: Store> Storage for Disk<S> {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let state = self.0.borrow();
        let mut initial = state.store.reads(&state.stored).initial_state()?;
        // That of the state machine, which may be further than the snapshot.
        initial.conf_state = state.stored.initial_state()?.conf_state;
        Ok(initial)
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        self.read(S::Reads::first_index)
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        self.read(S::Reads::last_index)
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        self.read(|stored| stored.term(index))
    }

    fn entries(&self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError> {
        let page = self.0.borrow().page;
        let entries = self.read(|stored| stored.entries(range, max_bytes))?;
        Ok(if entries.len() > page { entries.slice(..page) } else { entries })
    }

    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError> {
        self.0.borrow_mut().snapshots_asked += 1;
        let result = self.read(|stored| stored.snapshot(at_least, to));
        if matches!(result, Err(StorageError::SnapshotTemporarilyUnavailable)) {
            self.0.borrow_mut().wants_snapshot = true;
        }
        result
    }
}
