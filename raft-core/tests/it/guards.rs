//! Guards that no other test notices the lack of: found by leaving each out (`fuzz/mutants`).

use raft_core::ConfChangeKind::AddLearner;
use raft_core::{
    Body, ConfChangeProposal, ConfChangeRefusal, Config, Entry, HardState, MemoryStorage, Payload, RawNode,
    ReadMode, Ready, RoleKind,
};

use crate::cluster::{Cluster, figure_2};
use crate::words::*;

/// A node alone, which leads.
fn alone() -> RawNode<MemoryStorage> {
    let mut node = RawNode::new(Config::new(id(1), 0), MemoryStorage::with_voters([id(1)])).unwrap();
    node.campaign().unwrap();
    while node.has_ready() {
        let ready = node.ready();
        node.storage_mut().persist(&ready).unwrap();
        node.advance(ready).unwrap();
    }
    node
}

/// Thesis §4.1, where a change acts when it is applied: until then the next one would build on the configuration before it.
#[test]
fn a_change_that_is_committed_and_not_applied_holds_up_the_next() {
    let mut node = alone();
    let _ = node.propose_conf_change(change(&[(AddLearner, 2)])).unwrap();
    let ready = node.ready();
    node.storage_mut().persist(&ready).unwrap();
    node.on_persisted(ready.number).unwrap();
    for handed_out in [false, true] {
        if handed_out {
            let committed = persist(&mut node).committed_entries;
            assert_eq!(committed.first().map(|entry| entry.index), Some(index(2)));
        }
        assert_eq!((node.commit_index().get() >= 2, node.applied_index()), (true, index(1)));
        match node.propose_conf_change(change(&[(AddLearner, 3)])) {
            Ok(ConfChangeProposal::Refused { reason, .. }) => {
                assert_eq!(reason, ConfChangeRefusal::ChangePending { index: index(2) });
            }
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// §7, step 6, with what is committed for "last included entry": it was handed out to be applied, or will be.
#[test]
fn a_snapshot_between_applied_and_committed_is_not_needed() {
    let mut node = RawNode::new(Config::new(id(2), 0), MemoryStorage::with_voters(ids(&[1, 2, 3]))).unwrap();
    node.step(message(1, 2, 1, append(at(0, 0), entries(1, &[1; 9]), 9))).unwrap();
    let ready = node.ready();
    node.storage_mut().persist(&ready).unwrap();
    node.on_persisted(ready.number).unwrap();
    node.on_applied(index(6)).unwrap();

    node.step(message(1, 2, 1, install(snapshot(at(1, 7), conf_state(&[1, 2, 3], &[]))))).unwrap();
    assert_eq!((node.commit_index(), node.last_index()), (index(9), index(9)));
    let ready = node.ready();
    assert!(ready.snapshot.is_none());
    assert_eq!(ready.persisted_messages, [message(2, 1, 1, accepted(9))]);
}

/// Thesis §4.2.2: a leader that has no vote any more still replicates, and doesn't count itself.
#[test]
fn a_leader_that_only_learns_does_not_count_its_own_log() {
    let mut cluster = Cluster::with(4, |config| config.step_down_on_removal = false);
    cluster.elect(1);
    cluster.change_and_settle(1, change(&[(AddLearner, 1)]));
    assert_eq!(cluster.leader(), Some(1));
    let before = cluster.commit(1);
    cluster.isolate(3);
    cluster.isolate(4);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), before, "one of three voters has it");
    cluster.heal();
    cluster.rounds(2);
    assert_eq!(cluster.commit(1), before + 1);
}

/// Thesis §6.4, step 1, for a read that comes from a follower.
#[test]
fn a_followers_read_waits_for_the_first_commit_of_the_term_too() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.lose_if(is_append_reply);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.settle();
    cluster.read(2, "r", ReadMode::Quorum).unwrap();
    cluster.rounds(1);
    assert_eq!((cluster.leader(), cluster.commit(1), cluster.slot(2).reads.len()), (Some(1), 0, 0));
    cluster.lose_if(|_| false);
    cluster.rounds(3);
    assert_eq!(cluster.slot(2).reads.iter().map(|read| read.index).collect::<Vec<_>>(), [index(1)]);
}

/// Takes a `Ready` and makes it durable, and applies nothing.
fn persist(node: &mut RawNode<MemoryStorage>) -> Ready {
    let ready = node.ready();
    node.storage_mut().persist(&ready).unwrap();
    node.on_persisted(ready.number).unwrap();
    ready
}

/// Thesis §6.4: the read index is the commit index when the leader was asked; its caller waits until that is applied.
#[test]
fn a_read_is_of_what_was_committed_also_where_that_is_not_applied() {
    let mut config = Config::new(id(1), 0);
    figure_2(&mut config);
    let mut node = RawNode::new(config, MemoryStorage::with_voters(ids(&[1, 2, 3]))).unwrap();
    node.campaign().unwrap();
    let _ = persist(&mut node);
    node.step(message(2, 1, 1, granted())).unwrap();
    let _ = persist(&mut node);
    node.step(message(2, 1, 1, accepted(1))).unwrap();
    let _ = persist(&mut node);
    assert_eq!((node.commit_index(), node.applied_index()), (index(1), index(0)));

    node.read_index("r".into(), ReadMode::Quorum).unwrap();
    let round = persist(&mut node).messages.into_iter().find_map(|message| match message.body {
        Body::Heartbeat(heartbeat) => Some(heartbeat.context),
        _ => None,
    });
    node.step(message(2, 1, 1, heartbeat_reply_with(round.unwrap()))).unwrap();
    let answered: Vec<_> = persist(&mut node).read_states.iter().map(|read| read.index).collect();
    assert_eq!(answered, [index(1)]);
}

/// Thesis §6.2: a leader without a vote can't hear itself for a quorum.
#[test]
fn a_leader_that_only_learns_steps_down_when_it_hears_no_quorum() {
    for each_tick in [false, true] {
        let mut cluster = Cluster::with(4, |config| {
            config.step_down_on_removal = false;
            config.check_quorum_each_tick = each_tick;
        });
        cluster.elect(1);
        cluster.change_and_settle(1, change(&[(AddLearner, 1)]));
        cluster.isolate(1);
        cluster.ticks(1, 20);
        assert_eq!(cluster.role(1), RoleKind::Follower);
    }
}

/// Thesis §9.6: a vote answers the question for a vote, not whether one would be given.
#[test]
fn a_late_vote_is_no_pre_vote() {
    let config = Config { pre_vote: true, ..Config::new(id(1), 0) };
    let mut node = RawNode::new(config, MemoryStorage::with_voters(ids(&[1, 2, 3]))).unwrap();
    node.step(message(2, 1, 1, Body::TimeoutNow)).unwrap();
    let _ = persist(&mut node);
    assert_eq!((node.role(), node.term()), (RoleKind::Candidate, term(2)));
    node.campaign().unwrap();
    let _ = persist(&mut node);
    assert_eq!((node.role(), node.term()), (RoleKind::PreCandidate, term(2)));
    node.step(message(3, 1, 2, granted())).unwrap();
    assert_eq!((node.role(), node.term()), (RoleKind::PreCandidate, term(2)));
}

/// Thesis §3.10: a learner can't lead, however long its log is.
#[test]
fn the_best_successor_is_a_voter() {
    let mut cluster = Cluster::of(&[1, 2, 4], &[3], |_| {});
    cluster.elect(1);
    cluster.lose_if(|message| message.to == id(2) && has_entries(message));
    cluster.isolate(4);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert!(cluster.peer(1, 3).match_index > cluster.peer(1, 2).match_index);
    assert_eq!(cluster.node_mut(1).transfer_leader_to_best(), Ok(id(2)));
}

/// Thesis §3.10: who isn't heard can't take over.
#[test]
fn the_best_successor_was_heard_lately() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.isolate(2);
    cluster.rounds(25);
    assert_eq!(cluster.peer(1, 2).match_index, cluster.peer(1, 3).match_index);
    assert_eq!(cluster.node_mut(1).transfer_leader_to_best(), Ok(id(3)));
}

/// Thesis §4.2.3: who heard no leader for an election time-out doesn't ignore candidates on its account; though it can't campaign
/// itself, however often that comes due.
#[test]
fn who_cannot_campaign_hears_candidates_when_its_leader_is_gone() {
    let mut disk = MemoryStorage::with_conf_state(conf_state(&[1, 2, 3], &[]));
    let payload = Payload::ConfChangeV2(change(&[(AddLearner, 4)]).into());
    disk.append(&[entry(1, 1), Entry { term: term(1), index: index(2), payload }].into()).unwrap();
    disk.set_hard_state(HardState { term: term(1), vote: None, commit: index(2) });
    let config = Config::new(id(1), 0);
    let timeout = config.election_ticks;
    let mut node = RawNode::new(config, disk).unwrap();
    node.step(message(2, 1, 1, heartbeat(2))).unwrap();
    node.set_election_timeout(timeout);
    // The change that is handed out here isn't applied meanwhile.
    let _ = persist(&mut node);
    for tick in 1..=3 * timeout {
        node.tick();
        node.step(message(3, 1, 2, pre_vote(at(1, 2)))).unwrap();
        let answers = persist(&mut node).persisted_messages;
        assert_eq!(node.role(), RoleKind::Follower);
        assert_eq!(answers.is_empty(), tick < timeout, "after {tick} ticks");
    }
    node.step(message(2, 1, 1, heartbeat(2))).unwrap();
    node.step(message(3, 1, 2, pre_vote(at(1, 2)))).unwrap();
    assert_eq!(persist(&mut node).persisted_messages, [], "the leader is there again");
    // Not even if its own time-out was set to less.
    node.set_election_timeout(1);
    node.tick();
    node.step(message(3, 1, 2, pre_vote(at(1, 2)))).unwrap();
    assert_eq!(persist(&mut node).persisted_messages, [], "it was heard a tick ago");
}
