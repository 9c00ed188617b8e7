//! Reads without a log entry (thesis §6.4): confirmed by a round of heartbeats, or by a lease (§6.4.1).

use bytes::Bytes;
use raft_core::proto::ReadIndex;
use raft_core::{Body, ConfChangeKind, Config, Message, ReadError, ReadMode, ReadState, RoleKind, StepError};

use crate::cluster::{Cluster, Disk, disk_with, figure_2};
use crate::words::*;

fn leases(config: &mut Config) {
    config.lease_reads = true;
}

fn led(configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::with(3, configure);
    cluster.elect(1);
    cluster
}

/// The reads that were answered at this node, with their index.
fn answers(cluster: &Cluster, n: u64) -> Vec<(String, u64)> {
    let text = |read: &ReadState| (String::from_utf8_lossy(&read.context).into_owned(), read.index.get());
    cluster.slot(n).reads.iter().map(text).collect()
}

fn dropped(cluster: &Cluster, n: u64) -> Vec<(String, ReadError)> {
    let text =
        |read: &raft_core::DroppedRead| (String::from_utf8_lossy(&read.context).into_owned(), read.reason);
    cluster.slot(n).dropped.iter().map(text).collect()
}

fn answer(context: &str, i: u64) -> (String, u64) {
    (context.to_owned(), i)
}

// -- by a round of heartbeats

#[test]
fn a_read_is_answered_after_a_quorum_has_answered_heartbeats_that_were_sent_later() {
    let mut cluster = led(|_| {});
    cluster.tick(1);
    let earlier = cluster.take_if(is_heartbeat);
    cluster.read(1, "r", ReadMode::Quorum).unwrap();
    let later = cluster.take_if(is_heartbeat);
    assert_eq!((answers(&cluster, 1), later.len()), (vec![], 2));
    for message in earlier {
        cluster.deliver(message);
    }
    cluster.settle();
    assert_eq!(answers(&cluster, 1), [], "an answer to an earlier heartbeat proves nothing");
    cluster.deliver(later[0].clone());
    cluster.settle();
    assert_eq!(answers(&cluster, 1), [answer("r", 1)], "its own word and one more are two of three");
    cluster.deliver(later[1].clone());
    cluster.settle();
    assert_eq!(answers(&cluster, 1).len(), 1, "once");
}

#[test]
fn a_heartbeat_answer_that_was_never_asked_for_confirms_nothing() {
    let mut cluster = led(|_| {});
    cluster.read(1, "r", ReadMode::Quorum).unwrap();
    let contexts = [Bytes::new(), "r".into(), vec![0xff; 8].into(), 2_u64.to_be_bytes().to_vec().into()];
    for context in contexts {
        cluster.step(message(2, 1, 1, heartbeat_reply_with(context))).unwrap();
        assert_eq!(answers(&cluster, 1), []);
    }
}

#[test]
fn answers_of_learners_or_of_one_node_twice_are_no_quorum() {
    let mut cluster = Cluster::of(&[1, 2, 3, 4, 5], &[6, 7], |_| {});
    cluster.elect(1);
    cluster.read(1, "r", ReadMode::Quorum).unwrap();
    for to in [2, 6, 7] {
        let beats: Vec<Message> =
            cluster.network.iter().filter(|m| is_heartbeat(m) && m.to == id(to)).cloned().collect();
        for beat in beats.iter().chain(&beats) {
            cluster.deliver(beat.clone());
        }
    }
    cluster.deliver_if(is_heartbeat_reply);
    assert_eq!(answers(&cluster, 1), []);
    cluster.settle();
    assert_eq!(answers(&cluster, 1), [answer("r", 1)]);
}

#[test]
fn a_deposed_leader_does_not_answer() {
    for configure in [figure_2, |_: &mut Config| {}] {
        let mut cluster = led(configure);
        cluster.isolate(1);
        if cluster.status(2).election_elapsed < 10 {
            cluster.ticks(3, 9);
            cluster.ticks(2, 20);
        }
        let new = cluster.elect_among_others(1);
        cluster.propose(new, "x").unwrap();
        cluster.settle();
        assert_eq!(cluster.applied(new), ["x"]);
        if cluster.role(1) == RoleKind::Leader {
            cluster.read(1, "r", ReadMode::Quorum).unwrap();
            cluster.rounds(5);
            assert_eq!(answers(&cluster, 1), [], "a write that it doesn't know of was acknowledged");
        }
        cluster.heal();
        cluster.rounds(60);
        assert_eq!(answers(&cluster, 1), []);
    }
}

#[test]
fn a_read_before_the_first_commit_of_the_term_waits_for_it() {
    let mut cluster = led(|_| {});
    cluster.propose(1, "x").unwrap();
    cluster.deliver_if(|message| is_append(message) && message.to == id(2));
    cluster.settle_without(is_append);
    cluster.crash(1);
    let before = cluster.commit(2);
    // Node 2 wins and has the entry; that it is committed it can't know.
    cluster.ticks(3, 10);
    cluster.ticks(2, 20);
    cluster.settle_without(is_append);
    assert_eq!((cluster.role(2), cluster.commit(2)), (RoleKind::Leader, before));
    cluster.read(2, "r", ReadMode::Quorum).unwrap();
    cluster.tick(2);
    cluster.settle_without(is_append);
    assert_eq!(answers(&cluster, 2), [], "a commit index of an earlier term may be too old");
    cluster.tick(2);
    cluster.settle();
    assert_eq!(answers(&cluster, 2), [answer("r", 3)], "behind the entry and that of the new term");
}

#[test]
fn a_node_alone_reads_only_after_the_first_commit_of_its_term() {
    for mode in [ReadMode::Quorum, ReadMode::Lease] {
        let mut cluster = Cluster::with(1, leases);
        cluster.set_disk(1, Disk::Held);
        cluster.ticks(1, 20);
        while cluster.role(1) != RoleKind::Leader {
            cluster.persist_one(1);
        }
        cluster.read(1, "r", mode).unwrap();
        assert_eq!(answers(&cluster, 1), []);
        cluster.persist_all(1);
        assert_eq!(answers(&cluster, 1), [answer("r", 1)]);
        cluster.read(1, "s", mode).unwrap();
        assert_eq!(answers(&cluster, 1).len(), 2, "at once: nobody else could have committed");
    }
}

#[test]
fn one_round_confirms_all_reads_before_it() {
    let mut cluster = led(|_| {});
    for context in ["a", "b", "c"] {
        cluster.read(1, context, ReadMode::Quorum).unwrap();
    }
    let beats = cluster.take_if(|message| is_heartbeat(message) && message.to == id(2));
    cluster.deliver(beats[1].clone());
    cluster.settle_without(is_heartbeat);
    assert_eq!(answers(&cluster, 1), [answer("a", 1), answer("b", 1)]);
    // A late answer to an earlier round takes nothing back.
    cluster.deliver(beats[0].clone());
    cluster.settle_without(is_heartbeat);
    cluster.deliver(beats[2].clone());
    cluster.settle_without(is_heartbeat);
    assert_eq!(answers(&cluster, 1).len(), 3);
    assert_eq!(cluster.status(1).pending_reads, 0);
}

#[test]
fn reads_that_are_asked_for_between_two_readys_share_a_round() {
    for (batch, expected) in [(true, 2), (false, 6)] {
        let mut cluster = led(|config| config.batch_messages = batch);
        let node = cluster.node_mut(1);
        assert!(!node.has_ready());
        node.read_index("a".into(), ReadMode::Quorum).unwrap();
        node.read_index("b".into(), ReadMode::Quorum).unwrap();
        node.step(message(3, 1, 0, read(7, "c"))).unwrap();
        assert!(node.has_ready(), "they are to be asked for");
        cluster.pump(1);
        let beats = cluster.take_if(is_heartbeat);
        assert_eq!(beats.len(), expected, "batch_messages = {batch}");
        cluster.deliver(beats[beats.len() - 2].clone());
        cluster.deliver_if(|message| message.to == id(1));
        assert_eq!(answers(&cluster, 1), [answer("a", 1), answer("b", 1)], "each has its answer");
        assert_eq!(cluster.take_all(), [message(1, 3, 1, read_reply(7, "c", 1))]);
    }
}

#[test]
fn a_leader_that_is_deposed_while_it_hands_over_drops_its_reads() {
    let mut cluster = led(|_| {});
    cluster.read(1, "r", ReadMode::Quorum).unwrap();
    let node = cluster.node_mut(1);
    node.transfer_leader(id(2)).unwrap();
    node.step(message(2, 1, 9, heartbeat(0))).unwrap();
    cluster.pump(1);
    assert_eq!(dropped(&cluster, 1), [("r".to_owned(), ReadError::LeaderChanged)]);
}

#[test]
fn a_round_that_begins_before_the_next_ready_is_that_of_the_reads_before_it() {
    let mut cluster = led(|_| {});
    cluster.node_mut(1).read_index("r".into(), ReadMode::Quorum).unwrap();
    cluster.tick(1);
    assert_eq!(
        cluster.network.iter().filter(|message| is_heartbeat(message)).count(),
        2,
        "those of the tick"
    );
    cluster.settle();
    assert_eq!(answers(&cluster, 1), [answer("r", 1)]);
}

#[test]
fn a_read_that_waits_for_the_next_ready_is_answered_there_if_nobody_need_be_asked_any_more() {
    for ticks in [0, 1] {
        let mut cluster = Cluster::new(2);
        cluster.elect(1);
        cluster.settle();
        let node = cluster.node_mut(1);
        node.read_index("r".into(), ReadMode::Quorum).unwrap();
        node.apply_conf_change(&change(&[(ConfChangeKind::Remove, 2)])).unwrap();
        (0..ticks).for_each(|_| node.tick());
        cluster.pump(1);
        assert_eq!(answers(&cluster, 1), [answer("r", 1)], "after {ticks} ticks");
    }
}

#[test]
fn a_late_answer_moves_no_peer_back() {
    let mut cluster = led(|_| {});
    cluster.read(1, "a", ReadMode::Quorum).unwrap();
    cluster.read(1, "b", ReadMode::Quorum).unwrap();
    cluster.take_all();
    let round = |n: u64| heartbeat_reply_with(Bytes::copy_from_slice(&n.to_be_bytes()));
    let mut five = Cluster::new(5);
    five.elect(1);
    five.read(1, "a", ReadMode::Quorum).unwrap();
    five.read(1, "b", ReadMode::Quorum).unwrap();
    five.take_all();
    for (from, answered) in [(2, 2), (2, 1), (3, 2)] {
        five.step(message(from, 1, 1, round(answered))).unwrap();
    }
    assert_eq!(answers(&five, 1).len(), 2, "two others answered the second round");
}

#[test]
fn reads_that_come_in_a_steady_stream_are_all_answered() {
    let mut cluster = led(|_| {});
    for _ in 0..500 {
        cluster.read(1, "r", ReadMode::Quorum).unwrap();
        cluster.read(2, "r", ReadMode::Quorum).unwrap();
        cluster.settle();
    }
    assert_eq!((answers(&cluster, 1).len(), answers(&cluster, 2).len()), (500, 500));
    assert_eq!((cluster.status(1).pending_reads, cluster.status(2).pending_reads), (0, 0));
}

// -- at followers

#[test]
fn followers_and_learners_pass_reads_on_and_get_the_answer() {
    for voters in [vec![1], vec![1, 2, 3]] {
        let mut cluster = Cluster::of(&voters, &[4], |_| {});
        cluster.ticks(1, 20);
        cluster.settle();
        assert_eq!(cluster.leader(), Some(1));
        cluster.propose(1, "x").unwrap();
        cluster.settle();
        for n in [voters.len() as u64, 4] {
            cluster.read(n, "r", ReadMode::Quorum).unwrap();
            cluster.settle();
            assert_eq!(answers(&cluster, n), [answer("r", 2)], "where it was asked");
        }
        assert_eq!(answers(&cluster, 1).len(), usize::from(voters.len() == 1), "and nowhere else");
    }
}

#[test]
fn a_forwarded_read_waits_for_a_round_too() {
    let mut cluster = led(|_| {});
    cluster.read(2, "r", ReadMode::Quorum).unwrap();
    cluster.deliver_if(|message| matches!(message.body, Body::ReadIndex(_)));
    let replied = |message: &Message| matches!(message.body, Body::ReadIndexReply(_));
    assert!(!cluster.network.iter().any(replied));
    cluster.deliver_if(is_heartbeat);
    cluster.deliver_if(is_heartbeat_reply);
    assert!(cluster.network.iter().any(replied));
}

#[test]
fn the_answer_to_an_earlier_read_does_not_answer_a_later_one_with_the_same_context() {
    let mut cluster = led(|_| {});
    cluster.read(2, "r", ReadMode::Quorum).unwrap();
    cluster.settle_without(|message| matches!(message.body, Body::ReadIndexReply(_)));
    let early = cluster.take_lost();
    assert_eq!(early.len(), 1);
    // The caller gives up and asks again, with the same bytes, after a write was acknowledged.
    cluster.rounds(20);
    assert_eq!(dropped(&cluster, 2), [("r".to_owned(), ReadError::TimedOut)]);
    cluster.propose(1, "x").unwrap();
    cluster.round();
    cluster.read(2, "r", ReadMode::Quorum).unwrap();
    cluster.deliver(early[0].clone());
    assert_eq!(answers(&cluster, 2), [], "it knows nothing of the write");
    cluster.settle();
    assert_eq!(answers(&cluster, 2), [answer("r", 2)]);
}

#[test]
fn two_reads_with_the_same_context_get_an_answer_each() {
    let mut cluster = led(|_| {});
    for n in [1, 2] {
        cluster.read(n, "r", ReadMode::Quorum).unwrap();
        cluster.read(n, "r", ReadMode::Quorum).unwrap();
    }
    cluster.settle();
    let history = cluster.sent.clone();
    for message in history {
        cluster.deliver(message); // every message twice
    }
    cluster.settle();
    assert_eq!((answers(&cluster, 1).len(), answers(&cluster, 2).len()), (2, 2));
}

#[test]
fn the_numbers_of_reads_are_not_repeated_after_a_restart() {
    let mut cluster = led(|_| {});
    let number = |cluster: &mut Cluster| {
        cluster.read(2, "r", ReadMode::Quorum).unwrap();
        let sent = cluster.sent.iter().rev().find_map(|message| match &message.body {
            Body::ReadIndex(read) => Some(read.id),
            _ => None,
        });
        sent.unwrap()
    };
    let first = number(&mut cluster);
    assert_eq!(number(&mut cluster), first + 1);
    cluster.crash(2);
    cluster.restart(2);
    cluster.round();
    let after = number(&mut cluster);
    assert!(after.abs_diff(first) > 1_000 && after != 0);
}

#[test]
fn a_node_that_does_not_lead_passes_a_peers_read_on() {
    let mut cluster = led(|_| {});
    let asked = Body::ReadIndex(ReadIndex { id: 7, context: "r".into(), lease: false });
    cluster.step(message(3, 2, 0, asked.clone())).unwrap();
    assert_eq!(cluster.take_all(), [message(3, 1, 0, asked.clone())]);
    cluster.step(message(1, 2, 0, asked)).unwrap();
    assert_eq!(cluster.take_all(), [], "not back to the one it came from");
}

#[test]
fn a_read_that_comes_back_to_its_node_which_leads_by_now_is_not_answered() {
    let mut cluster = led(|_| {});
    let asked = Body::ReadIndex(ReadIndex { id: 7, context: "r".into(), lease: false });
    cluster.step(message(1, 1, 0, asked)).unwrap();
    cluster.settle();
    assert!(!cluster.sent.iter().any(|message| message.to == id(1) && message.from == id(1)));
}

#[test]
fn an_answer_of_an_unknown_number_is_ignored() {
    let mut cluster = led(|_| {});
    cluster.read(2, "r", ReadMode::Quorum).unwrap();
    cluster.take_all();
    cluster.step(message(1, 2, 1, read_reply(12_345, "r", 1))).unwrap();
    assert_eq!(answers(&cluster, 2), []);
    let stranger = cluster.step(message(9, 2, 1, read_reply(0, "r", 1)));
    assert!(matches!(stranger, Err(StepError::UnknownPeer(_))));
}

// -- reads that aren't answered

#[test]
fn each_read_that_cannot_be_taken_on_says_why() {
    let mut cluster = Cluster::new(3);
    assert_eq!(cluster.read(1, "r", ReadMode::Quorum), Err(ReadError::NoLeader));
    assert_eq!(cluster.read(1, "r", ReadMode::Lease), Err(ReadError::LeasesAreOff));
    cluster.node_mut(1).campaign().unwrap();
    assert_eq!(cluster.read(1, "r", ReadMode::Quorum), Err(ReadError::Campaigning));
    cluster.settle();
    assert_eq!(cluster.read(1, "r", ReadMode::Lease), Err(ReadError::LeasesAreOff));
    let mut cluster = led(|_| {});
    for n in [1, 2] {
        let mut taken = 0;
        while cluster.node_mut(n).read_index(Bytes::new(), ReadMode::Quorum).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 65_536);
        let result = cluster.node_mut(n).read_index(Bytes::new(), ReadMode::Quorum);
        assert_eq!(result, Err(ReadError::TooManyPending));
        let _ = cluster.node_mut(n).ready();
    }
}

#[test]
fn reads_that_are_pending_when_the_leader_changes_are_dropped_with_that_reason() {
    let lost = |context: &str| (context.to_owned(), ReadError::LeaderChanged);
    for early in [false, true] {
        let mut cluster = led(figure_2);
        cluster.read(2, "f", ReadMode::Quorum).unwrap();
        if early {
            cluster.elect(2);
            cluster.node_mut(1).campaign().unwrap();
            cluster.settle_without(is_append);
            assert_eq!(cluster.role(1), RoleKind::Leader);
        }
        cluster.read(1, "l", ReadMode::Quorum).unwrap();
        cluster.take_all();
        assert_eq!(cluster.status(1).pending_reads, 1);
        let term_now = cluster.term(1);
        for n in [1, 2] {
            cluster.step(message(3, n, term_now + 1, heartbeat(0))).unwrap();
        }
        assert_eq!((dropped(&cluster, 1), dropped(&cluster, 2)), (vec![lost("l")], vec![lost("f")]));
        assert_eq!((cluster.status(1).pending_reads, cluster.status(2).pending_reads), (0, 0));
    }
}

#[test]
fn a_read_of_one_leadership_is_not_confirmed_in_the_next() {
    let mut cluster = Cluster::plain(5);
    cluster.elect(1);
    cluster.read(1, "old", ReadMode::Quorum).unwrap();
    let beat = cluster.take_if(|message| is_heartbeat(message) && message.to == id(2)).remove(0);
    cluster.deliver(beat);
    let late = cluster.take_if(is_heartbeat_reply);
    cluster.take_all();
    cluster.elect(2);
    cluster.elect(1);
    cluster.read(1, "new", ReadMode::Quorum).unwrap();
    for message in late {
        cluster.deliver(message);
    }
    assert_eq!(answers(&cluster, 1), []);
    cluster.settle();
    assert_eq!(answers(&cluster, 1), [answer("new", cluster.commit(1))]);
    assert_eq!(dropped(&cluster, 1), [("old".to_owned(), ReadError::LeaderChanged)]);
}

#[test]
fn a_read_whose_request_or_answer_is_lost_times_out_at_the_follower() {
    let mut cluster = led(figure_2);
    cluster.read(2, "r", ReadMode::Quorum).unwrap();
    cluster.take_all();
    for _ in 0..19 {
        cluster.step(message(1, 2, 1, heartbeat(0))).unwrap();
        cluster.tick(2);
        assert_eq!(dropped(&cluster, 2), []);
    }
    cluster.tick(2);
    assert_eq!(dropped(&cluster, 2), [("r".to_owned(), ReadError::TimedOut)]);
    assert_eq!(cluster.status(2).pending_reads, 0);
}

#[test]
fn a_read_times_out_at_a_follower_whose_next_campaign_is_far() {
    let mut cluster = led(figure_2);
    cluster.node_mut(2).set_election_timeout(1_000);
    cluster.tick(2);
    cluster.read(2, "r", ReadMode::Quorum).unwrap();
    cluster.take_all();
    for _ in 0..20 {
        assert_eq!(dropped(&cluster, 2), []);
        cluster.tick(2);
    }
    assert_eq!(dropped(&cluster, 2), [("r".to_owned(), ReadError::TimedOut)]);
}

#[test]
fn all_reads_that_waited_for_the_first_commit_of_the_term_share_one_round() {
    let mut cluster = Cluster::from_disks([(1, disk_with(&[1, 2, 3], &[1], 0))], figure_2);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(2, 1, 2, granted())).unwrap();
    for _ in 0..50 {
        cluster.read(1, "early", ReadMode::Quorum).unwrap();
    }
    cluster.take_all();
    cluster.step(message(2, 1, 2, accepted(2))).unwrap();
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(cluster.take_if(is_heartbeat).len(), 2, "one to each peer, not one for each read");
}
