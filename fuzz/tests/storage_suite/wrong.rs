//! A storage with a fault.

use std::collections::VecDeque;
use std::ops::Range;

use raft_core::{
    ConfState, Entries, Entry, HardState, Index, InitialState, MemoryStorage, NodeId, Payload, Ready,
    Snapshot, Storage, StorageError, Term,
};
use raft_fuzz::storage_suite::Subject;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    OneEntryTooMany,
    NothingUnderASmallLimit,
    KeepsTheOldTail,
    ForgetsVotes,
    LosesTheLastSync,
    TearsWrites,
    ReordersWrites,
    UnavailableBeforeTheLog,
    CompactedBehindTheLog,
    ForgetsTheTermBeforeTheLog,
    KeepsTheLogUnderASnapshot,
    GivesOldSnapshots,
    ForgetsTheSnapshotsConfiguration,
    CompactsTooMuch,
    BeginsOneLate,
    TakesEmptyCommandsForTermStarts,
    ForgetsWhatWasLost,
    RefusesLargeEntries,
    FetchesForEver,
}

/// What the core reads of it.
#[derive(Clone)]
pub struct Reader {
    memory: MemoryStorage,
    fault: Option<Fault>,
}

/// A storage in memory that has one fault, or none.
pub struct Wrong {
    now: Reader,
    durable: MemoryStorage,
    before_that: MemoryStorage,
    /// Since the last sync.
    writes: VecDeque<Written>,
}

/// What a `Ready` asked for.
struct Written {
    snapshot: Option<Snapshot>,
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
}

impl Wrong {
    pub fn new(conf_state: &ConfState, fault: Option<Fault>) -> Wrong {
        let memory = MemoryStorage::with_conf_state(conf_state.clone());
        Wrong {
            durable: memory.clone(),
            before_that: memory.clone(),
            now: Reader { memory, fault },
            writes: VecDeque::new(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.now.fault == Some(fault)
    }
}

fn write_to(memory: &mut MemoryStorage, written: &Written) -> Result<(), StorageError> {
    if let Some(snapshot) = &written.snapshot {
        memory.apply_snapshot(snapshot.clone())?;
    }
    memory.append(&written.entries.clone().into())?;
    if let Some(hard_state) = written.hard_state {
        memory.set_hard_state(hard_state);
    }
    Ok(())
}

impl Subject for Wrong {
    type Storage = Reader;
    type Error = StorageError;

    fn storage(&self) -> &Reader {
        &self.now
    }

    fn write(&mut self, ready: &Ready) -> Result<(), StorageError> {
        let fault = self.now.fault;
        let mut written = Written {
            snapshot: ready.snapshot.clone(),
            entries: ready.entries.to_vec(),
            hard_state: ready.hard_state,
        };
        let large = |entry: &Entry| entry.encoded_len() > 1 << 20;
        if fault == Some(Fault::RefusesLargeEntries) && written.entries.iter().any(large) {
            return Err(StorageError::Other("the entry is too large".into()));
        }
        if fault == Some(Fault::KeepsTheOldTail)
            && let Some(last) = written.entries.last()
        {
            let behind = last.index.next()..self.now.memory.last_index()?.next();
            if !behind.is_empty() {
                written.entries.extend(self.now.memory.entries(behind, u64::MAX)?);
            }
        }
        if fault == Some(Fault::TakesEmptyCommandsForTermStarts) {
            for entry in written.entries.iter_mut().filter(|entry| entry.payload == Payload::default()) {
                entry.payload = Payload::TermStart;
            }
        }
        if let (Some(Fault::KeepsTheLogUnderASnapshot), Some(snapshot)) = (fault, &written.snapshot)
            && self.now.memory.last_index()? >= snapshot.metadata.index
        {
            self.now.memory.set_snapshot(snapshot.clone());
            self.now.memory.set_conf_state(snapshot.metadata.conf_state.clone());
            written.snapshot = None;
        }
        write_to(&mut self.now.memory, &written)?;
        if let Some(report) = ready.data_loss
            && fault != Some(Fault::ForgetsWhatWasLost)
        {
            self.now.memory.set_lost(report.lost());
        }
        self.writes.push_back(written);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.writes.clear();
        self.before_that = std::mem::replace(&mut self.durable, self.now.memory.clone());
        Ok(())
    }

    fn crash(&mut self) -> Result<(), StorageError> {
        self.now.memory = self.durable.clone();
        if self.has(Fault::LosesTheLastSync) {
            self.now.memory = self.before_that.clone();
        }
        if self.has(Fault::ForgetsVotes) {
            let hard_state = self.now.memory.hard_state();
            self.now.memory.set_hard_state(HardState { vote: None, ..hard_state });
        }
        if self.has(Fault::TearsWrites)
            && let Some(first) = self.writes.front()
        {
            // Its entries made it, and its hard state didn't.
            self.now.memory.append(&first.entries.clone().into())?;
        }
        if self.has(Fault::ReordersWrites)
            && let Some(hard_state) = self.writes.iter().rev().find_map(|written| written.hard_state)
        {
            // The last vote made it, and the entries before it didn't.
            self.now.memory.set_hard_state(hard_state);
        }
        self.durable = self.now.memory.clone();
        self.writes.clear();
        Ok(())
    }

    fn save_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StorageError> {
        self.now.memory.set_snapshot(snapshot.clone());
        if !self.has(Fault::ForgetsTheSnapshotsConfiguration) {
            self.now.memory.set_conf_state(snapshot.metadata.conf_state.clone());
        }
        Ok(())
    }

    fn compact(&mut self, index: Index) -> Result<(), StorageError> {
        let too_far = self.has(Fault::CompactsTooMuch) && index < self.now.memory.last_index()?;
        self.now.memory.compact(if too_far { index.next() } else { index })
    }
}

impl Storage for Reader {
    fn initial_state(&self) -> Result<InitialState, StorageError> {
        self.memory.initial_state()
    }

    fn first_index(&self) -> Result<Index, StorageError> {
        self.memory.first_index()
    }

    fn last_index(&self) -> Result<Index, StorageError> {
        self.memory.last_index()
    }

    fn term(&self, index: Index) -> Result<Term, StorageError> {
        let first = self.memory.first_index()?;
        match self.fault {
            Some(Fault::ForgetsTheTermBeforeTheLog) if index.next() == first && !index.is_zero() => {
                Err(StorageError::Compacted)
            }
            Some(Fault::UnavailableBeforeTheLog) if index.next() < first => Err(StorageError::Unavailable),
            Some(Fault::CompactedBehindTheLog) if index > self.memory.last_index()? => {
                Err(StorageError::Compacted)
            }
            _ => self.memory.term(index),
        }
    }

    fn entries(&self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError> {
        if self.fault == Some(Fault::FetchesForEver) && range.end <= self.memory.last_index()?.next() {
            return Err(StorageError::Fetching);
        }
        let mut entries = self.memory.entries(range.clone(), max_bytes)?.to_vec();
        match self.fault {
            Some(Fault::OneEntryTooMany) => {
                let next = range.start.plus(entries.len() as u64);
                if next < range.end {
                    entries.extend(self.memory.entries(next..next.next(), 0)?);
                }
            }
            Some(Fault::BeginsOneLate) if entries.len() > 1 => drop(entries.remove(0)),
            Some(Fault::NothingUnderASmallLimit)
                if entries.last().is_some_and(|last| last.encoded_len() > max_bytes) =>
            {
                entries.clear();
            }
            _ => {}
        }
        Ok(entries.into())
    }

    fn snapshot(&self, at_least: Index, to: NodeId) -> Result<Snapshot, StorageError> {
        let at_least = if self.fault == Some(Fault::GivesOldSnapshots) { Index::ZERO } else { at_least };
        self.memory.snapshot(at_least, to)
    }
}
