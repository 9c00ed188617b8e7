//! A peer may send anything, and a caller may call anything in any order: nothing panics, and an error changes nothing.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use raft_core::proto::{
    AppendEntries, AppendEntriesReply, Heartbeat, HeartbeatReply, InstallSnapshot, Propose, ReadIndex,
    ReadIndexReply, RequestVote, TransferLeader, VoteReply,
};
use raft_core::{
    Body, ConfState, ConfStateError, Entries, Entry, Index, LogPosition, MemoryStorage, Message, NodeId,
    Payload, RawNode, ReadMode, Ready, RoleKind, SnapshotStatus, Status, StepError, Term,
};

use crate::cluster::{Cluster, Disk, disk_with, figure_2};
use crate::schedule::{World, events, happen};
use crate::words::*;

// -- each way to misbehave has a name

fn leader() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster
}

/// Steps it at node 1; it must be refused, and change nothing.
fn refusal(cluster: &mut Cluster, message: Message) -> StepError {
    let before = bare(cluster.node(1));
    let error = cluster.node_mut(1).step(message).expect_err("it must be refused");
    assert_eq!(bare(cluster.node(1)), before);
    error
}

fn bare(node: &RawNode<MemoryStorage>) -> (Status, bool) {
    let mut status = node.status();
    status.basic.counters = Default::default();
    (status, node.has_ready())
}

#[test]
fn a_message_for_another_node_is_refused() {
    let error = refusal(&mut leader(), message(2, 3, 1, heartbeat(0)));
    assert!(matches!(error, StepError::NotForThisNode { to } if to == id(3)));
}

#[test]
fn a_message_that_claims_to_come_from_this_node_is_refused() {
    let error = refusal(&mut leader(), message(1, 1, 1, accepted(1)));
    assert!(matches!(error, StepError::FromThisNode));
}

#[test]
fn an_answer_of_a_stranger_is_refused() {
    for body in [accepted(1), granted(), pre_granted(), heartbeat_reply(), read_reply(1, "r", 1)] {
        let error = refusal(&mut leader(), message(9, 1, 7, body));
        assert!(matches!(error, StepError::UnknownPeer(peer) if peer == id(9)), "though its term is higher");
    }
}

#[test]
fn a_term_that_cannot_be_is_refused() {
    for t in [0, Term::LIMIT.get() + 1, u64::MAX] {
        for body in [heartbeat(0), request_vote(at(9, 9)), pre_vote(at(9, 9)), accepted(1)] {
            let error = refusal(&mut leader(), message(2, 1, t, body));
            assert!(matches!(error, StepError::TermOutOfRange(found) if found == term(t)));
        }
    }
}

#[test]
fn a_term_in_a_message_that_has_none_is_refused() {
    for body in [propose(&["x"]), read(1, "r")] {
        let error = refusal(&mut leader(), message(2, 1, 1, body));
        assert!(matches!(error, StepError::TermNotExpected(t) if t == term(1)));
    }
}

#[test]
fn an_index_that_cannot_be_is_refused() {
    let beyond = Index::LIMIT.get() + 1;
    let bodies = [
        append(at(1, beyond), entries(0, &[]), 0),
        append(at(1, 1), entries(2, &[]), beyond),
        append(at(1, beyond - 1), entries(beyond, &[1]), 0),
        accepted(beyond),
        rejected(beyond, at(1, 1)),
        rejected(1, at(1, beyond)),
        request_vote(at(1, beyond)),
        pre_vote(at(1, beyond)),
        heartbeat(beyond),
        install(snapshot(at(1, beyond), conf_state(&[1], &[]))),
        read_reply(1, "r", beyond),
    ];
    for body in bodies {
        let error = refusal(&mut leader(), message(2, 1, 2, body));
        assert!(matches!(error, StepError::IndexOutOfRange(i) if i == index(beyond)));
    }
}

#[test]
fn entries_with_gaps_or_repetitions_are_refused() {
    for at_indexes in [vec![3], vec![1], vec![2, 4], vec![2, 2], vec![2, 1], vec![u64::MAX]] {
        let entries = at_indexes.iter().map(|i| entry(1, *i)).collect();
        let error = refusal(&mut leader(), message(2, 1, 2, append(at(1, 1), entries, 0)));
        assert!(matches!(error, StepError::EntriesNotContiguous), "{at_indexes:?}");
    }
}

#[test]
fn entries_whose_terms_go_down_or_beyond_the_senders_are_refused() {
    for terms in [vec![2, 1], vec![1, 4], vec![0], vec![5]] {
        let error = refusal(&mut leader(), message(2, 1, 3, append(at(1, 1), entries(2, &terms), 0)));
        assert!(matches!(error, StepError::EntryTermsOutOfOrder), "{terms:?}");
    }
}

#[test]
fn a_proposal_that_has_a_position_or_nothing_in_it_is_refused() {
    for wrong in [entry(1, 0), entry(0, 1)] {
        let body = Body::Propose(Propose { entries: [wrong].into_iter().collect() });
        assert!(matches!(refusal(&mut leader(), message(2, 1, 0, body)), StepError::ProposalHasPosition));
    }
    let error = refusal(&mut leader(), message(2, 1, 0, propose(&[])));
    assert!(matches!(error, StepError::EmptyProposal));
}

#[test]
fn an_entry_other_than_the_committed_one_is_not_taken() {
    let mut cluster = Cluster::from_disks([(1, disk_with(&[1, 2, 3], &[1, 1, 1, 1], 3))], figure_2);
    cluster.step(message(2, 1, 2, append(at(1, 2), entries(3, &[2, 2]), 4))).unwrap();
    assert_eq!(cluster.take_all(), [message(1, 2, 2, accepted(3))], "what is committed is known to agree");
    let error = refusal(&mut cluster, message(2, 1, 2, append(at(2, 3), entries(4, &[2]), 4)));
    assert!(matches!(error, StepError::ConflictsWithCommitted { index } if index == at(2, 3).index));
    assert_eq!(cluster.take_all(), [], "a rejection would be answered by the same append, for ever");
    assert_eq!((cluster.log_terms(1), cluster.commit(1)), (vec![1, 1, 1, 1], 3));
}

#[test]
fn a_leader_that_counts_on_more_than_this_node_has_shows_a_loss_and_gets_no_answer() {
    for t in [1, 2] {
        let mut cluster = Cluster::from_disks([(1, disk_with(&[1, 2, 3], &[1, 1], 0))], figure_2);
        cluster.step(message(2, 1, t, heartbeat(3))).unwrap();
        assert_eq!(cluster.take_all(), []);
        let status = cluster.status(1);
        assert_eq!(status.lost.map(|lost| (lost.acknowledged, lost.last)), Some((index(3), index(2))));
        assert_eq!((status.term, status.commit), (term(t), index(0)));
    }
}

#[test]
fn an_acknowledgement_of_more_than_the_leader_has_is_refused() {
    let error = refusal(&mut leader(), message(2, 1, 1, accepted(2)));
    assert!(
        matches!(error, StepError::AckBeyondLog { acked, last } if (acked, last) == (index(2), index(1)))
    );
}

#[test]
fn a_rival_of_the_leaders_own_term_is_refused() {
    let snapshot = install(snapshot(at(1, 9), conf_state(&[1, 2, 3], &[])));
    for body in [heartbeat(0), append(at(0, 0), entries(1, &[1]), 1), snapshot] {
        let error = refusal(&mut leader(), message(2, 1, 1, body));
        assert!(matches!(error, StepError::RivalLeader(rival) if rival == id(2)));
    }
}

#[test]
fn a_snapshot_that_makes_no_sense_is_refused() {
    let with = |position, conf_state| message(2, 1, 3, install(snapshot(position, conf_state)));
    for empty in [at(0, 0), at(0, 5), at(1, 0)] {
        let error = refusal(&mut leader(), with(empty, conf_state(&[1], &[])));
        assert!(matches!(error, StepError::EmptySnapshot));
    }
    let error = refusal(&mut leader(), with(at(4, 9), conf_state(&[1], &[])));
    assert!(matches!(error, StepError::SnapshotTermOutOfRange(t) if t == term(4)));
    type Expected = fn(&ConfStateError) -> bool;
    let wrong: [(ConfState, Expected); 5] = [
        (conf_state(&[1, 1], &[]), |e| matches!(e, ConfStateError::Repeated(_))),
        (conf_state(&[], &[1]), |e| matches!(e, ConfStateError::NoVoters)),
        (conf_state(&[1], &[1]), |e| matches!(e, ConfStateError::LearnerVotes(_))),
        (ConfState { learners_next: ids(&[2]), ..conf_state(&[1], &[]) }, |e| {
            matches!(e, ConfStateError::LearnerNextIsNotLeaving(_))
        }),
        (ConfState { auto_leave: true, ..conf_state(&[1], &[]) }, |e| {
            matches!(e, ConfStateError::NothingToLeave)
        }),
    ];
    for (conf_state, expected) in wrong {
        let error = refusal(&mut leader(), with(at(1, 9), conf_state));
        assert!(matches!(&error, StepError::SnapshotConfState(how) if expected(how)), "{error}");
    }
}

#[test]
fn messages_that_are_late_or_for_another_role_are_dropped_and_counted() {
    let mut cluster = leader();
    cluster.settle();
    let bodies = [granted(), pre_refused(), read_reply(1, "r", 1), Body::TimeoutNow];
    for body in bodies {
        let mut before = cluster.status(1);
        cluster.node_mut(1).step(message(2, 1, 1, body)).unwrap();
        before.basic.counters.dropped_messages += 1;
        assert_eq!((cluster.status(1), cluster.node(1).has_ready()), (before, false));
    }
    let refused = cluster.node_mut(1).step(message(1, 1, 1, heartbeat(0)));
    assert!(refused.is_err());
    assert_eq!(cluster.status(1).counters.refused_messages, 1);
}

// -- anything

fn number() -> impl Strategy<Value = u64> {
    let limit = Term::LIMIT.get();
    prop_oneof![
        20 => 0..12_u64,
        1 => Just(limit - 1),
        1 => Just(limit),
        1 => Just(limit + 1),
        1 => Just(u64::MAX - 1),
        1 => Just(u64::MAX),
    ]
}

fn node_id() -> impl Strategy<Value = NodeId> {
    prop_oneof![12 => 1..=5_u64, 1 => Just(9_u64), 1 => Just(u64::MAX)].prop_map(id)
}

fn position() -> impl Strategy<Value = LogPosition> {
    (number(), number()).prop_map(|(t, i)| at(t, i))
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        4 => (0..40_usize).prop_map(|len| Payload::Normal(vec![7; len].into())),
        1 => Just(Payload::ConfChange(Default::default())),
        1 => Just(Payload::ConfChangeV2(Default::default())),
    ]
}

/// Entries that mostly follow `prev`.
fn entries_behind(prev: LogPosition) -> impl Strategy<Value = Entries> {
    let follow = vec((0..3_u64, payload()), 0..5).prop_map(move |made| {
        let mut last = prev;
        let next = |(up, payload)| {
            last = LogPosition::new(last.term.plus(up), last.index.next());
            Entry { term: last.term, index: last.index, payload }
        };
        made.into_iter().map(next).collect::<Entries>()
    });
    let wild = vec((position(), payload()), 0..4).prop_map(|made| {
        let entry = |(at, payload): (LogPosition, Payload)| Entry { term: at.term, index: at.index, payload };
        made.into_iter().map(entry).collect::<Entries>()
    });
    prop_oneof![6 => follow, 1 => wild]
}

fn any_conf_state() -> impl Strategy<Value = ConfState> {
    let list = || vec(node_id(), 0..4);
    let wild = (list(), list(), list(), list(), any::<bool>()).prop_map(
        |(voters, learners, voters_outgoing, learners_next, auto_leave)| ConfState {
            voters,
            learners,
            voters_outgoing,
            learners_next,
            auto_leave,
        },
    );
    prop_oneof![3 => Just(conf_state(&[1, 2, 3, 4], &[5])), 1 => Just(conf_state(&[1, 2], &[])), 2 => wild]
}

fn context() -> impl Strategy<Value = Bytes> {
    let round = (0..8_u64).prop_map(|round| Bytes::copy_from_slice(&round.to_be_bytes()));
    prop_oneof![round, vec(any::<u8>(), 0..12).prop_map(Bytes::from)]
}

fn body() -> impl Strategy<Value = Body> {
    let vote = || {
        (position(), any::<bool>()).prop_map(|(last, by_transfer)| RequestVote {
            last,
            by_transfer,
            priority: 0,
        })
    };
    let reply = || prop_oneof![Just(VoteReply::Granted), Just(VoteReply::REFUSED)];
    let append = position().prop_flat_map(|prev| (Just(prev), entries_behind(prev), number()));
    prop_oneof![
        2 => vec((position(), payload()), 0..3).prop_map(|made| {
            let entry = |(at, payload): (LogPosition, Payload)| match at.term.get() % 4 {
                0 => Entry { term: at.term, index: at.index, payload },
                _ => Entry { payload, ..Entry::default() },
            };
            Body::Propose(Propose { entries: made.into_iter().map(entry).collect() })
        }),
        8 => append.prop_map(|(prev, entries, commit)| {
            Body::AppendEntries(AppendEntries { prev, entries, commit: index(commit) })
        }),
        4 => number().prop_map(|i| Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: index(i) })),
        4 => (number(), position()).prop_map(|(i, hint)| {
            Body::AppendEntriesReply(AppendEntriesReply::Rejected { rejected: index(i), hint })
        }),
        2 => vote().prop_map(Body::RequestVote),
        2 => vote().prop_map(Body::PreVote),
        3 => reply().prop_map(Body::RequestVoteReply),
        3 => reply().prop_map(Body::PreVoteReply),
        2 => (position(), any_conf_state()).prop_map(|(at, conf_state)| {
            Body::InstallSnapshot(InstallSnapshot { snapshot: snapshot(at, conf_state) }.into())
        }),
        3 => (number(), context()).prop_map(|(commit, context)| {
            Body::Heartbeat(Heartbeat { commit: index(commit), relied: LogPosition::ZERO, context })
        }),
        3 => context().prop_map(|context| Body::HeartbeatReply(HeartbeatReply { context })),
        1 => node_id().prop_map(|transferee| Body::TransferLeader(TransferLeader { transferee })),
        1 => Just(Body::TimeoutNow),
        1 => (number(), context(), any::<bool>()).prop_map(|(id, context, lease)| {
            Body::ReadIndex(ReadIndex { id, context, lease })
        }),
        1 => (number(), context(), number()).prop_map(|(id, context, i)| {
            Body::ReadIndexReply(ReadIndexReply { id, context, index: index(i) })
        }),
    ]
}

/// Something that is done to a node.
#[derive(Clone, Debug)]
enum Deed {
    /// A message, in a term this far from the node's own, or in any.
    Step {
        from: NodeId,
        to: Option<NodeId>,
        term: Result<u64, u64>,
        body: Body,
    },
    Tick(u32),
    Propose(Vec<usize>),
    Read(Bytes, bool),
    Campaign,
    Unreachable(NodeId),
    SnapshotReport(NodeId, bool),
    Ready,
    /// The oldest `Ready` that is out, written first or not.
    Advance {
        written: bool,
    },
    Persisted(u64),
    Applied(u64),
    Compact(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let near = prop_oneof![8 => (0..4_u64).prop_map(Ok), 1 => number().prop_map(Err)];
    let to = prop_oneof![20 => Just(None), 1 => node_id().prop_map(Some)];
    prop_oneof![
        24 => (node_id(), to, near, body()).prop_map(|(from, to, term, body)| Deed::Step { from, to, term, body }),
        3 => (0..25_u32).prop_map(Deed::Tick),
        2 => vec(0..30_usize, 0..3).prop_map(Deed::Propose),
        2 => (context(), any::<bool>()).prop_map(|(context, lease)| Deed::Read(context, lease)),
        2 => Just(Deed::Campaign),
        1 => node_id().prop_map(Deed::Unreachable),
        1 => (node_id(), any::<bool>()).prop_map(|(peer, ok)| Deed::SnapshotReport(peer, ok)),
        6 => Just(Deed::Ready),
        6 => (0..8_u32).prop_map(|dice| Deed::Advance { written: dice > 0 }),
        1 => number().prop_map(Deed::Persisted),
        1 => number().prop_map(Deed::Applied),
        1 => number().prop_map(Deed::Compact),
    ]
}

fn do_it(node: &mut RawNode<MemoryStorage>, deed: Deed, out: &mut VecDeque<Ready>) {
    let before = bare(node);
    let refused = match deed {
        Deed::Step { from, to, term, body } => {
            let own = node.term();
            // Zero for what has no term, mostly.
            let termless = matches!(body, Body::Propose(_) | Body::ReadIndex(_));
            let term = match term {
                Ok(_) if termless => Term::ZERO,
                Ok(near) => Term::new(own.plus(near).get().saturating_sub(1)),
                Err(any) => Term::new(any),
            };
            node.step(Message { from, to: to.unwrap_or(node.id()), term, body }).is_err()
        }
        Deed::Tick(count) => {
            (0..count).for_each(|_| node.tick());
            false
        }
        Deed::Propose(sizes) => node.propose_batch(sizes.into_iter().map(|n| vec![1; n].into())).is_err(),
        Deed::Read(context, lease) => {
            node.read_index(context, if lease { ReadMode::Lease } else { ReadMode::Quorum }).is_err()
        }
        Deed::Campaign => node.campaign().is_err(),
        Deed::Unreachable(peer) => {
            node.report_unreachable(peer);
            false
        }
        Deed::SnapshotReport(peer, ok) => {
            node.report_snapshot(peer, if ok { SnapshotStatus::Finished } else { SnapshotStatus::Failed });
            false
        }
        Deed::Ready => {
            let due = node.has_ready();
            let ready = node.ready();
            assert_eq!(due, !ready.is_empty());
            out.push_back(ready);
            false
        }
        Deed::Advance { written } => match out.pop_front() {
            Some(ready) => {
                if written {
                    let _ = node.storage_mut().persist(&ready);
                }
                node.advance(ready).is_err()
            }
            None => false,
        },
        Deed::Persisted(number) => node.on_persisted(number).is_err(),
        Deed::Applied(i) => node.on_applied(index(i)).is_err(),
        Deed::Compact(i) => {
            let _ = node.storage_mut().compact(index(i));
            false
        }
    };
    if refused {
        assert_eq!(bare(node), before, "after an error nothing has changed");
    }
    node.check_invariants().unwrap();
}

/// A node in a state that a cluster can reach.
fn reachable(schedule: &[crate::schedule::Event], n: u64, mode: u8, held: bool) -> RawNode<MemoryStorage> {
    let mut cluster = Cluster::of(&[1, 2, 3, 4], &[5], |config| {
        config.pre_vote = mode & 1 == 0;
        config.check_quorum = mode & 2 == 0;
        config.lease_reads = mode == 0;
        config.async_writes = mode & 4 == 0;
        config.max_inflight_messages = 2;
        config.max_inflight_bytes = 60;
        config.max_message_bytes = 40;
        config.max_committed_bytes = 50;
        config.max_uncommitted_bytes = 100;
    });
    for event in schedule {
        happen(&mut cluster, *event);
    }
    if !cluster.is_up(n) {
        cluster.restart(n);
    }
    if held {
        cluster.set_disk(n, Disk::Held);
    }
    cluster.node(n).clone()
}

#[test]
fn nothing_that_is_sent_or_called_makes_a_node_panic_or_changes_it_by_half() {
    let strategy = (
        events(World::All, 60),
        1..=5_u64,
        any::<u8>().prop_map(|mode| mode % 8),
        any::<bool>(),
        vec(deed(), 1..120),
    );
    check(300, &strategy, |(schedule, n, mode, held, deeds)| {
        let mut node = reachable(&schedule, n, mode, held);
        let mut out = VecDeque::new();
        for deed in deeds {
            do_it(&mut node, deed, &mut out);
        }
        Ok(())
    });
}

#[test]
fn nothing_that_is_sent_to_a_leader_makes_it_panic() {
    check(150, &(vec(body(), 1..80), any::<bool>()), |(bodies, plain)| {
        let mut cluster = Cluster::with(5, |config| {
            if plain {
                figure_2(config);
            }
            config.max_inflight_messages = 2;
        });
        cluster.elect(1);
        cluster.propose(1, "x").unwrap();
        let mut node = cluster.node(1).clone();
        let mut out = VecDeque::new();
        for (count, body) in bodies.into_iter().enumerate() {
            let from = id(2 + count as u64 % 4);
            do_it(&mut node, Deed::Step { from, to: None, term: Ok(1), body }, &mut out);
            if node.role() != RoleKind::Leader {
                break;
            }
            do_it(&mut node, Deed::Ready, &mut out);
            do_it(&mut node, Deed::Advance { written: true }, &mut out);
        }
        Ok(())
    });
}
