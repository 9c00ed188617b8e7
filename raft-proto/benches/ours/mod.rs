//! Our encoding under the workloads.

#![allow(clippy::unwrap_used, reason = "a benchmark that goes wrong is to stop")]

use bytes::{Bytes, BytesMut};
use raft_proto::{AppendEntries, Body, Entry, Index, LogPosition, Message, NodeId, Term, wire};

use crate::harness::codec::{Codec, ENTRIES};

/// The encoding of this crate.
pub(crate) struct OurCodec {
    message: Message,
    buffer: BytesMut,
}

impl Codec for OurCodec {
    fn new(payloads: impl Iterator<Item = Vec<u8>>) -> OurCodec {
        let entry = |(index, data)| Entry::normal(Term::new(7), Index::new(index), Bytes::from(data));
        let append = AppendEntries {
            prev: LogPosition::new(Term::new(7), Index::new(999)),
            entries: (1_000..).zip(payloads).map(entry).collect(),
            commit: Index::new(990),
        };
        let body = Body::AppendEntries(append);
        OurCodec {
            message: Message {
                from: NodeId::new(1).unwrap(),
                to: NodeId::new(2).unwrap(),
                term: Term::new(7),
                body,
            },
            buffer: BytesMut::new(),
        }
    }

    fn encode(&mut self) -> Bytes {
        let mut buffer = BytesMut::new();
        wire::encode_message(&self.message, &mut buffer);
        buffer.freeze()
    }

    fn encode_again(&mut self) -> usize {
        self.buffer.clear();
        wire::encode_message(&self.message, &mut self.buffer);
        self.buffer.len()
    }

    fn decode(&self, bytes: &[u8]) -> bool {
        self.decode_shared(&Bytes::copy_from_slice(bytes))
    }

    fn decode_shared(&self, bytes: &Bytes) -> bool {
        let message = wire::decode_message(bytes.clone()).unwrap();
        let Body::AppendEntries(append) = &message.body else { return false };
        append.entries.len() == ENTRIES
    }

    fn decodes_itself(&mut self) -> bool {
        let bytes = self.encode();
        wire::decode_message(bytes).unwrap() == self.message
    }
}
