//! A candidate, and one that only asks (§5.2; thesis §9.6).

use alloc::vec::Vec;

use raft_proto::{Body, LogPosition, NodeId, RequestVote, Term, VoteReply};

use super::common::{Common, Next, Timer};
use super::election::{self, Ballot};
use crate::log::Own;
use crate::quorum::VoteResult;
use crate::storage::Storage;
use crate::trace::info;

/// A node that wants to lead. The votes exist only here, so every election starts without any.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Candidate {
    ballot: Ballot,
    /// The first answer of each node.
    votes: Vec<(NodeId, bool)>,
}

impl Candidate {
    /// Starts an election in `term`: the node's own term for a vote, the one after it for a pre-vote. The node votes for
    /// itself like the others, by an answer that counts once it is durable.
    pub(crate) fn campaign<S: Storage>(
        common: &mut Common<S>,
        ballot: Ballot,
        term: Term,
        by_transfer: bool,
    ) -> Candidate {
        let request = RequestVote { last: common.log.last(), by_transfer, priority: common.config.priority };
        let me = common.id();
        // Nothing that is sent asks for the members: they are put back when all are asked.
        let membership = core::mem::take(&mut common.membership);
        let voters = || membership.voters().voters();
        common.outbox.expect(voters().count().saturating_sub(1), ballot == Ballot::Vote);
        for to in voters() {
            match ballot {
                Ballot::PreVote if to == me => common.tell_self(term, Own::PreVote),
                Ballot::Vote if to == me => common.tell_self(term, Own::Vote),
                Ballot::PreVote => common.send_in_term(to, term, Body::PreVote(request)),
                Ballot::Vote => common.send_in_term(to, term, Body::RequestVote(request)),
            }
        }
        common.membership = membership;
        Candidate { ballot, votes: Vec::new() }
    }

    pub(crate) fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// What this node answered, if it has.
    pub(crate) fn vote_of(&self, id: NodeId) -> Option<bool> {
        self.votes.iter().find(|(voter, _)| *voter == id).map(|(_, granted)| *granted)
    }

    /// Campaign again: no quorum answered in time (§5.2).
    pub(crate) fn tick<S: Storage>(&mut self, common: &mut Common<S>) -> bool {
        common.is_promotable() && common.clock.election_due()
    }

    /// The first tick at which there may be something to do.
    pub(crate) fn next_due<S: Storage>(&self, common: &Common<S>) -> u64 {
        common.clock.election_at()
    }

    /// Somebody answered. A refusal of an older term than this node's isn't counted: it may have been meant for an earlier
    /// question.
    #[inline(never)]
    pub(crate) fn on_reply<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        ballot: Ballot,
        from: NodeId,
        term: Term,
        reply: VoteReply,
    ) -> Next {
        if ballot != self.ballot {
            return Next::Stay;
        }
        if let VoteReply::Refused { commit } = reply
            && learn_commit(common, commit)
        {
            // The votes were asked for under a configuration that is over: by the next, this node may have none.
            return Next::Follow { term: common.term, leader: None, timer: Timer::Keep };
        }
        if term < common.term {
            return Next::Stay;
        }
        if !self.votes.iter().any(|(id, _)| *id == from) {
            self.votes.push((from, reply == VoteReply::Granted));
        }
        let result = common.membership.voters().vote_result(|id| self.vote_of(id));
        info!(common.trace, "vote received", "from" => from, "granted" => reply == VoteReply::Granted,
            "pre_vote" => ballot == Ballot::PreVote, "term" => common.term,
            "have" => self.votes.iter().filter(|(_, granted)| *granted).count(),
            "needed" => common.membership.voters().incoming.size());
        // A membership change may have been learned, or applied, since it began to ask.
        let won = result == VoteResult::Won;
        match ballot {
            Ballot::PreVote if won && election::may_campaign(common).is_ok() => {
                Next::Campaign { by_transfer: false }
            }
            Ballot::Vote if won && common.membership.is_voter(common.id()) => Next::Lead,
            Ballot::PreVote | Ballot::Vote if result == VoteResult::Pending => Next::Stay,
            Ballot::PreVote | Ballot::Vote => {
                Next::Follow { term: common.term, leader: None, timer: Timer::Restart }
            }
        }
    }
}

/// Who refuses tells what it knows to be committed. If this log has that entry, it is committed here too. That matters if a
/// membership change is among it, by which this node may win without the one that refused: a cluster whose leader removed
/// or demoted itself, and was not heard again, might never elect another. Anything else the next leader tells.
///
/// Returns whether a membership change became committed.
fn learn_commit<S: Storage>(common: &mut Common<S>, commit: LogPosition) -> bool {
    let known = common.log.committed();
    if commit.index <= known || commit.term.is_zero() {
        return false;
    }
    let changes = common
        .log
        .matches(commit)
        .and_then(|same| if same { common.log.has_conf_change(known, commit.index) } else { Ok(false) });
    match changes {
        Ok(true) => {
            info!(common.trace, "commit learned from a refusal", "commit" => commit);
            common.log.commit_to(commit.index)
        }
        Ok(false) => false,
        Err(error) => {
            common.storage_failed(&error);
            false
        }
    }
}
