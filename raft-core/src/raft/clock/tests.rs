//! The timers: what is due when.

#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;
use raft_proto::NodeId;

use super::Clock;
use crate::raft::rng::Rng;

fn rng(seed: u64, id: u64) -> Rng {
    Rng::new(seed, NodeId::new(id).unwrap())
}

/// The first time-outs that this node draws.
fn timeouts(election_ticks: u32, seed: u64, id: u64, count: usize) -> Vec<u32> {
    let mut rng = rng(seed, id);
    let mut clock = Clock::new(election_ticks, &mut rng);
    (0..count)
        .map(|_| {
            let timeout = clock.election_timeout();
            clock.restart(&mut rng);
            timeout
        })
        .collect()
}

/// Ticks until it is time to campaign.
fn ticks_to_campaign(clock: &mut Clock) -> u32 {
    let mut ticks = 0;
    while !clock.election_due() {
        clock.tick();
        ticks += 1;
    }
    ticks
}

#[test]
fn every_time_out_from_one_election_time_to_two_is_drawn() {
    // §5.2: randomized, so that split votes are rare.
    let drawn: BTreeSet<u32> = timeouts(10, 0, 1, 1000).into_iter().collect();
    assert!(drawn.into_iter().eq(10..20));
}

#[test]
fn nodes_with_the_same_seed_time_out_at_different_times() {
    let drawn: BTreeSet<Vec<u32>> = (1..=5).map(|id| timeouts(10, 42, id, 20)).collect();
    assert_eq!(drawn.len(), 5);
}

#[test]
fn a_node_campaigns_after_its_time_out_and_waits_anew_when_it_hears_a_leader() {
    let mut rng = rng(1, 1);
    let mut clock = Clock::new(10, &mut rng);
    let timeout = clock.election_timeout();
    for _ in 1..timeout {
        clock.tick();
        assert!(!clock.election_due());
    }
    clock.restart_election();
    assert_eq!((clock.election_timeout(), clock.election_elapsed()), (timeout, 0), "the same time-out");
    assert_eq!(ticks_to_campaign(&mut clock), timeout);
    assert!(clock.election_due(), "until something is done about it");
    clock.restart(&mut rng);
    assert!(!clock.election_due());
}

#[test]
fn a_leader_was_heard_recently_for_less_than_the_shortest_time_out() {
    // Thesis §4.2.3: within the minimum election time-out.
    let mut clock = Clock::new(10, &mut rng(1, 1));
    assert_eq!(clock.election_ticks(), 10);
    for _ in 0..10 {
        assert!(clock.within_election_ticks());
        clock.tick();
    }
    assert!(!clock.within_election_ticks());
    clock.restart_election();
    assert!(clock.within_election_ticks());
}

#[test]
fn quorum_checks_come_at_their_own_pace() {
    let mut clock = Clock::new(10, &mut rng(1, 1));
    let mut checks = Vec::new();
    for tick in 1..=30 {
        clock.tick();
        if clock.take_quorum_check_due() {
            checks.push(tick);
        }
    }
    assert_eq!(checks, [10, 20, 30]);
    assert_eq!(clock.now(), 30, "which no restart sets back");
}

#[test]
fn a_clock_that_sleeps_says_that_nothing_is_due_until_it_wakes() {
    let mut rng = rng(1, 1);
    let mut clock = Clock::new(10, &mut rng);
    assert!(clock.tick(), "a new one is awake");
    clock.sleep_until(4);
    assert_eq!([clock.tick(), clock.tick(), clock.tick(), clock.tick()], [false, false, true, true]);
    for wakes in [Clock::wake, |clock: &mut Clock| clock.set_election_timeout(3)] {
        clock.sleep_until(100);
        assert!(!clock.tick());
        wakes(&mut clock);
        assert!(clock.tick());
    }
    clock.sleep_until(100);
    clock.restart(&mut rng);
    assert!(clock.tick(), "the new time-out may be shorter than what was left of the old one");
}

proptest! {
    #[test]
    fn a_time_out_is_at_least_one_election_time_and_less_than_two(
        election_ticks in 2_u32..=1_000_000,
        seed: u64,
        id in 1_u64..,
    ) {
        for timeout in timeouts(election_ticks, seed, id, 20) {
            prop_assert!((election_ticks..2 * election_ticks).contains(&timeout));
        }
    }

    #[test]
    fn the_same_seed_and_id_give_the_same_time_outs(seed: u64, id in 1_u64..) {
        prop_assert_eq!(timeouts(10, seed, id, 20), timeouts(10, seed, id, 20));
    }
}
