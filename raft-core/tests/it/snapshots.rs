//! Log compaction (§7): who gets a snapshot, and what one changes.

use bytes::Bytes;
use raft_core::{ConfState, HardState, MemoryStorage, PeerState, RoleKind, SnapshotStatus, Storage};

use crate::cluster::{Cluster, Disk, asynchronous, disk_with, figure_2};
use crate::words::*;

/// Node 1 leads and has compacted what node 3, which is cut off, lacks.
fn compacted() -> Cluster {
    let mut cluster = Cluster::plain(3);
    cluster.elect(1);
    cluster.isolate(3);
    for _ in 0..5 {
        cluster.propose(1, "x").unwrap();
    }
    cluster.settle();
    cluster.compact(1);
    cluster.propose(1, "y").unwrap();
    cluster.settle();
    // What was sent ahead to node 3 is lost.
    cluster.node_mut(1).report_unreachable(id(3));
    cluster
}

/// A follower in term 3 of node 2, with entries of these terms, the first `commit` committed.
fn follower(terms: &[u64], commit: u64) -> Cluster {
    let mut disk = disk_with(&[1, 2, 3], terms, commit);
    disk.set_hard_state(HardState { term: term(3), vote: None, commit: index(commit) });
    let mut cluster = Cluster::from_disks([(1, disk)], figure_2);
    cluster.step(message(2, 1, 3, heartbeat(0))).unwrap();
    cluster.take_all();
    cluster
}

fn members() -> ConfState {
    conf_state(&[1, 2, 3], &[])
}

fn count_snapshots(cluster: &Cluster) -> usize {
    cluster.sent.iter().filter(|message| is_snapshot(message)).count()
}

// -- the leader

#[test]
fn a_follower_behind_the_log_gets_a_snapshot_and_then_the_rest() {
    let mut cluster = compacted();
    cluster.heal();
    cluster.rounds(3);
    assert_eq!(count_snapshots(&cluster), 1);
    assert_eq!(cluster.applied(3), ["x", "x", "x", "x", "x", "y"]);
    assert_eq!(cluster.node(3).storage().first_index().unwrap(), index(7));
    assert_eq!(cluster.peer(1, 3).state, PeerState::Replicate);
    cluster.propose(1, "z").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(3), 8);
}

#[test]
fn a_follower_whose_next_entry_is_the_first_of_the_log_needs_no_snapshot() {
    let mut cluster = Cluster::plain(3);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    cluster.isolate(3);
    cluster.compact(1);
    cluster.propose(1, "y").unwrap();
    cluster.settle();
    cluster.heal();
    cluster.rounds(3);
    assert_eq!((count_snapshots(&cluster), cluster.commit(3)), (0, 3));
}

#[test]
fn no_snapshot_goes_to_one_who_was_not_heard_of_late() {
    let mut cluster = compacted_with_check_quorum();
    cluster.sent.clear();
    cluster.propose(1, "z").unwrap();
    cluster.settle();
    assert_eq!(count_snapshots(&cluster), 0, "it would only cost the work");
}

/// As above, and node 3 was silent for longer than an election time-out.
fn compacted_with_check_quorum() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.propose(1, "x").unwrap();
    cluster.rounds(25);
    cluster.compact(1);
    cluster.node_mut(1).report_unreachable(id(3));
    assert!(!cluster.peer(1, 3).recently_active);
    cluster
}

#[test]
fn a_snapshot_that_cannot_be_made_right_now_is_asked_for_again() {
    let mut cluster = compacted();
    let storage = cluster.node_mut(1).storage_mut();
    let made = storage.snapshot(index(0), id(3)).unwrap();
    storage.set_snapshot(Default::default());
    cluster.heal();
    cluster.rounds(3);
    assert_eq!((count_snapshots(&cluster), cluster.peer(1, 3).state), (0, PeerState::Probe));
    assert!(cluster.status(1).counters.storage_failures > 0, "and it is counted");
    cluster.node_mut(1).storage_mut().set_snapshot(made);
    cluster.rounds(2);
    assert_eq!((count_snapshots(&cluster), cluster.commit(3)), (1, 7));
}

#[test]
fn a_snapshot_of_the_storage_that_makes_no_sense_is_not_sent() {
    let mut cluster = compacted();
    let storage = cluster.node_mut(1).storage_mut();
    let made = storage.snapshot(index(0), id(3)).unwrap();
    let mut of_a_later_term = made.clone();
    of_a_later_term.metadata.term = term(9);
    let mut without_voters = made.clone();
    without_voters.metadata.conf_state = conf_state(&[], &[4]);
    let mut out_of_range = made;
    out_of_range.metadata.index = index(u64::MAX);
    cluster.heal();
    for wrong in [of_a_later_term, without_voters, out_of_range] {
        cluster.node_mut(1).storage_mut().set_snapshot(wrong);
        cluster.rounds(2);
        assert_eq!((count_snapshots(&cluster), cluster.peer(1, 3).state), (0, PeerState::Probe));
    }
}

#[test]
fn nothing_is_sent_while_a_snapshot_is_on_its_way() {
    let mut cluster = compacted();
    cluster.heal();
    cluster.lose_if(is_snapshot);
    cluster.rounds(2);
    assert_eq!(cluster.peer(1, 3).state, PeerState::Snapshot { pending: index(6) });
    cluster.sent.clear();
    cluster.propose(1, "z").unwrap();
    cluster.rounds(30);
    assert!(!cluster.sent.iter().any(|m| m.to == id(3) && (is_append(m) || is_snapshot(m))));
    assert!(cluster.sent.iter().any(|m| m.to == id(3) && is_heartbeat(m)), "but heartbeats");
}

#[test]
fn after_a_failed_transfer_another_snapshot_is_sent() {
    let mut cluster = compacted();
    cluster.heal();
    cluster.lose_if(is_snapshot);
    cluster.rounds(2);
    cluster.node_mut(1).report_snapshot(id(3), SnapshotStatus::Failed);
    let known = cluster.peer(1, 3);
    assert_eq!(
        (known.state, known.next_index),
        (PeerState::Probe, index(2)),
        "what it covers isn't counted on"
    );
    assert!(known.paused, "until it is heard");
    cluster.heal();
    cluster.rounds(3);
    assert_eq!((count_snapshots(&cluster), cluster.commit(3)), (2, 7));
}

#[test]
fn after_a_finished_transfer_the_log_goes_on_behind_the_snapshot() {
    let mut cluster = compacted();
    cluster.heal();
    cluster.lose_if(|message| is_append_reply(message) && message.from == id(3));
    cluster.rounds(2);
    assert_eq!(cluster.peer(1, 3).state, PeerState::Snapshot { pending: index(6) });
    cluster.node_mut(1).report_snapshot(id(3), SnapshotStatus::Finished);
    let known = cluster.peer(1, 3);
    assert_eq!((known.state, known.next_index, known.paused), (PeerState::Probe, index(7), true));
    assert_eq!(known.match_index, index(1), "only its own word counts for commitment");
    cluster.heal();
    cluster.rounds(3);
    assert_eq!((count_snapshots(&cluster), cluster.commit(3)), (1, 7), "the snapshot isn't sent again");
}

#[test]
fn an_acknowledgement_ends_the_wait_whatever_snapshot_it_is_of() {
    let mut cluster = compacted();
    cluster.heal();
    cluster.lose_if(is_snapshot);
    cluster.rounds(2);
    // The application brought it up to index 6 by other means, and a little less would not do.
    let by_hand =
        |last| (2..=last).map(|i| raft_core::Entry::normal(term(1), index(i), "x".into())).collect();
    cluster.step(message(1, 3, 1, append(at(1, 1), by_hand(4), 0))).unwrap();
    cluster.settle();
    assert_eq!(cluster.peer(1, 3).match_index, index(4));
    assert_eq!(cluster.peer(1, 3).state, PeerState::Snapshot { pending: index(6) });
    cluster.step(message(1, 3, 1, append(at(1, 1), by_hand(6), 0))).unwrap();
    cluster.settle();
    assert_eq!(cluster.peer(1, 3).state, PeerState::Replicate);
    assert_eq!(cluster.commit(3), 7);
}

#[test]
fn a_peer_brought_up_to_the_log_need_not_have_the_snapshot() {
    let mut cluster = compacted();
    // The storage has a snapshot that is newer than it need be: the log goes on from index 7, the snapshot covers that too.
    let newer = snapshot(at(1, 7), members());
    cluster.node_mut(1).storage_mut().set_snapshot(newer);
    cluster.heal();
    cluster.lose_if(is_snapshot);
    cluster.rounds(2);
    assert_eq!(cluster.peer(1, 3).state, PeerState::Snapshot { pending: index(7) });
    let by_hand = (2..=6).map(|i| raft_core::Entry::normal(term(1), index(i), "x".into())).collect();
    cluster.step(message(1, 3, 1, append(at(1, 1), by_hand, 0))).unwrap();
    cluster.settle();
    assert_eq!(cluster.peer(1, 3).state, PeerState::Replicate);
    assert_eq!(cluster.commit(3), 7);
}

// -- the follower

#[test]
fn a_snapshot_replaces_the_log_and_is_acknowledged_when_it_is_durable() {
    let mut cluster = follower(&[1, 1], 1);
    cluster.set_disk(1, Disk::Held);
    cluster.step(message(2, 1, 3, install(snapshot(at(2, 7), members())))).unwrap();
    let status = cluster.status(1);
    assert_eq!((status.commit, status.last, status.applied), (index(7), index(7), index(1)));
    assert_eq!(cluster.take_all(), [], "no word before it is on the disk");
    cluster.persist_all(1);
    assert_eq!(cluster.take_all(), [message(1, 2, 3, accepted(7))]);
    assert_eq!((cluster.status(1).applied, cluster.slot(1).applied.len()), (index(7), 7));
    assert_eq!(cluster.log_terms(1), [0_u64; 0]);
}

#[test]
fn a_crash_before_a_snapshot_is_durable_loses_it_and_nothing_else() {
    let mut cluster = follower(&[1, 1], 1);
    cluster.set_disk(1, Disk::Held);
    cluster.step(message(2, 1, 3, install(snapshot(at(2, 7), members())))).unwrap();
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!((cluster.last(1), cluster.commit(1), cluster.log_terms(1)), (2, 1, vec![1, 1]));
}

#[test]
fn an_old_or_repeated_snapshot_changes_nothing() {
    let mut cluster = follower(&[1, 1, 1, 1], 3);
    for old in [at(1, 1), at(1, 2), at(1, 3), at(3, 3), at(2, 2)] {
        cluster.step(message(2, 1, 3, install(snapshot(old, conf_state(&[1], &[]))))).unwrap();
        assert_eq!(cluster.take_all(), [message(1, 2, 3, accepted(3))], "what it has is told");
        assert_eq!((cluster.commit(1), cluster.log_terms(1)), (3, vec![1, 1, 1, 1]));
        assert_eq!(cluster.status(1).conf_state, members());
    }
    let new = message(2, 1, 3, install(snapshot(at(2, 9), members())));
    cluster.step(new.clone()).unwrap();
    cluster.step(message(2, 1, 3, append(at(2, 9), entries(10, &[3]), 10))).unwrap();
    cluster.step(new).unwrap();
    assert_eq!((cluster.last(1), cluster.commit(1), cluster.log_terms(1)), (10, 10, vec![3]));
}

#[test]
fn a_snapshot_whose_last_entry_is_in_the_log_only_moves_the_commit_index() {
    let mut cluster = follower(&[1, 1, 2, 2], 1);
    cluster.step(message(2, 1, 3, install(snapshot(at(2, 3), conf_state(&[1, 2], &[3]))))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 2, 3, accepted(3))]);
    assert_eq!((cluster.log_terms(1), cluster.commit(1)), (vec![1, 1, 2, 2], 3), "what follows stays");
    assert_eq!(cluster.applied(1), ["1/1", "1/2", "2/3"], "and is applied entry by entry");
    assert_eq!(cluster.status(1).conf_state, members(), "the configuration too comes from the entries");
}

#[test]
fn a_log_that_disagrees_with_a_snapshot_is_dropped_whole() {
    for tail in [vec![1, 1, 1, 1, 1], vec![1, 1, 1]] {
        let mut cluster = follower(&tail, 1);
        cluster.step(message(2, 1, 3, install(snapshot(at(2, 3), members())))).unwrap();
        assert_eq!((cluster.last(1), cluster.commit(1), cluster.log_terms(1)), (3, 3, vec![]));
        // It votes by the snapshot's position now, not by what it had.
        cluster.take_all();
        cluster.step(message(3, 1, 4, request_vote(at(1, 5)))).unwrap();
        cluster.step(message(3, 1, 5, request_vote(at(2, 3)))).unwrap();
        assert_eq!(
            cluster.take_all(),
            [message(1, 3, 4, refused_knowing(at(2, 3))), message(1, 3, 5, granted())]
        );
    }
}

#[test]
fn the_configuration_becomes_that_of_the_snapshot() {
    let mut cluster = follower(&[], 0);
    let joint = ConfState {
        voters: ids(&[1, 4]),
        voters_outgoing: ids(&[1, 5]),
        learners: ids(&[6]),
        learners_next: ids(&[5]),
        auto_leave: true,
    };
    cluster.step(message(2, 1, 3, install(snapshot(at(2, 9), joint.clone())))).unwrap();
    assert_eq!(cluster.status(1).conf_state, joint, "and nothing of the old one");
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    let asked: Vec<u64> = cluster.take_if(is_vote_request).iter().map(|message| message.to.get()).collect();
    assert_eq!(asked, [4, 5]);
    // Both halves must agree (thesis §4.3).
    cluster.step(message(4, 1, 4, granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Candidate);
    cluster.step(message(5, 1, 4, granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Leader);
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.status(1).conf_state, joint, "it is as durable as the snapshot");
}

#[test]
fn in_a_joint_configuration_both_halves_must_have_an_entry() {
    let joint = ConfState { voters_outgoing: ids(&[1, 4, 5]), ..conf_state(&[1, 2, 3], &[]) };
    let disks = (1..=5).map(|n| (n, MemoryStorage::with_conf_state(joint.clone())));
    let mut cluster = Cluster::from_disks(disks, figure_2);
    cluster.elect(1);
    assert_eq!(cluster.commit(1), 1);
    cluster.cut_link(1, 4);
    cluster.cut_link(1, 5);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), 1, "no majority of the outgoing half");
    cluster.heal();
    cluster.cut_link(1, 2);
    cluster.cut_link(1, 5);
    cluster.rounds(3);
    assert_eq!(cluster.commit(1), 2);
}

#[test]
fn a_snapshot_that_is_not_meant_for_this_node_changes_nothing() {
    let mut cluster = follower(&[1], 1);
    cluster.step(message(2, 1, 3, install(snapshot(at(2, 9), conf_state(&[2, 3], &[4]))))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 2, 3, accepted(1))]);
    assert_eq!((cluster.last(1), cluster.status(1).conf_state), (1, members()));
    for meant in
        [conf_state(&[2, 3], &[1]), ConfState { voters_outgoing: ids(&[1]), ..conf_state(&[2], &[]) }]
    {
        let mut cluster = follower(&[1], 1);
        cluster.step(message(2, 1, 3, install(snapshot(at(2, 9), meant)))).unwrap();
        assert_eq!(cluster.last(1), 9, "a learner and one who leaves are members");
    }
}

#[test]
fn entries_behind_a_pending_snapshot_are_accepted_and_applied_after_it() {
    for configure in [figure_2, asynchronous] {
        let disk = disk_with(&[1, 2, 3], &[1], 1);
        let mut cluster = Cluster::from_disks([(1, disk)], configure);
        cluster.set_disk(1, Disk::Held);
        cluster.step(message(2, 1, 3, install(snapshot(at(2, 5), members())))).unwrap();
        cluster.step(message(2, 1, 3, append(at(2, 5), entries(6, &[2, 3]), 7))).unwrap();
        assert_eq!((cluster.last(1), cluster.commit(1)), (7, 7));
        assert!(cluster.slot(1).applied.len() <= 1, "not on the wrong base");
        cluster.persist_all(1);
        assert_eq!((cluster.status(1).applied, cluster.slot(1).applied.len()), (index(7), 7));
        assert_eq!(cluster.log_terms(1), [2, 3]);
    }
}

#[test]
fn snapshot_and_entries_may_come_in_one_ready() {
    let disk = disk_with(&[1, 2, 3], &[1, 1, 1], 1);
    let mut cluster = Cluster::from_disks([(1, disk)], figure_2);
    let node = cluster.node_mut(1);
    node.step(message(2, 1, 3, install(snapshot(at(2, 2), members())))).unwrap();
    node.step(message(2, 1, 3, append(at(2, 2), entries(3, &[3]), 3))).unwrap();
    let ready = node.ready();
    assert!(ready.must_sync && ready.snapshot.is_some());
    assert_eq!(ready.entries, entries(3, &[3]).to_vec());
    assert!(ready.committed_entries.is_empty(), "first the snapshot must be restored");
    assert_eq!(ready.persisted_messages.len(), 2);
    node.storage_mut().persist(&ready).unwrap();
    node.advance(ready).unwrap();
    assert_eq!(node.applied_index(), index(2));
    let ready = node.ready();
    assert_eq!(ready.committed_entries, entries(3, &[3]).to_vec());
}

#[test]
fn a_second_snapshot_replaces_one_that_is_not_durable_yet() {
    let mut cluster = follower(&[], 0);
    cluster.set_disk(1, Disk::Held);
    for position in [at(1, 5), at(2, 9)] {
        cluster.step(message(2, 1, 3, install(snapshot(position, members())))).unwrap();
    }
    cluster.persist_one(1);
    assert_eq!(cluster.status(1).applied, index(0), "the log stands on the second one now");
    cluster.persist_all(1);
    assert_eq!((cluster.status(1).applied, cluster.last(1)), (index(9), 9));
}

#[test]
fn a_lagging_learner_gets_a_snapshot_too() {
    let mut cluster = Cluster::of(&[1], &[2], |_| {});
    cluster.crash(2);
    cluster.ticks(1, 20);
    cluster.propose(1, "x").unwrap();
    cluster.compact(1);
    cluster.restart(2);
    cluster.rounds(3);
    assert_eq!((cluster.applied(2), cluster.log_terms(2)), (vec!["x".to_owned()], vec![]));
}

#[test]
fn a_snapshot_carries_the_applications_bytes_and_is_handed_out_once() {
    let mut cluster = follower(&[], 0);
    let mut state = snapshot(at(1, 5), members());
    state.data = Bytes::from_static(b"state");
    let node = cluster.node_mut(1);
    node.step(message(2, 1, 3, install(state.clone()))).unwrap();
    let ready = node.ready();
    assert_eq!(ready.snapshot, Some(state));
    assert!(!node.has_ready(), "nor again before it is acknowledged");
    node.storage_mut().persist(&ready).unwrap();
    node.advance(ready).unwrap();
    assert!(!node.has_ready());
}
