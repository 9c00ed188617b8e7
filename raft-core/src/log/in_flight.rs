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

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use raft_proto::{AppendEntriesReply, Body, Index, Message, NodeId, Term, VoteReply};

/// A write that was handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    /// The number of its `Ready`.
    pub(crate) number: u64,
    /// The term in which it was handed out.
    pub(crate) term: Term,
    /// The last index of the log at that moment, unless all of it was durable or the write is void.
    pub(crate) covers: Option<Index>,
    /// The snapshot that it holds covers up to here.
    pub(crate) snapshot: Option<Index>,
    /// How much the node has to tell itself when the write is durable: its own vote, its own acknowledgements.
    pub(crate) own: usize,
}

/// Without the number: writes are acknowledged in order, and only the order matters.
impl Hash for Write {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Write { number: _, term, covers, snapshot, own } = self;
        (term, covers, snapshot, own).hash(state);
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
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct InFlight {
    writes: VecDeque<Write>,
    /// What the node has to tell itself with them, in their order.
    own: VecDeque<OwnAnswer>,
}

impl InFlight {
    pub(crate) fn shrink_to_fit(&mut self) {
        self.writes.shrink_to_fit();
        self.own.shrink_to_fit();
    }

    /// A write, and what is to be told with it, which is taken out of where it was gathered.
    pub(crate) fn push(&mut self, write: Write, own: &mut Vec<OwnAnswer>) {
        if self.writes.capacity() == 0 {
            // Most callers have one at a time.
            self.writes.reserve_exact(1);
        }
        self.writes.push_back(write);
        if !own.is_empty() {
            if self.own.capacity() == 0 {
                self.own.reserve_exact(own.len());
            }
            self.own.extend(own.drain(..));
        }
    }

    /// The oldest write, if its number is at most `number`; it is no longer in flight then.
    pub(crate) fn acknowledge(&mut self, number: u64) -> Option<Write> {
        if self.writes.front()?.number <= number { self.writes.pop_front() } else { None }
    }

    /// The next that is to be told of a write which is acknowledged.
    pub(crate) fn next_own(&mut self) -> Option<OwnAnswer> {
        self.own.pop_front()
    }

    /// The log was cut so that `last` is the last entry that stayed.
    pub(crate) fn on_cut(&mut self, last: Index) {
        for write in &mut self.writes {
            if write.covers.is_some_and(|covers| covers > last) {
                write.covers = None;
            }
        }
    }

    /// The log was replaced by a snapshot. One that came before it isn't the one that is waited for now, even if it covers as much.
    pub(crate) fn on_restore(&mut self) {
        for write in &mut self.writes {
            (write.covers, write.snapshot) = (None, None);
        }
    }

    /// What is to be told with the write of this number, if it is in flight.
    pub(crate) fn own(&self, number: u64) -> impl Iterator<Item = &OwnAnswer> {
        let before =
            self.writes.iter().take_while(|write| write.number < number).map(|write| write.own).sum();
        let count = self.writes.iter().find(|write| write.number == number).map_or(0, |write| write.own);
        self.own.iter().skip(before).take(count)
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }
}
