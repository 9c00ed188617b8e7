//! Which stored configurations are valid, against plain set logic.

#![allow(clippy::arithmetic_side_effects)]

mod changer;

use std::collections::BTreeSet;
use std::string::ToString;
use std::vec::Vec;

use proptest::prelude::*;
use raft_proto::{ConfState, NodeId};

use super::{ConfStateError, Configuration};

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn ids(numbers: &[u64]) -> Vec<NodeId> {
    numbers.iter().map(|n| id(*n)).collect()
}

fn conf_state(
    voters: &[u64],
    learners: &[u64],
    outgoing: &[u64],
    learners_next: &[u64],
    auto_leave: bool,
) -> ConfState {
    ConfState {
        voters: ids(voters),
        learners: ids(learners),
        voters_outgoing: ids(outgoing),
        learners_next: ids(learners_next),
        auto_leave,
    }
}

fn refusal(state: &ConfState) -> ConfStateError {
    Configuration::from_conf_state(state).unwrap_err()
}

/// All the rules that this configuration breaks, each with every node that breaks it.
fn broken_rules(state: &ConfState) -> Vec<ConfStateError> {
    let set = |list: &[NodeId]| list.iter().copied().collect::<BTreeSet<NodeId>>();
    let (voters, learners) = (set(&state.voters), set(&state.learners));
    let (outgoing, next) = (set(&state.voters_outgoing), set(&state.learners_next));
    let mut broken = Vec::new();
    for list in [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next] {
        for id in list.iter().filter(|id| list.iter().filter(|other| other == id).count() > 1) {
            broken.push(ConfStateError::Repeated(*id));
        }
    }
    if voters.is_empty() && (!outgoing.is_empty() || !learners.is_empty()) {
        broken.push(ConfStateError::NoVoters);
    }
    broken.extend(
        learners
            .iter()
            .filter(|id| voters.contains(*id) || outgoing.contains(*id))
            .chain(next.intersection(&voters))
            .map(|id| ConfStateError::LearnerVotes(*id)),
    );
    broken.extend(next.difference(&outgoing).map(|id| ConfStateError::LearnerNextIsNotLeaving(*id)));
    if state.auto_leave && outgoing.is_empty() {
        broken.push(ConfStateError::NothingToLeave);
    }
    broken
}

/// A valid configuration answers as its lists do; an invalid one is refused for a rule that it does break.
fn check(state: &ConfState) {
    let broken = broken_rules(state);
    let configuration = match Configuration::from_conf_state(state) {
        Ok(configuration) => configuration,
        Err(error) => {
            assert!(broken.contains(&error), "{state:?} refused with {error:?}, breaks {broken:?}");
            return;
        }
    };
    assert_eq!(broken, [], "{state:?} accepted");
    let mut sorted = state.clone();
    for list in
        [&mut sorted.voters, &mut sorted.learners, &mut sorted.voters_outgoing, &mut sorted.learners_next]
    {
        list.sort();
    }
    assert_eq!(configuration.to_conf_state(), sorted);
    assert_eq!(Configuration::from_conf_state(&sorted), Ok(configuration.clone()));
    assert_eq!(configuration.learners(), sorted.learners);
    let mut members = BTreeSet::new();
    for n in 1..=5 {
        let votes = state.voters.contains(&id(n)) || state.voters_outgoing.contains(&id(n));
        let learns = state.learners.contains(&id(n));
        assert_eq!(configuration.is_voter(id(n)), votes, "{n} in {state:?}");
        assert_eq!(configuration.voters().contains(id(n)), votes, "{n} in {state:?}");
        assert_eq!(configuration.is_learner(id(n)), learns, "{n} in {state:?}");
        assert_eq!(configuration.contains(id(n)), votes || learns, "{n} in {state:?}");
        if votes || learns {
            members.insert(id(n));
        }
    }
    assert!(configuration.members().into_iter().eq(members), "{state:?}");
    assert_eq!(configuration.voters().is_joint(), !state.voters_outgoing.is_empty());
}

#[test]
fn every_rule_of_a_configuration_has_its_refusal() {
    let cases = [
        (conf_state(&[1, 2, 1], &[], &[], &[], false), ConfStateError::Repeated(id(1))),
        (conf_state(&[1], &[2, 2], &[], &[], false), ConfStateError::Repeated(id(2))),
        (conf_state(&[1], &[], &[3, 2, 3], &[], false), ConfStateError::Repeated(id(3))),
        (conf_state(&[1], &[], &[2], &[2, 2], false), ConfStateError::Repeated(id(2))),
        (conf_state(&[], &[1], &[], &[], false), ConfStateError::NoVoters),
        (conf_state(&[], &[], &[1], &[], false), ConfStateError::NoVoters),
        (conf_state(&[1, 2], &[2], &[], &[], false), ConfStateError::LearnerVotes(id(2))),
        (conf_state(&[1], &[2], &[2], &[], false), ConfStateError::LearnerVotes(id(2))),
        (conf_state(&[1, 2], &[], &[2], &[2], false), ConfStateError::LearnerVotes(id(2))),
        (conf_state(&[1], &[], &[], &[2], false), ConfStateError::LearnerNextIsNotLeaving(id(2))),
        (conf_state(&[], &[], &[], &[2], false), ConfStateError::LearnerNextIsNotLeaving(id(2))),
        (conf_state(&[1], &[3], &[2], &[3], false), ConfStateError::LearnerNextIsNotLeaving(id(3))),
        (conf_state(&[1], &[], &[], &[], true), ConfStateError::NothingToLeave),
        (conf_state(&[], &[], &[], &[], true), ConfStateError::NothingToLeave),
    ];
    for (state, error) in cases {
        assert_eq!(refusal(&state), error, "{state:?}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_node_that_is_to_join_has_the_empty_configuration() {
    let configuration = Configuration::from_conf_state(&ConfState::default()).unwrap();
    assert_eq!(configuration, Configuration::default());
    assert!(configuration.members().is_empty());
}

#[test]
fn a_voter_that_becomes_a_learner_votes_until_the_joint_configuration_is_left() {
    // Thesis §4.3: until then the outgoing half decides too.
    let state = conf_state(&[1, 2], &[4], &[1, 2, 3], &[3], true);
    let configuration = Configuration::from_conf_state(&state).unwrap();
    assert!(configuration.is_voter(id(3)));
    assert!(!configuration.is_learner(id(3)));
    assert_eq!(configuration.members(), ids(&[1, 2, 3, 4]));
}

#[test]
fn of_all_sets_of_three_nodes_exactly_the_valid_ones_are_accepted() {
    let mut accepted = 0;
    for bits in 0..1_u64 << 13 {
        let list =
            |list: u64| (1..=3).filter(|n| bits >> (4 * (n - 1) + list) & 1 == 1).collect::<Vec<u64>>();
        let state = conf_state(&list(0), &list(1), &list(2), &list(3), bits >> 12 == 1);
        check(&state);
        accepted += usize::from(Configuration::from_conf_state(&state).is_ok());
    }
    // Of the sixteen sets of lists that a node can be in, six are possible: none, V, L, O, V+O, O+N.
    let possible = 6_usize.pow(3);
    let (without_voters, only_left_over) = (4_usize.pow(3), 1);
    let valid = possible - without_voters + only_left_over;
    let not_joint = 3_usize.pow(3) - 2_usize.pow(3) + 1;
    assert_eq!(accepted, valid + (valid - not_joint), "the joint ones with either auto_leave");
}

proptest! {
    #[test]
    fn lists_in_any_order_and_with_repetitions_are_judged_alike(
        lists in proptest::collection::vec(proptest::collection::vec(1_u64..=5, 0..4), 4),
        auto_leave: bool,
    ) {
        check(&conf_state(&lists[0], &lists[1], &lists[2], &lists[3], auto_leave));
    }

    /// Each node gets one of the places that it can have, so that most of these are valid.
    #[test]
    fn valid_configurations_survive_the_round_trip(
        places in proptest::collection::vec(0_u8..6, 5),
        order in Just((1_u64..=5).collect::<Vec<u64>>()).prop_shuffle(),
        auto_leave: bool,
    ) {
        let at = |wanted: &[u8]| {
            let place = |n: &u64| places[usize::try_from(*n).unwrap() - 1];
            order.iter().copied().filter(|n| wanted.contains(&place(n))).collect::<Vec<u64>>()
        };
        check(&conf_state(&at(&[1, 2]), &at(&[3]), &at(&[2, 4, 5]), &at(&[5]), auto_leave));
    }
}
