//! What becomes of a proposal: appended, passed on, or dropped for a reason that is told.

use bytes::Bytes;
use raft_core::{
    Body, Entry, HardState, Index, MemoryStorage, Payload, Proposal, ProposeError, RoleKind, StepError,
};

use crate::cluster::{Cluster, figure_2};
use crate::words::*;

#[test]
fn an_accepted_proposal_says_where_it_stands_in_the_log() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let expected = Proposal::Appended { term: term(1), first: index(2), last: index(2) };
    assert_eq!(cluster.propose(1, "x"), Ok(expected));
    let batch = ["a", "b", "c"].map(|data| Bytes::from_static(data.as_bytes()));
    let expected = Proposal::Appended { term: term(1), first: index(3), last: index(5) };
    assert_eq!(cluster.node_mut(1).propose_batch(batch), Ok(expected));
    cluster.settle();
    for n in 1..=3 {
        assert_eq!(cluster.applied(n), ["x", "a", "b", "c"]);
    }
    let together = |message: &raft_core::Message| matches!(&message.body, Body::AppendEntries(append) if append.entries.len() == 3);
    assert_eq!(
        cluster.sent.iter().filter(|message| together(message)).count(),
        2,
        "a batch travels together"
    );
}

#[test]
fn a_follower_or_a_learner_passes_proposals_on() {
    let mut cluster = Cluster::of(&[1, 2, 3], &[4], |config| config.forward_proposals = true);
    cluster.elect(1);
    for n in [2, 4] {
        assert_eq!(cluster.propose(n, "x"), Ok(Proposal::Forwarded { to: id(1) }));
        cluster.settle();
    }
    assert_eq!(cluster.applied(3), ["x", "x"]);
}

#[test]
fn a_proposal_that_reaches_a_former_leader_is_passed_on_again() {
    let mut cluster = Cluster::with(3, |config| config.forward_proposals = true);
    cluster.elect(1);
    let proposal = message(3, 2, 0, propose(&["x", "y"]));
    cluster.step(proposal).unwrap();
    let mut expected = message(3, 1, 0, propose(&["x", "y"]));
    expected.term = term(0);
    assert_eq!(cluster.take_all(), [expected], "still in the name of node 3");
}

#[test]
fn unless_asked_to_a_follower_refuses_and_names_the_leader() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    assert_eq!(cluster.propose(2, "x"), Err(ProposeError::NotLeader { leader: id(1) }));
    let result = cluster.step(message(3, 2, 0, propose(&["x"])));
    assert!(matches!(result, Err(StepError::Proposal(ProposeError::NotLeader { .. }))));
    assert_eq!(cluster.take_all(), []);
    // The leader takes what others forward.
    cluster.step(message(3, 1, 0, propose(&["x"]))).unwrap();
    cluster.settle();
    assert_eq!(cluster.applied(2), ["x"]);
}

#[test]
fn a_proposal_is_dropped_where_no_leader_is_known() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::NoLeader));
    cluster.node_mut(1).campaign().unwrap();
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::Campaigning));
    cluster.step(message(2, 1, 1, pre_granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Candidate);
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::Campaigning));
    let forwarded = cluster.step(message(2, 1, 0, propose(&["x"])));
    assert!(matches!(forwarded, Err(StepError::Proposal(ProposeError::Campaigning))));
}

#[test]
fn a_proposal_of_nothing_is_dropped() {
    let mut cluster = Cluster::new(1);
    cluster.ticks(1, 20);
    assert_eq!(cluster.node_mut(1).propose_batch([]), Err(ProposeError::Empty));
    assert_eq!(cluster.last(1), 1);
}

#[test]
fn a_forwarded_change_that_cannot_be_made_leaves_an_empty_entry_in_its_place() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    let leave = Entry { payload: Payload::ConfChangeV2(Default::default()), ..Entry::default() };
    let command = |data| Entry { payload: Payload::Normal(Bytes::from_static(data)), ..Entry::default() };
    let entries = [command(b"x"), leave, command(b"y")].into_iter().collect();
    cluster.step(message(2, 1, 0, Body::Propose(raft_core::proto::Propose { entries }))).unwrap();
    cluster.settle();
    let payloads: Vec<&Payload> =
        cluster.slot(3).applied.iter().map(|entry| &entry.payload).skip(1).collect();
    let normal = |data| Payload::Normal(Bytes::from_static(data));
    assert_eq!(
        payloads,
        [&normal(b"x"), &Payload::RefusedChange, &normal(b"y")],
        "there is nothing to leave"
    );
}

#[test]
fn a_log_without_another_index_takes_no_proposal() {
    let before_last = raft_core::LogPosition::new(term(1), Index::LIMIT.prev().prev());
    let mut disk = MemoryStorage::default();
    disk.apply_snapshot(snapshot(before_last, conf_state(&[1], &[]))).unwrap();
    disk.set_hard_state(HardState { term: term(1), vote: None, commit: before_last.index });
    let mut config = raft_core::Config::new(id(1), 0);
    figure_2(&mut config);
    let mut node = raft_core::RawNode::new(config, disk).unwrap();
    node.campaign().unwrap();
    while node.has_ready() {
        let ready = node.ready();
        node.storage_mut().persist(&ready).unwrap();
        node.advance(ready).unwrap();
    }
    let last = Index::LIMIT;
    assert_eq!((node.role(), node.last_index()), (RoleKind::Leader, last.prev()));
    let two = ["x", "y"].map(|data| Bytes::from_static(data.as_bytes()));
    assert_eq!(node.propose_batch(two), Err(ProposeError::LogFull), "all or none");
    assert_eq!(node.propose("x".into()), Ok(Proposal::Appended { term: term(2), first: last, last }));
    assert_eq!(node.propose("x".into()), Err(ProposeError::LogFull));
    node.check_invariants().unwrap();
}

// -- the limit on what is appended and not yet applied

#[test]
fn a_leader_without_a_quorum_takes_no_more_than_the_limit() {
    let mut cluster = Cluster::with(3, |config| {
        figure_2(config);
        config.max_uncommitted_bytes = 10;
    });
    cluster.elect(1);
    cluster.isolate(1);
    assert!(cluster.propose(1, "four").is_ok());
    assert!(cluster.propose(1, "more").is_ok());
    assert_eq!(cluster.propose(1, "four"), Err(ProposeError::OverUncommittedLimit { limit: 10 }));
    assert!(cluster.propose(1, "me").is_ok(), "up to the limit");
    assert!(cluster.propose(1, "").is_ok(), "nothing weighs nothing");
    assert_eq!((cluster.last(1), cluster.status(1).uncommitted_bytes), (5, 10));
    // What is applied counts no more.
    cluster.heal();
    cluster.rounds(3);
    assert_eq!(cluster.status(1).uncommitted_bytes, 0);
    for _ in 0..10 {
        cluster.propose(1, "four").unwrap();
        cluster.settle();
    }
    assert_eq!(cluster.applied(2).len(), 13);
}

#[test]
fn one_proposal_of_any_size_passes() {
    let mut cluster = Cluster::with(3, |config| config.max_uncommitted_bytes = 1);
    cluster.elect(1);
    cluster.isolate(1);
    assert!(cluster.propose(1, "much larger than the limit").is_ok());
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::OverUncommittedLimit { limit: 1 }));
}

#[test]
fn a_leader_starts_its_term_with_nothing_uncommitted() {
    let mut cluster = Cluster::with(3, |config| {
        figure_2(config);
        config.max_uncommitted_bytes = 10;
    });
    cluster.elect(1);
    cluster.isolate(1);
    cluster.propose(1, "nine bytes").unwrap();
    cluster.elect(2);
    cluster.heal();
    cluster.tick(2);
    cluster.settle();
    assert_eq!((cluster.role(1), cluster.status(1).uncommitted_bytes), (RoleKind::Follower, 0));
    cluster.elect(1);
    assert_eq!(cluster.status(1).uncommitted_bytes, 0);
    assert!(cluster.propose(1, "nine bytes").is_ok());
}

#[test]
fn a_proposal_counts_as_uncommitted_until_it_is_applied_here() {
    let mut cluster = Cluster::with(1, |config| config.max_uncommitted_bytes = 4);
    cluster.ticks(1, 20);
    cluster.node_mut(1).propose("four".into()).unwrap();
    while cluster.commit(1) < 2 {
        let ready = cluster.node_mut(1).ready();
        cluster.node_mut(1).storage_mut().persist(&ready).unwrap();
        cluster.node_mut(1).on_persisted(ready.number).unwrap();
    }
    assert!(cluster.node_mut(1).propose("four".into()).is_err(), "committed isn't applied");
    let ready = cluster.node_mut(1).ready();
    assert_eq!(ready.committed_entries.len(), 1);
    cluster.node_mut(1).storage_mut().persist(&ready).unwrap();
    cluster.node_mut(1).advance(ready).unwrap();
    assert!(cluster.node_mut(1).propose("four".into()).is_ok());
}
