//! What a leader does with the snapshots that its storage gives: faults 5 and 6 at the end of `../shared/bugs.md`.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use raft_core::ConfChangeKind::AddLearner;
use raft_core::{
    Config, Entries, Entry, HardState, Index, InitialState, MemoryStorage, Message, NodeId, RawNode,
    Snapshot, Storage, StorageError, Term,
};

use crate::cluster::figure_2;
use crate::words::*;

/// A storage that gives the snapshot that a test wants, counts how often it was asked, and knows for what it was last.
#[derive(Clone, Debug, Default)]
struct Giver {
    log: Rc<RefCell<MemoryStorage>>,
    asked: Rc<Cell<u32>>,
    at_least: Rc<Cell<Index>>,
    given: Rc<RefCell<Option<Snapshot>>>,
}

impl Storage for Giver {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.log.borrow().initial_state()
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        self.log.borrow().first_index()
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        self.log.borrow().last_index()
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        self.log.borrow().term(index)
    }

    fn entries(&self, range: Range<Index>, max: u64) -> Result<Entries, StorageError> {
        self.log.borrow().entries(range, max)
    }

    fn snapshot(&self, at_least: Index, _to: NodeId) -> Result<Snapshot, StorageError> {
        self.asked.set(self.asked.get() + 1);
        self.at_least.set(at_least);
        self.given.borrow().clone().ok_or(StorageError::SnapshotTemporarilyUnavailable)
    }
}

/// Does what each `Ready` asks, but for applying. Returns the messages and what is to be applied.
fn drive(node: &mut RawNode<Giver>) -> (Vec<Message>, Vec<Entry>) {
    let (mut messages, mut committed) = (Vec::new(), Vec::new());
    while node.has_ready() {
        let mut ready = node.ready();
        node.storage().log.borrow_mut().persist(&ready).unwrap();
        messages.append(&mut ready.messages);
        messages.append(&mut ready.persisted_messages);
        node.on_persisted(ready.number).unwrap();
        committed.extend(std::mem::take(&mut ready.committed_entries));
    }
    (messages, committed)
}

/// The caller applies these.
fn apply(node: &mut RawNode<Giver>, committed: &[Entry]) {
    for change in committed.iter().filter_map(|entry| entry.payload.as_conf_change()) {
        node.apply_conf_change(&change).unwrap();
    }
    if let Some(last) = committed.last() {
        node.on_applied(last.index).unwrap();
    }
}

fn drive_and_apply(node: &mut RawNode<Giver>) -> Vec<Message> {
    let (messages, committed) = drive(node);
    apply(node, &committed);
    messages
}

/// Node 1 leads term 2 of nodes 1, 2 and 3. Its log begins behind a snapshot of index 10, node 3 lacks that.
fn leader(configure: impl Fn(&mut Config)) -> RawNode<Giver> {
    let mut disk = MemoryStorage::default();
    disk.apply_snapshot(snapshot(at(1, 10), conf_state(&[1, 2, 3], &[]))).unwrap();
    disk.set_hard_state(HardState { term: term(1), vote: None, commit: index(10) });
    let storage = Giver { log: Rc::new(RefCell::new(disk)), ..Giver::default() };
    let mut config = Config::new(id(1), 0);
    figure_2(&mut config);
    configure(&mut config);
    let mut node = RawNode::new(config, storage).unwrap();
    node.campaign().unwrap();
    drive_and_apply(&mut node);
    node.step(message(2, 1, 2, granted())).unwrap();
    drive_and_apply(&mut node);
    node.step(message(2, 1, 2, accepted(11))).unwrap();
    drive_and_apply(&mut node);
    node
}

/// Node 3 says that it has nothing: what snapshots are sent to it then?
fn sent_to_a_peer_with_nothing(node: &mut RawNode<Giver>) -> usize {
    node.step(message(3, 1, 2, rejected(10, at(0, 0)))).unwrap();
    node.step(message(3, 1, 2, heartbeat_reply())).unwrap();
    drive_and_apply(node).iter().filter(|message| is_snapshot(message)).count()
}

#[test]
fn a_snapshot_that_cannot_be_of_use_is_not_sent_and_counts_as_a_failure() {
    let voters = || conf_state(&[1, 2, 3], &[]);
    for (given, use_) in [
        (snapshot(at(1, 9), voters()), false),
        (snapshot(at(1, 10), conf_state(&[1, 2], &[])), false),
        (snapshot(at(1, 10), voters()), true),
        (snapshot(at(2, 11), voters()), true),
    ] {
        let mut node = leader(|_| {});
        *node.storage().given.borrow_mut() = Some(given.clone());
        let before = node.status().counters.storage_failures;
        let sent = sent_to_a_peer_with_nothing(&mut node);
        let failures = node.status().counters.storage_failures - before;
        assert_eq!((sent == 1, failures == 0), (use_, use_), "{:?}", given.metadata);
    }
}

#[test]
fn no_snapshot_is_asked_for_while_a_change_is_being_applied() {
    for batch in [true, false] {
        let mut node = leader(|config| config.batch_messages = batch);
        sent_to_a_peer_with_nothing(&mut node);
        assert_eq!(node.storage().at_least.get(), index(10), "the log goes on behind it");
        node.propose_conf_change(change(&[(AddLearner, 4)])).unwrap();
        drive_and_apply(&mut node);
        node.step(message(2, 1, 2, accepted(12))).unwrap();
        let (_, committed) = drive(&mut node);
        let entry = committed.iter().find(|entry| entry.index == index(12)).unwrap();
        let before = node.storage().asked.get();
        node.apply_conf_change(&entry.payload.as_conf_change().unwrap()).unwrap();
        assert_eq!(node.storage().asked.get(), before, "state and configuration needn't agree by now");
        node.on_applied(index(12)).unwrap();
        *node.storage().given.borrow_mut() = Some(snapshot(at(2, 12), conf_state(&[1, 2, 3], &[4])));
        assert_eq!(sent_to_a_peer_with_nothing(&mut node), 1, "with its next answer it gets one");
        assert_eq!(node.storage().at_least.get(), index(12), "an older one doesn't name node 4");
    }
}
