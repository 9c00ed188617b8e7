//! A vote is given once, and nothing leaves before it is durable (6, 7).

use raft_core::{Body, Message, NodeId, Term, VoteReply};

use super::{Check, Context, broken};
use crate::cluster::Raw;
use crate::members::Set;
use crate::parts::Parts;

/// The votes that became durable, of each node in the order of terms.
#[derive(Debug)]
pub(super) struct Votes(Vec<Vec<(Term, NodeId)>>);

impl Votes {
    pub(super) fn new(nodes: usize) -> Votes {
        Votes(vec![Vec::new(); nodes])
    }

    pub(super) fn on_replaced(&mut self, at: usize) {
        self.0[at].clear();
    }

    fn of(&self, at: usize, term: Term) -> Option<NodeId> {
        let votes = &self.0[at];
        votes.binary_search_by_key(&term, |(term, _)| *term).ok().map(|at| votes[at].1)
    }

    /// Who has durably voted for this node in this term.
    pub(super) fn for_candidate<P: Parts>(&self, cx: &Context<P>, term: Term) -> Set {
        let id = cx.node().id;
        let voters = cx.nodes.iter().enumerate().filter(|(at, _)| self.of(*at, term) == Some(id));
        voters.fold(Set::EMPTY, |set, (_, node)| set.with(node.id))
    }

    /// A write is durable (6).
    pub(super) fn on_durable<P: Parts>(&mut self, cx: &Context<P>) -> Check {
        let synced = cx.node().disk.synced();
        let Some(vote) = synced.vote else { return Ok(()) };
        match self.0[cx.at].last() {
            Some((term, before)) if *term == synced.term && *before != vote => {
                broken("6", format!("node {} votes for {before} and for {vote} in term {term}", cx.node().id))
            }
            Some((term, _)) if *term > synced.term => {
                broken("9", format!("node {} stores term {} after {term}", cx.node().id, synced.term))
            }
            Some((term, _)) if *term == synced.term => Ok(()),
            Some(_) | None => {
                self.0[cx.at].push((synced.term, vote));
                Ok(())
            }
        }
    }

    /// A message leaves (6, 7).
    pub(super) fn on_send<P: Parts>(&self, cx: &Context<P>, raw: &Raw<P>, message: &Message) -> Check {
        let (id, term) = (cx.node().id, message.term);
        if message.from != id && !matches!(message.body, Body::Propose(_) | Body::ReadIndex(_)) {
            return broken("7", format!("node {id} speaks as node {}", message.from));
        }
        let leased = raw.config().lease_reads;
        let waits = match &message.body {
            // They change nothing, have no term, or carry one to come. A refused pre-vote carries the node's own.
            Body::PreVote(_)
            | Body::PreVoteReply(VoteReply::Granted)
            | Body::Propose(_)
            | Body::ReadIndex(_)
            | Body::TransferLeader(_) => false,
            // A promise only where leases are on, and only if it was asked for.
            Body::HeartbeatReply(reply) => leased && !reply.context.is_empty(),
            Body::AppendEntries(_)
            | Body::AppendEntriesReply(_)
            | Body::RequestVote(_)
            | Body::RequestVoteReply(_)
            | Body::PreVoteReply(VoteReply::Refused { .. })
            | Body::InstallSnapshot(_)
            | Body::Heartbeat(_)
            | Body::TimeoutNow
            | Body::ReadIndexReply(_) => true,
        };
        let durable = cx.node().disk.synced();
        if waits && durable.term < term {
            let name = message.body.name();
            return broken(
                "7",
                format!("a {name} of node {id} leaves in term {term}, durable is {}", durable.term),
            );
        }
        let vote = match &message.body {
            Body::RequestVote(_) => id,
            Body::RequestVoteReply(VoteReply::Granted) => message.to,
            _ => return Ok(()),
        };
        match self.of(cx.at, term) {
            Some(durable) if durable == vote => Ok(()),
            Some(durable) => {
                broken("6", format!("node {id} votes for {vote} in term {term}, and for {durable}"))
            }
            None => broken("7", format!("a vote of node {id} leaves in term {term} before it is durable")),
        }
    }
}
