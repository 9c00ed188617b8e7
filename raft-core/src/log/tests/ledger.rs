//! Writes in flight (thesis §10.2.1): an acknowledgement vouches for what its write held, and for nothing else.

use std::vec::Vec;

use raft_proto::{LogPosition, Term};

use super::super::RaftLog;
use super::{at, config, entries_behind, named, open, position, snapshot, stored};
use crate::entry_batches::EntryBatches;
use crate::storage::MemoryStorage;

/// A log that is written to by hand.
struct Writer {
    log: RaftLog<MemoryStorage>,
    number: u64,
}

impl Writer {
    /// Four entries of term 1 are durable.
    fn new() -> Writer {
        Writer { log: open(stored(LogPosition::ZERO, &[1, 1, 1, 1]), &config(), 0), number: 0 }
    }

    fn append(&mut self, prev: LogPosition, terms: &[u64]) {
        self.log.append(prev, entries_behind(prev.index.get(), terms));
    }

    /// Hands out a write, in this term, and says what is in it.
    fn hand_out(&mut self, term: u64) -> (u64, Vec<(u64, u64)>) {
        let mut entries = EntryBatches::default();
        let snapshot = self.log.hand_out_unwritten(&mut entries).is_some();
        self.number += 1;
        self.log.on_write_handed_out(self.number, Term::new(term), snapshot);
        (self.number, named(&entries))
    }

    /// The writes up to this number are durable; the node is in this term. Says how far the log is durable.
    fn acknowledge(&mut self, number: u64, term: u64) -> u64 {
        while let Some(write) = self.log.acknowledge_write(number) {
            self.log.on_written(&write, Term::new(term));
        }
        self.log.durable().get()
    }
}

#[test]
fn a_write_vouches_for_all_that_was_there_when_it_was_handed_out() {
    let mut writer = Writer::new();
    writer.append(position(1, 4), &[1, 1]);
    let (write, held) = writer.hand_out(1);
    assert_eq!(held, [(1, 5), (1, 6)]);
    writer.append(position(1, 6), &[1]);
    assert_eq!(writer.log.durable(), at(4), "not before it is acknowledged");
    assert_eq!(writer.acknowledge(write, 1), 6, "what came later isn't in it");
    assert_eq!(writer.hand_out(1).1, [(1, 7)]);
}

#[test]
fn three_leaders_over_one_index_need_three_writes() {
    // B017: the entry goes from term 1 to 2 and back, carried by a leader of term 3.
    let mut writer = Writer::new();
    writer.append(position(1, 4), &[1]);
    let (first, held) = writer.hand_out(1);
    assert_eq!(held, [(1, 5)]);
    writer.append(position(1, 4), &[2]);
    let (second, held) = writer.hand_out(2);
    assert_eq!(held, [(2, 5)]);
    writer.append(position(1, 4), &[1]);
    let (third, held) = writer.hand_out(3);
    assert_eq!(held, [(1, 5)]);
    assert_eq!(writer.acknowledge(first, 3), 4, "the disk will hold that of term 2 next");
    assert_eq!(writer.acknowledge(second, 3), 4);
    assert_eq!(writer.acknowledge(third, 3), 5);
}

#[test]
fn a_write_that_was_cut_is_void_even_in_its_own_term() {
    // The ledger alone must say so: the term of the write is still the node's.
    let mut writer = Writer::new();
    writer.append(position(1, 4), &[1, 1, 1]);
    let (first, _) = writer.hand_out(3);
    writer.append(position(1, 5), &[2]);
    writer.append(position(1, 5), &[1, 1]);
    let (second, held) = writer.hand_out(3);
    assert_eq!(held, [(1, 6), (1, 7)]);
    assert_eq!(writer.acknowledge(first, 3), 4);
    assert_eq!(writer.acknowledge(second, 3), 7, "the second also vouches for what the first wrote");
}

#[test]
fn a_cut_behind_what_a_write_holds_leaves_it_valid() {
    let mut writer = Writer::new();
    writer.append(position(1, 4), &[1, 1]);
    let (first, _) = writer.hand_out(3);
    writer.append(position(1, 6), &[1, 1]);
    writer.append(position(1, 6), &[2]);
    assert_eq!(writer.acknowledge(first, 3), 6);
}

#[test]
fn a_write_of_an_earlier_term_vouches_for_nothing() {
    // SEMANTICS 7.3. The write of the new term's hard state covers what is unstable.
    let mut writer = Writer::new();
    writer.append(position(1, 4), &[1]);
    let (first, _) = writer.hand_out(1);
    let (second, held) = writer.hand_out(2);
    assert_eq!(held, []);
    assert_eq!(writer.acknowledge(first, 2), 4);
    assert_eq!(writer.acknowledge(second, 2), 5);
}

#[test]
fn one_acknowledgement_may_stand_for_many() {
    let mut writer = Writer::new();
    for index in 4..8 {
        writer.append(position(1, index), &[1]);
        writer.hand_out(1);
    }
    assert_eq!(writer.log.writes_in_flight(), 4);
    assert_eq!(writer.acknowledge(3, 1), 7);
    assert_eq!(writer.log.writes_in_flight(), 1);
    assert_eq!(writer.acknowledge(3, 1), 7, "a second time it says nothing new");
    assert_eq!(writer.acknowledge(9, 1), 8);
    assert_eq!(writer.log.writes_in_flight(), 0);
}

#[test]
fn durable_entries_that_are_replaced_are_durable_no_longer() {
    let mut writer = Writer::new();
    writer.append(position(1, 2), &[2]);
    assert_eq!(writer.log.durable(), at(2));
    let (write, held) = writer.hand_out(2);
    assert_eq!(held, [(2, 3)]);
    assert_eq!(writer.acknowledge(write, 2), 3);
}

#[test]
fn nothing_is_durable_before_the_snapshot_is() {
    let mut writer = Writer::new();
    writer.append(position(1, 4), &[1, 1]);
    let (before, _) = writer.hand_out(2);
    writer.log.restore(snapshot(2, 5), Vec::new());
    let (with_snapshot, held) = writer.hand_out(2);
    assert_eq!(held, []);
    writer.append(position(2, 5), &[2]);
    assert_eq!(writer.acknowledge(before, 2), 0, "its entry 6 isn't that of the new log");
    assert_eq!((writer.log.applied(), writer.log.committed()), (at(0), at(5)));
    assert_eq!(writer.acknowledge(with_snapshot, 2), 5);
    assert_eq!(writer.log.applied(), at(5), "applied is what storage acknowledged");
    assert!(writer.log.pending_snapshot().is_none());
    let (entries, held) = writer.hand_out(2);
    assert_eq!(held, [(2, 6)]);
    assert_eq!(writer.acknowledge(entries, 2), 6);
}

#[test]
fn a_snapshot_counts_although_the_term_changed_meanwhile() {
    let mut writer = Writer::new();
    writer.log.restore(snapshot(2, 9), Vec::new());
    let (write, _) = writer.hand_out(2);
    assert_eq!(writer.acknowledge(write, 3), 9);
}

#[test]
fn an_older_snapshot_does_not_vouch_for_a_newer_one() {
    let mut writer = Writer::new();
    writer.log.restore(snapshot(2, 9), Vec::new());
    let (older, _) = writer.hand_out(2);
    writer.log.restore(snapshot(2, 12), Vec::new());
    let (newer, _) = writer.hand_out(2);
    assert_eq!(writer.acknowledge(older, 2), 0);
    assert_eq!(writer.log.applied(), at(0));
    assert_eq!(writer.acknowledge(newer, 2), 12);
    assert_eq!(writer.log.applied(), at(12));
}
