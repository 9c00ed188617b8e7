//! Bytes as text with comments, and short ways to write a message down.

use bytes::{Bytes, BytesMut};
use raft_proto::{Body, Index, LogPosition, Message, NodeId, Term, wire};

/// The bytes that a text shows: two hexadecimal digits a byte, `'abc'` for the characters themselves, and
/// `#` before a comment.
pub fn bytes(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let shown = line.split('#').next().unwrap_or_default();
        for word in shown.split_whitespace() {
            match word.strip_prefix('\'') {
                Some(characters) => bytes.extend(characters.strip_suffix('\'').unwrap().bytes()),
                None => bytes.push(u8::from_str_radix(word, 16).unwrap()),
            }
        }
    }
    bytes.into()
}

/// What an encoder writes.
pub fn encoded<T>(value: &T, encode: fn(&T, &mut BytesMut)) -> Bytes {
    let mut buf = BytesMut::new();
    encode(value, &mut buf);
    buf.freeze()
}

/// This message has exactly these bytes, and these bytes are exactly this message.
#[track_caller]
pub fn both_ways(message: &Message, text: &str) {
    assert_eq!(encoded(message, wire::encode_message), bytes(text), "writing");
    assert_eq!(wire::decode_message(bytes(text)).as_ref(), Ok(message), "reading");
}

/// These bytes are this message, though we would write it otherwise.
#[track_caller]
pub fn reads_as(text: &str, message: &Message) {
    assert_eq!(wire::decode_message(bytes(text)).as_ref(), Ok(message));
}

pub fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

pub fn at(term: u64, index: u64) -> LogPosition {
    LogPosition::new(Term::new(term), Index::new(index))
}

/// A message from node 1 to node 2 in term 5.
pub fn message(body: Body) -> Message {
    Message { from: node(1), to: node(2), term: Term::new(5), body }
}

/// A message from node 1 to node 2 in no term.
pub fn termless(body: Body) -> Message {
    Message { term: Term::ZERO, ..message(body) }
}
