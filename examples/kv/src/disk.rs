//! The data folder of a node: its log and hard state in one file of an embedded engine, its snapshots in files of
//! their own.
//!
//! ```text
//! IDENTITY        whose folder this is; written last when the folder is made
//! LOCK            locked by the process that runs on the folder; holds its pid
//! log.redb        entries, hard state, bounds of the log, which snapshot it starts from, what is known to be lost
//! ACKNOWLEDGED    the number of the last write that was acknowledged
//! snapshot-…      a snapshot: index, term, digest in its name; only complete ones have this name
//! *.tmp           anything that wasn't finished; removed at the next start
//! ```
//!
//! What is promised, and what it costs, is in `STORAGE.md`. In short: a write that [`LogWriter::write`]
//! acknowledged is there after any crash, or the next [`Disk::open`] refuses with a [`Corruption`]; a write
//! that wasn't acknowledged is there as a whole or not at all.
//!
//! Three parts, for three places: [`LogReader`] is what the core reads (its `Storage`), cheap to clone;
//! [`LogWriter`] belongs to the one thread that writes; [`SnapshotStore`] goes to whoever makes, sends or
//! receives snapshots.

mod engine;
mod error;
mod folder;
mod index;
mod reader;
mod record;
pub mod snapshot;
mod storage;
#[cfg(test)]
mod tests;
mod witness;
mod writer;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use raft_core::{DataLossReport, EntryBatches};
use raft_proto::{ConfState, HardState, Index, NodeId, Snapshot};

use engine::Engine;
use folder::{ACKNOWLEDGED, Age, Folder, LOG, SNAPSHOT_PREFIX, TEMPORARY};
use index::LogIndex;
use reader::{Recent, Shared, View};
use record::State;
use snapshot::SnapshotDescriptor;
use witness::Witness;

pub use error::{Corruption, DiskError, WriteRefusal};
pub use reader::{LogReader, ReadError};
pub use snapshot::SnapshotStore;
pub use writer::LogWriter;

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// The cluster: any text that is the same at each start of each of its nodes and differs between clusters (at
    /// most 64 KiB; a name, or the list of the initial members).
    pub cluster: String,
}

/// How the folder is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The configuration that a *new* folder starts from: the cluster's initial members, or nobody for a node
    /// that is to be added to a running cluster. Has no effect on a folder that exists.
    pub bootstrap: ConfState,
    /// How many entries the log keeps behind a snapshot of this node's own, so that a follower that is a little
    /// behind needs no snapshot. Default 1,000.
    pub keep_entries: u64,
    /// How many bytes of the latest entries (as they are encoded) are kept in memory. Default 16 MiB.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { bootstrap: ConfState::default(), keep_entries: 1_000, cache_bytes: 16 << 20 }
    }
}

/// What one `Ready` has to be made durable, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// A snapshot whose file was received: it replaces the whole log.
    pub snapshot: Option<Snapshot>,
    /// To append. What the log has from the first of these indexes on is replaced.
    pub entries: EntryBatches,
    /// Term, vote and commit index.
    pub hard_state: Option<HardState>,
    /// That the node has lost what it had acknowledged, or has it again.
    pub data_loss: Option<DataLossReport>,
}

/// An open data folder, in its parts. The folder is free for another process when all of them are dropped.
#[derive(Debug)]
pub struct Disk {
    /// What the core reads.
    pub reader: LogReader,
    /// What the writer's thread writes through.
    pub writer: LogWriter,
    /// The snapshot files.
    pub snapshots: SnapshotStore,
}

impl Disk {
    /// Opens the folder, or makes it. Everything in it is verified, the snapshot's content excepted: that is
    /// verified when the state machine is restored from it ([`SnapshotStore::open`]).
    ///
    /// # Errors
    /// It isn't this node's, is in use, is of another version, or is corrupt; see [`DiskError`], whose messages
    /// say what to do.
    pub fn open(dir: impl AsRef<Path>, identity: &Identity, options: Options) -> Result<Disk, DiskError> {
        let (folder, age) = Folder::open(dir.as_ref(), identity)?;
        if age == Age::New {
            make(&folder, identity, &options)?;
        }
        for name in [LOG, ACKNOWLEDGED] {
            if !folder.path(name).exists() {
                return Err(folder.corrupt(Corruption::Missing(name)));
            }
        }
        let engine = Engine::open(&folder.path(LOG)).map_err(|error| error.at(folder.dir()))?;
        Disk::verified(folder, engine, &options)
    }

    fn verified(folder: Folder, engine: Engine, options: &Options) -> Result<Disk, DiskError> {
        let state = engine.state().map_err(|error| error.at(folder.dir()))?;
        let witness = check_witness(&folder, &state)?;
        let swept = first_entry(&engine, &folder, &state)?;
        let view = check_log(&engine, &folder, state, options.cache_bytes)?;
        let folder = Arc::new(folder);
        let snapshots = SnapshotStore::new(Arc::clone(&folder));
        check_snapshot(&folder, &snapshots, &view)?;
        snapshots.remove_leftovers(view.state.snapshot.as_ref());

        let shared = Arc::new(Shared::new(engine, folder, view));
        let reader = LogReader::new(Arc::clone(&shared));
        let writer = LogWriter::new(shared, witness, snapshots.clone(), options.keep_entries, swept);
        Ok(Disk { reader, writer, snapshots })
    }
}

/// Makes what a folder has, and says last whose it is: until then the folder counts as new.
fn make(folder: &Folder, identity: &Identity, options: &Options) -> Result<(), DiskError> {
    refuse_orphans(folder)?;
    let state = State { number: 1, bootstrap: options.bootstrap.clone(), ..State::default() };
    let unfinished = format!("{LOG}{TEMPORARY}");
    let replace = || -> io::Result<()> {
        match fs::remove_file(folder.path(&unfinished)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    replace().map_err(|error| folder.failed("removing", &unfinished, error))?;
    Engine::make(&folder.path(&unfinished), &state).map_err(|error| error.at(folder.dir()))?;
    fs::rename(folder.path(&unfinished), folder.path(LOG))
        .map_err(|error| folder.failed("renaming", &unfinished, error))?;
    folder.write_whole(ACKNOWLEDGED, &Witness::content(state.number))?;
    folder.claim(identity)
}

/// A log without an identity is what a crash leaves while a folder is made, if nothing was ever written to it.
/// Anything else is a folder whose identity was lost, and must not be taken for a new one.
fn refuse_orphans(folder: &Folder) -> Result<(), DiskError> {
    if folder.path(LOG).exists() {
        let engine = Engine::open(&folder.path(LOG)).map_err(|error| error.at(folder.dir()))?;
        let state = engine.state().map_err(|error| error.at(folder.dir()))?;
        return match state.number {
            1 => Ok(()),
            _ => Err(folder.corrupt(Corruption::Missing(folder::IDENTITY))),
        };
    }
    let names = folder.names().map_err(|error| folder.failed("listing", "", error))?;
    let later = |name: &String| {
        name == ACKNOWLEDGED || (name.starts_with(SNAPSHOT_PREFIX) && !name.ends_with(TEMPORARY))
    };
    if names.iter().any(later) { Err(folder.corrupt(Corruption::Missing(LOG))) } else { Ok(()) }
}

/// The engine has all that was acknowledged.
fn check_witness(folder: &Folder, state: &State) -> Result<Witness, DiskError> {
    let failed = |error| folder.failed("reading", ACKNOWLEDGED, error);
    let mut witness = Witness::open(&folder.path(ACKNOWLEDGED)).map_err(failed)?;
    let acknowledged = witness.number().map_err(failed)?;
    let acknowledged = acknowledged.ok_or_else(|| folder.corrupt(Corruption::Witness))?;
    if acknowledged > state.number {
        let found = state.number;
        return Err(folder.corrupt(Corruption::AcknowledgedWriteLost { acknowledged, found }));
    }
    // What is there counts from now on, acknowledged or not.
    let take_note = witness.set(state.number).and_then(|()| witness.sync());
    take_note.map_err(|error| folder.failed("writing", ACKNOWLEDGED, error))?;
    Ok(witness)
}

/// The index up to which what was compacted away is gone from the engine.
fn first_entry(engine: &Engine, folder: &Folder, state: &State) -> Result<Index, DiskError> {
    let lowest = engine.lowest().map_err(|error| error.at(folder.dir()))?;
    Ok(lowest.map_or(state.base.index, |lowest| lowest.prev().min(state.base.index)))
}

/// Reads the whole log: each entry is intact, none is missing, the terms ascend. Keeps the latest in memory.
fn check_log(engine: &Engine, folder: &Folder, state: State, cache_bytes: u64) -> Result<View, DiskError> {
    let mut index = LogIndex::empty(state.base);
    let mut recent = Recent::new(cache_bytes);
    let scan = engine.scan(state.base.index.next(), |entry| {
        let expected = index.last().next();
        if entry.index != expected {
            return Err(Corruption::MissingEntry(expected));
        }
        if entry.term > state.hard_state.term || index.push(entry.position()).is_err() {
            return Err(Corruption::TermOutOfOrder(expected));
        }
        recent.push(entry);
        Ok(())
    });
    scan.map_err(|error| error.at(folder.dir()))?;
    if index.last() < state.last {
        return Err(folder.corrupt(Corruption::MissingEntry(index.last().next())));
    }
    if index.last() > state.last {
        return Err(folder.corrupt(Corruption::State));
    }
    if state.hard_state.commit > state.last {
        let (last, commit) = (state.last, state.hard_state.commit);
        return Err(folder.corrupt(Corruption::LastBelowCommit { last, commit }));
    }
    Ok(View { index, recent, state })
}

/// The snapshot that the log starts from is there, by its length and its head.
fn check_snapshot(folder: &Folder, snapshots: &SnapshotStore, view: &View) -> Result<(), DiskError> {
    let bad = |why: String| Err(folder.corrupt(Corruption::Snapshot(why)));
    let base = view.index.base();
    let Some(snapshot) = &view.state.snapshot else {
        return if base.index.is_zero() { Ok(()) } else { bad("none is recorded".to_owned()) };
    };
    let position = snapshot.position();
    if position.index < base.index || view.index.term(position.index).ok() != Some(position.term) {
        return bad(format!("it is recorded at {position}, where the log has another entry"));
    }
    match SnapshotDescriptor::of(snapshot).and_then(|descriptor| snapshots.open(&descriptor)) {
        Ok(file) if *file.metadata() == snapshot.metadata => Ok(()),
        Ok(_) => bad("its head isn't what was recorded".to_owned()),
        Err(error) => bad(error.to_string()),
    }
}
