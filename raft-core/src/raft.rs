//! The node as a state machine: what arrives goes through the gate to the role that the node has, and what the role
//! wants to become of the node is carried out here.

pub(crate) mod clock;
pub(crate) mod common;
pub(crate) mod election;
pub(crate) mod invariants;
pub(crate) mod rng;

mod candidate;
mod follower;
mod leader;
mod outbox;
mod receive;
mod settings;
mod snapshot;
mod start;
mod term_gate;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use raft_proto::{ConfChangeV2, ConfState, Entry, Index, Message, NodeId};

use self::candidate::Candidate;
use self::common::{Common, Next, Timer};
use self::election::Ballot;
use self::follower::Follower;
use self::leader::{Appended, Leader, Origin, Read};
use crate::error::{
    AckError, CampaignError, ForgetLeaderError, ProposeError, ReadError, SnapshotRequestError, TransferError,
};
use crate::membership::ConfChangeError;
use crate::report::{
    ConfChangeRefusal, DroppedRead, Proposal, ReadMode, RoleKind, SnapshotStatus, SoftState, TransferEnd,
    TransferOutcome,
};
use crate::storage::Storage;
use crate::trace::{Ids, debug, info};

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Raft<S> {
    pub(crate) common: Common<S>,
    pub(crate) role: Role,
}

/// A role, with the state that only it has.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    /// Most nodes don't lead, and need no room for it.
    Leader(Box<Leader>),
}

impl Role {
    #[inline]
    fn kind(&self) -> RoleKind {
        match self {
            Role::Follower(_) => RoleKind::Follower,
            Role::Candidate(candidate) => match candidate.ballot() {
                Ballot::PreVote => RoleKind::PreCandidate,
                Ballot::Vote => RoleKind::Candidate,
            },
            Role::Leader(_) => RoleKind::Leader,
        }
    }

    /// The leader that the node knows of; `me` is the node.
    #[inline]
    fn leader(&self, me: NodeId) -> Option<NodeId> {
        match self {
            Role::Follower(follower) => follower.leader,
            Role::Candidate(_) => None,
            Role::Leader(_) => Some(me),
        }
    }
}

impl<S: Storage> Raft<S> {
    #[inline]
    pub(crate) fn soft_state(&self) -> SoftState {
        SoftState { leader: self.role.leader(self.common.id()), role: self.role.kind() }
    }

    // -- inputs

    /// A tick of the caller's clock at which something may be due.
    pub(crate) fn on_tick(&mut self) {
        self.do_what_is_due();
        let next = self.next_due();
        self.common.clock.sleep_until(next);
    }

    /// The first tick at which there may be something to do.
    pub(crate) fn next_due(&self) -> u64 {
        let common = &self.common;
        match &self.role {
            _ if common.log.waits_to_retry() => 0,
            Role::Follower(follower) => follower.next_due(common),
            Role::Candidate(candidate) => candidate.next_due(common),
            Role::Leader(leader) => leader.next_due(common),
        }
    }

    fn do_what_is_due(&mut self) {
        let common = &mut self.common;
        common.log.retry_reads();
        let campaign = match &mut self.role {
            Role::Follower(follower) => follower.tick(common),
            Role::Candidate(candidate) => candidate.tick(common),
            Role::Leader(leader) => {
                let next = leader.tick(common);
                self.become_next(next);
                return;
            }
        };
        if campaign {
            info!(self.common.trace, "election time-out", "ticks" => self.common.clock.election_elapsed(),
                "term" => self.common.term);
            // A time-out that the caller has set may be shorter than any that is drawn.
            let silent = !self.common.clock.within_election_ticks();
            self.common.clock.restart_election();
            if let Err(error) = self.campaign_by_timeout() {
                debug!(self.common.trace, "no campaign", "why" => error);
                if let Role::Follower(follower) = &mut self.role {
                    follower.leader_is_silent |= silent;
                }
            }
        }
    }

    fn campaign_by_timeout(&mut self) -> Result<(), CampaignError> {
        if self.common.is_bound() {
            return Err(CampaignError::BoundByLease);
        }
        election::may_campaign(&self.common)?;
        let next = if self.common.config.pre_vote {
            Next::PreCampaign
        } else {
            Next::Campaign { by_transfer: false }
        };
        self.become_next(next);
        Ok(())
    }

    /// The caller wants this node to campaign.
    pub(crate) fn campaign(&mut self) -> Result<(), CampaignError> {
        if matches!(self.role, Role::Leader(_)) {
            return Err(CampaignError::AlreadyLeader);
        }
        self.campaign_by_timeout()
    }

    /// Proposes entries, which are taken out of their buffer; `from` is the node whose caller wants them.
    #[inline(never)]
    pub(crate) fn propose(
        &mut self,
        from: NodeId,
        entries: &mut Vec<Entry>,
    ) -> Result<(Proposal, Option<ConfChangeRefusal>), ProposeError> {
        if entries.is_empty() {
            return Err(ProposeError::Empty);
        }
        let common = &mut self.common;
        match &mut self.role {
            Role::Follower(follower) => {
                follower.propose(common, from, entries).map(|to| (Proposal::Forwarded { to }, None))
            }
            Role::Candidate(_) => Err(ProposeError::Campaigning),
            Role::Leader(leader) => {
                let Appended { first, last, refused } = leader.propose(common, entries)?;
                Ok((Proposal::Appended { term: common.term, first, last }, refused))
            }
        }
    }

    /// Gives back the memory of buffers that hold nothing.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.common.outbox.shrink_to_fit();
        self.common.log.shrink_to_fit();
        if let Role::Leader(leader) = &mut self.role {
            leader.shrink_to_fit();
        }
    }

    /// Hands leadership over, or passes the wish on to the leader (thesis §3.10).
    pub(crate) fn transfer_leader(&mut self, to: NodeId) -> Result<(), TransferError> {
        let common = &mut self.common;
        match &mut self.role {
            Role::Follower(follower) => follower.transfer_leader(common, to),
            Role::Candidate(_) => Err(TransferError::NoLeader),
            Role::Leader(leader) => leader.transfer(common, to),
        }
    }

    /// Hands leadership over to whoever needs least to take over. Returns whom.
    pub(crate) fn transfer_to_best(&mut self) -> Result<NodeId, TransferError> {
        let common = &mut self.common;
        match &mut self.role {
            Role::Follower(_) | Role::Candidate(_) => Err(TransferError::NotLeader),
            Role::Leader(leader) => {
                let to = leader.best_successor(common).ok_or(TransferError::NobodyFit)?;
                leader.transfer(common, to)?;
                Ok(to)
            }
        }
    }

    /// The caller knows that the leader is gone.
    pub(crate) fn forget_leader(&mut self) -> Result<(), ForgetLeaderError> {
        if self.common.config.lease_reads {
            return Err(ForgetLeaderError::BoundByLease);
        }
        match &mut self.role {
            Role::Follower(follower) => {
                follower.forget_leader(&mut self.common);
                Ok(())
            }
            Role::Candidate(_) | Role::Leader(_) => Err(ForgetLeaderError::NotAFollower),
        }
    }

    /// A membership change was applied.
    pub(crate) fn apply_conf_change(&mut self, change: &ConfChangeV2) -> Result<ConfState, ConfChangeError> {
        let common = &mut self.common;
        if let Some(applied) = &mut common.applied_membership {
            **applied = applied.apply(change)?;
            return Ok(applied.to_conf_state());
        }
        let next = common.membership.apply(change)?;
        let renewed = common.membership.renewed_by(change);
        common.membership = next;
        common.changed_at = common.changed_at.max(common.log.handed());
        let state = common.membership.to_conf_state();
        info!(common.trace, "membership", "voters" => Ids(&state.voters), "outgoing" => Ids(&state.voters_outgoing),
            "learners" => Ids(&state.learners), "learners_next" => Ids(&state.learners_next));
        let next = match &mut self.role {
            Role::Leader(leader) => leader.on_membership(common, &renewed),
            Role::Candidate(_) if !common.membership.is_voter(common.id()) => {
                Next::Follow { term: common.term, leader: None, timer: Timer::Restart }
            }
            Role::Candidate(_) | Role::Follower(_) => Next::Stay,
        };
        self.become_next(next);
        Ok(state)
    }

    /// Asks for a read index for this node's own caller.
    pub(crate) fn read_index(&mut self, context: Bytes, mode: ReadMode) -> Result<(), ReadError> {
        let common = &mut self.common;
        if mode == ReadMode::Lease && !common.config.lease_reads {
            return Err(ReadError::LeasesAreOff);
        }
        match &mut self.role {
            Role::Follower(follower) => follower.read_index(common, context, mode),
            Role::Candidate(_) => Err(ReadError::Campaigning),
            Role::Leader(leader) => leader.read(common, Read { origin: Origin::Local, context, mode }),
        }
    }

    /// What couldn't be read can be now.
    pub(crate) fn on_entries_fetched(&mut self) {
        self.common.log.retry_reads();
        if let Role::Leader(leader) = &mut self.role {
            leader.send_what_is_due(&mut self.common);
        }
    }

    /// The state machine needs a snapshot.
    pub(crate) fn request_snapshot(&mut self) -> Result<(), SnapshotRequestError> {
        match &mut self.role {
            Role::Follower(follower) => {
                follower.want_snapshot(&mut self.common);
                Ok(())
            }
            Role::Candidate(_) | Role::Leader(_) => Err(SnapshotRequestError::NotAFollower),
        }
    }

    /// Heartbeats, though none are due.
    pub(crate) fn ping(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            leader.beat(&mut self.common);
        }
    }

    pub(crate) fn has_committed_in_term(&self) -> bool {
        match &self.role {
            Role::Leader(leader) => leader.has_committed_in_term(&self.common),
            Role::Follower(_) | Role::Candidate(_) => false,
        }
    }

    pub(crate) fn has_applied_in_term(&self) -> bool {
        match &self.role {
            Role::Leader(leader) => leader.has_applied_in_term(&self.common),
            Role::Follower(_) | Role::Candidate(_) => false,
        }
    }

    pub(crate) fn holds_lease(&self) -> bool {
        match &self.role {
            Role::Leader(leader) => {
                leader.has_committed_in_term(&self.common) && leader.holds_lease(&self.common)
            }
            Role::Follower(_) | Role::Candidate(_) => false,
        }
    }

    /// Does a round of heartbeats wait for the next `Ready`?
    #[inline]
    pub(crate) fn is_round_due(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.is_round_due())
    }

    /// A `Ready` is being cut. What is made only now is made in its buffer, so a leader at rest needs none of its own.
    pub(crate) fn send_unsent(&mut self, buffer: &mut Vec<Message>) {
        let Raft { common, role: Role::Leader(leader) } = self else { return };
        if leader.has_unsent() {
            let lent = common.outbox.messages.is_empty();
            if lent {
                core::mem::swap(&mut common.outbox.messages, buffer);
            }
            leader.send_unsent(common);
            if lent {
                core::mem::swap(&mut common.outbox.messages, buffer);
            }
        }
    }

    pub(crate) fn report_unreachable(&mut self, peer: NodeId) {
        if let Role::Leader(leader) = &mut self.role {
            leader.on_unreachable(&self.common, peer);
        }
    }

    pub(crate) fn report_snapshot(&mut self, peer: NodeId, status: SnapshotStatus) {
        if let Role::Leader(leader) = &mut self.role {
            leader.on_snapshot_reported(&self.common, peer, status);
        }
    }

    // -- acknowledgements

    /// All writes up to this number are durable. What the node tells itself takes the path of any message, so that a vote
    /// or an acknowledgement of a term that is over counts no more than a late one from elsewhere.
    #[inline]
    pub(crate) fn on_persisted(&mut self, number: u64) {
        if self.common.log.writes_in_flight() > 0 {
            self.on_written(number);
        }
        if self.common.applied_membership.is_some() && self.common.log.pending_snapshot().is_none() {
            self.common.applied_membership = None;
        }
    }

    fn on_written(&mut self, number: u64) {
        while let Some(write) = self.common.log.acknowledge_write(number) {
            let me = self.common.id();
            for _ in 0..write.own {
                let Some(answer) = self.common.log.next_own() else { break };
                if let Err(error) = self.receive(&mut answer.message(me)) {
                    debug!(self.common.trace, "own answer failed", "error" => error);
                }
            }
            self.common.durable_term = self.common.durable_term.max(write.term);
            self.common.log.on_written(&write, self.common.term);
        }
    }

    /// Everything up to `index` is applied.
    pub(crate) fn on_applied(&mut self, index: Index) -> Result<(), AckError> {
        let bytes = self.common.log.on_applied(index)?;
        if let Role::Leader(leader) = &mut self.role {
            leader.on_applied(bytes);
            leader.leave_joint_if_due(&mut self.common);
        }
        Ok(())
    }

    // -- transitions

    /// Carries out what a handler decided: nothing, nearly always.
    #[inline]
    fn become_next(&mut self, next: Next) {
        if next != Next::Stay {
            self.change_role(next);
        }
    }

    /// The only place that assigns the role.
    #[cold]
    fn change_role(&mut self, next: Next) {
        let role = match next {
            Next::Stay => return,
            Next::Follow { term, leader, timer } => {
                let common = &mut self.common;
                if term > common.term {
                    common.term = term;
                    common.vote = None;
                }
                if timer == Timer::Restart {
                    common.clock.restart(&mut common.rng);
                }
                Role::Follower(Follower::of(leader))
            }
            Next::PreCampaign => {
                let term = self.common.term.next();
                Role::Candidate(Candidate::campaign(&mut self.common, Ballot::PreVote, term, false))
            }
            Next::Campaign { by_transfer } => {
                let common = &mut self.common;
                common.term = common.term.next();
                common.vote = Some(common.id());
                common.clock.restart(&mut common.rng);
                Role::Candidate(Candidate::campaign(common, Ballot::Vote, common.term, by_transfer))
            }
            Next::Lead => {
                self.common.clock.restart(&mut self.common.rng);
                Role::Leader(Box::new(Leader::new(&mut self.common)))
            }
        };
        self.common.clock.wake();
        self.common.news = true;
        let before = core::mem::replace(&mut self.role, role);
        self.hand_back(before);
        let SoftState { leader, role } = self.soft_state();
        info!(self.common.trace, "role", "role" => role, "term" => self.common.term,
            "leader" => crate::trace::OrNone(leader), "last" => self.common.log.last(),
            "timeout" => self.common.clock.election_timeout());
    }

    /// Tells the caller what it is owed by a role that has ended.
    fn hand_back(&mut self, role: Role) {
        let common = &mut self.common;
        let mut drop_all = |reads: &mut dyn Iterator<Item = Bytes>| {
            for context in reads {
                common.drop_read(DroppedRead { context, reason: ReadError::LeaderChanged });
            }
        };
        match role {
            Role::Follower(follower) => drop_all(&mut follower.into_reads()),
            Role::Candidate(_) => {}
            Role::Leader(leader) => {
                let transferee = leader.transferee();
                drop_all(&mut leader.into_reads());
                if let Some(to) = transferee {
                    common
                        .outbox
                        .rare()
                        .transfers
                        .push(TransferOutcome { to, end: TransferEnd::SteppedDown });
                }
            }
        }
    }
}
