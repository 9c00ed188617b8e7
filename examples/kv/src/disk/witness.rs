//! The number of the last write that was acknowledged, outside of the engine.
//!
//! The engine commits with one flush: pages, then a header that names them, then the flush. After a crash it
//! takes the newer of its two headers whose pages have the right checksums. That is right for a write that was
//! torn by the crash, and wrong for one that was acknowledged and has rotted since: the engine can't tell them
//! apart and goes back one write without a word. So each write has a number, kept in the engine with the data,
//! and once it is durable the number is written here too. An engine that comes back with a lower number has
//! lost something that was acknowledged.
//!
//! The file isn't flushed with each write: that would double the price. A killed process loses nothing, since
//! the number is with the operating system. After a power failure the number may be some seconds old, and rot
//! in the pages of the very last write may then pass for a torn write, which is the remaining gap.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

/// Two records take turns, in pages of their own, so that one is whole at any time.
const SLOT: u64 = 4096;
const RECORD: usize = 24;
const MAGIC: &[u8; 8] = b"RKVACK\0\x01";

#[derive(Debug)]
pub(super) struct Witness {
    file: File,
}

impl Witness {
    pub(super) fn content(number: u64) -> Vec<u8> {
        let mut content = vec![0; RECORD + SLOT as usize];
        for slot in [0, SLOT as usize] {
            if let Some(place) = content.get_mut(slot..slot + RECORD) {
                place.copy_from_slice(&record(number));
            }
        }
        content
    }

    pub(super) fn open(path: &Path) -> io::Result<Witness> {
        Ok(Witness { file: OpenOptions::new().read(true).write(true).open(path)? })
    }

    /// The number, if at least one of the records is whole.
    pub(super) fn number(&mut self) -> io::Result<Option<u64>> {
        let mut highest = None;
        for slot in [0, SLOT] {
            let mut bytes = [0; RECORD];
            self.file.seek(SeekFrom::Start(slot))?;
            match self.file.read_exact(&mut bytes) {
                Ok(()) => highest = highest.max(parse(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok(highest)
    }

    pub(super) fn set(&mut self, number: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start((number % 2) * SLOT))?;
        self.file.write_all(&record(number))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn record(number: u64) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let (head, digest) = bytes.split_at_mut(16);
    let (magic, value) = head.split_at_mut(8);
    magic.copy_from_slice(MAGIC);
    value.copy_from_slice(&number.to_le_bytes());
    digest.copy_from_slice(&xxh3_64(head).to_le_bytes());
    bytes
}

fn parse(bytes: &[u8; RECORD]) -> Option<u64> {
    let (_, rest) = bytes.split_first_chunk::<8>()?;
    let (number, _) = rest.split_first_chunk::<8>()?;
    let number = u64::from_le_bytes(*number);
    (record(number) == *bytes).then_some(number)
}
