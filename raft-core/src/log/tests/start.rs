//! What a node starts from is checked: each way in which it can be wrong has a name.

use std::ops::Range;
use std::string::ToString;
use std::vec::Vec;

use proptest::prelude::*;
use raft_proto::{ConfState, Entries, HardState, Index, LogPosition, NodeId, Snapshot, Term};

use super::{at, config, id, position, stored};
use crate::config::{Config, ConfigError};
use crate::error::StartError;
use crate::membership::ConfStateError;
use crate::raw_node::RawNode;
use crate::storage::{Inconsistency, InitialState, MemoryStorage, Storage, StorageError};

fn hard_state(term: u64, commit: u64) -> HardState {
    HardState { term: Term::new(term), vote: None, commit: at(commit) }
}

/// Starts a node over entries of these terms behind `before`.
fn start(
    before: LogPosition,
    terms: &[u64],
    hard_state: HardState,
    applied: u64,
) -> Result<RawNode<MemoryStorage>, StartError> {
    let mut storage = stored(before, terms);
    storage.set_hard_state(hard_state);
    RawNode::new(Config { applied: at(applied), ..config() }, storage)
}

fn refusal(before: LogPosition, terms: &[u64], hard_state: HardState, applied: u64) -> StartError {
    let error = start(before, terms, hard_state, applied).map(|_| ()).unwrap_err();
    assert!(!error.to_string().is_empty());
    error
}

#[test]
fn a_node_starts_from_what_it_stored() {
    let node = start(position(2, 3), &[2, 3], hard_state(4, 5), 4).unwrap();
    assert_eq!((node.term(), node.commit_index(), node.applied_index()), (Term::new(4), at(5), at(4)));
    assert_eq!(node.last_index(), at(5));
}

#[test]
fn a_log_that_begins_with_a_snapshot_may_name_a_term_above_the_nodes() {
    assert!(start(position(2, 3), &[], hard_state(0, 0), 0).is_ok());
    assert!(start(position(2, 3), &[2], hard_state(1, 0), 0).is_err());
}

#[test]
fn a_commit_index_beyond_the_log_is_refused() {
    // Entries that were durable are gone.
    let error = refusal(position(2, 3), &[2], hard_state(2, 5), 0);
    let StartError::CommitOutsideLog { commit, before, last } = error else { panic!("{error:?}") };
    assert_eq!((commit, before, last), (at(5), at(3), at(4)));
}

#[test]
fn a_term_below_that_of_the_log_is_refused() {
    let error = refusal(LogPosition::ZERO, &[1, 3], hard_state(2, 1), 0);
    let StartError::TermBelowLog { term, last } = error else { panic!("{error:?}") };
    assert_eq!((term, last), (Term::new(2), Term::new(3)));
}

#[test]
fn an_applied_index_outside_of_the_stored_log_is_refused() {
    for wrong in [2, 6] {
        let error = refusal(position(2, 3), &[2, 2], hard_state(2, 4), wrong);
        let StartError::AppliedOutsideLog { applied, before, last } = error else { panic!("{error:?}") };
        assert_eq!((applied, before, last), (at(wrong), at(3), at(5)));
    }
    for right in [0, 3, 4, 5] {
        assert!(start(position(2, 3), &[2, 2], hard_state(2, 4), right).is_ok(), "{right}");
    }
}

#[test]
fn what_was_applied_was_committed_even_if_that_was_not_written() {
    let log = start(position(2, 3), &[2, 2], hard_state(2, 4), 5).unwrap();
    assert_eq!((log.commit_index(), log.applied_index()), (at(5), at(5)));
}

#[test]
fn a_stored_membership_that_is_not_valid_is_refused() {
    let storage = MemoryStorage::with_conf_state(ConfState::of_voters([id(1), id(1)]));
    let error = RawNode::new(config(), storage).map(|_| ()).unwrap_err();
    assert!(matches!(error, StartError::ConfState(ConfStateError::Repeated(node)) if node == id(1)));
}

#[test]
fn a_hard_state_beyond_the_limits_is_refused() {
    for hard_state in [hard_state(Term::LIMIT.get() + 1, 0), hard_state(1, Index::LIMIT.get() + 1)] {
        let error = refusal(LogPosition::ZERO, &[], hard_state, 0);
        assert!(matches!(error, StartError::Storage(StorageError::Inconsistent(Inconsistency::OutOfRange))));
    }
}

/// A storage without so much as an initial state.
struct Unreadable;

impl Storage for Unreadable {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        Err(StorageError::Other("disk on fire".into()))
    }
    fn first_index(&self) -> Result<Index, StorageError> {
        Err(StorageError::Fetching)
    }
    fn last_index(&self) -> Result<Index, StorageError> {
        Err(StorageError::Fetching)
    }
    fn term(&self, _: Index) -> Result<Term, StorageError> {
        Err(StorageError::Fetching)
    }
    fn entries(&self, _: Range<Index>, _: u64) -> Result<Entries, StorageError> {
        Err(StorageError::Fetching)
    }
    fn snapshot(&self, _: Index, _: NodeId) -> Result<Snapshot, StorageError> {
        Err(StorageError::Fetching)
    }
}

#[test]
fn a_storage_that_cannot_be_read_is_refused() {
    let error = RawNode::new(config(), Unreadable).map(|_| ()).unwrap_err();
    assert!(matches!(error, StartError::Storage(StorageError::Other(_))));
}

#[test]
fn every_rule_of_the_settings_has_its_refusal() {
    type Change = fn(&mut Config);
    let cases: [(Change, ConfigError); 12] = [
        (|config| config.heartbeat_ticks = 0, ConfigError::NoHeartbeat),
        (|config| config.heartbeat_ticks = 10, ConfigError::ElectionNotAboveHeartbeat),
        (|config| config.election_ticks = 0, ConfigError::ElectionNotAboveHeartbeat),
        (|config| config.election_ticks = 1_000_001, ConfigError::ElectionTooLong),
        (|config| config.max_inflight_messages = 0, ConfigError::NothingInFlight),
        (|config| config.max_inflight_bytes = 0, ConfigError::NothingInFlight),
        (|config| config.max_committed_bytes = 0, ConfigError::NothingCommitted),
        (|config| config.max_uncommitted_bytes = 0, ConfigError::NothingUncommitted),
        (
            |config| (config.lease_reads, config.check_quorum) = (true, false),
            ConfigError::LeaseNeedsCheckQuorum,
        ),
        (
            |config| (config.lease_reads, config.lease_drift_ticks) = (true, 9),
            ConfigError::DriftLeavesNoLease,
        ),
        (
            |config| (config.lease_reads, config.lease_drift_ticks) = (true, u32::MAX),
            ConfigError::DriftLeavesNoLease,
        ),
        (|config| config.applied = Index::LIMIT.next(), ConfigError::AppliedOutOfRange),
    ];
    for (change, expected) in cases {
        let mut config = config();
        assert_eq!(config.validate(), Ok(()));
        change(&mut config);
        let error = RawNode::new(config, MemoryStorage::with_voters([id(1)])).map(|_| ()).unwrap_err();
        assert!(matches!(error, StartError::Config(error) if error == expected), "{expected:?}: {error:?}");
        assert!(!expected.to_string().is_empty());
    }
}

#[test]
fn the_outermost_settings_are_allowed() {
    let changes: [fn(&mut Config); 4] = [
        |config| (config.heartbeat_ticks, config.election_ticks) = (1, 2),
        |config| config.election_ticks = 1_000_000,
        |config| (config.lease_reads, config.lease_drift_ticks) = (true, 8),
        |config| config.max_message_bytes = 0,
    ];
    for change in changes {
        let mut config = config();
        change(&mut config);
        assert_eq!(config.validate(), Ok(()));
    }
}

proptest! {
    #[test]
    fn a_node_starts_exactly_if_its_state_makes_sense(
        before in 0_u64..4,
        steps in proptest::collection::vec(0_u64..2, 0..4),
        term in 0_u64..5,
        commit in 0_u64..9,
        applied in 0_u64..9,
    ) {
        let mut top = 1;
        let terms: Vec<u64> = steps.iter().map(|step| { top += step; top }).collect();
        let last = before + u64::try_from(terms.len()).unwrap();
        let before_term = if before == 0 { 0 } else { 1 };
        let started = start(position(before_term, before), &terms, hard_state(term, commit), applied);

        let known = commit.max(before).max(applied);
        let makes_sense = commit <= last
            && (terms.is_empty() || term >= top)
            && (applied == 0 || (before <= applied && applied <= last));
        match started {
            Ok(node) => {
                prop_assert!(makes_sense);
                prop_assert_eq!(node.commit_index(), at(known));
                prop_assert_eq!(node.applied_index(), at(applied.max(before)));
                prop_assert_eq!(node.check_invariants(), Ok(()));
            }
            Err(error) => prop_assert!(!makes_sense, "{}", error),
        }
    }
}
