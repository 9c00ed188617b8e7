//! The protobuf encoding.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use raft_core::{
    AppendEntries, AppendEntriesReply, Body, ConfChange, ConfChangeV2, ConfState, Entry, HardState, Index,
    LogPosition, Message, Payload, Propose, Snapshot, Term,
};
use raft_proto::wire::{self, DecodeError};

use super::any::{self, Near};
use super::dice::Dice;
use super::prost::{self, Refusal};

/// Bytes are read as each thing that travels or is stored. What is accepted is written and read again as the same, and is then
/// written as the same bytes. The second half makes values of the typed layer, which are to be read as they were written. All of
/// it is done by prost, too, and comes out the same.
pub fn wire_decode(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    if first % 2 == 0 {
        any_bytes(first / 2, Bytes::copy_from_slice(rest));
    } else {
        any_value(first / 2, &mut Dice::new(rest));
    }
}

type Decode<T, E = DecodeError> = fn(Bytes) -> Result<T, E>;
type Encode<T> = fn(&T, &mut BytesMut);

/// One thing's reader and writer, and those of prost.
type Codec<T> = (Decode<T>, Encode<T>, Decode<T, Refusal>, Encode<T>);

macro_rules! codec {
    ($decode:ident, $encode:ident) => {
        (wire::$decode, wire::$encode, prost::$decode, prost::$encode)
    };
}

const ENTRY: Codec<Entry> = codec!(decode_entry, encode_entry);
const HARD_STATE: Codec<HardState> = codec!(decode_hard_state, encode_hard_state);
const CONF_STATE: Codec<ConfState> = codec!(decode_conf_state, encode_conf_state);
const SNAPSHOT: Codec<Snapshot> = codec!(decode_snapshot, encode_snapshot);
const CONF_CHANGE: Codec<ConfChange> = codec!(decode_conf_change, encode_conf_change);
const CONF_CHANGE_V2: Codec<ConfChangeV2> = codec!(decode_conf_change_v2, encode_conf_change_v2);
const MESSAGE: Codec<Message> = codec!(decode_message, encode_message);

fn any_bytes(kind: u8, bytes: Bytes) {
    match kind % 7 {
        0 => accepted_is_kept(bytes, ENTRY),
        1 => accepted_is_kept(bytes, HARD_STATE),
        2 => accepted_is_kept(bytes, CONF_STATE),
        3 => accepted_is_kept(bytes, SNAPSHOT),
        4 => accepted_is_kept(bytes, CONF_CHANGE),
        5 => accepted_is_kept(bytes, CONF_CHANGE_V2),
        _ => {
            if let Ok(message) = read(bytes, MESSAGE) {
                is_read_as_written(&message, MESSAGE);
                is_counted(&message);
            }
        }
    }
}

/// A batch knows its sums, which reading doesn't get by adding up what was read.
fn is_counted(message: &Message) {
    if let Body::AppendEntries(AppendEntries { entries, .. }) | Body::Propose(Propose { entries }) =
        &message.body
    {
        assert_eq!(entries.encoded_len(), entries.iter().map(Entry::encoded_len).sum::<u64>());
        assert_eq!(entries.payload_len(), entries.iter().map(|entry| entry.payload.len()).sum::<u64>());
    }
}

fn accepted_is_kept<T: PartialEq + Debug>(bytes: Bytes, codec: Codec<T>) {
    if let Ok(value) = read(bytes, codec) {
        is_read_as_written(&value, codec);
    }
}

/// Reads with both.
fn read<T: PartialEq + Debug>(bytes: Bytes, (decode, _, prosts, _): Codec<T>) -> Result<T, DecodeError> {
    let result = decode(bytes.clone());
    let compared = result.as_ref().map_err(|error| Refusal::from(*error));
    assert_eq!(compared, prosts(bytes).as_ref().map_err(|refusal| *refusal), "prost reads it otherwise");
    result
}

/// Writes with both.
fn write<T: Debug>(value: &T, (_, encode, _, prosts): Codec<T>) -> Bytes {
    let (mut buf, mut prosts_buf) = (BytesMut::new(), BytesMut::new());
    encode(value, &mut buf);
    prosts(value, &mut prosts_buf);
    assert_eq!(buf, prosts_buf, "prost writes {value:?} otherwise");
    buf.freeze()
}

fn is_read_as_written<T: PartialEq + Debug>(value: &T, codec: Codec<T>) -> Bytes {
    let written = write(value, codec);
    let read = read(written.clone(), codec);
    assert_eq!(read.as_ref(), Ok(value), "it is read as it was written");
    let again = read.map(|read| write(&read, codec));
    assert_eq!(again, Ok(written.clone()), "it is written in one way");
    written
}

fn any_value(kind: u8, dice: &mut Dice) {
    let near = Near { term: 5, last: 130, commit: 1 << 20 };
    match kind % 7 {
        0 => {
            let mut entry = any::entry(dice, near);
            entry.term = entry.term.min(Term::LIMIT);
            entry.index = entry.index.min(Index::LIMIT);
            let written = is_read_as_written(&entry, ENTRY);
            assert_eq!(written.len() as u64, entry.encoded_len(), "it has the length that was announced");
        }
        1 => is_kept_or_refused(&any::hard_state(dice, near), HARD_STATE),
        2 => is_kept_or_refused(&any::conf_state(dice), CONF_STATE),
        3 => is_kept_or_refused(&any::snapshot(dice, near), SNAPSHOT),
        4 => is_kept_or_refused(&any::conf_change(dice), CONF_CHANGE),
        5 => {
            let change = any::conf_change_v2(dice);
            is_kept_or_refused(&change, CONF_CHANGE_V2);
        }
        _ => {
            let to = any::node(dice);
            can_travel(&any::message(dice, near, to));
        }
    }
}

/// A value that breaks a limit of the wire is refused by the reader; any other comes through.
fn is_kept_or_refused<T: PartialEq + Debug>(value: &T, codec: Codec<T>) {
    match read(write(value, codec), codec) {
        Ok(read) => assert_eq!(&read, value, "it is read as it was written"),
        Err(DecodeError::TermPastLimit(_) | DecodeError::IndexPastLimit(_)) => {}
        Err(error) => panic!("{value:?} is refused: {error}"),
    }
}

/// A message that breaks a rule of the wire is refused by the reader, for that; any other comes through.
fn can_travel(message: &Message) {
    let refused = match read(write(message, MESSAGE), MESSAGE) {
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
    let read = read(write(message, MESSAGE), MESSAGE);
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
