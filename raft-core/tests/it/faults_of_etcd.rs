//! The faults of etcd's core that are printed at the end of `../shared/bugs.md`, by the schedules that are printed there. Numbers
//! are theirs; 5 and 6 are about a storage's snapshots, and stand in `given_snapshots`.

use raft_core::ConfChangeKind::{AddLearner, AddVoter, Remove};
use raft_core::{ConfChangeTransition, Config, ProposeError, ReadMode, RoleKind, Storage};

use crate::cluster::{Cluster, Disk, asynchronous, figure_2};
use crate::words::*;

/// Writes complete later, and nothing but the paper's figure 2.
fn asynchronous_figure_2(config: &mut Config) {
    figure_2(config);
    asynchronous(config);
}

/// Node 3 of three has led term 1 and replicated "a" at index 2; node 1 writes slowly from here on.
fn slow_disk_at_1() -> Cluster {
    let mut cluster = Cluster::with(3, asynchronous_figure_2);
    cluster.elect(3);
    cluster.propose(3, "a").unwrap();
    cluster.settle();
    cluster.rounds(1);
    cluster.set_disk(1, Disk::Held);
    cluster
}

/// A loss of power, and a disk that writes at once from here on.
fn lose_power(cluster: &mut Cluster, n: u64) {
    cluster.crash(n);
    cluster.set_disk(n, Disk::AtOnce);
    cluster.restart(n);
}

fn all_apply(cluster: &mut Cluster, commands: &[&str]) {
    cluster.rounds(2);
    for n in cluster.numbers() {
        assert_eq!(cluster.applied(n), commands, "node {n}");
    }
}

// -- 0: a term that is led twice

#[test]
fn a_candidate_that_forgets_its_term_has_not_led_it() {
    let mut cluster = slow_disk_at_1();
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.settle();
    // There its requests have left by now; it leads term 2, and x is at 3/2 on the others.
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Candidate, 2));
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::Campaigning));
    assert_eq!((cluster.term(2), cluster.term(3)), (1, 1), "nobody was asked");

    lose_power(&mut cluster, 1);
    assert_eq!(cluster.term(1), 1, "term 2 is forgotten");
    cluster.elect(1);
    assert_eq!(cluster.term(1), 2);
    cluster.propose(1, "y").unwrap();
    all_apply(&mut cluster, &["a", "y"]);
}

#[test]
fn a_leader_that_loses_its_entries_remembers_that_it_led() {
    let mut cluster = slow_disk_at_1();
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    assert!(cluster.persist_one(1), "its term and vote");
    cluster.settle();
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Leader, 2));
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(
        (cluster.applied(2), cluster.applied(3)),
        (vec!["a".into(), "x".into()], vec!["a".into(), "x".into()])
    );
    assert_eq!(cluster.applied(1), ["a"], "of its own disk it knows better");

    lose_power(&mut cluster, 1);
    assert_eq!((cluster.term(1), cluster.last(1)), (2, 2));
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.settle();
    assert_eq!(
        (cluster.role(1), cluster.term(1)),
        (RoleKind::Follower, 3),
        "it asked in a new term, and was refused: it lacks x"
    );
    cluster.elect(2);
    cluster.propose(2, "y").unwrap();
    all_apply(&mut cluster, &["a", "x", "y"]);
}

// -- 1: all are up and connected, and nobody is ever elected

#[test]
fn a_leader_that_leaves_unheard_leaves_a_cluster_that_elects() {
    for kind in [AddLearner, Remove] {
        for configure in [figure_2 as fn(&mut Config), |_| {}] {
            let mut cluster = Cluster::with(2, configure);
            cluster.elect(2);
            cluster.propose(2, "a").unwrap();
            cluster.settle();
            cluster.rounds(1);
            // Node 2 makes itself a learner, or leaves; node 1 gets that entry, and acknowledges it.
            cluster.change(2, change(&[(kind, 2)])).unwrap();
            cluster.deliver_if(is_append);
            cluster.lose_if(|message| message.from == id(2));
            cluster.propose(2, "x").unwrap();
            cluster.settle();
            assert_eq!((cluster.role(2), cluster.last(2), cluster.commit(2)), (RoleKind::Follower, 4, 3));
            assert_eq!(
                (cluster.last(1), cluster.commit(1)),
                (3, 2),
                "it doesn't know that the change is committed"
            );
            assert_eq!(cluster.conf_state(1), conf_state(&[1, 2], &[]));

            cluster.lose_if(|_| false);
            let rounds = (1..100).find(|_| {
                cluster.round();
                cluster.leader() == Some(1)
            });
            assert!(rounds.is_some_and(|rounds| rounds < 60), "{kind:?}: {rounds:?}");
            cluster.propose(1, "y").unwrap();
            cluster.settle();
            assert_eq!(cluster.applied(1), ["a", "y"]);
            assert_eq!(cluster.conf_state(1).voters, ids(&[1]));
        }
    }
}

// -- 2: a stale read by lease, though no time has passed

#[test]
fn a_leader_that_hands_over_serves_nothing_by_lease_for_the_rest_of_its_term() {
    let mut cluster = Cluster::with(3, |config| config.lease_reads = true);
    cluster.elect(1);
    cluster.rounds(2);
    cluster.read(1, "before", ReadMode::Lease).unwrap();
    cluster.settle();
    cluster.read(1, "by lease", ReadMode::Lease).unwrap();
    assert_eq!(cluster.slot(1).reads.len(), 2, "it has a lease");
    cluster.node_mut(1).transfer_leader(id(3)).unwrap();
    cluster.pump(1);
    cluster.cut_one_way(2, 1);
    cluster.cut_one_way(3, 1);
    cluster.read(1, "during", ReadMode::Lease).unwrap();
    assert_eq!(cluster.slot(1).reads.len(), 2);
    cluster.deliver_if(is_timeout_now);
    cluster.settle();
    let roles = (cluster.role(3), cluster.role(1));
    assert_eq!(roles, (RoleKind::Leader, RoleKind::Leader), "of different terms");
    cluster.propose(3, "newer").unwrap();
    cluster.settle();
    cluster.read(1, "after", ReadMode::Lease).unwrap();
    assert_eq!(cluster.slot(1).reads.len(), 2, "a stale read");
}

// -- 3: reads that nobody is left to confirm

#[test]
fn reads_that_wait_are_answered_when_the_leader_is_left_alone() {
    let mut cluster = Cluster::with(2, |_| {});
    cluster.elect(1);
    cluster.rounds(1);
    cluster.change(1, change(&[(Remove, 2)])).unwrap();
    cluster.deliver_if(is_append);
    cluster.lose_if(is_heartbeat);
    cluster.read(1, "r", ReadMode::Quorum).unwrap();
    assert_eq!(cluster.slot(1).reads.len(), 0);
    cluster.settle();
    assert_eq!(cluster.conf_state(1), conf_state(&[1], &[]));
    assert_eq!((cluster.slot(1).reads.len(), cluster.status(1).pending_reads), (1, 0));
}

#[test]
fn a_read_is_answered_at_once_where_both_halves_are_the_leader() {
    let mut cluster = Cluster::new(1);
    cluster.elect(1);
    cluster.change_and_settle(1, transition(ConfChangeTransition::JointExplicit, &[(AddVoter, 1)]));
    assert_eq!(cluster.conf_state(1), joint(&[1], &[1]));
    cluster.read(1, "r", ReadMode::Quorum).unwrap();
    assert_eq!(cluster.slot(1).reads.len(), 1);
}

// -- 4: who can't win keeps those quiet who could

#[test]
fn two_short_logs_that_campaign_without_end_do_not_silence_three_long_ones() {
    let mut cluster = Cluster::with_logs(&[&[1, 1], &[1, 1], &[1, 1], &[], &[]], figure_2);
    let mut elections = 0;
    let ticks = (1..=20).find(|_| {
        for short in [4, 5] {
            cluster.node_mut(short).campaign().unwrap();
            cluster.pump(short);
            cluster.settle();
            assert_eq!(cluster.role(short), RoleKind::Follower, "three have refused");
            elections += 1;
        }
        for long in 1..=3 {
            cluster.tick(long);
        }
        cluster.settle();
        cluster.leader().is_some()
    });
    // No time-out is longer than twice the least one; each is as it was drawn, whoever campaigns meanwhile.
    assert!(ticks.is_some_and(|ticks| ticks < 20), "{ticks:?} ticks, {elections} elections");
    assert!(cluster.leader().is_some_and(|leader| leader <= 3));
}

// -- 7: what isn't durable and is counted on

#[test]
fn a_candidate_asks_for_votes_after_all_that_it_was_given_is_durable() {
    let mut cluster = slow_disk_at_1();
    // What the leader of term 1 sent last is on its way to the disk when the candidate asks.
    cluster.propose(3, "b").unwrap();
    cluster.settle();
    cluster.propose(3, "c").unwrap();
    cluster.settle();
    cluster.crash(3);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    while cluster.disk(1).hard_state().term < term(2) {
        assert!(!cluster.network.iter().any(is_vote_request), "before its own vote");
        assert!(cluster.persist_one(1));
    }
    assert_eq!(cluster.disk(1).last_index().unwrap(), index(4));
    cluster.settle();
    assert_eq!(cluster.role(1), RoleKind::Leader, "with the vote of node 2");
    assert_eq!(cluster.peer(1, 1).match_index, index(4), "match of the leader itself is on its disk");
    assert_eq!(cluster.last(1), 5, "the first entry of its term isn't");
}

#[test]
fn a_leader_counts_on_its_own_log_as_far_as_it_is_durable() {
    let mut cluster = Cluster::with(3, asynchronous_figure_2);
    cluster.elect(1);
    cluster.rounds(1);
    cluster.set_disk(1, Disk::Held);
    cluster.isolate(3);
    cluster.propose(1, "x").unwrap();
    cluster.propose(1, "y").unwrap();
    cluster.settle();
    let known = |cluster: &Cluster| {
        (cluster.peer(1, 1).match_index, cluster.peer(1, 2).match_index, cluster.commit(1))
    };
    assert_eq!(known(&cluster), (index(1), index(3), 1), "two have both, one of them durably");
    while cluster.peer(1, 1).match_index < index(3) {
        assert!(cluster.persist_one(1));
        let own = cluster.peer(1, 1).match_index;
        assert!(own <= cluster.disk(1).last_index().unwrap());
        assert_eq!(cluster.commit(1), own.get(), "what both have");
    }

    // A quorum of others is enough: the commit index may pass what is durable here (thesis §10.2.1).
    cluster.heal();
    cluster.persist_all(1);
    cluster.settle();
    cluster.rounds(2);
    cluster.persist_all(1);
    cluster.propose(1, "z").unwrap();
    cluster.settle();
    assert_eq!((cluster.commit(1), cluster.peer(1, 1).match_index), (4, index(3)));
    assert_eq!((cluster.status(1).durable, cluster.applied(1)), (index(3), vec!["x".into(), "y".into()]));
    cluster.persist_all(1);
    all_apply_held(&mut cluster);
}

/// The slow disk catches up, and so does its state machine.
fn all_apply_held(cluster: &mut Cluster) {
    cluster.set_disk(1, Disk::AtOnce);
    cluster.persist_all(1);
    all_apply(cluster, &["x", "y", "z"]);
}
