//! Everything that leaves the core passes through here.

use alloc::boxed::Box;
use alloc::vec::Vec;

use raft_proto::{Body, Message};

use crate::report::{DroppedRead, ReadState, TransferOutcome};

/// What waits for the next `Ready`.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Outbox {
    /// May leave at once.
    pub(crate) messages: Vec<Message>,
    /// May leave when everything that is unstable by the next `Ready` is durable.
    pub(crate) held: Vec<Message>,
    /// What a node has that campaigns, reads or hands over.
    pub(crate) rare: Option<Box<Rare>>,
}

/// What most `Ready`s don't have.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Rare {
    /// How many of `messages` there were when each of the held requests for votes was made.
    pub(crate) vote_requests_after: Vec<usize>,
    pub(crate) read_states: Vec<ReadState>,
    pub(crate) dropped_reads: Vec<DroppedRead>,
    pub(crate) transfers: Vec<TransferOutcome>,
}

impl Rare {
    /// Is it worth to be kept, since what it had is had again and again?
    pub(crate) fn has_buffers(&self) -> bool {
        self.read_states.capacity() > 0 || self.dropped_reads.capacity() > 0 || self.transfers.capacity() > 0
    }

    fn is_empty(&self) -> bool {
        self.read_states.is_empty() && self.dropped_reads.is_empty() && self.transfers.is_empty()
    }
}

impl Outbox {
    /// Gives back the memory of lists that are empty.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.messages.shrink_to_fit();
        self.held.shrink_to_fit();
        self.rare.take_if(|rare| rare.is_empty() && rare.vote_requests_after.is_empty());
    }

    /// So many messages come, most likely: room for no more than that.
    pub(crate) fn expect(&mut self, messages: usize, are_held: bool) {
        let list = if are_held { &mut self.held } else { &mut self.messages };
        if list.capacity() == 0 {
            list.reserve_exact(messages);
        }
    }

    /// Puts a message on the list that its kind belongs to.
    #[inline(always)]
    pub(crate) fn push(&mut self, message: Message) {
        if matches!(message.body, Body::RequestVote(_)) {
            let after = self.messages.len();
            self.rare().vote_requests_after.push(after);
        }
        if waits_for_durability(&message.body) {
            push_tight(&mut self.held, message);
        } else {
            push_tight(&mut self.messages, message);
        }
    }

    /// A heartbeat, which may leave at once. It is made where it stays: the room is there before the message is.
    #[inline(always)]
    pub(crate) fn push_heartbeat(&mut self, make: impl FnOnce() -> Message) {
        self.messages.extend(core::iter::once_with(make));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.held.is_empty()
            && self.rare.as_ref().is_none_or(|rare| rare.is_empty())
    }

    /// Where what is rare goes.
    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// The first one gets room for itself alone: most nodes never have two at a time, and there may be many nodes.
#[inline(always)]
fn push_tight<T>(list: &mut Vec<T>, one: T) {
    if list.capacity() == 0 {
        make_room(list);
    }
    list.push(one);
}

#[cold]
fn make_room<T>(list: &mut Vec<T>) {
    list.reserve_exact(1);
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
