//! Membership changes of one node (thesis §4.1, §4.2), applied when their entry is applied.

use bytes::Bytes;
use raft_core::ConfChangeKind::{AddLearner, AddVoter, Remove, Update};
use raft_core::{
    Body, CampaignError, ConfChange, ConfChangeError, ConfChangeProposal, ConfChangeRefusal,
    ConfChangeTransition, ConfState, Config, Entry, HardState, MemoryStorage, Message, Payload, PeerState,
    ProposeError, RawNode, RoleKind,
};

use crate::cluster::{Cluster, asynchronous, figure_2};
use crate::words::*;

/// Node 1 leads these voters; the spares are no members.
fn led(voters: &[u64], spares: &[u64]) -> Cluster {
    led_with(voters, spares, |_| {})
}

pub fn led_with(voters: &[u64], spares: &[u64], configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::with_spares(voters, spares, configure);
    cluster.elect(1);
    cluster
}

fn refusal(proposed: Result<ConfChangeProposal, ProposeError>) -> ConfChangeRefusal {
    match proposed {
        Ok(ConfChangeProposal::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn appended(i: u64) -> Result<ConfChangeProposal, ProposeError> {
    Ok(ConfChangeProposal::Appended { term: term(1), index: index(i) })
}

// -- coming and going

#[test]
fn a_node_comes_by_a_committed_change_and_catches_up() {
    let mut cluster = led(&[1, 2, 3], &[4]);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.change(1, change(&[(AddVoter, 4)])), appended(3));
    assert_eq!(cluster.conf_state(1), conf_state(&[1, 2, 3], &[]), "not before it is committed");
    cluster.settle();
    for n in 1..=4 {
        assert_eq!(cluster.conf_state(n), conf_state(&[1, 2, 3, 4], &[]));
    }
    assert_eq!((cluster.applied(4), cluster.peer(1, 4).match_index), (vec!["x".to_owned()], index(3)));
}

#[test]
fn a_node_that_came_counts() {
    let mut cluster = led(&[1, 2, 3], &[4]);
    cluster.change_and_settle(1, change(&[(AddVoter, 4)]));
    cluster.isolate(2);
    cluster.isolate(3);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), 2, "two of four are no majority");
    cluster.heal();
    cluster.isolate(3);
    cluster.rounds(2);
    assert_eq!(cluster.commit(1), 3);
}

#[test]
fn a_change_in_the_older_format_is_a_change_too() {
    let mut cluster = led(&[1], &[2]);
    let learner = ConfChange { kind: AddLearner, node: Some(id(2)), ..ConfChange::default() };
    assert_eq!(cluster.node_mut(1).propose_conf_change_v1(learner), appended(2));
    cluster.settle();
    assert_eq!(cluster.conf_state(2), conf_state(&[1], &[2]));
}

#[test]
fn an_update_changes_nothing_but_carries_its_context() {
    let mut cluster = led(&[1, 2], &[]);
    let mut update = change(&[(Update, 2)]);
    update.context = Bytes::from_static(b"a new address");
    cluster.change_and_settle(1, update.clone());
    let last = cluster.slot(2).applied.last().unwrap();
    assert_eq!(last.payload.as_conf_change(), Some(update));
    assert_eq!(cluster.conf_state(2), conf_state(&[1, 2], &[]));
}

#[test]
fn a_follower_passes_a_change_on() {
    let mut cluster = led(&[1, 2, 3], &[4]);
    cluster.node_mut(2).reconfigure(|config| config.forward_proposals = true).unwrap();
    let proposed = cluster.change(2, change(&[(AddVoter, 4)]));
    assert_eq!(proposed, Ok(ConfChangeProposal::Forwarded { to: id(1) }));
    cluster.settle();
    assert_eq!(cluster.conf_state(4), conf_state(&[1, 2, 3, 4], &[]));
}

#[test]
fn the_membership_outlives_a_restart() {
    let mut cluster = led(&[1, 2, 3], &[4]);
    cluster.change_and_settle(1, change(&[(AddVoter, 4)]));
    cluster.rounds(2);
    cluster.compact(2);
    for n in [2, 4] {
        cluster.crash(n);
        cluster.restart(n);
    }
    assert_eq!(cluster.conf_state(2), conf_state(&[1, 2, 3, 4], &[]), "from the snapshot");
    cluster.rounds(2);
    assert_eq!(cluster.conf_state(4), conf_state(&[1, 2, 3, 4], &[]), "from the log, again");
}

// -- one at a time

#[test]
fn a_second_change_is_refused_until_the_first_is_applied() {
    let mut cluster = led(&[1, 2, 3], &[4, 5]);
    assert_eq!(cluster.change(1, change(&[(AddVoter, 4)])), appended(2));
    let second = cluster.change(1, change(&[(AddVoter, 5)]));
    assert_eq!(refusal(second), ConfChangeRefusal::ChangePending { index: index(2) });
    cluster.settle();
    assert_eq!(cluster.conf_state(1), conf_state(&[1, 2, 3, 4], &[]));
    assert_eq!(cluster.slot(1).applied[2].payload, Payload::RefusedChange, "an empty entry in its place");
    assert_eq!(cluster.change(1, change(&[(AddVoter, 5)])), appended(4), "now it can");
}

#[test]
fn a_refused_change_does_not_hold_up_the_next() {
    let mut cluster = led(&[1, 2, 3], &[4]);
    assert_eq!(refusal(cluster.change(1, leave())), ConfChangeRefusal::NotJoint);
    assert_eq!(cluster.change(1, change(&[(AddVoter, 4)])), appended(3));
}

#[test]
fn two_changes_in_one_proposal_are_not_both_taken() {
    let mut cluster = led(&[1, 2, 3], &[4, 5]);
    let entry = |n| {
        let payload = Payload::ConfChangeV2(change(&[(AddVoter, n)]).into());
        Entry { payload, ..Entry::default() }
    };
    let entries = [entry(4), entry(5)].into_iter().collect();
    cluster.step(message(2, 1, 0, Body::Propose(raft_core::Propose { entries }))).unwrap();
    cluster.settle();
    assert_eq!(cluster.conf_state(1), conf_state(&[1, 2, 3, 4], &[]));
    assert_eq!(cluster.last(1), 3);
}

#[test]
fn a_change_behind_other_entries_of_its_proposal_is_pending_at_its_own_index() {
    let mut cluster = led(&[1, 2, 3], &[4, 5]);
    let plain = Entry { payload: Payload::Normal("x".into()), ..Entry::default() };
    let payload = Payload::ConfChangeV2(change(&[(AddVoter, 4)]).into());
    let entries = [plain.clone(), plain, Entry { payload, ..Entry::default() }].into_iter().collect();
    cluster.step(message(2, 1, 0, Body::Propose(raft_core::Propose { entries }))).unwrap();
    let second = cluster.change(1, change(&[(AddVoter, 5)]));
    assert_eq!(refusal(second), ConfChangeRefusal::ChangePending { index: index(4) });
}

#[test]
fn a_new_leader_makes_no_change_before_what_it_inherited_is_applied() {
    // B048. Node 2 inherits the coming of node 4, uncommitted, and is asked for that of node 5.
    let mut cluster = led_with(&[1, 2, 3], &[4, 5], figure_2);
    cluster.change(1, change(&[(AddVoter, 4)])).unwrap();
    cluster.deliver_if(|message| is_append(message) && message.to == id(2));
    cluster.take_all();
    cluster.isolate(1);
    cluster.node_mut(2).campaign().unwrap();
    cluster.settle_without(is_append);
    assert_eq!((cluster.role(2), cluster.commit(2)), (RoleKind::Leader, 1));
    let refused = cluster.change(2, change(&[(AddVoter, 5)]));
    assert_eq!(refusal(refused), ConfChangeRefusal::ChangePending { index: index(2) });
    cluster.rounds(2);
    assert_eq!(cluster.conf_state(2), conf_state(&[1, 2, 3, 4], &[]));
    let proposed = cluster.change(2, change(&[(AddVoter, 5)]));
    assert!(matches!(proposed, Ok(ConfChangeProposal::Appended { .. })), "{proposed:?}");
}

#[test]
fn without_validation_a_caller_keeps_the_rules_itself() {
    let mut cluster = led_with(&[1, 2, 3], &[4, 5], |config| config.disable_conf_change_validation = true);
    assert_eq!(cluster.change(1, change(&[(AddVoter, 4)])), appended(2));
    assert_eq!(cluster.change(1, change(&[(AddVoter, 5)])), appended(3));
    assert_eq!(cluster.change(1, leave()), appended(4));
    cluster.settle();
    // What can't be is refused when it is applied, there too.
    assert_eq!(cluster.conf_state(1), conf_state(&[1, 2, 3, 4, 5], &[]));
}

// -- what can't be made

#[test]
fn a_change_that_cannot_be_applied_has_no_effect_and_says_why() {
    // The cluster asserts that the status stays as it is, and that all nodes agree.
    let mut cluster = led(&[1], &[2]);
    cluster.change_and_settle(1, change(&[(Remove, 1)]));
    assert_eq!(cluster.conf_state(1), conf_state(&[1], &[]), "the last voter");
    assert_eq!(cluster.status(1).applied, index(2), "the entry counts as applied");
    cluster.change_and_settle(1, change(&[(AddVoter, 2)]));
    assert_eq!(cluster.conf_state(2), conf_state(&[1, 2], &[]));

    let before = cluster.status(1);
    for (change, error) in [
        (leave(), ConfChangeError::NotJoint),
        (change(&[(Remove, 1), (Remove, 2)]), ConfChangeError::NoVotersLeft),
    ] {
        assert_eq!(cluster.node_mut(1).apply_conf_change(&change), Err(error));
        assert_eq!(cluster.status(1), before);
        assert!(!cluster.node(1).has_ready());
    }
}

// -- the leader goes

#[test]
fn a_leader_that_is_removed_steps_down_when_that_is_committed() {
    let mut cluster = led(&[1, 2, 3], &[]);
    cluster.change(1, change(&[(Remove, 1)])).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Leader, "it leads until it knows that the change is committed");
    cluster.settle();
    assert_eq!((cluster.role(1), cluster.node(1).leader()), (RoleKind::Follower, None));
    assert_eq!(cluster.commit(2), 2, "and the others know it");
    cluster.crash(1);
    let leader = cluster.elect_among(&[2, 3]);
    cluster.settle();
    assert_eq!(cluster.conf_state(leader), conf_state(&[2, 3], &[]));
}

#[test]
fn a_leader_that_becomes_a_learner_steps_down_too() {
    let mut cluster = led(&[1, 2, 3], &[]);
    cluster.change_and_settle(1, change(&[(AddLearner, 1)]));
    assert_eq!(cluster.role(1), RoleKind::Follower);
    let leader = cluster.elect_among(&[2, 3]);
    cluster.propose(leader, "x").unwrap();
    cluster.rounds(2);
    assert_eq!(
        (cluster.applied(1), cluster.conf_state(1)),
        (vec!["x".to_owned()], conf_state(&[2, 3], &[1]))
    );
}

#[test]
fn a_leader_that_need_not_step_down_goes_on_without_a_vote() {
    // B098, and B042: its own log no longer counts.
    let mut cluster = led_with(&[1, 2, 3], &[], |config| config.step_down_on_removal = false);
    cluster.change_and_settle(1, change(&[(Remove, 1)]));
    assert_eq!((cluster.role(1), cluster.conf_state(1)), (RoleKind::Leader, conf_state(&[2, 3], &[])));
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::NotInConfiguration));
    assert_eq!(cluster.change(1, change(&[(AddVoter, 1)])), Err(ProposeError::NotInConfiguration));
    cluster.rounds(30);
    assert_eq!(cluster.leader(), Some(1), "its heartbeats go on");
    cluster.node_mut(1).transfer_leader(id(2)).unwrap();
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2), "it can hand over");
}

#[test]
fn a_leader_that_goes_on_without_a_vote_counts_anew_who_has_what() {
    let mut config = Config::new(id(1), 0);
    figure_2(&mut config);
    config.step_down_on_removal = false;
    let mut node = RawNode::new(config, MemoryStorage::with_conf_state(conf_state(&[1, 2], &[]))).unwrap();
    let write = |node: &mut RawNode<MemoryStorage>| {
        let ready = node.ready();
        node.storage_mut().persist(&ready).unwrap();
        node.on_persisted(ready.number).unwrap();
    };
    node.campaign().unwrap();
    write(&mut node);
    node.step(message(2, 1, 1, granted())).unwrap();
    let removal = change(&[(Remove, 1)]);
    node.propose_conf_change(removal.clone()).unwrap();
    write(&mut node);
    node.step(message(2, 1, 1, accepted(2))).unwrap();
    write(&mut node);
    // This entry only node 2 has on its disk by now.
    node.propose("x".into()).unwrap();
    let _ = node.ready();
    node.step(message(2, 1, 1, accepted(3))).unwrap();
    assert_eq!(node.status().basic.commit, index(2));
    node.apply_conf_change(&removal).unwrap();
    assert_eq!((node.role(), node.status().basic.commit), (RoleKind::Leader, index(3)));
}

#[test]
fn what_a_removed_leader_had_to_say_still_leaves() {
    // B099. Without the commit index of its removal node 2 would need its vote.
    let mut cluster = led(&[1, 2], &[]);
    cluster.change(1, change(&[(Remove, 1)])).unwrap();
    cluster.deliver_if(is_append);
    cluster.deliver_if(is_append_reply);
    assert_eq!((cluster.role(1), cluster.commit(2)), (RoleKind::Follower, 1));
    cluster.crash(1);
    cluster.settle();
    assert_eq!(cluster.conf_state(2), conf_state(&[2], &[]));
    assert_eq!(cluster.elect_among(&[2]), 2);
}

#[test]
fn what_a_leader_says_before_it_applies_its_removal_leaves_after_it() {
    // B099 again, where the caller applies later than it takes the messages.
    let mut config = Config::new(id(1), 0);
    figure_2(&mut config);
    asynchronous(&mut config);
    let mut node = RawNode::new(config, MemoryStorage::with_conf_state(conf_state(&[1, 2], &[]))).unwrap();
    let write = |node: &mut RawNode<MemoryStorage>| {
        let mut committed = Vec::new();
        while node.has_ready() {
            let ready = node.ready();
            node.storage_mut().persist(&ready).unwrap();
            node.on_persisted(ready.number).unwrap();
            committed.extend(ready.committed_entries);
        }
        committed
    };
    node.campaign().unwrap();
    write(&mut node);
    node.step(message(2, 1, 1, granted())).unwrap();
    node.propose_conf_change(change(&[(Remove, 1)])).unwrap();
    write(&mut node);
    node.step(message(2, 1, 1, accepted(2))).unwrap();
    let committed = write(&mut node);
    node.tick();
    node.apply_conf_change(&committed[1].payload.as_conf_change().unwrap()).unwrap();
    assert_eq!(node.role(), RoleKind::Follower);
    assert_eq!(node.ready().messages, [message(1, 2, 1, heartbeat_relying(2, at(1, 2)))]);
}

// -- what a leader knows of its peers

#[test]
fn adding_one_who_is_in_already_resets_nothing() {
    // B104.
    let mut cluster = led(&[1, 2, 3], &[]);
    cluster.rounds(2);
    for n in 1..=3 {
        let before = cluster.peer(1, n);
        assert_eq!(before.state, PeerState::Replicate);
        cluster.change(1, change(&[(AddVoter, n)])).unwrap();
        cluster.settle();
        let after = cluster.peer(1, n);
        assert_eq!((after.state, after.match_index), (PeerState::Replicate, before.match_index.next()));
        assert!(
            !cluster.sent.iter().any(|m| matches!(
                m.body,
                Body::AppendEntriesReply(raft_core::AppendEntriesReply::Rejected { .. })
            )),
            "nobody was probed"
        );
    }
}

#[test]
fn one_who_is_removed_and_added_in_one_change_is_another_node() {
    for again in [AddLearner, AddVoter] {
        let mut cluster = Cluster::of(&[1, 2, 3], &[4], |_| {});
        cluster.elect(1);
        cluster.rounds(2);
        assert_eq!(cluster.peer(1, 4).match_index, index(1));
        cluster.isolate(4);
        cluster.change(1, change(&[(Remove, 4), (again, 4)])).unwrap();
        cluster.settle();
        assert_eq!((cluster.peer(1, 4).match_index, cluster.peer(1, 4).state), (index(0), PeerState::Probe));
        assert_eq!(cluster.peer(1, 2).state, PeerState::Replicate, "the others stay what they are");
        cluster.heal();
        cluster.rounds(3);
        assert_eq!(cluster.peer(1, 4).match_index, cluster.status(1).last);
    }
}

#[test]
fn one_who_comes_has_an_election_time_out_to_be_heard() {
    let mut cluster = led(&[1], &[2]);
    cluster.rounds(9);
    cluster.isolate(2);
    cluster.change_and_settle(1, change(&[(AddVoter, 2)]));
    cluster.round();
    assert_eq!(cluster.role(1), RoleKind::Leader, "the check of the quorum comes a tick after node 2");
    cluster.rounds(10);
    assert_eq!(cluster.role(1), RoleKind::Follower);
}

#[test]
fn one_who_leaves_is_forgotten_and_comes_back_unknown() {
    let mut cluster = led(&[1, 2, 3], &[]);
    cluster.change_and_settle(1, change(&[(Remove, 3)]));
    assert_eq!(cluster.status(1).progress.len(), 2);
    cluster.isolate(3);
    cluster.change_and_settle(1, change(&[(AddVoter, 3)]));
    assert_eq!(cluster.peer(1, 3).match_index, index(0));
}

#[test]
fn fewer_voters_may_make_a_quorum_of_what_was_acknowledged() {
    // B096. {1, 2}: the last entry is only on node 1 when node 2 goes.
    let mut cluster = led(&[1, 2], &[]);
    cluster.change(1, change(&[(Remove, 2)])).unwrap();
    let removal = cluster.take_all();
    cluster.propose(1, "x").unwrap();
    cluster.take_all();
    for message in removal {
        cluster.deliver(message);
    }
    cluster.isolate(2);
    cluster.deliver_if(is_append_reply);
    cluster.heal();
    assert_eq!(cluster.conf_state(1), conf_state(&[1, 2], &[]), "the answer was lost");
    cluster.step(message(2, 1, 1, accepted(2))).unwrap();
    assert_eq!(cluster.conf_state(1), conf_state(&[1], &[]));
    assert_eq!((cluster.commit(1), cluster.applied(1)), (3, vec!["x".to_owned()]));
}

// -- learners

#[test]
fn learners_receive_the_log_and_count_for_nothing() {
    // B031.
    let mut cluster = led(&[1, 2, 3], &[4, 5]);
    cluster.change_and_settle(1, change(&[(AddLearner, 4)]));
    cluster.change_and_settle(1, change(&[(AddLearner, 5)]));
    cluster.isolate(2);
    cluster.isolate(3);
    let commit = cluster.commit(1);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!((cluster.peer(1, 4).match_index, cluster.peer(1, 5).match_index), (index(4), index(4)));
    assert_eq!(cluster.commit(1), commit, "one voter of three has it");
    cluster.ticks(4, 40);
    assert_eq!(cluster.role(4), RoleKind::Follower, "a learner doesn't campaign");
    assert!(matches!(cluster.node_mut(4).campaign(), Err(CampaignError::NotAVoter)));
    cluster.ticks(1, 10);
    cluster.settle();
    cluster.ticks(1, 10);
    assert_eq!(cluster.role(1), RoleKind::Follower, "nor does it make a quorum for its leader");
}

#[test]
fn a_learner_that_is_promoted_counts() {
    let mut cluster = led(&[1, 2], &[3]);
    cluster.change_and_settle(1, change(&[(AddLearner, 3)]));
    cluster.change_and_settle(1, change(&[(AddVoter, 3)]));
    assert_eq!(cluster.conf_state(3), conf_state(&[1, 2, 3], &[]));
    cluster.isolate(2);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), 4);
}

// -- snapshots

#[test]
fn one_who_joins_with_nothing_gets_a_snapshot_that_names_it() {
    // Fault 5 of etcd's: one that doesn't would be refused, and sent again for ever.
    let mut cluster = Cluster::from_disks(
        [(1, MemoryStorage::with_conf_state(conf_state(&[1], &[]))), (2, MemoryStorage::default())],
        |_| {},
    );
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    cluster.compact(1);
    assert_eq!(cluster.conf_state(2), ConfState::default());
    cluster.change_and_settle(1, change(&[(AddLearner, 2)]));
    cluster.rounds(2);
    assert!(!cluster.sent.iter().any(is_snapshot), "the one there is was made before");
    assert!(cluster.status(1).counters.storage_failures > 0, "the caller can see that one is wanted");
    cluster.compact(1);
    cluster.rounds(2);
    assert_eq!(cluster.sent.iter().filter(|message| is_snapshot(message)).count(), 1);
    assert_eq!(cluster.conf_state(2), conf_state(&[1], &[2]));
    assert_eq!((cluster.commit(2), cluster.last(2)), (3, 3));
}

#[test]
fn a_snapshot_may_make_a_voter_a_learner() {
    // B093.
    let mut cluster = led(&[1, 2, 3], &[]);
    cluster.isolate(3);
    cluster.change_and_settle(1, change(&[(AddLearner, 3)]));
    cluster.compact(1);
    cluster.heal();
    cluster.rounds(4);
    assert!(cluster.sent.iter().any(is_snapshot));
    assert_eq!(cluster.conf_state(3), conf_state(&[1, 2], &[3]));
    assert_eq!(cluster.peer(1, 3).match_index, cluster.status(1).last);
}

#[test]
fn a_change_applied_after_a_snapshot_came_belongs_to_the_configuration_before_it() {
    // Asynchronous use: the change at index 2 was handed out when the snapshot came, which knows of it and of more.
    let mut disk = MemoryStorage::with_conf_state(conf_state(&[1, 2], &[]));
    let payload = Payload::ConfChangeV2(change(&[(AddVoter, 3)]).into());
    disk.append(&[entry(1, 1), Entry { term: term(1), index: index(2), payload }].into()).unwrap();
    disk.set_hard_state(HardState { term: term(1), vote: None, commit: index(2) });
    let mut config = Config::new(id(1), 0);
    asynchronous(&mut config);
    let mut node = RawNode::new(config, disk).unwrap();
    let committed = node.ready().committed_entries;
    // A second one that comes before the first is written changes nothing of that.
    node.step(message(2, 1, 1, install(snapshot(at(1, 7), conf_state(&[1, 2, 3, 6], &[]))))).unwrap();
    let later = conf_state(&[1, 2, 3, 4], &[5]);
    node.step(message(2, 1, 1, install(snapshot(at(1, 9), later.clone())))).unwrap();
    let ready = node.ready();
    let applied = node.apply_conf_change(&committed[1].payload.as_conf_change().unwrap());
    assert_eq!(applied, Ok(conf_state(&[1, 2, 3], &[])), "what to store with index 2");
    assert_eq!(node.status().conf_state, later, "what the node acts by");
    node.on_applied(index(2)).unwrap();
    node.storage_mut().persist(&ready).unwrap();
    // From when the snapshot is durable, whatever else is being written.
    node.step(message(2, 1, 1, append(at(1, 9), entries(10, &[1]), 9))).unwrap();
    let _ = node.ready();
    node.on_persisted(ready.number).unwrap();
    assert_eq!(node.apply_conf_change(&change(&[(Remove, 5)])), Ok(conf_state(&[1, 2, 3, 4], &[])));
}

#[test]
fn a_leader_has_one_answer_for_a_message_of_one_who_left() {
    let mut cluster = led(&[1, 2, 3], &[]);
    cluster.change_and_settle(1, change(&[(Remove, 3)]));
    let late: Message = message(3, 1, 1, accepted(1));
    assert!(matches!(cluster.step(late), Err(raft_core::StepError::UnknownPeer(from)) if from == id(3)));
    let implicit = transition(ConfChangeTransition::JointImplicit, &[(AddVoter, 3)]);
    cluster.change_and_settle(1, implicit);
    assert_eq!(cluster.conf_state(1), conf_state(&[1, 2, 3], &[]), "entered and left");
}
