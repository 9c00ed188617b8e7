//! The log on disk: one file that only grows, a frame for each `Ready`.
//!
//! ```text
//!   frame   = length of the body, u32 │ checksum of the body, u32 │ body
//!   body    = hard state, or not: u8, 3 × u64 │ entries until the end: kind u8, term u64, index u64, length u32, data
//! ```
//!
//! A `Ready` is all there or not at all: a frame that isn't whole at the end of the file was never acknowledged, and is cut
//! off at the next start. That is what an example needs; how a server tells a torn tail from a corrupt middle, and how a
//! log is compacted, is in `examples/kv`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;
use raft_core::{Entry, EntryBatches, HardState, Index, MemoryStorage, NodeId, Payload, Term};

const HEADER: usize = 8;

/// The kinds of entries.
const TERM_START: u8 = 0;
const COMMAND: u8 = 1;

/// A log that is open for writing.
pub(crate) struct LogFile {
    file: File,
    /// What is added and not yet written.
    buffer: Vec<u8>,
}

impl LogFile {
    /// Opens or creates it, and reads what it holds into `storage`.
    pub(crate) fn open(path: &Path, storage: &mut MemoryStorage) -> io::Result<LogFile> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = replay(&bytes, storage)?;
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        file.sync_all()?;
        // A file is there after a crash only if its folder's entry for it is.
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(LogFile { file, buffer: Vec::new() })
    }

    /// Adds a `Ready` to the next write.
    pub(crate) fn add(&mut self, entries: &EntryBatches, hard_state: Option<HardState>) -> io::Result<()> {
        let mut body = Vec::new();
        body.push(u8::from(hard_state.is_some()));
        if let Some(HardState { term, vote, commit }) = hard_state {
            for number in [term.get(), vote.map_or(0, NodeId::get), commit.get()] {
                body.extend(number.to_be_bytes());
            }
        }
        for entry in entries {
            let (tag, data) = match &entry.payload {
                Payload::TermStart => (TERM_START, &[][..]),
                Payload::Normal(data) => (COMMAND, &data[..]),
                Payload::ConfChange(_)
                | Payload::ConfChangeV2(_)
                | Payload::LeaveJoint
                | Payload::RefusedChange => {
                    return Err(io::Error::new(io::ErrorKind::Unsupported, "the membership is fixed here"));
                }
            };
            body.push(tag);
            body.extend(entry.term.get().to_be_bytes());
            body.extend(entry.index.get().to_be_bytes());
            body.extend(length(data)?.to_be_bytes());
            body.extend(data);
        }
        self.buffer.extend(length(&body)?.to_be_bytes());
        self.buffer.extend(checksum(&body).to_be_bytes());
        self.buffer.extend(body);
        Ok(())
    }

    /// Writes what was added, and makes it durable if it must be.
    pub(crate) fn write(&mut self, must_sync: bool) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        if must_sync { self.file.sync_data() } else { Ok(()) }
    }
}

/// Reads whole frames into `storage`; returns how many bytes they take.
pub(crate) fn replay(bytes: &[u8], storage: &mut MemoryStorage) -> io::Result<u64> {
    let mut rest = bytes;
    while let Some((body, behind)) = frame(rest) {
        let (hard_state, entries) = parse(body).ok_or(io::ErrorKind::InvalidData)?;
        storage.append(&entries.into()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(hard_state) = hard_state {
            storage.set_hard_state(hard_state);
        }
        rest = behind;
    }
    Ok((bytes.len() - rest.len()) as u64)
}

/// The body of the first frame, and what comes behind it; nothing if the frame isn't whole.
fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (length, expected) = header.split_first_chunk()?;
    let (body, behind) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    (checksum(body).to_be_bytes() == expected).then_some((body, behind))
}

fn parse(mut body: &[u8]) -> Option<(Option<HardState>, Vec<Entry>)> {
    let hard_state = match take::<1>(&mut body)? {
        [0] => None,
        _ => Some(HardState {
            term: Term::new(u64::from_be_bytes(take(&mut body)?)),
            vote: NodeId::new(u64::from_be_bytes(take(&mut body)?)),
            commit: Index::new(u64::from_be_bytes(take(&mut body)?)),
        }),
    };
    let mut entries = Vec::new();
    while !body.is_empty() {
        let [tag] = take(&mut body)?;
        let term = Term::new(u64::from_be_bytes(take(&mut body)?));
        let index = Index::new(u64::from_be_bytes(take(&mut body)?));
        let length = u32::from_be_bytes(take(&mut body)?);
        let (data, behind) = body.split_at_checked(length as usize)?;
        body = behind;
        let payload = match tag {
            TERM_START => Payload::TermStart,
            COMMAND => Payload::Normal(Bytes::copy_from_slice(data)),
            _ => return None,
        };
        entries.push(Entry { term, index, payload });
    }
    Some((hard_state, entries))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn length(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// FNV-1a: enough to notice a write that was torn.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
