//! The numbers of `proto/raft.proto`: the keys of its fields, and the values of its enums.

/// What stands in front of a field's value: its number, and in the last three bits its wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u32);

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Delimited,
    GroupStart,
    GroupEnd,
    Fixed32,
}

impl Key {
    /// The key of a field that holds a number.
    const fn number(field: u32) -> Key {
        Key(field << 3)
    }

    /// The key of a field that holds bytes or a message.
    const fn delimited(field: u32) -> Key {
        Key(field << 3 | 2)
    }

    /// The key that was read. It may be one that can't be.
    pub(super) const fn read(key: u32) -> Key {
        Key(key)
    }

    pub(super) const fn get(self) -> u32 {
        self.0
    }

    /// The number of the field. They are counted from one.
    pub(super) const fn field(self) -> u32 {
        self.0 >> 3
    }

    pub(super) const fn is_delimited(self) -> bool {
        matches!(self.wire_type(), Some(WireType::Delimited))
    }

    /// `None` for the two that don't exist.
    pub(super) const fn wire_type(self) -> Option<WireType> {
        Some(match self.0 & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Delimited,
            3 => WireType::GroupStart,
            4 => WireType::GroupEnd,
            5 => WireType::Fixed32,
            _ => return None,
        })
    }
}

/// Names the fields of a message, by kind and number.
macro_rules! fields {
    ($($message:ident { $($field:ident = $kind:ident($number:literal),)* })*) => {
        $(pub(super) mod $message {
            use super::Key;

            $(pub(in super::super) const $field: Key = Key::$kind($number);)*

            /// Is there a field of this number?
            pub(in super::super) fn has(field: u32) -> bool {
                [$($number),*].contains(&field)
            }
        })*
    };
}

fields! {
    message {
        TYPE = number(1),
        TO = number(2),
        FROM = number(3),
        TERM = number(4),
        LOG_TERM = number(5),
        INDEX = number(6),
        ENTRIES = delimited(7),
        COMMIT = number(8),
        SNAPSHOT = delimited(9),
        REJECT = number(10),
        REJECT_HINT = number(11),
        CONTEXT = delimited(12),
        VOTE = number(13),
        RESPONSES = delimited(14),
        READ_ID = number(100),
        LEASE_READ = number(101),
        RELIED_MATCH = number(102),
        PRIORITY = number(103),
        COMMIT_INDEX = number(104),
        COMMIT_TERM = number(105),
        RELIED_TERM = number(106),
        SNAPSHOT_AT_LEAST = number(107),
    }
    entry {
        TYPE = number(1),
        TERM = number(2),
        INDEX = number(3),
        DATA = delimited(4),
    }
    snapshot {
        DATA = delimited(1),
        METADATA = delimited(2),
    }
    snapshot_metadata {
        CONF_STATE = delimited(1),
        INDEX = number(2),
        TERM = number(3),
    }
    hard_state {
        TERM = number(1),
        VOTE = number(2),
        COMMIT = number(3),
    }
    conf_state {
        VOTERS = number(1),
        LEARNERS = number(2),
        VOTERS_OUTGOING = number(3),
        LEARNERS_NEXT = number(4),
        AUTO_LEAVE = number(5),
        // The lists may be written like this, too. We don't.
        PACKED_VOTERS = delimited(1),
        PACKED_LEARNERS = delimited(2),
        PACKED_VOTERS_OUTGOING = delimited(3),
        PACKED_LEARNERS_NEXT = delimited(4),
    }
    conf_change {
        ID = number(1),
        TYPE = number(2),
        NODE_ID = number(3),
        CONTEXT = delimited(4),
    }
    conf_change_single {
        TYPE = number(1),
        NODE_ID = number(2),
    }
    conf_change_v2 {
        TRANSITION = number(1),
        CHANGES = delimited(2),
        CONTEXT = delimited(3),
    }
}

/// Names the values of an enum.
macro_rules! values {
    ($($kind:ident { $($name:ident = $number:literal,)* })*) => {
        $(pub(super) mod $kind {
            $(pub(in super::super) const $name: i32 = $number;)*
        })*
    };
}

values! {
    entry_type {
        NORMAL = 0,
        CONF_CHANGE = 1,
        CONF_CHANGE_V2 = 2,
    }
    message_type {
        PROP = 2,
        APP = 3,
        APP_RESP = 4,
        VOTE = 5,
        VOTE_RESP = 6,
        SNAP = 7,
        HEARTBEAT = 8,
        HEARTBEAT_RESP = 9,
        TRANSFER_LEADER = 13,
        TIMEOUT_NOW = 14,
        READ_INDEX = 15,
        READ_INDEX_RESP = 16,
        PRE_VOTE = 17,
        PRE_VOTE_RESP = 18,
    }
    conf_change_type {
        ADD_NODE = 0,
        REMOVE_NODE = 1,
        UPDATE_NODE = 2,
        ADD_LEARNER_NODE = 3,
    }
    conf_change_transition {
        AUTO = 0,
        JOINT_IMPLICIT = 1,
        JOINT_EXPLICIT = 2,
    }
}

/// All types of message. Those that have no name here are local to a node of etcd.
pub(super) const MESSAGE_TYPES: core::ops::RangeInclusive<i32> = 0..=23;
