//! What clients and operators ask of a node.

use std::sync::Arc;

use bytes::Bytes;
use raft_core::{
    Body, ConfChange, ConfChangeProposal, Entry, Message, Payload, Proposal, Propose, ProposeError, ReadMode,
    RoleKind, Term,
};

use super::action::Change;
use super::world::World;
use crate::machine::Command;
use crate::members::Members;
use crate::oracle::{Cause, Check, Request};
use crate::parts::Parts;
use crate::reached::Situation;

impl<P: Parts> World<P> {
    /// A client sends commands to a node, again if it waits for them already.
    pub(super) fn write(
        &mut self,
        at: usize,
        client: usize,
        first: u32,
        count: u32,
        padding: usize,
    ) -> Check {
        // In a schedule from which parts were left out it may have been answered by now: then it isn't sent again.
        let clients = &self.oracle.clients;
        let is_due = match clients.request(client) {
            Some((request, _)) => request == Request::Write { first, count },
            None => first >= clients.next_command(client),
        };
        if !is_due {
            return Ok(());
        }
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        let command = |sequence| Command { client: client as u8, sequence }.encode::<P::Machine>(padding);
        let mut bytes = 0;
        let commands = (first..first + count).map(command).inspect(|data| bytes += data.len() as u64);
        match raw.propose_batch(commands) {
            Ok(proposal) => {
                let forwarded = matches!(proposal, Proposal::Forwarded { .. });
                self.reached.reach_if(forwarded, Situation::ProposalForwarded);
                if !forwarded {
                    self.oracle.on_proposed(raw, bytes)?;
                }
                self.oracle.clients.write(client, at, first, count);
            }
            Err(error) => {
                let full = matches!(error, ProposeError::OverUncommittedLimit { .. });
                self.reached.reach_if(full, Situation::LimitReached);
                let transfer = matches!(error, ProposeError::Transferring { .. });
                self.reached.reach_if(transfer, Situation::TransferRefusesProposal);
            }
        }
        self.drain_unless_busy(at, Cause::Other)
    }

    /// Entries that nobody waits for are proposed.
    pub(super) fn propose(&mut self, at: usize, count: u32, bytes: usize) -> Check {
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        let payload = Bytes::from(vec![0xff; bytes]);
        if let Ok(Proposal::Appended { .. }) = raw.propose_batch((0..count).map(|_| payload.clone())) {
            self.oracle.on_proposed(raw, u64::from(count) * bytes as u64)?;
        }
        self.drain_unless_busy(at, Cause::Other)
    }

    /// A client reads at a node.
    pub(super) fn read(&mut self, at: usize, client: usize, lease: bool) -> Check {
        if self.oracle.clients.request(client).is_some() {
            return Ok(());
        }
        let committed = self.oracle.committed();
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        let leads = raw.role() == RoleKind::Leader;
        self.reached.reach_if(leads && !raw.has_committed_in_term(), Situation::ReadEarly);
        self.reached.reach_if(lease && raw.holds_lease(), Situation::ReadByLease);
        let mode = if lease { ReadMode::Lease } else { ReadMode::Quorum };
        let (number, context) = self.oracle.clients.next_read();
        if raw.read_index(context, mode).is_ok() {
            self.oracle.clients.read(client, at, number, committed);
        }
        self.drain_unless_busy(at, Cause::Other)
    }

    /// A membership change is proposed. Where nobody else keeps its rules, who proposes it does.
    pub(super) fn change(&mut self, at: usize, change: Change, old_format: bool) -> Check {
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        if raw.config().disable_conf_change_validation {
            let members = Members::of(raw.configuration());
            // Another leader couldn't be told in time.
            let settled = raw.has_committed_in_term() && raw.applied_index() == raw.last_index();
            // What can't be made in a joint configuration is refused when it is applied, if nothing leaves that before.
            let leaves = change == Change::LEAVE;
            if !settled || leaves && !members.is_joint() || !leaves && members.auto_leave {
                return Ok(());
            }
        }
        let result = match (old_format, change.steps) {
            (true, [Some((kind, id)), None, None, None]) => {
                raw.propose_conf_change_v1(ConfChange { kind, node: Some(id), ..ConfChange::default() })
            }
            _ => raw.propose_conf_change(change.to_v2()),
        };
        let refused = matches!(result, Ok(ConfChangeProposal::Refused { .. }));
        self.reached.reach_if(refused, Situation::ChangeRefused);
        if matches!(result, Ok(ConfChangeProposal::Appended { .. })) {
            self.oracle.on_proposed(raw, 0)?;
        }
        self.drain(at, Cause::Other)
    }

    /// Two changes arrive together, passed on by another node, behind so many plain entries.
    pub(super) fn changes(&mut self, at: usize, from: usize, ahead: u32, changes: [Change; 2]) -> Check {
        let (from, to) = (self.nodes[from].id, self.nodes[at].id);
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        if raw.config().disable_conf_change_validation {
            return Ok(());
        }
        let plain = (0..ahead).map(|_| Payload::Normal(Bytes::from_static(&[0xff])));
        let changes = changes.into_iter().map(|change| Payload::ConfChangeV2(Arc::new(change.to_v2())));
        let entries = plain.chain(changes).map(|payload| Entry { payload, ..Entry::default() });
        let body = Body::Propose(Propose { entries: entries.collect() });
        // What is refused is refused; what is taken on is looked at.
        let _ = raw.step(Message { from, to, term: Term::ZERO, body });
        self.drain(at, Cause::Other)
    }

    /// Leadership is to be handed over.
    pub(super) fn transfer(&mut self, at: usize, to: Option<usize>) -> Check {
        let to = to.map(|to| self.nodes[to].id);
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        let result = match to {
            Some(to) => raw.transfer_leader(to).map(|()| to),
            None => raw.transfer_leader_to_best(),
        };
        self.oracle.on_transfer_asked(at);
        let behind = |to| raw.peer(to).is_some_and(|peer| peer.match_index < raw.last_index());
        self.reached.reach_if(result.is_ok_and(behind), Situation::TransferWaits);
        self.drain(at, Cause::Other)
    }
}
