//! What must hold after every event. The numbers are those of `../shared/invariants.md`; each room holds the statements of one
//! subject and says which.

mod acknowledgements;
mod clients;
mod commits;
mod configurations;
mod cursors;
mod elections;
mod flow;
mod history;
mod leases;
mod logs;
mod losses;
mod outcomes;
mod votes;

use std::fmt;

use raft_core::{
    Body, ConfChangeV2, ConfState, DataLoss, Entry, HardState, Index, LogPosition, Message, NodeId,
    PeerState, RawNode, Ready, RoleKind, Snapshot, SnapshotStatus, StepError, Storage,
};

use raft_core::Violation as Invariant;

use crate::cluster::{Line, Node, Raw, Shadow};
use crate::members::Members;
use crate::network::{Kind, Summary};
use crate::parts::Parts;
use crate::reached::{Reached, Situation};

pub use clients::{Clients, Operation, Request};
pub use outcomes::Outcome;

/// A statement that doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number, or a word for those that have none.
    pub statement: &'static str,
    /// What is the case instead.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.statement, self.what)
    }
}

/// Nothing, or the statement that doesn't hold.
pub type Check<T = ()> = Result<T, Box<Violation>>;

/// The statement doesn't hold.
pub fn broken<T>(statement: &'static str, what: impl fmt::Display) -> Check<T> {
    Err(Box::new(Violation { statement, what: what.to_string() }))
}

/// What a check may look at: all nodes, and the one at which something happened.
pub struct Context<'a, P: Parts> {
    /// All nodes.
    pub nodes: &'a [Node<P>],
    /// The one at which something happened.
    pub at: usize,
    /// When, in simulated microseconds.
    pub now: u64,
    /// What was met.
    pub reached: &'a Reached,
}

impl<'a, P: Parts> Context<'a, P> {
    fn node(&self) -> &'a Node<P> {
        &self.nodes[self.at]
    }

    /// The core there, if it is up.
    fn raw(&self) -> Option<&'a Raw<P>> {
        self.node().raw.as_ref()
    }

    fn reach(&self, situation: Situation) {
        self.reached.reach(situation);
    }
}

/// Why the core was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A tick.
    Tick,
    /// A message of this kind.
    Message(Kind),
    /// Its caller wants it to campaign.
    Campaign,
    /// A write is durable.
    Persisted,
    /// A membership change is applied.
    Configured,
    /// Anything else.
    Other,
}

/// What a node said of itself last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    hard: HardState,
    role: Option<RoleKind>,
    applied: Index,
    lost: Option<DataLoss>,
}

impl Seen {
    fn of<P: Parts>(cx: &Context<P>, raw: &Raw<P>) -> Seen {
        Seen {
            hard: raw.hard_state(),
            role: Some(raw.role()),
            applied: raw.applied_index(),
            lost: losses::of(cx, raw),
        }
    }
}

/// All rooms.
#[derive(Debug)]
pub struct Oracle {
    /// What the clients did and were told.
    pub clients: Clients,
    history: history::History,
    configurations: configurations::Configurations,
    elections: elections::Elections,
    votes: votes::Votes,
    outcomes: outcomes::Outcomes,
    flow: flow::Flow,
    shadows: Vec<Shadow>,
    seen: Vec<Seen>,
    before_step: Option<elections::BeforeStep>,
    vouched: acknowledgements::Vouched,
    /// How far the append that is being stepped vouches for the log.
    append: Index,
    /// What the leader whose heartbeat is being stepped counts on, and isn't there.
    missing: Option<losses::Missing>,
}

impl Oracle {
    /// Nothing has happened in a cluster of so many nodes. It begins in this configuration, with the log behind `base`.
    pub fn new(nodes: usize, members: Members, base: (Index, Line)) -> Oracle {
        Oracle {
            clients: Clients::default(),
            history: history::History::new(base),
            configurations: configurations::Configurations::new(base.0, members),
            elections: elections::Elections::new(nodes),
            votes: votes::Votes::new(nodes),
            outcomes: outcomes::Outcomes::default(),
            flow: flow::Flow::new(nodes),
            shadows: vec![Shadow::default(); nodes],
            seen: vec![Seen::default(); nodes],
            before_step: None,
            vouched: acknowledgements::Vouched::new(nodes),
            append: Index::ZERO,
            missing: None,
        }
    }

    /// The highest index that was committed anywhere.
    pub fn committed(&self) -> Index {
        self.history.last_committed()
    }

    /// The configuration that everything committed and applied anywhere has led to.
    pub fn newest_members(&self) -> Members {
        self.configurations.newest()
    }

    /// Where the last change of it was applied.
    pub fn changed_at(&self) -> Index {
        self.configurations.changed_at()
    }

    /// How many membership changes were made.
    pub fn changes_made(&self) -> u64 {
        self.configurations.made()
    }

    /// Terms that had a leader.
    pub fn terms_led(&self) -> usize {
        self.elections.terms_led()
    }

    /// The log of a node, as it was handed out.
    pub fn shadow(&self, at: usize) -> &Shadow {
        &self.shadows[at]
    }

    /// A node has started (8).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_start<P: Parts>(&mut self, cx: &Context<P>) -> Check {
        let Some(raw) = cx.raw() else { return Ok(()) };
        self.shadows[cx.at] = self.history.shadow_of(cx)?;
        cursors::check_start(cx, raw, &self.shadows[cx.at])?;
        losses::check_start(cx, raw)?;
        self.configurations.check(cx, raw)?;
        self.seen[cx.at] = Seen::of(cx, raw);
        self.elections.on_start(cx.at);
        self.flow.on_start(cx.at);
        Ok(())
    }

    /// A node's disk is empty now, and nothing that it did counts any more.
    pub fn on_replaced(&mut self, at: usize) {
        self.votes.on_replaced(at);
    }

    /// A node has ticked, and isn't looked at yet.
    pub fn on_tick<P: Parts>(&mut self, cx: &Context<P>) {
        self.elections.on_tick(cx.at);
    }

    /// A message is about to be stepped.
    pub fn before_step<P: Parts>(&mut self, cx: &Context<P>, summary: &Summary, message: &Message) {
        let Some(raw) = cx.raw() else { return };
        self.elections.on_arrival(cx, raw, summary);
        if let Body::InstallSnapshot(install) = &message.body {
            flow::count_snapshot(cx, &install.snapshot, &self.shadows[cx.at]);
            self.vouched.on_word(cx.at, message.term, install.snapshot.metadata.index);
        }
        if let Body::AppendEntries(append) = &message.body {
            let before = append.prev.index < raw.commit_index();
            cx.reached.reach_if(before && message.term == raw.term(), Situation::AppendBeforeCommit);
            self.append = append.entries.last().map_or(append.prev.index, |entry| entry.index);
            // It says nothing of the log of a node that refuses it.
            let follows = before || self.shadows[cx.at].term(append.prev.index) == Some(append.prev.term);
            self.vouched.on_word(cx.at, message.term, if follows { self.append } else { Index::ZERO });
        }
        if let Body::Heartbeat(heartbeat) = &message.body {
            self.missing = losses::missing(message.term, heartbeat, &self.shadows[cx.at]);
        }
        self.flow.on_arrival(cx.at, summary);
        if summary.kind == Kind::TransferLeader {
            self.on_transfer_asked(cx.at);
        }
        let last = self.shadows[cx.at].last();
        // A leader whose caller is busy has entries of its own term that weren't handed out.
        let own = LogPosition::new(raw.term(), raw.last_index());
        let last = if own.index > last.index { own } else { last };
        self.before_step = self.elections.before_step(cx, raw, message, last);
    }

    /// It was stepped.
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn after_step<P: Parts>(
        &mut self,
        cx: &Context<P>,
        summary: &Summary,
        result: &Result<(), StepError>,
    ) -> Check {
        let Some(raw) = cx.raw() else { return Ok(()) };
        if let Some(before) = self.before_step.take() {
            self.elections.after_step(cx, raw, summary, before)?;
        }
        self.elections.on_stepped(cx, raw, summary, result.is_ok());
        let (before, now) = (self.seen[cx.at].hard.commit, raw.commit_index());
        if summary.kind == Kind::Append && now > before.max(self.append) {
            let id = cx.node().id;
            return broken(
                "5.3",
                format!("node {id} commits {now}, and was vouched for up to {}", self.append),
            );
        }
        if summary.kind == Kind::Heartbeat && result.is_ok() {
            losses::check_noticed(cx, raw, self.missing.take())?;
        }
        let late = summary.kind == Kind::TimeoutNow && raw.role() != RoleKind::Candidate;
        cx.reached.reach_if(late, Situation::TimeoutNowLate);
        if summary.kind == Kind::Propose && result.is_ok() && raw.role() == RoleKind::Leader {
            flow::check_admission(raw, 0)?;
        }
        if summary.kind == Kind::AppendReply && raw.role() == RoleKind::Leader {
            acknowledgements::check_row(cx, raw, &self.elections, &self.history, summary.from)?;
            self.flow.check_row(cx, raw, summary.from)?;
        }
        Ok(())
    }

    /// The core was called.
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_call<P: Parts>(&mut self, cx: &Context<P>, cause: Cause) -> Check {
        let Some(raw) = cx.raw() else { return Ok(()) };
        self.flow.on_call(cx.at);
        if cause == Cause::Persisted {
            acknowledgements::check_durable(cx, raw, &self.shadows[cx.at])?;
        }
        let now = Seen::of(cx, raw);
        let before = std::mem::replace(&mut self.seen[cx.at], now);
        if before == now {
            return Ok(());
        }
        cursors::check_monotonic(cx, &before, &now)?;
        losses::check_stillness(cx, raw, &before, &now)?;
        if (before.role, before.hard.term) != (now.role, now.hard.term) {
            let Oracle { elections, history, votes, shadows, .. } = self;
            elections.on_role(cx, raw, cause, (&before, &now), history, votes, &shadows[cx.at])?;
            if now.role == Some(RoleKind::Leader) {
                self.flow.on_elected(cx, raw, &self.shadows[cx.at])?;
            }
        }
        if now.hard.commit > self.history.last_committed() {
            cx.reached.reach_if(matches!(cause, Cause::Message(Kind::VoteReply)), Situation::CommitLearned);
            leases::check_commit(cx)?;
            commits::on_new(cx, raw, before.hard.commit, &mut self.history, &self.shadows)?;
        } else if now.hard.commit > before.hard.commit && cause == Cause::Message(Kind::VoteReply) {
            cx.reach(Situation::CommitLearned);
        }
        Ok(())
    }

    /// A `Ready` was taken (2, 3, 11).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_ready<P: Parts>(&mut self, cx: &Context<P>, ready: &Ready) -> Check {
        losses::check_ready(cx, ready)?;
        if ready.snapshot.is_none() && ready.entries.is_empty() {
            return Ok(());
        }
        let Some(raw) = cx.raw() else { return Ok(()) };
        if let Some(snapshot) = &ready.snapshot {
            self.check_snapshot(snapshot, "5")?;
            let metadata = &snapshot.metadata;
            let line = self.history.committed(metadata.index).map(|committed| committed.line);
            self.shadows[cx.at] = Shadow::after(metadata.index, line.unwrap_or_default());
        }
        let Oracle { elections, history, shadows, .. } = self;
        logs::on_entries(cx, raw, &ready.entries, elections, history, &mut shadows[cx.at])?;
        if raw.role() == RoleKind::Leader && ready.entries.iter().any(|entry| entry.payload.is_conf_change())
        {
            self.configurations.check_single(cx, raw, &self.shadows[cx.at])?;
        }
        logs::check_end(cx, raw, &self.shadows[cx.at])
    }

    /// A snapshot is of what was committed (5, 18d).
    fn check_snapshot(&self, snapshot: &Snapshot, statement: &'static str) -> Check {
        let metadata = &snapshot.metadata;
        let committed = self.history.committed(metadata.index);
        if committed.is_none_or(|committed| committed.line.term != metadata.term) {
            return broken(
                statement,
                format!("a snapshot of {} is of nothing committed", snapshot.position()),
            );
        }
        let members = self.configurations.at(metadata.index);
        if Members::of_state(&metadata.conf_state) != members {
            return broken(
                "18d",
                format!(
                    "the snapshot of {} holds {:?}, not {members}",
                    snapshot.position(),
                    metadata.conf_state
                ),
            );
        }
        Ok(())
    }

    /// A message leaves a node, which is still up (6, 7, 15, 16).
    ///
    /// # Errors
    /// The statement that it breaks.
    pub fn on_send<P: Parts>(&mut self, cx: &Context<P>, message: &Message) -> Check {
        let Some(raw) = cx.raw() else { return Ok(()) };
        self.votes.on_send(cx, raw, message)?;
        self.flow.on_send(cx.at, &message.body);
        match &message.body {
            Body::AppendEntriesReply(reply) => {
                let answer = (message.term, reply);
                acknowledgements::on_reply(cx, raw, answer, &self.vouched, &self.elections, &self.history)?;
            }
            Body::AppendEntries(append) => {
                logs::on_append_sent(cx, raw, message.term, append, &self.elections, &self.history)?;
                self.flow.on_append_sent(cx, raw, message, append)?;
            }
            Body::Heartbeat(heartbeat) => acknowledgements::on_heartbeat(raw, message, heartbeat)?,
            Body::InstallSnapshot(install) => {
                self.check_snapshot(&install.snapshot, "snapshot")?;
                if !Members::of_state(&install.snapshot.metadata.conf_state).contains(message.to) {
                    return broken(
                        "snapshot",
                        format!("node {} is sent one that doesn't name it", message.to),
                    );
                }
            }
            Body::PreVote(_) => self.elections.on_pre_vote_sent(cx.at),
            Body::TimeoutNow => self.flow.on_timeout_now(raw, message.to)?,
            Body::Propose(_)
            | Body::RequestVote(_)
            | Body::RequestVoteReply(_)
            | Body::PreVoteReply(_)
            | Body::HeartbeatReply(_)
            | Body::TransferLeader(_)
            | Body::ReadIndex(_)
            | Body::ReadIndexReply(_) => {}
        }
        Ok(())
    }

    /// A write is durable; `entries` are those that it brought (6, 15).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_durable<P: Parts>(&mut self, cx: &Context<P>, entries: bool) -> Check {
        self.votes.on_durable(cx)?;
        match self.elections.newest_office() {
            Some(leader) if entries && leader != cx.at => {
                let there = Context { at: leader, ..*cx };
                let Some(raw) = there.raw() else { return Ok(()) };
                acknowledgements::check_row(&there, raw, &self.elections, &self.history, cx.node().id)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// An entry was applied (5, 10).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_applied<P: Parts>(&self, cx: &Context<P>, entry: &Entry) -> Check {
        commits::on_applied(cx, entry, &self.history)
    }

    /// A state machine that is tested has applied the entry at `index`; its command took effect at `first`, if it was sent before (5, 20).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_outcome(&mut self, id: NodeId, index: Index, outcome: Outcome, first: Option<Index>) -> Check {
        self.outcomes.on_applied(id, index, outcome, first)
    }

    /// A state machine that is tested has restored a snapshot (5).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_restored(&self, id: NodeId, index: Index, digest: u64) -> Check {
        self.outcomes.on_restored(id, index, digest)
    }

    /// A membership change was applied, with this result (18).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_configured<P: Parts>(
        &mut self,
        cx: &Context<P>,
        index: Index,
        change: &ConfChangeV2,
        result: Option<&ConfState>,
    ) -> Check {
        self.elections.on_configured(cx.at);
        self.flow.on_configured(cx.at, change);
        self.configurations.on_configured(cx, index, change, result)
    }

    /// Everything that follows from an event at a node was done.
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn after_event<P: Parts>(&mut self, cx: &Context<P>, cause: Cause) -> Check {
        let Some(raw) = cx.raw() else { return Ok(()) };
        commits::check_agreement(cx, raw, &self.history, &self.shadows[cx.at])?;
        self.configurations.check(cx, raw)?;
        if raw.role() == RoleKind::Leader && cause == Cause::Tick {
            match raw.check_invariants() {
                // The settings may have changed since; `flow` knows the largest.
                Ok(()) | Err(Invariant::WindowExceeded { .. }) => {}
                Err(violation) => return broken("16", format!("node {}: {violation}", cx.node().id)),
            }
            self.flow.check_leader(cx, raw, &self.shadows[cx.at])?;
            self.elections.check_quorum(cx, raw)?;
            for id in Members::of(raw.configuration()).all().iter() {
                acknowledgements::check_row(cx, raw, &self.elections, &self.history, id)?;
            }
        }
        self.flow.check_sent(cx)?;
        leases::check(cx)
    }

    /// A leader has taken a proposal of so many bytes on (23).
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_proposed(&self, raw: &RawNode<impl Storage>, bytes: u64) -> Check {
        flow::check_admission(raw, bytes)
    }

    /// A node's election time-out was set.
    pub fn on_hurried(&mut self, at: usize, ticks: u32) {
        self.elections.on_hurried(at, ticks);
    }

    /// A leader was asked to hand over.
    pub fn on_transfer_asked(&mut self, at: usize) {
        self.flow.on_transfer_asked(at);
        self.elections.on_transfer_asked(at);
    }

    /// A leader that sent to the peer in this way was told how the transfer of a snapshot ended.
    ///
    /// # Errors
    /// The statement that doesn't hold.
    pub fn on_report(
        raw: &RawNode<impl Storage>,
        peer: NodeId,
        before: PeerState,
        status: SnapshotStatus,
    ) -> Check {
        flow::check_report(raw, peer, before, status)
    }
}
