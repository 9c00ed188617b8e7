//! The log: its parts against plain lists, and the whole against a model of the disk.

#![allow(clippy::arithmetic_side_effects)]

mod append;
mod conflict;
mod faults;
mod ledger;
mod model;
mod pages;
mod reading;
mod start;
mod unstable;

use std::vec::Vec;

use bytes::Bytes;
use raft_proto::{ConfState, Entry, HardState, Index, LogPosition, NodeId, Snapshot, SnapshotMetadata, Term};

use super::RaftLog;
use crate::config::Config;
use crate::storage::{MemoryStorage, Storage};

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn at(index: u64) -> Index {
    Index::new(index)
}

fn position(term: u64, index: u64) -> LogPosition {
    LogPosition::new(Term::new(term), at(index))
}

fn entry(term: u64, index: u64) -> Entry {
    Entry::normal(Term::new(term), at(index), Bytes::new())
}

/// Entries of these terms, right behind `before`.
fn entries_behind(before: u64, terms: &[u64]) -> Vec<Entry> {
    terms.iter().zip(before + 1..).map(|(term, index)| entry(*term, index)).collect()
}

/// What these entries are, for comparison.
fn named<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<(u64, u64)> {
    entries.into_iter().map(|entry| (entry.term.get(), entry.index.get())).collect()
}

fn snapshot(term: u64, index: u64) -> Snapshot {
    let conf_state = ConfState::of_voters([id(1)]);
    let metadata = SnapshotMetadata { conf_state, index: at(index), term: Term::new(term) };
    Snapshot { metadata, data: Bytes::new() }
}

/// A storage that was compacted up to `before` and holds entries of these terms behind it.
fn stored(before: LogPosition, terms: &[u64]) -> MemoryStorage {
    let mut storage = MemoryStorage::with_voters([id(1)]);
    if before != LogPosition::ZERO {
        storage.apply_snapshot(snapshot(before.term.get(), before.index.get())).unwrap();
    }
    storage.append(&entries_behind(before.index.get(), terms).into()).unwrap();
    storage
}

/// The log that starts from this storage, in a term above all others.
fn open<S: Storage>(storage: S, config: &Config, commit: u64) -> RaftLog<S> {
    let hard_state = HardState { term: Term::new(1000), vote: None, commit: at(commit) };
    RaftLog::new(storage, config, &hard_state).unwrap()
}

fn config() -> Config {
    Config::new(id(1), 0)
}

/// A log whose first entries are stored, and whose last ones are not.
fn log_of(stored_terms: &[u64], unstable_terms: &[u64]) -> RaftLog<MemoryStorage> {
    let mut log = open(stored(LogPosition::ZERO, stored_terms), &config(), 0);
    let last = log.last();
    log.append(last, entries_behind(last.index.get(), unstable_terms));
    log
}

/// All of a log that can be read.
fn all_of<S: Storage>(log: &RaftLog<S>) -> Vec<Entry> {
    let mut entries = Vec::new();
    entries_from(log, log.first_index().unwrap(), u64::MAX, &mut entries).unwrap();
    entries
}

/// What can be read from `first` on.
fn entries_from<S: Storage>(
    log: &RaftLog<S>,
    first: Index,
    max_bytes: u64,
    into: &mut Vec<Entry>,
) -> Result<(), crate::storage::StorageError> {
    into.extend(log.read(first..log.last().index.next(), max_bytes)?);
    Ok(())
}
