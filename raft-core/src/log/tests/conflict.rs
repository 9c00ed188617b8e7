//! The fast back-off (§5.3), against a search through everything and between two whole logs.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{Index, LogPosition, Term};

use super::super::conflict::last_not_above;
use super::{at, log_of, position};
use crate::storage::{Inconsistency, StorageError};

/// A log with these terms of which everything before `before` is compacted away.
struct Terms<'a> {
    terms: &'a [u64],
    before: u64,
}

impl Terms<'_> {
    fn term(&self, index: Index) -> Result<Term, StorageError> {
        if index < at(self.before) {
            return Err(StorageError::Compacted);
        }
        if index.is_zero() {
            return Ok(Term::ZERO);
        }
        let place = usize::try_from(index.get() - 1).unwrap();
        self.terms.get(place).map(|term| Term::new(*term)).ok_or(StorageError::Unavailable)
    }

    fn last(&self) -> u64 {
        u64::try_from(self.terms.len()).unwrap()
    }

    /// The twin: of all indexes up to `from`, the largest that isn't known to have a term above `term`.
    fn naive(&self, from: u64, term: u64) -> LogPosition {
        let possible = |index: &u64| self.term(at(*index)).is_ok_and(|own| own.get() > term);
        let index = (0..=from).filter(|index| !possible(index)).max().unwrap_or(0);
        LogPosition::new(self.term(at(index)).unwrap_or(Term::ZERO), at(index))
    }

    fn search(&self, from: Index, term: Term) -> LogPosition {
        last_not_above(from, term, |index| self.term(index)).unwrap()
    }
}

/// All logs of up to `len` entries with terms of 1 to `top`.
fn all_logs(len: usize, top: u64) -> Vec<Vec<u64>> {
    let mut logs = Vec::from([Vec::new()]);
    let mut grown = logs.clone();
    for _ in 0..len {
        grown = grown
            .iter()
            .flat_map(|log: &Vec<u64>| {
                let least = log.last().copied().unwrap_or(1);
                (least..=top).map(|term| log.iter().copied().chain([term]).collect())
            })
            .collect();
        logs.extend(grown.iter().cloned());
    }
    logs
}

#[test]
fn the_example_of_the_module_finds_the_agreement() {
    let leader = [1, 3, 3, 3, 5, 5, 5, 5, 5];
    let follower = [1, 1, 1, 1, 2, 2];
    let hint = Terms { terms: &follower, before: 0 }.search(at(6), Term::new(5));
    assert_eq!(hint, position(2, 6));
    let agree = Terms { terms: &leader, before: 0 }.search(hint.index, hint.term);
    assert_eq!(agree, position(1, 1));
}

#[test]
fn every_small_log_is_searched_as_by_the_twin() {
    for terms in all_logs(6, 3) {
        for before in 0..=u64::try_from(terms.len()).unwrap() {
            let log = Terms { terms: &terms, before };
            for from in 0..9 {
                for term in 0..5 {
                    let found = log.search(at(from), Term::new(term));
                    assert_eq!(found, log.naive(from, term), "{terms:?} before {before} from {from}/{term}");
                }
            }
        }
    }
}

#[test]
fn what_is_compacted_away_is_named_without_a_term() {
    let log = Terms { terms: &[1, 1, 3, 3, 3], before: 3 };
    assert_eq!(log.search(at(5), Term::new(2)), LogPosition::new(Term::ZERO, at(2)));
    assert_eq!(log.search(at(5), Term::new(3)), position(3, 5));
}

#[test]
fn the_end_of_a_log_that_is_searched_from_beyond_is_not_known() {
    let log = Terms { terms: &[1, 1], before: 0 };
    assert_eq!(
        log.search(Index::new(u64::MAX), Term::new(1)),
        LogPosition::new(Term::ZERO, Index::new(u64::MAX))
    );
}

#[test]
fn the_search_ends_at_zero_even_if_zero_has_a_term() {
    let found = last_not_above(at(4), Term::ZERO, |_| Ok(Term::new(9))).unwrap();
    assert_eq!(found, position(9, 0));
}

#[test]
fn a_storage_that_fails_ends_the_search() {
    let errors: [fn() -> StorageError; 4] = [
        || StorageError::Fetching,
        || StorageError::SnapshotTemporarilyUnavailable,
        || StorageError::Inconsistent(Inconsistency::OutOfRange),
        || StorageError::Other("disk on fire".into()),
    ];
    for error in errors {
        let term_at = |index: Index| if index < at(3) { Err(error()) } else { Ok(Term::new(9)) };
        let found = last_not_above(at(5), Term::new(1), term_at).unwrap_err();
        assert_eq!(std::format!("{found:?}"), std::format!("{:?}", error()));
    }
}

#[test]
fn the_log_is_searched_across_its_stored_and_its_unstable_part() {
    let log = log_of(&[1, 2, 2], &[4, 4]);
    for (term, expected) in [(0, (0, 0)), (1, (1, 1)), (2, (2, 3)), (3, (2, 3)), (4, (4, 5))] {
        assert_eq!(log.last_not_above(at(5), Term::new(term)).unwrap(), position(expected.0, expected.1));
    }
}

proptest! {
    /// The dialogue of a leader that probes with a follower that rejects: they find the last entry on which they
    /// agree, in no more round trips than there are terms to skip.
    #[test]
    fn two_logs_find_where_they_agree_in_a_round_trip_for_each_term(
        common in vec(0_u64..2, 0..8),
        leaders in vec(0_u64..2, 0..12),
        followers in vec(0_u64..2, 0..12),
        next in any::<proptest::sample::Index>(),
    ) {
        // Behind the common part the leader's terms are even and the follower's odd: no entry is in both logs.
        let grow = |log: &mut Vec<u64>, steps: &[u64], parity: u64| {
            for step in steps {
                let last = log.last().copied().unwrap_or(2);
                log.push(last + step * 2 + (last + parity) % 2);
            }
        };
        let mut leader = Vec::new();
        grow(&mut leader, &common, 0);
        let agreed = u64::try_from(leader.len()).unwrap();
        let mut follower = leader.clone();
        grow(&mut leader, &leaders, 0);
        grow(&mut follower, &followers, 1);
        let skipped: BTreeSet<u64> = leader.iter().chain(&follower).copied().collect();

        let (leader, follower) = (Terms { terms: &leader, before: 0 }, Terms { terms: &follower, before: 0 });
        // The leader may probe anywhere behind what they agree on.
        let spread = usize::try_from(leader.last() - agreed).unwrap() + 1;
        let mut next = agreed + 1 + u64::try_from(next.index(spread)).unwrap();
        let mut round_trips = 0;
        loop {
            let prev = at(next - 1);
            let prev_term = leader.term(prev).unwrap();
            if follower.term(prev).is_ok_and(|own| own == prev_term) {
                break;
            }
            let hint = follower.search(prev.min(at(follower.last())), prev_term);
            let agree = leader.search(hint.index, hint.term);
            prop_assert!(hint.index >= at(agreed) && agree.index >= at(agreed), "skipped too much");
            let lower = prev.min(agree.index.next()).get();
            prop_assert!(lower < next, "no progress");
            next = lower;
            round_trips += 1;
        }
        prop_assert_eq!(next - 1, agreed);
        prop_assert!(round_trips <= skipped.len(), "{} round trips", round_trips);
    }
}
