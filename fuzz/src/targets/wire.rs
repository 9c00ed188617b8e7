//! The protobuf encoding.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use raft_core::{AppendEntriesReply, Body, Entry, Index, LogPosition, Message, Payload, Term};
use raft_proto::wire::{self, DecodeError};

use super::any::{self, Near};
use super::dice::Dice;

/// Bytes are read as each thing that travels or is stored. What is accepted is written and read again as the same, and is then
/// written as the same bytes. The second half makes values of the typed layer, which are to be read as they were written.
pub fn wire_decode(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    if first % 2 == 0 {
        any_bytes(first / 2, Bytes::copy_from_slice(rest));
    } else {
        any_value(first / 2, &mut Dice::new(rest));
    }
}

type Decode<T> = fn(Bytes) -> Result<T, DecodeError>;
type Encode<T> = fn(&T, &mut BytesMut);

fn any_bytes(kind: u8, bytes: Bytes) {
    match kind % 7 {
        0 => accepted_is_kept(bytes, wire::decode_entry, wire::encode_entry),
        1 => accepted_is_kept(bytes, wire::decode_hard_state, wire::encode_hard_state),
        2 => accepted_is_kept(bytes, wire::decode_conf_state, wire::encode_conf_state),
        3 => accepted_is_kept(bytes, wire::decode_snapshot, wire::encode_snapshot),
        4 => accepted_is_kept(bytes, wire::decode_conf_change, wire::encode_conf_change),
        5 => accepted_is_kept(bytes, wire::decode_conf_change_v2, wire::encode_conf_change_v2),
        _ => accepted_is_kept(bytes, wire::decode_message, wire::encode_message),
    }
}

fn accepted_is_kept<T: PartialEq + Debug>(bytes: Bytes, decode: Decode<T>, encode: Encode<T>) {
    if let Ok(value) = decode(bytes) {
        is_read_as_written(&value, decode, encode);
    }
}

fn is_read_as_written<T: PartialEq + Debug>(value: &T, decode: Decode<T>, encode: Encode<T>) -> Bytes {
    let written = write(value, encode);
    let read = decode(written.clone());
    assert_eq!(read.as_ref(), Ok(value), "it is read as it was written");
    let again = read.map(|read| write(&read, encode));
    assert_eq!(again, Ok(written.clone()), "it is written in one way");
    written
}

fn write<T>(value: &T, encode: Encode<T>) -> Bytes {
    let mut buf = BytesMut::new();
    encode(value, &mut buf);
    buf.freeze()
}

fn any_value(kind: u8, dice: &mut Dice) {
    let near = Near { term: 5, last: 130, commit: 1 << 20 };
    match kind % 7 {
        0 => {
            let mut entry = any::entry(dice, near);
            entry.term = entry.term.min(Term::LIMIT);
            entry.index = entry.index.min(Index::LIMIT);
            let written = is_read_as_written(&entry, wire::decode_entry, wire::encode_entry);
            assert_eq!(written.len() as u64, entry.encoded_len(), "it has the length that was announced");
        }
        1 => {
            is_kept_or_refused(&any::hard_state(dice, near), wire::decode_hard_state, wire::encode_hard_state)
        }
        2 => is_kept_or_refused(&any::conf_state(dice), wire::decode_conf_state, wire::encode_conf_state),
        3 => is_kept_or_refused(&any::snapshot(dice, near), wire::decode_snapshot, wire::encode_snapshot),
        4 => is_kept_or_refused(&any::conf_change(dice), wire::decode_conf_change, wire::encode_conf_change),
        5 => {
            let change = any::conf_change_v2(dice);
            is_kept_or_refused(&change, wire::decode_conf_change_v2, wire::encode_conf_change_v2);
        }
        _ => {
            let to = any::node(dice);
            can_travel(&any::message(dice, near, to));
        }
    }
}

/// A value that breaks a limit of the wire is refused by the reader; any other comes through.
fn is_kept_or_refused<T: PartialEq + Debug>(value: &T, decode: Decode<T>, encode: Encode<T>) {
    match decode(write(value, encode)) {
        Ok(read) => assert_eq!(&read, value, "it is read as it was written"),
        Err(DecodeError::TermPastLimit(_) | DecodeError::IndexPastLimit(_)) => {}
        Err(error) => panic!("{value:?} is refused: {error}"),
    }
}

/// A message that breaks a rule of the wire is refused by the reader, for that; any other comes through.
fn can_travel(message: &Message) {
    let refused = match wire::decode_message(write(message, wire::encode_message)) {
        Ok(read) => {
            assert_eq!(read, as_it_travels(message), "it is read as it was written");
            return;
        }
        Err(refused) => refused,
    };
    let termless = matches!(message.body, Body::Propose(_) | Body::ReadIndex(_));
    let fits = match refused {
        DecodeError::TermPastLimit(_) | DecodeError::IndexPastLimit(_) => true,
        DecodeError::NoTerm => message.term.is_zero() && !termless,
        DecodeError::UnexpectedTerm => !message.term.is_zero() && termless,
        DecodeError::NoSnapshot => matches!(&message.body, Body::InstallSnapshot(install)
            if install.snapshot.metadata.index.is_zero()),
        _ => false,
    };
    assert!(fits, "{message:?} is refused: {refused}");
}

/// Whatever a node sends, another can read.
pub(super) fn must_travel(message: &Message) {
    let read = wire::decode_message(write(message, wire::encode_message));
    assert_eq!(read, Ok(as_it_travels(message)), "a message of this node's can't be read");
}

/// A message as its receiver gets it: a transfer has the transferee in the place of its sender, and proposals are those of a
/// client, without a place in the log.
fn as_it_travels(message: &Message) -> Message {
    let mut message = message.clone();
    match &mut message.body {
        Body::TransferLeader(transfer) => message.from = transfer.transferee,
        // It must be one at least, and no field is written for zero.
        Body::AppendEntriesReply(reply @ AppendEntriesReply::SnapshotWanted { at_least: Index::ZERO }) => {
            *reply = AppendEntriesReply::Rejected { rejected: Index::ZERO, hint: LogPosition::ZERO };
        }
        Body::Propose(propose) => propose.entries = propose.entries.iter().map(of_a_client).collect(),
        _ => {}
    }
    message
}

/// What only a leader writes is told by data that is missing, which a client's command never lacks.
fn of_a_client(entry: &Entry) -> Entry {
    let payload = match &entry.payload {
        Payload::TermStart | Payload::RefusedChange => Payload::default(),
        Payload::LeaveJoint => Payload::ConfChangeV2(Default::default()),
        payload => payload.clone(),
    };
    Entry { payload, ..Entry::default() }
}
