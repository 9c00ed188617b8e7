//! The contract of a storage, kept by the one in memory: against a map of entries.

#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::string::ToString;
use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{
    ConfState, Entries, Entry, HardState, Index, LogPosition, NodeId, Snapshot, SnapshotMetadata, Term,
};

use super::{Inconsistency, MemoryStorage, Storage, StorageError};

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn at(index: u64) -> Index {
    Index::new(index)
}

fn entry(term: u64, index: u64, size: usize) -> Entry {
    Entry::normal(Term::new(term), at(index), Bytes::from(vec![1; size]))
}

fn snapshot(term: u64, index: u64) -> Snapshot {
    let conf_state = ConfState::of_voters([id(1), id(index + 1)]);
    let metadata = SnapshotMetadata { conf_state, index: at(index), term: Term::new(term) };
    Snapshot { metadata, data: Bytes::from_static(b"state") }
}

/// Entries 1 to 6.
fn six() -> MemoryStorage {
    let mut storage = MemoryStorage::with_voters([id(1)]);
    storage.append(&(1..=6).map(|index| entry(index, index, 10)).collect()).unwrap();
    storage
}

fn read(storage: &MemoryStorage, from: u64, to: u64, max_bytes: u64) -> Vec<u64> {
    let entries = storage.entries(at(from)..at(to), max_bytes).unwrap();
    entries.iter().map(|entry| entry.index.get()).collect()
}

fn bounds(storage: &MemoryStorage) -> (u64, u64) {
    (storage.first_index().unwrap().get(), storage.last_index().unwrap().get())
}

#[test]
fn an_empty_log_begins_at_one_and_ends_before_it() {
    let storage = MemoryStorage::with_voters([id(1), id(2)]);
    assert_eq!(bounds(&storage), (1, 0));
    assert_eq!(storage.term(at(0)).unwrap(), Term::ZERO);
    assert!(matches!(storage.term(at(1)), Err(StorageError::Unavailable)));
    let initial = storage.initial_state().unwrap();
    assert_eq!(initial.hard_state, HardState::default());
    assert_eq!(initial.conf_state, ConfState::of_voters([id(1), id(2)]));
}

#[test]
fn at_least_one_entry_is_read_whatever_the_limit() {
    let storage = six();
    let one = storage.all_entries().next().unwrap().encoded_len();
    assert_eq!(read(&storage, 2, 6, 0), [2]);
    assert_eq!(read(&storage, 2, 6, 2 * one - 1), [2]);
    assert_eq!(read(&storage, 2, 6, 2 * one), [2, 3]);
    assert_eq!(read(&storage, 2, 6, u64::MAX), [2, 3, 4, 5]);
}

#[test]
fn a_large_batch_is_given_out_as_it_came() {
    let batch =
        |indexes: std::ops::RangeInclusive<u64>| indexes.map(|index| entry(1, index, 1)).collect::<Entries>();
    let (small, large) = (batch(1..=3), batch(4..=67));
    let mut storage = MemoryStorage::with_voters([id(1)]);
    for entries in [&small, &large, &batch(68..=70)] {
        storage.append(entries).unwrap();
    }
    // A small one is copied together with what follows it, up to the end of a batch.
    assert_eq!(read(&storage, 2, 71, u64::MAX), (2..=67).collect::<Vec<_>>());
    let given = storage.entries(at(4)..at(71), u64::MAX).unwrap();
    assert_eq!(given.as_ptr(), large.as_ptr());
    assert_eq!(given.len(), 64);
    assert_eq!(read(&storage, 68, 71, u64::MAX), [68, 69, 70]);
    // A page that the limit ends, or the range, is a part of a batch whatever its size.
    let two = large[..2].iter().map(Entry::encoded_len).sum();
    assert_eq!(storage.entries(at(4)..at(71), two).unwrap().as_ptr(), large.as_ptr());
    assert_eq!(storage.entries(at(1)..at(3), u64::MAX).unwrap().as_ptr(), small.as_ptr());
}

#[test]
fn a_batch_is_given_back_when_more_than_half_of_it_is_compacted_away() {
    let batch: Entries = (1..=10).map(|index| entry(1, index, 1)).collect();
    let mut storage = MemoryStorage::with_voters([id(1)]);
    storage.append(&batch).unwrap();
    let holds = |storage: &MemoryStorage, index: u64| {
        let given = storage.entries(at(index)..at(11), u64::MAX).unwrap();
        batch.as_ptr_range().contains(&given.as_ptr())
    };
    storage.compact(at(5)).unwrap();
    assert!(holds(&storage, 6));
    storage.compact(at(6)).unwrap();
    assert!(!holds(&storage, 7));
    assert_eq!(read(&storage, 7, 11, u64::MAX), [7, 8, 9, 10]);
    assert_eq!(bounds(&storage), (7, 10));
}

#[test]
fn a_range_of_nothing_is_nothing() {
    let storage = six();
    assert!(read(&storage, 3, 3, 100).is_empty());
    let backwards = std::ops::Range { start: at(5), end: at(2) };
    assert!(storage.entries(backwards, 100).unwrap().is_empty());
}

#[test]
fn what_is_compacted_and_what_is_not_there_yet_are_told_apart() {
    let mut storage = six();
    storage.compact(at(3)).unwrap();
    assert_eq!(bounds(&storage), (4, 6));
    assert!(matches!(storage.term(at(2)), Err(StorageError::Compacted)));
    assert_eq!(storage.term(at(3)).unwrap(), Term::new(3), "a snapshot names it");
    assert!(matches!(storage.term(at(7)), Err(StorageError::Unavailable)));
    let entries = |from, to| storage.entries(at(from)..at(to), 100);
    assert!(matches!(entries(3, 5), Err(StorageError::Compacted)));
    assert!(matches!(entries(4, 8), Err(StorageError::Unavailable)));
    assert!(matches!(entries(4, u64::MAX), Err(StorageError::Unavailable)));
    assert!(entries(4, 7).is_ok());
    assert!(matches!(storage.compact(at(3)), Err(StorageError::Compacted)));
    assert!(matches!(storage.compact(at(1)), Err(StorageError::Compacted)));
    assert!(matches!(storage.compact(at(7)), Err(StorageError::Unavailable)));
    storage.compact(at(6)).unwrap();
    assert_eq!(bounds(&storage), (7, 6));
}

#[test]
fn a_gap_is_refused_and_changes_nothing() {
    let mut storage = six();
    assert!(matches!(storage.append(&[entry(6, 8, 1)].into()), Err(StorageError::Unavailable)));
    assert_eq!(bounds(&storage), (1, 6));
    storage.append(&[].into()).unwrap();
    assert_eq!(bounds(&storage), (1, 6));
}

#[test]
fn entries_replace_what_is_there_from_the_first_of_them_on() {
    let mut storage = six();
    storage.append(&[entry(9, 3, 1), entry(9, 4, 1)].into()).unwrap();
    assert_eq!(bounds(&storage), (1, 4));
    assert_eq!(storage.term(at(3)).unwrap(), Term::new(9));
    storage.compact(at(3)).unwrap();
    storage.append(&[entry(9, 2, 1), entry(9, 3, 1), entry(9, 4, 1), entry(9, 5, 1)].into()).unwrap();
    assert_eq!(bounds(&storage), (4, 5), "what is compacted away stays away");
    storage.append(&[entry(9, 1, 1), entry(9, 2, 1)].into()).unwrap();
    assert_eq!(bounds(&storage), (4, 5));
}

#[test]
fn a_snapshot_replaces_log_and_configuration() {
    let mut storage = six();
    storage.set_hard_state(HardState { commit: at(2), ..HardState::default() });
    storage.apply_snapshot(snapshot(7, 9)).unwrap();
    assert_eq!(bounds(&storage), (10, 9));
    assert_eq!(storage.term(at(9)).unwrap(), Term::new(7));
    let initial = storage.initial_state().unwrap();
    assert_eq!(initial.conf_state, ConfState::of_voters([id(1), id(10)]));
    assert_eq!(
        initial.hard_state.commit,
        at(9),
        "a crash right after it must not find the commit index before the log"
    );
    storage.apply_snapshot(snapshot(7, 9)).unwrap(); // one that was asked for may be the one that is there
    assert!(matches!(storage.apply_snapshot(snapshot(7, 8)), Err(StorageError::Compacted)));
    assert_eq!(storage.snapshot(at(9), id(2)).unwrap(), snapshot(7, 9));
}

#[test]
fn a_snapshot_is_given_if_there_is_one_that_is_new_enough() {
    let mut storage = six();
    let temporarily = |result| matches!(result, Err(StorageError::SnapshotTemporarilyUnavailable));
    assert!(temporarily(storage.snapshot(at(0), id(2))), "that of nothing is none");
    storage.set_snapshot(snapshot(4, 4));
    assert_eq!(bounds(&storage), (1, 6), "the log stays");
    assert_eq!(storage.snapshot(at(4), id(2)).unwrap(), snapshot(4, 4));
    assert_eq!(storage.snapshot(at(0), id(2)).unwrap(), snapshot(4, 4));
    assert!(temporarily(storage.snapshot(at(5), id(2))));
}

#[test]
fn the_states_are_kept() {
    let mut storage = six();
    let hard_state = HardState { term: Term::new(7), vote: Some(id(3)), commit: at(5) };
    storage.set_hard_state(hard_state);
    storage.set_conf_state(ConfState::of_voters([id(5)]));
    assert_eq!(storage.hard_state(), hard_state);
    let initial = storage.initial_state().unwrap();
    assert_eq!((initial.hard_state, initial.conf_state), (hard_state, ConfState::of_voters([id(5)])));
}

#[test]
fn every_failure_says_what_it_is() {
    use core::error::Error;
    use std::collections::BTreeSet;

    let inconsistencies = [
        Inconsistency::NotContiguous,
        Inconsistency::MoreThanAsked,
        Inconsistency::NothingForRange,
        Inconsistency::TermsOutOfOrder,
        Inconsistency::LastBeforeFirst,
        Inconsistency::OutOfRange,
        Inconsistency::EmptySnapshot,
        Inconsistency::SnapshotConfState,
    ];
    let mut errors = Vec::from([
        StorageError::Compacted,
        StorageError::Unavailable,
        StorageError::Fetching,
        StorageError::SnapshotTemporarilyUnavailable,
    ]);
    errors.extend(inconsistencies.map(StorageError::Inconsistent));
    let said: BTreeSet<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 12, "each in its own words");
    assert!(errors.iter().all(|error| error.source().is_none()));
    let other = StorageError::Other("disk on fire".into());
    assert!(other.to_string().contains("disk on fire"));
    assert!(other.source().is_some());
}

// -- the twin

/// A map of entries, and the position before them.
#[derive(Debug, Default)]
struct Twin {
    before: LogPosition,
    entries: BTreeMap<u64, Entry>,
    snapshot: u64,
}

impl Twin {
    fn last(&self) -> u64 {
        self.entries.keys().next_back().copied().unwrap_or(self.before.index.get())
    }

    fn check(&self, storage: &MemoryStorage, limit: u64) {
        let (first, last) = (self.before.index.get() + 1, self.last());
        assert_eq!(bounds(storage), (first, last));
        assert!(storage.all_entries().eq(self.entries.values()));
        for index in 0..last + 3 {
            match storage.term(at(index)) {
                Ok(term) if index + 1 == first => assert_eq!(term, self.before.term),
                Ok(term) => assert_eq!(term, self.entries[&index].term),
                Err(StorageError::Compacted) => assert!(index + 1 < first),
                Err(StorageError::Unavailable) => assert!(index > last),
                Err(other) => panic!("{other:?}"),
            }
            for end in index..last + 3 {
                match storage.entries(at(index)..at(end), limit) {
                    Ok(given) => {
                        assert!(index >= first && end <= last + 1);
                        let all: Vec<&Entry> =
                            self.entries.range(index..end).map(|(_, entry)| entry).collect();
                        let fits = |count: &usize| {
                            all[..*count].iter().map(|entry| entry.encoded_len()).sum::<u64>() <= limit
                        };
                        let count = (0..=all.len()).filter(fits).max().unwrap().max(all.len().min(1));
                        assert!(given.iter().eq(all[..count].iter().copied()));
                    }
                    Err(StorageError::Compacted) => assert!(index < first),
                    Err(StorageError::Unavailable) => assert!(end > last + 1),
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Append { first: u64, sizes: Vec<usize> },
    Compact(u64),
    Snapshot(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (1_u64..12, vec(0_usize..20, 0..5)).prop_map(|(first, sizes)| Event::Append { first, sizes }),
        2 => (0_u64..12).prop_map(Event::Compact),
        1 => (1_u64..12).prop_map(Event::Snapshot),
    ]
}

proptest! {
    #[test]
    fn a_log_in_memory_is_a_map(limit in 0_u64..120, events in vec(event(), 0..15)) {
        let mut storage = MemoryStorage::with_voters([id(1)]);
        let mut twin = Twin::default();
        for (event, term) in events.into_iter().zip(1..) {
            match event {
                Event::Append { first, sizes } => {
                    let entries: Vec<Entry> =
                        sizes.iter().zip(first..).map(|(size, index)| entry(term, index, *size)).collect();
                    let kept: Vec<&Entry> =
                        entries.iter().filter(|entry| entry.index > twin.before.index).collect();
                    let gap = kept.first().is_some_and(|entry| entry.index.get() > twin.last() + 1);
                    prop_assert_eq!(storage.append(&entries.clone().into()).is_err(), gap);
                    if let (Some(first), false) = (kept.first(), gap) {
                        twin.entries.retain(|index, _| *index < first.index.get());
                        twin.entries.extend(kept.iter().map(|entry| (entry.index.get(), Entry::clone(entry))));
                    }
                }
                Event::Compact(index) => {
                    let there = twin.entries.get(&index).map(Entry::position);
                    prop_assert_eq!(storage.compact(at(index)).is_ok(), there.is_some());
                    if let Some(position) = there {
                        twin.before = position;
                        twin.entries.retain(|other, _| *other > index);
                    }
                }
                Event::Snapshot(index) => {
                    let fits = index > 0 && index >= twin.snapshot;
                    prop_assert_eq!(storage.apply_snapshot(snapshot(term, index)).is_ok(), fits);
                    if fits {
                        let before = LogPosition::new(Term::new(term), at(index));
                        twin = Twin { before, entries: BTreeMap::new(), snapshot: index };
                    }
                }
            }
            twin.check(&storage, limit);
        }
    }
}
