//! The state machine of the simulation: the running hash of everything applied, so that two that differ anywhere differ for
//! ever; and a register that clients write, each command once however often it was sent.

use bytes::{BufMut, Bytes, BytesMut};
use raft_core::{
    ConfChangeV2, ConfState, Entry, Index, LogPosition, NodeId, Payload, Snapshot, SnapshotMetadata,
};

use crate::parts::StateMachine;

/// How many clients there are.
pub const CLIENTS: usize = 4;

/// The last command of a client that took effect (thesis §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub sequence: u32,
    /// Where it took effect.
    pub at: Index,
}

/// A client's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The client.
    pub client: u8,
    /// Its number: the same each time that it is sent.
    pub sequence: u32,
}

impl Command {
    /// What stands in the register afterwards.
    pub fn value(self) -> u64 {
        u64::from(self.client) << 32 | u64::from(self.sequence)
    }

    /// As an entry's payload, for this state machine. `padding` is how many bytes it is longer than it need be.
    pub fn encode<M: StateMachine>(self, padding: usize) -> Bytes {
        let tested = M::write(self, padding);
        let mut data = BytesMut::with_capacity(8 + tested.len());
        data.put_u64(self.value());
        data.put(tested);
        data.freeze()
    }

    /// The part of such a payload that is for the state machine that is tested.
    pub fn tested(data: &Bytes) -> Bytes {
        data.slice(8.min(data.len())..)
    }

    /// The command in an entry, if it is a client's.
    pub fn decode(entry: &Entry) -> Option<Command> {
        let value = entry.data()?.first_chunk().copied().map(u64::from_be_bytes)?;
        let client = u8::try_from(value >> 32).ok()?;
        Some(Command { client, sequence: value as u32 })
            .filter(|command| usize::from(command.client) < CLIENTS)
    }
}

/// A state machine whose state says all about its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The last entry that was applied.
    pub applied: LogPosition,
    /// The hash of all entries so far.
    pub chain: u64,
    /// What the clients wrote last.
    pub register: u64,
    /// What each of them wrote last.
    pub sessions: [Session; CLIENTS],
    /// The configuration after the last entry that was applied.
    pub conf_state: ConfState,
}

impl Machine {
    /// One that has applied nothing.
    pub fn new(conf_state: ConfState) -> Machine {
        Machine { conf_state, ..Machine::default() }
    }

    /// Applies the next entry. Returns the client's command that it is, with the index where it took effect: an earlier one if
    /// it was sent twice. The configuration that follows from a change is the core's to say.
    pub fn apply(&mut self, entry: &Entry) -> Option<(Command, Index)> {
        self.chain = crate::cluster::chain(self.chain, entry);
        self.applied = entry.position();
        let command = Command::decode(entry)?;
        let session = &mut self.sessions[usize::from(command.client)];
        if command.sequence > session.sequence {
            *session = Session { sequence: command.sequence, at: entry.index };
            self.register = command.value();
        }
        Some((command, session.at))
    }

    /// A snapshot of it.
    pub fn snapshot(&self) -> Snapshot {
        let conf_state = self.conf_state.clone();
        let mut data = BytesMut::with_capacity(16 + 12 * CLIENTS);
        data.put_u64(self.chain);
        data.put_u64(self.register);
        for session in &self.sessions {
            data.put_u32(session.sequence);
            data.put_u64(session.at.get());
        }
        Snapshot {
            metadata: SnapshotMetadata { conf_state, index: self.applied.index, term: self.applied.term },
            data: data.freeze(),
        }
    }

    /// The machine that a snapshot was made of, and the bytes behind it; nothing if the bytes aren't one's.
    pub fn restore(snapshot: &Snapshot) -> Option<(Machine, &[u8])> {
        let mut data = &snapshot.data[..];
        let chain = u64::from_be_bytes(take(&mut data)?);
        let register = u64::from_be_bytes(take(&mut data)?);
        let mut sessions = [Session::default(); CLIENTS];
        for session in &mut sessions {
            session.sequence = u32::from_be_bytes(take(&mut data)?);
            session.at = Index::new(u64::from_be_bytes(take(&mut data)?));
        }
        let conf_state = snapshot.metadata.conf_state.clone();
        Some((Machine { applied: snapshot.position(), chain, register, sessions, conf_state }, data))
    }

    /// Where what stands in the register took effect.
    pub fn written_at(&self) -> Index {
        // Who wrote it has written nothing since.
        self.sessions.get((self.register >> 32) as usize).copied().unwrap_or_default().at
    }

    /// The last index that was applied.
    pub fn index(&self) -> Index {
        self.applied.index
    }
}

fn take<const N: usize>(data: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = data.split_first_chunk()?;
    *data = rest;
    Some(*first)
}

/// A hash of what an entry holds.
pub fn entry_hash(entry: &Entry) -> u64 {
    let seed = mix(entry.index.get(), entry.kind() as u64);
    match &entry.payload {
        Payload::Normal(data) => {
            let (words, rest) = data.as_chunks();
            let hash = words.iter().fold(seed, |hash, word| mix(hash, u64::from_le_bytes(*word)));
            rest.iter().fold(mix(hash, data.len() as u64), |hash, byte| mix(hash, u64::from(*byte)))
        }
        Payload::ConfChange(change) => change_hash(seed, &change.to_v2()),
        Payload::ConfChangeV2(change) => change_hash(seed, change),
        Payload::TermStart => mix(seed, 1),
        Payload::RefusedChange => mix(seed, 2),
        Payload::LeaveJoint => mix(seed, 3),
    }
}

fn change_hash(seed: u64, change: &ConfChangeV2) -> u64 {
    let seed = mix(seed, change.transition as u64);
    change
        .changes
        .iter()
        .fold(seed, |hash, single| mix(mix(hash, single.kind as u64), single.node.map_or(0, NodeId::get)))
}

/// One step of a hash (FNV-1a over whole words, then a shift to spread it).
pub fn mix(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3);
    hash ^ (hash >> 29)
}
