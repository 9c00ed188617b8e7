//! What a simulated disk writes to beside the simulator's own: nothing, or a user's storage.

use raft_core::{ConfState, HardState, Index, MemoryStorage, Ready, Snapshot, Storage};

use bytes::Bytes;

use crate::storage_suite::{self, Subject};

/// What a storage should hold after a crash.
#[derive(Debug)]
pub struct Expected<'a> {
    /// Everything that was written.
    pub stored: &'a MemoryStorage,
    /// The hard state as of the last sync: it may have been lost what of the commit index was written later.
    pub synced: HardState,
    /// The configuration that it was made with.
    pub at_first: &'a ConfState,
}

/// A storage under a simulated disk: a user's [`Subject`], or `()`, which is none.
///
/// Each of these reports in words what it finds wrong.
pub trait Store {
    /// Is it none?
    const NONE: bool;
    /// What the core reads.
    type Reads: Storage;

    /// What the core reads, where `own` is the simulator's.
    fn reads<'a>(&'a self, own: &'a MemoryStorage) -> &'a Self::Reads;

    /// Writes what a `Ready` asks for, and syncs if it must.
    ///
    /// # Errors
    /// It can't.
    fn write(&mut self, ready: &Ready) -> Result<(), String>;

    /// Power is lost, in the midst of this write if there is one.
    ///
    /// # Errors
    /// It can't be opened again.
    fn crash(&mut self, torn: Option<&Ready>) -> Result<(), String>;

    /// Holds it what it should after a crash? Returns the hard state that it holds.
    ///
    /// # Errors
    /// No: what should be there, and what is.
    fn compare(&mut self, expected: &Expected) -> Result<HardState, String>;

    /// Does its log end as this one does?
    ///
    /// # Errors
    /// No: what should be there, and what is.
    fn compare_end(&self, own: &MemoryStorage) -> Result<(), String>;

    /// Where its log begins; `own` if there is none.
    ///
    /// # Errors
    /// It can't tell.
    fn first(&self, own: Index) -> Result<Index, String>;

    /// A snapshot whose data is the state becomes one that can be kept or written.
    ///
    /// # Errors
    /// It can't be made.
    fn receive(&mut self, snapshot: Snapshot) -> Result<Snapshot, String>;

    /// The state of one that was received.
    ///
    /// # Errors
    /// It can't be read.
    fn state_of(&self, snapshot: &Snapshot) -> Result<Bytes, String>;

    /// Keeps a snapshot, and may drop the log up to `compact`, all of that durably.
    ///
    /// # Errors
    /// It can't.
    fn keep(&mut self, snapshot: &Snapshot, compact: Index) -> Result<(), String>;

    /// Entries that were being fetched are to be there.
    fn fetch(&mut self);
}

impl Store for () {
    const NONE: bool = true;
    type Reads = MemoryStorage;

    fn reads<'a>(&'a self, own: &'a MemoryStorage) -> &'a MemoryStorage {
        own
    }

    fn write(&mut self, _: &Ready) -> Result<(), String> {
        Ok(())
    }

    fn crash(&mut self, _: Option<&Ready>) -> Result<(), String> {
        Ok(())
    }

    fn compare(&mut self, expected: &Expected) -> Result<HardState, String> {
        Ok(expected.synced)
    }

    fn compare_end(&self, _: &MemoryStorage) -> Result<(), String> {
        Ok(())
    }

    fn first(&self, own: Index) -> Result<Index, String> {
        Ok(own)
    }

    fn receive(&mut self, snapshot: Snapshot) -> Result<Snapshot, String> {
        Ok(snapshot)
    }

    fn state_of(&self, snapshot: &Snapshot) -> Result<Bytes, String> {
        Ok(snapshot.data.clone())
    }

    fn keep(&mut self, _: &Snapshot, _: Index) -> Result<(), String> {
        Ok(())
    }

    fn fetch(&mut self) {}
}

impl<T: Subject> Store for T {
    const NONE: bool = false;
    type Reads = T::Storage;

    fn reads<'a>(&'a self, _: &'a MemoryStorage) -> &'a T::Storage {
        self.storage()
    }

    fn write(&mut self, ready: &Ready) -> Result<(), String> {
        Subject::write(self, ready).map_err(|error| format!("write: {error}"))?;
        if ready.must_sync {
            self.sync().map_err(|error| format!("sync: {error}"))?;
        }
        Ok(())
    }

    fn crash(&mut self, torn: Option<&Ready>) -> Result<(), String> {
        match torn {
            Some(ready) => {
                self.crash_while_writing(ready).map_err(|error| format!("crash_while_writing: {error}"))
            }
            None => Subject::crash(self).map_err(|error| format!("crash: {error}")),
        }
    }

    fn compare(&mut self, expected: &Expected) -> Result<HardState, String> {
        storage_suite::compare_after_crash(self, expected)
    }

    fn compare_end(&self, own: &MemoryStorage) -> Result<(), String> {
        storage_suite::compare_end(self.storage(), own)
    }

    fn first(&self, _: Index) -> Result<Index, String> {
        self.storage().first_index().map_err(|error| format!("first_index: {error}"))
    }

    fn receive(&mut self, snapshot: Snapshot) -> Result<Snapshot, String> {
        self.receive_snapshot(snapshot).map_err(|error| format!("receive_snapshot: {error}"))
    }

    fn state_of(&self, snapshot: &Snapshot) -> Result<Bytes, String> {
        self.snapshot_state(snapshot).map_err(|error| format!("snapshot_state: {error}"))
    }

    fn keep(&mut self, snapshot: &Snapshot, compact: Index) -> Result<(), String> {
        self.save_snapshot(snapshot).map_err(|error| format!("save_snapshot: {error}"))?;
        let first = Store::first(self, Index::ZERO)?;
        if compact >= first {
            self.compact(compact).map_err(|error| format!("compact: {error}"))?;
        }
        self.sync().map_err(|error| format!("sync: {error}"))
    }

    fn fetch(&mut self) {
        self.wait_until_fetched();
    }
}
