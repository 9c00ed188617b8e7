//! A storage whose answers are arbitrary.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use raft_core::{
    Entries, Entry, Inconsistency, Index, InitialState, MemoryStorage, NodeId, RawNode, Snapshot, Storage,
    StorageError, Term,
};

use super::any::{self, Near};
use super::calls::{Disk, any_call, any_config, any_disk};
use super::dice::Dice;
use super::watched::Watched;

/// As [`any_calls`](super::any_calls), at a node whose storage lies whenever the bytes say so.
pub fn lying_storage(data: &[u8]) {
    let dice = Rc::new(RefCell::new(Dice::new(data)));
    let disk = any_disk(&mut dice.borrow_mut());
    let config = any_config(&mut dice.borrow_mut());
    let Ok(raw) = RawNode::new(config, Liar { disk, dice: Rc::clone(&dice) }) else { return };
    let mut node = Watched::new(raw, Default::default());
    while !dice.borrow().is_spent() {
        let (near, id) = (Near::of(node.node()), node.node().id());
        let call = any_call(&mut dice.borrow_mut(), near, id);
        call(&mut node);
    }
}

/// What it should say is in `disk`; whether it does, the dice decide.
#[derive(Clone)]
struct Liar<'a> {
    disk: MemoryStorage,
    dice: Rc<RefCell<Dice<'a>>>,
}

/// The dice aren't part of a node's state.
impl fmt::Debug for Liar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl Disk for Liar<'_> {
    fn memory(&mut self) -> &mut MemoryStorage {
        &mut self.disk
    }
}

impl Liar<'_> {
    /// The truth, an error, or what `lie` makes up.
    fn answer<T>(
        &self,
        truth: impl FnOnce(&MemoryStorage) -> Result<T, StorageError>,
        lie: impl FnOnce(&mut Dice, Near) -> T,
    ) -> Result<T, StorageError> {
        let mut dice = self.dice.borrow_mut();
        match dice.below(8) {
            0..6 => truth(&self.disk),
            6 => Err(any_error(&mut dice)),
            _ => Ok(lie(&mut dice, self.near())),
        }
    }

    fn near(&self) -> Near {
        let last = self.disk.last_index().unwrap_or_default().get();
        Near { term: self.disk.hard_state().term.get(), last, commit: self.disk.hard_state().commit.get() }
    }
}

impl Storage for Liar<'_> {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.answer(MemoryStorage::initial_state, |dice, near| InitialState {
            hard_state: any::hard_state(dice, near),
            conf_state: any::conf_state(dice),
            lost: any::loss(dice, near),
        })
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        self.answer(MemoryStorage::first_index, any::index)
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        self.answer(MemoryStorage::last_index, any::index)
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        self.answer(|disk| disk.term(index), any::term)
    }

    fn entries(&self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError> {
        let truth = self.disk.entries(range.clone(), max_bytes);
        let read = truth.as_ref().map(|entries| entries.to_vec()).unwrap_or_default();
        let given = self.answer(
            |_| truth.map(|_| read.clone()),
            |dice, near| match dice.below(6) {
                0 => Vec::new(),
                1 => read.iter().skip(1).cloned().collect(),
                2 => read.iter().flat_map(|entry| [entry.clone(), entry.clone()]).collect(),
                3 => read.iter().rev().cloned().collect(),
                4 => consecutive(dice, near, &range),
                _ => dice.list(4, |dice| any::entry(dice, near)),
            },
        )?;
        Ok(given.into())
    }

    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError> {
        self.answer(|disk| disk.snapshot(at_least, to), any::snapshot)
    }
}

/// Consecutive entries from where they were asked for, of any terms, perhaps too many.
fn consecutive(dice: &mut Dice, near: Near, range: &Range<Index>) -> Vec<Entry> {
    let mut next = range.start;
    let one = |dice: &mut Dice| {
        let entry = Entry { index: next, ..any::entry(dice, near) };
        next = next.next();
        entry
    };
    dice.list(6, one)
}

fn any_error(dice: &mut Dice) -> StorageError {
    match dice.below(6) {
        0 => StorageError::Compacted,
        1 => StorageError::Unavailable,
        2 => StorageError::Fetching,
        3 => StorageError::SnapshotTemporarilyUnavailable,
        4 => StorageError::Inconsistent(Inconsistency::NotContiguous),
        _ => StorageError::Other("the disk is on fire".into()),
    }
}
