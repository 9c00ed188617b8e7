//! What can be switched on, and how a cluster is started.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_core::{
    BootstrapError, ConfChangeKind, Config, ConfigError, MemoryStorage, Payload, RawNode, RoleKind, VoteReply,
};

use crate::cluster::{Cluster, Disk, asynchronous, disk_with, figure_2};
use crate::words::*;

// -- bootstrap

fn peers(numbers: &[u64]) -> Vec<(raft_core::NodeId, Bytes)> {
    numbers.iter().map(|n| (id(*n), Bytes::from(format!("address {n}")))).collect()
}

#[test]
fn a_cluster_can_be_started_from_a_list_of_its_voters() {
    let mut node = RawNode::new(Config::new(id(1), 0), MemoryStorage::default()).unwrap();
    node.bootstrap(&peers(&[1, 2, 3])).unwrap();
    assert_eq!((node.term(), node.commit_index(), node.last_index()), (term(1), index(3), index(3)));
    assert_eq!(node.conf_state().voters, ids(&[1, 2, 3]));
    let ready = node.ready();
    let added: Vec<_> =
        ready.committed_entries.iter().map(|entry| entry.payload.as_conf_change().unwrap()).collect();
    assert_eq!(added.len(), 3, "each comes as an entry, with its context");
    assert_eq!(added[1].context, "address 2");
    for change in &added {
        assert_eq!(
            node.apply_conf_change(change).unwrap().voters,
            ids(&[1, 2, 3]),
            "which changes nothing more"
        );
    }
    node.storage_mut().persist(&ready).unwrap();
    node.advance(ready).unwrap();
    node.campaign().unwrap();
    assert_eq!(node.role(), RoleKind::PreCandidate);
}

#[test]
fn only_a_node_that_has_nothing_can_be_bootstrapped() {
    let start = |storage| RawNode::new(Config::new(id(1), 0), storage).unwrap();
    for storage in [MemoryStorage::with_voters(ids(&[1])), disk_with(&[1], &[1], 1)] {
        assert_eq!(start(storage).bootstrap(&peers(&[1])), Err(BootstrapError::NotEmpty));
    }
    let mut empty = start(MemoryStorage::default());
    assert_eq!(empty.bootstrap(&[]), Err(BootstrapError::NoPeers));
    assert!(matches!(empty.bootstrap(&peers(&[1, 1])), Err(BootstrapError::ConfState(_))));
    assert_eq!(empty.last_index(), index(0));
    empty.bootstrap(&peers(&[1])).unwrap();
    assert_eq!(empty.bootstrap(&peers(&[1])), Err(BootstrapError::NotEmpty));
}

// -- elections

#[test]
fn of_equal_logs_a_voter_prefers_the_one_whose_priority_is_not_below_its_own() {
    let request = |last, priority| {
        raft_core::Body::RequestVote(raft_core::RequestVote { last, by_transfer: false, priority })
    };
    for (last, priority, granted) in [(at(1, 1), 4, false), (at(1, 1), 5, true), (at(1, 2), 4, true)] {
        let mut cluster = Cluster::from_disks([(1, disk_with(&[1, 2, 3], &[1], 1))], |config| {
            figure_2(config);
            config.priority = 5;
        });
        cluster.step(message(2, 1, 2, request(last, priority))).unwrap();
        let answers = cluster.take_all();
        let yes = answers[0].body == raft_core::Body::RequestVoteReply(VoteReply::Granted);
        assert_eq!(yes, granted, "{last} with priority {priority}");
    }
}

#[test]
fn who_cannot_campaign_holds_nobody_up_by_its_priority() {
    // Found by simulation (seed 3593110040). Node 1 is to vote again by a change that it doesn't know to be committed, and node 2
    // needs its vote: there is no other who could tell it.
    let mut cluster = Cluster::from_disks([(1, disk_with(&[2], &[1], 1))], |config| {
        figure_2(config);
        config.priority = 5;
    });
    let request = raft_core::RequestVote { last: at(1, 1), by_transfer: false, priority: 0 };
    cluster.step(message(2, 1, 2, raft_core::Body::RequestVote(request))).unwrap();
    assert_eq!(cluster.take_all()[0].body, raft_core::Body::RequestVoteReply(VoteReply::Granted));
}

// -- commit groups

/// The zone of each node.
fn zones(zones: &[(u64, u64)]) -> Option<BTreeMap<raft_core::NodeId, u64>> {
    Some(zones.iter().map(|(n, zone)| (id(*n), *zone)).collect())
}

#[test]
fn with_groups_an_entry_must_be_in_two_of_them() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.elect(1);
    cluster.settle();
    assert_eq!(cluster.node(1).is_group_consistent(), None);
    cluster.node_mut(1).set_commit_groups(zones(&[(1, 1), (2, 1), (3, 2)]));
    cluster.isolate(3);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), 1, "nodes 1 and 2 are of one zone");
    cluster.heal();
    cluster.rounds(2);
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(cluster.node(1).is_group_consistent(), Some(true));

    cluster.isolate(3);
    cluster.propose(1, "y").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), 2);
    cluster.node_mut(1).set_commit_groups(None);
    assert_eq!(cluster.commit(1), 3, "a plain quorum has it");
}

#[test]
fn what_is_committed_is_consistent_with_the_groups_if_a_quorum_of_two_has_it() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.elect(1);
    cluster.rounds(1);
    let cases: [(&[(u64, u64)], bool); 6] = [
        (&[(1, 1), (2, 1), (3, 2)], true),
        (&[(1, 1), (3, 2)], true),
        (&[(1, 1), (2, 1), (3, 1)], false),
        (&[(3, 2)], false),
        (&[(1, 0), (2, 0), (3, 2)], false),
        (&[], false),
    ];
    for (groups, expected) in cases {
        cluster.node_mut(1).set_commit_groups(zones(groups));
        assert_eq!(cluster.node(1).is_group_consistent(), Some(expected), "{groups:?}");
    }
    cluster.node_mut(1).set_commit_groups(None);
    assert_eq!(cluster.node(1).is_group_consistent(), None, "there are no groups");
}

#[test]
fn what_only_one_zone_has_is_not_consistent_with_groups_that_came_later() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.elect(1);
    cluster.rounds(1);
    cluster.isolate(3);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), 2, "a plain quorum has it");
    let groups = zones(&[(1, 1), (2, 1), (3, 2)]);
    for n in [1, 2] {
        cluster.node_mut(n).set_commit_groups(groups.clone());
    }
    assert_eq!(cluster.node(1).is_group_consistent(), Some(false), "the other zone lacks it");
    assert_eq!(cluster.node(2).is_group_consistent(), None, "it doesn't lead");
    cluster.heal();
    cluster.rounds(2);
    assert_eq!(cluster.node(1).is_group_consistent(), Some(true));
}

#[test]
fn a_leader_knows_of_its_groups_only_after_it_has_applied_an_entry_of_its_term() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.node_mut(1).set_commit_groups(zones(&[(1, 1), (2, 1), (3, 2)]));
    cluster.set_disk(1, Disk::Held);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    let knows = |cluster: &Cluster| {
        let node = cluster.node(1);
        (node.has_committed_in_term(), node.has_applied_in_term(), node.is_group_consistent())
    };
    let mut seen = vec![knows(&cluster)];
    for _ in 0..5 {
        cluster.persist_one(1);
        cluster.settle();
        seen.push(knows(&cluster));
    }
    seen.dedup();
    assert_eq!(seen, [(false, false, None), (true, false, None), (true, true, Some(true))]);
}

// -- the pace

#[test]
fn the_commit_index_can_be_told_later() {
    for skip in [false, true] {
        let mut cluster = Cluster::with(3, |config| {
            figure_2(config);
            config.skip_commit_broadcast = skip;
        });
        cluster.elect(1);
        cluster.rounds(1);
        cluster.propose(1, "x").unwrap();
        cluster.settle();
        assert_eq!(cluster.commit(1), 2);
        assert_eq!(cluster.commit(3) == 1, skip, "node 3 is told {}", if skip { "later" } else { "at once" });
        cluster.round();
        assert_eq!(cluster.commit(3), 2, "the heartbeat tells");
    }
}

#[test]
fn a_membership_change_is_told_at_once_though_commits_are_told_later() {
    for batch in [false, true] {
        let mut cluster = Cluster::with(3, |config| {
            figure_2(config);
            config.skip_commit_broadcast = true;
            config.batch_messages = batch;
        });
        cluster.elect(1);
        cluster.rounds(1);
        cluster.change(1, change(&[(ConfChangeKind::AddLearner, 4)])).unwrap();
        cluster.settle();
        assert_eq!([1, 2, 3].map(|n| cluster.commit(n)), [2, 2, 2], "batch_messages = {batch}");
    }
}

#[test]
fn committed_entries_can_be_applied_before_they_are_durable_here_up_to_a_limit() {
    for ahead in [0, 1, 2] {
        let mut cluster = Cluster::with(3, |config| {
            asynchronous(config);
            config.max_apply_ahead = ahead;
        });
        cluster.elect(1);
        cluster.settle();
        cluster.set_disk(1, Disk::Held);
        for command in ["a", "b", "c"] {
            cluster.propose(1, command).unwrap();
        }
        cluster.settle();
        assert_eq!(cluster.commit(1), 4, "the others have them");
        assert_eq!(cluster.applied(1).len() as u64, u64::from(ahead));
    }
}

#[test]
fn a_ping_is_a_heartbeat_at_once() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.elect(1);
    cluster.settle();
    cluster.node_mut(1).ping();
    cluster.pump(1);
    assert_eq!(cluster.take_if(is_heartbeat).len(), 2);
    cluster.node_mut(2).ping();
    assert!(!cluster.node(2).has_ready());
}

#[test]
fn the_window_of_a_peer_can_change_while_the_leader_leads() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.elect(1);
    cluster.settle();
    assert!(cluster.node_mut(1).set_max_inflight(id(2), 1));
    assert!(!cluster.node_mut(1).set_max_inflight(id(2), 0));
    assert!(!cluster.node_mut(1).set_max_inflight(id(9), 1));
    assert!(!cluster.node_mut(2).set_max_inflight(id(1), 1));
    cluster.isolate(2);
    cluster.propose(1, "a").unwrap();
    assert!(cluster.peer(1, 2).window_full && !cluster.peer(1, 3).window_full);
}

/// Node 1 leads with windows of `messages`.
fn leading_with_window(messages: u32) -> Cluster {
    let mut cluster = Cluster::with(3, |config| {
        figure_2(config);
        config.max_inflight_messages = messages;
    });
    cluster.elect(1);
    cluster.rounds(1);
    cluster
}

fn propose_all(cluster: &mut Cluster, commands: &[&'static str]) {
    for command in commands {
        cluster.propose(1, command).unwrap();
    }
}

#[test]
fn a_window_that_is_raised_lets_through_what_waited_for_it() {
    for all in [false, true] {
        let mut cluster = leading_with_window(1);
        propose_all(&mut cluster, &["a", "b", "c", "d", "e"]);
        assert_eq!(cluster.peer(1, 2).inflight_messages, 1);
        cluster.sent.clear();
        if all {
            cluster.node_mut(1).reconfigure(|config| config.max_inflight_messages = 4).unwrap();
        } else {
            assert!(cluster.node_mut(1).set_max_inflight(id(2), 4));
        }
        cluster.pump(1);
        assert!(cluster.sent.iter().any(|message| has_entries(message) && message.to == id(2)), "at once");
        propose_all(&mut cluster, &["f", "g", "h", "i"]);
        assert_eq!(cluster.peer(1, 2).inflight_messages, 4, "more than the settings had at the start");
    }
}

#[test]
fn into_a_window_that_is_lowered_nothing_goes_until_it_has_drained() {
    for all in [false, true] {
        let mut cluster = leading_with_window(4);
        propose_all(&mut cluster, &["a", "b", "c", "d"]);
        assert_eq!(cluster.peer(1, 2).inflight_messages, 4);
        if all {
            cluster.node_mut(1).reconfigure(|config| config.max_inflight_messages = 2).unwrap();
        } else {
            assert!(cluster.node_mut(1).set_max_inflight(id(2), 2));
        }
        cluster.pump(1);
        propose_all(&mut cluster, &["e", "f"]);
        assert_eq!(cluster.peer(1, 2).inflight_messages, 4);
        let mut seen = Vec::new();
        for append in cluster.take_if(|message| is_append(message) && message.to == id(2)) {
            cluster.deliver(append);
            cluster.deliver_if(|message| is_append_reply(message) && message.from == id(2));
            seen.push(cluster.peer(1, 2).inflight_messages);
        }
        assert_eq!(seen[..3], [3, 2, 2], "{seen:?}: two had to arrive before the next could go");
        cluster.settle();
        assert_eq!(cluster.peer(1, 2).match_index, cluster.node(1).last_index());
    }
}

#[test]
fn bytes_on_their_way_are_limited_by_the_newest_settings() {
    let mut cluster = leading_with_window(64);
    cluster.node_mut(1).reconfigure(|config| config.max_inflight_bytes = 3).unwrap();
    propose_all(&mut cluster, &["aa", "bb", "cc"]);
    let peer = cluster.peer(1, 2);
    assert_eq!((peer.inflight_messages, peer.inflight_bytes, peer.window_full), (2, 4, true));
    cluster.node_mut(1).reconfigure(|config| config.priority = 1).unwrap();
    assert_eq!(cluster.peer(1, 2), peer, "what isn't of the windows leaves them alone");
}

#[test]
fn what_is_handed_out_for_application_is_limited_by_the_newest_settings() {
    let mut cluster = Cluster::with(3, asynchronous);
    cluster.elect(1);
    cluster.settle();
    let node = cluster.node_mut(1);
    node.reconfigure(|config| config.max_committed_bytes = 1).unwrap();
    node.propose_batch(["a", "b", "c"].map(Into::into)).unwrap();
    let ready = node.ready();
    node.storage_mut().persist(&ready).unwrap();
    node.on_persisted(ready.number).unwrap();
    node.step(message(2, 1, 1, accepted(4))).unwrap();
    assert_eq!(node.ready().committed_entries.len(), 1);
}

#[test]
fn settings_can_change_while_a_node_runs_but_for_those_that_it_is_made_of() {
    let mut cluster = Cluster::with(3, figure_2);
    let node = cluster.node_mut(1);
    node.reconfigure(|config| config.priority = 7).unwrap();
    assert_eq!(node.config().priority, 7);
    assert_eq!(node.reconfigure(|config| config.max_committed_bytes = 0), Err(ConfigError::NothingCommitted));
    for change in [
        (|config| config.id = id(2)) as fn(&mut Config),
        |config| config.election_ticks += 1,
        |config| config.async_writes = true,
        |config| config.seed += 1,
    ] {
        assert_eq!(node.reconfigure(change), Err(ConfigError::FixedAtStart));
    }
    assert_eq!(node.config().priority, 7, "what is refused changes nothing");
}

#[test]
fn a_leader_knows_whether_it_has_committed_in_its_term() {
    let mut cluster = Cluster::with(3, figure_2);
    assert!(!cluster.node(1).has_committed_in_term());
    cluster.elect(1);
    cluster.settle();
    assert!(cluster.node(1).has_committed_in_term());
    assert!(!cluster.node(2).has_committed_in_term());
    assert_eq!(cluster.node(1).progress().len(), 3);
    assert!(cluster.node(2).progress().is_empty());
}

// -- a refused vote tells what is committed

/// The disk of one whose log ends with this change, at index 2, which it doesn't know to be committed.
fn disk_with_change(voters: &[u64], kind: raft_core::ConfChangeKind, n: u64) -> raft_core::MemoryStorage {
    let mut disk = disk_with(voters, &[1], 1);
    let payload = Payload::ConfChangeV2(change(&[(kind, n)]).into());
    disk.append(&[raft_core::Entry { term: term(1), index: index(2), payload }].into()).unwrap();
    disk
}

#[test]
fn a_candidate_learns_from_a_refusal_of_a_membership_change_that_is_committed() {
    // Node 2 demoted itself, applied that and stopped before node 1 heard that it is committed; node 1 has the change at
    // index 2 and needs nobody's vote but its own in the new configuration.
    let refusal = |commit| raft_core::Body::RequestVoteReply(VoteReply::Refused { commit });
    for (commit, learned) in [(at(1, 2), true), (at(2, 2), false), (at(1, 9), false)] {
        let disk = disk_with_change(&[1, 2], raft_core::ConfChangeKind::AddLearner, 2);
        let mut cluster = Cluster::from_disks([(1, disk)], figure_2);
        cluster.node_mut(1).campaign().unwrap();
        cluster.pump(1);
        cluster.step(message(2, 1, 2, refusal(commit))).unwrap();
        assert_eq!(cluster.commit(1) == 2, learned, "{commit}");
        if learned {
            assert_eq!(cluster.status(1).conf_state.voters, ids(&[1]));
            cluster.ticks(1, 40);
            assert_eq!(cluster.role(1), RoleKind::Leader);
        }
    }
}

#[test]
fn a_pre_candidate_of_a_later_term_learns_from_a_refusal_of_an_older_one() {
    // Found by simulation (seed 726700806). Node 1 has the change by which node 2 demoted itself, at index 2; it campaigned in
    // vain in term 2, of which node 2 never heard. So node 2 refuses in term 1, and node 1 needs to learn no more.
    let disk = disk_with_change(&[1, 2], raft_core::ConfChangeKind::AddLearner, 2);
    let mut cluster = Cluster::from_disks([(1, disk)], |_| {});
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(2, 1, 2, raft_core::Body::PreVoteReply(VoteReply::Granted))).unwrap();
    cluster.ticks(1, 20);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::PreCandidate, 2));
    // It may have been sent long ago, so it isn't counted as a vote.
    let early = raft_core::Body::PreVoteReply(VoteReply::Refused { commit: at(1, 1) });
    cluster.step(message(2, 1, 1, early)).unwrap();
    assert_eq!(cluster.role(1), RoleKind::PreCandidate);
    let refused = raft_core::Body::PreVoteReply(VoteReply::Refused { commit: at(1, 2) });
    cluster.step(message(2, 1, 1, refused)).unwrap();
    assert_eq!(cluster.commit(1), 2);
    cluster.ticks(1, 40);
    assert_eq!(cluster.role(1), RoleKind::Leader);
}

#[test]
fn who_learns_of_its_removal_while_it_asks_does_not_campaign() {
    // Found by simulation (seed 2581). Node 2 refuses and tells that the change at index 2 is committed, which takes node 1 out;
    // nodes 3 and 4 would vote for it.
    let body = raft_core::Body::PreVoteReply;
    let refused = body(VoteReply::Refused { commit: at(1, 2) });
    for applies in [true, false] {
        let disk = disk_with_change(&[1, 2, 3, 4], raft_core::ConfChangeKind::Remove, 1);
        let mut cluster = Cluster::from_disks([(1, disk)], |_| {});
        cluster.node_mut(1).campaign().unwrap();
        cluster.pump(1);
        assert_eq!(cluster.role(1), RoleKind::PreCandidate);
        cluster.node_mut(1).step(message(2, 1, 1, refused.clone())).unwrap();
        assert_eq!(cluster.commit(1), 2);
        if applies {
            cluster.pump(1);
            assert_eq!(cluster.status(1).conf_state.voters, ids(&[2, 3, 4]));
        }
        for voter in [3, 4] {
            cluster.node_mut(1).step(message(voter, 1, 2, body(VoteReply::Granted))).unwrap();
        }
        assert_ne!(cluster.role(1), RoleKind::Candidate, "applied: {applies}");
        assert_eq!(cluster.term(1), 1);
    }
}
