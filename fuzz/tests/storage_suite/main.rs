//! The storage suite: what is right passes it, and what is wrong is named.
#![allow(missing_docs)]

mod simulated;
mod wrong;

use raft_core::{ConfState, Index, MemoryStorage, Ready, Snapshot, StorageError};
use raft_fuzz::storage_suite::{Rule, Subject, check};

use wrong::{Fault, Wrong};

/// What is in memory, and what would survive.
struct InMemory {
    now: MemoryStorage,
    durable: MemoryStorage,
}

impl Subject for InMemory {
    type Storage = MemoryStorage;
    type Error = StorageError;

    fn storage(&self) -> &MemoryStorage {
        &self.now
    }

    fn write(&mut self, ready: &Ready) -> Result<(), StorageError> {
        self.now.persist(ready)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.durable = self.now.clone();
        Ok(())
    }

    fn crash(&mut self) -> Result<(), StorageError> {
        self.now = self.durable.clone();
        Ok(())
    }

    fn save_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StorageError> {
        self.now.set_snapshot(snapshot.clone());
        self.now.set_conf_state(snapshot.metadata.conf_state.clone());
        Ok(())
    }

    fn compact(&mut self, index: Index) -> Result<(), StorageError> {
        self.now.compact(index)
    }
}

#[test]
fn the_storage_in_memory_passes() {
    let create = |conf_state: &ConfState| {
        let storage = MemoryStorage::with_conf_state(conf_state.clone());
        Ok(InMemory { now: storage.clone(), durable: storage })
    };
    check(create).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn the_one_with_faults_passes_without_any() {
    check(|conf_state| Ok(Wrong::new(conf_state, None))).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn each_fault_is_caught_by_the_rule_that_it_breaks() {
    use Fault::*;
    let faults = [
        (OneEntryTooMany, Rule::ByteLimit),
        (NothingUnderASmallLimit, Rule::ByteLimit),
        (KeepsTheOldTail, Rule::Bounds),
        (ForgetsVotes, Rule::Durable),
        (LosesTheLastSync, Rule::Durable),
        (TearsWrites, Rule::Whole),
        (ReordersWrites, Rule::Whole),
        (UnavailableBeforeTheLog, Rule::Compacted),
        (CompactedBehindTheLog, Rule::Unavailable),
        (ForgetsTheTermBeforeTheLog, Rule::Terms),
        (KeepsTheLogUnderASnapshot, Rule::Bounds),
        (GivesOldSnapshots, Rule::NoSnapshot),
        (ForgetsTheSnapshotsConfiguration, Rule::ConfState),
        (CompactsTooMuch, Rule::Compaction),
        (BeginsOneLate, Rule::Entries),
        (TakesEmptyCommandsForTermStarts, Rule::Entries),
        (ForgetsWhatWasLost, Rule::Lost),
        (RefusesLargeEntries, Rule::Accepts),
        (FetchesForEver, Rule::Entries),
    ];
    for (fault, rule) in faults {
        let result = check(|conf_state: &ConfState| Ok(Wrong::new(conf_state, Some(fault))));
        let failure = result.expect_err(&format!("{fault:?} passes"));
        assert_eq!(failure.rule(), rule, "{fault:?}: {failure}");
        let said = failure.to_string();
        assert!(said.starts_with(&rule.to_string()) && said.contains("expected: "), "{said}");
    }
}
