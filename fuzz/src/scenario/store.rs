//! The storage of a scripted node: a log in memory, and the history of a toy state machine.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use raft_core::{
    ConfState, DataLoss, Entries, Entry, HardState, Index, InitialState, MemoryStorage, NodeId, Payload,
    Snapshot, SnapshotMetadata, Storage, StorageError, Term,
};

/// What is behind a [`Store`].
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) log: MemoryStorage,
    /// The snapshots of the state machine after each entry; never empty. The last is given to the core.
    pub(super) history: Vec<Snapshot>,
    /// The configuration that a restart begins with.
    pub(super) initial: ConfState,
    /// A hard state was stored.
    pub(super) has_hard_state: bool,
}

/// A storage that the core reads and the script writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Store(pub(super) Rc<RefCell<Inner>>);

impl Store {
    /// The storage of a node that starts from this snapshot, or blank.
    pub(super) fn new(snapshot: Option<Snapshot>) -> Store {
        let mut inner = Inner::default();
        if let Some(snapshot) = &snapshot {
            inner.initial = snapshot.metadata.conf_state.clone();
            // An empty storage takes any snapshot.
            let _ = inner.log.apply_snapshot(snapshot.clone());
            inner.log.set_hard_state(HardState::default());
        }
        inner.history.push(snapshot.unwrap_or_default());
        Store(Rc::new(RefCell::new(inner)))
    }

    pub(super) fn last_of_history(&self) -> Snapshot {
        self.0.borrow().history.last().cloned().unwrap_or_default()
    }

    /// The state machine applies an entry; a membership change comes with the configuration that it led to.
    pub(super) fn apply(&self, entry: &Entry, conf_state: Option<ConfState>) {
        let before = self.last_of_history();
        let mut data = before.data.to_vec();
        match &entry.payload {
            Payload::Normal(bytes) => data.extend_from_slice(bytes),
            Payload::ConfChange(change) => data.extend_from_slice(&change.context),
            Payload::ConfChangeV2(change) => data.extend_from_slice(&change.context),
            Payload::TermStart | Payload::RefusedChange | Payload::LeaveJoint => {}
        }
        let conf_state = conf_state.unwrap_or(before.metadata.conf_state);
        let metadata = SnapshotMetadata { conf_state, index: entry.index, term: entry.term };
        self.0.borrow_mut().history.push(Snapshot { metadata, data: Bytes::from(data) });
    }

    pub(super) fn set_lost(&self, lost: Option<DataLoss>) {
        self.0.borrow_mut().log.set_lost(lost);
    }

    pub(super) fn set_hard_state(&self, hard_state: HardState) {
        let mut inner = self.0.borrow_mut();
        inner.log.set_hard_state(hard_state);
        inner.has_hard_state = true;
    }
}

impl Storage for Store {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        let inner = self.0.borrow();
        let stored = inner.log.initial_state()?;
        Ok(InitialState { conf_state: inner.initial.clone(), ..stored })
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        self.0.borrow().log.first_index()
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        self.0.borrow().log.last_index()
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        self.0.borrow().log.term(index)
    }

    fn entries(&self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError> {
        self.0.borrow().log.entries(range, max_bytes)
    }

    fn snapshot(&self, _at_least: Index, _to: NodeId) -> Result<Snapshot, StorageError> {
        Ok(self.last_of_history())
    }
}
