//! Who may campaign, and who gets a vote (§5.2, §5.4.1; pre-vote: thesis §9.6).

use raft_proto::{Body, NodeId, RequestVote, Term, VoteReply};

use super::common::{Common, Next};
use crate::error::CampaignError;
use crate::storage::Storage;
use crate::trace::{debug, info};

/// A vote, or the question whether one would be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ballot {
    PreVote,
    Vote,
}

/// May this node campaign now? One that lost what it had acknowledged doesn't know what is committed.
pub(crate) fn may_campaign<S: Storage>(common: &Common<S>) -> Result<(), CampaignError> {
    if !common.membership.is_voter(common.id()) {
        return Err(CampaignError::NotAVoter);
    }
    if common.log.pending_snapshot().is_some() {
        return Err(CampaignError::SnapshotPending);
    }
    if common.log.wanted().is_some() {
        return Err(CampaignError::SnapshotWanted);
    }
    if common.lost.is_some() {
        return Err(CampaignError::DataLost);
    }
    if common.term >= Term::LIMIT {
        return Err(CampaignError::TermsExhausted);
    }
    if common.log.has_unapplied_conf_change()? {
        return Err(CampaignError::UnappliedConfChange);
    }
    Ok(())
}

/// Answers a request of this node's own term, or a pre-vote of any term that isn't lower. `leader` is the leader that
/// this node knows of.
///
/// A voter doesn't ask whether the candidate is in its configuration: its own may be the one that is out of date
/// (thesis §4.2.2).
#[inline(never)]
pub(crate) fn on_request<S: Storage>(
    common: &mut Common<S>,
    leader: Option<NodeId>,
    ballot: Ballot,
    from: NodeId,
    term: Term,
    request: RequestVote,
) -> Next {
    // The gate drops requests of higher terms while a lease may count on this node; the term may have come before.
    let bound = common.is_bound() && !request.by_transfer;
    let free = common.vote.is_none() && leader.is_none() && !bound;
    let ahead = ballot == Ballot::PreVote && term > common.term;
    let may_vote = common.vote == Some(from) || free || ahead;
    // Priority decides between equal logs only: who has more than this node must be able to win. And who can't campaign himself,
    // since he doesn't know yet that he votes again, holds nobody up.
    let yields = request.last > common.log.last()
        || common.config.priority <= request.priority
        || !common.is_promotable();
    let granted = may_vote && yields && common.log.is_up_to_date(request.last) && common.lost.is_none();
    if !granted {
        debug!(common.trace, "vote refused", "to" => from, "term" => term, "their_last" => request.last,
            "our_last" => common.log.last(), "may_vote" => may_vote);
        // A node that was never in any term has none to refuse in, and nothing to teach.
        if common.term.is_zero() {
            common.count_dropped();
        } else {
            let commit = common.last_committed();
            common.send(from, reply(ballot, VoteReply::Refused { commit }));
        }
        return Next::Stay;
    }
    common.send_in_term(from, term, reply(ballot, VoteReply::Granted));
    if ballot == Ballot::Vote {
        info!(common.trace, "vote granted", "to" => from, "term" => term);
        common.clock.restart_election();
        common.vote = Some(from);
        common.news = true;
    }
    Next::Stay
}

/// The leader wants this node to campaign at once (thesis §3.10).
#[inline(never)]
pub(crate) fn on_timeout_now<S: Storage>(common: &mut Common<S>) -> Next {
    match may_campaign(common) {
        Ok(()) => Next::Campaign { by_transfer: true },
        Err(error) => {
            debug!(common.trace, "no campaign", "why" => error);
            Next::Stay
        }
    }
}

/// The answer to this kind of request.
pub(crate) fn reply(ballot: Ballot, vote: VoteReply) -> Body {
    match ballot {
        Ballot::PreVote => Body::PreVoteReply(vote),
        Ballot::Vote => Body::RequestVoteReply(vote),
    }
}
