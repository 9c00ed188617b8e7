//! Membership changes, in both formats.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::{NESTED, Result};
use crate::wire::numbers::{
    conf_change, conf_change_single, conf_change_transition, conf_change_type, conf_change_v2,
};
use crate::wire::reader::{DEPTH, Reader};
use crate::wire::{DecodeError, Flaw};
use crate::{ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, NodeId};

/// What the fields of a membership change in the older format hold.
#[derive(Default)]
struct RawConfChange {
    id: u64,
    kind: i32,
    node_id: u64,
    context: Range<usize>,
}

impl RawConfChange {
    fn read(mut reader: Reader<'_>) -> Result<RawConfChange, Flaw> {
        let mut raw = RawConfChange::default();
        while let Some(key) = reader.key()? {
            match key {
                conf_change::ID => raw.id = reader.varint()?,
                conf_change::TYPE => raw.kind = reader.int32()?,
                conf_change::NODE_ID => raw.node_id = reader.varint()?,
                conf_change::CONTEXT => raw.context = reader.bytes()?,
                key => reader.other(key, conf_change::has, DEPTH)?,
            }
        }
        Ok(raw)
    }
}

pub(super) fn read_conf_change(reader: Reader<'_>, source: &Bytes) -> Result<ConfChange> {
    let raw = RawConfChange::read(reader).map_err(DecodeError::MalformedConfChange)?;
    Ok(ConfChange {
        id: raw.id,
        kind: conf_change_kind(raw.kind).map_err(DecodeError::UnknownConfChangeType)?,
        node: NodeId::new(raw.node_id),
        context: source.slice(raw.context),
    })
}

/// What the fields of a membership change in the newer format hold.
#[derive(Default)]
struct RawConfChangeV2 {
    transition: i32,
    changes: Vec<ConfChangeSingle>,
    /// What the first of the steps that we don't know does.
    unknown: Option<i32>,
    context: Range<usize>,
}

impl RawConfChangeV2 {
    fn read(mut reader: Reader<'_>) -> Result<RawConfChangeV2, Flaw> {
        let mut raw = RawConfChangeV2::default();
        while let Some(key) = reader.key()? {
            match key {
                conf_change_v2::TRANSITION => raw.transition = reader.int32()?,
                conf_change_v2::CHANGES => raw.read_single(reader.message()?)?,
                conf_change_v2::CONTEXT => raw.context = reader.bytes()?,
                key => reader.other(key, conf_change_v2::has, DEPTH)?,
            }
        }
        Ok(raw)
    }

    fn read_single(&mut self, mut reader: Reader<'_>) -> Result<(), Flaw> {
        let (mut kind, mut node_id) = (0, 0);
        while let Some(key) = reader.key()? {
            match key {
                conf_change_single::TYPE => kind = reader.int32()?,
                conf_change_single::NODE_ID => node_id = reader.varint()?,
                key => reader.other(key, conf_change_single::has, NESTED)?,
            }
        }
        match conf_change_kind(kind) {
            Ok(kind) => self.changes.push(ConfChangeSingle { kind, node: NodeId::new(node_id) }),
            Err(unknown) => self.unknown = self.unknown.or(Some(unknown)),
        }
        Ok(())
    }
}

pub(super) fn read_conf_change_v2(reader: Reader<'_>, source: &Bytes) -> Result<ConfChangeV2> {
    let raw = RawConfChangeV2::read(reader).map_err(DecodeError::MalformedConfChange)?;
    if let Some(unknown) = raw.unknown {
        return Err(DecodeError::UnknownConfChangeType(unknown));
    }
    Ok(ConfChangeV2 {
        transition: match raw.transition {
            conf_change_transition::AUTO => ConfChangeTransition::Auto,
            conf_change_transition::JOINT_IMPLICIT => ConfChangeTransition::JointImplicit,
            conf_change_transition::JOINT_EXPLICIT => ConfChangeTransition::JointExplicit,
            unknown => return Err(DecodeError::UnknownTransition(unknown)),
        },
        changes: raw.changes,
        context: source.slice(raw.context),
    })
}

/// What happens to a node, or the number if it is none that we know.
fn conf_change_kind(raw: i32) -> Result<ConfChangeKind, i32> {
    Ok(match raw {
        conf_change_type::ADD_NODE => ConfChangeKind::AddVoter,
        conf_change_type::REMOVE_NODE => ConfChangeKind::Remove,
        conf_change_type::UPDATE_NODE => ConfChangeKind::Update,
        conf_change_type::ADD_LEARNER_NODE => ConfChangeKind::AddLearner,
        unknown => return Err(unknown),
    })
}
