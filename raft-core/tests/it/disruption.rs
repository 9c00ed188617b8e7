//! Elections that aren't to happen: pre-vote (thesis §9.6), check-quorum (§6.2), and deaf ears for candidates while a leader
//! is heard (§4.2.3).

use raft_core::proto::RequestVote;
use raft_core::{Body, CampaignError, Config, HardState, MemoryStorage, Message, ReadMode, RoleKind, Status};

use crate::cluster::{Cluster, disk_with, figure_2};
use crate::words::*;

fn pre_vote_only(config: &mut Config) {
    config.check_quorum = false;
}

/// A status without what counting alone changes.
fn quiet(mut status: Status) -> Status {
    status.basic.counters = Default::default();
    status.basic.writes_in_flight = 0;
    status
}

// -- pre-vote

#[test]
fn a_pre_candidate_keeps_its_term_until_a_majority_would_vote_for_it() {
    let mut cluster = Cluster::with(5, pre_vote_only);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::PreCandidate, 0));
    let asked = cluster.take_all();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|message| is_pre_vote(message) && message.term == term(1)), "in the next term");
    cluster.step(message(2, 1, 1, pre_granted())).unwrap();
    cluster.step(message(2, 1, 1, pre_granted())).unwrap();
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::PreCandidate, 0), "two of five");
    cluster.step(message(3, 1, 1, pre_granted())).unwrap();
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Candidate, 1));
    assert_eq!(cluster.status(1).vote, Some(id(1)));
    assert!(cluster.take_all().iter().all(is_vote_request));
}

#[test]
fn votes_and_pre_votes_are_not_taken_for_one_another() {
    let mut cluster = Cluster::with(3, pre_vote_only);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(2, 1, 1, pre_granted())).unwrap();
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Candidate, 1));
    cluster.step(message(3, 1, 1, pre_granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Candidate, "a late pre-vote is no vote");
    cluster.step(message(3, 1, 1, granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn a_pre_vote_changes_nothing_at_the_voter_whatever_the_answer() {
    for (asked_term, last, answer) in [
        (2, at(1, 3), Some(pre_granted())),
        (9, at(1, 3), Some(pre_granted())),
        (2, at(1, 2), Some(pre_refused())),
        (9, at(0, 0), Some(pre_refused())),
        (1, at(1, 3), Some(pre_granted())), // its own term, in which it has not voted
    ] {
        let mut cluster = Cluster::with_logs(&[&[1, 1, 1], &[], &[]], pre_vote_only);
        cluster.ticks(1, 5);
        let before = quiet(cluster.status(1));
        cluster.step(message(2, 1, asked_term, pre_vote(last))).unwrap();
        assert_eq!(quiet(cluster.status(1)), before, "asked in term {asked_term} for {last}");
        let answers: Vec<Body> = cluster.take_all().into_iter().map(|message| message.body).collect();
        assert_eq!(answers, Vec::from_iter(answer), "asked in term {asked_term} for {last}");
    }
}

#[test]
fn a_grant_of_a_pre_vote_carries_the_term_asked_for_and_a_refusal_the_voters_own() {
    let mut cluster = Cluster::with_logs(&[&[1, 4], &[], &[]], pre_vote_only);
    cluster.step(message(2, 1, 9, pre_vote(at(4, 2)))).unwrap();
    cluster.step(message(3, 1, 9, pre_vote(at(1, 1)))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 2, 9, pre_granted()), message(1, 3, 4, pre_refused())]);
}

#[test]
fn pre_votes_of_several_candidates_may_all_be_granted() {
    let mut cluster = Cluster::with(3, pre_vote_only);
    for candidate in [2, 3, 2] {
        cluster.step(message(candidate, 1, 1, pre_vote(at(0, 0)))).unwrap();
    }
    assert!(cluster.take_all().iter().all(|message| message.body == pre_granted()));
}

#[test]
fn a_pre_vote_of_a_lower_term_is_refused_with_the_higher_one() {
    let mut cluster = Cluster::with_logs(&[&[1, 8], &[], &[]], pre_vote_only);
    cluster.step(message(2, 1, 6, pre_vote(at(5, 9)))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 2, 8, pre_refused())]);
}

#[test]
fn a_refusal_of_a_higher_term_makes_the_pre_candidate_follow_that_term() {
    let mut cluster = Cluster::with(3, pre_vote_only);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(2, 1, 8, pre_refused())).unwrap();
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Follower, 8));
}

#[test]
fn the_best_log_wins_though_its_node_knows_only_a_lower_term() {
    // Node 3 is gone, node 2 is far ahead in terms but not in entries: without an answer to its pre-vote of a lower
    // term, node 1 could never catch up with the terms, nor could node 2 ever win.
    let voters = [1, 2, 3];
    let mut ahead = disk_with(&voters, &[1], 0);
    ahead.set_hard_state(HardState { term: term(8), vote: Some(id(2)), commit: index(0) });
    let disks =
        [(1, disk_with(&voters, &[1, 1, 5], 0)), (2, ahead), (3, MemoryStorage::with_voters(ids(&voters)))];
    let mut cluster = Cluster::from_disks(disks, |_| {});
    cluster.crash(3);
    cluster.rounds(80);
    assert_eq!(cluster.leader(), Some(1));
    assert!(cluster.term(1) > 8);
}

#[test]
fn each_pre_election_starts_from_an_empty_tally() {
    let mut cluster = Cluster::with(5, pre_vote_only);
    for voter in [2, 3, 4] {
        cluster.node_mut(1).campaign().unwrap();
        cluster.pump(1);
        cluster.step(message(voter, 1, 1, pre_granted())).unwrap();
        assert_eq!(cluster.role(1), RoleKind::PreCandidate);
    }
    // A refusal doesn't stay either, else a node that asked too early could never win again.
    cluster.step(message(5, 1, 0, pre_refused())).unwrap_err();
    let mut cluster = Cluster::with_logs(&[&[1], &[1], &[1]], pre_vote_only);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(2, 1, 1, pre_refused())).unwrap();
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(2, 1, 2, pre_granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Candidate);
}

#[test]
fn a_pre_vote_that_was_granted_for_an_earlier_term_does_not_count() {
    let mut cluster = Cluster::with_logs(&[&[1], &[1], &[1]], pre_vote_only);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    // Node 2 grants what was asked in term 2, and this is on its way when node 1 hears of term 4.
    cluster.step(message(3, 1, 4, refused())).unwrap();
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::PreCandidate, 4));
    for late in [2, 4, 6] {
        cluster.step(message(2, 1, late, pre_granted())).unwrap();
        assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::PreCandidate, 4), "it asks for term 5");
    }
    cluster.step(message(2, 1, 5, pre_granted())).unwrap();
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Candidate, 5));
}

#[test]
fn a_pre_candidate_follows_a_leader_of_its_own_term() {
    let mut cluster = Cluster::with_logs(&[&[1], &[1], &[1]], pre_vote_only);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(2, 1, 1, heartbeat(0))).unwrap();
    assert_eq!((cluster.role(1), cluster.node(1).leader()), (RoleKind::Follower, Some(id(2))));
}

#[test]
fn a_node_that_comes_back_from_isolation_does_not_unseat_the_leader() {
    for (configure, protected) in
        [(figure_2 as fn(&mut Config), false), (pre_vote_only, true), (|_| {}, true)]
    {
        // Every phase between the timers of the two sides.
        for phase in 0..25 {
            let mut cluster = Cluster::with(3, configure);
            cluster.elect(1);
            cluster.isolate(3);
            cluster.rounds(40 + phase);
            assert_eq!(cluster.term(3) > 1, !protected, "without pre-vote its term grows");
            cluster.heal();
            cluster.rounds(30);
            if protected {
                assert_eq!((cluster.leader(), cluster.term(1), cluster.term(3)), (Some(1), 1, 1));
                assert_eq!(cluster.node(3).leader(), Some(id(1)));
            } else {
                assert!(cluster.leader().is_some() && cluster.term(1) > 1);
            }
        }
    }
}

#[test]
fn a_node_stuck_at_a_higher_term_deposes_the_leader_and_gets_back_in() {
    // Without pre-vote, but with check-quorum, nobody listens to node 3's campaigns: it answers the leader's
    // messages of a lower term instead.
    let mut cluster = Cluster::with(3, |config| config.pre_vote = false);
    cluster.elect(1);
    cluster.isolate(3);
    cluster.rounds(40);
    let stuck = cluster.term(3);
    assert!(stuck > 1);
    cluster.heal();
    cluster.rounds(60);
    assert!(cluster.term(1) >= stuck && cluster.leader().is_some());
    assert!(cluster.numbers().iter().all(|n| cluster.term(*n) == cluster.term(1)));
}

#[test]
fn a_node_that_hears_nobody_does_not_keep_the_others_quiet() {
    // Node 3 can send to node 2 and hears nobody; the leader is gone.
    let mut cluster = Cluster::with_logs(&[&[1, 1], &[1, 1], &[1, 1], &[1, 1], &[1, 1]], pre_vote_only);
    for n in [1, 2, 4, 5] {
        cluster.cut_one_way(n, 3);
    }
    cluster.crash(4);
    for _ in 0..20 {
        cluster.node_mut(3).campaign().unwrap();
        cluster.rounds(2);
    }
    assert!(cluster.leader().is_some_and(|leader| leader != 3));
}

// -- check-quorum

/// Ticks until the leader `n` is none any more.
fn ticks_until_it_steps_down(cluster: &mut Cluster, n: u64) -> u32 {
    (1..=100)
        .find(|_| {
            cluster.tick(n);
            cluster.role(n) != RoleKind::Leader
        })
        .expect("it leads on for ever")
}

#[test]
fn a_leader_steps_down_within_an_election_timeout_without_a_quorum() {
    for phase in 0..10 {
        let mut cluster = Cluster::new(3);
        cluster.elect(1);
        cluster.rounds(10 + phase);
        cluster.isolate(1);
        assert_eq!(ticks_until_it_steps_down(&mut cluster, 1), 10);
        assert_eq!((cluster.node(1).leader(), cluster.term(1)), (None, 1), "in the same term");
        assert!(cluster.status(1).progress.is_empty());
    }
}

#[test]
fn a_new_leader_that_hears_nobody_steps_down_within_an_election_timeout() {
    let mut cluster = Cluster::new(3);
    cluster.elect_among(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    cluster.isolate(leader);
    assert!(ticks_until_it_steps_down(&mut cluster, leader) <= 10);
}

#[test]
fn a_leader_that_is_not_heard_steps_down_in_time_between_two_heartbeats() {
    let mut cluster = Cluster::with(3, |config| config.heartbeat_ticks = 4);
    cluster.elect(1);
    cluster.ticks(1, 3);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    cluster.isolate(1);
    // Heartbeats would be due 9 and 13 ticks from now.
    assert_eq!(ticks_until_it_steps_down(&mut cluster, 1), 10);
}

#[test]
fn a_leader_that_asks_once_in_an_election_timeout_takes_up_to_two() {
    // It looks at who was heard since it looked last. So it leads on to the end of the first such interval that passes in
    // silence: the silence is between one and two time-outs long.
    for phase in 0..10 {
        let mut cluster = Cluster::with(3, |config| config.check_quorum_each_tick = false);
        cluster.elect(1);
        cluster.rounds(10 + phase);
        let heard_in_this_interval = cluster.status(1).election_elapsed;
        cluster.isolate(1);
        assert_eq!(ticks_until_it_steps_down(&mut cluster, 1), 20 - heard_in_this_interval);
        assert_eq!((cluster.node(1).leader(), cluster.term(1)), (None, 1), "in the same term");
    }
}

#[test]
fn a_leader_that_still_hears_a_quorum_stays() {
    let mut cluster = Cluster::new(5);
    cluster.elect(1);
    cluster.crash(4);
    cluster.crash(5);
    cluster.rounds(200);
    assert_eq!((cluster.leader(), cluster.term(1)), (Some(1), 1));
}

#[test]
fn a_leader_that_hears_only_learners_steps_down() {
    let mut cluster = Cluster::of(&[1, 2, 3], &[4, 5, 6], |_| {});
    cluster.elect(1);
    for voter in [2, 3] {
        cluster.cut_link(1, voter);
    }
    cluster.rounds(21);
    assert_ne!(cluster.role(1), RoleKind::Leader, "learners don't renew a lease");
}

#[test]
fn a_leader_whose_learners_are_all_silent_stays() {
    let mut cluster = Cluster::of(&[1], &[2, 3, 4], |_| {});
    cluster.ticks(1, 20);
    for learner in [2, 3, 4] {
        cluster.crash(learner);
    }
    cluster.rounds(50);
    assert_eq!((cluster.leader(), cluster.term(1)), (Some(1), 1));
}

#[test]
fn without_check_quorum_a_leader_stays_however_alone() {
    let mut cluster = Cluster::plain(3);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.ticks(1, 500);
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

// -- deaf ears

#[test]
fn who_has_heard_from_its_leader_ignores_campaigns_for_an_election_timeout() {
    for body in [request_vote(at(9, 9)), pre_vote(at(9, 9))] {
        let mut cluster = Cluster::new(3);
        cluster.elect(1);
        cluster.rounds(3);
        cluster.ticks(2, 9);
        let before = cluster.status(2);
        cluster.step(message(3, 2, 5, body.clone())).unwrap();
        assert_eq!(quiet(cluster.status(2)), quiet(before), "no answer, and not even the term");
        assert_eq!(cluster.take_all(), []);
        cluster.tick(2);
        cluster.take_all();
        cluster.step(message(3, 2, 5, body)).unwrap();
        assert_eq!(cluster.take_all().len(), 1, "after ten ticks it listens again");
    }
}

#[test]
fn a_leader_ignores_campaigns_while_it_leads() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.step(message(3, 1, 5, request_vote(at(9, 9)))).unwrap();
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Leader, 1));
}

#[test]
fn a_partial_partition_does_not_unseat_a_leader_who_has_a_quorum() {
    // Nodes 1 and 3 don't hear each other, node 2 hears both: without deaf ears they unseat each other for ever.
    for pre_vote in [false, true] {
        let mut cluster = Cluster::with(3, |config| config.pre_vote = pre_vote);
        cluster.elect(1);
        cluster.cut_link(1, 3);
        cluster.rounds(200);
        assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Leader, 1));
    }
}

#[test]
fn a_campaign_that_the_leader_asked_for_is_heard() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.rounds(3);
    cluster.step(message(1, 2, 1, Body::TimeoutNow)).unwrap();
    assert_eq!((cluster.role(2), cluster.term(2)), (RoleKind::Candidate, 2), "at once, without a pre-vote");
    let marked = |message: &Message| matches!(message.body, Body::RequestVote(RequestVote { by_transfer, .. }) if by_transfer);
    assert!(cluster.network.iter().all(marked));
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2), "though the others had just heard of node 1");
}

#[test]
fn a_node_bound_by_a_lease_does_not_campaign_by_hand() {
    let mut cluster = Cluster::with(3, |config| config.lease_reads = true);
    cluster.elect(1);
    cluster.read(1, "r", ReadMode::Lease).unwrap();
    cluster.settle();
    assert!(matches!(cluster.node_mut(2).campaign(), Err(CampaignError::BoundByLease)));
    cluster.ticks(2, 9);
    assert!(matches!(cluster.node_mut(2).campaign(), Err(CampaignError::BoundByLease)));
    cluster.tick(2);
    cluster.node_mut(2).campaign().unwrap();
}
