//! A message from another node: whether it makes sense, what its term means, what the log says to it, and which role's handler it
//! goes to.

use alloc::boxed::Box;

use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, Heartbeat, HeartbeatReply, Index, Message, NodeId, Snapshot,
    Term,
};

use super::common::Next;
use super::election::{self, Ballot};
use super::snapshot::{self, SnapshotPlan};
use super::term_gate::{self, Verdict, View};
use super::{Raft, Role};
use crate::error::StepError;
use crate::log::{AppendError, AppendPlan};
use crate::report::SoftState;
use crate::storage::Storage;
use crate::trace::{debug, trace};

/// A message with what it means for the log: read before anything is changed, so that a storage that fails costs no
/// more than the message.
enum Prepared<'a> {
    Append(&'a mut AppendEntries, AppendPlan),
    Snapshot(&'a mut Snapshot, Box<SnapshotPlan>),
    /// And as far as the leader counts on this log, if it doesn't hold that.
    Heartbeat(&'a mut Heartbeat, Option<Index>),
    /// These two are frequent, so they are told apart early: then the compiler knows which it has.
    AppendReply(AppendEntriesReply),
    HeartbeatReply(&'a HeartbeatReply),
    Plain(&'a mut Body),
}

impl<S: Storage> Raft<S> {
    /// A message from another node.
    #[inline]
    pub(crate) fn step(&mut self, message: &mut Message) -> Result<(), StepError> {
        match &message.body {
            Body::AppendEntries(_) => self.take_one(message, |body| matches!(body, Body::AppendEntries(_))),
            Body::AppendEntriesReply(_) => {
                self.take_one(message, |body| matches!(body, Body::AppendEntriesReply(_)))
            }
            Body::Heartbeat(_) => self.take_one(message, |body| matches!(body, Body::Heartbeat(_))),
            Body::HeartbeatReply(_) => self.take_one(message, |body| matches!(body, Body::HeartbeatReply(_))),
            Body::RequestVote(_)
            | Body::RequestVoteReply(_)
            | Body::PreVote(_)
            | Body::PreVoteReply(_)
            | Body::InstallSnapshot(_)
            | Body::TransferLeader(_)
            | Body::TimeoutNow
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexReply(_) => self.take_rare(message),
        }
    }

    /// What arrives nearly always is compiled apart, a function for each kind `is`: where the kind is known, all that concerns
    /// others falls away.
    #[inline(never)]
    fn take_one(&mut self, message: &mut Message, is: impl Fn(&Body) -> bool) -> Result<(), StepError> {
        if is(&message.body) { self.take(message) } else { self.take_rare(message) }
    }

    #[inline(never)]
    fn take_rare(&mut self, message: &mut Message) -> Result<(), StepError> {
        self.take(message)
    }

    /// What is kept of the message is taken out.
    #[inline(always)]
    fn take(&mut self, message: &mut Message) -> Result<(), StepError> {
        trace!(self.common.trace, "receive", "message" => message.body.name(), "from" => message.from,
            "term" => message.term);
        if let Err(error) = term_gate::validate(self.common.id(), &self.common.membership, message) {
            return self.refuse(message, error);
        }
        match self.receive(message) {
            Ok(()) => Ok(()),
            Err(error) => self.refuse(message, error),
        }
    }

    #[cold]
    fn refuse(&mut self, message: &Message, error: StepError) -> Result<(), StepError> {
        debug!(self.common.trace, "message refused", "message" => message.body.name(),
            "from" => message.from, "error" => error);
        self.common.count(|counters| &mut counters.refused_messages);
        Err(error)
    }

    /// A message that makes sense: another node's, or what this node tells itself.
    #[inline(always)]
    pub(super) fn receive(&mut self, message: &mut Message) -> Result<(), StepError> {
        let campaigns = matches!(self.role, Role::Candidate(_));
        if !term_gate::passes(self.common.term, campaigns, message) {
            return self.receive_judged(message);
        }
        if matches!(self.role, Role::Leader(_)) && term_gate::from_leader(&message.body) {
            return Err(StepError::RivalLeader(message.from));
        }
        let prepared = self.prepare(&mut message.body)?;
        self.deliver(message.from, message.term, prepared)
    }

    /// A message whose term, or whose sender's role, may mean something.
    #[cold]
    fn receive_judged(&mut self, message: &mut Message) -> Result<(), StepError> {
        let next = match term_gate::judge(&self.view(message.from), message) {
            Verdict::Deliver => Next::Stay,
            Verdict::Follow { term, leader, timer } => Next::Follow { term, leader, timer },
            Verdict::Answer(body) => {
                self.common.send(message.from, body);
                return Ok(());
            }
            Verdict::Drop(why) => {
                debug!(self.common.trace, "message dropped", "message" => message.body.name(),
                    "from" => message.from, "term" => message.term, "why" => why);
                self.common.count_dropped();
                return Ok(());
            }
        };
        let prepared = self.prepare(&mut message.body)?;
        self.become_next(next);
        self.deliver(message.from, message.term, prepared)
    }

    /// Reads what the handler of this message will need to know of the log.
    #[inline(always)]
    fn prepare<'a>(&self, body: &'a mut Body) -> Result<Prepared<'a>, StepError> {
        let log = &self.common.log;
        match body {
            Body::AppendEntries(append) => match log.plan_append(append.prev, &append.entries) {
                Ok(plan) => Ok(Prepared::Append(append, plan)),
                Err(AppendError::Conflict(index)) => Err(StepError::ConflictsWithCommitted { index }),
                Err(AppendError::Storage(error)) => Err(error.into()),
            },
            Body::InstallSnapshot(install) => {
                let plan = snapshot::plan(&self.common, &install.snapshot)?;
                Ok(Prepared::Snapshot(&mut install.snapshot, Box::new(plan)))
            }
            Body::Heartbeat(heartbeat) => {
                let missing = log.missing(heartbeat)?;
                Ok(Prepared::Heartbeat(heartbeat, missing))
            }
            Body::AppendEntriesReply(reply) => Ok(Prepared::AppendReply(*reply)),
            Body::HeartbeatReply(reply) => Ok(Prepared::HeartbeatReply(reply)),
            body @ (Body::Propose(_)
            | Body::RequestVote(_)
            | Body::RequestVoteReply(_)
            | Body::PreVote(_)
            | Body::PreVoteReply(_)
            | Body::TransferLeader(_)
            | Body::TimeoutNow
            | Body::ReadIndex(_)
            | Body::ReadIndexReply(_)) => Ok(Prepared::Plain(body)),
        }
    }

    /// The table of messages and roles.
    #[inline(always)]
    fn deliver(&mut self, from: NodeId, term: Term, prepared: Prepared) -> Result<(), StepError> {
        let Raft { common, role } = self;
        let next = match (prepared, role) {
            (Prepared::Append(append, plan), Role::Follower(follower)) => {
                follower.on_append(common, from, append, plan);
                return Ok(());
            }
            (Prepared::Snapshot(snapshot, plan), Role::Follower(follower)) => {
                follower.on_snapshot(common, from, core::mem::take(snapshot), *plan)
            }
            (Prepared::Heartbeat(heartbeat, missing), Role::Follower(follower)) => {
                follower.on_heartbeat(common, from, heartbeat, missing)
            }
            (Prepared::AppendReply(reply), Role::Leader(leader)) => match reply {
                AppendEntriesReply::Accepted { index } => return leader.on_accepted(common, from, index),
                AppendEntriesReply::Rejected { rejected, hint } => {
                    return leader.on_rejected(common, from, rejected, hint);
                }
                AppendEntriesReply::SnapshotWanted { at_least } => {
                    leader.on_snapshot_wanted(common, from, at_least)
                }
            },
            (Prepared::HeartbeatReply(reply), Role::Leader(leader)) => {
                leader.on_heartbeat_reply(common, from, &reply.context)
            }
            (Prepared::Plain(Body::RequestVote(request)), role) => {
                let leader = role.leader(common.id());
                election::on_request(common, leader, Ballot::Vote, from, term, *request)
            }
            (Prepared::Plain(Body::PreVote(request)), role) => {
                let leader = role.leader(common.id());
                election::on_request(common, leader, Ballot::PreVote, from, term, *request)
            }
            (Prepared::Plain(Body::RequestVoteReply(reply)), Role::Candidate(candidate)) => {
                candidate.on_reply(common, Ballot::Vote, from, term, *reply)
            }
            (Prepared::Plain(Body::PreVoteReply(reply)), Role::Candidate(candidate)) => {
                candidate.on_reply(common, Ballot::PreVote, from, term, *reply)
            }
            (Prepared::Plain(Body::TransferLeader(transfer)), Role::Leader(leader)) => {
                leader.transfer_for_peer(common, transfer.transferee)
            }
            (Prepared::Plain(Body::TimeoutNow), Role::Follower(_)) => election::on_timeout_now(common),
            (Prepared::Plain(Body::Propose(propose)), _) => {
                self.propose(from, &mut propose.entries.to_vec())?;
                Next::Stay
            }
            (Prepared::Plain(Body::ReadIndex(read)), Role::Follower(follower)) => {
                follower.pass_on_read(common, from, core::mem::take(read))
            }
            (Prepared::Plain(Body::ReadIndex(read)), Role::Leader(leader)) => {
                leader.read_for_peer(common, from, core::mem::take(read))
            }
            (Prepared::Plain(Body::ReadIndexReply(reply)), Role::Follower(follower)) => {
                follower.on_read_reply(common, reply)
            }
            // An answer that comes after the role which asked has ended, or a wish that this role can't fulfil.
            (
                Prepared::Append(..)
                | Prepared::Snapshot(..)
                | Prepared::Heartbeat(..)
                | Prepared::AppendReply(_)
                | Prepared::HeartbeatReply(_)
                | Prepared::Plain(_),
                _,
            ) => {
                common.count_dropped();
                Next::Stay
            }
        };
        self.become_next(next);
        Ok(())
    }

    fn view(&self, from: NodeId) -> View {
        let SoftState { leader, role } = self.soft_state();
        let common = &self.common;
        let silent = matches!(&self.role, Role::Follower(follower) if follower.leader_is_silent);
        let heard = leader.is_some() && !silent && common.clock.within_election_ticks();
        // Who may not campaign shows a leader of an earlier term its own in no other way.
        let keeps_still = common.log.wanted().is_some() || common.lost.is_some();
        View {
            term: common.term,
            role,
            in_lease: common.config.check_quorum && (heard || common.is_bound()),
            answers_lower_terms: common.config.check_quorum || common.config.pre_vote || keeps_still,
            reaches_sender: common.membership.is_voter(common.id()) && common.membership.is_voter(from),
        }
    }
}
