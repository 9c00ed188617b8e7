//! One case, at least, for each way to misbehave.

use std::collections::BTreeSet;

use raft_proto::wire::{self, DecodeError, Flaw};

use crate::text::bytes;

const PAST_LIMIT: u64 = u64::MAX;

#[track_caller]
fn refuses(text: &str, reason: DecodeError) {
    assert_eq!(wire::decode_message(bytes(text)), Err(reason));
}

#[test]
fn malformed() {
    for (text, flaw) in [
        ("08", Flaw::Truncated),                                      // a tag without its value
        ("08 ff", Flaw::Truncated),                                   // half a varint
        ("88", Flaw::Truncated),                                      // half a tag
        ("3a 05 10 01", Flaw::Truncated), // an entry of five bytes, two of them there
        ("3a ff ff ff ff ff ff ff ff ff 01", Flaw::Truncated), // an entry longer than any memory
        ("62 ff ff ff ff 0f", Flaw::Truncated), // a context of 4 GiB
        ("79 01 02 03 04 05 06 07", Flaw::Truncated), // seven of eight bytes
        ("7d 01 02 03", Flaw::Truncated), // three of four bytes
        ("7b", Flaw::Truncated),          // a group without end
        ("08 ff ff ff ff ff ff ff ff ff ff 01", Flaw::VarintTooLong), // eleven bytes
        ("08 ff ff ff ff ff ff ff ff ff 02", Flaw::VarintTooLong), // 65 bits
        ("00 00", Flaw::FieldNumber),     // a field numbered zero
        ("f8 ff ff ff 1f 00", Flaw::FieldNumber), // a field number of 30 bits
        ("0f", Flaw::UnknownWireType),    // a wire type that doesn't exist
        ("0a 00", Flaw::WrongWireType),   // the type as bytes
        ("38 00", Flaw::WrongWireType),   // an entry as a number
        ("7c", Flaw::GroupEnd),           // the end of no group
        ("7b 84 01", Flaw::GroupEnd),     // the end of another group
    ] {
        refuses(text, DecodeError::Malformed(flaw));
    }
    let groups = |depth| ["7b ".repeat(depth), "7c ".repeat(depth)].concat();
    refuses(&groups(100), DecodeError::LocalMessage(0));
    refuses(&groups(101), DecodeError::Malformed(Flaw::TooDeep));
}

#[test]
fn that_it_is_malformed_comes_first() {
    for text in [
        "08 18 08",                                     // no type that we know
        "72 00 08",                                     // responses
        "08 03 10 02 18 01 20 05 3a 02 08 03 08",       // no entry type that we know
        "08 03 10 02 18 01 20 05 3a 02 08 03 3a 01 08", // the same, and the entry behind it is broken
        "08 08 10 02 18 01 20 05 3a 01 08",             // a heartbeat with an entry, which nobody asks for
    ] {
        refuses(text, DecodeError::Malformed(Flaw::Truncated));
    }
    // Likewise in a membership change.
    let step = bytes("12 02 08 04 12 01 08");
    let flaw = Flaw::Truncated;
    assert_eq!(wire::decode_conf_change_v2(step), Err(DecodeError::MalformedConfChange(flaw)));
}

#[test]
fn types_that_nobody_may_send() {
    refuses("08 18 10 02 18 01 20 05", DecodeError::UnknownMessageType(24));
    refuses("08 ff ff ff ff ff ff ff ff ff 01 10 02 18 01 20 05", DecodeError::UnknownMessageType(-1));
    // Without a type it is zero, MsgHup. So is a message of no bytes.
    refuses("10 02 18 01 20 05", DecodeError::LocalMessage(0));
    refuses("", DecodeError::LocalMessage(0));
    for kind in [0, 1, 10, 11, 12, 19, 20, 21, 22, 23] {
        refuses(&format!("08 {kind:02x} 10 02 18 01 20 05"), DecodeError::LocalMessage(kind));
    }
}

#[test]
fn no_sender_no_receiver() {
    refuses("08 0e 10 02 20 05", DecodeError::NoSender);
    refuses("08 0e 10 02 18 00 20 05", DecodeError::NoSender);
    refuses("08 0e 18 01 20 05", DecodeError::NoReceiver);
    refuses("08 0e 10 00 18 01 20 05", DecodeError::NoReceiver);
    refuses("08 0d 10 02 20 05", DecodeError::NoTransferee);
}

#[test]
fn terms() {
    for kind in ["03", "04", "05", "06", "08", "09", "0e", "11", "12"] {
        refuses(&format!("08 {kind} 10 02 18 01"), DecodeError::NoTerm);
        refuses(&format!("08 {kind} 10 02 18 01 20 00"), DecodeError::NoTerm);
    }
    refuses("08 07 10 02 18 01 4a 04 12 02 10 01", DecodeError::NoTerm);
    refuses("08 10 10 02 18 01 3a 00", DecodeError::NoTerm);
    refuses("08 02 10 02 18 01 20 05", DecodeError::UnexpectedTerm);
    refuses("08 0f 10 02 18 01 20 05 3a 00", DecodeError::UnexpectedTerm);
}

#[test]
fn limits() {
    let max = "ff ff ff ff ff ff ff ff ff 01";
    let past = "80 80 80 80 80 80 80 80 80 01"; // 2^63
    refuses(&format!("08 0e 10 02 18 01 20 {max}"), DecodeError::TermPastLimit(PAST_LIMIT));
    refuses(&format!("08 0e 10 02 18 01 20 {past}"), DecodeError::TermPastLimit(1 << 63));
    let of = |kind: &str| format!("08 {kind} 10 02 18 01 20 05");
    refuses(&format!("{} 28 {max}", of("03")), DecodeError::TermPastLimit(PAST_LIMIT));
    refuses(&format!("{} 30 {max}", of("03")), DecodeError::IndexPastLimit(PAST_LIMIT));
    refuses(&format!("{} 40 {max}", of("03")), DecodeError::IndexPastLimit(PAST_LIMIT));
    refuses(&format!("{} 3a 0b 10 {max}", of("03")), DecodeError::TermPastLimit(PAST_LIMIT));
    refuses(&format!("{} 3a 0b 18 {max}", of("03")), DecodeError::IndexPastLimit(PAST_LIMIT));
    refuses(&format!("{} 30 {max}", of("04")), DecodeError::IndexPastLimit(PAST_LIMIT));
    refuses(&format!("{} 50 01 30 {max}", of("04")), DecodeError::IndexPastLimit(PAST_LIMIT));
    refuses(&format!("{} 50 01 58 {max}", of("04")), DecodeError::IndexPastLimit(PAST_LIMIT));
    refuses(&format!("{} 50 01 28 {max}", of("04")), DecodeError::TermPastLimit(PAST_LIMIT));
    refuses(&format!("{} 28 {max}", of("05")), DecodeError::TermPastLimit(PAST_LIMIT));
    refuses(&format!("{} 30 {max}", of("11")), DecodeError::IndexPastLimit(PAST_LIMIT));
    refuses(&format!("{} 4a 0d 12 0b 10 {max}", of("07")), DecodeError::IndexPastLimit(PAST_LIMIT));
    refuses(&format!("{} 4a 0d 12 0b 18 {max}", of("07")), DecodeError::TermPastLimit(PAST_LIMIT));
    refuses(&format!("{} 40 {max}", of("08")), DecodeError::IndexPastLimit(PAST_LIMIT));
    refuses(&format!("{} 30 {max} 3a 00", of("10")), DecodeError::IndexPastLimit(PAST_LIMIT));
}

#[test]
fn responses() {
    // A vote request that carries a message, and one that carries an empty one.
    refuses("08 05 10 02 18 01 20 05 72 08 08 0e 10 02 18 01 20 05", DecodeError::Responses);
    refuses("08 05 10 02 18 01 20 05 72 00", DecodeError::Responses);
}

#[test]
fn no_snapshot() {
    refuses("08 07 10 02 18 01 20 05", DecodeError::NoSnapshot);
    refuses("08 07 10 02 18 01 20 05 4a 00", DecodeError::NoSnapshot);
    refuses("08 07 10 02 18 01 20 05 4a 0a 12 08 0a 02 28 00 10 00 18 03", DecodeError::NoSnapshot);
}

#[test]
fn zero_in_a_configuration() {
    for list in ["08", "10", "18", "20"] {
        let state = bytes(&format!("{list} 01 {list} 00"));
        assert_eq!(wire::decode_conf_state(state), Err(DecodeError::ZeroInConfState));
    }
    refuses("08 07 10 02 18 01 20 05 4a 08 12 06 0a 02 08 00 10 01", DecodeError::ZeroInConfState);
}

#[test]
fn read_contexts() {
    refuses("08 0f 10 02 18 01", DecodeError::NotOneContext(0));
    refuses("08 0f 10 02 18 01 3a 00 3a 00", DecodeError::NotOneContext(2));
    refuses("08 10 10 02 18 01 20 05", DecodeError::NotOneContext(0));
}

#[test]
fn entries_and_membership_changes() {
    let with_entry = |length: &str, entry: &str| format!("08 03 10 02 18 01 20 05 3a {length} {entry}");
    let truncated = DecodeError::MalformedConfChange(Flaw::Truncated);
    refuses(&with_entry("02", "08 03"), DecodeError::UnknownEntryType(3));
    refuses(&with_entry("05", "08 01 22 01 10"), truncated);
    refuses(&with_entry("05", "08 02 22 01 10"), DecodeError::MalformedConfChange(Flaw::WrongWireType));
    refuses(&with_entry("06", "08 01 22 02 10 04"), DecodeError::UnknownConfChangeType(4));
    refuses(&with_entry("08", "08 02 22 04 12 02 08 04"), DecodeError::UnknownConfChangeType(4));
    refuses(&with_entry("06", "08 02 22 02 08 03"), DecodeError::UnknownTransition(3));
    // The same in a proposal.
    refuses("08 02 10 02 18 01 3a 05 08 01 22 01 10", truncated);
}

/// An exhaustive list would need every variant's name twice; that two don't say the same is what matters.
#[test]
fn each_says_something_else() {
    let all = [
        DecodeError::Malformed(Flaw::Truncated),
        DecodeError::Malformed(Flaw::VarintTooLong),
        DecodeError::Malformed(Flaw::FieldNumber),
        DecodeError::Malformed(Flaw::UnknownWireType),
        DecodeError::Malformed(Flaw::WrongWireType),
        DecodeError::Malformed(Flaw::GroupEnd),
        DecodeError::Malformed(Flaw::TooDeep),
        DecodeError::UnknownMessageType(24),
        DecodeError::LocalMessage(0),
        DecodeError::NoSender,
        DecodeError::NoReceiver,
        DecodeError::NoTerm,
        DecodeError::UnexpectedTerm,
        DecodeError::Responses,
        DecodeError::TermPastLimit(PAST_LIMIT),
        DecodeError::IndexPastLimit(PAST_LIMIT),
        DecodeError::NoTransferee,
        DecodeError::NoSnapshot,
        DecodeError::NotOneContext(0),
        DecodeError::UnknownEntryType(3),
        DecodeError::MalformedConfChange(Flaw::Truncated),
        DecodeError::UnknownConfChangeType(4),
        DecodeError::UnknownTransition(3),
        DecodeError::ZeroInConfState,
    ];
    let said: BTreeSet<String> =
        all.iter().map(|error| (error as &dyn std::error::Error).to_string()).collect();
    assert_eq!(said.len(), all.len());
}
