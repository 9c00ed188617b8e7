//! Everything that leaves the core passes through here.

use alloc::vec::Vec;

use raft_proto::{Body, Message};

use crate::report::{DroppedRead, ReadState, TransferOutcome};

/// What waits for the next `Ready`.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Outbox {
    /// May leave at once.
    pub(crate) messages: Vec<Message>,
    /// May leave when everything that is unstable by the next `Ready` is durable. Some are addressed to the node itself.
    pub(crate) held: Vec<Message>,
    /// How many of `messages` there were when each of the held requests for votes was made.
    pub(crate) vote_requests_after: Vec<usize>,
    pub(crate) read_states: Vec<ReadState>,
    pub(crate) dropped_reads: Vec<DroppedRead>,
    pub(crate) transfers: Vec<TransferOutcome>,
}

impl Outbox {
    /// Puts a message on the list that its kind belongs to.
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

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.held.is_empty()
            && self.read_states.is_empty()
            && self.dropped_reads.is_empty()
            && self.transfers.is_empty()
    }
}

/// Every answer to a vote or an append is a promise, and so is a request for votes: it says that this node has given its own
/// vote in this term. A promise that isn't durable is forgotten in a crash. Refusals wait with the rest, so that
/// answers leave in the order in which they were given.
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
