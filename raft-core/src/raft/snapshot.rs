//! Receiving a snapshot (§7).

use raft_proto::{AppendEntriesReply, Body, NodeId, Snapshot};

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
    /// It replaces log and configuration.
    Restore(Configuration),
}

/// What follows from this snapshot. Reads only. Its configuration was found valid when the message was.
pub(crate) fn plan<S: Storage>(
    common: &Common<S>,
    snapshot: &Snapshot,
) -> Result<SnapshotPlan, StorageError> {
    if snapshot.metadata.index <= common.log.committed() {
        return Ok(SnapshotPlan::Ignore);
    }
    let Ok(membership) = Configuration::from_conf_state(&snapshot.metadata.conf_state) else {
        return Ok(SnapshotPlan::Ignore);
    };
    if !membership.contains(common.id()) {
        return Ok(SnapshotPlan::Ignore);
    }
    if common.log.matches(snapshot.position())? {
        return Ok(SnapshotPlan::Known);
    }
    Ok(SnapshotPlan::Restore(membership))
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
        SnapshotPlan::Restore(membership) => {
            common.log.restore(snapshot);
            common.changed_at = position.index;
            let before = core::mem::replace(&mut common.membership, membership);
            common.applied_membership.get_or_insert(before);
            info!(common.trace, "snapshot received", "from" => from, "position" => position);
            position.index
        }
    };
    common.regain(index);
    common.send(from, Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }));
}
