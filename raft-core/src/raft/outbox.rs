//! Everything that leaves the core passes through here.

use alloc::vec::Vec;

use raft_proto::{Body, Message, Term};

use crate::log::{Own, OwnAnswer};
use crate::report::{DroppedRead, ReadState, TransferOutcome};

/// What waits for the next `Ready`.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Outbox {
    /// May leave at once.
    pub(crate) messages: Vec<Message>,
    /// May leave when everything that is unstable by the next `Ready` is durable.
    pub(crate) held: Vec<Message>,
    /// What the node tells itself then.
    pub(crate) own: Vec<OwnAnswer>,
    /// How many of `messages` there were when each of the held requests for votes was made.
    pub(crate) vote_requests_after: Vec<usize>,
    pub(crate) read_states: Vec<ReadState>,
    pub(crate) dropped_reads: Vec<DroppedRead>,
    pub(crate) transfers: Vec<TransferOutcome>,
}

impl Outbox {
    /// Puts a message on the list that its kind belongs to.
    #[inline(always)]
    pub(crate) fn push(&mut self, message: Message) {
        if matches!(message.body, Body::RequestVote(_)) {
            self.vote_requests_after.push(self.messages.len());
        }
        if waits_for_durability(&message.body) {
            self.held.push(message);
        } else {
            self.messages.push(message);
        }
    }

    /// A heartbeat, which may leave at once. It is made where it stays: the room is there before the message is.
    #[inline(always)]
    pub(crate) fn push_heartbeat(&mut self, make: impl FnOnce() -> Message) {
        self.messages.extend(core::iter::once_with(make));
    }

    /// The node tells itself something. With `replace` an acknowledgement takes the place of the last one of this term, which
    /// says less.
    pub(crate) fn tell_self(&mut self, term: Term, what: Own, replace: bool) {
        let after = self.held.len();
        let same = |last: &OwnAnswer| {
            last.term == term && matches!((last.what, what), (Own::Accepted(_), Own::Accepted(_)))
        };
        match self.own.last_mut().filter(|last| replace && same(last)) {
            Some(last) => *last = OwnAnswer { after, term, what },
            None => self.own.push(OwnAnswer { after, term, what }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.held.is_empty()
            && self.own.is_empty()
            && self.read_states.is_empty()
            && self.dropped_reads.is_empty()
            && self.transfers.is_empty()
    }
}

/// Every answer to a vote or an append is a promise, and so is a request for votes: it says that this node has given its own
/// vote in this term. A promise that isn't durable is forgotten in a crash. Refusals wait with the rest, so that
/// answers leave in the order in which they were given.
#[inline]
fn waits_for_durability(body: &Body) -> bool {
    match body {
        Body::AppendEntriesReply(_)
        | Body::RequestVoteReply(_)
        | Body::PreVoteReply(_)
        | Body::RequestVote(_) => true,
        Body::Propose(_)
        | Body::AppendEntries(_)
        | Body::PreVote(_)
        | Body::InstallSnapshot(_)
        | Body::Heartbeat(_)
        | Body::HeartbeatReply(_)
        | Body::TransferLeader(_)
        | Body::TimeoutNow
        | Body::ReadIndex(_)
        | Body::ReadIndexReply(_) => false,
    }
}
