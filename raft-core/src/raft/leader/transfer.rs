//! Handing leadership over (thesis §3.10).
//!
//! The leader stops to take proposals, brings the target's log up to its own, and then tells it to campaign at once. The
//! votes that this campaign gets ignore every lease, and the word to campaign may arrive late. So from the moment it is
//! sent the leader serves nothing from its lease, for the rest of its term.

use core::cmp::Reverse;

use raft_proto::{Body, NodeId};

use super::Leader;
use super::replication::{self, Batch, Empty};
use crate::error::TransferError;
use crate::progress::Progress;
use crate::raft::common::{Common, Next};
use crate::report::{TransferEnd, TransferOutcome};
use crate::storage::Storage;
use crate::trace::{debug, info};

impl Leader {
    /// To whom leadership is being handed over.
    pub(crate) fn transferee(&self) -> Option<NodeId> {
        self.transferee
    }

    /// Hands leadership over to a voter.
    pub(crate) fn transfer<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        to: NodeId,
    ) -> Result<(), TransferError> {
        let Some(peer) = self.progress.get_mut(to) else { return Err(TransferError::UnknownNode(to)) };
        if common.membership.is_learner(to) {
            return Err(TransferError::NotAVoter(to));
        }
        if self.transferee == Some(to) {
            return Ok(());
        }
        if to == common.id() {
            return match self.transferee {
                Some(_) => {
                    self.end_transfer(common, TransferEnd::Superseded);
                    Ok(())
                }
                None => Err(TransferError::AlreadyLeader),
            };
        }
        if let Some(before) = self.transferee.take() {
            common.outbox.rare().transfers.push(TransferOutcome { to: before, end: TransferEnd::Superseded });
        }
        info!(common.trace, "transfer begins", "to" => to, "term" => common.term);
        self.transferee = Some(to);
        common.clock.restart_election();
        if peer.match_index() == common.log.last().index {
            self.tell_to_campaign(common, to);
        } else {
            replication::send_append(common, to, peer, Empty::Allowed, &mut Batch::default());
        }
        Ok(())
    }

    /// The voter who needs least to take over: the one with the longest log among those that were heard lately.
    pub(crate) fn best_successor<S: Storage>(&self, common: &Common<S>) -> Option<NodeId> {
        let me = common.id();
        let fit = |(id, peer): &(NodeId, &Progress)| {
            *id != me && peer.recently_active && common.membership.is_voter(*id)
        };
        // Of equals the first: `max_by_key` gives the last.
        let best = self.progress.iter().filter(fit).min_by_key(|(_, peer)| Reverse(peer.match_index()));
        best.map(|(id, _)| id)
    }

    /// Another node passed the wish on.
    #[inline(never)]
    pub(crate) fn transfer_for_peer<S: Storage>(&mut self, common: &mut Common<S>, to: NodeId) -> Next {
        if let Err(error) = self.transfer(common, to) {
            debug!(common.trace, "no transfer", "to" => to, "why" => error);
        }
        Next::Stay
    }

    /// The target may have caught up.
    pub(super) fn continue_transfer<S: Storage>(&mut self, common: &mut Common<S>, from: NodeId) {
        if self.transferee == Some(from) && self.progress.match_index(from) == common.log.last().index {
            self.tell_to_campaign(common, from);
        }
    }

    fn tell_to_campaign<S: Storage>(&mut self, common: &mut Common<S>, to: NodeId) {
        self.gave_up_lease = true;
        common.send(to, Body::TimeoutNow);
    }

    /// The transfer took too long, or its target is gone. What it held up goes on.
    pub(super) fn end_transfer<S: Storage>(&mut self, common: &mut Common<S>, end: TransferEnd) {
        if let Some(to) = self.transferee.take() {
            info!(common.trace, "transfer ends", "to" => to, "end" => end);
            common.outbox.rare().transfers.push(TransferOutcome { to, end });
            self.leave_joint_if_due(common);
        }
    }
}
