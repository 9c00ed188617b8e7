//! Changes of a configuration, against a dumb twin: what becomes of a node depends on nothing but where it was and on the
//! last thing that the change says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::string::ToString;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{
    ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ConfState, NodeId,
};

use super::{conf_state, id, ids};
use crate::membership::{ConfChangeError, Configuration};
use ConfChangeKind::{AddLearner, AddVoter, Remove, Update};

fn configuration(state: &ConfState) -> Configuration {
    Configuration::from_conf_state(state).unwrap()
}

fn singles(changes: &[(ConfChangeKind, u64)]) -> Vec<ConfChangeSingle> {
    changes.iter().map(|(kind, node)| ConfChangeSingle { kind: *kind, node: NodeId::new(*node) }).collect()
}

fn change(transition: ConfChangeTransition, changes: &[(ConfChangeKind, u64)]) -> ConfChangeV2 {
    ConfChangeV2 { transition, changes: singles(changes), ..ConfChangeV2::default() }
}

fn auto(changes: &[(ConfChangeKind, u64)]) -> ConfChangeV2 {
    change(ConfChangeTransition::Auto, changes)
}

/// What follows, as it would be stored.
fn after(state: &ConfState, change: &ConfChangeV2) -> Result<ConfState, ConfChangeError> {
    configuration(state).apply(change).map(|next| next.to_conf_state())
}

// -- the twin

/// Where a node is: in the incoming half, in the outgoing half, learning, learning when the outgoing half is left.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    incoming: bool,
    outgoing: bool,
    learns: bool,
    learns_next: bool,
}

type Places = BTreeMap<u64, Place>;

fn places(state: &ConfState) -> Places {
    let of = |n: u64| Place {
        incoming: state.voters.contains(&id(n)),
        outgoing: state.voters_outgoing.contains(&id(n)),
        learns: state.learners.contains(&id(n)),
        learns_next: state.learners_next.contains(&id(n)),
    };
    (1..=9).map(|n| (n, of(n))).collect()
}

fn stored(places: &Places, auto_leave: bool) -> ConfState {
    let all = |is: fn(&Place) -> bool| {
        places.iter().filter(|(_, place)| is(place)).map(|(n, _)| *n).collect::<Vec<u64>>()
    };
    conf_state(
        &all(|place| place.incoming),
        &all(|place| place.learns),
        &all(|place| place.outgoing),
        &all(|place| place.learns_next),
        auto_leave,
    )
}

/// The last word of the change on this node.
fn last_word(change: &ConfChangeV2, n: u64) -> Option<ConfChangeKind> {
    let of_node = change.changes.iter().filter(|single| single.node == Some(id(n)));
    of_node.map(|single| single.kind).rfind(|kind| *kind != Update)
}

fn twin(state: &ConfState, change: &ConfChangeV2) -> Result<ConfState, ConfChangeError> {
    let joint = !state.voters_outgoing.is_empty();
    let leaves = change.changes.is_empty() && change.transition == ConfChangeTransition::Auto;
    let simple = change.changes.len() == 1 && change.transition == ConfChangeTransition::Auto;
    let mut next = places(state);
    if leaves {
        if !joint {
            return Err(ConfChangeError::NotJoint);
        }
        for place in next.values_mut() {
            let learns = place.learns || place.learns_next;
            *place = Place { incoming: place.incoming, learns, ..Place::default() };
        }
        return Ok(stored(&next, false));
    }
    if joint {
        return Err(if simple { ConfChangeError::JointPending } else { ConfChangeError::AlreadyJoint });
    }
    if !simple && state.voters.is_empty() {
        return Err(ConfChangeError::NoVotersToLeave);
    }
    for (n, place) in &mut next {
        let outgoing = place.incoming && !simple;
        let Place { incoming, learns, .. } = *place;
        *place = match last_word(change, *n) {
            None => Place { incoming, outgoing, learns, learns_next: false },
            Some(AddVoter) => Place { incoming: true, outgoing, ..Place::default() },
            Some(AddLearner) => Place { incoming: false, outgoing, learns: !outgoing, learns_next: outgoing },
            Some(Remove | Update) => Place { outgoing, ..Place::default() },
        };
    }
    if next.values().all(|place| !place.incoming) {
        return Err(ConfChangeError::NoVotersLeft);
    }
    let before = places(state);
    if simple && (1..=9).filter(|n| before[n].incoming != next[n].incoming).count() > 1 {
        return Err(ConfChangeError::MoreThanOneVoter);
    }
    Ok(stored(&next, !simple && change.transition != ConfChangeTransition::JointExplicit))
}

/// Who was a member and out for a moment. A voter of the outgoing half is in all the time.
fn renewed_twin(state: &ConfState, change: &ConfChangeV2) -> Vec<NodeId> {
    let simple = change.changes.len() == 1 && change.transition == ConfChangeTransition::Auto;
    let leaves = change.changes.is_empty() && change.transition == ConfChangeTransition::Auto;
    let renewed = |n: &u64| {
        let place = places(state)[n];
        let kept = place.outgoing || (place.incoming && !simple && !leaves);
        let words: Vec<ConfChangeKind> =
            change.changes.iter().filter(|single| single.node == Some(id(*n))).map(|s| s.kind).collect();
        let removed = words.iter().position(|kind| *kind == Remove);
        let again = words.iter().rposition(|kind| matches!(kind, AddVoter | AddLearner));
        place != Place::default() && !kept && removed.is_some() && removed < again
    };
    (1..=9).filter(renewed).map(id).collect()
}

// -- quorums by brute force

fn is_quorum(state: &ConfState, set: u32) -> bool {
    [&state.voters, &state.voters_outgoing].iter().all(|half| {
        let count = half.iter().filter(|id| set >> id.get() & 1 == 1).count();
        half.is_empty() || 2 * count > half.len()
    })
}

/// No quorum of one is without a node of each quorum of the other: what is left of a quorum is no quorum there.
fn quorums_meet(old: &ConfState, new: &ConfState) -> bool {
    let sets = || (0..1_u32 << 7).filter(|set| set & 1 == 0);
    sets().all(|set| !is_quorum(old, set) || !is_quorum(new, !set & 0b111_1110))
}

// -- the rules by name

#[test]
fn a_voter_comes_and_goes_one_at_a_time() {
    let three = conf_state(&[1, 2, 3], &[], &[], &[], false);
    let four = after(&three, &auto(&[(AddVoter, 4)])).unwrap();
    assert_eq!(four, conf_state(&[1, 2, 3, 4], &[], &[], &[], false));
    assert_eq!(after(&four, &auto(&[(Remove, 4)])), Ok(three));
}

#[test]
fn several_changes_enter_a_joint_configuration_and_an_empty_one_leaves_it() {
    let three = conf_state(&[1, 2, 3], &[9], &[], &[], false);
    let change = auto(&[(AddVoter, 4), (Remove, 1), (AddVoter, 9)]);
    let joint = after(&three, &change).unwrap();
    assert_eq!(joint, conf_state(&[2, 3, 4, 9], &[], &[1, 2, 3], &[], true));
    assert_eq!(after(&joint, &auto(&[])), Ok(conf_state(&[2, 3, 4, 9], &[], &[], &[], false)));
}

#[test]
fn the_transition_says_how_a_joint_configuration_is_left() {
    let three = conf_state(&[1, 2, 3], &[], &[], &[], false);
    for (transition, auto_leave) in
        [(ConfChangeTransition::JointImplicit, true), (ConfChangeTransition::JointExplicit, false)]
    {
        for changes in [&[][..], &[(AddVoter, 4)]] {
            let joint = after(&three, &change(transition, changes)).unwrap();
            assert_eq!((joint.voters_outgoing, joint.auto_leave), (ids(&[1, 2, 3]), auto_leave));
        }
    }
}

#[test]
fn a_voter_of_the_outgoing_half_learns_only_when_that_is_left() {
    let two = conf_state(&[1, 2], &[], &[], &[], false);
    let joint = after(&two, &change(ConfChangeTransition::JointImplicit, &[(AddLearner, 2)])).unwrap();
    assert_eq!(joint, conf_state(&[1], &[], &[1, 2], &[2], true));
    assert!(!configuration(&joint).is_learner(id(2)));
    assert_eq!(
        after(&joint, &auto(&[])),
        Ok(conf_state(&[1], &[2], &[], &[], false)),
        "it doesn't disappear"
    );
}

#[test]
fn each_rule_of_a_change_has_its_refusal() {
    let one = conf_state(&[1], &[3], &[], &[], false);
    let joint = conf_state(&[1], &[], &[1, 2], &[], true);
    let none = ConfState::default();
    let explicit = ConfChangeTransition::JointExplicit;
    for (state, change, error) in [
        (&one, auto(&[(Remove, 1)]), ConfChangeError::NoVotersLeft),
        (&one, auto(&[(AddLearner, 1)]), ConfChangeError::NoVotersLeft),
        (&one, change(explicit, &[(Remove, 1)]), ConfChangeError::NoVotersLeft),
        (&none, auto(&[(AddLearner, 1)]), ConfChangeError::NoVotersLeft),
        (&joint, change(explicit, &[]), ConfChangeError::AlreadyJoint),
        (&joint, auto(&[(AddVoter, 4), (AddVoter, 5)]), ConfChangeError::AlreadyJoint),
        (&none, change(explicit, &[(AddVoter, 1)]), ConfChangeError::NoVotersToLeave),
        (&one, auto(&[]), ConfChangeError::NotJoint),
        (&none, auto(&[]), ConfChangeError::NotJoint),
        (&joint, auto(&[(AddVoter, 4)]), ConfChangeError::JointPending),
    ] {
        assert_eq!(after(state, &change), Err(error), "{state:?} {change:?}");
        assert!(!error.to_string().is_empty());
    }
    // Two at once, each of which would do alone: an entry can't ask for it, so the function is.
    let three = configuration(&conf_state(&[1, 2, 3], &[], &[], &[], false));
    let two = singles(&[(Remove, 1), (AddVoter, 4)]);
    assert_eq!(three.simple(&two), Err(ConfChangeError::MoreThanOneVoter));
}

#[test]
fn a_change_of_no_node_and_an_update_change_nothing() {
    let state = conf_state(&[1, 2], &[3], &[], &[], false);
    for (kind, node) in [(AddVoter, 0), (Remove, 0), (Update, 1), (Update, 7), (Remove, 7), (AddVoter, 1)] {
        assert_eq!(after(&state, &auto(&[(kind, node)])), Ok(state.clone()), "{kind:?} {node}");
    }
}

#[test]
fn the_older_format_asks_for_a_simple_change() {
    let change = ConfChange { kind: AddVoter, node: NodeId::new(2), ..ConfChange::default() };
    let one = conf_state(&[1], &[], &[], &[], false);
    assert_eq!(after(&one, &change.to_v2()), Ok(conf_state(&[1, 2], &[], &[], &[], false)));
}

#[test]
fn one_who_is_taken_out_and_brought_in_again_is_another() {
    let one = configuration(&conf_state(&[1, 2], &[3], &[], &[], false));
    let again = |node| auto(&[(Remove, node), (AddVoter, node)]);
    assert_eq!(one.renewed_by(&again(3)), ids(&[3]));
    assert_eq!(one.renewed_by(&again(2)), [], "a voter stays in the outgoing half");
    assert_eq!(one.renewed_by(&again(4)), [], "it wasn't in");
    assert_eq!(one.renewed_by(&auto(&[(AddVoter, 3), (Remove, 3)])), []);
}

#[test]
fn without_the_joint_configuration_the_quorums_would_not_meet() {
    // The oracle of the property below sees what it is to see (thesis §4.1).
    let (old, new) =
        (conf_state(&[1, 2, 3], &[], &[], &[], false), conf_state(&[1, 4, 5], &[], &[], &[], false));
    assert!(!quorums_meet(&old, &new));
    let joint = conf_state(&[1, 4, 5], &[], &[1, 2, 3], &[], false);
    assert!(quorums_meet(&old, &joint) && quorums_meet(&joint, &new));
}

// -- properties

fn any_change() -> impl Strategy<Value = ConfChangeV2> {
    let kind = prop_oneof![Just(AddVoter), Just(AddVoter), Just(Remove), Just(AddLearner), Just(Update)];
    let transition = prop_oneof![
        3 => Just(ConfChangeTransition::Auto),
        1 => Just(ConfChangeTransition::JointImplicit),
        1 => Just(ConfChangeTransition::JointExplicit),
    ];
    (transition, vec((kind, 0_u64..=6), 0..4)).prop_map(|(transition, changes)| change(transition, &changes))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// From the first voters on, change by change: each comes to what the twin says, and no two configurations that follow
    /// each other have quorums that don't meet.
    #[test]
    fn a_chain_of_changes_is_what_the_twin_makes_of_it(
        first in proptest::collection::btree_set(1_u64..=6, 0..=6),
        changes in vec(any_change(), 1..12),
    ) {
        let first: Vec<u64> = first.into_iter().collect();
        let mut state = conf_state(&first, &[], &[], &[], false);
        for change in changes {
            let before = configuration(&state);
            let next = after(&state, &change);
            prop_assert_eq!(&next, &twin(&state, &change), "{:?} {:?}", state, change);
            prop_assert_eq!(before.renewed_by(&change), renewed_twin(&state, &change), "{:?} {:?}", state, change);
            if let Ok(next) = next {
                prop_assert!(state.voters.is_empty() || quorums_meet(&state, &next), "{:?} {:?}", state, change);
                let distinct: BTreeSet<NodeId> = configuration(&next).members().into_iter().collect();
                prop_assert_eq!(distinct.len(), configuration(&next).members().len());
                prop_assert_eq!(configuration(&next).leaves_by_itself(), next.auto_leave);
                state = next;
            }
        }
    }

    /// Whatever list a simple change is given.
    #[test]
    fn a_simple_change_never_moves_two_voters(
        voters in proptest::collection::btree_set(1_u64..=6, 1..=6),
        change in any_change(),
    ) {
        let voters: Vec<u64> = voters.into_iter().collect();
        let state = conf_state(&voters, &[], &[], &[], false);
        if let Ok(next) = configuration(&state).simple(&change.changes) {
            let next = next.to_conf_state();
            prop_assert!(!next.voters.is_empty() && quorums_meet(&state, &next), "{:?} {:?}", state, next);
        }
    }
}
