//! Random lives of a log, with a model of the disk that remembers what each write really held.
//!
//! The disk does its writes in order, and it may be anywhere between the last one acknowledged and the last one handed
//! out when the power fails. So whatever the log believes to be durable must stand on the disk after each of those.

use std::vec::Vec;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{Entries, Entry, Index, LogPosition, Payload, Snapshot, Term};

use super::super::RaftLog;
use super::{config, id, open, snapshot};
use crate::config::Config;
use crate::entry_batches::EntryBatches;
use crate::storage::{MemoryStorage, StorageError};

/// A log as a plain list. No two entries that were ever appended have the same data.
#[derive(Clone, Debug, Default, PartialEq)]
struct Plain {
    before: LogPosition,
    entries: Vec<Entry>,
}

impl Plain {
    fn last(&self) -> LogPosition {
        self.entries.last().map_or(self.before, Entry::position)
    }

    fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.index == index)
    }

    fn position(&self, index: Index) -> LogPosition {
        if index == self.before.index { self.before } else { self.entry(index).unwrap().position() }
    }

    fn cut_behind(&mut self, index: Index) {
        self.entries.retain(|entry| entry.index <= index);
    }

    /// What a disk does with a write.
    fn write(&mut self, snapshot: Option<&Snapshot>, entries: &EntryBatches) {
        if let Some(snapshot) = snapshot {
            *self = Plain { before: snapshot.position(), entries: Vec::new() };
        }
        if let Some(first) = entries.first() {
            self.cut_behind(first.index.prev());
            assert_eq!(first.index, self.last().index.next(), "a hole");
        }
        self.entries.extend(entries.iter().cloned());
    }
}

/// A write: its snapshot and entries.
type Write = (Option<Snapshot>, EntryBatches);

struct Life {
    log: RaftLog<MemoryStorage>,
    async_writes: bool,
    term: u64,
    /// The hard state changed: there will be a write even without entries.
    owes_write: bool,
    made: u64,
    /// What the log should be.
    plain: Plain,
    writes: Vec<Write>,
    /// The disk after 0, 1, 2, … writes.
    disks: Vec<Plain>,
    /// How many writes the storage that the log reads has done, and how many of those are acknowledged.
    done: usize,
    acked: usize,
    committed: Index,
    handed: Index,
    applied: Index,
}

#[derive(Clone, Debug)]
enum Event {
    NewTerm,
    Append { back: u64, steps: Vec<u64> },
    HandOut,
    Write,
    Acknowledge(usize),
    Commit(u64),
    Restore { ahead: u64, step: u64 },
    HandOutCommitted,
    Applied(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::NewTerm),
        6 => (0_u64..5, vec(0_u64..3, 1..4)).prop_map(|(back, steps)| Event::Append { back, steps }),
        5 => Just(Event::HandOut),
        5 => Just(Event::Write),
        4 => (0_usize..4).prop_map(Event::Acknowledge),
        2 => (0_u64..4).prop_map(Event::Commit),
        1 => (0_u64..4, 0_u64..3).prop_map(|(ahead, step)| Event::Restore { ahead, step }),
        3 => Just(Event::HandOutCommitted),
        2 => (0_u64..6).prop_map(Event::Applied),
    ]
}

impl Life {
    fn new(async_writes: bool, max_committed_bytes: u64) -> Life {
        let config = Config { async_writes, max_committed_bytes, ..config() };
        Life {
            log: open(MemoryStorage::with_voters([id(1)]), &config, 0),
            async_writes,
            term: 1,
            owes_write: false,
            made: 0,
            plain: Plain::default(),
            writes: Vec::new(),
            disks: Vec::from([Plain::default()]),
            done: 0,
            acked: 0,
            committed: Index::ZERO,
            handed: Index::ZERO,
            applied: Index::ZERO,
        }
    }

    /// The number of the `Ready` with the n-th write. Not every `Ready` has one, so there are gaps.
    fn number(writes: usize) -> u64 {
        2 * u64::try_from(writes).unwrap()
    }

    fn live(&mut self, event: Event) {
        match event {
            Event::NewTerm => {
                self.term += 1;
                self.owes_write = true;
            }
            Event::Append { back, steps } => self.append(back, &steps),
            Event::HandOut => self.hand_out(),
            Event::Write => self.write(),
            Event::Acknowledge(ahead) => self.acknowledge((self.acked + ahead).min(self.done)),
            Event::Commit(ahead) => {
                let index = self.committed.plus(ahead);
                let expected = index.min(self.plain.last().index);
                assert_eq!(self.log.commit_to(index), expected > self.committed);
                self.committed = expected;
            }
            Event::Restore { ahead, step } => self.restore(ahead, step),
            Event::HandOutCommitted => self.hand_out_committed(),
            Event::Applied(ahead) => {
                let index = self.applied.plus(ahead);
                assert_eq!(self.log.on_applied(index).is_ok(), index <= self.handed);
                if index <= self.handed {
                    self.applied = index;
                }
            }
        }
    }

    fn append(&mut self, back: u64, steps: &[u64]) {
        let index = Index::new(self.plain.last().index.get().saturating_sub(back)).max(self.committed);
        let prev = self.plain.position(index);
        let mut last = prev;
        let mut entries = Vec::new();
        for step in steps {
            let term = (last.term.get() + step).min(self.term);
            last = LogPosition::new(Term::new(term), last.index.next());
            self.made += 1;
            let data = Bytes::copy_from_slice(&self.made.to_be_bytes());
            entries.push(Entry { term: last.term, index: last.index, payload: Payload::Normal(data) });
        }
        self.log.append(prev, entries.clone());
        self.plain.cut_behind(index);
        self.plain.entries.extend(entries);
    }

    fn hand_out(&mut self) {
        if !self.log.has_unwritten() && !self.owes_write {
            return;
        }
        self.owes_write = false;
        let mut entries = EntryBatches::default();
        let snapshot = self.log.hand_out_unwritten(&mut entries).cloned();
        let mut disk = self.disks.last().unwrap().clone();
        disk.write(snapshot.as_ref(), &entries);
        self.disks.push(disk);
        let has_snapshot = snapshot.is_some();
        self.writes.push((snapshot, entries));
        let number = Life::number(self.writes.len());
        self.log.on_write_handed_out(number, Term::new(self.term), has_snapshot);
    }

    fn write(&mut self) {
        let Some((snapshot, entries)) = self.writes.get(self.done) else { return };
        let storage = self.log.storage_mut();
        if let Some(snapshot) = snapshot {
            storage.apply_snapshot(snapshot.clone()).unwrap();
        }
        entries.batches().for_each(|batch| storage.append(batch).unwrap());
        self.done += 1;
    }

    fn acknowledge(&mut self, writes: usize) {
        let number = Life::number(writes) + 1;
        while let Some(write) = self.log.acknowledge_write(number) {
            self.log.on_written(&write, Term::new(self.term));
        }
        for (snapshot, _) in &self.writes[self.acked..writes] {
            // One that was overtaken by another in between counts for nothing.
            let index = snapshot.as_ref().map(|snapshot| snapshot.metadata.index);
            if index == Some(self.plain.before.index) {
                self.applied = self.applied.max(self.plain.before.index);
            }
        }
        self.acked = writes;
    }

    fn restore(&mut self, ahead: u64, step: u64) {
        let index = self.committed.plus(1 + ahead);
        let term = (self.plain.position(self.committed).term.get() + step).clamp(1, self.term);
        let position = LogPosition::new(Term::new(term), index);
        if self.log.matches(position).unwrap() {
            return;
        }
        self.log.restore(snapshot(term, index.get()), Vec::new());
        self.plain = Plain { before: position, entries: Vec::new() };
        self.committed = index;
        self.handed = index;
    }

    fn hand_out_committed(&mut self) {
        let range = self.log.to_apply();
        assert_eq!(range.start, self.handed.next());
        let mut entries = Entries::default();
        self.log.hand_out_committed(&mut entries).unwrap();
        assert_eq!(entries.is_empty(), range.is_empty(), "at least one, if any");
        for entry in entries {
            self.handed = self.handed.next();
            assert_eq!(Some(&entry), self.plain.entry(self.handed), "each once, in order");
            assert!(self.handed <= self.committed);
            if self.async_writes {
                // B058
                assert!(self.handed <= self.log.durable(), "applied before it is durable");
            }
        }
    }

    fn check(&self) {
        let log = &self.log;
        assert_eq!((log.committed(), log.applied()), (self.committed, self.applied));
        assert!(self.applied <= self.handed && self.handed <= self.committed);
        assert_eq!(log.last(), self.plain.last());
        assert_eq!(log.writes_in_flight(), self.writes.len() - self.acked);
        self.check_view();

        // Durable means: on the disk, at whatever write the power fails.
        let durable = log.durable();
        if log.pending_snapshot().is_some() {
            assert_eq!(durable, Index::ZERO);
        } else {
            for disk in &self.disks[self.acked..] {
                assert_eq!(disk.before, self.plain.before);
                for index in (self.plain.before.index.get() + 1..=durable.get()).map(Index::new) {
                    assert_eq!(disk.entry(index), self.plain.entry(index), "believed durable at {index}");
                }
            }
        }
        // Invariant 11: what was handed out, replayed in order, is the log.
        if !log.has_unwritten() {
            assert_eq!(self.disks.last(), Some(&self.plain));
        }
    }

    /// The log shows what it should, wherever its parts are kept.
    fn check_view(&self) {
        let log = &self.log;
        let (before, last) = (self.plain.before, self.plain.last());
        for index in (0..last.index.get() + 3).map(Index::new) {
            match log.term(index) {
                Ok(term) => assert_eq!(term, self.plain.position(index).term),
                Err(StorageError::Compacted) => assert!(index < before.index),
                Err(StorageError::Unavailable) => assert!(index > last.index),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(log.first_index().unwrap(), before.index.next());
        assert_eq!(super::all_of(log), self.plain.entries);
    }

    /// Everything is written and acknowledged: everything is stable.
    fn settle(&mut self) {
        self.hand_out();
        while self.done < self.writes.len() {
            self.write();
        }
        self.acknowledge(self.done);
        self.check();
        assert!(!self.log.has_unwritten());
        assert!(self.log.pending_snapshot().is_none());
        assert_eq!(self.log.durable(), self.plain.last().index);
        assert_eq!(self.log.writes_in_flight(), 0);
        // And everything that is committed can be applied, however small the pages.
        while self.handed < self.committed {
            self.log.on_applied(self.handed).unwrap();
            self.applied = self.handed;
            self.hand_out_committed();
        }
        self.log.on_applied(self.committed).unwrap();
        self.applied = self.committed;
        self.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_the_log_believes_durable_is_on_the_disk(
        async_writes: bool,
        max_committed_bytes in prop_oneof![1_u64..100, Just(1 << 20)],
        events in vec(event(), 0..60),
    ) {
        let mut life = Life::new(async_writes, max_committed_bytes);
        for event in events {
            life.live(event);
            life.check();
        }
        life.settle();
    }
}
