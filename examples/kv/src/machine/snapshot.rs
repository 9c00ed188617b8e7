//! The machine as a stream of records: written and read with the memory of one record at a time.
//!
//! ```text
//! "RKVSTATE" u8 version, u64 applied
//! 's' client, u64 serial, u64 used, outcome      a session
//! 'k' key, value, u64 modified                   a key
//! 'p' u64 id, address as text                    a member that was added (from version 2 on)
//! 'e' u64 sessions, u64 keys                     the end
//! ```
//! Numbers are little-endian, byte strings have a `u32` length before them. The file around the stream has the
//! checksums ([`crate::disk::snapshot`]).

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use raft_proto::{Index, NodeId};

use super::sessions::{Last, Sessions};
use super::store::Store;
use super::{Machine, Outcome, Versioned};
use crate::command::{ClientId, MAX_CLIENT_ID, MAX_KEY, MAX_VALUE};

const MAGIC: &[u8; 8] = b"RKVSTATE";
const VERSION: u8 = 2;
/// Version 1 has no members.
const FIRST_VERSION: u8 = 1;
const SESSION: u8 = b's';
const KEY: u8 = b'k';
const PEER: u8 = b'p';
/// The longest address as text, and then some.
const MAX_ADDR: usize = 100;
const END: u8 = b'e';

/// The machine as it was when it was frozen; to be written from any thread while the machine goes on.
#[derive(Debug)]
pub struct Frozen {
    applied: Index,
    pub(super) map: Arc<BTreeMap<Bytes, Versioned>>,
    sessions: Sessions,
    peers: BTreeMap<NodeId, SocketAddr>,
}

/// Why a stream is no machine.
#[derive(Debug)]
#[non_exhaustive]
pub enum RestoreError {
    /// It can't be read, or its checksums are wrong.
    Io(io::Error),
    /// It isn't a machine's stream.
    NotAMachine,
    /// Written by a version of this program that this one doesn't know.
    UnknownVersion(u8),
    /// A record makes no sense: its kind.
    BadRecord(&'static str),
    /// The counts at the end don't match the records.
    WrongCounts,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Io(error) => write!(f, "the snapshot can't be read: {error}"),
            RestoreError::NotAMachine => f.write_str("the snapshot doesn't hold a key-value map"),
            RestoreError::UnknownVersion(v) => {
                write!(f, "the snapshot's content has version {v}, this program knows {VERSION}")
            }
            RestoreError::BadRecord(what) => write!(f, "the snapshot holds a bad record: {what}"),
            RestoreError::WrongCounts => f.write_str("the snapshot has more or fewer records than it says"),
        }
    }
}

impl std::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RestoreError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for RestoreError {
    fn from(error: io::Error) -> RestoreError {
        RestoreError::Io(error)
    }
}

impl Machine {
    /// The machine as it is now. Shares the map and copies the sessions: microseconds for any number of
    /// keys, about a millisecond for ten thousand sessions.
    pub fn freeze(&mut self) -> Frozen {
        Frozen {
            applied: self.applied,
            map: self.store.freeze(),
            sessions: self.sessions.clone(),
            peers: self.peers.clone(),
        }
    }

    /// The machine that a [`Frozen`] wrote.
    ///
    /// # Errors
    /// The stream can't be read or is no machine.
    pub fn restore(mut from: impl Read) -> Result<Machine, RestoreError> {
        let from = &mut from;
        if read_array::<8>(from)? != *MAGIC {
            return Err(RestoreError::NotAMachine);
        }
        match read_u8(from)? {
            FIRST_VERSION..=VERSION => {}
            other => return Err(RestoreError::UnknownVersion(other)),
        }
        let applied = Index::new(read_u64(from)?);
        let mut sessions = Sessions::default();
        let mut map = BTreeMap::new();
        let mut peers = BTreeMap::new();
        loop {
            match read_u8(from)? {
                SESSION => {
                    let (client, last) = read_session(from)?;
                    if last.used > applied || !sessions.restore(client, last) {
                        return Err(RestoreError::BadRecord("a session"));
                    }
                }
                KEY => {
                    let (key, value) = read_pair(from)?;
                    let ascends = map.last_key_value().is_none_or(|(last, _)| *last < key);
                    if !ascends || value.modified > applied {
                        return Err(RestoreError::BadRecord("a key"));
                    }
                    map.insert(key, value);
                }
                PEER => {
                    let (id, addr) = read_peer(from)?;
                    if peers.insert(id, addr).is_some() {
                        return Err(RestoreError::BadRecord("a member that occurs twice"));
                    }
                }
                END => {
                    let counts = [read_u64(from)?, read_u64(from)?];
                    if counts != [count(sessions.len()), count(map.len())] || from.read(&mut [0])? != 0 {
                        return Err(RestoreError::WrongCounts);
                    }
                    return Ok(Machine { applied, store: Store::of(map), sessions, peers });
                }
                _ => return Err(RestoreError::BadRecord("of an unknown kind")),
            }
        }
    }
}

impl Frozen {
    /// The last index that it has applied.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Writes it, record by record.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_to(&self, mut to: impl Write) -> io::Result<()> {
        let to = &mut to;
        to.write_all(MAGIC)?;
        to.write_all(&[VERSION])?;
        write_u64(to, self.applied.get())?;
        for (client, last) in self.sessions.iter() {
            to.write_all(&[SESSION])?;
            write_bytes(to, client.as_bytes())?;
            write_u64(to, last.serial)?;
            write_u64(to, last.used.get())?;
            write_outcome(to, &last.outcome)?;
        }
        for (key, versioned) in self.map.iter() {
            to.write_all(&[KEY])?;
            write_bytes(to, key)?;
            write_bytes(to, &versioned.value)?;
            write_u64(to, versioned.modified.get())?;
        }
        for (id, addr) in &self.peers {
            to.write_all(&[PEER])?;
            write_u64(to, id.get())?;
            write_bytes(to, addr.to_string().as_bytes())?;
        }
        to.write_all(&[END])?;
        write_u64(to, count(self.sessions.len()))?;
        write_u64(to, count(self.map.len()))
    }
}

const DONE: u8 = 0;
const SWAPPED: u8 = 1;
const NOT_SWAPPED_ABSENT: u8 = 2;
const NOT_SWAPPED: u8 = 3;
const DELETED: u8 = 4;
const DELETED_NOTHING: u8 = 5;

fn write_outcome(to: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let tag = match outcome {
        Outcome::Done => DONE,
        Outcome::Swapped => SWAPPED,
        Outcome::NotSwapped { current: None } => NOT_SWAPPED_ABSENT,
        Outcome::NotSwapped { current: Some(_) } => NOT_SWAPPED,
        Outcome::Deleted { existed: true } => DELETED,
        Outcome::Deleted { existed: false } => DELETED_NOTHING,
        // What was refused isn't recorded.
        Outcome::StaleSerial | Outcome::Malformed | Outcome::AlreadyApplied => {
            return Err(io::Error::other("an outcome that no session records"));
        }
    };
    to.write_all(&[tag])?;
    match outcome {
        Outcome::NotSwapped { current: Some(value) } => write_bytes(to, value),
        _ => Ok(()),
    }
}

fn read_outcome(from: &mut impl Read) -> Result<Outcome, RestoreError> {
    Ok(match read_u8(from)? {
        DONE => Outcome::Done,
        SWAPPED => Outcome::Swapped,
        NOT_SWAPPED_ABSENT => Outcome::NotSwapped { current: None },
        NOT_SWAPPED => Outcome::NotSwapped { current: Some(read_bytes(from, MAX_VALUE)?) },
        DELETED => Outcome::Deleted { existed: true },
        DELETED_NOTHING => Outcome::Deleted { existed: false },
        _ => return Err(RestoreError::BadRecord("an outcome")),
    })
}

fn read_session(from: &mut impl Read) -> Result<(ClientId, Last), RestoreError> {
    let client = ClientId::new(read_bytes(from, MAX_CLIENT_ID)?)
        .map_err(|_| RestoreError::BadRecord("a client without a name"))?;
    let (serial, used) = (read_u64(from)?, Index::new(read_u64(from)?));
    Ok((client, Last { serial, used, outcome: read_outcome(from)? }))
}

fn read_peer(from: &mut impl Read) -> Result<(NodeId, SocketAddr), RestoreError> {
    let id = NodeId::new(read_u64(from)?);
    let addr = read_bytes(from, MAX_ADDR)?;
    let addr = std::str::from_utf8(&addr).ok().and_then(|addr| addr.parse().ok());
    id.zip(addr).ok_or(RestoreError::BadRecord("a member"))
}

fn read_pair(from: &mut impl Read) -> Result<(Bytes, Versioned), RestoreError> {
    let (key, value) = (read_bytes(from, MAX_KEY)?, read_bytes(from, MAX_VALUE)?);
    Ok((key, Versioned { value, modified: Index::new(read_u64(from)?) }))
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn write_u64(to: &mut impl Write, n: u64) -> io::Result<()> {
    to.write_all(&n.to_le_bytes())
}

fn write_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&len.to_le_bytes())?;
    to.write_all(bytes)
}

fn read_array<const N: usize>(from: &mut impl Read) -> Result<[u8; N], RestoreError> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_u8(from: &mut impl Read) -> Result<u8, RestoreError> {
    read_array::<1>(from).map(|[byte]| byte)
}

fn read_u64(from: &mut impl Read) -> Result<u64, RestoreError> {
    read_array(from).map(u64::from_le_bytes)
}

fn read_bytes(from: &mut impl Read, limit: usize) -> Result<Bytes, RestoreError> {
    let len = u32::from_le_bytes(read_array(from)?);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > limit {
        return Err(RestoreError::BadRecord("a length beyond the limit"));
    }
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes)?;
    Ok(Bytes::from(bytes))
}
