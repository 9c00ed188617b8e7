//! Writing the log: one commit, and one flush to the disk, for everything that waits.

use raft_proto::Snapshot;

use super::{DiskError, WriteBatch};

/// Writes the log. There is one, for one thread.
#[derive(Debug)]
pub struct LogWriter {}

impl LogWriter {
    /// Makes the batches durable, in order, in one commit. When this returns, they are on the disk and readable.
    ///
    /// With `sync` false (`Ready::must_sync`), batches that change nothing but the commit index are only remembered: they
    /// reach the disk with the next write. Anything else is flushed even then.
    ///
    /// # Errors
    /// [`DiskError::Refused`] changed nothing. After any other, nothing more is written ([`DiskError::Failed`]):
    /// what of a failed write is on the disk can only be found out by opening the folder anew.
    pub fn write(&mut self, _batches: &[WriteBatch], _sync: bool) -> Result<(), DiskError> {
        todo!()
    }

    /// Takes note of a snapshot that this node made of its own state machine, and gives up the log before it but for
    /// [`Options::keep_entries`](super::Options::keep_entries). Older snapshot files are removed. One that is older
    /// than the latest is removed itself, without an error.
    ///
    /// # Errors
    /// As for [`write`](LogWriter::write).
    pub fn record_snapshot(&mut self, _snapshot: &Snapshot) -> Result<(), DiskError> {
        todo!()
    }

    /// Writes what is only remembered (see [`write`](LogWriter::write)). Dropping does it too, without telling of an error.
    ///
    /// # Errors
    /// As for [`write`](LogWriter::write).
    pub fn close(self) -> Result<(), DiskError> {
        todo!()
    }
}
