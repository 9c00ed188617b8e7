//! Snapshot files: made, sent, received and read in pieces, never as a whole in memory.
//!
//! A snapshot travels in two forms: the *descriptor* ([`SnapshotDescriptor`], 36 bytes) is the `data` of the
//! [`Snapshot`] that the core passes around; the *file* goes beside it, through [`SnapshotReader`] and
//! [`SnapshotReceiver`]. A file has its name only when it is complete, verified and flushed; the name holds the
//! digest, so a name never stands for two contents.

mod file;
mod transfer;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_proto::{Index, LogPosition, Snapshot, SnapshotMetadata, Term};

use super::folder::{Folder, SNAPSHOT_PREFIX, TEMPORARY};

pub use file::{SnapshotState, SnapshotWriter};
pub use transfer::{SnapshotReader, SnapshotReceiver};

/// Which file a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotDescriptor {
    /// The last index that it covers.
    pub index: Index,
    /// The term of the entry there.
    pub term: Term,
    /// The length of the file in bytes.
    pub size: u64,
    /// The digest (XXH3, 64 bits) of all bytes of the file.
    pub digest: u64,
}

/// Why a snapshot can't be made, read, sent or received.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The operating system refused.
    Io(io::Error),
    /// There is no such file; a later snapshot may have taken its place.
    Gone,
    /// The bytes aren't those of a descriptor, or they contradict the snapshot's metadata.
    BadDescriptor,
    /// The file isn't what the descriptor says, or isn't whole: how.
    Damaged(&'static str),
    /// Written by a version of this program that this one doesn't know.
    UnknownVersion(u32),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Io(error) => write!(f, "the snapshot file: {error}"),
            SnapshotError::Gone => f.write_str("the snapshot file is gone"),
            SnapshotError::BadDescriptor => f.write_str("these bytes don't describe a snapshot file"),
            SnapshotError::Damaged(how) => write!(f, "the snapshot file is damaged: {how}"),
            SnapshotError::UnknownVersion(v) => write!(f, "the snapshot file has the unknown version {v}"),
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SnapshotError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> SnapshotError {
        SnapshotError::Io(error)
    }
}

const DESCRIPTOR: &[u8; 4] = b"KVS1";

impl SnapshotDescriptor {
    /// The descriptor that the data of this snapshot is.
    ///
    /// # Errors
    /// It is none, or it is that of another index or term than the snapshot's.
    pub fn of(snapshot: &Snapshot) -> Result<SnapshotDescriptor, SnapshotError> {
        let mut from = snapshot.data.strip_prefix(DESCRIPTOR).ok_or(SnapshotError::BadDescriptor)?;
        let mut number = || from.try_get_u64_le().map_err(|_| SnapshotError::BadDescriptor);
        let (index, term) = (Index::new(number()?), Term::new(number()?));
        let descriptor = SnapshotDescriptor { index, term, size: number()?, digest: number()? };
        if from.is_empty() && descriptor.position() == snapshot.position() {
            Ok(descriptor)
        } else {
            Err(SnapshotError::BadDescriptor)
        }
    }

    /// Its bytes, for [`Snapshot::data`].
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(36);
        out.put_slice(DESCRIPTOR);
        for number in [self.index.get(), self.term.get(), self.size, self.digest] {
            out.put_u64_le(number);
        }
        out.freeze()
    }

    /// The position of the last entry that the snapshot covers.
    pub fn position(&self) -> LogPosition {
        LogPosition { term: self.term, index: self.index }
    }

    fn name(&self) -> String {
        format!("{SNAPSHOT_PREFIX}{}-{}-{:016x}", self.index, self.term, self.digest)
    }
}

/// The index in a file's name, if it is the name of a snapshot.
fn index_of(name: &str) -> Option<Index> {
    let (index, _) = name.strip_prefix(SNAPSHOT_PREFIX)?.split_once('-')?;
    index.parse().ok().map(Index::new)
}

/// The snapshot files of a folder. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    folder: Arc<Folder>,
    /// Numbers the temporary files.
    begun: Arc<AtomicU64>,
}

impl SnapshotStore {
    pub(super) fn new(folder: Arc<Folder>) -> SnapshotStore {
        SnapshotStore { folder, begun: Arc::default() }
    }

    /// Begins a file. The state goes into the writer; [`SnapshotWriter::finish`] then gives the snapshot
    /// for [`LogWriter::record_snapshot`](super::LogWriter::record_snapshot).
    ///
    /// # Errors
    /// The file can't be made.
    pub fn create(&self, metadata: SnapshotMetadata) -> Result<SnapshotWriter, SnapshotError> {
        SnapshotWriter::new(self.unfinished()?, metadata)
    }

    /// Is the file here, complete?
    pub fn has(&self, descriptor: &SnapshotDescriptor) -> bool {
        let path = self.folder.path(&descriptor.name());
        fs::metadata(path).is_ok_and(|metadata| metadata.len() == descriptor.size)
    }

    /// The state in the file, to restore the machine from. It is verified while it is read: a reader that comes
    /// to the end without an error has seen what was written.
    ///
    /// # Errors
    /// The file is gone or its head is damaged.
    pub fn open(&self, descriptor: &SnapshotDescriptor) -> Result<SnapshotState, SnapshotError> {
        SnapshotState::new(self.file(descriptor)?, *descriptor)
    }

    /// The bytes of the file, to send them to another node.
    ///
    /// # Errors
    /// The file is gone.
    pub fn send(&self, descriptor: &SnapshotDescriptor) -> Result<SnapshotReader, SnapshotError> {
        Ok(SnapshotReader::new(self.file(descriptor)?, *descriptor))
    }

    /// Begins to receive a file.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn receive(&self, descriptor: SnapshotDescriptor) -> Result<SnapshotReceiver, SnapshotError> {
        Ok(SnapshotReceiver::new(self.unfinished()?, descriptor))
    }

    fn file(&self, descriptor: &SnapshotDescriptor) -> Result<File, SnapshotError> {
        let file = File::open(self.folder.path(&descriptor.name())).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SnapshotError::Gone,
            _ => SnapshotError::Io(error),
        })?;
        if file.metadata()?.len() != descriptor.size {
            return Err(SnapshotError::Damaged("its length is wrong"));
        }
        Ok(file)
    }

    fn unfinished(&self) -> Result<Unfinished, SnapshotError> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path(&format!("{SNAPSHOT_PREFIX}{number}{TEMPORARY}"));
        let options = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        Ok(Unfinished { file: options?, path, folder: Arc::clone(&self.folder), finished: false })
    }

    /// Removes the files that this one makes useless: those before it, and another of the same index. Later
    /// ones may have been received and not yet recorded.
    pub(super) fn remove_superseded(&self, latest: Option<&Snapshot>) {
        let Some(latest) = latest.and_then(|snapshot| SnapshotDescriptor::of(snapshot).ok()) else { return };
        let keep = latest.name();
        self.remove(|name| *name != keep && index_of(name).is_some_and(|index| index <= latest.index));
    }

    /// Removes what an earlier process left: unfinished files, and snapshots that aren't the latest.
    pub(super) fn remove_leftovers(&self, latest: Option<&Snapshot>) {
        let keep = latest.and_then(|snapshot| SnapshotDescriptor::of(snapshot).ok()).map(|it| it.name());
        self.remove(|name| {
            name.ends_with(TEMPORARY) || (index_of(name).is_some() && Some(name) != keep.as_ref())
        });
    }

    /// A file that can't be removed costs space and nothing else; the next snapshot tries again.
    fn remove(&self, useless: impl Fn(&String) -> bool) {
        for name in self.folder.names().unwrap_or_default().iter().filter(|name| useless(name)) {
            let _ = fs::remove_file(self.folder.path(name));
        }
    }
}

/// A file that doesn't have its name yet. Dropping it removes it.
#[derive(Debug)]
struct Unfinished {
    file: File,
    path: PathBuf,
    folder: Arc<Folder>,
    finished: bool,
}

impl Unfinished {
    /// Flushes the file and gives it its name; then the name is durable too.
    fn finish(mut self, descriptor: &SnapshotDescriptor) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, self.folder.path(&descriptor.name()))?;
        self.finished = true;
        self.folder.sync()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // If that fails too, the next start does it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
