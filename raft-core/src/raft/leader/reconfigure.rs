//! Changing the membership (thesis §4), applied when its entry is applied.
//!
//! At most one change may be on its way: an entry is refused while an earlier one may be unapplied. A new leader can't
//! know which of the entries that it inherited are changes without reading them, so it waits for all of them
//! (`conf_gate`); so it never proposes a change before it has committed an entry of its own term, without which two
//! leaders could make changes whose quorums don't meet.

use raft_proto::{ConfChangeV2, Entry, Index, NodeId, Payload};

use super::Leader;
use super::replication::{self, Batch, Empty};
use crate::progress::{Progress, ProgressTable};
use crate::raft::common::{Common, Next, Timer};
use crate::report::{ConfChangeRefusal, TransferEnd};
use crate::storage::Storage;
use crate::trace::{debug, info};

/// May this change be appended at `index`, when no other may be before `gate` is applied? If so it closes the gate.
pub(super) fn admit<S: Storage>(
    common: &Common<S>,
    change: &ConfChangeV2,
    index: Index,
    gate: &mut Index,
) -> Result<(), ConfChangeRefusal> {
    let leaves = change.changes.is_empty();
    let joint = common.membership.voters().is_joint();
    let refusal = if *gate > common.log.applied() {
        Some(ConfChangeRefusal::ChangePending { index: *gate })
    } else if joint && !leaves {
        Some(ConfChangeRefusal::JointPending)
    } else if !joint && leaves {
        Some(ConfChangeRefusal::NotJoint)
    } else {
        None
    };
    match refusal.filter(|_| !common.config.disable_conf_change_validation) {
        Some(refusal) => {
            debug!(common.trace, "membership change refused", "index" => index, "why" => refusal);
            Err(refusal)
        }
        None => {
            *gate = index;
            Ok(())
        }
    }
}

impl Leader {
    /// The membership has changed; `renewed` are nodes that were taken out and brought in again.
    pub(crate) fn on_membership<S: Storage>(&mut self, common: &mut Common<S>, renewed: &[NodeId]) -> Next {
        self.rebuild_progress(common, renewed);
        self.end_lease();
        let removed = !common.membership.is_voter(common.id()) && common.config.step_down_on_removal;
        // The last heartbeats of a leader that goes tell what is committed. Where nobody is left, no `Ready` is due for any.
        if self.round_due && (removed || !self.progress.has_others(common.id())) {
            self.broadcast_heartbeat(common);
        }
        if removed {
            info!(common.trace, "removed", "term" => common.term);
            return Next::Follow { term: common.term, leader: None, timer: Timer::Restart };
        }
        let news = self.maybe_commit(common);
        if news {
            self.release_early_reads(common);
        }
        // The caller is in the midst of applying: a snapshot that it gave now could hold the state of before the change with the
        // configuration of after it. Who needs one gets it with its next answer to a heartbeat.
        let (me, empty) = (common.id(), if news { Empty::Allowed } else { Empty::NotAllowed });
        let mut batch = Batch::default();
        for (id, peer) in self.progress.iter_mut().filter(|(id, _)| *id != me) {
            replication::send_log(common, id, peer, empty, &mut batch);
        }
        // With fewer voters, what was answered may be a quorum now.
        self.release_confirmed(common);
        self.end_transfer_to_outsider(common);
        Next::Stay
    }

    /// Who is no voter any more can't take over.
    fn end_transfer_to_outsider<S: Storage>(&mut self, common: &mut Common<S>) {
        if self.transferee.is_some_and(|to| !common.membership.is_voter(to)) {
            self.end_transfer(common, TransferEnd::TargetRemoved);
        }
    }

    /// Those who stay keep what is known of them; of those who come, nothing is known but that somebody vouched for them.
    fn rebuild_progress<S: Storage>(&mut self, common: &Common<S>, renewed: &[NodeId]) {
        let mut before = core::mem::take(&mut self.progress);
        let window = super::window(&common.config);
        let next = common.log.last().index.max(Index::new(1));
        self.progress = ProgressTable::new(&common.membership.members(), |id| {
            let known = before.take(id).filter(|_| !renewed.contains(&id));
            known.unwrap_or_else(|| {
                let mut progress = Progress::new(next, window);
                progress.hear(common.clock.now());
                progress
            })
        });
    }

    /// A joint configuration that is to be left by itself is left as soon as its entry is applied,
    /// also by a leader that inherited it. If a transfer prevents it, it is tried again when that has ended.
    pub(crate) fn leave_joint_if_due<S: Storage>(&mut self, common: &mut Common<S>) {
        if !common.membership.leaves_by_itself() || common.log.applied() < self.conf_gate {
            return;
        }
        let mut leave = alloc::vec![Entry { payload: Payload::LeaveJoint, ..Entry::default() }];
        match self.propose(common, &mut leave) {
            Ok(_) => info!(common.trace, "leaving the joint configuration", "term" => common.term),
            Err(error) => debug!(common.trace, "joint configuration not left yet", "why" => error),
        }
    }
}
