//! Snapshots, and the configuration that they carry.

use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::{Result, index, term};
use crate::wire::numbers::{Key, conf_state, snapshot, snapshot_metadata};
use crate::wire::reader::Reader;
use crate::wire::{DecodeError, Flaw};
use crate::{ConfState, NodeId, Snapshot, SnapshotMetadata};

/// What the fields of a snapshot hold, and those of its metadata.
#[derive(Default)]
pub(super) struct RawSnapshot {
    data: Range<usize>,
    conf_state: RawConfState,
    index: u64,
    term: u64,
}

impl RawSnapshot {
    pub(super) fn merge(&mut self, mut reader: Reader<'_>, depth: u8) -> Result<(), Flaw> {
        while let Some(key) = reader.key()? {
            match key {
                snapshot::DATA => self.data = reader.bytes()?,
                snapshot::METADATA => self.merge_metadata(reader.message()?, depth.saturating_sub(1))?,
                key => reader.other(key, snapshot::has, depth)?,
            }
        }
        Ok(())
    }

    fn merge_metadata(&mut self, mut reader: Reader<'_>, depth: u8) -> Result<(), Flaw> {
        while let Some(key) = reader.key()? {
            match key {
                snapshot_metadata::CONF_STATE => {
                    self.conf_state.merge(reader.message()?, depth.saturating_sub(1))?
                }
                snapshot_metadata::INDEX => self.index = reader.varint()?,
                snapshot_metadata::TERM => self.term = reader.varint()?,
                key => reader.other(key, snapshot_metadata::has, depth)?,
            }
        }
        Ok(())
    }

    pub(super) fn snapshot(self, source: &Bytes) -> Result<Snapshot> {
        Ok(Snapshot {
            metadata: SnapshotMetadata {
                conf_state: self.conf_state.conf_state()?,
                index: index(self.index)?,
                term: term(self.term)?,
            },
            data: source.slice(self.data),
        })
    }
}

/// What the fields of a configuration hold.
#[derive(Default)]
pub(super) struct RawConfState {
    state: ConfState,
    /// One of the lists has a node zero.
    has_zero: bool,
}

impl RawConfState {
    pub(super) fn merge(&mut self, mut reader: Reader<'_>, depth: u8) -> Result<(), Flaw> {
        while let Some(key) = reader.key()? {
            let has_zero = match key {
                conf_state::VOTERS | conf_state::PACKED_VOTERS => {
                    read_nodes(key, &mut reader, &mut self.state.voters)?
                }
                conf_state::LEARNERS | conf_state::PACKED_LEARNERS => {
                    read_nodes(key, &mut reader, &mut self.state.learners)?
                }
                conf_state::VOTERS_OUTGOING | conf_state::PACKED_VOTERS_OUTGOING => {
                    read_nodes(key, &mut reader, &mut self.state.voters_outgoing)?
                }
                conf_state::LEARNERS_NEXT | conf_state::PACKED_LEARNERS_NEXT => {
                    read_nodes(key, &mut reader, &mut self.state.learners_next)?
                }
                conf_state::AUTO_LEAVE => {
                    self.state.auto_leave = reader.bool()?;
                    false
                }
                key => {
                    reader.other(key, conf_state::has, depth)?;
                    false
                }
            };
            self.has_zero |= has_zero;
        }
        Ok(())
    }

    pub(super) fn conf_state(self) -> Result<ConfState> {
        if self.has_zero { Err(DecodeError::ZeroInConfState) } else { Ok(self.state) }
    }
}

/// Reads one number of a list, or as many as are packed behind its key. Returns whether one is zero, which is no node.
fn read_nodes(key: Key, reader: &mut Reader<'_>, nodes: &mut Vec<NodeId>) -> Result<bool, Flaw> {
    let mut has_zero = false;
    let mut push = |id| match NodeId::new(id) {
        Some(node) => nodes.push(node),
        None => has_zero = true,
    };
    if key.is_delimited() {
        let mut packed = reader.message()?;
        while !packed.is_at_end() {
            push(packed.varint()?);
        }
    } else {
        push(reader.varint()?);
    }
    Ok(has_zero)
}
