//! What is handed out for application, in pages (SEMANTICS 7.4).

use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{Entries, Entry, Index, LogPosition, Term};

use super::super::RaftLog;
use super::super::pages::Pages;
use super::{at, config, id, named, open, stored};
use crate::config::Config;
use crate::entry_batches::EntryBatches;
use crate::error::AckError;
use crate::storage::{MemoryStorage, StorageError};

/// Entries of term 1 with so many bytes of payload each.
fn sized(sizes: &[usize]) -> Vec<Entry> {
    let entry =
        |(size, index): (&usize, u64)| Entry::normal(Term::new(1), at(index), Bytes::from(vec![7; *size]));
    sizes.iter().zip(1..).map(entry).collect()
}

/// A log of these entries, the first of which are stored and the rest not durable.
fn log_of(entries: &[Entry], stored: usize, limit: u64, async_writes: bool) -> RaftLog<MemoryStorage> {
    let mut storage = MemoryStorage::with_voters([id(1)]);
    storage.append(&entries[..stored].to_vec().into()).unwrap();
    let config = Config { max_committed_bytes: limit, async_writes, ..config() };
    let mut log = open(storage, &config, 0);
    log.append(log.last(), entries[stored..].to_vec());
    log
}

fn hand_out(log: &mut RaftLog<MemoryStorage>) -> Vec<(u64, u64)> {
    let mut entries = Entries::default();
    log.hand_out_committed(&mut entries).unwrap();
    named(&entries)
}

#[test]
fn a_batch_that_was_written_is_applied_as_it_is() {
    let batch = Entries::from(sized(&[10; 4]));
    let written = |limit| {
        let mut log = log_of(&[], 0, limit, false);
        log.append(log.last(), batch.clone());
        log.hand_out_unwritten(&mut EntryBatches::default());
        log.on_write_handed_out(1, Term::new(1), false);
        log.storage_mut().append(&batch).unwrap();
        let write = log.acknowledge_write(1).unwrap();
        log.on_written(&write, Term::new(1));
        log.commit_to(at(4));
        log
    };
    let mut page = Entries::default();
    written(u64::MAX).hand_out_committed(&mut page).unwrap();
    assert!(std::ptr::eq(&raw const *page, &raw const *batch), "without a copy");
    let one = batch[0].encoded_len();
    assert_eq!(hand_out(&mut written(3 * one)), named(&batch[..3]), "as far as the limit goes");
    let mut log = written(u64::MAX);
    log.storage_mut().compact(at(1)).unwrap();
    let early = log.hand_out_committed(&mut page);
    assert!(matches!(early, Err(StorageError::Compacted)), "who compacts what is not applied is told");
}

#[test]
fn a_page_that_is_cut_short_goes_on_where_it_ended() {
    // B056: commit is 20, a page is 11 to 15.
    let entries = sized(&[10; 20]);
    let five = 5 * entries[0].encoded_len();
    let mut log = log_of(&entries, 20, five, false);
    log.commit_to(at(20));
    let mut applied = Vec::new();
    for _ in 0..4 {
        let page = hand_out(&mut log);
        assert_eq!(page.len(), 5);
        applied.extend(page);
        assert!(log.to_apply().is_empty(), "paused until the page is acknowledged");
        assert_eq!(hand_out(&mut log), []);
        log.on_applied(at(u64::try_from(applied.len()).unwrap())).unwrap();
    }
    assert_eq!(applied, named(&entries));
}

#[test]
fn an_entry_beyond_the_limit_comes_alone() {
    let mut log = log_of(&sized(&[1, 500, 1]), 1, 20, false);
    log.commit_to(at(3));
    for index in 1..=3 {
        assert_eq!(hand_out(&mut log), [(1, index)]);
        log.on_applied(at(index)).unwrap();
    }
}

#[test]
fn a_page_that_holds_all_there_was_does_not_pause() {
    let mut log = log_of(&sized(&[1; 4]), 4, 1000, false);
    log.commit_to(at(2));
    assert_eq!(hand_out(&mut log), [(1, 1), (1, 2)]);
    log.commit_to(at(4));
    assert_eq!(hand_out(&mut log), [(1, 3), (1, 4)], "although the first isn't acknowledged");
}

#[test]
fn entries_that_are_not_durable_are_applied_only_with_synchronous_writes() {
    // B058.
    let entries = sized(&[1; 6]);
    let mut asynchronous = log_of(&entries, 4, 1000, true);
    let mut synchronous = log_of(&entries, 4, 1000, false);
    for log in [&mut asynchronous, &mut synchronous] {
        log.commit_to(at(6));
    }
    assert_eq!(asynchronous.to_apply(), at(1)..at(5));
    assert_eq!(hand_out(&mut asynchronous), named(&entries[..4]));
    assert_eq!(hand_out(&mut asynchronous), []);
    assert_eq!(hand_out(&mut synchronous), named(&entries));
    // Durable entries that were cut are not durable any more, whatever was applied before.
    let mut cut = log_of(&entries, 4, 1000, true);
    cut.append(LogPosition::new(Term::new(1), at(2)), vec![Entry::normal(Term::new(2), at(3), Bytes::new())]);
    cut.commit_to(at(3));
    assert_eq!(cut.to_apply(), at(1)..at(3));
}

#[test]
fn nothing_is_applied_while_a_snapshot_is_not_durable() {
    let mut log = open(stored(LogPosition::ZERO, &[1, 1, 1]), &config(), 2);
    log.restore(super::snapshot(1, 5), Vec::new());
    log.append(LogPosition::new(Term::new(1), at(5)), super::entries_behind(5, &[1]));
    log.commit_to(at(6));
    assert!(log.to_apply().is_empty());
    let mut entries = EntryBatches::default();
    log.hand_out_unwritten(&mut entries).unwrap();
    log.on_write_handed_out(1, Term::new(1), true);
    let write = log.acknowledge_write(1).unwrap();
    log.on_written(&write, Term::new(1));
    assert_eq!(log.to_apply(), at(6)..at(7), "and what the snapshot covers is applied by it");
}

#[test]
fn pages_that_a_snapshot_covers_no_longer_count() {
    // Their entries are part of the snapshot now: no one will acknowledge them.
    let mut log = log_of(&sized(&[10; 4]), 4, 1, false);
    log.commit_to(at(4));
    assert_eq!(hand_out(&mut log), [(1, 1)]);
    log.restore(super::snapshot(1, 6), Vec::new());
    log.hand_out_unwritten(&mut EntryBatches::default()).unwrap();
    log.on_write_handed_out(1, Term::new(1), true);
    let write = log.acknowledge_write(1).unwrap();
    log.on_written(&write, Term::new(1));
    log.append(LogPosition::new(Term::new(1), at(6)), super::entries_behind(6, &[1]));
    log.commit_to(at(7));
    assert_eq!(hand_out(&mut log), [(1, 7)]);
}

#[test]
fn what_was_not_handed_out_cannot_be_applied() {
    let mut log = log_of(&sized(&[1; 4]), 4, 1000, false);
    log.commit_to(at(3));
    assert_eq!(log.on_applied(at(1)), Err(AckError::NotHandedOutForApply { last: at(0) }));
    hand_out(&mut log);
    assert_eq!(log.on_applied(at(4)), Err(AckError::NotHandedOutForApply { last: at(3) }));
    assert_eq!(log.applied(), at(0));
    assert_eq!(log.on_applied(at(3)), Ok(3));
    assert_eq!(log.on_applied(at(2)), Ok(0), "an old acknowledgement");
    assert_eq!(log.applied(), at(3));
}

#[test]
fn a_limit_of_zero_would_hand_out_one_entry_at_a_time() {
    let mut pages = Pages::new(&Config { max_committed_bytes: 0, ..config() });
    assert_eq!((pages.allowance(), pages.is_paused()), (0, false));
    pages.hand_out(&sized(&[1]).into(), at(1), true);
    assert!(pages.is_paused());
}

/// The twin: the pages that are out, as their entries.
#[derive(Debug, Default)]
struct Twin {
    out: Vec<Vec<Entry>>,
    handed: usize,
    paused: bool,
}

impl Twin {
    fn outstanding(&self) -> u64 {
        self.out.iter().flatten().map(Entry::encoded_len).sum()
    }

    /// The longest run of entries that fits, at least one.
    fn hand_out(&mut self, entries: &[Entry], end: usize, limit: u64) -> Vec<Entry> {
        if self.paused || self.handed >= end {
            return Vec::new();
        }
        let room = limit.saturating_sub(self.outstanding());
        let fits = |to: &usize| entries[self.handed..*to].iter().map(Entry::encoded_len).sum::<u64>() <= room;
        let to = (self.handed + 1..=end).filter(fits).max().unwrap_or(self.handed + 1);
        let page = entries[self.handed..to].to_vec();
        self.handed = to;
        self.out.push(page.clone());
        self.paused = self.outstanding() >= limit || to < end;
        page
    }

    fn acknowledge(&mut self, index: Index, limit: u64) -> u64 {
        let complete = |page: &Vec<Entry>| page.last().unwrap().index <= index;
        let payload =
            self.out.iter().filter(|page| complete(page)).flatten().map(|entry| entry.payload.len());
        let payload = payload.sum();
        self.out.retain(|page| !complete(page));
        self.paused = self.outstanding() >= limit;
        payload
    }
}

proptest! {
    #[test]
    fn pages_are_the_longest_runs_that_fit(
        sizes in vec(0_usize..40, 1..30),
        stored in any::<prop::sample::Index>(),
        limit in 1_u64..200,
        async_writes: bool,
        events in vec((0_usize..5, proptest::option::of(any::<prop::sample::Index>())), 0..40),
    ) {
        let entries = sized(&sizes);
        let stored = stored.index(entries.len() + 1);
        let mut log = log_of(&entries, stored, limit, async_writes);
        let mut twin = Twin::default();
        let mut committed = 0;
        for (ahead, acknowledged) in events {
            committed = entries.len().min(committed + ahead);
            log.commit_to(at(u64::try_from(committed).unwrap()));
            let end = if async_writes { committed.min(stored) } else { committed };
            let due = !log.to_apply().is_empty();
            let mut page = Entries::default();
            log.hand_out_committed(&mut page).unwrap();
            prop_assert_eq!(due, !page.is_empty(), "due is what comes");
            prop_assert_eq!(&page, &twin.hand_out(&entries, end, limit));
            if let Some(index) = acknowledged {
                let index = at(u64::try_from(index.index(twin.handed + 1)).unwrap());
                prop_assert_eq!(log.on_applied(index), Ok(twin.acknowledge(index, limit)));
            }
        }
    }
}
