//! Whatever comes in, decoding answers, and holds no more memory than the input justifies.

use std::fmt::Debug;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::wire::{self, DecodeError};
use raft_proto::{AppendEntries, Body, Entry, Message, Propose};

use crate::any;
use crate::prost::{self, Refusal};
use crate::text::{bytes, encoded};

/// What an error and the bookkeeping of one message take.
const SMALL: u64 = 2048;

/// Decodes, and checks what that took at its highest.
#[track_caller]
fn frugally<T>(input: &Bytes, decode: fn(Bytes) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let (mut result, copy) = (None, input.clone());
    let used = allocation_counter::measure(|| result = Some(decode(copy)));
    let allowed = input.len() as u64 * wire::AMPLIFICATION as u64 + SMALL;
    assert!(used.bytes_max <= allowed, "{} bytes of memory for {} of input", used.bytes_max, input.len());
    result.unwrap()
}

/// Decodes, and compares with what prost does: the same value, or a refusal for the same reason.
#[track_caller]
fn as_prost<T: PartialEq + Debug>(
    input: &Bytes,
    decode: fn(Bytes) -> Result<T, DecodeError>,
    prosts: fn(Bytes) -> Result<T, Refusal>,
) -> Result<T, DecodeError> {
    let result = frugally(input, decode);
    assert_eq!(
        result.as_ref().map_err(|error| Refusal::from(*error)),
        prosts(input.clone()).as_ref().map_err(|e| *e)
    );
    result
}

/// Whatever is read can be written, and is then read as the same.
#[track_caller]
fn message_or_refusal(input: &Bytes) -> Result<Message, DecodeError> {
    let message = as_prost(input, wire::decode_message, prost::decode_message)?;
    let written = encoded(&message, wire::encode_message);
    assert_eq!(wire::decode_message(written).as_ref(), Ok(&message));
    if let Body::AppendEntries(AppendEntries { entries, .. }) | Body::Propose(Propose { entries }) =
        &message.body
    {
        let sum = |len: fn(&Entry) -> u64| entries.iter().map(len).sum::<u64>();
        assert_eq!(entries.encoded_len(), sum(Entry::encoded_len));
        assert_eq!(entries.payload_len(), sum(|entry| entry.payload.len()));
    }
    Ok(message)
}

fn decode_as_everything(input: &Bytes) {
    let _ = message_or_refusal(input);
    let _ = as_prost(input, wire::decode_entry, prost::decode_entry);
    let _ = as_prost(input, wire::decode_hard_state, prost::decode_hard_state);
    let _ = as_prost(input, wire::decode_conf_state, prost::decode_conf_state);
    let _ = as_prost(input, wire::decode_snapshot, prost::decode_snapshot);
    let _ = as_prost(input, wire::decode_conf_change, prost::decode_conf_change);
    let _ = as_prost(input, wire::decode_conf_change_v2, prost::decode_conf_change_v2);
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
enum Holds {
    Number,
    Bytes,
    Fields(&'static [(u64, Holds)]),
}

const ENTRY: Holds =
    Holds::Fields(&[(1, Holds::Number), (2, Holds::Number), (3, Holds::Number), (4, CONF_CHANGE_V2)]);
const CONF_CHANGE_V2: Holds = Holds::Fields(&[
    (1, Holds::Number),
    (2, Holds::Fields(&[(1, Holds::Number), (2, Holds::Number)])),
    (3, Holds::Bytes),
]);
const CONF_STATE: Holds = Holds::Fields(&[
    (1, Holds::Number),
    (2, Holds::Bytes),
    (3, Holds::Number),
    (4, Holds::Bytes),
    (5, Holds::Number),
]);
const SNAPSHOT: Holds = Holds::Fields(&[
    (1, Holds::Bytes),
    (2, Holds::Fields(&[(1, CONF_STATE), (2, Holds::Number), (3, Holds::Number)])),
]);
const MESSAGE: &[(u64, Holds)] = &[
    (4, Holds::Number),
    (5, Holds::Number),
    (6, Holds::Number),
    (7, ENTRY),
    (8, Holds::Number),
    (9, SNAPSHOT),
    (10, Holds::Number),
    (11, Holds::Number),
    (12, Holds::Bytes),
    (100, Holds::Number),
    (101, Holds::Number),
];

/// A value with its wire type: as a rule what the field should hold.
fn value(holds: Holds) -> BoxedStrategy<(u64, Vec<u8>)> {
    let expected = match holds {
        Holds::Number => prop_oneof![9 => 0..4_u64, 1 => any::<u64>()].prop_map(|n| (0, varint(n))).boxed(),
        Holds::Bytes => vec(1..4_u8, 0..6).prop_map(|bytes| (2, delimited(&bytes))).boxed(),
        Holds::Fields(known) => fields(known, 4).prop_map(|bytes| (2, delimited(&bytes))).boxed(),
    };
    prop_oneof![
        99 => expected,
        1 => any::<[u8; 8]>().prop_map(|fixed| (1, fixed.to_vec())),
        1 => vec(any::<u8>(), 0..6).prop_map(|bytes| (2, delimited(&bytes))),
    ]
    .boxed()
}

/// Some of these fields in any order, any number of times, and now and then one that nobody knows.
fn fields(known: &'static [(u64, Holds)], most: usize) -> impl Strategy<Value = Vec<u8>> {
    let field = |&(number, holds): &(u64, Holds)| value(holds).prop_map(move |value| (number, value));
    let known = proptest::strategy::Union::new(known.iter().map(field));
    let stranger = (prop_oneof![1..16_u64, 99..110_u64], value(Holds::Bytes));
    vec(prop_oneof![50 => known, 1 => stranger], 0..=most).prop_map(concat)
}

/// Well-formed protobuf that looks like a message.
fn protobuf() -> impl Strategy<Value = Vec<u8>> {
    (0..25_u8, fields(MESSAGE, 8)).prop_map(|(kind, fields)| [vec![8, kind, 16, 1, 24, 2], fields].concat())
}

fn concat(fields: Vec<(u64, (u64, Vec<u8>))>) -> Vec<u8> {
    fields
        .into_iter()
        .flat_map(|(number, (wire_type, value))| [varint(number * 8 + wire_type), value].concat())
        .collect()
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n > 127 {
        bytes.push((n % 128) as u8 + 128);
        n /= 128;
    }
    bytes.push(n as u8);
    bytes
}

fn delimited(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// One thing done to bytes on their way.
#[derive(Clone, Debug)]
enum Damage {
    Overwrite(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Truncate(usize),
    Repeat(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<usize>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Overwrite(at, byte)),
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        place().prop_map(Damage::Remove),
        place().prop_map(Damage::Truncate),
        (place(), place()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn damaged(bytes: Bytes, damages: Vec<Damage>) -> Bytes {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        let place = |at: usize| at % bytes.len().max(1);
        match damage {
            Damage::Overwrite(at, byte) => {
                let at = place(at);
                bytes.splice(at..(at + 1).min(bytes.len()), [byte]);
            }
            Damage::Insert(at, byte) => bytes.insert(place(at), byte),
            Damage::Remove(at) => {
                let at = place(at);
                bytes.drain(at..(at + 1).min(bytes.len()));
            }
            Damage::Truncate(at) => bytes.truncate(place(at)),
            Damage::Repeat(from, to) => {
                let (from, to) = (place(from), place(to));
                bytes.extend_from_within(from.min(to)..from.max(to));
            }
        }
    }
    bytes.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn arbitrary_bytes(input in vec(any::<u8>(), 0..200)) {
        decode_as_everything(&input.into());
    }

    #[test]
    fn arbitrary_protobuf(input in protobuf()) {
        decode_as_everything(&input.into());
    }

    #[test]
    fn damaged_messages(message in any::message(), damages in vec(damage(), 0..5)) {
        decode_as_everything(&damaged(encoded(&message, wire::encode_message), damages));
    }

    #[test]
    fn damaged_entries(entry in any::entry(), damages in vec(damage(), 0..5)) {
        decode_as_everything(&damaged(encoded(&entry, wire::encode_entry), damages));
    }

    #[test]
    fn damaged_snapshots(snapshot in any::snapshot(), damages in vec(damage(), 0..5)) {
        decode_as_everything(&damaged(encoded(&snapshot, wire::encode_snapshot), damages));
    }
}

/// Entries of one length, one after the other, are read by what they have in common. Numbers that were written longer than need be
/// belong to that, and not to what is counted.
#[test]
fn numbers_that_are_too_long_count_as_we_write_them() {
    let entry = |index: u8| format!("3a 0d  10 87 80 00  18 {index:02x}  22 05 'abcde' ");
    let all: String = (1..=9).map(entry).collect();
    let message = message_or_refusal(&bytes(&format!("08 03 10 02 18 01 20 07 {all}"))).unwrap();
    let Body::AppendEntries(append) = message.body else { panic!("{message:?}") };
    assert_eq!((append.entries.len(), append.entries.encoded_len()), (9, 9 * 11));
}

/// The strategy above is worth something only if much of what it makes is let in.
#[test]
fn some_of_the_protobuf_is_a_message() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..500)
        .filter(|_| message_or_refusal(&protobuf().new_tree(&mut runner).unwrap().current().into()).is_ok())
        .count();
    assert!(accepted > 50, "{accepted} of 500");
}

/// The inputs that take the most memory for their size.
#[test]
fn the_worst_inputs() {
    let header = bytes("08 03 10 02 18 01 20 05");
    // Right after a vector has doubled, and elsewhere.
    for count in [1, 5, 100, 1025, 4097, 10_000, 65_537, 200_000] {
        let entries = |entry: &str| [header.to_vec(), bytes(entry).repeat(count)].concat().into();
        let empty = message_or_refusal(&entries("3a 00")).unwrap();
        drop(empty);
        message_or_refusal(&entries("3a 02 08 01")).unwrap();
        message_or_refusal(&entries("3a 02 08 02")).unwrap();
        message_or_refusal(&entries("3a 06 08 02 22 02 12 00")).unwrap();
        assert_eq!(message_or_refusal(&entries("72 00")), Err(DecodeError::Responses));

        // A change of so many empty steps, alone and in an entry.
        let steps = bytes("12 00").repeat(count);
        frugally(&steps.clone().into(), wire::decode_conf_change_v2).unwrap();
        let entry = [vec![0x08, 2, 0x22], delimited(&steps)].concat();
        frugally(&entry.clone().into(), wire::decode_entry).unwrap();
        let message = [header.to_vec(), vec![0x3a], delimited(&entry)].concat();
        message_or_refusal(&message.into()).unwrap();

        // Configurations, packed and not.
        frugally(&bytes("08 01").repeat(count).into(), wire::decode_conf_state).unwrap();
        let packed = delimited(&bytes("01").repeat(count));
        let lists: Vec<u8> =
            [0x0a, 0x12, 0x1a, 0x22].iter().flat_map(|tag| [vec![*tag], packed.clone()].concat()).collect();
        frugally(&lists.into(), wire::decode_conf_state).unwrap();

        // Snapshots that replace each other.
        frugally(&bytes("0a 01 78 12 04 0a 02 08 01").repeat(count).into(), wire::decode_snapshot).unwrap();
    }
}
