//! The ledger of writes that were handed out and aren't acknowledged yet (thesis §10.2.1).
//!
//! A write vouches for the log as it stood when the write was handed out. If the log is cut below what a write
//! covers, that write is void: its acknowledgement says nothing about the entries that came in its place, even if
//! they should have the same index and, after one more change of leader, the same term again.
//!
//! ```text
//!   write 7: entries 5..7 of term 1      ── void as soon as a leader of term 2 replaces entry 5
//!   write 8: entries 5..6 of term 2      ── void as soon as a leader of term 3 restores those of term 1
//!   write 9: entries 5..7 of term 1      ── only its own acknowledgement makes them stable
//! ```
//!
//! A write also vouches only within the term in which it was made: each change of term is written itself, and that
//! write covers whatever is still unstable.

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};

use raft_proto::{AppendEntriesReply, Body, Index, Message, NodeId, Term, VoteReply};

/// A write that was handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    /// The number of its `Ready`.
    pub(crate) number: u64,
    /// The term in which it was handed out.
    pub(crate) term: Term,
    /// The last index of the log at that moment; zero if all of it was durable, or the write is void.
    pub(crate) covers: Index,
    /// How much the node has to tell itself when the write is durable: its own vote, its own acknowledgements.
    pub(crate) own: u32,
    /// It holds the snapshot that isn't durable.
    pub(crate) snapshot: bool,
}

/// Without the number: writes are acknowledged in order, and only the order matters.
impl Hash for Write {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Write { number: _, term, covers, own, snapshot } = self;
        (term, covers, own, snapshot).hash(state);
    }
}

/// Something that a node tells itself. It becomes a message only when it is told.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct OwnAnswer {
    /// How many of the `Ready`'s `persisted_messages` came before it.
    pub(crate) after: usize,
    pub(crate) term: Term,
    pub(crate) what: Own,
}

/// What a node can tell itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Own {
    /// It has its own log up to here.
    Accepted(Index),
    /// It votes for itself.
    Vote,
    /// It would.
    PreVote,
}

impl OwnAnswer {
    /// The message of this node to itself.
    pub(crate) fn message(self, me: NodeId) -> Message {
        let body = match self.what {
            Own::Accepted(index) => Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }),
            Own::Vote => Body::RequestVoteReply(VoteReply::Granted),
            Own::PreVote => Body::PreVoteReply(VoteReply::Granted),
        };
        Message { from: me, to: me, term: self.term, body }
    }
}

/// The writes in flight, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight {
    writes: VecDeque<Write>,
    /// Nothing on a node that never campaigned: most don't.
    own: Option<Box<OwnAnswers>>,
}

/// What the node has to tell itself.
#[derive(Clone, Debug, Default)]
struct OwnAnswers {
    /// First what it has to tell with the writes in flight, in their order, then what was gathered for the next one.
    list: VecDeque<OwnAnswer>,
    gathered: u32,
}

/// However much memory there is for it.
impl Hash for InFlight {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let InFlight { writes, own } = self;
        (writes, self.gathered()).hash(state);
        own.iter().flat_map(|own| &own.list).for_each(|answer| answer.hash(state));
    }
}

impl InFlight {
    pub(crate) fn shrink_to_fit(&mut self) {
        self.writes.shrink_to_fit();
        self.own.take_if(|own| own.list.is_empty());
    }

    /// The node tells itself something with the next write.
    pub(crate) fn gather(&mut self, answer: OwnAnswer) {
        let OwnAnswers { list, gathered } = &mut **self.own.get_or_insert_default();
        if list.capacity() == 0 {
            list.reserve_exact(1);
        }
        list.push_back(answer);
        *gathered = gathered.saturating_add(1);
    }

    /// How much was gathered for the next write.
    #[inline]
    pub(crate) fn gathered(&self) -> u32 {
        self.own.as_ref().map_or(0, |own| own.gathered)
    }

    /// A write, with which goes what was gathered.
    pub(crate) fn push(&mut self, mut write: Write) {
        if self.writes.capacity() == 0 {
            // Most callers have one at a time.
            self.writes.reserve_exact(1);
        }
        if let Some(own) = &mut self.own {
            write.own = core::mem::take(&mut own.gathered);
        }
        self.writes.push_back(write);
    }

    /// The oldest write, if its number is at most `number`; it is no longer in flight then.
    pub(crate) fn acknowledge(&mut self, number: u64) -> Option<Write> {
        if self.writes.front()?.number <= number { self.writes.pop_front() } else { None }
    }

    /// The next that is to be told of a write which is acknowledged.
    pub(crate) fn next_own(&mut self) -> Option<OwnAnswer> {
        self.own.as_mut()?.list.pop_front()
    }

    /// The log was cut so that `last` is the last entry that stayed.
    pub(crate) fn on_cut(&mut self, last: Index) {
        for write in &mut self.writes {
            if write.covers > last {
                write.covers = Index::ZERO;
            }
        }
    }

    /// The log was replaced by a snapshot. One that came before it isn't the one that is waited for now, even if it covers as much.
    pub(crate) fn on_restore(&mut self) {
        for write in &mut self.writes {
            (write.covers, write.snapshot) = (Index::ZERO, false);
        }
    }

    /// What is to be told with the write of this number, if it is in flight.
    pub(crate) fn own(&self, number: u64) -> impl Iterator<Item = &OwnAnswer> {
        let own = |write: &Write| usize::try_from(write.own).unwrap_or(usize::MAX);
        let before = self.writes.iter().take_while(|write| write.number < number).map(own).sum();
        let count = self.writes.iter().find(|write| write.number == number).map_or(0, own);
        self.own.iter().flat_map(|own| &own.list).skip(before).take(count)
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }
}
