//! What is written is what prost writes, is read as it was, and has the length that was announced.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use raft_proto::wire::{self, DecodeError};
use raft_proto::{Body, Payload};

use crate::any;
use crate::prost;
use crate::text::encoded;

type Encode<T> = fn(&T, &mut BytesMut);
type Decode<T> = fn(Bytes) -> Result<T, DecodeError>;

fn goes_round<T: PartialEq + Debug>(
    value: T,
    encode: Encode<T>,
    decode: Decode<T>,
    prosts: Encode<T>,
) -> TestCaseResult {
    goes_round_with(0, value, encode, decode, prosts)
}

/// In a buffer that may be so many bytes too large.
fn goes_round_with<T: PartialEq + Debug>(
    spare: usize,
    value: T,
    encode: Encode<T>,
    decode: Decode<T>,
    prosts: Encode<T>,
) -> TestCaseResult {
    let mut buf = BytesMut::new();
    encode(&value, &mut buf);
    // It was made once: had it grown, it would be twice as large.
    prop_assert!(buf.capacity() <= buf.len().max(8) + spare, "it is written into a buffer of the right size");
    let bytes = buf.freeze();
    prop_assert_eq!(&bytes, &encoded(&value, prosts));
    prop_assert_eq!(decode(bytes), Ok(value));
    Ok(())
}

proptest! {
    #[test]
    fn message(message in any::message()) {
        // The length of an entry takes one byte at least, and four at most are counted for it here.
        let entries = if let Body::AppendEntries(append) = &message.body {
            append.entries.len()
        } else if let Body::Propose(propose) = &message.body {
            propose.entries.len()
        } else {
            0
        };
        let spare = 3 * entries;
        goes_round_with(spare, message, wire::encode_message, wire::decode_message, prost::encode_message)?;
    }

    #[test]
    fn entry(entry in any::entry()) {
        let bytes = encoded(&entry, wire::encode_entry);
        prop_assert_eq!(bytes.len() as u64, entry.encoded_len());
        goes_round(entry, wire::encode_entry, wire::decode_entry, prost::encode_entry)?;
    }

    #[test]
    fn payload(payload in any::payload()) {
        let bytes = match &payload {
            Payload::Normal(data) => data.clone(),
            Payload::ConfChange(change) => encoded(&**change, wire::encode_conf_change),
            Payload::ConfChangeV2(change) => encoded(&**change, wire::encode_conf_change_v2),
            Payload::TermStart | Payload::RefusedChange | Payload::LeaveJoint => bytes::Bytes::new(),
        };
        prop_assert_eq!(bytes.len() as u64, payload.len());
    }

    #[test]
    fn hard_state(state in any::hard_state()) {
        goes_round(state, wire::encode_hard_state, wire::decode_hard_state, prost::encode_hard_state)?;
    }

    #[test]
    fn conf_state(state in any::conf_state()) {
        goes_round(state, wire::encode_conf_state, wire::decode_conf_state, prost::encode_conf_state)?;
    }

    #[test]
    fn snapshot(snapshot in any::snapshot()) {
        goes_round(snapshot, wire::encode_snapshot, wire::decode_snapshot, prost::encode_snapshot)?;
    }

    #[test]
    fn conf_change(change in any::conf_change()) {
        goes_round(change, wire::encode_conf_change, wire::decode_conf_change, prost::encode_conf_change)?;
    }

    #[test]
    fn conf_change_v2(change in any::conf_change_v2()) {
        goes_round(change, wire::encode_conf_change_v2, wire::decode_conf_change_v2, prost::encode_conf_change_v2)?;
    }

    /// Encoders append, as a writer of frames needs it.
    #[test]
    fn encoders_append(first in any::message(), second in any::message()) {
        let mut both = bytes::BytesMut::new();
        wire::encode_message(&first, &mut both);
        let middle = both.len();
        wire::encode_message(&second, &mut both);
        let mut rest = both.freeze();
        prop_assert_eq!(wire::decode_message(rest.split_to(middle)), Ok(first));
        prop_assert_eq!(wire::decode_message(rest), Ok(second));
    }
}
