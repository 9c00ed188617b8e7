//! Snapshot files: made, sent, received and read in pieces, never as a whole in memory.
//!
//! A snapshot travels in two forms: the *descriptor* ([`SnapshotDescriptor`], 40 bytes) is the `data` of the
//! [`Snapshot`] that the core passes around; the *file* goes beside it, through [`SnapshotReader`] and
//! [`SnapshotReceiver`]. A file has its name only when it is complete, verified and flushed.

use std::fmt;
use std::io;

use bytes::Bytes;
use raft_proto::{Index, Snapshot, SnapshotMetadata, Term};

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

impl SnapshotDescriptor {
    /// The descriptor that the data of this snapshot is.
    ///
    /// # Errors
    /// It is none.
    pub fn of(_snapshot: &Snapshot) -> Result<SnapshotDescriptor, SnapshotError> {
        todo!()
    }

    /// Its bytes, for [`Snapshot::data`].
    pub fn encode(&self) -> Bytes {
        todo!()
    }
}

/// The snapshot files of a folder. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct SnapshotStore {}

impl SnapshotStore {
    /// Begins a file. The state goes into the writer; [`SnapshotWriter::finish`] then gives the snapshot
    /// for [`LogWriter::record_snapshot`](super::LogWriter::record_snapshot).
    ///
    /// # Errors
    /// The file can't be made.
    pub fn create(&self, _metadata: SnapshotMetadata) -> Result<SnapshotWriter, SnapshotError> {
        todo!()
    }

    /// Is the file here, complete?
    pub fn has(&self, _descriptor: &SnapshotDescriptor) -> bool {
        todo!()
    }

    /// The state in the file, to restore the machine from. It is verified while it is read: a reader that comes to the
    /// end without an error has seen what was written.
    ///
    /// # Errors
    /// The file is gone or its head is damaged.
    pub fn open(&self, _descriptor: &SnapshotDescriptor) -> Result<SnapshotState, SnapshotError> {
        todo!()
    }

    /// The bytes of the file, to send them to another node.
    ///
    /// # Errors
    /// The file is gone.
    pub fn send(&self, _descriptor: &SnapshotDescriptor) -> Result<SnapshotReader, SnapshotError> {
        todo!()
    }

    /// Begins to receive a file.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn receive(&self, _descriptor: SnapshotDescriptor) -> Result<SnapshotReceiver, SnapshotError> {
        todo!()
    }
}

/// A file that is being made. Dropping it removes it.
#[derive(Debug)]
pub struct SnapshotWriter {}

impl SnapshotWriter {
    /// Flushes the file to the disk and gives it its name.
    ///
    /// # Errors
    /// That failed.
    pub fn finish(self) -> Result<Snapshot, SnapshotError> {
        todo!()
    }
}

impl io::Write for SnapshotWriter {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        todo!()
    }

    fn flush(&mut self) -> io::Result<()> {
        todo!()
    }
}

/// The state in a file.
#[derive(Debug)]
pub struct SnapshotState {}

impl SnapshotState {
    /// What the snapshot replaces, with the configuration.
    pub fn metadata(&self) -> &SnapshotMetadata {
        todo!()
    }
}

impl io::Read for SnapshotState {
    fn read(&mut self, _into: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}

/// The bytes of a file, in pieces.
#[derive(Debug)]
pub struct SnapshotReader {}

impl SnapshotReader {
    /// The next piece, of at most `max` bytes; none at the end.
    ///
    /// # Errors
    /// Reading failed, or the file has another length than the descriptor says.
    pub fn next_chunk(&mut self, _max: usize) -> Result<Option<Bytes>, SnapshotError> {
        todo!()
    }
}

/// A file that is being received. Dropping it removes it.
#[derive(Debug)]
pub struct SnapshotReceiver {}

impl SnapshotReceiver {
    /// Takes the next piece.
    ///
    /// # Errors
    /// Writing failed, or there is more than the descriptor says.
    pub fn push(&mut self, _chunk: &[u8]) -> Result<(), SnapshotError> {
        todo!()
    }

    /// How many bytes came.
    pub fn received(&self) -> u64 {
        todo!()
    }

    /// Verifies the whole file, flushes it to the disk and gives it its name. Only then the message with the
    /// snapshot may go to the core.
    ///
    /// # Errors
    /// It isn't what the descriptor says; or the disk failed.
    pub fn finish(self) -> Result<SnapshotDescriptor, SnapshotError> {
        todo!()
    }
}
