//! Quorums against brute force: thresholds are enumerated, and missing votes are cast in every possible way.

#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{Index, NodeId};

use super::{JointQuorum, MajorityQuorum, VoteResult};

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn majority(voters: &[u64]) -> MajorityQuorum {
    MajorityQuorum::new(voters.iter().map(|n| id(*n)))
}

fn joint(incoming: &[u64], outgoing: &[u64]) -> JointQuorum {
    JointQuorum { incoming: majority(incoming), outgoing: majority(outgoing) }
}

/// The table `values`, asked by id; `values[0]` is that of node 1.
fn by_id<T: Copy>(values: &[T]) -> impl Fn(NodeId) -> T + '_ {
    |id| values[usize::try_from(id.get()).unwrap() - 1]
}

fn indexes(acked: &[u64]) -> Vec<Index> {
    acked.iter().map(|index| Index::new(*index)).collect()
}

// -- the twins

/// Do these voters include more than half of the half?
fn is_majority(half: &BTreeSet<u64>, has: impl Fn(u64) -> bool) -> bool {
    half.iter().filter(|n| has(**n)).count() * 2 > half.len()
}

/// Every index up to the largest that anyone has is tried.
fn naive_committed(halves: &[BTreeSet<u64>], acked: &[u64]) -> Option<u64> {
    let halves: Vec<_> = halves.iter().filter(|half| !half.is_empty()).collect();
    if halves.is_empty() {
        return None;
    }
    let top = acked.iter().copied().max().unwrap_or(0);
    (0..=top).rev().find(|threshold| {
        halves.iter().all(|half| is_majority(half, |n| acked[usize::try_from(n).unwrap() - 1] >= *threshold))
    })
}

/// Every way in which those who haven't voted yet could vote is tried.
fn naive_vote(halves: &[BTreeSet<u64>], votes: &[Option<bool>]) -> VoteResult {
    let open: Vec<usize> = (0..votes.len()).filter(|at| votes[*at].is_none()).collect();
    let mut outcomes = BTreeSet::new();
    for way in 0..(1_u32 << open.len()) {
        let granted = |n: u64| {
            let at = usize::try_from(n).unwrap() - 1;
            votes[at].unwrap_or_else(|| {
                let bit = open.iter().position(|other| *other == at).unwrap();
                way >> bit & 1 == 1
            })
        };
        outcomes.insert(halves.iter().all(|half| half.is_empty() || is_majority(half, granted)));
    }
    match (outcomes.contains(&true), outcomes.contains(&false)) {
        (true, false) => VoteResult::Won,
        (false, true) => VoteResult::Lost,
        (_, _) => VoteResult::Pending,
    }
}

fn set(voters: &[u64]) -> BTreeSet<u64> {
    voters.iter().copied().collect()
}

/// The numbers of `digits` digits in this base, as lists of digits.
fn all_tables(base: usize, digits: usize) -> Vec<Vec<usize>> {
    (0..digits).fold(Vec::from([Vec::new()]), |tables, _| {
        tables
            .iter()
            .flat_map(|table| {
                (0..base).map(move |digit| table.iter().copied().chain([digit]).collect::<Vec<usize>>())
            })
            .collect()
    })
}

/// All subsets of nodes 1 to `n`.
fn subsets(n: u64) -> Vec<Vec<u64>> {
    (0..1_u64 << n).map(|bits| (1..=n).filter(|node| bits >> (node - 1) & 1 == 1).collect()).collect()
}

// -- examples

#[test]
fn an_index_is_committed_when_more_than_half_have_it() {
    // §5.3: three of five have 4.
    let acked = indexes(&[9, 4, 4, 2, 1]);
    assert_eq!(majority(&[1, 2, 3, 4, 5]).committed_index(by_id(&acked)), Some(Index::new(4)));
}

#[test]
fn half_of_an_even_number_is_no_quorum() {
    let acked = indexes(&[9, 9, 3, 1]);
    assert_eq!(majority(&[1, 2, 3, 4]).committed_index(by_id(&acked)), Some(Index::new(3)));
    let votes = [Some(true), Some(true), Some(false), Some(false)];
    assert_eq!(majority(&[1, 2, 3, 4]).vote_result(by_id(&votes)), VoteResult::Lost);
}

#[test]
fn a_joint_decision_needs_a_majority_of_each_half() {
    // Thesis §4.3: all of the incoming half isn't enough.
    let acked = indexes(&[9, 9, 9, 1, 1]);
    assert_eq!(joint(&[1, 2, 3], &[3, 4, 5]).committed_index(by_id(&acked)), Some(Index::new(1)));
    let votes = [Some(true), Some(true), Some(true), None, None];
    assert_eq!(joint(&[1, 2, 3], &[3, 4, 5]).vote_result(by_id(&votes)), VoteResult::Pending);
    let votes = [Some(true), Some(true), Some(true), Some(false), Some(false)];
    assert_eq!(joint(&[1, 2, 3], &[3, 4, 5]).vote_result(by_id(&votes)), VoteResult::Lost);
}

#[test]
fn an_empty_half_sets_no_condition() {
    let acked = indexes(&[5, 7, 9]);
    assert_eq!(majority(&[]).committed_index(by_id(&acked)), None);
    assert_eq!(majority(&[]).vote_result(|_| None), VoteResult::Won);
    assert_eq!(joint(&[], &[]).committed_index(by_id(&acked)), None);
    assert_eq!(joint(&[1, 2, 3], &[]).committed_index(by_id(&acked)), Some(Index::new(7)));
    assert_eq!(joint(&[], &[1, 2, 3]).committed_index(by_id(&acked)), Some(Index::new(7)));
    assert!(!joint(&[1, 2, 3], &[]).is_joint());
    assert!(joint(&[1], &[2]).is_joint());
}

#[test]
fn a_voter_that_is_named_twice_counts_once() {
    // Were 1 counted three times, it would commit 9 and win alone.
    let quorum = majority(&[1, 1, 1, 2, 3]);
    assert_eq!(quorum.voters(), [id(1), id(2), id(3)]);
    assert_eq!(quorum.size(), 2);
    assert_eq!(quorum.committed_index(by_id(&indexes(&[9, 2, 1]))), Some(Index::new(2)));
    assert_eq!(quorum.vote_result(by_id(&[Some(true), None, None])), VoteResult::Pending);
}

#[test]
fn only_a_single_node_cluster_has_an_only_voter() {
    assert!(joint(&[1], &[]).is_only(id(1)));
    assert!(!joint(&[1], &[]).is_only(id(2)));
    assert!(!joint(&[1, 2], &[]).is_only(id(1)));
    assert!(!joint(&[1], &[1]).is_only(id(1)), "both halves must be left first");
    assert!(!joint(&[], &[]).is_only(id(1)));
}

// -- everything there is, while it is small

#[test]
fn every_small_joint_quorum_commits_what_brute_force_commits() {
    for acked in all_tables(4, 4) {
        let acked: Vec<u64> = acked.iter().map(|index| u64::try_from(*index).unwrap()).collect();
        let by_index = indexes(&acked);
        for incoming in subsets(4) {
            for outgoing in subsets(4) {
                let expected = naive_committed(&[set(&incoming), set(&outgoing)], &acked);
                let given = joint(&incoming, &outgoing).committed_index(by_id(&by_index));
                assert_eq!(given.map(Index::get), expected, "{incoming:?} {outgoing:?} {acked:?}");
            }
        }
    }
}

#[test]
fn every_small_joint_vote_stands_as_brute_force_says() {
    let cast = [None, Some(false), Some(true)];
    for votes in all_tables(3, 4) {
        let votes: Vec<Option<bool>> = votes.iter().map(|vote| cast[*vote]).collect();
        for incoming in subsets(4) {
            for outgoing in subsets(4) {
                let expected = naive_vote(&[set(&incoming), set(&outgoing)], &votes);
                let quorum = joint(&incoming, &outgoing);
                assert_eq!(
                    quorum.vote_result(by_id(&votes)),
                    expected,
                    "{incoming:?} {outgoing:?} {votes:?}"
                );
            }
        }
    }
}

#[test]
fn any_two_quorums_of_one_configuration_overlap() {
    // What all of Raft's safety rests on (§5.4.3).
    for incoming in subsets(4).into_iter().filter(|half| !half.is_empty()) {
        for outgoing in subsets(4) {
            let quorum = joint(&incoming, &outgoing);
            let quorums: Vec<Vec<u64>> = subsets(4)
                .into_iter()
                .filter(|members| quorum.is_quorum(|id| members.contains(&id.get())))
                .collect();
            assert!(!quorums.is_empty(), "all of them are one");
            for a in &quorums {
                assert!(quorums.iter().all(|b| a.iter().any(|n| b.contains(n))), "{incoming:?} {outgoing:?}");
            }
        }
    }
}

#[test]
fn with_two_groups_every_small_quorum_commits_what_a_quorum_of_two_groups_has() {
    for acked in all_tables(3, 4) {
        let acked: Vec<u64> = acked.iter().map(|index| u64::try_from(*index).unwrap()).collect();
        for groups in all_tables(3, 4) {
            for voters in subsets(4) {
                let group = |n: u64| u64::try_from(groups[usize::try_from(n).unwrap() - 1]).unwrap();
                let acks = |n: u64| acked[usize::try_from(n).unwrap() - 1];
                let in_two = |threshold: u64| {
                    let holders: Vec<u64> =
                        voters.iter().copied().filter(|n| acks(*n) >= threshold).collect();
                    let spanned: BTreeSet<u64> =
                        holders.iter().map(|n| group(*n)).filter(|g| *g != 0).collect();
                    holders.len() * 2 > voters.len() && spanned.len() >= 2
                };
                let quorum = majority(&voters);
                for threshold in 0..3 {
                    let member = |id: NodeId| (acks(id.get()) >= threshold).then(|| group(id.get()));
                    let expected = voters.is_empty() || in_two(threshold);
                    assert_eq!(quorum.is_group_quorum(member), expected, "{voters:?} {acked:?} {groups:?}");
                }
                if let Some(expected) = (0..3).rev().find(|threshold| in_two(*threshold)) {
                    let given =
                        quorum.group_committed_index(|id| (Index::new(acks(id.get())), group(id.get())));
                    assert_eq!(given.map(Index::get), Some(expected), "{voters:?} {acked:?} {groups:?}");
                }
            }
        }
    }
}

#[test]
fn each_half_of_a_joint_configuration_needs_its_two_groups() {
    let quorum = joint(&[1, 2, 3], &[3, 4, 5]);
    let held = |by: &'static [(u64, u64)]| {
        move |id: NodeId| by.iter().find(|(n, _)| *n == id.get()).map(|(_, group)| *group)
    };
    assert!(quorum.is_group_quorum(held(&[(1, 1), (3, 2), (4, 1)])));
    assert!(!quorum.is_group_quorum(held(&[(1, 1), (3, 2), (4, 2)])), "the outgoing half is of one group");
    assert!(!quorum.is_group_quorum(held(&[(1, 1), (3, 2)])), "of the outgoing half it is no quorum");
    assert!(joint(&[1, 3], &[]).is_group_quorum(held(&[(1, 1), (3, 2)])), "there is no outgoing half");
}

#[test]
fn by_groups_a_joint_configuration_commits_what_both_halves_do() {
    // Of each half two groups hold as much as the second best of it.
    let acks = [(9, 1), (7, 2), (5, 1), (3, 2), (1, 1)];
    let acked = |id: NodeId| {
        let (index, group) = by_id(&acks)(id);
        (Index::new(index), group)
    };
    let committed = |incoming: &[u64], outgoing: &[u64]| {
        joint(incoming, outgoing).group_committed_index(acked).map(Index::get)
    };
    assert_eq!(committed(&[1, 2, 3], &[3, 4, 5]), Some(3));
    assert_eq!(committed(&[3, 4, 5], &[1, 2, 3]), Some(3));
    assert_eq!(committed(&[1, 2, 3], &[]), Some(7));
    assert_eq!(committed(&[], &[]), None);
}

// -- larger ones, at random

const NODES: usize = 14;

/// Up to 12 distinct voters, and some of them twice: past 9 the search leaves its inline buffer.
fn half() -> impl Strategy<Value = Vec<u64>> {
    let distinct = proptest::sample::subsequence((1..=14).collect::<Vec<u64>>(), 0..=12).prop_shuffle();
    (distinct, vec(any::<proptest::sample::Index>(), 0..3)).prop_map(|(mut voters, repeated)| {
        for at in repeated {
            if !voters.is_empty() {
                voters.push(*at.get(&voters));
            }
        }
        voters
    })
}

proptest! {
    #[test]
    fn the_committed_index_is_that_of_brute_force(
        incoming in half(),
        outgoing in half(),
        acked in vec(0_u64..20, NODES),
    ) {
        let by_index = indexes(&acked);
        let given = joint(&incoming, &outgoing).committed_index(by_id(&by_index));
        prop_assert_eq!(given.map(Index::get), naive_committed(&[set(&incoming), set(&outgoing)], &acked));
        let given = majority(&incoming).committed_index(by_id(&by_index));
        prop_assert_eq!(given.map(Index::get), naive_committed(&[set(&incoming)], &acked));
    }

    #[test]
    fn a_vote_stands_as_brute_force_says(
        incoming in half(),
        outgoing in half(),
        votes in vec(prop_oneof![1 => Just(None), 3 => any::<bool>().prop_map(Some)], NODES),
    ) {
        let given = joint(&incoming, &outgoing).vote_result(by_id(&votes));
        prop_assert_eq!(given, naive_vote(&[set(&incoming), set(&outgoing)], &votes));
        let given = majority(&incoming).vote_result(by_id(&votes));
        prop_assert_eq!(given, naive_vote(&[set(&incoming)], &votes));
    }

    #[test]
    fn the_voters_are_those_of_both_halves_in_order_each_once(incoming in half(), outgoing in half()) {
        let quorum = joint(&incoming, &outgoing);
        let expected: BTreeSet<u64> = incoming.iter().chain(&outgoing).copied().collect();
        prop_assert!(quorum.voters().map(NodeId::get).eq(expected.iter().copied()));
        for n in 1..=14 {
            prop_assert_eq!(quorum.contains(id(n)), expected.contains(&n));
            prop_assert_eq!(quorum.incoming.contains(id(n)), incoming.contains(&n));
        }
        prop_assert_eq!(quorum.incoming.is_empty(), incoming.is_empty());
    }
}
