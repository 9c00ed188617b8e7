//! Every message's first stop (§5.1): does it make sense, and what does its term mean?
//!
//! ```text
//!                     lower term              same term            higher term
//!   AppendEntries   │ answered with ours ¹  │ follow its sender   │ follow its sender in that term
//!   Heartbeat       │ answered with ours ¹  │ follow its sender   │ follow its sender in that term
//!   InstallSnapshot │ dropped               │ follow its sender   │ follow its sender in that term
//!   RequestVote     │ dropped ⁴             │ delivered           │ dropped while a leader is heard ², else step down
//!   PreVote         │ refused with ours     │ delivered           │ dropped while a leader is heard ², else delivered
//!   pre-vote grant  │ dropped               │ dropped             │ delivered if it carries the very next term ³
//!   refused pre-vote│ delivered ⁵           │ delivered           │ step down
//!   other answers   │ dropped               │ delivered           │ step down
//!   Propose, ReadIndex: no term, delivered
//! ```
//!
//! ¹ with pre-vote or check-quorum, so that a node that is stuck at a higher term, and to which no one listens, can
//! tell the leader (thesis §9.6). ² with check-quorum, unless the leader itself asked for the campaign (thesis §4.2.3).
//! ³ it repeats the term that was asked for, and a pre-candidate asks for the one after its own: a grant of any other
//! is a late answer to an earlier question. ⁴ refused with ours if its sender or this node is no voter here: the sender
//! may need this node's vote in another configuration, and would never hear of the term. ⁵ to a pre-candidate: who is
//! asked keeps its own term, which may be an older one, and what it tells of its commit index holds in any; it counts as no vote.

#[cfg(test)]
mod tests;

use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, Entry, Index, LogPosition, Message, NodeId, Payload, Propose,
    Snapshot, Term, VoteReply,
};

use super::common::Timer;
use crate::error::StepError;
use crate::membership::Configuration;
use crate::report::RoleKind;

/// What the gate knows of the node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) term: Term,
    pub(crate) role: RoleKind,
    /// The node has heard from its leader so recently that it must ignore campaigns.
    pub(crate) in_lease: bool,
    /// Messages of a lower term are answered.
    pub(crate) answers_lower_terms: bool,
    /// The node and the sender both vote in the node's configuration, so that the node's own campaigns tell it the term.
    pub(crate) reaches_sender: bool,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is of no use any more, or must be ignored.
    Drop(Dropped),
    /// Only this is answered.
    Answer(Body),
    /// It goes to the role that the node has.
    Deliver,
    /// The node becomes a follower first.
    Follow { term: Term, leader: Option<NodeId>, timer: Timer },
}

/// Why a message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Its term is over.
    LowerTerm,
    /// A leader was heard within an election time-out.
    InLease,
    /// A pre-vote was granted for another term than the one that this node would campaign in.
    OtherTerm,
}

impl core::fmt::Display for Dropped {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Dropped::LowerTerm => "its term is over",
            Dropped::InLease => "a leader was heard within an election time-out",
            Dropped::OtherTerm => "it grants a pre-vote of another term",
        })
    }
}

/// Does a message simply go to the role? Nearly all do. `campaigns` says that the node is a candidate of any kind, which whoever
/// leads its term has outrun.
#[inline(always)]
pub(crate) fn passes(term: Term, campaigns: bool, message: &Message) -> bool {
    let grants_pre_vote = matches!(message.body, Body::PreVoteReply(VoteReply::Granted));
    let outruns = campaigns && from_leader(&message.body);
    is_termless(&message.body) || (message.term == term && !grants_pre_vote && !outruns)
}

/// What a message's term means for a node.
#[inline(never)]
pub(crate) fn judge(view: &View, message: &Message) -> Verdict {
    let campaigns = matches!(view.role, RoleKind::PreCandidate | RoleKind::Candidate);
    if passes(view.term, campaigns, message) {
        return Verdict::Deliver;
    }
    if matches!(message.body, Body::PreVoteReply(VoteReply::Granted)) {
        let asked = message.term == view.term.next();
        return if asked { Verdict::Deliver } else { Verdict::Drop(Dropped::OtherTerm) };
    }
    if message.term < view.term {
        return judge_lower(view, &message.body);
    }
    let leads = from_leader(&message.body).then_some(message.from);
    if message.term > view.term {
        return judge_higher(view, message, leads);
    }
    Verdict::Follow { term: message.term, leader: leads, timer: Timer::Restart }
}

fn judge_lower(view: &View, body: &Body) -> Verdict {
    match body {
        Body::PreVoteReply(_) if view.role == RoleKind::PreCandidate => Verdict::Deliver,
        Body::AppendEntries(_) | Body::Heartbeat(_) if view.answers_lower_terms => {
            Verdict::Answer(Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: Index::ZERO }))
        }
        Body::PreVote(_) => Verdict::Answer(Body::PreVoteReply(VoteReply::REFUSED)),
        Body::RequestVote(_) if !view.reaches_sender => {
            Verdict::Answer(Body::RequestVoteReply(VoteReply::REFUSED))
        }
        Body::AppendEntries(_)
        | Body::Heartbeat(_)
        | Body::AppendEntriesReply(_)
        | Body::RequestVote(_)
        | Body::RequestVoteReply(_)
        | Body::PreVoteReply(_)
        | Body::InstallSnapshot(_)
        | Body::HeartbeatReply(_)
        | Body::TransferLeader(_)
        | Body::TimeoutNow
        | Body::Propose(_)
        | Body::ReadIndex(_)
        | Body::ReadIndexReply(_) => Verdict::Drop(Dropped::LowerTerm),
    }
}

fn judge_higher(view: &View, message: &Message, leads: Option<NodeId>) -> Verdict {
    let step_down = |timer| Verdict::Follow { term: message.term, leader: leads, timer };
    match &message.body {
        Body::RequestVote(vote) | Body::PreVote(vote) if view.in_lease && !vote.by_transfer => {
            Verdict::Drop(Dropped::InLease)
        }
        Body::PreVote(_) => Verdict::Deliver,
        Body::RequestVote(_) if view.role == RoleKind::Follower => step_down(Timer::Keep),
        Body::RequestVote(_)
        | Body::RequestVoteReply(_)
        | Body::PreVoteReply(_)
        | Body::AppendEntries(_)
        | Body::AppendEntriesReply(_)
        | Body::InstallSnapshot(_)
        | Body::Heartbeat(_)
        | Body::HeartbeatReply(_)
        | Body::TransferLeader(_)
        | Body::TimeoutNow
        | Body::Propose(_)
        | Body::ReadIndex(_)
        | Body::ReadIndexReply(_) => step_down(Timer::Restart),
    }
}

/// Is it valid in any term?
fn is_termless(body: &Body) -> bool {
    matches!(body, Body::Propose(_) | Body::ReadIndex(_))
}

/// Does only a leader send it?
pub(crate) fn from_leader(body: &Body) -> bool {
    matches!(body, Body::AppendEntries(_) | Body::Heartbeat(_) | Body::InstallSnapshot(_))
}

/// Does it answer something that only a member is asked?
fn is_reply(body: &Body) -> bool {
    matches!(
        body,
        Body::AppendEntriesReply(_)
            | Body::RequestVoteReply(_)
            | Body::PreVoteReply(_)
            | Body::HeartbeatReply(_)
            | Body::ReadIndexReply(_)
    )
}

/// Does a message from the network make sense, whatever the state of the node?
#[inline(always)]
pub(crate) fn validate(id: NodeId, membership: &Configuration, message: &Message) -> Result<(), StepError> {
    if message.to != id {
        return Err(StepError::NotForThisNode { to: message.to });
    }
    // What is passed on keeps its sender, and may come back to it.
    if message.from == id && !is_termless(&message.body) {
        return Err(StepError::FromThisNode);
    }
    if is_reply(&message.body) && !membership.contains(message.from) {
        return Err(StepError::UnknownPeer(message.from));
    }
    if is_termless(&message.body) {
        if !message.term.is_zero() {
            return Err(StepError::TermNotExpected(message.term));
        }
    } else if message.term.is_zero() || message.term > Term::LIMIT {
        return Err(StepError::TermOutOfRange(message.term));
    }
    match &message.body {
        Body::Propose(propose) => validate_proposal(propose),
        Body::AppendEntries(append) => validate_append(message.term, append),
        Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }) => in_range(*index),
        Body::AppendEntriesReply(AppendEntriesReply::Rejected { rejected, hint }) => {
            in_range(*rejected)?;
            in_range(hint.index)
        }
        Body::AppendEntriesReply(AppendEntriesReply::SnapshotWanted { at_least }) => in_range(*at_least),
        Body::RequestVote(vote) | Body::PreVote(vote) => in_range(vote.last.index),
        Body::InstallSnapshot(install) => validate_snapshot(message.term, &install.snapshot),
        Body::Heartbeat(heartbeat) => {
            in_range(heartbeat.commit)?;
            in_range(heartbeat.relied.index)
        }
        Body::ReadIndexReply(reply) => in_range(reply.index),
        Body::RequestVoteReply(_)
        | Body::PreVoteReply(_)
        | Body::HeartbeatReply(_)
        | Body::TransferLeader(_)
        | Body::TimeoutNow
        | Body::ReadIndex(_) => Ok(()),
    }
}

fn in_range(index: Index) -> Result<(), StepError> {
    if index > Index::LIMIT { Err(StepError::IndexOutOfRange(index)) } else { Ok(()) }
}

#[inline(never)]
fn validate_proposal(propose: &Propose) -> Result<(), StepError> {
    if propose.entries.is_empty() {
        return Err(StepError::EmptyProposal);
    }
    if propose.entries.iter().any(|entry| entry.position() != LogPosition::ZERO) {
        return Err(StepError::ProposalHasPosition);
    }
    let leaders_own = |entry: &Entry| match entry.payload {
        Payload::TermStart | Payload::RefusedChange | Payload::LeaveJoint => true,
        Payload::Normal(_) | Payload::ConfChange(_) | Payload::ConfChangeV2(_) => false,
    };
    if propose.entries.iter().any(leaders_own) {
        return Err(StepError::ProposalOfLeadersOwn);
    }
    Ok(())
}

fn validate_append(term: Term, append: &AppendEntries) -> Result<(), StepError> {
    in_range(append.commit)?;
    in_range(append.prev.index)?;
    let mut last = append.prev;
    for Entry { term, index, .. } in &append.entries {
        if *index != last.index.next() {
            return Err(StepError::EntriesNotContiguous);
        }
        if *term < last.term {
            return Err(StepError::EntryTermsOutOfOrder);
        }
        last = LogPosition::new(*term, *index);
    }
    in_range(last.index)?;
    if !append.entries.is_empty() && last.term > term {
        return Err(StepError::EntryTermsOutOfOrder);
    }
    Ok(())
}

#[inline(never)]
fn validate_snapshot(term: Term, snapshot: &Snapshot) -> Result<(), StepError> {
    let metadata = &snapshot.metadata;
    in_range(metadata.index)?;
    if metadata.index.is_zero() || metadata.term.is_zero() {
        return Err(StepError::EmptySnapshot);
    }
    if metadata.term > term {
        return Err(StepError::SnapshotTermOutOfRange(metadata.term));
    }
    Configuration::from_conf_state(&metadata.conf_state).map(|_| ()).map_err(StepError::SnapshotConfState)
}
