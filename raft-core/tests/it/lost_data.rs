//! A node whose disk was replaced, or lied: it comes back with less than it had acknowledged.

use raft_core::{CampaignError, MemoryStorage, RoleKind};

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
