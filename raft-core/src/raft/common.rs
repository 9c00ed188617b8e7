//! What all roles share, and what a handler can ask for.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::hash::{Hash, Hasher};

use bytes::Bytes;
use raft_proto::{
    AppendEntriesReply, Body, HardState, Heartbeat, HeartbeatReply, Index, LogPosition, Message, NodeId, Term,
};

use super::clock::Clock;
use super::outbox::Outbox;
use super::rng::Rng;
use crate::config::Config;
use crate::log::{Own, OwnAnswer, RaftLog};
use crate::membership::Configuration;
use crate::report::{Counters, DataLoss, DroppedRead};
use crate::storage::{Storage, StorageError};
use crate::trace::{Trace, debug, info, trace};

/// How many reads may wait for an answer at a node.
pub(crate) const MAX_PENDING_READS: usize = 65_536;

/// The state of a node that doesn't depend on its role.
#[derive(Clone, Debug)]
pub(crate) struct Common<S> {
    pub(crate) config: Config,
    /// currentTerm (§5.1).
    pub(crate) term: Term,
    /// votedFor (§5.2).
    pub(crate) vote: Option<NodeId>,
    pub(crate) log: RaftLog<S>,
    pub(crate) membership: Configuration,
    /// The configuration of what is applied, while a snapshot with a later one isn't durable: entries that were handed out
    /// before it came may still be applied.
    pub(crate) applied_membership: Option<Box<Configuration>>,
    pub(crate) outbox: Outbox,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    /// Until this tick a promise to a leader may hold, on which its lease counts. It outlives the term in which it was
    /// given and, as far as the node can know, its own restart. Only while leases are on.
    pub(crate) bound_until: u64,
    /// The highest term that is known to be durable.
    pub(crate) durable_term: Term,
    /// The number of the next read that is passed on to a leader.
    pub(crate) next_read: u64,
    /// No membership change was applied after this index, as far as is known. A snapshot that ends before it may not name
    /// those who need one.
    pub(crate) changed_at: Index,
    /// Entries must be on more than one commit group; the group of each node that has one. Only while that is asked for.
    pub(crate) groups: Option<Box<Groups>>,
    /// This node has lost what it had acknowledged.
    pub(crate) lost: Option<Box<DataLoss>>,
    /// Role, leader, term, vote or loss may differ from what the last `Ready` said. Whatever changes one of them sets it, so that
    /// nobody has to compare them all to learn that nothing is due.
    pub(crate) news: bool,
    /// Nothing until something is counted.
    pub(crate) counters: Option<Box<Counters>>,
    pub(crate) trace: Trace,
}

/// The commit group of each node that has one. Hardly any node is told of them.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Groups(pub(crate) BTreeMap<NodeId, u64>);

impl Groups {
    /// The group of this node; zero for none.
    pub(crate) fn of(&self, id: NodeId) -> u64 {
        self.0.get(&id).copied().unwrap_or_default()
    }
}

/// What a handler wants to become of the node. [`Raft::become_next`](super::Raft::become_next) carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// What it is.
    Stay,
    /// A follower (§5.1).
    Follow { term: Term, leader: Option<NodeId>, timer: Timer },
    /// A candidate that asks first (thesis §9.6).
    PreCampaign,
    /// A candidate of the next term (§5.2).
    Campaign {
        /// Its leader told it to.
        by_transfer: bool,
    },
    /// The leader of this term.
    Lead,
}

/// What becomes of the election timer of a new follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// It starts again, with a new time-out.
    Restart,
    /// It goes on: only a node that gives its vote or hears from a leader waits anew (§5.2). One that refuses a vote
    /// mustn't, or a candidate that can't win keeps those quiet who could.
    Keep,
}

/// What [`RawNode::hash_state`](crate::RawNode::hash_state) says of it.
impl<S> Hash for Common<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Common {
            config: _,
            term,
            vote,
            log,
            membership,
            applied_membership,
            outbox,
            clock,
            rng: _,
            bound_until,
            durable_term,
            next_read,
            changed_at,
            groups,
            lost,
            news: _,
            counters: _,
            trace: _,
        } = self;
        (term, vote, log, membership, applied_membership, outbox, clock).hash(state);
        (bound_until, durable_term, next_read, changed_at, groups, lost).hash(state);
    }
}

impl<S: Storage> Common<S> {
    #[inline]
    pub(crate) fn id(&self) -> NodeId {
        self.config.id
    }

    pub(crate) fn hard_state(&self) -> HardState {
        HardState { term: self.term, vote: self.vote, commit: self.log.committed() }
    }

    /// A leader asks for it with its heartbeat: for an election time-out its lease counts on this node's vote going to nobody.
    pub(crate) fn promise(&mut self) {
        if self.config.lease_reads {
            self.bound_until = self.clock.now().saturating_add(u64::from(self.config.election_ticks));
        }
    }

    /// May some leader's lease still count on this node?
    #[inline]
    pub(crate) fn is_bound(&self) -> bool {
        self.clock.now() < self.bound_until
    }

    /// Sends a message of this term.
    #[inline]
    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        self.send_in_term(to, self.term, body);
    }

    /// Tells this node itself something, as soon as what it says is durable: it counts like the answer of any other.
    pub(crate) fn tell_self(&mut self, term: Term, what: Own) {
        let answer = OwnAnswer { after: self.outbox.held.len(), term, what };
        self.log.tell_self(answer);
    }

    /// A write was handed out. Most ask for a new commit index only, or for messages to be held back: the acknowledgement of such
    /// a one tells the node nothing, and isn't waited for.
    pub(crate) fn on_write_handed_out(&mut self, number: u64, snapshot: bool) {
        let tells = self.term > self.durable_term
            || snapshot
            || self.log.has_unstable()
            || self.log.has_own_answers();
        if tells {
            self.log.on_write_handed_out(number, self.term, snapshot);
        }
    }

    /// Sends a message of another term.
    #[inline]
    pub(crate) fn send_in_term(&mut self, to: NodeId, term: Term, body: Body) {
        self.dispatch(Message { from: self.id(), to, term, body });
    }

    /// Sends a heartbeat.
    #[inline(always)]
    pub(crate) fn send_heartbeat(&mut self, to: NodeId, heartbeat: impl FnOnce() -> Heartbeat) {
        trace!(self.trace, "send", "message" => "Heartbeat", "to" => to, "term" => self.term);
        let (from, term) = (self.id(), self.term);
        self.outbox.push_heartbeat(|| Message { from, to, term, body: Body::Heartbeat(heartbeat()) });
    }

    /// Answers a heartbeat. On a node that leases rely on the answer is a promise to the leader of this term, which a crash
    /// must not make it forget: it waits until the term is durable.
    #[inline]
    pub(crate) fn answer_heartbeat(&mut self, to: NodeId, context: Bytes) {
        let message = Message {
            from: self.id(),
            to,
            term: self.term,
            body: Body::HeartbeatReply(HeartbeatReply { context }),
        };
        if self.is_bound() && self.durable_term < self.term {
            self.outbox.held.push(message);
        } else {
            self.dispatch(message);
        }
    }

    /// Sends a message of no term, for the node that it came from.
    pub(crate) fn pass_on(&mut self, from: NodeId, to: NodeId, body: Body) {
        self.dispatch(Message { from, to, term: Term::ZERO, body });
    }

    #[inline]
    fn dispatch(&mut self, message: Message) {
        trace!(self.trace, "send", "message" => message.body.name(), "to" => message.to, "term" => message.term);
        self.outbox.push(message);
    }

    /// A read won't be answered: its caller is told.
    pub(crate) fn drop_read(&mut self, read: DroppedRead) {
        debug!(self.trace, "read dropped", "reason" => read.reason);
        self.outbox.rare().dropped_reads.push(read);
    }

    /// Something wasn't done because the storage couldn't be read. It is tried again when its cause comes again, or at the
    /// next tick.
    pub(crate) fn storage_failed(&mut self, error: &StorageError) {
        self.clock.wake();
        debug!(self.trace, "storage read failed", "error" => error);
        self.count(|counters| &mut counters.storage_failures);
    }

    /// Tells the leader that the state machine waits for a snapshot, if it does.
    #[inline]
    pub(crate) fn ask_for_snapshot(&mut self, leader: NodeId) {
        if let Some(at_least) = self.log.wanted() {
            self.send(leader, Body::AppendEntriesReply(AppendEntriesReply::SnapshotWanted { at_least }));
        }
    }

    /// The last entry that is known to be committed; zero if its term can't be read.
    pub(crate) fn last_committed(&self) -> LogPosition {
        let index = self.log.committed();
        self.log.term(index).map_or(LogPosition::ZERO, |term| LogPosition::new(term, index))
    }

    /// The leader counts on `relied`, and the log ends before it.
    #[inline(never)]
    pub(crate) fn lose(&mut self, relied: Index) {
        let last = self.log.last().index;
        if self.lost.as_ref().is_none_or(|lost| lost.acknowledged < relied) {
            info!(self.trace, "data lost", "acknowledged" => relied, "last" => last);
            self.lost = Some(Box::new(DataLoss { acknowledged: relied, last }));
            self.news = true;
        }
    }

    /// The log agrees with that of the current leader up to `index`: if that covers all that was lost, nothing is missing
    /// any more, since whatever was committed is in every later leader's log (§5.4.3).
    pub(crate) fn regain(&mut self, index: Index) {
        if let Some(lost) = self.lost.take_if(|lost| lost.acknowledged <= index) {
            info!(self.trace, "lost data regained", "acknowledged" => lost.acknowledged);
            self.news = true;
        }
    }

    /// A message came too late, or for another role.
    pub(crate) fn count_dropped(&mut self) {
        self.count(|counters| &mut counters.dropped_messages);
    }

    /// What was counted.
    pub(crate) fn counters(&self) -> Counters {
        self.counters.as_deref().copied().unwrap_or_default()
    }

    /// One more of these.
    pub(crate) fn count(&mut self, which: impl FnOnce(&mut Counters) -> &mut u64) {
        let counter = which(self.counters.get_or_insert_default());
        *counter = counter.saturating_add(1);
    }

    /// May this node campaign at all? It must be a voter, and the configuration that says so must be durable.
    pub(crate) fn is_promotable(&self) -> bool {
        self.membership.is_voter(self.id())
            && self.log.pending_snapshot().is_none()
            && self.log.wanted().is_none()
            && self.lost.is_none()
    }
}
