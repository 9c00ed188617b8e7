//! What the core asks of its caller, and how it is cut from the outbox and the log.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use raft_proto::{Entries, HardState, Message, NodeId, Snapshot};

use crate::entry_batches::EntryBatches;
use crate::raft::Raft;
use crate::report::{DataLoss, DataLossReport, DroppedRead, ReadState, RoleKind, SoftState, TransferOutcome};
use crate::storage::{MemoryStorage, Storage, StorageError};

/// A batch of work for the caller, by obligation. See the crate's documentation for the order.
#[derive(Debug, Default)]
#[must_use = "a Ready that is dropped takes its messages and entries with it"]
pub struct Ready {
    /// Its number, for [`on_persisted`](crate::RawNode::on_persisted): one more than that of the `Ready` before.
    pub number: u64,

    // -- to take note of
    /// Role and leader, if either changed.
    pub soft_state: Option<SoftState>,
    /// Reads that may be served once their index is applied.
    pub read_states: Vec<ReadState>,
    /// Reads that were accepted and won't be answered, each with its reason.
    pub dropped_reads: Vec<DroppedRead>,
    /// How transfers of leadership ended that this node had begun.
    pub transfers: Vec<TransferOutcome>,
    /// Committed entries couldn't be read from the storage, for this reason. They are asked for again at the next tick.
    pub storage_error: Option<StorageError>,

    // -- to send at once
    /// Messages that may leave before anything of this `Ready` is durable (thesis §10.2.1).
    pub messages: Vec<Message>,

    // -- to make durable, in one write: snapshot, then entries, then hard state and data loss
    /// Replaces the log and the state machine.
    pub snapshot: Option<Snapshot>,
    /// To append. Where the log has entries from the first of these indexes on, they are replaced.
    pub entries: EntryBatches,
    /// Term, vote and commit index, if any changed.
    pub hard_state: Option<HardState>,
    /// This node has lost what it had acknowledged, or has it again.
    pub data_loss: Option<DataLossReport>,
    /// The write must reach the disk (fsync) before it is acknowledged. False if only the commit index changed, which
    /// may be lost: then an acknowledgement may follow at once. But when a later write is durable, this must be too: a
    /// node that holds the end of a membership change and forgot that its beginning is committed would act by a
    /// configuration which is two steps behind.
    pub must_sync: bool,

    // -- to send when everything in this Ready, and in those before, is durable
    /// Votes, requests for them, and acknowledgements.
    pub persisted_messages: Vec<Message>,

    // -- to apply: after the snapshot, and after `entries` are durable
    /// Committed entries, in order, each exactly once.
    pub committed_entries: Entries,

    vote_requests_after: Vec<usize>,
    /// The node has something to tell itself when this is durable.
    has_own_answers: bool,
}

impl Ready {
    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.soft_state.is_none()
            && self.read_states.is_empty()
            && self.dropped_reads.is_empty()
            && self.data_loss.is_none()
            && self.transfers.is_empty()
            && self.storage_error.is_none()
            && self.messages.is_empty()
            && self.snapshot.is_none()
            && self.entries.is_empty()
            && self.hard_state.is_none()
            && self.persisted_messages.is_empty()
            && self.committed_entries.is_empty()
            && !self.has_own_answers
    }

    /// Must it be acknowledged with [`on_persisted`](crate::RawNode::on_persisted)? If not, acknowledging it does no harm.
    pub fn needs_acknowledgement(&self) -> bool {
        self.snapshot.is_some()
            || !self.entries.is_empty()
            || self.hard_state.is_some()
            || self.data_loss.is_some()
            || !self.persisted_messages.is_empty()
            || self.has_own_answers
    }

    /// How many of `messages` there were when each of the requests for votes among `persisted_messages` was made. For
    /// traces that show them in the order in which they were made.
    pub fn vote_requests_after(&self) -> &[usize] {
        &self.vote_requests_after
    }

    /// Empties it, and keeps its buffers.
    fn clear(&mut self) {
        self.soft_state = None;
        empty(&mut self.read_states);
        empty(&mut self.dropped_reads);
        self.data_loss = None;
        self.transfers.clear();
        self.storage_error = None;
        empty(&mut self.messages);
        self.snapshot = None;
        self.entries.clear();
        self.hard_state = None;
        self.must_sync = false;
        empty(&mut self.persisted_messages);
        self.committed_entries = Entries::default();
        self.vote_requests_after.clear();
        self.has_own_answers = false;
    }
}

/// Nearly all lists of nearly every `Ready` are empty.
#[inline(always)]
fn empty<T>(list: &mut Vec<T>) {
    if !list.is_empty() {
        list.clear();
    }
}

/// What was handed out last, and so needn't be again.
#[derive(Clone, Debug)]
pub(crate) struct HandedOut {
    /// The number of the last `Ready`.
    pub(crate) number: u64,
    hard_state: HardState,
    lost: Option<Box<DataLoss>>,
    leader: Option<NodeId>,
    role: RoleKind,
    /// Nothing is due if this is false.
    pub(crate) may_be_due: bool,
}

/// Without the number, by which nothing is decided.
impl Hash for HandedOut {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let HandedOut { number: _, hard_state, lost, leader, role, may_be_due: _ } = self;
        (hard_state, lost, leader, role).hash(state);
    }
}

impl HandedOut {
    /// At the start the caller knows what it stored, and that the node follows nobody.
    pub(crate) fn at_start<S: Storage>(raft: &Raft<S>) -> HandedOut {
        let SoftState { leader, role } = raft.soft_state();
        HandedOut {
            number: 0,
            hard_state: raft.common.hard_state(),
            lost: raft.common.lost.clone(),
            leader,
            role,
            may_be_due: true,
        }
    }

    fn soft_state(&self) -> SoftState {
        SoftState { leader: self.leader, role: self.role }
    }

    /// Is anything due? Exactly then [`cut`](HandedOut::cut) gives a `Ready` that isn't empty.
    #[inline]
    pub(crate) fn is_due<S: Storage>(&self, raft: &Raft<S>) -> bool {
        raft.is_round_due() || self.is_more_due(raft)
    }

    /// Anything but heartbeats, which are nearly all that is due where nothing happens.
    fn is_more_due<S: Storage>(&self, raft: &Raft<S>) -> bool {
        let common = &raft.common;
        let committed = common.log.committed();
        !common.outbox.is_empty()
            || common.log.has_unwritten()
            || committed != self.hard_state.commit
            || (committed > common.log.handed() && !common.log.to_apply().is_empty())
            || (common.news && self.has_news(raft))
    }

    /// Does the node differ from what was handed out, or has it voted for itself?
    pub(crate) fn has_news<S: Storage>(&self, raft: &Raft<S>) -> bool {
        raft.common.hard_state() != self.hard_state
            || raft.soft_state() != self.soft_state()
            || raft.common.lost != self.lost
            || raft.common.log.has_own_answers()
    }

    /// Moves everything that is due into `ready`.
    pub(crate) fn cut<S: Storage>(&mut self, raft: &mut Raft<S>, ready: &mut Ready) {
        ready.clear();
        self.number = self.number.saturating_add(1);
        ready.number = self.number;

        raft.send_unsent(&mut ready.messages);
        let promised = raft.common.news && self.tell_news(raft, ready);
        let common = &mut raft.common;
        if common.log.committed() != self.hard_state.commit {
            self.hard_state.commit = common.log.committed();
            ready.hard_state = Some(self.hard_state);
        }
        if common.log.has_unwritten() {
            ready.has_own_answers = common.log.has_own_answers();
            if let Some(snapshot) = common.log.hand_out_unwritten(&mut ready.entries) {
                ready.snapshot = Some(snapshot.clone());
            }
        }
        if common.log.committed() > common.log.handed()
            && let Err(error) = common.log.hand_out_committed(&mut ready.committed_entries)
        {
            common.storage_failed(&error);
            ready.storage_error = Some(error);
        }
        ready.must_sync =
            promised || !ready.entries.is_empty() || ready.snapshot.is_some() || ready.data_loss.is_some();

        let outbox = &mut common.outbox;
        hand_over(&mut outbox.messages, &mut ready.messages);
        hand_over(&mut outbox.held, &mut ready.persisted_messages);
        if let Some(rare) = &mut outbox.rare {
            hand_over(&mut rare.read_states, &mut ready.read_states);
            hand_over(&mut rare.dropped_reads, &mut ready.dropped_reads);
            hand_over(&mut rare.transfers, &mut ready.transfers);
            hand_over(&mut rare.vote_requests_after, &mut ready.vote_requests_after);
            if !rare.has_buffers() {
                outbox.rare = None;
            }
        }
        if ready.needs_acknowledgement() {
            common.on_write_handed_out(self.number, ready.snapshot.is_some());
        }
    }

    /// What has changed of the node since it was told last. Returns whether term or vote did, which must be durable.
    fn tell_news<S: Storage>(&mut self, raft: &mut Raft<S>, ready: &mut Ready) -> bool {
        let soft_state = raft.soft_state();
        ready.soft_state = (soft_state != self.soft_state()).then_some(soft_state);
        SoftState { leader: self.leader, role: self.role } = soft_state;

        let common = &mut raft.common;
        let hard_state = common.hard_state();
        let promised = (hard_state.term, hard_state.vote) != (self.hard_state.term, self.hard_state.vote);
        ready.hard_state = (hard_state != self.hard_state).then_some(hard_state);
        self.hard_state = hard_state;

        if common.lost != self.lost {
            let lost = common.lost.as_deref().copied();
            ready.data_loss = Some(lost.map_or(DataLossReport::Regained, DataLossReport::Noticed));
            self.lost = common.lost.clone();
        }
        // It votes for itself where its role is news, and acknowledges to itself what is to be written.
        ready.has_own_answers = common.log.has_own_answers();
        common.news = false;
        promised
    }
}

/// Moves a list into an empty one, whose buffer takes its place unless it is the larger one: where many nodes share a `Ready`, the
/// buffers that a busy one needs don't come to all of them.
#[inline]
fn hand_over<T>(from: &mut Vec<T>, into: &mut Vec<T>) {
    if from.is_empty() {
        return;
    }
    if into.capacity() > from.capacity() {
        into.append(from);
    } else {
        core::mem::swap(from, into);
    }
}

impl MemoryStorage {
    /// Writes what a `Ready` asks for: snapshot, entries, hard state.
    ///
    /// # Errors
    /// As [`append`](MemoryStorage::append) and [`apply_snapshot`](MemoryStorage::apply_snapshot).
    pub fn persist(&mut self, ready: &Ready) -> Result<(), StorageError> {
        if let Some(snapshot) = &ready.snapshot {
            self.apply_snapshot(snapshot.clone())?;
        }
        ready.entries.batches().try_for_each(|batch| self.append(batch))?;
        if let Some(hard_state) = ready.hard_state {
            self.set_hard_state(hard_state);
        }
        if let Some(report) = ready.data_loss {
            self.set_lost(report.lost());
        }
        Ok(())
    }
}
