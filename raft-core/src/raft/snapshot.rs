//! Receiving a snapshot (§7).

use alloc::boxed::Box;
use alloc::vec::Vec;

use raft_proto::{AppendEntriesReply, Body, Entry, NodeId, Snapshot, SnapshotMetadata};

use super::common::Common;
use crate::membership::Configuration;
use crate::storage::{Storage, StorageError};
use crate::trace::{debug, info};

/// What follows from a snapshot, before anything is changed.
#[derive(Clone, Debug)]
pub(crate) enum SnapshotPlan {
    /// It is old, or not meant for this node.
    Ignore,
    /// The log holds its last entry: only the commit index moves.
    Known,
    /// It replaces configuration and log, but for what stands behind it in the log: only a snapshot that the state machine waits
    /// for can be one that the log holds.
    Restore(Configuration, Vec<Entry>),
}

/// What follows from this snapshot. Reads only. Its configuration was found valid when the message was.
pub(crate) fn plan<S: Storage>(
    common: &Common<S>,
    snapshot: &Snapshot,
) -> Result<SnapshotPlan, StorageError> {
    let SnapshotMetadata { index, .. } = snapshot.metadata;
    let wanted = common.log.wanted().is_some_and(|least| index >= least);
    if index <= common.log.committed() && !wanted {
        return Ok(SnapshotPlan::Ignore);
    }
    let Ok(membership) = Configuration::from_conf_state(&snapshot.metadata.conf_state) else {
        return Ok(SnapshotPlan::Ignore);
    };
    if !membership.contains(common.id()) {
        return Ok(SnapshotPlan::Ignore);
    }
    match (common.log.matches(snapshot.position())?, wanted) {
        (true, true) => Ok(SnapshotPlan::Restore(membership, common.log.tail(index)?)),
        (true, false) => Ok(SnapshotPlan::Known),
        // What is committed here is something else.
        (false, _) if index <= common.log.committed() => Ok(SnapshotPlan::Ignore),
        (false, _) => Ok(SnapshotPlan::Restore(membership, Vec::new())),
    }
}

/// Carries the plan out, and answers.
pub(crate) fn install<S: Storage>(
    common: &mut Common<S>,
    from: NodeId,
    snapshot: Snapshot,
    plan: SnapshotPlan,
) {
    let position = snapshot.position();
    let index = match plan {
        SnapshotPlan::Ignore => {
            debug!(common.trace, "snapshot ignored", "from" => from, "position" => position,
                "commit" => common.log.committed());
            common.log.committed()
        }
        SnapshotPlan::Known => {
            common.log.commit_to(position.index);
            info!(common.trace, "snapshot is in the log", "from" => from, "position" => position);
            common.log.committed()
        }
        SnapshotPlan::Restore(membership, tail) => {
            common.log.restore(snapshot, tail);
            common.changed_at = position.index;
            let before = core::mem::replace(&mut common.membership, membership);
            common.applied_membership.get_or_insert_with(|| Box::new(before));
            info!(common.trace, "snapshot received", "from" => from, "position" => position);
            position.index
        }
    };
    common.regain(index);
    common.send(from, Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }));
}
