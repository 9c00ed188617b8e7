//! The protobuf encoding, which is that of etcd's `raftpb` (`proto/raft.proto` is the contract, field by
//! field).
//!
//! It is written by hand, straight between bytes and this crate's types, for its speed: what prost generates is several times
//! slower. Tests and the fuzzer compare it with prost, which writes the same bytes, reads the same values, and refuses the same.
//!
//! [`decode_message`] and its siblings admit what is protobuf and makes sense as one of this crate's types, and refuse the rest by
//! name ([`DecodeError`]). Fields that nobody knows are passed over. Writing can't fail.
//!
//! * **No copies.** The bytes in a decoded value (commands, contexts, snapshots) are slices of the
//!   [`Bytes`] that it was decoded from. The other side of that: a small slice that is kept keeps the whole
//!   of it alive.
//! * **No amplification.** Decoding allocates at most [`AMPLIFICATION`] bytes for each byte of input,
//!   beside a small constant. What nests is of a fixed depth (message, snapshot, metadata, configuration);
//!   the only thing that a peer could nest deeper, groups in fields that nobody knows, is refused beyond 100 levels, and passed over
//!   without allocating. No length is believed before the bytes are there.
//! * **Missing and zero are the same**, but for the data of an entry: without any it is one of a leader's own. Fields
//!   that a message of its type doesn't use are ignored, whatever they hold: etcd writes nearly every field of every message.
//! * **Entries have the length that [`Entry::encoded_len`] says**, and their data that of [`Payload::len`]:
//!   limits are counted in what travels.
//!
//! What is checked here is one message by itself. Whether the entries of an append are consecutive, say,
//! and whether it comes at the right time, is for the core, which can't rely on a message having come
//! through here.
//!
//! ```
//! use bytes::BytesMut;
//! use raft_proto::{Body, Heartbeat, Message, NodeId, Term, wire};
//!
//! let message = Message {
//!     from: NodeId::new(1).unwrap(),
//!     to: NodeId::new(2).unwrap(),
//!     term: Term::new(3),
//!     body: Body::Heartbeat(Heartbeat::default()),
//! };
//! let mut buf = BytesMut::new();
//! wire::encode_message(&message, &mut buf);
//! assert_eq!(wire::decode_message(buf.freeze()), Ok(message));
//! ```
//!
//! [`Bytes`]: bytes::Bytes
//! [`Entry::encoded_len`]: crate::Entry::encoded_len
//! [`Payload::len`]: crate::Payload::len

mod decode;
mod encode;
mod error;
mod numbers;
mod reader;

pub use decode::{
    decode_conf_change, decode_conf_change_v2, decode_conf_state, decode_entry, decode_hard_state,
    decode_message, decode_snapshot,
};
pub use encode::{
    encode_conf_change, encode_conf_change_v2, encode_conf_state, encode_entry, encode_hard_state,
    encode_message, encode_snapshot,
};
pub use error::{DecodeError, Flaw};

/// How many bytes decoding holds at most for each byte of input, beside a small constant.
///
/// The worst inputs are a message of empty entries, two bytes each on the wire and 56 as an [`Entry`](crate::Entry) (on a 64-bit
/// machine), and a packed list of nodes, one byte each there and eight here, of which a list that grows by doubling holds up to
/// three times as many as it has elements while it moves.
pub const AMPLIFICATION: usize = 32;

/// In the context of a vote request: the leader asked for this campaign.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";
