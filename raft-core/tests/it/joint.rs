//! Joint configurations (thesis §4.3): both halves decide, until the old one is left.

use raft_core::ConfChangeKind::{AddLearner, AddVoter, Remove};
use raft_core::{
    ConfChangeProposal, ConfChangeRefusal, ConfChangeTransition, ConfState, Config, MemoryStorage, ReadMode,
    RoleKind, TransferEnd, TransferOutcome,
};

use crate::cluster::{Cluster, figure_2};
use crate::words::{joint, *};

fn explicit(steps: &[(raft_core::ConfChangeKind, u64)]) -> raft_core::ConfChangeV2 {
    transition(ConfChangeTransition::JointExplicit, steps)
}

/// Nodes 1 to 7 in this configuration from the start.
fn in_configuration(state: &ConfState, configure: impl Fn(&mut Config)) -> Cluster {
    let disk = MemoryStorage::with_conf_state(state.clone());
    Cluster::from_disks((1..=7).map(|n| (n, disk.clone())), configure)
}

#[test]
fn several_nodes_are_exchanged_in_one_change_that_leaves_by_itself() {
    for how in [ConfChangeTransition::Auto, ConfChangeTransition::JointImplicit] {
        let mut cluster = Cluster::with_spares(&[1, 2, 3], &[4, 5], |_| {});
        cluster.elect(1);
        let steps = [(AddVoter, 4), (AddVoter, 5), (Remove, 2), (Remove, 3)];
        cluster.change_and_settle(1, transition(how, &steps));
        for n in [1, 4, 5] {
            assert_eq!(cluster.conf_state(n), conf_state(&[1, 4, 5], &[]));
        }
        assert_eq!(cluster.last(1), 3, "the change, and the one that leaves");
    }
}

#[test]
fn an_explicit_joint_configuration_stays_until_it_is_left() {
    let mut cluster = Cluster::with_spares(&[1, 2, 3], &[4], |_| {});
    cluster.elect(1);
    cluster.change_and_settle(1, explicit(&[(AddVoter, 4), (Remove, 3)]));
    cluster.rounds(20);
    assert_eq!(cluster.conf_state(4), joint(&[1, 2, 4], &[1, 2, 3]));
    let another = cluster.change(1, change(&[(AddVoter, 3)]));
    assert!(
        matches!(another, Ok(ConfChangeProposal::Refused { reason: ConfChangeRefusal::JointPending, .. })),
        "{another:?}"
    );
    cluster.change_and_settle(1, leave());
    assert_eq!(cluster.conf_state(4), conf_state(&[1, 2, 4], &[]));
    let again = cluster.change(1, leave());
    assert!(matches!(again, Ok(ConfChangeProposal::Refused { reason: ConfChangeRefusal::NotJoint, .. })));
}

#[test]
fn a_candidate_needs_a_majority_of_each_half() {
    // B028: a majority of the union is none.
    for (voters, wins) in [
        (&[4, 5, 6][..], false), // four of seven, three of the new half's five
        (&[2, 4], false),
        (&[2, 6, 7], true),
        (&[4, 5, 6, 7], false),
        (&[2], false),
    ] {
        let mut cluster = in_configuration(&joint(&[3, 4, 5, 6, 7], &[1, 2, 3]), figure_2);
        cluster.node_mut(3).campaign().unwrap();
        cluster.pump(3);
        cluster.take_all();
        for voter in voters {
            cluster.step(message(*voter, 3, 1, granted())).unwrap();
        }
        assert_eq!(cluster.role(3) == RoleKind::Leader, wins, "{voters:?}");
    }
}

#[test]
fn an_entry_needs_a_majority_of_each_half() {
    // B030.
    for (holders, committed) in [(&[4, 5][..], false), (&[2], false), (&[2, 4], true), (&[4, 5, 2], true)] {
        let mut cluster = in_configuration(&joint(&[3, 4, 5], &[1, 2, 3]), figure_2);
        cluster.elect(3);
        cluster.propose(3, "x").unwrap();
        cluster.settle_without(|message| is_append(message) && !holders.contains(&message.to.get()));
        assert_eq!(cluster.commit(3) == 2, committed, "{holders:?}");
    }
}

#[test]
fn a_quorum_check_needs_a_majority_of_each_half() {
    let mut cluster = in_configuration(&joint(&[3, 4, 5], &[1, 2, 3]), |_| {});
    cluster.elect(3);
    cluster.rounds(10);
    cluster.isolate(1);
    cluster.isolate(2);
    cluster.rounds(11);
    assert_eq!(cluster.role(3), RoleKind::Follower, "the outgoing half is silent");
}

#[test]
fn a_read_needs_a_majority_of_each_half() {
    let mut cluster = in_configuration(&joint(&[3, 4, 5], &[1, 2, 3]), |_| {});
    cluster.elect(3);
    cluster.read(3, "r", ReadMode::Quorum).unwrap();
    cluster.settle_without(|message| is_heartbeat(message) && message.to < id(3));
    assert_eq!(cluster.slot(3).reads.len(), 0);
    cluster.rounds(1);
    assert_eq!(cluster.slot(3).reads.len(), 1);
}

#[test]
fn a_voter_is_demoted_when_the_joint_configuration_is_left() {
    // B103.
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.change_and_settle(1, explicit(&[(AddLearner, 3)]));
    let between = ConfState { learners_next: ids(&[3]), ..joint(&[1, 2], &[1, 2, 3]) };
    assert_eq!(cluster.conf_state(3), between);
    assert!(!cluster.peer(1, 3).is_learner, "it votes for the old half");
    cluster.change_and_settle(1, leave());
    assert_eq!(cluster.conf_state(3), conf_state(&[1, 2], &[3]));
    assert!(cluster.peer(1, 3).is_learner);
    assert_eq!(cluster.peer(1, 3).match_index, cluster.status(1).last, "it went on receiving");
}

#[test]
fn one_who_is_removed_receives_until_the_joint_configuration_is_left() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.change_and_settle(1, explicit(&[(Remove, 3)]));
    let known = cluster.peer(1, 3).match_index;
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.peer(1, 3).match_index, known.next(), "what is known of it stays");
    cluster.change_and_settle(1, leave());
    assert_eq!(cluster.status(1).progress.len(), 2);
}

#[test]
fn a_leader_of_the_outgoing_half_leads_until_that_is_left() {
    let mut cluster = Cluster::with_spares(&[1, 2, 3], &[4], |_| {});
    cluster.elect(1);
    cluster.change_and_settle(1, explicit(&[(AddVoter, 4), (Remove, 1)]));
    assert_eq!((cluster.role(1), cluster.conf_state(1)), (RoleKind::Leader, joint(&[2, 3, 4], &[1, 2, 3])));
    cluster.propose(1, "x").unwrap();
    cluster.change_and_settle(1, leave());
    assert_eq!((cluster.role(1), cluster.applied(4)), (RoleKind::Follower, vec!["x".to_owned()]));
    cluster.crash(1);
    cluster.elect_among(&[2, 3, 4]);
}

#[test]
fn a_new_leader_leaves_the_joint_configuration_that_it_inherits() {
    // B095.
    let mut cluster = Cluster::with_spares(&[1, 2, 3], &[4], figure_2);
    cluster.elect(1);
    cluster.change(1, change(&[(AddVoter, 4), (Remove, 3)])).unwrap();
    let mut before_leave = cluster.take_all();
    cluster.lose_if(|message| message.from == id(1) && has_entries(message));
    for _ in 0..4 {
        for message in std::mem::take(&mut before_leave) {
            cluster.deliver(message);
        }
        before_leave = cluster.take_all();
    }
    assert_eq!(cluster.conf_state(2), ConfState { auto_leave: true, ..joint(&[1, 2, 4], &[1, 2, 3]) });
    cluster.crash(1);
    cluster.heal();
    cluster.take_all();
    let leader = cluster.elect_among(&[2, 3]);
    cluster.rounds(10);
    assert_eq!(cluster.conf_state(leader), conf_state(&[1, 2, 4], &[]));
}

#[test]
fn a_transfer_that_fails_holds_up_the_leaving_and_no_longer() {
    // B095: during a transfer nothing is proposed; and when it ends there may be nothing else to apply.
    let mut cluster = Cluster::with_spares(&[1, 2, 3], &[4], |_| {});
    cluster.elect(1);
    cluster.change(1, change(&[(AddVoter, 4), (Remove, 3)])).unwrap();
    cluster.isolate(3);
    cluster.node_mut(1).transfer_leader(id(3)).unwrap();
    cluster.settle();
    assert_eq!(cluster.conf_state(1), ConfState { auto_leave: true, ..joint(&[1, 2, 4], &[1, 2, 3]) });
    cluster.rounds(12);
    let timed_out = TransferOutcome { to: id(3), end: TransferEnd::TimedOut };
    assert_eq!(cluster.slot(1).transfers, [timed_out]);
    assert_eq!(cluster.conf_state(1), conf_state(&[1, 2, 4], &[]));
}

#[test]
fn a_member_of_the_outgoing_half_takes_a_snapshot() {
    // B092. {1, 2} to {1, 3}: node 2 is needed to leave, and lags behind what is compacted.
    let mut cluster = Cluster::with_spares(&[1, 2, 4], &[3], |_| {});
    cluster.elect(1);
    cluster.isolate(2);
    cluster.change_and_settle(1, explicit(&[(AddVoter, 3), (Remove, 2)]));
    cluster.compact(1);
    cluster.heal();
    cluster.rounds(4);
    assert!(cluster.sent.iter().any(is_snapshot));
    assert_eq!(cluster.conf_state(2), joint(&[1, 3, 4], &[1, 2, 4]));
    assert_eq!(cluster.peer(1, 2).match_index, cluster.status(1).last);
}
