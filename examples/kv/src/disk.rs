//! The data folder of a node: its log and hard state in one file of an embedded engine, its snapshots in files of
//! their own.
//!
//! ```text
//! IDENTITY        whose folder this is; written last when the folder is made
//! LOCK            locked by the process that runs on the folder; holds its pid
//! log.redb        entries, hard state, bounds of the log, which snapshot it starts from
//! ACKNOWLEDGED    the number of the last write that was acknowledged
//! snapshot-…      a snapshot: index, term, digest in its name; only complete ones have this name
//! *.tmp           anything that wasn't finished; removed at the next start
//! ```
//!
//! What is promised, and what it costs, is in `STORAGE.md`. In short: a write that [`LogWriter::write`] acknowledged is
//! there after any crash, or the next [`Disk::open`] refuses with a [`Corruption`]; a write that wasn't acknowledged is
//! there as a whole or not at all.
//!
//! Three parts, for three places: [`LogReader`] is what the core reads (its `Storage`), cheap to clone; [`LogWriter`]
//! belongs to the one thread that writes; [`SnapshotStore`] goes to whoever makes, sends or receives snapshots.

mod error;
mod reader;
pub mod snapshot;
mod writer;

use std::path::Path;

use raft_proto::{ConfState, Entry, HardState, NodeId, Snapshot};

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
    /// The configuration that a *new* folder starts from: the cluster's initial members, or nobody for a node that is
    /// to be added to a running cluster. Has no effect on a folder that exists.
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
    pub entries: Vec<Entry>,
    /// Term, vote and commit index.
    pub hard_state: Option<HardState>,
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
    /// Opens the folder, or makes it. Everything in it is verified, the snapshot's content excepted: that is verified when
    /// the state machine is restored from it ([`SnapshotStore::open`]).
    ///
    /// # Errors
    /// It isn't this node's, is in use, is of another version, or is corrupt; see [`DiskError`], whose messages say what
    /// to do.
    pub fn open(dir: impl AsRef<Path>, identity: &Identity, options: Options) -> Result<Disk, DiskError> {
        let _ = (dir.as_ref(), identity, options);
        todo!()
    }
}
