//! What goes out in a `Ready` and comes back as an acknowledgement: each thing once, in order, and durable before it counts.

use bytes::Bytes;
use proptest::prelude::{Just, prop_oneof};
use raft_core::{
    AckError, BasicStatus, Body, ConfStateError, Config, ConfigError, Entry, HardState, Inconsistency, Index,
    LogPosition, MemoryStorage, Message, RawNode, Ready, RoleKind, SoftState, StartError, Storage,
    StorageError,
};

use crate::cluster::{Cluster, Disk, asynchronous, disk_with, figure_2};
use crate::words::*;

fn node_on(disk: MemoryStorage, configure: impl Fn(&mut Config)) -> RawNode<MemoryStorage> {
    let mut config = Config::new(id(1), 0);
    figure_2(&mut config);
    configure(&mut config);
    RawNode::new(config, disk).unwrap()
}

/// Node 1 of three, in term 1 of node 2.
fn follower(configure: impl Fn(&mut Config)) -> RawNode<MemoryStorage> {
    let mut node = node_on(MemoryStorage::with_voters(ids(&[1, 2, 3])), configure);
    node.step(message(2, 1, 1, heartbeat(0))).unwrap();
    drain(&mut node);
    node
}

/// Writes and acknowledges one `Ready`.
fn finish(node: &mut RawNode<MemoryStorage>, ready: Ready) {
    node.storage_mut().persist(&ready).unwrap();
    node.advance(ready).unwrap();
    node.check_invariants().unwrap();
}

fn drain(node: &mut RawNode<MemoryStorage>) -> Vec<Message> {
    let mut messages = Vec::new();
    while node.has_ready() {
        let mut ready = node.ready();
        messages.append(&mut ready.messages);
        messages.append(&mut ready.persisted_messages);
        finish(node, ready);
    }
    messages
}

fn indexes<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<u64> {
    entries.into_iter().map(|entry| entry.index.get()).collect()
}

// -- what is handed out, and when

#[test]
fn each_change_of_term_vote_or_commit_is_handed_out_once() {
    let mut node = follower(|_| {});
    let mut expect = |body: Body, from: u64, t: u64, vote: Option<u64>, commit: u64, synced: bool| {
        node.step(message(from, 1, t, body)).unwrap();
        let ready = node.ready();
        let expected = HardState { term: term(t), vote: vote.map(id), commit: index(commit) };
        assert_eq!(ready.hard_state, Some(expected));
        assert_eq!(ready.must_sync, synced);
        finish(&mut node, ready);
        let mut again = false;
        while node.has_ready() {
            let ready = node.ready();
            again |= ready.hard_state.is_some();
            finish(&mut node, ready);
        }
        assert!(!again, "once");
    };
    expect(heartbeat(0), 2, 2, None, 0, true); // the term alone
    expect(request_vote(at(0, 0)), 3, 3, Some(3), 0, true);
    expect(refused(), 2, 4, None, 0, true);
    expect(request_vote(at(0, 0)), 3, 4, Some(3), 0, true); // the vote alone
    expect(append(at(0, 0), entries(1, &[4, 4]), 1), 3, 4, Some(3), 1, true);
    expect(heartbeat(2), 3, 4, Some(3), 2, false); // the commit index alone: it may be lost
}

#[test]
fn what_must_reach_the_disk_says_so() {
    let mut node = follower(|_| {});
    node.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1]), 0))).unwrap();
    let ready = node.ready();
    assert!(ready.must_sync && ready.hard_state.is_none(), "entries alone");
    finish(&mut node, ready);
    node.step(message(2, 1, 1, heartbeat(0))).unwrap();
    let ready = node.ready();
    assert!(!ready.must_sync && !ready.needs_acknowledgement(), "an answer that promises nothing");
    finish(&mut node, ready);
    node.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1]), 0))).unwrap();
    let ready = node.ready();
    assert!(!ready.must_sync && ready.persisted_messages.len() == 1, "nothing new was written");
    finish(&mut node, ready);
    node.step(message(2, 1, 1, install(snapshot(at(1, 9), conf_state(&[1, 2, 3], &[]))))).unwrap();
    let ready = node.ready();
    assert!(ready.must_sync && ready.snapshot.is_some());
    finish(&mut node, ready);
}

#[test]
fn role_and_leader_are_told_when_they_change() {
    let mut node = node_on(MemoryStorage::with_voters(ids(&[1, 2, 3])), |_| {});
    assert!(!node.has_ready(), "a node starts as follower of nobody");
    node.step(message(2, 1, 1, heartbeat(0))).unwrap();
    let ready = node.ready();
    assert_eq!(ready.soft_state, Some(SoftState { leader: Some(id(2)), role: RoleKind::Follower }));
    finish(&mut node, ready);
    node.step(message(2, 1, 1, heartbeat(0))).unwrap();
    let ready = node.ready();
    assert_eq!(ready.soft_state, None);
    finish(&mut node, ready);
    node.campaign().unwrap();
    let ready = node.ready();
    assert_eq!(ready.soft_state, Some(SoftState { leader: None, role: RoleKind::Candidate }));
}

#[test]
fn readies_are_numbered_and_their_buffers_can_be_used_again() {
    let mut node = follower(|_| {});
    let mut ready = node.ready();
    let first = ready.number;
    for n in 1..=3 {
        node.step(message(2, 1, 1, heartbeat(0))).unwrap();
        node.ready_into(&mut ready);
        assert_eq!((ready.number, ready.messages.len()), (first + n, 1));
    }
    node.ready_into(&mut ready);
    assert!(ready.is_empty());
}

#[test]
fn who_shares_a_ready_among_many_nodes_does_not_give_them_the_buffers_of_a_busy_one() {
    let (mut busy, mut quiet) = (follower(|_| {}), follower(|_| {}));
    let mut ready = busy.ready();
    quiet.ready_into(&mut ready);
    for _ in 0..100 {
        busy.step(message(2, 1, 1, heartbeat(0))).unwrap();
    }
    busy.ready_into(&mut ready);
    assert_eq!(ready.messages.len(), 100);
    for _ in 0..3 {
        quiet.step(message(2, 1, 1, heartbeat(0))).unwrap();
        quiet.ready_into(&mut ready);
        assert_eq!(ready.messages, [message(1, 2, 1, heartbeat_reply())]);
        assert!(ready.messages.capacity() >= 100, "it went to the quiet one");
    }
}

#[test]
fn what_comes_between_a_ready_and_its_acknowledgement_is_not_lost() {
    let mut node = follower(|_| {});
    node.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1]), 1))).unwrap();
    let ready = node.ready();
    node.step(message(2, 1, 1, append(at(1, 1), entries(2, &[1]), 2))).unwrap();
    node.step(message(2, 1, 1, heartbeat(2))).unwrap();
    node.step(message(3, 1, 2, request_vote(at(1, 2)))).unwrap();
    finish(&mut node, ready);
    let ready = node.ready();
    assert_eq!((indexes(&ready.entries), indexes(&ready.committed_entries)), (vec![2], vec![2]));
    assert_eq!(ready.messages, [message(1, 2, 1, heartbeat_reply())]);
    assert_eq!(ready.persisted_messages, [message(1, 2, 1, accepted(2)), message(1, 3, 2, granted())]);
    assert_eq!(ready.hard_state, Some(HardState { term: term(2), vote: Some(id(3)), commit: index(2) }));
    finish(&mut node, ready);
    assert!(!node.has_ready());
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Append,
    Beat,
    Take,
    Finish,
}

#[test]
fn each_message_and_each_entry_is_handed_out_once_and_in_order_whatever_comes_between() {
    let turn = prop_oneof![Just(Turn::Append), Just(Turn::Beat), Just(Turn::Take), Just(Turn::Finish)];
    check(300, &(proptest::collection::vec(turn, 1..80), proptest::bool::ANY), |(turns, async_writes)| {
        let mut node = follower(|config| {
            config.async_writes = async_writes;
            config.max_committed_bytes = 40;
        });
        let (mut appended, mut beats) = (0_u64, 0_u64);
        let (mut written, mut applied, mut beat_replies, mut acks) = (vec![], vec![], vec![], vec![]);
        let mut out = std::collections::VecDeque::new();
        let mut all = turns;
        all.extend(std::iter::repeat_n([Turn::Take, Turn::Finish], 60).flatten());
        for turn in all {
            match turn {
                Turn::Append => {
                    let prev = at(u64::from(appended > 0), appended);
                    appended += 1;
                    node.step(message(2, 1, 1, append(prev, entries(appended, &[1]), appended - 1))).unwrap();
                }
                Turn::Beat => {
                    beats += 1;
                    let context = Bytes::copy_from_slice(&beats.to_be_bytes());
                    let body =
                        raft_core::proto::Heartbeat { commit: index(0), relied: LogPosition::ZERO, context };
                    node.step(message(2, 1, 1, Body::Heartbeat(body))).unwrap();
                }
                Turn::Take => {
                    assert_eq!(node.has_ready(), !node.clone().ready().is_empty());
                    let ready = node.ready();
                    written.extend(indexes(&ready.entries));
                    applied.extend(indexes(&ready.committed_entries));
                    for sent in ready.messages.iter().chain(&ready.persisted_messages) {
                        match &sent.body {
                            Body::HeartbeatReply(reply) => beat_replies.push(reply.context.clone()),
                            Body::AppendEntriesReply(_) => acks.push(sent.clone()),
                            other => panic!("{other:?}"),
                        }
                    }
                    out.push_back(ready);
                }
                Turn::Finish => {
                    if let Some(ready) = out.pop_front() {
                        finish(&mut node, ready);
                    }
                }
            }
        }
        assert_eq!(written, (1..=appended).collect::<Vec<_>>());
        assert_eq!(applied, (1..appended.max(1)).collect::<Vec<_>>());
        assert_eq!(acks, (1..=appended).map(|i| message(1, 2, 1, accepted(i))).collect::<Vec<_>>());
        let expected = (1..=beats).map(|n| Bytes::copy_from_slice(&n.to_be_bytes()));
        assert_eq!(beat_replies, expected.collect::<Vec<_>>());
        assert_eq!(indexes(node.storage().all_entries()), written);
        Ok(())
    });
}

// -- pages of committed entries

#[test]
fn committed_entries_come_in_pages_of_a_limited_size() {
    let one = entry(1, 5).encoded_len();
    for (limit, page) in [(1, 1), (one, 1), (2 * one - 1, 1), (2 * one, 2), (5 * one, 5)] {
        let mut node =
            node_on(disk_with(&[1, 2, 3], &[1; 9], 9), |config| config.max_committed_bytes = limit);
        let mut handed = Vec::new();
        while node.has_ready() {
            let ready = node.ready();
            assert!(ready.committed_entries.len() <= page, "limit {limit}");
            handed.extend(indexes(&ready.committed_entries));
            assert!(!node.has_ready(), "no more before this is applied");
            finish(&mut node, ready);
        }
        assert_eq!(handed, (1..=9).collect::<Vec<_>>(), "none is skipped or repeated");
    }
}

#[test]
fn pages_may_be_applied_while_others_are_under_way() {
    let one = entry(1, 1).encoded_len();
    let mut node = node_on(disk_with(&[1, 2, 3], &[1; 3], 2), |config| config.max_committed_bytes = 3 * one);
    let first = node.ready();
    assert_eq!(indexes(&first.committed_entries), [1, 2]);
    node.step(message(2, 1, 1, append(at(1, 3), entries(4, &[1]), 4))).unwrap();
    let second = node.ready();
    assert_eq!(indexes(&second.committed_entries), [3], "what the limit leaves");
    finish(&mut node, first);
    assert_eq!(indexes(&node.ready().committed_entries), [4]);
}

#[test]
fn with_asynchronous_writes_only_what_is_durable_here_is_applied() {
    for (configure, expected) in [(asynchronous as fn(&mut Config), vec![]), (figure_2, vec![1, 2])] {
        let mut node = follower(configure);
        node.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1, 1]), 2))).unwrap();
        let write = node.ready();
        assert_eq!(indexes(&write.committed_entries), expected);
        if write.committed_entries.is_empty() {
            assert!(!node.has_ready());
            node.storage_mut().persist(&write).unwrap();
            node.on_persisted(write.number).unwrap();
            assert_eq!(indexes(&node.ready().committed_entries), [1, 2]);
        }
    }
}

#[test]
fn after_a_restart_application_goes_on_behind_what_was_applied() {
    for applied in 0..=3 {
        let mut node = node_on(disk_with(&[1, 2, 3], &[1; 4], 3), |config| config.applied = index(applied));
        assert_eq!(node.applied_index(), index(applied));
        assert_eq!(node.has_ready(), applied < 3);
        assert_eq!(indexes(&node.ready().committed_entries), (applied + 1..=3).collect::<Vec<_>>());
    }
}

// -- writes in flight

#[test]
fn entries_that_replace_others_are_handed_out_though_those_are_still_being_written() {
    let mut node = follower(|_| {});
    node.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1, 1, 1]), 0))).unwrap();
    let first = node.ready();
    node.step(message(3, 1, 2, append(at(1, 1), entries(2, &[2, 2, 2]), 0))).unwrap();
    let second = node.ready();
    assert_eq!(second.entries, entries(2, &[2, 2, 2]).to_vec());
    finish(&mut node, first);
    assert!(node.status().durable <= index(1), "the first write says nothing of the new entries");
    finish(&mut node, second);
    let log: Vec<LogPosition> = node.storage().all_entries().map(Entry::position).collect();
    assert_eq!(log, [at(1, 1), at(2, 2), at(2, 3), at(2, 4)]);
    assert_eq!(node.status().durable, index(4));
}

#[test]
fn the_acknowledgement_of_an_overwritten_write_does_not_vouch_for_its_successor() {
    // Index 2 goes from term 1 to term 2 and back to term 1 while the first write is still under way.
    for async_writes in [false, true] {
        let mut node = follower(|config| config.async_writes = async_writes);
        let appends = [
            message(2, 1, 1, append(at(0, 0), entries(1, &[1, 1]), 0)),
            message(3, 1, 2, append(at(1, 1), entries(2, &[2]), 0)),
            message(2, 1, 3, append(at(1, 1), entries(2, &[1]), 2)),
        ];
        let mut writes = Vec::new();
        for message in appends {
            node.step(message).unwrap();
            writes.push(node.ready());
        }
        assert_eq!(indexes(&writes[2].entries), [2], "the third leader's entry is written again");
        let numbers: Vec<u64> = writes.iter().map(|write| write.number).collect();
        for (write, expected) in writes.iter().zip([false, false, true]) {
            node.storage_mut().persist(write).unwrap();
            node.on_persisted(write.number).unwrap();
            assert_eq!(node.status().durable >= index(2), expected, "write {} of {numbers:?}", write.number);
            if async_writes {
                let applied = indexes(&node.ready().committed_entries);
                assert_eq!(applied.contains(&2), expected);
            }
        }
    }
}

#[test]
fn an_acknowledgement_covers_all_writes_before_it() {
    let mut node = follower(|_| {});
    let mut numbers = Vec::new();
    for i in 0..3 {
        node.step(message(2, 1, 1, append(at(u64::from(i > 0), i), entries(i + 1, &[1]), 0))).unwrap();
        let write = node.ready();
        node.storage_mut().persist(&write).unwrap();
        numbers.push(write.number);
    }
    assert_eq!(node.status().writes_in_flight, 3);
    node.on_persisted(numbers[2]).unwrap();
    assert_eq!((node.status().writes_in_flight, node.status().durable), (0, index(3)));
    node.on_persisted(numbers[0]).unwrap(); // late, and no error
    assert_eq!(node.status().durable, index(3));
}

#[test]
fn an_acknowledgement_that_tells_nothing_is_not_waited_for() {
    let mut node = follower(|_| {});
    let mut persist = |message, waits| {
        node.step(message).unwrap();
        let write = node.ready();
        assert!(write.needs_acknowledgement());
        assert_eq!(node.status().writes_in_flight, waits);
        node.storage_mut().persist(&write).unwrap();
        node.on_persisted(write.number).unwrap();
        (write.hard_state.map(|state| state.commit), node.status().durable)
    };
    persist(message(2, 1, 1, append(at(0, 0), entries(1, &[1]), 0)), 1);
    let write = persist(message(2, 1, 1, append(at(1, 1), entries(2, &[]), 1)), 0);
    assert_eq!(write, (Some(index(1)), index(1)));
    // A new term is written, and to know that it is durable says something.
    persist(message(3, 1, 2, append(at(1, 1), entries(2, &[]), 1)), 1);
}

#[test]
fn a_write_of_an_earlier_term_does_not_make_a_leader_count_itself() {
    let mut cluster = Cluster::plain(5);
    cluster.set_disk(1, Disk::AtOnce);
    cluster.elect(1);
    cluster.set_disk(1, Disk::Held);
    cluster.propose(1, "x").unwrap();
    // Deposed and elected again while the write is under way.
    cluster.step(message(2, 1, 2, heartbeat_reply())).unwrap();
    cluster.take_all();
    cluster.persist_all(1);
    assert_eq!((cluster.role(1), cluster.commit(1)), (RoleKind::Follower, 1));
    assert_eq!(cluster.status(1).durable, index(2), "the write of the new term covers what is unstable");
}

// -- wrong acknowledgements

#[test]
fn an_acknowledgement_of_what_was_not_handed_out_is_refused_and_changes_nothing() {
    let mut node = follower(|_| {});
    node.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1, 1, 1]), 2))).unwrap();
    let before = node.status();
    let last = node.clone().ready().number - 1;
    for number in [last + 1, last + 2, u64::MAX] {
        assert_eq!(node.on_persisted(number), Err(AckError::NotHandedOut { last }));
    }
    for i in [1, 2, 3, u64::MAX] {
        assert_eq!(node.on_applied(index(i)), Err(AckError::NotHandedOutForApply { last: index(0) }));
    }
    assert_eq!((node.status(), node.has_ready()), (before, true));
    let ready = node.ready();
    let before = node.status();
    assert_eq!(node.on_applied(index(3)), Err(AckError::NotHandedOutForApply { last: index(2) }));
    assert_eq!(node.status(), before);
    finish(&mut node, ready);
    // What was acknowledged before is no error, and moves nothing back.
    let before = node.status();
    for number in 0..=last {
        node.on_persisted(number).unwrap();
        node.on_applied(index(number.min(2))).unwrap();
    }
    assert_eq!(node.status(), before);
}

#[test]
fn a_ready_of_another_node_is_refused() {
    let mut node = follower(|_| {});
    let mut other = follower(|_| {});
    for _ in 0..5 {
        other.step(message(2, 1, 1, heartbeat(0))).unwrap();
        let _ = drain(&mut other);
    }
    other.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1]), 1))).unwrap();
    let before = node.status();
    assert!(matches!(node.advance(other.ready()), Err(AckError::NotHandedOut { .. })));
    assert_eq!(node.status(), before);
}

// -- starting

#[test]
fn each_reason_not_to_start_has_a_name() {
    let start = |disk: MemoryStorage, configure: &dyn Fn(&mut Config)| {
        let mut config = Config::new(id(1), 0);
        configure(&mut config);
        RawNode::new(config, disk).map(|node| node.status()).unwrap_err()
    };
    let voters = || MemoryStorage::with_voters(ids(&[1, 2, 3]));
    let hard_state = |t, commit| {
        let mut disk = disk_with(&[1, 2, 3], &[1, 1], 0);
        disk.set_hard_state(HardState { term: t, vote: None, commit });
        disk
    };
    let error = start(voters(), &|config| config.heartbeat_ticks = 0);
    assert!(matches!(error, StartError::Config(ConfigError::NoHeartbeat)));
    let error = start(MemoryStorage::with_voters(ids(&[1, 1])), &|_| {});
    assert!(matches!(error, StartError::ConfState(ConfStateError::Repeated(_))));
    let error = start(hard_state(term(1), index(3)), &|_| {});
    assert!(matches!(error, StartError::CommitOutsideLog { .. }));
    let error = start(hard_state(term(0), index(0)), &|_| {});
    assert!(matches!(error, StartError::TermBelowLog { .. }));
    let error = start(hard_state(term(1), index(1)), &|config| config.applied = index(3));
    assert!(matches!(error, StartError::AppliedOutsideLog { .. }));
    for (t, commit) in [(term(u64::MAX), index(0)), (term(1), index(u64::MAX))] {
        let error = start(hard_state(t, commit), &|_| {});
        let out_of_range = StorageError::Inconsistent(Inconsistency::OutOfRange);
        assert_eq!(error.to_string(), StartError::Storage(out_of_range).to_string());
    }
}

#[test]
fn a_node_starts_with_what_its_disk_holds() {
    let mut disk = disk_with(&[1, 2, 3], &[1, 1, 2], 2);
    disk.set_hard_state(HardState { term: term(5), vote: Some(id(3)), commit: index(2) });
    let node = node_on(disk.clone(), |_| {});
    let BasicStatus { term: t, vote, commit, last, durable, applied, role, leader, .. } = node.basic_status();
    assert_eq!((t, vote, commit, last, durable), (term(5), Some(id(3)), index(2), index(3), index(3)));
    assert_eq!((applied, role, leader), (Index::ZERO, RoleKind::Follower, None));
    assert_eq!(node.storage().last_index().unwrap(), index(3));
}
