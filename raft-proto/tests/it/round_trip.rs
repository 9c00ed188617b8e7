//! What is written is read as it was, and has the length that was announced.

use proptest::prelude::*;
use raft_proto::{Payload, wire};

use crate::any;
use crate::text::encoded;

proptest! {
    #[test]
    fn message(message in any::message()) {
        let bytes = encoded(&message, wire::encode_message);
        prop_assert_eq!(wire::decode_message(bytes), Ok(message));
    }

    #[test]
    fn entry(entry in any::entry()) {
        let bytes = encoded(&entry, wire::encode_entry);
        prop_assert_eq!(bytes.len() as u64, entry.encoded_len());
        prop_assert_eq!(wire::decode_entry(bytes), Ok(entry));
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
        prop_assert_eq!(wire::decode_hard_state(encoded(&state, wire::encode_hard_state)), Ok(state));
    }

    #[test]
    fn conf_state(state in any::conf_state()) {
        prop_assert_eq!(wire::decode_conf_state(encoded(&state, wire::encode_conf_state)), Ok(state));
    }

    #[test]
    fn snapshot(snapshot in any::snapshot()) {
        prop_assert_eq!(wire::decode_snapshot(encoded(&snapshot, wire::encode_snapshot)), Ok(snapshot));
    }

    #[test]
    fn conf_change(change in any::conf_change()) {
        prop_assert_eq!(wire::decode_conf_change(encoded(&change, wire::encode_conf_change)), Ok(change));
    }

    #[test]
    fn conf_change_v2(change in any::conf_change_v2()) {
        prop_assert_eq!(wire::decode_conf_change_v2(encoded(&change, wire::encode_conf_change_v2)), Ok(change));
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
