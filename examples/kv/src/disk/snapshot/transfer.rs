//! A snapshot file on its way from one node to another.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::{SnapshotDescriptor, SnapshotError, SnapshotState, Unfinished};

/// The bytes of a file, in pieces.
pub struct SnapshotReader {
    file: File,
    descriptor: SnapshotDescriptor,
    hasher: Xxh3,
    sent: u64,
}

impl fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("descriptor", &self.descriptor)
            .field("sent", &self.sent)
            .finish()
    }
}

impl SnapshotReader {
    pub(super) fn new(file: File, descriptor: SnapshotDescriptor) -> SnapshotReader {
        SnapshotReader { file, descriptor, hasher: Xxh3::new(), sent: 0 }
    }

    /// The next piece, of at most `max` bytes; none at the end. The file is removed when a later snapshot is
    /// recorded, but one that is being read stays readable (on Unix).
    ///
    /// # Errors
    /// Reading failed, or the file isn't what the descriptor says; the last piece is given only if it is.
    pub fn next_chunk(&mut self, max: usize) -> Result<Option<Bytes>, SnapshotError> {
        let left = self.descriptor.size.saturating_sub(self.sent);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(max.max(1));
        if len == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; len];
        self.file.read_exact(&mut chunk).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => SnapshotError::Damaged("it is cut short"),
            _ => SnapshotError::Io(error),
        })?;
        self.hasher.update(&chunk);
        self.sent = self.sent.saturating_add(len as u64);
        if self.sent == self.descriptor.size && self.hasher.digest() != self.descriptor.digest {
            return Err(SnapshotError::Damaged("its checksum is wrong"));
        }
        Ok(Some(Bytes::from(chunk)))
    }
}

/// A file that is being received. Dropping it removes it.
pub struct SnapshotReceiver {
    unfinished: Unfinished,
    descriptor: SnapshotDescriptor,
    hasher: Xxh3,
    received: u64,
}

impl fmt::Debug for SnapshotReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReceiver")
            .field("descriptor", &self.descriptor)
            .field("received", &self.received)
            .finish()
    }
}

impl SnapshotReceiver {
    pub(super) fn new(unfinished: Unfinished, descriptor: SnapshotDescriptor) -> SnapshotReceiver {
        SnapshotReceiver { unfinished, descriptor, hasher: Xxh3::new(), received: 0 }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// Writing failed, or there is more than the descriptor says.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        let received = self.received.saturating_add(chunk.len() as u64);
        if received > self.descriptor.size {
            return Err(SnapshotError::Damaged("there is more of it than was announced"));
        }
        self.unfinished.file.write_all(chunk)?;
        self.hasher.update(chunk);
        self.received = received;
        Ok(())
    }

    /// How many bytes came.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Verifies the whole file, flushes it to the disk and gives it its name. Only then the message with the
    /// snapshot may go to the core.
    ///
    /// # Errors
    /// It isn't what the descriptor says; or the disk failed.
    pub fn finish(mut self) -> Result<SnapshotDescriptor, SnapshotError> {
        if self.received != self.descriptor.size {
            return Err(SnapshotError::Damaged("there is less of it than was announced"));
        }
        if self.hasher.digest() != self.descriptor.digest {
            return Err(SnapshotError::Damaged("its checksum is wrong"));
        }
        self.unfinished.file.seek(SeekFrom::Start(0))?;
        // A sender that speaks for a file that is none is found out before anything relies on it.
        let mut state = SnapshotState::new(self.unfinished.file.try_clone()?, self.descriptor)?;
        io::copy(&mut state, &mut io::sink()).map_err(|error| match error.downcast::<SnapshotError>() {
            Ok(error) => error,
            Err(error) => SnapshotError::Io(error),
        })?;
        self.unfinished.finish(&self.descriptor)?;
        Ok(self.descriptor)
    }
}
