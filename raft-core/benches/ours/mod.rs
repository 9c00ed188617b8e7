//! This core under the workloads.

#![allow(dead_code, reason = "each program that this is part of uses a part of it")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a benchmark that goes wrong is to stop"
)]

use std::cell::RefCell;
use std::mem;
use std::ops::{DerefMut, Range};
use std::rc::Rc;

use bytes::Bytes;
use raft_core::{
    ConfState, Config, Entries, Index, InitialState, MemoryStorage, Message, NodeId, RawNode, ReadMode,
    Ready, RoleKind, Snapshot, Storage, StorageError, Term,
};

use crate::harness::weight::{Parts, Weighed};
use crate::harness::{COMPACT_EVERY, COMPACT_KEEPS, Node, Setup, Tally};

/// Where a node's log is kept.
pub(crate) trait Store: Storage {
    /// The log in memory, to write to.
    fn write(&mut self) -> impl DerefMut<Target = MemoryStorage>;
}

impl Store for MemoryStorage {
    fn write(&mut self) -> impl DerefMut<Target = MemoryStorage> {
        self
    }
}

/// A node of this core.
pub(crate) struct Ours<S = MemoryStorage> {
    node: RawNode<S>,
    tally: Tally,
    applied: Index,
    /// What was applied when the log was compacted last; nothing if it never is.
    compacted_at: Option<Index>,
}

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn config(n: u64, setup: &Setup) -> Config {
    Config {
        max_message_bytes: setup.max_bytes,
        max_committed_bytes: setup.max_bytes,
        max_inflight_bytes: u64::MAX,
        max_uncommitted_bytes: u64::MAX,
        ..Config::new(id(n), 0)
    }
}

fn conf_state(setup: &Setup) -> ConfState {
    ConfState {
        voters_outgoing: setup.outgoing.iter().map(|n| id(*n)).collect(),
        ..ConfState::of_voters(setup.voters.iter().map(|n| id(*n)))
    }
}

impl<S: Store> Ours<S> {
    fn compact(&mut self) {
        if let Some(compacted_at) = &mut self.compacted_at
            && self.applied.since(*compacted_at) >= COMPACT_EVERY
        {
            *compacted_at = self.applied;
            let index = Index::new(self.applied.get() - COMPACT_KEEPS);
            self.node.storage_mut().write().compact(index).unwrap();
        }
    }

    fn handle_ready(&mut self, ready: &mut Ready, mut send: impl FnMut(u64, Message)) {
        let Ours { node, .. } = self;
        node.ready_into(ready);
        self.tally.reads += ready.read_states.len() as u64;
        for message in ready.messages.drain(..) {
            send(message.to.get(), message);
        }
        if ready.needs_acknowledgement() {
            node.storage_mut().write().persist(ready).unwrap();
            for message in ready.persisted_messages.drain(..) {
                send(message.to.get(), message);
            }
            node.on_persisted(ready.number).unwrap();
        }
        for entry in ready.committed_entries.iter() {
            self.tally.apply(entry.data().map_or(&[], |data| data));
            self.applied = entry.index;
        }
        if !ready.committed_entries.is_empty() {
            node.on_applied(self.applied).unwrap();
            self.compact();
        }
    }
}

impl<S: Store + From<MemoryStorage>> Node for Ours<S> {
    type Message = Message;

    type Stopped = (S, Index);

    type Room = Ready;

    fn start(n: u64, setup: &Setup) -> Ours<S> {
        let storage = MemoryStorage::with_conf_state(conf_state(setup));
        Ours::restart(n, setup, (storage.into(), Index::ZERO))
    }

    fn stop(mut self) -> (S, Index) {
        let nothing = MemoryStorage::default().into();
        (mem::replace(self.node.storage_mut(), nothing), self.applied)
    }

    fn restart(n: u64, setup: &Setup, (storage, applied): (S, Index)) -> Ours<S> {
        Ours {
            node: RawNode::new(Config { applied, ..config(n, setup) }, storage).unwrap(),
            tally: Tally::default(),
            applied,
            compacted_at: setup.compacts.then_some(applied),
        }
    }

    fn campaign(&mut self) {
        self.node.campaign().unwrap();
    }

    fn leads(&self) -> bool {
        self.node.role() == RoleKind::Leader
    }

    fn propose(&mut self, data: Vec<u8>) {
        self.node.propose(data.into()).unwrap();
    }

    fn propose_batch(&mut self, data: impl Iterator<Item = Vec<u8>>) {
        self.node.propose_batch(data.map(Bytes::from)).unwrap();
    }

    fn read(&mut self, context: [u8; 8]) {
        self.node.read_index(Bytes::copy_from_slice(&context), ReadMode::Quorum).unwrap();
    }

    fn tick(&mut self) {
        self.node.tick();
    }

    fn step(&mut self, message: Message) {
        self.node.step(message).unwrap();
    }

    fn has_ready(&self) -> bool {
        self.node.has_ready()
    }

    /// To ask is inlined, since most don't have a `Ready`.
    #[inline(always)]
    fn handle(&mut self, ready: &mut Ready, send: impl FnMut(u64, Message)) -> bool {
        let has_ready = self.node.has_ready();
        if has_ready {
            self.handle_ready(ready, send);
        }
        has_ready
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

/// A log that outlives its node.
#[derive(Clone)]
pub(crate) struct Shared(Rc<RefCell<MemoryStorage>>);

impl From<MemoryStorage> for Shared {
    fn from(storage: MemoryStorage) -> Shared {
        Shared(Rc::new(RefCell::new(storage)))
    }
}

impl Store for Shared {
    fn write(&mut self) -> impl DerefMut<Target = MemoryStorage> {
        self.0.borrow_mut()
    }
}

impl Storage for Shared {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.0.borrow().initial_state()
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        self.0.borrow().first_index()
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        self.0.borrow().last_index()
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        self.0.borrow().term(index)
    }

    fn entries(&self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError> {
        self.0.borrow().entries(range, max_bytes)
    }

    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError> {
        self.0.borrow().snapshot(at_least, to)
    }
}

impl Weighed for Ours<Shared> {
    fn rest(&mut self) {
        self.node.shrink_to_fit();
    }

    fn split(self) -> Parts {
        let storage = self.node.storage().clone();
        Parts { node: Box::new(self.node), storage: Box::new(storage) }
    }
}
