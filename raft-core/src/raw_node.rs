//! The only door.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use bytes::Bytes;
use raft_proto::{
    ConfChange, ConfChangeV2, ConfState, Entry, HardState, Index, LogPosition, Message, NodeId, Payload, Term,
};

use crate::config::{Config, ConfigError};
use crate::error::{
    AckError, BootstrapError, CampaignError, ForgetLeaderError, ProposeError, ReadError,
    SnapshotRequestError, StartError, StepError, TransferError,
};
use crate::membership::{ConfChangeError, Configuration};
use crate::raft::Raft;
use crate::raft::invariants::{self, Violation};
use crate::ready::{HandedOut, Ready};
use crate::report::{ConfChangeProposal, Proposal, ReadMode, RoleKind, SnapshotStatus};
use crate::status::{
    self, BasicStatus, PeerStatus, Status, WhyNotCommitted, WhyNotLeader, WhyPaused, WhyReadWaits,
};
use crate::storage::Storage;
use crate::trace::Trace;

/// A node of a Raft cluster, without any IO.
///
/// Every method is of one kind:
///
/// * **inputs** tell it what happened: [`tick`](RawNode::tick), [`step`](RawNode::step), [`propose`](RawNode::propose),
///   [`read_index`](RawNode::read_index), [`campaign`](RawNode::campaign), [`report_unreachable`](RawNode::report_unreachable),
///   [`report_snapshot`](RawNode::report_snapshot);
/// * **outputs** tell what is to be done: [`has_ready`](RawNode::has_ready), [`ready`](RawNode::ready);
/// * **acknowledgements** tell it what was done: [`on_persisted`](RawNode::on_persisted),
///   [`on_applied`](RawNode::on_applied), or both at once: [`advance`](RawNode::advance);
/// * **getters** change nothing, and [`shrink_to_fit`](RawNode::shrink_to_fit) nothing but how much memory is in use.
///
/// Give it all inputs that are there, then take its `Ready`s until there is none. See the crate's documentation for
/// what is to be done with one, and in which order.
///
/// No method panics, and after an `Err` nothing has changed.
#[derive(Clone, Debug)]
pub struct RawNode<S> {
    raft: Raft<S>,
    handed_out: HandedOut,
}

impl<S: Storage> RawNode<S> {
    /// A node that continues from what its storage holds.
    ///
    /// # Errors
    /// [`StartError`] says which setting or which part of the storage is not as it must be.
    pub fn new(config: Config, storage: S) -> Result<RawNode<S>, StartError> {
        RawNode::start(config, storage, Trace::discard())
    }

    /// The same, with structured logs (feature `slog`).
    ///
    /// # Errors
    /// As [`new`](RawNode::new).
    #[cfg(feature = "slog")]
    pub fn with_logger(config: Config, storage: S, logger: &slog::Logger) -> Result<RawNode<S>, StartError> {
        let trace = Trace::to(logger, config.id);
        RawNode::start(config, storage, trace)
    }

    fn start(config: Config, storage: S, trace: Trace) -> Result<RawNode<S>, StartError> {
        let raft = Raft::new(config, storage, trace)?;
        Ok(RawNode { handed_out: HandedOut::at_start(&raft), raft })
    }

    /// Looks whether anything is due: at the end of the calls after which a node comes to rest, so that asking one that rests
    /// costs nothing.
    fn settle(&mut self) {
        self.handed_out.may_be_due = self.handed_out.is_due(&self.raft);
    }

    /// The state machine, for a call after which anything may be due.
    fn change(&mut self) -> &mut Raft<S> {
        self.handed_out.may_be_due = true;
        &mut self.raft
    }

    // -- inputs

    /// One unit of time has passed. Elections and heartbeats follow from it.
    #[inline]
    pub fn tick(&mut self) {
        if self.raft.common.clock.tick() {
            self.on_tick();
        }
    }

    #[inline(never)]
    fn on_tick(&mut self) {
        self.raft.on_tick();
        self.settle();
    }

    /// A message has arrived from another node. Messages may be lost, repeated and reordered.
    ///
    /// # Errors
    /// [`StepError`] says what is wrong with the message, or why it can't be handled. It may be dropped then; nothing
    /// has changed.
    pub fn step(&mut self, mut message: Message) -> Result<(), StepError> {
        let result = self.raft.step(&mut message);
        if !self.handed_out.may_be_due {
            self.settle();
        }
        result
    }

    /// A client wants a command to be replicated (§5.3).
    ///
    /// # Errors
    /// [`ProposeError`] says why it is dropped.
    pub fn propose(&mut self, data: Bytes) -> Result<Proposal, ProposeError> {
        self.propose_batch([data])
    }

    /// The same for several commands, which get consecutive indexes and travel together. All or none of them are
    /// appended.
    ///
    /// # Errors
    /// As [`propose`](RawNode::propose).
    pub fn propose_batch(&mut self, data: impl IntoIterator<Item = Bytes>) -> Result<Proposal, ProposeError> {
        let entry = |data| Entry { payload: Payload::Normal(data), ..Entry::default() };
        let mut entries = self.raft.common.log.take_buffer();
        let data = data.into_iter();
        if entries.capacity() == 0 {
            entries.reserve_exact(data.size_hint().0);
        }
        entries.extend(data.map(entry));
        let me = self.id();
        let result = self.change().propose(me, &mut entries);
        self.raft.common.log.keep_buffer(entries);
        result.map(|(proposal, _)| proposal)
    }

    /// A change of the membership (thesis §4). It is made when its entry is applied: the caller decodes nothing, it finds
    /// the change in the entry's [`Payload`] and gives it to [`apply_conf_change`](RawNode::apply_conf_change).
    ///
    /// # Errors
    /// As [`propose`](RawNode::propose). A change that can't be made now is no error: the result says why, and an empty
    /// entry stands in its place.
    pub fn propose_conf_change(&mut self, change: ConfChangeV2) -> Result<ConfChangeProposal, ProposeError> {
        self.propose_change(Payload::ConfChangeV2(Arc::new(change)))
    }

    /// The same, in the older format of a change of one node.
    ///
    /// # Errors
    /// As [`propose_conf_change`](RawNode::propose_conf_change).
    pub fn propose_conf_change_v1(&mut self, change: ConfChange) -> Result<ConfChangeProposal, ProposeError> {
        self.propose_change(Payload::ConfChange(Arc::new(change)))
    }

    fn propose_change(&mut self, payload: Payload) -> Result<ConfChangeProposal, ProposeError> {
        let entry = Entry { payload, ..Entry::default() };
        let me = self.id();
        let result = self.change().propose(me, &mut alloc::vec![entry]);
        Ok(match result? {
            (Proposal::Appended { term, last, .. }, None) => {
                ConfChangeProposal::Appended { term, index: last }
            }
            (Proposal::Appended { term, last, .. }, Some(reason)) => {
                ConfChangeProposal::Refused { term, index: last, reason }
            }
            (Proposal::Forwarded { to }, _) => ConfChangeProposal::Forwarded { to },
        })
    }

    /// Hand leadership over to this voter (thesis §3.10). Until that has ended, as [`Ready::transfers`] tells, proposals are
    /// refused. At a follower the wish is passed on to the leader, and nothing tells what became of it. A transfer to the leader
    /// itself gives up the one that is on its way.
    ///
    /// # Errors
    /// [`TransferError`] says why not.
    pub fn transfer_leader(&mut self, to: NodeId) -> Result<(), TransferError> {
        self.change().transfer_leader(to)
    }

    /// Hand leadership over to the voter who needs least to take over: the one with the longest log among those that were
    /// heard lately. Returns whom.
    ///
    /// # Errors
    /// [`TransferError`] says why not.
    pub fn transfer_leader_to_best(&mut self) -> Result<NodeId, TransferError> {
        self.change().transfer_to_best()
    }

    /// The leader is known to be gone: this follower may vote for another at once. Any word from the leader revokes it.
    ///
    /// # Errors
    /// [`ForgetLeaderError`] says why not.
    pub fn forget_leader(&mut self) -> Result<(), ForgetLeaderError> {
        self.change().forget_leader()
    }

    /// A client wants to read what is committed by now, without an entry in the log (thesis §6.4). The answer comes in
    /// [`Ready::read_states`] or [`Ready::dropped_reads`] of a later `Ready`, with the same `context`; each accepted
    /// read gets exactly one.
    ///
    /// # Errors
    /// [`ReadError`] says why it can't be taken on.
    pub fn read_index(&mut self, context: Bytes, mode: ReadMode) -> Result<(), ReadError> {
        self.change().read_index(context, mode)
    }

    /// Campaign now, as if the election time-out had passed (§5.2).
    ///
    /// # Errors
    /// [`CampaignError`] says why it doesn't.
    pub fn campaign(&mut self) -> Result<(), CampaignError> {
        self.change().campaign()
    }

    /// A message to this peer couldn't be delivered. A leader then stops to send ahead until it hears from the peer.
    /// Without any effect for an unknown peer, or at a node that doesn't lead.
    pub fn report_unreachable(&mut self, peer: NodeId) {
        self.change().report_unreachable(peer);
    }

    /// The state machine can't go on from what it has (it is damaged, say): a follower asks its leader for a snapshot of all that
    /// was handed out for application, or more, now and with each heartbeat. It is given nothing to apply until that came in a
    /// `Ready`, together with the entries of the log that stand behind it; nor does it campaign. The log goes on meanwhile, so
    /// the quorum doesn't lack this node. A restart forgets the request.
    ///
    /// # Errors
    /// [`SnapshotRequestError::NotAFollower`] at a node that leads or campaigns.
    pub fn request_snapshot(&mut self) -> Result<(), SnapshotRequestError> {
        self.change().request_snapshot()
    }

    /// The state machine can do without the snapshot that was requested, if it hasn't come yet: entries are handed out as before.
    pub fn withdraw_snapshot_request(&mut self) {
        self.change().common.log.withdraw_want();
    }

    /// The transfer of a snapshot to this peer has ended. Without this report the leader waits until the peer
    /// acknowledges what the snapshot covers. Without any effect unless a snapshot is on its way there.
    pub fn report_snapshot(&mut self, peer: NodeId, status: SnapshotStatus) {
        self.change().report_snapshot(peer, status);
    }

    /// The storage has fetched what it had answered with [`StorageError::Fetching`](crate::StorageError::Fetching): committed
    /// entries are asked for again now and not at the next tick, and a leader sends what it couldn't send.
    pub fn on_entries_fetched(&mut self) {
        self.change().on_entries_fetched();
    }

    /// Replaces the election time-out that was drawn, in ticks, until the next is drawn.
    pub fn set_election_timeout(&mut self, ticks: u32) {
        self.raft.common.clock.set_election_timeout(ticks);
    }

    /// Starts a new cluster of these voters, each with bytes of the caller's own: the first entries of the log add them, as
    /// committed by agreement beforehand. Every one of them must be started so, with the same list, and have nothing
    /// stored. A cluster whose storages hold the same configuration at the start doesn't need it, and a node that is to join
    /// one starts without.
    ///
    /// # Errors
    /// [`BootstrapError`] says why not.
    pub fn bootstrap(&mut self, peers: &[(NodeId, Bytes)]) -> Result<(), BootstrapError> {
        self.change().bootstrap(peers)
    }

    /// Sends heartbeats with the next [`Ready`], at a leader: to learn at once who lives.
    pub fn ping(&mut self) {
        self.change().ping();
    }

    /// Commits only what is held in two of these groups (zones, say) at least; `None` ends that. Where there is but one group,
    /// a plain quorum is enough; where some voters have none, and no two groups hold an entry, all voters must: see
    /// [`MajorityQuorum::group_committed_index`](crate::quorum::MajorityQuorum::group_committed_index).
    /// [`is_group_consistent`](RawNode::is_group_consistent) tells whether two groups hold it all.
    pub fn set_commit_groups(&mut self, groups: Option<BTreeMap<NodeId, u64>>) {
        self.change().set_commit_groups(groups);
    }

    /// Changes how many messages with entries may be on their way to a peer, until this node leads anew or
    /// [`reconfigure`](RawNode::reconfigure) changes the windows of all. What a larger window lets through is sent at once; into a
    /// smaller one nothing more goes until enough of what is on its way has arrived. Returns false at a node that doesn't lead,
    /// for an unknown peer, or for zero.
    pub fn set_max_inflight(&mut self, peer: NodeId, messages: u32) -> bool {
        self.change().set_max_inflight(peer, messages)
    }

    /// Changes settings while the node runs. They count from now on; at a leader new `max_inflight_messages` and
    /// `max_inflight_bytes` are at once the window of every peer, also of one that [`set_max_inflight`](RawNode::set_max_inflight)
    /// had given another.
    ///
    /// # Errors
    /// The first rule that the new settings break; [`ConfigError::FixedAtStart`] for those that can't change.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let mut config = self.config().clone();
        change(&mut config);
        self.change().reconfigure(config)
    }

    // -- outputs

    /// Is there anything to do? Exactly then [`ready`](RawNode::ready) gives a `Ready` that isn't empty.
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.handed_out.may_be_due && self.handed_out.is_due(&self.raft)
    }

    /// Everything that is to be done now. It is given once.
    pub fn ready(&mut self) -> Ready {
        let mut ready = Ready::default();
        self.ready_into(&mut ready);
        ready
    }

    /// The same, in the buffers of a `Ready` that is done with, of this node or another: one is enough for all the nodes of a thread.
    /// What was left in it is lost.
    pub fn ready_into(&mut self, ready: &mut Ready) {
        self.handed_out.cut(&mut self.raft, ready);
        // What isn't handed out now waits for an acknowledgement, or for a tick.
        self.handed_out.may_be_due = false;
    }

    // -- acknowledgements

    /// Everything in the `Ready`s up to this number is durable: entries, hard states and snapshots (which the state machine
    /// has restored too).
    ///
    /// # Errors
    /// [`AckError::NotHandedOut`] for a number that no `Ready` had. One that was acknowledged before is no error.
    pub fn on_persisted(&mut self, number: u64) -> Result<(), AckError> {
        if number > self.handed_out.number {
            return Err(AckError::NotHandedOut { last: self.handed_out.number });
        }
        self.change().on_persisted(number);
        Ok(())
    }

    /// The state machine has applied everything up to `index`.
    ///
    /// # Errors
    /// [`AckError::NotHandedOutForApply`] beyond what was handed out. An index that was acknowledged before is no error.
    pub fn on_applied(&mut self, index: Index) -> Result<(), AckError> {
        let result = self.raft.on_applied(index);
        self.settle();
        result
    }

    /// A committed membership change is being applied: the configuration follows it from here on. To be called for each
    /// such entry, in its turn, before [`on_applied`](RawNode::on_applied). Returns the configuration to store with the
    /// applied index.
    ///
    /// # Errors
    /// [`ConfChangeError`] names the rule that the change breaks. Then it has no effect, here as on every other node,
    /// and the entry counts as applied.
    pub fn apply_conf_change(&mut self, change: &ConfChangeV2) -> Result<ConfState, ConfChangeError> {
        self.change().apply_conf_change(change)
    }

    /// The synchronous way: everything in this `Ready` is durable and applied.
    ///
    /// # Errors
    /// As [`on_persisted`](RawNode::on_persisted), for a `Ready` of another node.
    pub fn advance(&mut self, ready: Ready) -> Result<(), AckError> {
        self.on_persisted(ready.number)?;
        match ready.committed_entries.last() {
            Some(last) => self.on_applied(last.index),
            None => {
                self.settle();
                Ok(())
            }
        }
    }

    // -- memory

    /// Gives back the memory of all buffers that hold nothing: for a node that is at rest and likely to stay so, where there are
    /// many. They are made again when they are needed.
    pub fn shrink_to_fit(&mut self) {
        self.raft.shrink_to_fit();
    }

    // -- getters

    /// This node.
    pub fn id(&self) -> NodeId {
        self.raft.common.id()
    }

    /// Its current term.
    pub fn term(&self) -> Term {
        self.raft.common.term
    }

    /// Its role.
    pub fn role(&self) -> RoleKind {
        self.raft.soft_state().role
    }

    /// The leader of its term, if it knows it.
    pub fn leader(&self) -> Option<NodeId> {
        self.raft.soft_state().leader
    }

    /// The highest index that it knows to be committed.
    pub fn commit_index(&self) -> Index {
        self.raft.common.log.committed()
    }

    /// The highest index that was acknowledged with [`on_applied`](RawNode::on_applied).
    pub fn applied_index(&self) -> Index {
        self.raft.common.log.applied()
    }

    /// The last index of its log, durable or not.
    pub fn last_index(&self) -> Index {
        self.raft.common.log.last().index
    }

    /// The position of that entry.
    pub fn last_position(&self) -> LogPosition {
        self.raft.common.log.last()
    }

    /// What this node tells itself when the `Ready` of this number is durable: its own vote, its own acknowledgements. For
    /// traces. Each comes with the number of `persisted_messages` that came before it.
    pub fn own_answers(&self, number: u64) -> impl Iterator<Item = (usize, Message)> {
        let me = self.id();
        self.raft.common.log.own_answers(number).map(move |own| (own.after, own.message(me)))
    }

    /// The settings that it runs with.
    pub fn config(&self) -> &Config {
        &self.raft.common.config
    }

    /// Its term, its vote in that term, and its commit index, durable or not.
    pub fn hard_state(&self) -> HardState {
        self.raft.common.hard_state()
    }

    /// The configuration that it acts by.
    pub fn configuration(&self) -> &Configuration {
        &self.raft.common.membership
    }

    /// The same in the form that is stored. Costs a copy.
    pub fn conf_state(&self) -> ConfState {
        self.raft.common.membership.to_conf_state()
    }

    /// Does it lead, and has it committed an entry of its term? Before that a leader's commit index may lie behind what was
    /// acknowledged to clients.
    pub fn has_committed_in_term(&self) -> bool {
        self.raft.has_committed_in_term()
    }

    /// Does it lead, and is an entry of its term applied? Then the state machine holds whatever was acknowledged to clients in
    /// earlier terms.
    pub fn has_applied_in_term(&self) -> bool {
        self.raft.has_applied_in_term()
    }

    /// Is everything that is committed held by a quorum that spans two commit groups at least (in both halves of a joint
    /// configuration)? `None` at a node that doesn't lead, after `set_commit_groups(None)`, or before an entry of its term is
    /// applied.
    pub fn is_group_consistent(&self) -> Option<bool> {
        self.raft.is_group_consistent()
    }

    /// Does this leader hold a lease, from which it answers reads at once?
    pub fn holds_lease(&self) -> bool {
        self.raft.holds_lease()
    }

    /// To whom this leader is handing over.
    pub fn transferee(&self) -> Option<NodeId> {
        status::transferee(&self.raft)
    }

    /// The payload bytes that this leader has appended in its term and not yet applied.
    pub fn uncommitted_bytes(&self) -> u64 {
        status::uncommitted_bytes(&self.raft)
    }

    /// Reads of this node's callers, and at a leader of its peers', that wait to be confirmed.
    pub fn pending_reads(&self) -> usize {
        status::pending_reads(&self.raft)
    }

    /// A leader's view of one member; `None` in other roles.
    pub fn peer(&self, id: NodeId) -> Option<PeerStatus> {
        status::peer(&self.raft, id)
    }

    /// A leader's view of all members, itself included, in ascending order; empty in other roles. Costs a row for each.
    pub fn progress(&self) -> Vec<PeerStatus> {
        status::progress(&self.raft)
    }

    /// What has no size of all that this node knows of itself. Costs no more than the copy: nothing is allocated.
    pub fn basic_status(&self) -> BasicStatus {
        BasicStatus::of(&self.raft)
    }

    /// All of it: [`basic_status`](RawNode::basic_status), [`conf_state`](RawNode::conf_state) and
    /// [`progress`](RawNode::progress), for the price of all three.
    pub fn status(&self) -> Status {
        Status::of(&self.raft)
    }

    /// Why this node doesn't lead; `None` if it does.
    pub fn why_not_leader(&self) -> Option<WhyNotLeader> {
        status::why_not_leader(&self.raft)
    }

    /// Why this index isn't committed here; `None` if it is.
    pub fn why_not_committed(&self, index: Index) -> Option<WhyNotCommitted> {
        status::why_not_committed(&self.raft, index)
    }

    /// Why no more entries are sent to this peer; `None` if they are as soon as there are any.
    pub fn why_paused(&self, peer: NodeId) -> Option<WhyPaused> {
        status::why_paused(&self.raft, peer)
    }

    /// Why the read with this context isn't confirmed; `None` if no such read waits.
    pub fn why_read_waits(&self, context: &[u8]) -> Option<WhyReadWaits> {
        status::why_read_waits(&self.raft, context)
    }

    /// The storage that it reads.
    pub fn storage(&self) -> &S {
        self.raft.common.log.storage()
    }

    /// The storage that it reads, to write what a `Ready` asks for, or to compact it up to an index that is applied.
    pub fn storage_mut(&mut self) -> &mut S {
        self.raft.common.log.storage_mut()
    }

    /// Feeds into `state` whatever decides how this node goes on, so that who explores all runs of a cluster can tell where
    /// two of them meet. Left out are: the settings and what the storage holds, which the caller knows; the numbers of
    /// `Ready`s and the counters, which decide nothing; and the random numbers, which decide the next election time-out only,
    /// so the caller must set it itself, after each call ([`set_election_timeout`](RawNode::set_election_timeout)).
    pub fn hash_state(&self, state: &mut impl Hasher) {
        let RawNode { raft: Raft { common, role }, handed_out } = self;
        (common, role, handed_out).hash(state);
    }

    /// Checks what must hold between any two calls. For tests: it costs more than the calls themselves.
    ///
    /// # Errors
    /// The first [`Violation`] that it finds: a fault of this crate.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        let RawNode { raft, handed_out } = self;
        let is_due = handed_out.is_due(raft) || handed_out.has_news(raft);
        if is_due != self.has_ready() {
            return Err(Violation::ReadyOverlooked);
        }
        invariants::check(&self.raft)
    }
}
