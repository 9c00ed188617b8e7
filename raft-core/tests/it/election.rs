//! Leader election: §5.2, and who may be elected: §5.4.1.

use std::collections::BTreeSet;

use raft_core::proto::RequestVote;
use raft_core::{
    BasicStatus, Body, CampaignError, Config, Entry, HardState, MemoryStorage, Message, Payload, RawNode,
    RoleKind, Storage,
};

use crate::cluster::{Cluster, Disk, disk_with, figure_2};
use crate::words::*;

/// What the other nodes are asked, in order.
fn requests(messages: &[Message]) -> Vec<(u64, u64, RequestVote)> {
    let request = |message: &Message| match message.body {
        Body::RequestVote(request) => Some((message.to.get(), message.term.get(), request)),
        _ => None,
    };
    messages.iter().filter_map(request).collect()
}

// -- time-outs

#[test]
fn a_lonely_node_campaigns_after_a_timeout_that_is_drawn_anew_each_time() {
    let mut cluster = Cluster::plain(3);
    let mut waits = Vec::new();
    for campaign in 1..=300 {
        let mut waited = 0;
        while cluster.term(1) < campaign {
            cluster.tick(1);
            waited += 1;
            assert!(waited < 20, "no campaign within two election time-outs");
        }
        waits.push(waited);
        cluster.take_all();
    }
    let distinct: BTreeSet<i32> = waits.iter().copied().collect();
    assert_eq!(distinct, (10..20).collect(), "every time-out in [10, 20) is drawn, and no other");
    assert!(waits.windows(2).any(|pair| pair[0] != pair[1]), "drawn anew for each campaign");
}

#[test]
fn a_lonely_pre_candidate_asks_again_within_two_timeouts() {
    let mut cluster = Cluster::new(3);
    for _ in 0..50 {
        let waited = (1..).find(|_| {
            cluster.tick(1);
            cluster.take_all().iter().any(is_pre_vote)
        });
        assert!((10..20).contains(&waited.unwrap()));
        assert_eq!(cluster.term(1), 0, "nobody answered");
    }
}

#[test]
fn nodes_with_the_same_seed_draw_different_timeouts() {
    let draws = |n| {
        let mut config = Config::new(id(n), 0);
        figure_2(&mut config);
        let mut node = RawNode::new(config, MemoryStorage::with_voters(ids(&[1, 2, 3]))).unwrap();
        let draw = |_| {
            let term = node.term();
            while node.term() == term {
                node.tick();
            }
            node.status().election_timeout
        };
        (0..20).map(draw).collect::<Vec<u32>>()
    };
    assert_ne!(draws(1), draws(2));
    assert_ne!(draws(2), draws(3));
    assert_eq!(draws(1), draws(1), "the same inputs give the same outputs");
}

#[test]
fn nodes_that_tick_in_step_elect_a_leader() {
    for configure in [figure_2, |_: &mut Config| {}] {
        let mut cluster = Cluster::with(5, configure);
        cluster.rounds(100);
        assert!(cluster.leader().is_some());
    }
}

#[test]
fn heartbeats_keep_followers_from_campaigning() {
    let mut cluster = Cluster::plain(3);
    cluster.elect(2);
    cluster.rounds(200);
    assert_eq!((cluster.leader(), cluster.term(1)), (Some(2), 1));
    cluster.isolate(2);
    cluster.rounds(60);
    assert!(cluster.term(1) > 1, "without them someone does");
}

#[test]
fn a_leader_sends_heartbeats_every_heartbeat_interval() {
    let mut cluster = Cluster::with(3, |config| config.heartbeat_ticks = 3);
    cluster.elect(1);
    let beats = |cluster: &mut Cluster| {
        cluster.tick(1);
        cluster.take_if(is_heartbeat).len()
    };
    let sent: Vec<usize> = (0..9).map(|_| beats(&mut cluster)).collect();
    assert_eq!(sent, [0, 0, 2, 0, 0, 2, 0, 0, 2]);
}

// -- candidates

#[test]
fn a_candidate_raises_its_term_votes_for_itself_and_asks_all_others() {
    let mut cluster = Cluster::with_logs(&[&[1, 1, 2], &[], &[]], figure_2);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    let BasicStatus { term: now, vote, role, leader, .. } = cluster.node(1).basic_status();
    assert_eq!((now, vote, role, leader), (term(3), Some(id(1)), RoleKind::Candidate, None));
    let request = RequestVote { last: at(2, 3), by_transfer: false, priority: 0 };
    assert_eq!(requests(&cluster.take_all()), [(2, 3, request), (3, 3, request)]);
    // Its rival is refused: it has voted.
    cluster.step(message(2, 1, 3, request_vote(at(9, 9)))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 2, 3, refused())]);
}

#[test]
fn no_vote_request_leaves_before_the_candidates_own_vote_is_durable() {
    let mut cluster = Cluster::plain(3);
    cluster.set_disk(1, Disk::Held);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    assert_eq!(cluster.take_all(), [], "it would be a promise that a crash takes back");
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.term(1), 0);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.persist_all(1);
    assert_eq!(requests(&cluster.take_all()).len(), 2);
    assert_eq!(cluster.hard_state(1).vote, Some(id(1)));
}

#[test]
fn a_candidates_own_vote_counts_only_when_it_is_durable() {
    let mut cluster = Cluster::plain(3);
    cluster.set_disk(1, Disk::Held);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(2, 1, 1, granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Candidate, "one durable vote of three");
    cluster.persist_all(1);
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn a_majority_of_votes_makes_a_leader_and_the_same_vote_counts_once() {
    let mut cluster = Cluster::plain(5);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    for _ in 0..3 {
        cluster.step(message(2, 1, 1, granted())).unwrap();
        assert_eq!(cluster.role(1), RoleKind::Candidate);
    }
    cluster.step(message(3, 1, 1, granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn the_first_answer_of_each_voter_stands() {
    let mut cluster = Cluster::plain(5);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    for body in [refused(), granted()] {
        cluster.step(message(2, 1, 1, body)).unwrap();
    }
    cluster.step(message(3, 1, 1, granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Candidate);
}

#[test]
fn votes_of_learners_do_not_count() {
    let mut cluster = Cluster::of(&[1, 2, 3], &[4, 5], figure_2);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    assert_eq!(requests(&cluster.take_all()).len(), 2, "nor are they asked");
    for learner in [4, 5] {
        cluster.step(message(learner, 1, 1, granted())).unwrap();
    }
    assert_eq!(cluster.role(1), RoleKind::Candidate);
}

#[test]
fn a_grant_from_an_earlier_term_does_not_count() {
    let mut cluster = Cluster::plain(3);
    for _ in 0..2 {
        cluster.node_mut(1).campaign().unwrap();
        cluster.pump(1);
    }
    cluster.step(message(2, 1, 1, granted())).unwrap();
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Candidate, 2));
    cluster.step(message(2, 1, 2, granted())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn each_election_starts_from_an_empty_tally() {
    let mut cluster = Cluster::plain(5);
    for (campaign, voter) in [(1, 2), (2, 3), (3, 4)] {
        cluster.node_mut(1).campaign().unwrap();
        cluster.pump(1);
        cluster.step(message(voter, 1, campaign, granted())).unwrap();
        assert_eq!(cluster.role(1), RoleKind::Candidate, "two votes of five in term {campaign}");
    }
    // And a refusal of an earlier election does not stand either.
    cluster.step(message(5, 1, 3, refused())).unwrap();
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    for voter in [5, 2] {
        cluster.step(message(voter, 1, 4, granted())).unwrap();
    }
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn a_candidate_follows_whoever_leads_its_term_or_a_later_one() {
    for body in [append(at(0, 0), entries(1, &[1]), 0), heartbeat(0)] {
        for leaders_term in [1, 5] {
            let mut cluster = Cluster::plain(3);
            cluster.node_mut(1).campaign().unwrap();
            cluster.pump(1);
            cluster.step(message(2, 1, leaders_term, body.clone())).unwrap();
            let status = cluster.status(1);
            assert_eq!((status.role, status.leader), (RoleKind::Follower, Some(id(2))));
            assert_eq!(status.vote, if leaders_term == 1 { Some(id(1)) } else { None }, "one vote a term");
        }
    }
}

#[test]
fn a_candidate_does_not_follow_the_leader_of_an_earlier_term() {
    let mut cluster = Cluster::plain(3);
    for _ in 0..2 {
        cluster.node_mut(1).campaign().unwrap();
        cluster.pump(1);
    }
    cluster.step(message(2, 1, 1, heartbeat(0))).unwrap();
    cluster.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1]), 0))).unwrap();
    assert_eq!((cluster.role(1), cluster.term(1), cluster.last(1)), (RoleKind::Candidate, 2, 0));
}

#[test]
fn a_candidate_that_lost_keeps_its_vote() {
    let mut cluster = Cluster::plain(3);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    for voter in [2, 3] {
        cluster.step(message(voter, 1, 1, refused())).unwrap();
    }
    assert_eq!((cluster.role(1), cluster.status(1).vote), (RoleKind::Follower, Some(id(1))));
    cluster.take_all();
    cluster.step(message(2, 1, 1, request_vote(at(0, 0)))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 2, 1, refused())]);
}

// -- voters

#[test]
fn a_node_votes_once_a_term_and_repeats_its_answer_to_the_same_candidate() {
    let mut cluster = Cluster::plain(3);
    let mut ask = |candidate, t| {
        cluster.step(message(candidate, 1, t, request_vote(at(0, 0)))).unwrap();
        cluster.take_all()
    };
    assert_eq!(ask(2, 1), [message(1, 2, 1, granted())]);
    assert_eq!(ask(3, 1), [message(1, 3, 1, refused())]);
    assert_eq!(ask(2, 1), [message(1, 2, 1, granted())], "the first answer may be lost");
    assert_eq!(ask(3, 2), [message(1, 3, 2, granted())], "another term, another vote");
    assert_eq!(ask(2, 1), [], "a term that is over gets no answer");
}

#[test]
fn a_grant_leaves_only_when_the_vote_is_durable() {
    let mut cluster = Cluster::plain(3);
    cluster.set_disk(1, Disk::Held);
    cluster.step(message(2, 1, 1, request_vote(at(0, 0)))).unwrap();
    assert_eq!(cluster.take_all(), []);
    cluster.persist_all(1);
    assert_eq!(cluster.take_all(), [message(1, 2, 1, granted())]);
    assert_eq!(cluster.hard_state(1), HardState { term: term(1), vote: Some(id(2)), commit: index(0) });
}

#[test]
fn a_restarted_node_remembers_its_vote() {
    let mut cluster = Cluster::plain(3);
    // The term is learned, and synced, before the vote: that alone must be synced too.
    cluster.step(message(2, 1, 7, heartbeat_reply())).unwrap();
    cluster.step(message(2, 1, 7, request_vote(at(0, 0)))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 2, 7, granted())]);
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!((cluster.term(1), cluster.status(1).vote), (7, Some(id(2))));
    cluster.step(message(3, 1, 7, request_vote(at(0, 0)))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 3, 7, refused())]);
}

#[test]
fn a_vote_goes_only_to_a_log_that_is_at_least_as_up_to_date() {
    let mut cluster = Cluster::with_logs(&[&[1, 2, 2]], figure_2);
    let mut asked = 2;
    let cases = [
        (at(0, 0), false),
        (at(1, 1), false),
        (at(1, 9), false), // longer, but of an earlier term
        (at(2, 2), false), // same term, shorter
        (at(2, 3), true),  // equal
        (at(2, 4), true),
        (at(3, 1), true), // shorter, but of a later term
    ];
    for (last, expected) in cases {
        asked += 1;
        cluster.step(message(2, 1, asked, request_vote(last))).unwrap();
        let body = if expected { granted() } else { refused() };
        assert_eq!(cluster.take_all(), [message(1, 2, asked, body)], "candidate's log ends at {last}");
    }
}

#[test]
fn the_uncommitted_and_undurable_part_of_the_log_counts_for_the_vote() {
    let mut cluster = Cluster::plain(3);
    cluster.set_disk(1, Disk::Held);
    cluster.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1, 1]), 0))).unwrap();
    cluster.step(message(3, 1, 2, request_vote(at(1, 1)))).unwrap();
    cluster.persist_all(1);
    let answers: Vec<Message> = cluster.take_all();
    assert_eq!(answers, [message(1, 2, 1, accepted(2)), message(1, 3, 2, refused())]);
}

#[test]
fn the_only_log_with_the_committed_entry_wins_though_another_is_longer() {
    // Node 1 holds more entries, node 2 a later one, which is committed; node 3, who knows it too, is gone.
    let mut cluster = Cluster::with_logs(&[&[1, 1, 1], &[1, 2], &[1, 2]], figure_2);
    cluster.crash(3);
    cluster.rounds(120);
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn a_refused_vote_does_not_restart_the_timer_and_a_given_one_does() {
    let mut cluster = Cluster::with_logs(&[&[1, 1], &[], &[]], figure_2);
    cluster.ticks(1, 7);
    cluster.step(message(2, 1, 2, request_vote(at(0, 0)))).unwrap();
    assert_eq!(cluster.status(1).election_elapsed, 7, "else one who can't win keeps those quiet who could");
    cluster.step(message(2, 1, 3, request_vote(at(1, 2)))).unwrap();
    assert_eq!(cluster.status(1).election_elapsed, 0);
}

#[test]
fn a_node_that_cannot_win_does_not_keep_one_quiet_that_can() {
    let mut cluster = Cluster::with_logs(&[&[1, 1], &[], &[]], figure_2);
    cluster.crash(3);
    // Node 2 campaigns without end, faster than node 1 times out.
    for _ in 0..10 {
        cluster.node_mut(2).campaign().unwrap();
        cluster.settle();
        cluster.ticks(1, 2);
        cluster.settle();
        if cluster.role(1) == RoleKind::Leader {
            return;
        }
    }
    panic!("node 1 didn't get to campaign");
}

#[test]
fn a_voter_does_not_ask_whether_it_knows_the_candidate() {
    let mut cluster = Cluster::plain(3);
    cluster.step(message(9, 1, 1, request_vote(at(0, 0)))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 9, 1, granted())], "its own configuration may be the old one");
}

#[test]
fn a_node_that_knows_the_leader_of_its_term_gives_no_vote_in_it() {
    let mut cluster = Cluster::plain(3);
    cluster.step(message(2, 1, 1, heartbeat(0))).unwrap();
    cluster.step(message(3, 1, 1, request_vote(at(5, 5)))).unwrap();
    assert!(cluster.take_all().contains(&message(1, 3, 1, refused())));
    assert_eq!(cluster.status(1).vote, None);
}

// -- terms (§5.1)

#[test]
fn every_role_steps_down_to_a_higher_term() {
    let bodies =
        [append(at(9, 9), entries(10, &[9]), 0), heartbeat(0), accepted(0), heartbeat_reply(), refused()];
    for body in bodies {
        for role in [RoleKind::Follower, RoleKind::Candidate, RoleKind::Leader] {
            let mut cluster = Cluster::plain(3);
            match role {
                RoleKind::Leader => cluster.elect(1),
                RoleKind::Candidate => cluster.node_mut(1).campaign().unwrap(),
                _ => {}
            }
            cluster.pump(1);
            assert_eq!(cluster.role(1), role);
            cluster.step(message(2, 1, 9, body.clone())).unwrap();
            let status = cluster.status(1);
            assert_eq!((status.role, status.term, status.vote), (RoleKind::Follower, term(9), None));
            assert_eq!(cluster.hard_state(1).term, term(9), "a term is never forgotten");
        }
    }
}

#[test]
fn a_deposed_leader_learns_of_it_from_the_answer_to_its_heartbeat() {
    // It doesn't ask whether a quorum listens.
    let mut cluster = Cluster::with(3, |config| config.check_quorum = false);
    cluster.elect(1);
    cluster.isolate(1);
    cluster.rounds(9);
    cluster.elect_among(&[2, 3]);
    assert_eq!(cluster.role(1), RoleKind::Leader);
    cluster.heal();
    cluster.tick(1);
    cluster.settle();
    assert_eq!(cluster.role(1), RoleKind::Follower);
    assert_eq!(cluster.term(1), cluster.term(2));
}

// -- who may campaign

#[test]
fn learners_and_strangers_do_not_campaign() {
    let mut cluster = Cluster::of(&[1, 2], &[3], |_| {});
    cluster.ticks(3, 100);
    assert_eq!((cluster.role(3), cluster.term(3)), (RoleKind::Follower, 0));
    assert!(matches!(cluster.node_mut(3).campaign(), Err(CampaignError::NotAVoter)));

    let mut stranger = Cluster::from_disks([(9, MemoryStorage::with_voters(ids(&[1, 2, 3])))], figure_2);
    stranger.ticks(9, 100);
    assert_eq!((stranger.role(9), stranger.term(9)), (RoleKind::Follower, 0));
    assert!(matches!(stranger.node_mut(9).campaign(), Err(CampaignError::NotAVoter)));
    assert_eq!(stranger.take_all(), []);
}

#[test]
fn a_leader_does_not_campaign() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    assert!(matches!(cluster.node_mut(1).campaign(), Err(CampaignError::AlreadyLeader)));
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Leader, 1));
}

#[test]
fn a_node_does_not_campaign_before_its_snapshot_is_durable() {
    let mut cluster = Cluster::plain(3);
    cluster.set_disk(1, Disk::Held);
    cluster.step(message(2, 1, 2, install(snapshot(at(1, 7), conf_state(&[1, 2, 3], &[]))))).unwrap();
    assert!(matches!(cluster.node_mut(1).campaign(), Err(CampaignError::SnapshotPending)));
    cluster.ticks(1, 40);
    assert_eq!(cluster.role(1), RoleKind::Follower);
}

#[test]
fn a_node_does_not_campaign_before_it_applied_a_committed_membership_change() {
    for payload in [Payload::ConfChange(Default::default()), Payload::ConfChangeV2(Default::default())] {
        let mut disk = disk_with(&[1, 2, 3], &[1], 2);
        disk.append(&[Entry { term: term(1), index: index(2), payload }, entry(1, 3)].into()).unwrap();
        let mut config = Config::new(id(1), 0);
        figure_2(&mut config);
        let mut node = RawNode::new(config, disk).unwrap();
        assert!(matches!(node.campaign(), Err(CampaignError::UnappliedConfChange)));
        let ready = node.ready();
        assert_eq!(ready.committed_entries.len(), 2);
        assert!(
            matches!(node.campaign(), Err(CampaignError::UnappliedConfChange)),
            "handed out isn't applied"
        );
        node.advance(ready).unwrap();
        node.campaign().unwrap();
    }
}

#[test]
fn a_node_in_the_last_term_there_is_does_not_campaign() {
    let mut disk = MemoryStorage::with_voters(ids(&[1, 2, 3]));
    disk.set_hard_state(HardState { term: raft_core::Term::LIMIT, ..HardState::default() });
    let mut cluster = Cluster::from_disks([(1, disk)], figure_2);
    assert!(matches!(cluster.node_mut(1).campaign(), Err(CampaignError::TermsExhausted)));
}

#[test]
fn a_node_alone_elects_itself_and_commits_when_its_disk_has_written() {
    let mut cluster = Cluster::new(1);
    cluster.set_disk(1, Disk::Held);
    cluster.ticks(1, 20);
    let mut roles = vec![cluster.role(1)];
    while cluster.persist_one(1) {
        roles.push(cluster.role(1));
    }
    roles.dedup();
    assert_eq!(roles, [RoleKind::PreCandidate, RoleKind::Candidate, RoleKind::Leader]);
    assert_eq!((cluster.commit(1), cluster.disk(1).last_index().unwrap()), (1, index(1)));
    assert_eq!(cluster.sent, [], "there is nobody to talk to");
}
