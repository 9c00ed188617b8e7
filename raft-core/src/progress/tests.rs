//! Next and match, the states of a peer, and the window of its pipeline.

#![allow(clippy::arithmetic_side_effects)]

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{Index, NodeId};

use super::{Inflights, Progress, ProgressState, ProgressTable, Window};

const WIDE: Window = Window { messages: 256, bytes: 1 << 20 };

fn at(index: u64) -> Index {
    Index::new(index)
}

/// A peer in probe that has the log up to `matched`, and is sent `next` next.
fn probe(matched: u64, next: u64) -> Progress {
    let mut peer = Progress::new(at(next), WIDE);
    peer.match_index = at(matched);
    peer
}

fn replicate(matched: u64, window: Window) -> Progress {
    let mut peer = Progress::new(at(matched).next(), window);
    peer.match_index = at(matched);
    peer.become_replicate();
    peer
}

fn window(messages: u32, bytes: u64) -> Window {
    Window { messages, bytes }
}

fn in_flight(peer: &Progress) -> (usize, u64) {
    match peer.state() {
        ProgressState::Replicate(inflights) => (inflights.count(), inflights.bytes()),
        ProgressState::Probe | ProgressState::Snapshot { .. } => (0, 0),
    }
}

// -- transitions

#[test]
fn a_new_peer_is_probed_from_the_end_of_the_log() {
    let peer = Progress::new(at(8), WIDE);
    assert!(peer.is_probe() && !peer.is_paused() && !peer.is_full() && !peer.recently_active);
    assert_eq!((peer.match_index(), peer.next_index(), peer.acked_round()), (at(0), at(8), 0));
}

#[test]
fn a_leader_has_all_of_its_own_log() {
    let leader = Progress::of_leader(at(7), WIDE);
    assert!(matches!(leader.state(), ProgressState::Replicate(_)));
    assert!(leader.recently_active);
    assert_eq!((leader.match_index(), leader.next_index()), (at(7), at(8)));
}

#[test]
fn a_peer_that_is_heard_is_active_and_heard_last_then() {
    let mut peer = probe(3, 8);
    assert_eq!((peer.recently_active, peer.last_heard()), (false, 0));
    peer.hear(7);
    assert_eq!((peer.recently_active, peer.last_heard()), (true, 7));
}

#[test]
fn a_peer_is_in_one_state() {
    let states = |peer: &Progress| (peer.is_probe(), peer.is_snapshot());
    let mut peer = probe(3, 8);
    assert_eq!(states(&peer), (true, false));
    peer.become_replicate();
    assert_eq!(states(&peer), (false, false));
    peer.become_snapshot(at(9));
    assert_eq!(states(&peer), (false, true));
}

#[test]
fn a_probe_goes_out_once_and_an_empty_one_does_not_pause() {
    let mut peer = probe(3, 6);
    peer.on_sent(0, at(5), 0, at(2));
    assert!(!peer.is_paused());
    peer.on_sent(2, at(7), 20, at(2));
    assert!(peer.is_paused());
    assert_eq!(peer.next_index(), at(6), "a probe promises nothing");
    peer.resume();
    assert!(!peer.is_paused());
    peer.pause();
    assert!(peer.is_paused());
}

#[test]
fn a_pipeline_runs_ahead_and_stops_at_its_window() {
    let mut peer = replicate(3, window(2, 1000));
    peer.on_sent(2, at(5), 10, at(0));
    assert_eq!((peer.next_index(), peer.is_full(), peer.is_paused()), (at(6), false, false));
    peer.on_sent(1, at(6), 10, at(0));
    assert_eq!((peer.next_index(), peer.is_full(), peer.is_paused()), (at(7), true, true));
    assert_eq!(peer.match_index(), at(3), "nothing is acknowledged yet");
    // The way out of a stall: heard, so an empty append may go; it takes no place in the window.
    peer.resume();
    assert!(!peer.is_paused() && peer.is_full());
    peer.on_sent(0, at(6), 0, at(0));
    assert_eq!((peer.next_index(), peer.is_paused(), in_flight(&peer)), (at(7), true, (2, 20)));
}

#[test]
fn an_unreachable_peer_is_probed_again_right_behind_its_match() {
    let mut peer = replicate(3, window(1, 1000));
    peer.on_sent(4, at(7), 10, at(7));
    assert!(peer.is_paused());
    peer.become_probe();
    assert!(peer.is_probe() && !peer.is_paused() && !peer.is_full());
    assert_eq!(peer.next_index(), at(4));
    assert_eq!(peer.sent_commit, at(3), "what was sent behind it may be lost");
}

#[test]
fn a_snapshot_on_its_way_stops_everything_else() {
    let mut peer = probe(3, 5);
    peer.become_snapshot(at(20));
    assert!(peer.is_snapshot() && peer.is_paused());
    assert!(!peer.lacks_commit(at(20)), "the snapshot tells it");
    peer.resume();
    assert!(peer.is_paused(), "only its arrival or its end does");
    assert_eq!((peer.match_index(), peer.next_index()), (at(3), at(21)));
}

#[test]
fn a_snapshot_that_arrived_is_probed_behind_its_end() {
    let mut peer = probe(3, 5);
    peer.become_snapshot(at(20));
    peer.become_probe();
    assert_eq!(peer.next_index(), at(21));
    assert!(peer.is_probe() && !peer.is_paused());
}

#[test]
fn a_snapshot_that_failed_is_probed_behind_match() {
    let mut peer = probe(3, 5);
    peer.become_snapshot(at(20));
    peer.forget_snapshot();
    peer.become_probe();
    assert_eq!(peer.next_index(), at(4));
    let mut other = replicate(3, WIDE);
    other.forget_snapshot();
    assert_eq!(other.next_index(), at(4), "there is nothing to forget");
}

#[test]
fn a_peer_that_is_past_its_snapshot_is_probed_behind_its_match() {
    let mut peer = probe(3, 5);
    peer.become_snapshot(at(20));
    assert!(peer.on_match(at(25)));
    peer.become_probe();
    assert_eq!(peer.next_index(), at(26));
    peer.become_replicate();
    assert_eq!(peer.next_index(), at(26));
}

#[test]
fn a_snapshot_older_than_match_does_not_bring_next_below_it() {
    // B142. A storage may give any snapshot that it has.
    let mut peer = probe(9, 12);
    peer.become_snapshot(at(4));
    assert!(peer.next_index() > peer.match_index(), "{peer:?}");
    peer.become_probe();
    assert_eq!(peer.next_index(), at(10));
}

#[test]
fn rounds_are_acknowledged_in_any_order() {
    let mut peer = probe(0, 1);
    for (round, acked) in [(2, 2), (1, 2), (5, 5), (4, 5)] {
        peer.on_round(round);
        assert_eq!(peer.acked_round(), acked);
    }
}

// -- acknowledgements

#[test]
fn an_acknowledgement_moves_match_and_only_pushes_next() {
    let mut peer = replicate(3, WIDE);
    peer.on_sent(5, at(8), 10, at(0));
    assert!(peer.on_match(at(5)));
    assert_eq!((peer.match_index(), peer.next_index()), (at(5), at(9)), "the pipeline stays ahead");
    assert!(!peer.on_match(at(5)) && !peer.on_match(at(4)), "an old one is no news");
    assert_eq!((peer.match_index(), peer.next_index()), (at(5), at(9)));
    assert!(peer.on_match(at(12)));
    assert_eq!((peer.match_index(), peer.next_index()), (at(12), at(13)));
}

#[test]
fn an_acknowledged_message_leaves_the_window() {
    // B122: a window of one must not stop for ever.
    let mut peer = replicate(0, window(1, 1000));
    peer.on_sent(1, at(1), 10, at(0));
    assert!(peer.is_full() && peer.is_paused());
    assert!(peer.on_match(at(1)));
    peer.free_up_to(at(1));
    assert!(!peer.is_full() && !peer.is_paused());
    assert_eq!(in_flight(&peer), (0, 0));
}

// -- rejections

#[test]
fn a_rejected_probe_falls_back_to_the_hint() {
    let mut peer = probe(0, 10);
    assert!(peer.on_reject(at(9), at(4)));
    assert_eq!(peer.next_index(), at(5));
}

#[test]
fn a_rejection_lowers_next_whatever_the_hint() {
    // B084: a follower that is one entry short. B085: a hint far beyond what was rejected.
    let mut peer = probe(0, 10);
    assert!(peer.on_reject(at(9), at(9)));
    assert_eq!(peer.next_index(), at(9));
    assert!(peer.on_reject(at(8), Index::LIMIT));
    assert_eq!(peer.next_index(), at(8));
    assert!(peer.on_reject(at(7), Index::new(u64::MAX)));
    assert_eq!(peer.next_index(), at(7));
}

#[test]
fn a_late_rejection_leaves_next_above_match() {
    // B142.
    let mut peer = probe(5, 6);
    assert!(!peer.on_reject(at(5), at(0)), "whoever refuses what it acknowledged would do so again");
    assert!(peer.is_paused());
    assert_eq!((peer.match_index(), peer.next_index()), (at(5), at(6)));
    let mut peer = replicate(5, WIDE);
    assert!(!peer.on_reject(at(5), at(0)), "match is acknowledged: this is an old answer");
    assert!(matches!(peer.state(), ProgressState::Replicate(_)));
}

#[test]
fn a_rejection_ends_the_pipeline() {
    let mut peer = replicate(5, WIDE);
    peer.on_sent(4, at(9), 10, at(9));
    assert!(peer.on_reject(at(9), at(7)));
    assert!(peer.is_probe() && !peer.is_paused());
    assert_eq!((peer.next_index(), peer.sent_commit), (at(6), at(5)), "the hint isn't used");
}

#[test]
fn every_small_rejection_keeps_the_bounds() {
    let all = || 0..8_u64;
    for matched in all() {
        for next in matched + 1..9 {
            for (rejected, hint) in all().flat_map(|rejected| all().map(move |hint| (rejected, hint))) {
                for snapshot in [false, true] {
                    let mut peer = probe(matched, next);
                    peer.sent_commit = at(7);
                    peer.paused = true;
                    if snapshot {
                        peer.state = ProgressState::Snapshot { pending: at(next - 1) };
                    }
                    let fresh = rejected == next - 1 && rejected > matched;
                    assert_eq!(peer.on_reject(at(rejected), at(hint)), fresh);
                    let now = peer.next_index().get();
                    let case = (matched, next, rejected, hint, now);
                    if !fresh {
                        assert_eq!(now, next, "{case:?}");
                        assert!(peer.is_paused() && peer.sent_commit == at(7), "{case:?}");
                        continue;
                    }
                    assert!(now > matched, "next above match: {case:?}");
                    assert!(now < next, "lower: {case:?}");
                    assert!(
                        now <= hint + 1 || now == matched + 1,
                        "no higher than the hint allows: {case:?}"
                    );
                    let skipped = now + 1..next;
                    assert!(skipped.into_iter().all(|index| index > hint + 1), "nor lower: {case:?}");
                    assert_eq!(peer.sent_commit, at(7.min(now - 1)), "{case:?}");
                    assert_eq!(peer.is_paused(), snapshot, "{case:?}");
                }
                let mut peer = replicate(matched, WIDE);
                peer.on_sent(1, at(next), 1, at(0));
                assert_eq!(peer.on_reject(at(rejected), at(hint)), rejected > matched);
                assert_eq!(peer.is_probe(), rejected > matched);
                assert_eq!(peer.next_index().get(), if rejected > matched { matched + 1 } else { next + 1 });
            }
        }
    }
}

// -- the commit index

#[test]
fn a_peer_lacks_a_commit_index_that_was_not_sent_and_would_move_its_own() {
    for sent in 0..6 {
        for next in 1..6 {
            for commit in 0..6 {
                let mut peer = probe(0, next);
                peer.on_heartbeat_sent(at(sent));
                // What the peer commits is bounded by what it has, as far as is known up to next - 1.
                let told = sent.min(next - 1);
                let would_be = commit.min(next - 1);
                let expected = commit > sent && would_be > told;
                assert_eq!(
                    peer.lacks_commit(at(commit)),
                    expected,
                    "sent {sent} next {next} commit {commit}"
                );
            }
        }
    }
}

#[test]
fn an_append_tells_the_commit_index() {
    for mut peer in [probe(3, 4), replicate(3, WIDE)] {
        assert!(peer.lacks_commit(at(2)));
        peer.on_sent(0, at(3), 0, at(2));
        assert!(!peer.lacks_commit(at(2)));
    }
}

// -- random lives

#[derive(Clone, Debug)]
enum Event {
    Send { entries: u64, bytes: u64, commit: u64 },
    Ack(u64),
    Reject { rejected: u64, hint: u64 },
    Snapshot(u64),
    SnapshotFailed,
    Probe,
    Replicate,
    Pause(bool),
    Heartbeat(u64),
    Window(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let index = || 0_u64..30;
    prop_oneof![
        6 => (0_u64..5, 0_u64..10, index()).prop_map(|(entries, bytes, commit)| Event::Send { entries, bytes, commit }),
        4 => index().prop_map(Event::Ack),
        4 => (index(), index()).prop_map(|(rejected, hint)| Event::Reject { rejected, hint }),
        1 => index().prop_map(Event::Snapshot),
        1 => Just(Event::SnapshotFailed),
        1 => Just(Event::Probe),
        2 => Just(Event::Replicate),
        3 => prop_oneof![2 => Just(false), 1 => Just(true)].prop_map(Event::Pause),
        1 => index().prop_map(Event::Heartbeat),
        1 => (1_u32..4).prop_map(Event::Window),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_match_stays_below_next_and_the_window_holds(
        next in 1_u64..20,
        messages in 1_u32..4,
        bytes in 1_u64..20,
        events in vec(event(), 0..60),
    ) {
        let mut peer = Progress::new(at(next), window(messages, bytes));
        for event in events {
            let before = peer.clone();
            match event {
                Event::Send { entries, bytes, commit } if !peer.is_paused() => {
                    let entries = if peer.is_full() { 0 } else { entries };
                    let last = peer.next_index().prev().plus(entries);
                    peer.on_sent(usize::try_from(entries).unwrap(), last, if entries > 0 { bytes } else { 0 }, at(commit));
                }
                Event::Send { .. } => {}
                Event::Ack(index) => {
                    prop_assert_eq!(peer.on_match(at(index)), at(index) > before.match_index());
                    peer.free_up_to(at(index));
                }
                Event::Reject { rejected, hint } => {
                    peer.on_reject(at(rejected), at(hint));
                    prop_assert!(peer.next_index() <= before.next_index());
                }
                Event::Snapshot(index) => peer.become_snapshot(at(index)),
                Event::SnapshotFailed => peer.forget_snapshot(),
                Event::Probe => peer.become_probe(),
                Event::Replicate => peer.become_replicate(),
                Event::Pause(false) => peer.resume(),
                Event::Pause(true) => peer.pause(),
                Event::Heartbeat(commit) => peer.on_heartbeat_sent(at(commit)),
                Event::Window(messages) => peer.set_window(window(messages, bytes)),
            }
            prop_assert!(peer.match_index() < peer.next_index(), "{before:?} {peer:?}");
            prop_assert!(peer.match_index() >= before.match_index());
            let (count, held) = in_flight(&peer);
            let allowed = usize::try_from(peer.window().messages).unwrap();
            prop_assert!(count <= allowed || count <= in_flight(&before).0, "only what was on its way already");
            prop_assert!(!peer.exceeds_window(), "{before:?} {peer:?}");
            prop_assert!(held < bytes + 10, "no more than the message that crossed the limit");
            if let ProgressState::Replicate(inflights) = peer.state() {
                let all_acked = peer.next_index() == peer.match_index().next();
                prop_assert!(!all_acked || inflights.count() == 0, "nothing is on its way: {peer:?}");
            }
        }
    }

    #[test]
    fn a_window_is_a_list_of_messages(
        messages in 1_u32..6,
        bytes in 1_u64..40,
        events in vec((1_u64..4, 0_u64..15, proptest::option::of(0_u64..60)), 0..40),
    ) {
        let limits = window(messages, bytes);
        let mut inflights = Inflights::default();
        let mut twin: Vec<(u64, u64)> = Vec::new();
        let mut last = 0;
        for (entries, size, freed) in events {
            last += entries;
            inflights.add(at(last), size);
            twin.push((last, size));
            if let Some(index) = freed {
                inflights.free_up_to(at(index));
                twin.retain(|(last, _)| *last > index);
            }
            let held: u64 = twin.iter().map(|(_, size)| size).sum();
            prop_assert_eq!((inflights.count(), inflights.bytes()), (twin.len(), held));
            let full = twin.len() >= usize::try_from(messages).unwrap() || held >= bytes;
            prop_assert_eq!(inflights.is_full(limits), full);
        }
    }

    #[test]
    fn the_table_is_a_map(members in proptest::collection::btree_set(1_u64..40, 0..12), others in vec(1_u64..40, 8)) {
        let id = |n: u64| NodeId::new(n).unwrap();
        let ids: Vec<NodeId> = members.iter().map(|n| id(*n)).collect();
        let mut table = ProgressTable::new(&ids, |id| Progress::of_leader(at(id.get() * 10), WIDE));
        prop_assert!(table.iter().map(|(id, _)| id).eq(ids.iter().copied()));
        prop_assert!(table.iter_mut().map(|(id, _)| id).eq(ids.iter().copied()));
        for n in members.iter().chain(&others).copied() {
            let expected = members.contains(&n).then_some(n * 10);
            prop_assert_eq!(table.get(id(n)).map(|peer| peer.match_index().get()), expected);
            prop_assert_eq!(table.get_mut(id(n)).map(|peer| peer.match_index().get()), expected);
            prop_assert_eq!(table.match_index(id(n)).get(), expected.unwrap_or(0));
        }
    }
}

#[test]
fn a_large_window_is_given_back_when_it_has_drained_and_a_small_one_is_kept() {
    let capacity_after = |messages: u64| {
        let mut inflights = Inflights::default();
        for index in 1..=messages {
            inflights.add(at(index), 1);
        }
        let used = inflights.capacity();
        inflights.free_up_to(at(messages - 1));
        assert_eq!(inflights.capacity(), used, "it is still in use");
        inflights.free_up_to(at(messages));
        assert_eq!((inflights.count(), inflights.bytes()), (0, 0));
        (used, inflights.capacity())
    };
    let (used, left) = capacity_after(200);
    assert!(used >= 200 && left == 0, "{used} {left}");
    let (used, left) = capacity_after(8);
    assert!(used >= 8 && left == used, "a ring that is used again and again isn't allocated each time");
    assert_eq!(capacity_after(32), (32, 32), "the largest that is kept");
    assert_eq!(capacity_after(1), (1, 1), "many groups have no more than one message on its way");
}

#[test]
fn a_window_gives_back_what_it_does_not_use_when_it_is_asked_to() {
    let mut inflights = Inflights::default();
    for index in 1..=8 {
        inflights.add(at(index), 1);
    }
    inflights.free_up_to(at(8));
    inflights.shrink_to_fit();
    assert_eq!(inflights.capacity(), 0);
    let mut peer = replicate(0, WIDE);
    for index in 1..=8 {
        peer.on_sent(1, at(index), 1, at(0));
    }
    peer.free_up_to(at(8));
    peer.shrink_to_fit();
    let ProgressState::Replicate(inflights) = &peer.state else { panic!("it is probed") };
    assert_eq!(inflights.capacity(), 0);
}

#[test]
fn a_window_that_is_lowered_drains_and_one_that_is_raised_goes_on() {
    let mut peer = replicate(0, window(3, 100));
    for index in 1..=3 {
        peer.on_sent(1, at(index), 1, at(0));
    }
    peer.set_window(window(1, 100));
    assert!(peer.is_full() && peer.is_paused() && !peer.exceeds_window(), "it was sent before");
    peer.free_up_to(at(2));
    assert!(peer.is_full(), "one message is what it holds");
    peer.set_window(window(2, 100));
    assert!(!peer.is_full() && !peer.is_paused());
    // The check itself, on what no path of the core does.
    for index in 4..=5 {
        peer.on_sent(1, at(index), 1, at(0));
    }
    assert!(peer.exceeds_window(), "three of two");
}

#[test]
fn a_lowered_window_holds_again_when_it_has_drained() {
    let mut peer = replicate(0, window(3, 100));
    for index in 1..=3 {
        peer.on_sent(1, at(index), 1, at(0));
    }
    peer.set_window(window(1, 100));
    peer.free_up_to(at(1));
    assert!(!peer.exceeds_window(), "two of one, that were sent before");
    peer.free_up_to(at(2));
    peer.on_sent(1, at(4), 1, at(0));
    assert!(peer.exceeds_window(), "two of one, one of them sent since");
}

#[test]
fn a_snapshot_that_was_asked_for_is_on_its_way_until_that_is_reported() {
    let mut peer = replicate(3, WIDE);
    assert!(!peer.awaits_wanted_snapshot());
    peer.on_wanted_snapshot_sent();
    assert!(peer.awaits_wanted_snapshot() && !peer.is_snapshot(), "its log goes on");
    peer.on_wanted_snapshot_reported();
    assert!(!peer.awaits_wanted_snapshot());
    peer.become_snapshot(at(9));
    assert!(peer.awaits_wanted_snapshot(), "any snapshot will do");
}

#[test]
fn a_window_is_full_by_messages_or_by_bytes() {
    let mut inflights = Inflights::default();
    assert!(!inflights.is_full(window(1, 1)));
    inflights.add(at(1), 9);
    assert!(inflights.is_full(window(1, 100)) && !inflights.is_full(window(2, 10)));
    inflights.add(at(2), 500);
    assert!(inflights.is_full(window(3, 10)), "the message that crosses the limit may go");
    inflights.free_up_to(at(1));
    assert_eq!((inflights.count(), inflights.bytes()), (1, 500));
    inflights.add(at(3), u64::MAX);
    assert_eq!(inflights.bytes(), u64::MAX, "no overflow");
}
