//! The replicated state machine: a map, and the sessions that make retries safe.
//!
//! It is deterministic: the same commands at the same indexes give the same state and the same outcomes on every
//! node. It lives in memory and is rebuilt at start from the latest snapshot and the committed entries behind it.
//!
//! A snapshot is cheap to take while serving: [`Machine::freeze`] shares the map instead of copying it,
//! and copies the sessions, at most [`MAX_SESSIONS`] of them.

mod sessions;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use raft_proto::{ConfChangeKind, ConfChangeV2, ConfState, Index, NodeId};

pub use sessions::{MAX_SESSION_BYTES, MAX_SESSIONS};
pub use snapshot::{Frozen, RestoreError};

use crate::command::{Command, Operation};
use crate::membership::Note;
use sessions::Sessions;
use store::Store;

/// What became of a command. A retry of a session's last serial gets the outcome of the first time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The value was put; or the command was empty, as that at the start of a term.
    Done,
    /// The value was as expected and is the new one now.
    Swapped,
    /// The value wasn't as expected; nothing changed.
    NotSwapped {
        /// What it was.
        current: Option<Bytes>,
    },
    /// The key is absent now.
    Deleted {
        /// It was there before.
        existed: bool,
    },
    /// The session has used a later serial since; nothing changed, and what became of this serial is no longer
    /// known.
    StaleSerial,
    /// The bytes were no command; nothing changed.
    Malformed,
    /// This index, or a later one, was applied already; nothing changed. A fault of the caller.
    AlreadyApplied,
}

/// A value, and when it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// The index of the command that wrote it.
    pub modified: Index,
}

/// The state machine. See the [module](self).
#[derive(Debug, Default)]
pub struct Machine {
    applied: Index,
    store: Store,
    sessions: Sessions,
    /// Where the members are reached that were added while the cluster ran.
    peers: BTreeMap<NodeId, SocketAddr>,
}

impl Machine {
    /// The empty machine.
    pub fn new() -> Machine {
        Machine::default()
    }

    /// The last index that was applied.
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Is there no key?
    pub fn is_empty(&self) -> bool {
        self.store.len() == 0
    }

    /// How many sessions are remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Versioned> {
        self.store.get(key)
    }

    /// Takes note of an entry that holds no command for this machine: the start of a term, a membership change that was refused.
    pub fn skip(&mut self, index: Index) {
        self.applied = self.applied.max(index);
    }

    /// Takes note of a membership change that was made, of the address that it carries, and of who belongs to the cluster
    /// now. The address is that of the first node that the change brings.
    pub fn change_members(&mut self, index: Index, change: &ConfChangeV2, now: &ConfState) {
        self.skip(index);
        let addr = Note::decode(&change.context).and_then(|note| note.raft_addr);
        let brought = change.changes.iter().find(|single| single.kind != ConfChangeKind::Remove);
        if let (Some(id), Some(addr)) = (brought.and_then(|single| single.node), addr) {
            self.peers.insert(id, addr);
        }
        let lists = [&now.voters, &now.learners, &now.voters_outgoing, &now.learners_next];
        self.peers.retain(|id, _| lists.iter().any(|list| list.contains(id)));
    }

    /// Where the members are reached that were added while the cluster ran.
    pub fn peers(&self) -> &BTreeMap<NodeId, SocketAddr> {
        &self.peers
    }

    /// Applies the command of a committed entry. Entries are applied in order; membership changes go to
    /// [`change_members`](Machine::change_members).
    ///
    /// What the map keeps is copied out of `data`, so that a small value doesn't keep the whole message alive that
    /// it came in.
    pub fn apply(&mut self, index: Index, data: &Bytes) -> Outcome {
        if index <= self.applied {
            return Outcome::AlreadyApplied;
        }
        self.applied = index;
        self.store.settle();
        let Ok(command) = Command::decode(data.clone()) else {
            return Outcome::Malformed;
        };
        let Some(session) = command.session else {
            return self.execute(index, command.operation);
        };
        if let Some(recorded) = self.sessions.seen(&session, index) {
            return recorded;
        }
        let outcome = self.execute(index, command.operation);
        self.sessions.record(session, index, outcome.clone());
        outcome
    }

    fn execute(&mut self, index: Index, operation: Operation) -> Outcome {
        match operation {
            Operation::Put { key, value } => {
                self.put(index, &key, &value);
                Outcome::Done
            }
            Operation::Delete { key } => Outcome::Deleted { existed: self.store.remove(&key) },
            Operation::CompareAndSet { key, expected, new } => {
                let current = self.store.get(&key).map(|versioned| &versioned.value);
                if current != expected.as_ref() {
                    return Outcome::NotSwapped { current: current.cloned() };
                }
                match new {
                    Some(value) => self.put(index, &key, &value),
                    None => drop(self.store.remove(&key)),
                }
                Outcome::Swapped
            }
        }
    }

    fn put(&mut self, index: Index, key: &[u8], value: &[u8]) {
        let value = Versioned { value: Bytes::copy_from_slice(value), modified: index };
        self.store.put(Bytes::copy_from_slice(key), value);
    }
}
