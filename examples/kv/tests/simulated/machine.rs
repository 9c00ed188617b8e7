//! The server's state machine as one that can be tested.

use bytes::Bytes;
use raft_core::{ConfState, Entry, Index};
use raft_fuzz::machine::Command as Write;
use raft_fuzz::parts::StateMachine;
use raft_kv::command::{ClientId, Command, Operation, Session};
use raft_kv::machine::{Frozen, Machine, RestoreError};

/// The keys in which the clients put their numbers.
const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

/// The key-value map.
#[derive(Debug, Default)]
pub(crate) struct KeyValue {
    machine: Machine,
    /// The last snapshot. It is kept for a while, as if it was being written, so that the map is shared.
    frozen: Option<Frozen>,
}

impl StateMachine for KeyValue {
    type Error = RestoreError;

    /// What the server logs for a `PUT` of a client that numbers its requests.
    fn write(write: Write, padding: usize) -> Bytes {
        let mut value = write.value().to_be_bytes().to_vec();
        value.resize(value.len() + padding, b' ');
        let client = ClientId::new(vec![b'0' + write.client]).unwrap();
        let key = Bytes::from_static(KEYS[write.sequence as usize % KEYS.len()]);
        Command {
            session: Some(Session { client, serial: u64::from(write.sequence) }),
            operation: Operation::Put { key, value: value.into() },
        }
        .encode()
        .unwrap()
    }

    fn apply(&mut self, index: Index, command: Bytes) -> Bytes {
        if index.get().is_multiple_of(3) {
            self.frozen = None;
        }
        format!("{:?}", self.machine.apply(index, &command)).into()
    }

    fn skip(&mut self, entry: &Entry, members: Option<&ConfState>) {
        match (entry.payload.as_conf_change(), members) {
            (Some(change), Some(now)) => self.machine.change_members(entry.index, &change, now),
            _ => self.machine.skip(entry.index),
        }
    }

    fn read(&self) -> Option<u64> {
        let newest = KEYS.iter().filter_map(|key| self.machine.get(key)).max_by_key(|found| found.modified);
        newest.map_or(Some(0), |found| found.value.first_chunk().copied().map(u64::from_be_bytes))
    }

    fn snapshot(&mut self) -> Bytes {
        let mut state = Vec::new();
        let frozen = self.machine.freeze();
        frozen.write_to(&mut state).unwrap();
        self.frozen = Some(frozen);
        state.into()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        *self = KeyValue { machine: Machine::restore(state)?, frozen: None };
        Ok(())
    }
}
