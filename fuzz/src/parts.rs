//! What the nodes of a simulated cluster are made of: what the simulator has of its own, or what a user puts in its place.
//!
//! A user says by [`Parts`] how a node's [`StateMachine`] and its storage (a [`Subject`](crate::storage_suite::Subject), as for
//! the [`storage_suite`](crate::storage_suite)) are made. The simulator goes on to decide everything else: when a write
//! reaches the storage, where a crash hits, which reads fail, what is compacted, which messages arrive. Beside each part it keeps a plain
//! one of its own, with which it compares: the state machine after each entry, the storage after each write and each crash.

use std::fmt;

use bytes::Bytes;
use raft_core::{ConfState, Entry, Index, NodeId};

use crate::disk::Store;
use crate::machine::{Command, mix};

/// How a node's parts are made.
pub trait Parts: Clone {
    /// Its state machine; `()` if it has none but the simulator's.
    type Machine: StateMachine;
    /// Its storage: a [`Subject`](crate::storage_suite::Subject), or `()` for the simulator's.
    type Storage: Store;

    /// A state machine that has applied nothing.
    fn machine(&self, node: NodeId) -> Self::Machine;

    /// An empty storage of a node that starts with this configuration. What it takes up elsewhere, such as a folder, it gives free
    /// when it is dropped.
    ///
    /// # Errors
    /// Why it can't be made, which is a failure.
    fn storage(&self, node: NodeId, conf_state: &ConfState) -> Result<Self::Storage, String>;
}

/// The simulator's own parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own;

impl Parts for Own {
    type Machine = ();
    type Storage = ();

    fn machine(&self, _: NodeId) {}

    fn storage(&self, _: NodeId, _: &ConfState) -> Result<(), String> {
        Ok(())
    }
}

/// A user's state machine.
///
/// The simulated clients write numbers, each a larger one than before, and read. A user says what the command looks like with which
/// his state machine takes such a number ([`write`](StateMachine::write)), and where it is to be found then
/// ([`read`](StateMachine::read)). Checked is that:
///
/// - each node answers a command in the same way, and is in the same state then (5);
/// - a command that is sent again takes effect once, with the same answer (thesis §6.3), so that reads and writes are
///   linearizable (20), if there is anything to read;
/// - a snapshot holds all of the state.
pub trait StateMachine {
    /// Why bytes are no state.
    type Error: fmt::Display;

    /// The command with which a client writes [`command.value()`](Command::value), about `padding` bytes longer than it need be.
    /// One that is sent again has the same client and sequence, but perhaps another padding.
    fn write(command: Command, padding: usize) -> Bytes;

    /// Applies the command of the entry at this index. Returns what its client is told.
    fn apply(&mut self, index: Index, command: Bytes) -> Bytes;

    /// An entry that holds no command is applied. If it is a membership change that was made, the cluster is `members` now.
    fn skip(&mut self, _entry: &Entry, _members: Option<&ConfState>) {}

    /// The number that the last command wrote, zero before the first. `None` if there is no telling; then it isn't checked that
    /// a command takes effect once.
    fn read(&self) -> Option<u64>;

    /// All of the state, as bytes.
    fn snapshot(&mut self) -> Bytes;

    /// The state becomes that of a snapshot.
    ///
    /// # Errors
    /// The bytes are none, which is a failure.
    fn restore(&mut self, state: &[u8]) -> Result<(), Self::Error>;

    /// A number that is the same for equal states and differs for others. It is asked for after each entry. If equal states can
    /// have snapshots of different bytes, or large ones, override it.
    fn digest(&mut self) -> u64 {
        let state = self.snapshot();
        let (words, rest) = state.as_chunks();
        let hash = words.iter().fold(state.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
    }
}

/// None: the numbers stand in the simulator's own state machine only.
impl StateMachine for () {
    type Error = fmt::Error;

    fn write(_: Command, padding: usize) -> Bytes {
        Bytes::from(vec![0; padding])
    }

    fn apply(&mut self, _: Index, _: Bytes) -> Bytes {
        Bytes::new()
    }

    fn read(&self) -> Option<u64> {
        None
    }

    fn snapshot(&mut self) -> Bytes {
        Bytes::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), fmt::Error> {
        Ok(())
    }

    fn digest(&mut self) -> u64 {
        0
    }
}
