//! The random numbers: repeatable, apart by node, and in range.

#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;
use raft_proto::NodeId;

use super::Rng;

fn rng(seed: u64, id: u64) -> Rng {
    Rng::new(seed, NodeId::new(id).unwrap())
}

fn first(mut rng: Rng, count: usize) -> Vec<u64> {
    (0..count).map(|_| rng.next()).collect()
}

#[test]
fn the_numbers_are_those_of_splitmix64() {
    // The reference values for seed 1234567.
    let expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431];
    assert_eq!(first(Rng { state: 1_234_567 }, 4), expected);
}

#[test]
fn nodes_with_the_same_seed_draw_different_numbers() {
    // §5.2: equal time-outs split the votes for ever.
    let drawn: BTreeSet<Vec<u64>> = (1..=100).map(|id| first(rng(7, id), 4)).collect();
    assert_eq!(drawn.len(), 100);
}

#[test]
fn nothing_is_below_zero_and_only_zero_is_below_one() {
    let mut rng = rng(1, 1);
    for _ in 0..100 {
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }
}

#[test]
fn every_number_below_a_bound_is_drawn_about_equally_often() {
    let mut rng = rng(3, 2);
    let mut drawn = [0_u32; 10];
    for _ in 0..10_000 {
        drawn[usize::try_from(rng.below(10)).unwrap()] += 1;
    }
    assert!(drawn.iter().all(|count| (850..1150).contains(count)), "{drawn:?}");
}

proptest! {
    #[test]
    fn the_same_seed_and_id_give_the_same_numbers(seed: u64, id in 1_u64..) {
        prop_assert_eq!(first(rng(seed, id), 8), first(rng(seed, id), 8));
    }

    #[test]
    fn a_number_is_below_its_bound(seed: u64, bound in 1_u32..) {
        let mut rng = rng(seed, 1);
        for _ in 0..20 {
            prop_assert!(rng.below(bound) < bound);
        }
    }
}
