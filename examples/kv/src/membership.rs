//! What a membership change carries beside the change itself.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use raft_proto::{ConfState, wire};

const MAGIC: &[u8; 5] = b"RKVM1";

/// The context of a membership change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Where the node is reached that the change brings, if it wasn't known.
    pub raft_addr: Option<SocketAddr>,
    /// The configuration that the change was made for. The members with which a cluster began aren't in its log, so a node
    /// that joined with nothing, and replays the log from its beginning, starts from this.
    pub before: ConfState,
}

impl Note {
    /// Its bytes, for the change's context.
    pub fn encode(&self) -> Bytes {
        let addr = self.raft_addr.map(|addr| addr.to_string()).unwrap_or_default();
        let mut out = BytesMut::new();
        out.put_slice(MAGIC);
        // An address has no more than some dozens of bytes.
        out.put_u8(u8::try_from(addr.len()).unwrap_or(0));
        out.put_slice(addr.as_bytes());
        wire::encode_conf_state(&self.before, &mut out);
        out.freeze()
    }

    /// None for what this program didn't write.
    pub fn decode(context: &[u8]) -> Option<Note> {
        let (length, rest) = context.strip_prefix(MAGIC)?.split_first()?;
        let (addr, before) = rest.split_at_checked(usize::from(*length))?;
        let addr = std::str::from_utf8(addr).ok()?;
        let raft_addr = if addr.is_empty() { None } else { Some(addr.parse().ok()?) };
        Some(Note { raft_addr, before: wire::decode_conf_state(Bytes::copy_from_slice(before)).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use raft_proto::NodeId;

    use super::*;

    #[test]
    fn a_note_survives_the_way() {
        for raft_addr in [None, Some("127.0.0.1:7101".parse().unwrap()), Some("[::1]:7101".parse().unwrap())]
        {
            let before = ConfState::of_voters([1, 2, 3].into_iter().filter_map(NodeId::new));
            let note = Note { raft_addr, before };
            let bytes = note.encode();
            assert_eq!(Note::decode(&bytes), Some(note));
            for length in 0..6 {
                assert_eq!(Note::decode(&bytes[..length]), None);
            }
        }
        assert_eq!(Note::decode(b"another's"), None);
    }
}
