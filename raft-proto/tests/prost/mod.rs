//! The same encoding by prost, from the code that it generates of `proto/raft.proto`: ours is compared with it, here and by the
//! fuzzer. It was the crate's own until that was written by hand for its speed.

#![allow(missing_docs, unreachable_pub, dead_code, clippy::wildcard_enum_match_arm)]

mod decode;
mod encode;
#[rustfmt::skip]
#[allow(rustdoc::all, clippy::all)]
mod raftpb;

pub use decode::{
    decode_conf_change, decode_conf_change_v2, decode_conf_state, decode_entry, decode_hard_state,
    decode_message, decode_snapshot,
};
pub use encode::{
    encode_conf_change, encode_conf_change_v2, encode_conf_state, encode_entry, encode_hard_state,
    encode_message, encode_snapshot,
};

use raft_proto::wire::DecodeError;

/// In the context of a vote request: the leader asked for this campaign.
const CAMPAIGN_TRANSFER: &[u8] = b"CampaignTransfer";

/// A refusal. Of bytes that aren't protobuf prost says why in a string only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    MalformedConfChange,
    Other(DecodeError),
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Refusal {
        match error {
            DecodeError::Malformed(_) => Refusal::Malformed,
            DecodeError::MalformedConfChange(_) => Refusal::MalformedConfChange,
            other => Refusal::Other(other),
        }
    }
}
