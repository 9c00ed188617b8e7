//! A storage that fails, or lies: refused by name, and nothing has changed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::vec::Vec;

use raft_proto::{Entries, HardState, Index, LogPosition, NodeId, Snapshot, Term};

use super::super::{AppendError, RaftLog};
use super::{at, config, entries_behind, entry, named, open, position, stored};
use crate::error::StartError;
use crate::storage::{Inconsistency, InitialState, MemoryStorage, Storage, StorageError};

/// What the storage does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It gives these entries, whatever was asked for. Term and index each.
    Entries(&'static [(u64, u64)]),
    /// It gives the first entry that was asked for, and then fails.
    Breaks,
    /// It fails.
    Fails,
    /// It says that it needs time.
    Fetches,
    /// It gives this number.
    Says(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    FirstIndex,
    LastIndex,
    Term,
    Entries,
}

#[derive(Debug, Default)]
struct Faulty {
    inner: MemoryStorage,
    faults: RefCell<BTreeMap<Call, Fault>>,
}

impl Faulty {
    fn of(inner: MemoryStorage) -> Faulty {
        Faulty { inner, faults: RefCell::default() }
    }

    fn set(&self, call: Call, fault: Fault) {
        self.faults.borrow_mut().insert(call, fault);
    }

    fn heal(&self) {
        self.faults.borrow_mut().clear();
    }

    fn number(&self, call: Call) -> Result<Option<u64>, StorageError> {
        match self.faults.borrow().get(&call) {
            None => Ok(None),
            Some(Fault::Says(number)) => Ok(Some(*number)),
            Some(Fault::Fetches) => Err(StorageError::Fetching),
            Some(_) => Err(StorageError::Other("disk on fire".into())),
        }
    }
}

impl Storage for Faulty {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.inner.initial_state()
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        Ok(self.number(Call::FirstIndex)?.map_or(self.inner.first_index()?, Index::new))
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        Ok(self.number(Call::LastIndex)?.map_or(self.inner.last_index()?, Index::new))
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        match self.number(Call::Term)? {
            Some(term) => Ok(Term::new(term)),
            None => self.inner.term(index),
        }
    }

    fn entries(&self, range: Range<Index>, max: u64) -> Result<Entries, StorageError> {
        let fault = self.faults.borrow().get(&Call::Entries).copied();
        match fault {
            None => self.inner.entries(range, max),
            Some(Fault::Entries(entries)) => {
                Ok(entries.iter().map(|(term, index)| entry(*term, *index)).collect())
            }
            Some(Fault::Breaks) => Err(StorageError::Other("disk on fire".into())),
            Some(Fault::Fetches) => Err(StorageError::Fetching),
            Some(Fault::Fails | Fault::Says(_)) => Err(StorageError::Other("disk on fire".into())),
        }
    }

    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError> {
        self.inner.snapshot(at_least, to)
    }
}

/// Entries 3 to 6 of terms 2, 2, 3, 3 are stored behind a snapshot at 2; 7 is not durable.
fn faulty_log() -> RaftLog<Faulty> {
    let mut log = open(Faulty::of(stored(position(2, 2), &[2, 2, 3, 3])), &config(), 2);
    log.append(position(3, 6), entries_behind(6, &[4]));
    log
}

/// What a read of entries 3 to 6 says to this answer.
fn lie(entries: &'static [(u64, u64)]) -> Inconsistency {
    let log = faulty_log();
    log.storage().set(Call::Entries, Fault::Entries(entries));
    let mut read = Vec::from([entry(9, 99)]);
    let error = super::entries_from(&log, at(3), u64::MAX, &mut read).unwrap_err();
    assert_eq!(named(&read), [(9, 99)], "what was there stays, and nothing comes");
    let StorageError::Inconsistent(how) = error else { panic!("{entries:?}: {error:?}") };
    how
}

#[test]
fn entries_that_are_not_those_asked_for_are_refused_by_name() {
    assert_eq!(lie(&[(2, 4), (3, 5)]), Inconsistency::NotContiguous);
    assert_eq!(lie(&[(2, 2), (2, 3)]), Inconsistency::NotContiguous);
    assert_eq!(lie(&[(2, 3), (3, 5)]), Inconsistency::NotContiguous);
    assert_eq!(lie(&[(2, 3), (2, 3)]), Inconsistency::NotContiguous);
    assert_eq!(lie(&[(2, 0)]), Inconsistency::NotContiguous);
    assert_eq!(lie(&[(2, u64::MAX)]), Inconsistency::NotContiguous);
    assert_eq!(lie(&[(2, 3), (2, 4), (3, 5), (3, 6), (3, 7)]), Inconsistency::MoreThanAsked);
    assert_eq!(lie(&[]), Inconsistency::NothingForRange);
}

#[test]
fn terms_that_cannot_be_are_refused_by_name() {
    assert_eq!(lie(&[(3, 3), (2, 4)]), Inconsistency::TermsOutOfOrder);
    assert_eq!(lie(&[(u64::MAX, 3)]), Inconsistency::TermsOutOfOrder);
    assert_eq!(lie(&[(2, 3), (u64::MAX / 2 + 1, 4)]), Inconsistency::TermsOutOfOrder);
    // The last durable entry has term 3: none before it can have a higher one.
    assert_eq!(lie(&[(2, 3), (4, 4)]), Inconsistency::TermsOutOfOrder);
}

#[test]
fn a_term_above_that_of_the_last_durable_entry_is_refused_by_name() {
    let log = faulty_log();
    for lie in [4, Term::LIMIT.get(), u64::MAX] {
        log.storage().set(Call::Term, Fault::Says(lie));
        let error = log.term(at(4)).unwrap_err();
        assert!(matches!(error, StorageError::Inconsistent(Inconsistency::TermsOutOfOrder)), "{error:?}");
        assert_eq!(log.term(at(6)).unwrap(), Term::new(3), "known without the storage");
    }
}

#[test]
fn a_short_answer_is_none_of_these() {
    let log = faulty_log();
    log.storage().set(Call::Entries, Fault::Entries(&[(2, 3)]));
    let mut read = Vec::new();
    super::entries_from(&log, at(3), u64::MAX, &mut read).unwrap();
    assert_eq!(named(&read), [(2, 3)], "and what isn't stored doesn't follow a gap");
}

#[test]
fn a_read_that_breaks_in_the_middle_gives_nothing() {
    for fault in [Fault::Breaks, Fault::Fails, Fault::Fetches] {
        let log = faulty_log();
        log.storage().set(Call::Entries, fault);
        let mut read = Vec::from([entry(9, 99)]);
        assert!(super::entries_from(&log, at(3), u64::MAX, &mut read).is_err());
        assert_eq!(named(&read), [(9, 99)]);
        read.clear();
        super::entries_from(&log, at(7), u64::MAX, &mut read).unwrap();
        assert_eq!(named(&read), [(4, 7)], "what isn't stored can be read");
    }
}

#[test]
fn committed_entries_that_cannot_be_read_come_at_the_next_tick() {
    let lies = [Fault::Entries(&[(2, 4)]), Fault::Entries(&[]), Fault::Breaks, Fault::Fails, Fault::Fetches];
    for fault in lies {
        let mut log = faulty_log();
        log.commit_to(at(7));
        log.storage().set(Call::Entries, fault);
        let mut page = Entries::default();
        assert!(log.hand_out_committed(&mut page).is_err(), "{fault:?}");
        assert_eq!(named(&page), []);
        assert!(log.to_apply().is_empty(), "not asked for over and over");
        assert_eq!(log.applied(), at(2));
        log.storage().heal();
        log.retry_reads();
        assert_eq!(log.to_apply(), at(3)..at(8), "nothing is skipped");
        log.hand_out_committed(&mut page).unwrap();
        assert_eq!(named(&page), [(2, 3), (2, 4), (3, 5), (3, 6), (4, 7)]);
    }
}

#[test]
fn an_append_that_cannot_be_judged_fails_and_changes_nothing() {
    for fault in [Fault::Fails, Fault::Fetches, Fault::Says(u64::MAX)] {
        let log = faulty_log();
        log.storage().set(Call::Term, fault);
        let appends = [
            (position(2, 4), entries_behind(4, &[3])),
            (position(2, 2), entries_behind(2, &[2])),
            // prev is known, but not what the hint would be.
            (position(2, 7), Vec::new()),
        ];
        for (prev, entries) in appends {
            let error = log.plan_append(prev, &entries.into()).map(|_| ()).unwrap_err();
            assert!(matches!(error, AppendError::Storage(_)), "{fault:?} {prev}: {error:?}");
        }
        log.storage().heal();
        assert_eq!((log.last(), log.committed(), log.durable()), (position(4, 7), at(2), at(6)));
        assert_eq!(named(&super::all_of(&log)), [(2, 3), (2, 4), (3, 5), (3, 6), (4, 7)]);
    }
}

#[test]
fn whether_a_position_matches_is_an_error_where_it_cannot_be_known() {
    let log = faulty_log();
    log.storage().set(Call::Term, Fault::Fetches);
    assert!(matches!(log.matches(position(2, 4)), Err(StorageError::Fetching)));
    assert!(log.last_not_above(at(4), Term::new(1)).is_err());
    assert!(log.matches(position(4, 7)).unwrap(), "known without the storage");
}

#[test]
fn unread_entries_may_hold_a_membership_change() {
    let mut log = faulty_log();
    log.commit_to(at(7));
    for fault in [Fault::Fails, Fault::Entries(&[]), Fault::Entries(&[(2, 4)])] {
        log.storage().set(Call::Entries, fault);
        assert!(log.has_unapplied_conf_change().is_err(), "{fault:?}");
    }
    log.storage().set(Call::FirstIndex, Fault::Fails);
    assert!(log.first_index().is_err());
}

/// Why a log doesn't open over a storage with these faults.
fn refusal(faults: &[(Call, Fault)]) -> StorageError {
    let storage = Faulty::of(stored(LogPosition::ZERO, &[1, 1]));
    for (call, fault) in faults {
        storage.set(*call, *fault);
    }
    let hard_state = HardState { term: Term::new(9), ..HardState::default() };
    let error = RaftLog::new(storage, &config(), &hard_state).unwrap_err();
    let StartError::Storage(error) = error else { panic!("{faults:?}: {error:?}") };
    error
}

#[test]
fn a_log_does_not_open_over_a_storage_that_fails() {
    for call in [Call::FirstIndex, Call::LastIndex, Call::Term] {
        assert!(matches!(refusal(&[(call, Fault::Fails)]), StorageError::Other(_)), "{call:?}");
        assert!(matches!(refusal(&[(call, Fault::Fetches)]), StorageError::Fetching), "{call:?}");
    }
}

#[test]
fn a_log_does_not_open_over_a_storage_that_makes_no_sense() {
    use Call::{FirstIndex, LastIndex};
    let beyond = Index::LIMIT.get() + 1;
    let says = |call: Call, number: u64| (call, Fault::Says(number));
    let how = |faults: &[(Call, Fault)]| {
        let error = refusal(faults);
        let StorageError::Inconsistent(how) = error else { panic!("{faults:?}: {error:?}") };
        how
    };
    assert_eq!(how(&[says(FirstIndex, 0)]), Inconsistency::OutOfRange);
    assert_eq!(how(&[says(FirstIndex, beyond), says(LastIndex, beyond)]), Inconsistency::OutOfRange);
    assert_eq!(how(&[says(LastIndex, beyond)]), Inconsistency::OutOfRange);
    assert_eq!(how(&[says(LastIndex, u64::MAX)]), Inconsistency::OutOfRange);
    assert_eq!(how(&[says(FirstIndex, 4), says(LastIndex, 2)]), Inconsistency::LastBeforeFirst);
    assert_eq!(how(&[says(Call::Term, beyond)]), Inconsistency::OutOfRange);
}
