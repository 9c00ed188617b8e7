//! The format of a snapshot file.
//!
//! ```text
//! "RKVSNAP\0" u32 version
//! u32 length, metadata (a protobuf Snapshot without data), u64 digest
//! u32 length > 0, bytes, u64 digest       a chunk of the state; any number
//! u32 0, u64 length of the state, u64 digest
//! ```
//! Numbers are little-endian. Each digest (XXH3) is seeded with the number of its part, so parts can't change
//! places. The digest of the whole file stands in the descriptor.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use raft_proto::{Snapshot, SnapshotMetadata, wire};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::{SnapshotDescriptor, SnapshotError, Unfinished};

const MAGIC: &[u8; 8] = b"RKVSNAP\0";
const VERSION: u32 = 1;
/// The length of all chunks but the last, and the longest that is accepted.
const CHUNK: usize = 64 << 10;
/// The longest metadata that is accepted: some thousand members.
const MAX_METADATA: usize = 1 << 20;

/// A file that is being made. Dropping it removes it.
pub struct SnapshotWriter {
    file: BufWriter<File>,
    unfinished: Unfinished,
    metadata: SnapshotMetadata,
    hasher: Xxh3,
    /// Bytes in the file.
    size: u64,
    /// Bytes of the state.
    length: u64,
    /// Parts written.
    parts: u64,
    chunk: Vec<u8>,
}

impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriter").field("metadata", &self.metadata).field("size", &self.size).finish()
    }
}

impl SnapshotWriter {
    pub(super) fn new(
        unfinished: Unfinished,
        metadata: SnapshotMetadata,
    ) -> Result<SnapshotWriter, SnapshotError> {
        let file = BufWriter::new(unfinished.file.try_clone()?);
        let chunk = Vec::with_capacity(CHUNK);
        let hasher = Xxh3::new();
        let mut writer =
            SnapshotWriter { file, unfinished, metadata, hasher, size: 0, length: 0, parts: 0, chunk };
        writer.put(MAGIC)?;
        writer.put(&VERSION.to_le_bytes())?;
        let mut encoded = BytesMut::new();
        let head = Snapshot { metadata: writer.metadata.clone(), data: Bytes::new() };
        wire::encode_snapshot(&head, &mut encoded);
        writer.put_part(&encoded)?;
        Ok(writer)
    }

    /// Flushes the file to the disk and gives it its name.
    ///
    /// # Errors
    /// That failed.
    pub fn finish(mut self) -> Result<Snapshot, SnapshotError> {
        self.put_chunk()?;
        let length = self.length.to_le_bytes();
        self.put(&0_u32.to_le_bytes())?;
        self.put(&length)?;
        self.put(&xxh3_64_with_seed(&length, self.parts).to_le_bytes())?;
        self.file.flush()?;
        let descriptor = SnapshotDescriptor {
            index: self.metadata.index,
            term: self.metadata.term,
            size: self.size,
            digest: self.hasher.digest(),
        };
        self.unfinished.finish(&descriptor)?;
        Ok(Snapshot { metadata: self.metadata, data: descriptor.encode() })
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size = self.size.saturating_add(bytes.len() as u64);
        self.file.write_all(bytes)
    }

    fn put_part(&mut self, part: &[u8]) -> io::Result<()> {
        let len = u32::try_from(part.len()).map_err(io::Error::other)?;
        let digest = xxh3_64_with_seed(part, self.parts);
        self.put(&len.to_le_bytes())?;
        self.put(part)?;
        self.put(&digest.to_le_bytes())?;
        self.parts = self.parts.saturating_add(1);
        Ok(())
    }

    fn put_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        self.length = self.length.saturating_add(chunk.len() as u64);
        let result = self.put_part(&chunk);
        chunk.clear();
        self.chunk = chunk;
        result
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() >= CHUNK {
            self.put_chunk()?;
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    /// Does nothing: a file is flushed when it is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The state in a file.
pub struct SnapshotState {
    file: BufReader<File>,
    descriptor: SnapshotDescriptor,
    metadata: SnapshotMetadata,
    hasher: Xxh3,
    size: u64,
    length: u64,
    parts: u64,
    chunk: Bytes,
    ended: bool,
}

impl fmt::Debug for SnapshotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotState")
            .field("descriptor", &self.descriptor)
            .field("size", &self.size)
            .finish()
    }
}

impl SnapshotState {
    pub(super) fn new(file: File, descriptor: SnapshotDescriptor) -> Result<SnapshotState, SnapshotError> {
        let mut state = SnapshotState {
            file: BufReader::with_capacity(CHUNK, file),
            descriptor,
            metadata: SnapshotMetadata::default(),
            hasher: Xxh3::new(),
            size: 0,
            length: 0,
            parts: 0,
            chunk: Bytes::new(),
            ended: false,
        };
        if state.take_array::<8>()? != *MAGIC {
            return Err(SnapshotError::Damaged("it doesn't begin like a snapshot"));
        }
        let version = u32::from_le_bytes(state.take_array()?);
        if version != VERSION {
            return Err(SnapshotError::UnknownVersion(version));
        }
        let len = u32::from_le_bytes(state.take_array()?);
        let head = state.take_part(len, MAX_METADATA)?;
        let head =
            wire::decode_snapshot(head).map_err(|_| SnapshotError::Damaged("its head makes no sense"))?;
        if head.position() != descriptor.position() {
            return Err(SnapshotError::Damaged("it is a snapshot of another position"));
        }
        state.metadata = head.metadata;
        Ok(state)
    }

    /// What the snapshot replaces, with the configuration.
    pub fn metadata(&self) -> &SnapshotMetadata {
        &self.metadata
    }

    fn take_into(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => SnapshotError::Damaged("it is cut short"),
            _ => SnapshotError::Io(error),
        })?;
        self.hasher.update(bytes);
        self.size = self.size.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.take_into(&mut bytes)?;
        Ok(bytes)
    }

    fn take_part(&mut self, len: u32, limit: usize) -> Result<Bytes, SnapshotError> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > limit {
            return Err(SnapshotError::Damaged("a part is too long"));
        }
        let mut part = vec![0; len];
        self.take_into(&mut part)?;
        let digest = u64::from_le_bytes(self.take_array()?);
        if digest != xxh3_64_with_seed(&part, self.parts) {
            return Err(SnapshotError::Damaged("a checksum is wrong"));
        }
        self.parts = self.parts.saturating_add(1);
        Ok(Bytes::from(part))
    }

    /// Fetches the next chunk, or verifies the end.
    fn advance(&mut self) -> Result<(), SnapshotError> {
        let len = u32::from_le_bytes(self.take_array()?);
        if len > 0 {
            self.chunk = self.take_part(len, CHUNK)?;
            self.length = self.length.saturating_add(self.chunk.len() as u64);
            return Ok(());
        }
        let length: [u8; 8] = self.take_array()?;
        let digest = u64::from_le_bytes(self.take_array()?);
        let whole = u64::from_le_bytes(length) == self.length
            && digest == xxh3_64_with_seed(&length, self.parts)
            && self.size == self.descriptor.size
            && self.hasher.digest() == self.descriptor.digest;
        if !whole {
            return Err(SnapshotError::Damaged("its end doesn't match what is before"));
        }
        self.ended = true;
        Ok(())
    }
}

impl Read for SnapshotState {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && !self.ended && !into.is_empty() {
            self.advance().map_err(|error| match error {
                SnapshotError::Io(error) => error,
                error => io::Error::new(io::ErrorKind::InvalidData, error),
            })?;
        }
        let taken = into.len().min(self.chunk.len());
        if let Some(place) = into.get_mut(..taken) {
            self.chunk.copy_to_slice(place);
        }
        Ok(taken)
    }
}
