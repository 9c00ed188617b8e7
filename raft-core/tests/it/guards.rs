//! Guards that no other test notices the lack of: found by leaving each out (`fuzz/mutants`).

use raft_core::ConfChangeKind::AddLearner;
use raft_core::{ConfChangeProposal, ConfChangeRefusal, Config, MemoryStorage, RawNode};

use crate::words::*;

/// A node alone, which leads.
fn alone() -> RawNode<MemoryStorage> {
    let mut node = RawNode::new(Config::new(id(1), 0), MemoryStorage::with_voters([id(1)])).unwrap();
    node.campaign().unwrap();
    while node.has_ready() {
        let ready = node.ready();
        node.storage_mut().persist(&ready).unwrap();
        node.advance(ready).unwrap();
    }
    node
}

/// Thesis §4.1, where a change acts when it is applied: until then the next one would build on the configuration before it.
#[test]
fn a_change_that_is_committed_and_not_applied_holds_up_the_next() {
    let mut node = alone();
    let _ = node.propose_conf_change(change(&[(AddLearner, 2)])).unwrap();
    let ready = node.ready();
    node.storage_mut().persist(&ready).unwrap();
    node.on_persisted(ready.number).unwrap();
    assert_eq!((node.commit_index(), node.applied_index()), (index(2), index(1)));
    match node.propose_conf_change(change(&[(AddLearner, 3)])) {
        Ok(ConfChangeProposal::Refused { reason, .. }) => {
            assert_eq!(reason, ConfChangeRefusal::ChangePending { index: index(2) });
        }
        other => panic!("not refused: {other:?}"),
    }
}
