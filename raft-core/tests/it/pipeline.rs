//! How fast a leader sends (thesis §10.2.1): probing, the window of a pipeline, and what becomes of messages that are lost,
//! repeated or overtaken.

use raft_core::{Body, Config, Message, PeerState, SnapshotStatus};

use crate::cluster::{Cluster, figure_2};
use crate::words::*;

/// Node 1 leads; its log and those of the others end with the empty entry at index 1.
fn led(configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::with(3, |config| {
        figure_2(config);
        configure(config);
    });
    cluster.elect(1);
    cluster
}

/// The indexes of the entries in each append on its way to this node.
fn appends_to(cluster: &Cluster, n: u64) -> Vec<Vec<u64>> {
    let indexes = |message: &Message| match &message.body {
        Body::AppendEntries(append) if message.to == id(n) => {
            Some(append.entries.iter().map(|entry| entry.index.get()).collect())
        }
        _ => None,
    };
    cluster.network.iter().filter_map(indexes).collect()
}

// -- what one message carries

/// Five proposals before the caller takes its `Ready`.
fn five_at_once(cluster: &mut Cluster) {
    for command in ["a", "b", "c", "d", "e"] {
        cluster.node_mut(1).propose(command.into()).unwrap();
    }
    cluster.pump(1);
}

#[test]
fn what_is_proposed_between_two_readys_travels_in_one_message() {
    for (batch, expected) in [(true, vec![vec![2, 3, 4, 5, 6]]), (false, (2..=6).map(|n| vec![n]).collect())]
    {
        let mut cluster = led(|config| config.batch_messages = batch);
        five_at_once(&mut cluster);
        for peer in [2, 3] {
            assert_eq!(appends_to(&cluster, peer), expected, "batch_messages = {batch}, to {peer}");
        }
        cluster.settle();
        assert_eq!((cluster.commit(1), cluster.commit(2), cluster.commit(3)), (6, 6, 6));
    }
}

#[test]
fn a_batch_is_divided_by_the_limit_of_a_message_and_stops_at_the_window() {
    let mut cluster = led(|config| config.max_message_bytes = 0);
    five_at_once(&mut cluster);
    assert_eq!(appends_to(&cluster, 2), [[2], [3], [4], [5], [6]]);
    let mut cluster = led(|config| {
        config.max_message_bytes = 0;
        config.max_inflight_messages = 2;
    });
    five_at_once(&mut cluster);
    assert_eq!(appends_to(&cluster, 2), [[2], [3]]);
    cluster.settle();
    assert_eq!(cluster.last(2), 6, "the rest follows the acknowledgements");
}

#[test]
fn what_an_acknowledgement_makes_room_for_goes_with_the_next_ready_if_one_is_due_and_at_once_if_not() {
    let mut cluster = led(|config| config.max_inflight_messages = 1);
    cluster.settle();
    cluster.propose(1, "a").unwrap();
    cluster.deliver_if(is_append);
    let [second, third] = cluster.take_if(is_append_reply).try_into().unwrap();
    let node = cluster.node_mut(1);
    node.propose("b".into()).unwrap();
    node.step(second).unwrap();
    cluster.pump(1);
    assert_eq!((appends_to(&cluster, 2), appends_to(&cluster, 3)), (vec![vec![3]], vec![]));
    cluster.take_all();
    cluster.node_mut(1).step(third).unwrap();
    cluster.pump(1);
    assert_eq!((appends_to(&cluster, 2), appends_to(&cluster, 3)), (vec![], vec![vec![3]]));
}

#[test]
fn acknowledgements_that_arrive_together_are_followed_by_one_word_of_the_commit_index() {
    let mut cluster = led(|_| {});
    for _ in 0..3 {
        cluster.propose(1, "x").unwrap();
    }
    cluster.deliver_if(|message| is_append(message) && message.to == id(2));
    let acknowledgements = cluster.take_if(is_append_reply);
    assert_eq!(acknowledgements.len(), 3);
    cluster.take_all();
    for acknowledgement in acknowledgements {
        cluster.node_mut(1).step(acknowledgement).unwrap();
    }
    cluster.pump(1);
    let told = |n| cluster.network.iter().filter(|message| message.to == id(n)).count();
    assert_eq!((told(2), told(3), cluster.commit(1)), (1, 1, 4));
}

#[test]
fn a_leader_that_is_deposed_before_its_ready_sends_nothing_of_its_own() {
    let mut cluster = led(|_| {});
    cluster.node_mut(1).propose("x".into()).unwrap();
    cluster.node_mut(1).step(message(2, 1, 9, heartbeat(0))).unwrap();
    cluster.pump(1);
    assert!(cluster.network.iter().all(|message| !is_append(message)), "{:?}", cluster.network);
}

// -- the window

#[test]
fn a_leader_sends_ahead_without_waiting_for_answers() {
    let mut cluster = led(|_| {});
    for _ in 0..3 {
        cluster.propose(1, "x").unwrap();
    }
    assert_eq!(appends_to(&cluster, 2), [[2], [3], [4]]);
    let known = cluster.peer(1, 2);
    assert_eq!((known.match_index, known.next_index, known.inflight_messages), (index(1), index(5), 3));
    cluster.settle();
    assert_eq!(cluster.peer(1, 2).inflight_messages, 0, "nothing is on its way any more");
}

#[test]
fn no_more_messages_are_on_their_way_than_the_window_holds() {
    let mut cluster = led(|config| config.max_inflight_messages = 2);
    for _ in 0..5 {
        cluster.propose(1, "x").unwrap();
    }
    assert_eq!(appends_to(&cluster, 2), [[2], [3]]);
    assert!(cluster.peer(1, 2).window_full);
    // One acknowledgement makes room for one message, which takes all that waits.
    let first = cluster.take_if(|message| message.to == id(2)).remove(0);
    cluster.deliver(first);
    cluster.deliver_if(|message| is_append_reply(message) && message.from == id(2));
    assert_eq!(appends_to(&cluster, 2), [[4, 5, 6]]);
    assert_eq!(cluster.peer(1, 2).inflight_messages, 2);
}

#[test]
fn a_window_of_one_message_goes_on_and_on() {
    let mut cluster = led(|config| config.max_inflight_messages = 1);
    for _ in 0..20 {
        cluster.propose(1, "x").unwrap();
    }
    cluster.settle();
    assert_eq!(cluster.commit(3), 21);
    assert_eq!(cluster.peer(1, 3).inflight_messages, 0);
}

#[test]
fn no_more_bytes_are_on_their_way_than_the_window_holds_and_one_message() {
    let mut cluster = led(|config| config.max_inflight_bytes = 10);
    for _ in 0..5 {
        cluster.propose(1, "six by").unwrap();
    }
    assert_eq!(appends_to(&cluster, 2), [[2], [3]], "the message that crosses the limit still goes");
    let known = cluster.peer(1, 2);
    assert_eq!((known.inflight_bytes, known.window_full), (12, true));
    cluster.settle();
    let known = cluster.peer(1, 2);
    assert_eq!((cluster.commit(2), known.inflight_bytes, known.window_full), (6, 0, false));
}

#[test]
fn a_message_carries_no_more_bytes_than_allowed_and_one_entry_at_least() {
    let one = entry(1, 5).encoded_len();
    for (limit, expected) in [(0, 1), (1, 1), (one, 1), (2 * one - 1, 1), (2 * one, 2), (3 * one + 1, 3)] {
        let mut cluster = Cluster::with_logs(&[&[1; 9], &[], &[]], |config| {
            figure_2(config);
            config.max_message_bytes = limit;
        });
        cluster.elect(1);
        let largest = |message: &Message| match &message.body {
            Body::AppendEntries(append) => {
                append.entries.iter().filter(|entry| !entry.payload.is_empty()).count()
            }
            _ => 0,
        };
        assert_eq!(cluster.sent.iter().map(largest).max(), Some(expected), "limit {limit}");
        assert_eq!(cluster.commit(2), 10);
    }
}

// -- probing

#[test]
fn a_leader_that_does_not_know_where_the_logs_agree_sends_one_message_at_a_time() {
    let mut cluster = Cluster::plain(3);
    cluster.lose_if(|message| is_append(message) && message.to == id(3));
    cluster.elect(1);
    assert_eq!((cluster.peer(1, 3).state, cluster.peer(1, 3).paused), (PeerState::Probe, true));
    cluster.heal();
    for _ in 0..5 {
        cluster.propose(1, "x").unwrap();
    }
    assert_eq!(appends_to(&cluster, 3), [[0_u64; 0]; 0], "nothing until it is heard");
    cluster.settle();
    assert_eq!(cluster.last(3), 0);
    // The answer to a heartbeat shows that it lives.
    cluster.tick(1);
    cluster.deliver_if(is_heartbeat);
    cluster.deliver_if(is_heartbeat_reply);
    assert_eq!(appends_to(&cluster, 3), [[1, 2, 3, 4, 5, 6]]);
    cluster.settle();
    assert_eq!(cluster.peer(1, 3).state, PeerState::Replicate);
}

#[test]
fn a_lost_probe_is_sent_again_without_any_client() {
    for lost in 1..6 {
        let mut cluster = led(|_| {});
        cluster.isolate(3);
        cluster.propose(1, "x").unwrap();
        cluster.settle();
        cluster.heal();
        let mut count = 0;
        cluster.lose_if(move |message| {
            count += u32::from(is_append(message) && message.to == id(3));
            is_append(message) && message.to == id(3) && count <= lost
        });
        cluster.rounds(lost + 4);
        assert_eq!((cluster.commit(3), cluster.peer(1, 3).state), (2, PeerState::Replicate));
    }
}

#[test]
fn a_pipeline_whose_messages_were_lost_recovers_by_heartbeats() {
    let mut cluster = led(|config| config.max_inflight_messages = 4);
    cluster.lose_if(|message| is_append(message) && message.to == id(3));
    for _ in 0..10 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    }
    assert_eq!((cluster.last(3), cluster.commit(1)), (1, 11));
    assert!(cluster.peer(1, 3).window_full);
    cluster.heal();
    cluster.rounds(3);
    assert_eq!(cluster.commit(3), 11);
}

#[test]
fn an_unreachable_peer_is_probed_and_a_caught_up_one_returns_to_the_pipeline() {
    let mut cluster = led(|_| {});
    cluster.isolate(3);
    for _ in 0..5 {
        cluster.propose(1, "x").unwrap();
    }
    cluster.settle();
    let known = cluster.peer(1, 3);
    assert_eq!((known.state, known.next_index), (PeerState::Replicate, index(7)));
    cluster.node_mut(1).report_unreachable(id(3));
    let known = cluster.peer(1, 3);
    assert_eq!((known.state, known.next_index, known.inflight_messages), (PeerState::Probe, index(2), 0));
    cluster.heal();
    cluster.round();
    assert_eq!(cluster.peer(1, 3).state, PeerState::Replicate);
    assert_eq!(cluster.commit(3), 6);

    // And one that lacks nothing.
    cluster.node_mut(1).report_unreachable(id(3));
    assert_eq!(cluster.peer(1, 3).state, PeerState::Probe);
    cluster.round();
    assert_eq!(cluster.peer(1, 3).state, PeerState::Replicate, "it needn't wait for the next proposal");
}

#[test]
fn reports_that_make_no_sense_change_nothing() {
    let mut cluster = led(|_| {});
    for n in [1, 2] {
        let before = cluster.status(n);
        for peer in [1, 9] {
            cluster.node_mut(n).report_unreachable(id(peer));
            cluster.node_mut(n).report_snapshot(id(peer), SnapshotStatus::Failed);
            cluster.node_mut(n).report_snapshot(id(peer), SnapshotStatus::Finished);
        }
        cluster.node_mut(n).report_snapshot(id(3), SnapshotStatus::Failed);
        assert_eq!(cluster.status(n), before);
        assert!(!cluster.node(n).has_ready());
    }
}

// -- an unreliable network

#[test]
fn messages_that_overtake_one_another_lose_nothing() {
    let mut cluster = led(|_| {});
    for _ in 0..6 {
        cluster.propose(1, "x").unwrap();
    }
    let mut backwards = cluster.take_if(has_entries);
    backwards.reverse();
    for message in backwards {
        cluster.deliver(message);
    }
    cluster.settle();
    for n in 1..=3 {
        assert_eq!((cluster.commit(n), cluster.applied(n).len()), (7, 6));
    }
    assert_eq!(cluster.peer(1, 2).state, PeerState::Replicate);
}

#[test]
fn repeated_messages_change_nothing() {
    let mut cluster = led(|_| {});
    for _ in 0..4 {
        cluster.propose(1, "x").unwrap();
        cluster.settle();
    }
    let history: Vec<Message> = cluster.sent.clone();
    let before: Vec<(Vec<u64>, u64)> = (1..=3).map(|n| (cluster.log_terms(n), cluster.commit(n))).collect();
    for message in history.iter().chain(history.iter().rev()) {
        cluster.deliver(message.clone());
        cluster.settle();
    }
    let after: Vec<(Vec<u64>, u64)> = (1..=3).map(|n| (cluster.log_terms(n), cluster.commit(n))).collect();
    assert_eq!((before, cluster.leader()), (after, Some(1)));
}

#[test]
fn a_late_rejection_changes_nothing() {
    let mut cluster = led(|_| {});
    for _ in 0..3 {
        cluster.propose(1, "x").unwrap();
    }
    cluster.settle();
    let before = cluster.peer(1, 2);
    for stale in 0..=4 {
        cluster.step(message(2, 1, 1, rejected(stale, at(0, 0)))).unwrap();
        assert_eq!((cluster.peer(1, 2), cluster.take_all()), (before.clone(), vec![]));
    }
    // While probing it must be the answer to the last probe.
    cluster.node_mut(1).report_unreachable(id(2));
    let before = cluster.peer(1, 2);
    for stale in [0, 1, 3, 5, 6] {
        cluster.step(message(2, 1, 1, rejected(stale, at(0, 0)))).unwrap();
        assert_eq!((cluster.peer(1, 2).next_index, cluster.take_all()), (before.next_index, vec![]));
    }
}

#[test]
fn next_never_falls_to_match_or_below() {
    let mut cluster = led(|_| {});
    for _ in 0..3 {
        cluster.propose(1, "x").unwrap();
    }
    cluster.settle();
    cluster.node_mut(1).report_unreachable(id(2));
    cluster.step(message(2, 1, 1, rejected(4, at(0, 0)))).unwrap();
    let known = cluster.peer(1, 2);
    assert_eq!((known.match_index, known.next_index), (index(4), index(5)));
}

#[test]
fn a_late_acknowledgement_moves_nothing_back() {
    let mut cluster = led(|_| {});
    for _ in 0..3 {
        cluster.propose(1, "x").unwrap();
    }
    cluster.settle();
    let before = cluster.peer(1, 2);
    for stale in 0..=4 {
        cluster.step(message(2, 1, 1, accepted(stale))).unwrap();
        assert_eq!((cluster.peer(1, 2), cluster.commit(1)), (before.clone(), 4));
    }
    assert_eq!(cluster.take_all(), []);
}

// -- how many messages

#[test]
fn one_proposal_in_a_steady_cluster_costs_eight_messages() {
    let mut cluster = led(|_| {});
    cluster.sent.clear();
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    let appends = cluster.sent.iter().filter(|message| has_entries(message)).count();
    let commits = cluster.sent.iter().filter(|message| is_append(message) && !has_entries(message)).count();
    let answers = cluster.sent.iter().filter(|message| is_append_reply(message)).count();
    assert_eq!((appends, commits, answers), (2, 2, 4), "each follower is told of the commit once");
    assert_eq!(cluster.sent.len(), 8);
    cluster.sent.clear();
    cluster.round();
    assert_eq!(cluster.sent.len(), 4, "and nothing is left to say but two heartbeats and their answers");
}

#[test]
fn a_commit_index_that_an_append_on_its_way_tells_is_not_told_again() {
    let mut cluster = led(|_| {});
    cluster.propose(1, "x").unwrap();
    cluster.deliver_if(|message| is_append(message) && message.to == id(2));
    cluster.deliver_if(is_append_reply);
    assert_eq!(cluster.commit(1), 2);
    // Both were told by an empty append. Node 3's acknowledgement finds nothing new to say.
    cluster.sent.clear();
    cluster.deliver_if(|message| is_append(message) && message.to == id(3));
    cluster.deliver_if(|message| is_append_reply(message) && message.from == id(3));
    assert!(cluster.sent.iter().all(|message| message.from != id(1)), "{:?}", cluster.sent);
}

#[test]
fn one_whose_window_was_full_learns_the_commit_index_from_the_next_append() {
    let mut cluster = led(|config| config.max_inflight_messages = 1);
    cluster.propose(1, "x").unwrap();
    cluster.propose(1, "y").unwrap();
    cluster.settle();
    for n in [2, 3] {
        assert_eq!((cluster.commit(n), cluster.applied(n).len()), (3, 2), "without a heartbeat");
    }
}

#[test]
fn a_node_that_gives_back_its_empty_buffers_loses_nothing_that_is_on_its_way() {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command).unwrap();
        for n in 1..=3 {
            cluster.node_mut(n).shrink_to_fit();
            cluster.pump(n);
            cluster.node_mut(n).shrink_to_fit();
        }
    }
    cluster.settle();
    for n in 1..=3 {
        assert_eq!(cluster.applied(n), ["a", "b", "c"]);
    }
}
