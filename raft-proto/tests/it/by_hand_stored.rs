//! What goes to disk, byte by byte. All of it has the bytes that etcd writes.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use raft_proto::wire::{self, DecodeError};
use raft_proto::{
    ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ConfState, Entry,
    HardState, Index, Payload, Snapshot, SnapshotMetadata, Term,
};

use crate::text::{bytes, encoded, node};

#[track_caller]
fn both_ways<T: Debug + PartialEq>(
    encode: fn(&T, &mut BytesMut),
    decode: fn(Bytes) -> Result<T, DecodeError>,
    value: &T,
    text: &str,
) {
    assert_eq!(encoded(value, encode), bytes(text), "writing");
    assert_eq!(decode(bytes(text)).as_ref(), Ok(value), "reading");
}

#[test]
fn hard_state() {
    let state = HardState { term: Term::new(5), vote: Some(node(2)), commit: Index::new(9) };
    both_ways(
        wire::encode_hard_state,
        wire::decode_hard_state,
        &state,
        "08 05  # term
         10 02  # vote
         18 09  # commit",
    );
    both_ways(
        wire::encode_hard_state,
        wire::decode_hard_state,
        &HardState::default(),
        "08 00  # term
         10 00  # vote: none
         18 00  # commit",
    );
    assert_eq!(wire::decode_hard_state(Bytes::new()), Ok(HardState::default()));
}

#[test]
fn conf_state() {
    let state = ConfState {
        voters: vec![node(1), node(2), node(300)],
        learners: vec![node(4)],
        ..ConfState::default()
    };
    both_ways(
        wire::encode_conf_state,
        wire::decode_conf_state,
        &state,
        "08 01     # voters[0]
         08 02     # voters[1]
         08 ac 02  # voters[2]
         10 04     # learners[0]
         28 00     # auto_leave",
    );
    let packed = bytes(
        "0a 04     # voters, 4 bytes
           01 02 ac 02
         12 01     # learners, 1 byte
           04",
    );
    assert_eq!(wire::decode_conf_state(packed), Ok(state));
    assert_eq!(wire::decode_conf_state(Bytes::new()), Ok(ConfState::default()));
}

#[test]
fn snapshot() {
    let snapshot = Snapshot {
        metadata: SnapshotMetadata {
            conf_state: ConfState::of_voters([node(1)]),
            index: Index::new(7),
            term: Term::new(4),
        },
        data: Bytes::from("s"),
    };
    both_ways(
        wire::encode_snapshot,
        wire::decode_snapshot,
        &snapshot,
        "0a 01 's'      # data
         12 0a          # metadata
           0a 04        #   conf_state
             08 01      #     voters[0]
             28 00      #     auto_leave
           10 07        #   index
           18 04        #   term",
    );
    both_ways(
        wire::encode_snapshot,
        wire::decode_snapshot,
        &Snapshot::default(),
        "12 08          # metadata
           0a 02 28 00  #   conf_state: auto_leave
           10 00        #   index
           18 00        #   term",
    );
    assert_eq!(wire::decode_snapshot(Bytes::new()), Ok(Snapshot::default()));
}

#[test]
fn entry() {
    both_ways(
        wire::encode_entry,
        wire::decode_entry,
        &Entry::normal(Term::new(1), Index::new(u64::MAX >> 1), Bytes::from("abc")),
        "10 01                          # Term
         18 ff ff ff ff ff ff ff ff 7f  # Index: 63 bits
         22 03 'abc'                    # Data",
    );
    both_ways(
        wire::encode_entry,
        wire::decode_entry,
        &Entry::normal(Term::new(1), Index::new(2), Bytes::new()),
        "10 01  # Term
         18 02  # Index
         22 00  # Data: of no length, but there",
    );
    let nothing = Entry { payload: Payload::TermStart, ..Entry::default() };
    assert_eq!(wire::decode_entry(Bytes::new()), Ok(nothing));
}

/// What a leader writes of its own accord has no data; the type tells which it is.
#[test]
fn a_leaders_own_entries() {
    let entry = |payload| Entry { term: Term::new(1), index: Index::new(2), payload };
    for (payload, text) in [
        (Payload::TermStart, "10 01 18 02        # Term, Index"),
        (Payload::RefusedChange, "08 00 10 01 18 02  # Type: EntryNormal, written though zero"),
        (Payload::LeaveJoint, "08 02 10 01 18 02  # Type: EntryConfChangeV2"),
    ] {
        both_ways(wire::encode_entry, wire::decode_entry, &entry(payload), text);
    }
}

/// The default change is written out, and read also from data of no length.
#[test]
fn entries_with_the_default_change() {
    let entry = |payload| Entry { term: Term::new(1), index: Index::new(2), payload };
    let older = entry(Payload::ConfChange(Arc::default()));
    let newer = entry(Payload::ConfChangeV2(Arc::default()));
    both_ways(
        wire::encode_entry,
        wire::decode_entry,
        &older,
        "08 01       # Type: EntryConfChange
         10 01 18 02 # Term, Index
         22 04       # Data, a ConfChange
           10 00     #   type
           18 00     #   node_id",
    );
    both_ways(
        wire::encode_entry,
        wire::decode_entry,
        &newer,
        "08 02       # Type: EntryConfChangeV2
         10 01 18 02 # Term, Index
         22 02       # Data, a ConfChangeV2
           08 00     #   transition",
    );
    assert_eq!(wire::decode_entry(bytes("08 01 10 01 18 02")), Ok(older));
    assert_eq!(wire::decode_entry(bytes("08 02 10 01 18 02 22 00")), Ok(newer));
}

#[test]
fn conf_change() {
    both_ways(
        wire::encode_conf_change,
        wire::decode_conf_change,
        &ConfChange { id: 1, kind: ConfChangeKind::Remove, node: Some(node(3)), context: Bytes::from("c") },
        "08 01      # id
         10 01      # type: ConfChangeRemoveNode
         18 03      # node_id
         22 01 'c'  # context",
    );
    both_ways(
        wire::encode_conf_change,
        wire::decode_conf_change,
        &ConfChange::default(),
        "10 00      # type: ConfChangeAddNode
         18 00      # node_id: none",
    );
    assert_eq!(wire::decode_conf_change(Bytes::new()), Ok(ConfChange::default()));
}

#[test]
fn conf_change_v2() {
    let single = |kind, id| ConfChangeSingle { kind, node: Some(node(id)) };
    both_ways(
        wire::encode_conf_change_v2,
        wire::decode_conf_change_v2,
        &ConfChangeV2 {
            transition: ConfChangeTransition::JointImplicit,
            changes: vec![single(ConfChangeKind::AddVoter, 3), single(ConfChangeKind::AddLearner, 200)],
            context: Bytes::from("c"),
        },
        "08 01         # transition: ConfChangeTransitionJointImplicit
         12 04         # changes[0]
           08 00       #   type: ConfChangeAddNode
           10 03       #   node_id
         12 05         # changes[1]
           08 03       #   type: ConfChangeAddLearnerNode
           10 c8 01    #   node_id
         1a 01 'c'     # context",
    );
    both_ways(
        wire::encode_conf_change_v2,
        wire::decode_conf_change_v2,
        &ConfChangeV2::default(),
        "08 00         # transition: ConfChangeTransitionAuto",
    );
    assert_eq!(wire::decode_conf_change_v2(Bytes::new()), Ok(ConfChangeV2::default()));
}
