//! A node whose disk was replaced, or lied: it comes back with less than it had acknowledged.

use raft_core::{
    Body, CampaignError, Config, DataLoss, DataLossReport, Heartbeat, MemoryStorage, RawNode, RoleKind,
};

use crate::cluster::{Cluster, figure_2};
use crate::words::*;

/// Node 3 of three has acknowledged everything, and comes back with an empty disk.
fn wiped() -> Cluster {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.elect(1);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command).unwrap();
        cluster.settle();
    }
    assert_eq!(cluster.peer(1, 3).match_index, index(4));
    cluster.crash(3);
    cluster.replace_disk(3, MemoryStorage::with_voters(ids(&[1, 2, 3])));
    cluster.restart(3);
    cluster
}

#[test]
fn the_leaders_heartbeat_shows_the_loss_and_is_not_answered() {
    let mut cluster = wiped();
    assert_eq!(cluster.status(3).lost, None, "nobody has told it yet");
    cluster.round();
    let lost = cluster.status(3).lost.unwrap();
    assert_eq!((lost.acknowledged, lost.last), (index(4), index(0)));
    assert_eq!(cluster.status(3).leader, cluster.status(1).leader, "it follows all the same");
    assert!(!cluster.sent.iter().any(|message| is_heartbeat_reply(message) && message.from == id(3)));
    cluster.propose(1, "d").unwrap();
    cluster.settle();
    assert_eq!((cluster.commit(1), cluster.commit(2)), (5, 5), "the others go on without it");
}

#[test]
fn it_neither_votes_nor_campaigns() {
    let mut cluster = wiped();
    cluster.round();
    assert!(matches!(cluster.node_mut(3).campaign(), Err(CampaignError::DataLost)));
    cluster.isolate(3);
    cluster.ticks(3, 100);
    assert_eq!(cluster.role(3), RoleKind::Follower);
    cluster.heal();
    // A candidate with as short a log as its own gets nothing, in any term.
    cluster.step(message(2, 3, 7, request_vote(at(0, 0)))).unwrap();
    assert_eq!(cluster.take_if(|message| message.from == id(3)).len(), 1);
    assert_eq!(cluster.status(3).vote, None);
}

#[test]
fn under_a_new_leader_it_is_brought_past_what_it_lost_and_serves_again() {
    let mut cluster = wiped();
    cluster.round();
    assert!(cluster.status(3).lost.is_some());
    // A new leader counts on nothing yet, and so sends it the whole log.
    cluster.elect(2);
    cluster.rounds(3);
    assert_eq!(cluster.status(3).lost, None);
    assert_eq!(cluster.log_terms(3), cluster.log_terms(2));
    cluster.crash(1);
    cluster.propose(2, "e").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(2), cluster.last(2), "its acknowledgement counts");
}

/// Without what it was told before the restart it would vote for one with as short a log, and lose what is committed.
#[test]
fn a_loss_is_remembered_over_a_restart_until_it_is_made_good() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.elect(2);
    cluster.rounds(1);
    cluster.isolate(1);
    for command in ["a", "b", "c"] {
        cluster.propose(2, command).unwrap();
        cluster.settle();
    }
    cluster.crash(3);
    cluster.replace_disk(3, MemoryStorage::with_voters(ids(&[1, 2, 3])));
    cluster.restart(3);
    cluster.round();
    let lost = cluster.status(3).lost;
    assert!(lost.is_some());
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!(cluster.status(3).lost, lost);

    // The only one that has everything is away. Node 1, whose log is short, gets no vote.
    cluster.crash(2);
    cluster.heal();
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.settle();
    assert_eq!(cluster.role(1), RoleKind::Candidate);

    cluster.restart(2);
    cluster.elect_among(&[2]);
    cluster.rounds(3);
    assert_eq!((cluster.status(3).lost, cluster.last(3)), (None, cluster.last(2)));
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!(cluster.status(3).lost, None, "that it is made good is remembered as well");
}

#[test]
fn a_loss_and_its_end_are_told_once_each_and_must_be_synced() {
    let mut node = RawNode::new(Config::new(id(3), 0), MemoryStorage::with_voters(ids(&[1, 2, 3]))).unwrap();
    let tell = |node: &mut RawNode<MemoryStorage>| {
        let ready = node.ready();
        assert!(ready.data_loss.is_none() || ready.must_sync);
        assert!(!node.has_ready());
        let told = ready.data_loss;
        node.storage_mut().persist(&ready).unwrap();
        node.advance(ready).unwrap();
        told
    };
    let loss = |acknowledged| DataLoss { acknowledged: index(acknowledged), last: index(0) };
    node.step(message(1, 3, 2, heartbeat_relying(0, at(2, 4)))).unwrap();
    assert_eq!(tell(&mut node), Some(DataLossReport::Noticed(loss(4))));
    node.step(message(1, 3, 2, heartbeat_relying(0, at(2, 4)))).unwrap();
    assert!(!node.has_ready(), "that is known");
    node.step(message(1, 3, 2, heartbeat_relying(0, at(2, 5)))).unwrap();
    assert_eq!(tell(&mut node), Some(DataLossReport::Noticed(loss(5))));
    node.step(message(2, 3, 3, append(at(0, 0), entries(1, &[1, 1, 2, 2]), 0))).unwrap();
    assert_eq!(tell(&mut node), None, "not all of it");
    node.step(message(2, 3, 3, append(at(2, 4), entries(5, &[3]), 0))).unwrap();
    assert_eq!(tell(&mut node), Some(DataLossReport::Regained));
}

/// A leader that has thrown away what it counts on can't tell its term. The node that it counts on may have been filled by another.
#[test]
fn what_the_leader_no_longer_knows_is_not_committed_on_its_word() {
    for (relied, commit) in [(at(0, 2), 0), (at(1, 2), 2), (at(0, 0), 2)] {
        let mut node =
            RawNode::new(Config::new(id(3), 0), MemoryStorage::with_voters(ids(&[1, 2, 3]))).unwrap();
        node.step(message(1, 3, 1, append(at(0, 0), entries(1, &[1, 1]), 0))).unwrap();
        let heartbeat = Heartbeat { commit: index(2), relied, ..Heartbeat::default() };
        node.step(message(2, 3, 2, Body::Heartbeat(heartbeat))).unwrap();
        assert_eq!(node.commit_index(), index(commit), "{relied}");
    }
}

/// Node 1 was elected in term 1, and none of its appends arrived, so it counts on nobody. It has many entries by itself. Node 2
/// leads term 2, and counts on node 3, which is wiped and hears from node 1 first.
#[test]
fn entries_of_a_stale_leader_do_not_hide_a_loss() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.deliver_if(is_vote_request);
    cluster.deliver_if(is_vote_reply);
    cluster.isolate(1);
    cluster.settle();
    for command in ["a", "b", "c", "d"] {
        cluster.propose(1, command).unwrap();
    }
    cluster.settle();
    cluster.elect(2);
    cluster.propose(2, "y").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(2), 2);
    cluster.crash(3);
    cluster.replace_disk(3, MemoryStorage::with_voters(ids(&[1, 2, 3])));
    cluster.restart(3);
    cluster.heal();
    cluster.cut_link(1, 2);
    cluster.cut_link(2, 3);
    cluster.lose_if(|message| message.from == id(3) && is_append_reply(message));
    for _ in 0..3 {
        cluster.tick(1);
        cluster.settle();
    }
    assert_eq!(cluster.log_terms(3), [1, 1, 1, 1, 1], "longer than what node 2 counts on");
    cluster.heal();
    cluster.lose_if(|_| false);
    cluster.cut_link(1, 3);
    cluster.tick(2);
    cluster.settle();
    assert_eq!(cluster.status(3).lost.map(|lost| lost.acknowledged), Some(index(2)));
    assert_eq!(cluster.commit(3), 0, "what is committed isn't in its log");
}
