//! Membership changes and elections (thesis §4.2): who campaigns, and by which configuration.

use raft_core::ConfChangeKind::{AddLearner, AddVoter, Remove};
use raft_core::{
    Body, CampaignError, ConfChange, ConfChangeKind, Config, Entry, HardState, MemoryStorage, Payload,
    RawNode, RoleKind,
};

use crate::cluster::{Cluster, disk_with, figure_2};
use crate::membership::led_with;
use crate::words::*;

// -- campaigns

#[test]
fn nobody_campaigns_while_a_committed_change_is_unapplied() {
    // B050; in either format, B052.
    let payloads = [
        Payload::ConfChange(ConfChange { node: Some(id(4)), ..ConfChange::default() }.into()),
        Payload::ConfChangeV2(change(&[(AddVoter, 4)]).into()),
    ];
    for payload in payloads {
        let mut disk = MemoryStorage::with_conf_state(conf_state(&[1, 2, 3], &[]));
        disk.append(&[entry(1, 1), Entry { term: term(1), index: index(2), payload }].into()).unwrap();
        disk.set_hard_state(HardState { term: term(1), vote: None, commit: index(2) });
        let mut node = RawNode::new(Config::new(id(1), 0), disk).unwrap();
        assert!(matches!(node.campaign(), Err(CampaignError::UnappliedConfChange)));
        for _ in 0..40 {
            node.tick();
        }
        node.step(message(2, 1, 1, Body::TimeoutNow)).unwrap();
        assert_eq!((node.role(), node.term()), (RoleKind::Follower, term(1)));
        let ready = node.ready();
        for entry in &ready.committed_entries {
            if let Some(change) = entry.payload.as_conf_change() {
                node.apply_conf_change(&change).unwrap();
            }
        }
        node.advance(ready).unwrap();
        node.campaign().unwrap();
        let asked: Vec<u64> = node.ready().messages.iter().map(|message| message.to.get()).collect();
        assert_eq!(asked, [2, 3, 4], "by the new configuration");
    }
}

#[test]
fn a_change_that_is_not_committed_keeps_nobody_from_campaigning() {
    let mut cluster = led_with(&[1, 2, 3], &[4], figure_2);
    cluster.change(1, change(&[(AddVoter, 4)])).unwrap();
    cluster.deliver_if(is_append);
    cluster.take_all();
    cluster.crash(1);
    cluster.elect(2);
}

#[test]
fn a_vote_goes_to_a_candidate_that_the_voter_does_not_know() {
    // B094. The coming of node 3 is applied at 1 and 3 only, and node 1 is gone.
    let mut cluster = led_with(&[1, 2], &[3], figure_2);
    cluster.change(1, change(&[(AddVoter, 3)])).unwrap();
    cluster.settle_without(|message| message.to == id(2) && is_append(message) && !has_entries(message));
    assert_eq!(cluster.conf_state(3), conf_state(&[1, 2, 3], &[]));
    assert_eq!(cluster.conf_state(2), conf_state(&[1, 2], &[]));
    cluster.crash(1);
    cluster.elect(3);
}

// -- a candidate and its configuration

/// Node 1 has the entry that removes or demotes it, and doesn't know that it is committed. Nodes 2, 3 and 4 are the others.
fn about_to_leave(kind: ConfChangeKind, pre_vote: bool) -> Cluster {
    let mut disk = disk_with(&[1, 2, 3, 4], &[1], 1);
    let payload = Payload::ConfChangeV2(change(&[(kind, 1)]).into());
    disk.append(&[Entry { term: term(1), index: index(2), payload }].into()).unwrap();
    let mut cluster = Cluster::from_disks([(1, disk)], |config| {
        figure_2(config);
        config.pre_vote = pre_vote;
    });
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster
}

/// It would lead a configuration that it isn't in: no proposal would be taken, and nothing would end that.
#[test]
fn a_candidate_that_learns_of_its_removal_does_not_win() {
    for kind in [Remove, AddLearner] {
        for pre_vote in [false, true] {
            let mut cluster = about_to_leave(kind, pre_vote);
            let grant = || if pre_vote { pre_granted() } else { granted() };
            let refusal = if pre_vote { pre_refused_knowing(at(1, 2)) } else { refused_knowing(at(1, 2)) };
            cluster.step(message(2, 1, if pre_vote { 1 } else { 2 }, refusal)).unwrap();
            assert_eq!(cluster.role(1), RoleKind::Follower, "{kind:?}, pre-vote {pre_vote}");
            cluster.step(message(3, 1, 2, grant())).unwrap();
            cluster.step(message(4, 1, 2, grant())).unwrap();
            assert_eq!(cluster.role(1), RoleKind::Follower, "{kind:?}, pre-vote {pre_vote}");
            assert_eq!(cluster.conf_state(1).voters, ids(&[2, 3, 4]));
            cluster.ticks(1, 100);
            assert_eq!(cluster.role(1), RoleKind::Follower, "it has no vote");
        }
    }
}

#[test]
fn a_candidate_that_applies_its_removal_is_one_no_longer() {
    for kind in [Remove, AddLearner] {
        let mut cluster = about_to_leave(kind, false);
        assert_eq!(cluster.role(1), RoleKind::Candidate);
        // A careless caller applies it before it is committed.
        cluster.node_mut(1).apply_conf_change(&change(&[(kind, 1)])).unwrap();
        assert_eq!(cluster.role(1), RoleKind::Follower);
    }
}
