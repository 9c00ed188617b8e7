//! Log entries (§5.3) and their size.

use alloc::sync::Arc;

use bytes::Bytes;

use crate::{ConfChange, ConfChangeV2, Index, LogPosition, Term};

/// What an entry holds, by name only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A command for the state machine, or nothing: [`Payload::TermStart`], [`Payload::RefusedChange`].
    Normal,
    /// A membership change in the older format.
    ConfChange,
    /// A membership change in the newer format.
    ConfChangeV2,
}

/// What an entry holds. Membership changes are decoded already: bytes that don't decode never become an entry.
///
/// What only a leader writes has names of its own, so that an empty command of a client is never taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A command for the state machine.
    Normal(Bytes),
    /// A membership change in the older format.
    ConfChange(Arc<ConfChange>),
    /// A membership change in the newer format.
    ConfChangeV2(Arc<ConfChangeV2>),
    /// Nothing to apply: a leader begins its term with it, to learn what is committed (§8).
    TermStart,
    /// Nothing to apply: it stands in the place of a membership change that couldn't be made when it was proposed. (Versions of
    /// etcd that always write an entry's type begin their terms with this one.)
    RefusedChange,
    /// A leader ends a joint configuration that is to be left by itself: the same as an empty
    /// [`ConfChangeV2`](Payload::ConfChangeV2) (thesis §4.3).
    LeaveJoint,
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::Normal(Bytes::new())
    }
}

impl Payload {
    /// Its length in bytes as it travels: what the limits on uncommitted and in-flight bytes count.
    #[inline]
    pub fn len(&self) -> u64 {
        match self {
            Payload::Normal(data) => count(data.len()),
            Payload::ConfChange(change) => conf_change_len(change),
            Payload::ConfChangeV2(change) => conf_change_v2_len(change),
            Payload::TermStart | Payload::RefusedChange | Payload::LeaveJoint => 0,
        }
    }

    /// Its length, and the bytes that it takes in an entry: those of its type, where that is written, and of its data with their
    /// key and length.
    #[inline(always)]
    pub(crate) fn lens(&self) -> (u64, u64) {
        if let Payload::Normal(data) = self {
            let len = count(data.len());
            return (len, bytes_field_len(len));
        }
        self.rare_lens()
    }

    #[inline(never)]
    fn rare_lens(&self) -> (u64, u64) {
        let len = self.len();
        let field_len = match self {
            Payload::Normal(_) => bytes_field_len(len),
            Payload::ConfChange(_) | Payload::ConfChangeV2(_) => bytes_field_len(len).saturating_add(2),
            Payload::TermStart => 0,
            Payload::RefusedChange | Payload::LeaveJoint => 2,
        };
        (len, field_len)
    }

    /// Has it no bytes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The membership change that it holds, if it holds one, in the newer format.
    pub fn as_conf_change(&self) -> Option<ConfChangeV2> {
        match self {
            Payload::Normal(_) | Payload::TermStart | Payload::RefusedChange => None,
            Payload::ConfChange(change) => Some(change.to_v2()),
            Payload::ConfChangeV2(change) => Some(ConfChangeV2::clone(change)),
            Payload::LeaveJoint => Some(ConfChangeV2::default()),
        }
    }

    /// Does it hold a membership change?
    pub fn is_conf_change(&self) -> bool {
        self.kind() != EntryKind::Normal
    }

    /// What it holds, by name.
    pub fn kind(&self) -> EntryKind {
        match self {
            Payload::Normal(_) | Payload::TermStart | Payload::RefusedChange => EntryKind::Normal,
            Payload::ConfChange(_) => EntryKind::ConfChange,
            Payload::ConfChangeV2(_) | Payload::LeaveJoint => EntryKind::ConfChangeV2,
        }
    }
}

/// An entry of the replicated log (§5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The term of the leader that created it.
    pub term: Term,
    /// Its place in the log.
    pub index: Index,
    /// What it holds.
    pub payload: Payload,
}

impl Entry {
    /// An entry that holds this command.
    pub fn normal(term: Term, index: Index, data: Bytes) -> Entry {
        Entry { term, index, payload: Payload::Normal(data) }
    }

    /// What it holds, by name.
    pub fn kind(&self) -> EntryKind {
        self.payload.kind()
    }

    /// Its identity.
    pub fn position(&self) -> LogPosition {
        LogPosition { term: self.term, index: self.index }
    }

    /// The bytes that the command has, if it is one.
    pub fn data(&self) -> Option<&Bytes> {
        match &self.payload {
            Payload::Normal(data) => Some(data),
            Payload::ConfChange(_)
            | Payload::ConfChangeV2(_)
            | Payload::TermStart
            | Payload::RefusedChange
            | Payload::LeaveJoint => None,
        }
    }

    /// Its length in bytes in its protobuf encoding, which is what the limits on messages and on batches of
    /// committed entries count.
    #[inline]
    pub fn encoded_len(&self) -> u64 {
        self.position_len().saturating_add(self.payload.lens().1)
    }

    /// The part of that which is the position.
    #[inline]
    pub(crate) fn position_len(&self) -> u64 {
        varint_len(self.term.get()).saturating_add(varint_len(self.index.get())).saturating_add(2)
    }
}

#[inline]
fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// The length of a number as a varint: seven bits to a byte.
#[inline]
const fn varint_len(value: u64) -> u64 {
    // What follows is bits.div_ceil(7) for all of 1 to 64, without a division.
    let bits = 64_u32.wrapping_sub((value | 1).leading_zeros());
    (bits.wrapping_mul(9).wrapping_add(64) >> 6) as u64
}

/// No length of what is in memory is so large that this wraps.
#[inline]
pub(crate) const fn bytes_field_len(len: u64) -> u64 {
    len.wrapping_add(varint_len(len)).wrapping_add(1)
}

fn context_len(context: &Bytes) -> u64 {
    if context.is_empty() { 0 } else { bytes_field_len(count(context.len())) }
}

fn node_len(node: Option<crate::NodeId>) -> u64 {
    varint_len(node.map_or(0, crate::NodeId::get)).saturating_add(1)
}

fn conf_change_len(change: &ConfChange) -> u64 {
    let id = if change.id == 0 { 0 } else { varint_len(change.id).saturating_add(1) };
    node_len(change.node).saturating_add(2).saturating_add(id).saturating_add(context_len(&change.context))
}

fn conf_change_v2_len(change: &ConfChangeV2) -> u64 {
    change.changes.iter().fold(context_len(&change.context).saturating_add(2), |len, single| {
        len.saturating_add(bytes_field_len(node_len(single.node).saturating_add(2)))
    })
}
