//! The `raft` crate under the workloads.

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, Message, MessageType, Snapshot};
use raft::storage::MemStorage;
use raft::{Config, GetEntriesContext, RaftState, RawNode, StateRole, Storage};

use crate::harness::codec::{Codec, ENTRIES};
use crate::harness::weight::{Parts, Weighed};
use crate::harness::{COMPACT_EVERY, COMPACT_KEEPS, Node, Setup, Tally};

/// Their log in memory. It copies all entries that are asked for before it looks at the limit, which makes catching up
/// quadratic; where a workload is about that, it is asked for a page at a time.
struct Log {
    memory: MemStorage,
    page: u64,
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        self.memory.initial_state()
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        self.memory.entries(low, high.min(low.saturating_add(self.page)), max_size, context)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        self.memory.term(index)
    }

    fn first_index(&self) -> raft::Result<u64> {
        self.memory.first_index()
    }

    fn last_index(&self) -> raft::Result<u64> {
        self.memory.last_index()
    }

    fn snapshot(&self, at_least: u64, to: u64) -> raft::Result<Snapshot> {
        self.memory.snapshot(at_least, to)
    }
}

/// A node of theirs.
pub struct Theirs {
    node: RawNode<Log>,
    tally: Tally,
    applied: u64,
    /// What was applied when the log was compacted last; nothing if it never is.
    compacted_at: Option<u64>,
}

fn apply(tally: &mut Tally, applied: &mut u64, entries: Vec<Entry>) {
    for entry in entries {
        tally.apply(&entry.data);
        *applied = entry.index;
    }
}

impl Theirs {
    fn compact(&mut self) {
        if let Some(compacted_at) = &mut self.compacted_at
            && self.applied - *compacted_at >= COMPACT_EVERY
        {
            *compacted_at = self.applied;
            self.node.store().memory.wl().compact(self.applied - COMPACT_KEEPS + 1).unwrap();
        }
    }
}

impl Node for Theirs {
    type Message = Message;

    type Stopped = (MemStorage, u64);

    type Room = ();

    fn start(id: u64, setup: &Setup) -> Theirs {
        let conf_state = ConfState {
            voters: setup.voters.clone(),
            voters_outgoing: setup.outgoing.clone(),
            ..ConfState::default()
        };
        Theirs::restart(id, setup, (MemStorage::new_with_conf_state(conf_state), 0))
    }

    fn stop(self) -> (MemStorage, u64) {
        (self.node.store().memory.clone(), self.applied)
    }

    fn restart(id: u64, setup: &Setup, (memory, applied): (MemStorage, u64)) -> Theirs {
        let config = Config {
            id,
            applied,
            election_tick: 10,
            heartbeat_tick: 1,
            max_size_per_msg: setup.max_bytes,
            max_committed_size_per_ready: setup.max_bytes,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            ..Config::default()
        };
        // A page holds more than a message, so that the limit decides.
        let page = if setup.compacts { u64::MAX } else { 300 };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        Theirs {
            node: RawNode::new(&config, Log { memory, page }, &logger).unwrap(),
            tally: Tally::default(),
            applied,
            compacted_at: setup.compacts.then_some(applied),
        }
    }

    fn campaign(&mut self) {
        self.node.campaign().unwrap();
    }

    fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    fn propose(&mut self, data: Vec<u8>) {
        self.node.propose(Vec::new(), data).unwrap();
    }

    fn propose_batch(&mut self, data: impl Iterator<Item = Vec<u8>>) {
        let entry = |data: Vec<u8>| Entry { data: data.into(), ..Entry::default() };
        let entries: Vec<Entry> = data.map(entry).collect();
        let mut message = Message { from: self.node.raft.id, entries: entries.into(), ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        self.node.step(message).unwrap();
    }

    fn read(&mut self, context: [u8; 8]) {
        self.node.read_index(context.to_vec());
    }

    fn tick(&mut self) {
        self.node.tick();
    }

    fn step(&mut self, message: Message) {
        self.node.step(message).unwrap();
    }

    fn has_ready(&self) -> bool {
        self.node.has_ready()
    }

    fn handle(&mut self, (): &mut (), mut send: impl FnMut(u64, Message)) -> bool {
        let Theirs { node, tally, applied, .. } = self;
        if !node.has_ready() {
            return false;
        }
        let mut ready = node.ready();
        let mut send_all =
            |messages: Vec<Message>| messages.into_iter().for_each(|message| send(message.to, message));
        send_all(ready.take_messages());
        if !ready.entries().is_empty() {
            node.store().memory.wl().append(ready.entries()).unwrap();
        }
        if let Some(hard_state) = ready.hs() {
            node.store().memory.wl().set_hardstate(hard_state.clone());
        }
        send_all(ready.take_persisted_messages());
        tally.reads += ready.read_states().len() as u64;
        apply(tally, applied, ready.take_committed_entries());
        let mut light = node.advance(ready);
        if let Some(commit) = light.commit_index() {
            node.store().memory.wl().mut_hard_state().set_commit(commit);
        }
        send_all(light.take_messages());
        apply(tally, applied, light.take_committed_entries());
        node.advance_apply();
        self.compact();
        true
    }

    fn tally(&self) -> Tally {
        self.tally
    }
}

impl Weighed for Theirs {
    /// It has no such thing.
    fn rest(&mut self) {}

    fn split(self) -> Parts {
        let storage = self.node.store().memory.clone();
        Parts { node: Box::new(self.node), storage: Box::new(storage) }
    }
}

/// Their encoding.
pub struct TheirCodec {
    message: Message,
    buffer: Vec<u8>,
}

#[cfg(feature = "protobuf")]
mod encoding {
    use bytes::Bytes;
    use protobuf::Message as _;
    use raft::eraftpb::Message;

    pub fn encode(message: &Message) -> Vec<u8> {
        message.write_to_bytes().unwrap()
    }

    pub fn encode_again(message: &Message, buffer: &mut Vec<u8>) {
        message.write_to_vec(buffer).unwrap();
    }

    pub fn decode(bytes: &[u8]) -> Message {
        Message::parse_from_bytes(bytes).unwrap()
    }

    pub fn decode_shared(bytes: &Bytes) -> Message {
        Message::parse_from_carllerche_bytes(bytes).unwrap()
    }
}

#[cfg(not(feature = "protobuf"))]
mod encoding {
    use bytes::Bytes;
    use prost::Message as _;
    use raft::eraftpb::Message;

    pub fn encode(message: &Message) -> Vec<u8> {
        message.encode_to_vec()
    }

    pub fn encode_again(message: &Message, buffer: &mut Vec<u8>) {
        message.encode(buffer).unwrap();
    }

    pub fn decode(bytes: &[u8]) -> Message {
        Message::decode(bytes).unwrap()
    }

    /// It copies all the same.
    pub fn decode_shared(bytes: &Bytes) -> Message {
        Message::decode(bytes.clone()).unwrap()
    }
}

impl Codec for TheirCodec {
    fn new(payloads: impl Iterator<Item = Vec<u8>>) -> TheirCodec {
        let entry =
            |(index, data): (u64, Vec<u8>)| Entry { term: 7, index, data: data.into(), ..Entry::default() };
        let entries: Vec<Entry> = (1_000..).zip(payloads).map(entry).collect();
        let mut message = Message {
            from: 1,
            to: 2,
            term: 7,
            log_term: 7,
            index: 999,
            commit: 990,
            entries: entries.into(),
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgAppend);
        TheirCodec { message, buffer: Vec::new() }
    }

    fn encode(&mut self) -> Bytes {
        encoding::encode(&self.message).into()
    }

    fn encode_again(&mut self) -> usize {
        self.buffer.clear();
        encoding::encode_again(&self.message, &mut self.buffer);
        self.buffer.len()
    }

    fn decode(&self, bytes: &[u8]) -> bool {
        encoding::decode(bytes).entries.len() == ENTRIES
    }

    fn decode_shared(&self, bytes: &Bytes) -> bool {
        encoding::decode_shared(bytes).entries.len() == ENTRIES
    }

    fn decodes_itself(&mut self) -> bool {
        let bytes = self.encode();
        encoding::decode(&bytes) == self.message && encoding::decode_shared(&bytes) == self.message
    }
}
