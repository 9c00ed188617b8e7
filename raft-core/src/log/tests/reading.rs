//! One view over what is stored and what isn't.

use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{ConfChange, ConfChangeV2, Entries, Entry, LogPosition, Payload, Term};

use super::{all_of, at, config, entries_behind, entry, id, log_of, named, open, position, snapshot, stored};
use crate::config::Config;
use crate::storage::{MemoryStorage, StorageError};

#[test]
fn the_commit_index_only_grows_and_never_leaves_the_log() {
    let mut log = log_of(&[1, 1, 1], &[2, 2]);
    assert!(log.commit_to(at(2)));
    assert!(!log.commit_to(at(1)) && !log.commit_to(at(2)));
    assert_eq!(log.committed(), at(2));
    assert!(log.commit_to(at(9)));
    assert_eq!(log.committed(), at(5));
    assert!(!log.commit_to(at(9)));
}

#[test]
fn a_candidates_log_is_up_to_date_by_term_first_and_length_second() {
    // §5.4.1
    let log = log_of(&[1, 1, 3], &[3]);
    for (term, index, expected) in
        [(3, 4, true), (3, 5, true), (4, 1, true), (3, 3, false), (2, 9, false), (1, 4, false)]
    {
        assert_eq!(log.is_up_to_date(position(term, index)), expected, "{term}/{index}");
    }
}

#[test]
fn a_snapshot_replaces_the_whole_log() {
    let mut log = log_of(&[1, 1, 1], &[1, 1, 1]);
    log.commit_to(at(2));
    log.restore(snapshot(2, 4), Vec::new());
    assert_eq!((log.last(), log.committed(), log.applied()), (position(2, 4), at(4), at(0)));
    assert_eq!(log.first_index().unwrap(), at(5));
    assert_eq!(all_of(&log), []);
    assert_eq!(log.term(at(4)).unwrap(), Term::new(2));
    assert!(matches!(log.term(at(3)), Err(StorageError::Compacted)), "what is stored is of another log");
    assert!(matches!(log.term(at(5)), Err(StorageError::Unavailable)));
    let error = super::entries_from(&log, at(3), 100, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, StorageError::Compacted));
    log.append(position(2, 4), entries_behind(4, &[2, 3]));
    assert_eq!(named(&all_of(&log)), [(2, 5), (3, 6)]);
}

#[test]
fn a_position_matches_if_exactly_this_entry_is_there() {
    let mut log = open(stored(position(2, 3), &[2, 3]), &config(), 0);
    log.append(position(3, 5), entries_behind(5, &[4]));
    for (term, index, expected) in [
        (2, 3, true),
        (2, 4, true),
        (3, 5, true),
        (4, 6, true),
        (1, 3, false),
        (3, 4, false),
        (4, 5, false),
        (4, 7, false),
        (2, 2, false),
        (0, 0, false),
    ] {
        assert_eq!(log.matches(position(term, index)).unwrap(), expected, "{term}/{index}");
    }
    assert!(log_of(&[1], &[]).matches(LogPosition::ZERO).unwrap(), "the beginning is common to all logs");
}

#[test]
fn a_membership_change_that_is_committed_and_not_applied_is_found() {
    // Invariant 18c: wherever it stands, in whichever format, and in no other range.
    let changes = [
        Payload::ConfChange(Arc::new(ConfChange::default())),
        Payload::ConfChangeV2(Arc::new(ConfChangeV2::default())),
    ];
    for payload in changes {
        for place in 1..=6_u64 {
            let mut entries = entries_behind(0, &[1; 6]);
            entries[usize::try_from(place - 1).unwrap()].payload = payload.clone();
            for (committed, applied) in (0..=6).flat_map(|c| (0..=c).map(move |a| (c, a))) {
                let mut storage = MemoryStorage::with_voters([id(1)]);
                storage.append(&entries[..3].to_vec().into()).unwrap();
                let mut log = open(storage, &config(), 0);
                log.append(position(1, 3), entries[3..].to_vec());
                log.commit_to(at(applied));
                log.hand_out_committed(&mut Entries::default()).unwrap();
                log.on_applied(at(applied)).unwrap();
                log.commit_to(at(committed));
                // That they were handed out doesn't make them applied.
                if place.is_multiple_of(2) {
                    log.hand_out_committed(&mut Entries::default()).unwrap();
                }
                let expected = applied < place && place <= committed;
                assert_eq!(
                    log.has_unapplied_conf_change().unwrap(),
                    expected,
                    "{place} {committed} {applied}"
                );
            }
        }
    }
}

#[test]
fn a_membership_change_is_found_behind_more_than_a_page_of_others() {
    let large = |index| Entry::normal(Term::new(1), at(index), Bytes::from(vec![0; 600_000]));
    let mut entries: Vec<Entry> = (1..=4).map(large).collect();
    let change = Payload::ConfChange(Arc::new(ConfChange::default()));
    entries.push(Entry { payload: change, ..entry(1, 5) });
    let mut storage = MemoryStorage::with_voters([id(1)]);
    storage.append(&entries.clone().into()).unwrap();
    let mut log = open(storage, &config(), 0);
    log.commit_to(at(4));
    assert!(!log.has_unapplied_conf_change().unwrap());
    log.commit_to(at(5));
    assert!(log.has_unapplied_conf_change().unwrap());
}

#[test]
fn a_log_opens_where_its_storage_stands() {
    let log = open(stored(position(2, 3), &[2, 3]), &Config { applied: at(4), ..config() }, 5);
    assert_eq!((log.committed(), log.applied(), log.durable()), (at(5), at(4), at(5)));
    assert_eq!((log.last(), log.to_apply()), (position(3, 5), at(5)..at(6)));
    assert!(!log.has_unwritten());
    let log = open(stored(position(2, 3), &[2, 3]), &config(), 0);
    assert_eq!(
        (log.committed(), log.applied()),
        (at(3), at(3)),
        "what is compacted was committed and applied"
    );
}

proptest! {
    #[test]
    fn entries_are_read_up_to_a_limit_but_at_least_one(
        sizes in vec(0_usize..40, 1..20),
        split in any::<prop::sample::Index>(),
        first in 1_u64..22,
        limit in prop_oneof![0_u64..300, Just(u64::MAX)],
    ) {
        let entries: Vec<Entry> = sizes
            .iter()
            .zip(1..)
            .map(|(size, index)| Entry::normal(Term::new(1), at(index), Bytes::from(vec![1; *size])))
            .collect();
        let split = split.index(entries.len() + 1);
        let mut storage = MemoryStorage::with_voters([id(1)]);
        storage.append(&entries[..split].to_vec().into()).unwrap();
        let mut log = open(storage, &config(), 0);
        log.append(log.last(), entries[split..].to_vec());

        let mut expected = Vec::from([entry(9, 99)]);
        let mut bytes: u64 = 0;
        for entry in entries.iter().filter(|entry| entry.index >= at(first)) {
            bytes += entry.encoded_len();
            if bytes > limit && expected.len() > 1 {
                break;
            }
            expected.push(entry.clone());
        }
        let mut read = Vec::from([entry(9, 99)]);
        super::entries_from(&log, at(first), limit, &mut read).unwrap();
        prop_assert_eq!(&read, &expected, "behind what was there");
        prop_assert_eq!(&log.batch_from(at(first), limit).unwrap()[..], &expected[1..], "as a batch");
    }
}
