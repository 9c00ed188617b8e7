//! Reads without a log entry (thesis §6.4), confirmed by a round of heartbeats or by a lease (§6.4.1).
//!
//! Every round of heartbeats that a read or a lease depends on has a number, counted up by this leader in this term; the
//! answers repeat it. An answer to round *n* from a quorum proves that this node still led when it sent round *n*, so
//! it confirms the reads that came before. What a caller put into its request plays no part in that. Reads that come between
//! two `Ready`s share a round, which begins when the second is cut.
//!
//! ```text
//!   tick of this leader       t₀ round n is sent                                   t₀ + election ticks
//!                             ├──────────────────── lease ──────────────┤  drift   │
//!   any follower that answers     └ hears it: promises not to vote for …………………………………election ticks, from later
//! ```
//!
//! A lease is kept only while it is asked for: the heartbeats carry a round, and with it ask for the promise, until an
//! election time-out after the last read by lease. So who doesn't use leases pays nothing, and no election waits for them.
//! The lease counts from when the round was *sent*, and ends early by a tick, since ticks are counted at both ends, and
//! by [`Config::lease_drift_ticks`](crate::Config::lease_drift_ticks).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use raft_proto::{Body, Index, NodeId, ReadIndex, ReadIndexReply};

use super::Leader;
use crate::error::ReadError;
use crate::raft::common::{Common, MAX_PENDING_READS, Next};
use crate::report::{ReadMode, ReadState};
use crate::storage::Storage;
use crate::trace::debug;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// This node's own caller.
    Local,
    /// Another node, under a number of its own.
    Remote { from: NodeId, id: u64 },
}

/// A read.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Read {
    pub(crate) origin: Origin,
    pub(crate) context: Bytes,
    pub(crate) mode: ReadMode,
}

/// The reads that wait, and the rounds they wait for. They belong to one leadership.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Reads {
    /// Wait for the first commit of the term.
    early: Vec<Read>,
    /// Wait for a round; in the order of rounds.
    pending: VecDeque<PendingRead>,
    /// The number of the last round.
    round: u64,
    /// Nothing until a read by lease is asked for.
    lease: Option<Box<Lease>>,
}

/// What a leader must know to keep a lease.
#[derive(Clone, Debug, Default, Hash)]
struct Lease {
    /// When rounds were sent: the last number of each tick. Only while a lease is kept.
    sent: VecDeque<(u64, u64)>,
    /// When the last round was sent that a quorum answered.
    quorum_heard: Option<u64>,
    /// The tick until which the lease is kept.
    wanted_until: u64,
}

#[derive(Clone, Debug, Hash)]
struct PendingRead {
    read: Read,
    index: Index,
    round: u64,
}

impl Reads {
    pub(super) fn len(&self) -> usize {
        self.early.len().saturating_add(self.pending.len())
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.early.shrink_to_fit();
        self.pending.shrink_to_fit();
        if let Some(lease) = &mut self.lease {
            lease.sent.shrink_to_fit();
        }
    }

    /// The contexts of this node's own reads.
    pub(super) fn into_local(self) -> impl Iterator<Item = Bytes> {
        let pending = self.pending.into_iter().map(|pending| pending.read);
        let all = self.early.into_iter().chain(pending);
        all.filter(|read| read.origin == Origin::Local).map(|read| read.context)
    }
}

impl Leader {
    /// Does a read of this node's caller wait for the first commit of the term?
    pub(crate) fn is_reading_early(&self, context: &[u8]) -> bool {
        self.reads.early.iter().any(|read| read.origin == Origin::Local && read.context == context)
    }

    /// The round for which a read of this node's caller waits.
    pub(crate) fn round_of(&self, context: &[u8]) -> Option<u64> {
        let mut pending = self.reads.pending.iter();
        let found = pending.find(|one| one.read.origin == Origin::Local && one.read.context == context)?;
        Some(found.round)
    }

    /// Takes a read on.
    pub(crate) fn read<S: Storage>(&mut self, common: &mut Common<S>, read: Read) -> Result<(), ReadError> {
        if self.reads.len() >= MAX_PENDING_READS {
            return Err(ReadError::TooManyPending);
        }
        if read.mode == ReadMode::Lease {
            self.reads.lease.get_or_insert_default().wanted_until =
                common.clock.now().saturating_add(u64::from(common.clock.election_ticks()));
        }
        if self.has_committed_in_term(common) {
            self.confirm(common, [read]);
        } else {
            self.reads.early.push(read);
        }
        Ok(())
    }

    /// Takes a follower's read on. This node's own, back from a detour, were dropped when it stopped to follow.
    #[inline(never)]
    pub(crate) fn read_for_peer<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        read: ReadIndex,
    ) -> Next {
        if from == common.id() {
            return Next::Stay;
        }
        let lease = read.lease && common.config.lease_reads;
        let mode = if lease { ReadMode::Lease } else { ReadMode::Quorum };
        let read = Read { origin: Origin::Remote { from, id: read.id }, context: read.context, mode };
        if let Err(error) = self.read(common, read) {
            debug!(common.trace, "read of a peer dropped", "from" => from, "why" => error);
        }
        Next::Stay
    }

    /// The first entry of this term may be committed: then the commit index is no older than any that was ever
    /// acknowledged, and the reads that waited for this go on.
    pub(super) fn release_early_reads<S: Storage>(&mut self, common: &mut Common<S>) {
        if !self.reads.early.is_empty() && self.has_committed_in_term(common) {
            let early = core::mem::take(&mut self.reads.early);
            self.confirm(common, early);
        }
    }

    /// Answers these reads, or lets them wait for the next round. That leaves with the next `Ready`, which there is for it, or now.
    fn confirm<S: Storage>(&mut self, common: &mut Common<S>, reads: impl IntoIterator<Item = Read>) {
        let index = common.log.committed();
        let alone = common.membership.voters().is_only(common.id());
        let leased = self.holds_lease(common);
        let round = self.reads.round.saturating_add(1);
        let waiting = self.reads.pending.len();
        for read in reads {
            if alone || (leased && read.mode == ReadMode::Lease) {
                answer(common, read, index);
            } else {
                self.reads.pending.push_back(PendingRead { read, index, round });
            }
        }
        if self.reads.pending.len() > waiting {
            self.beat(common);
        }
    }

    /// The number of the round that begins now, as it travels; nothing if nobody depends on it.
    pub(super) fn begin_round<S: Storage>(&mut self, common: &Common<S>) -> Option<Bytes> {
        self.round_due = false;
        if self.reads.lease.is_none() && self.reads.pending.is_empty() {
            return None;
        }
        self.begin_round_of_reads(common)
    }

    #[inline(never)]
    fn begin_round_of_reads<S: Storage>(&mut self, common: &Common<S>) -> Option<Bytes> {
        let now = common.clock.now();
        let reads = &mut self.reads;
        let lease =
            reads.lease.as_mut().filter(|lease| common.config.lease_reads && now < lease.wanted_until);
        if lease.is_none() && reads.pending.is_empty() {
            return None;
        }
        reads.round = reads.round.saturating_add(1);
        if let Some(Lease { sent, .. }) = lease.map(AsMut::as_mut) {
            if sent.back().is_some_and(|(_, tick)| *tick == now) {
                sent.pop_back();
            }
            sent.push_back((reads.round, now));
            // What is older than a lease can't begin one.
            let oldest = now.saturating_sub(u64::from(common.clock.election_ticks()));
            while sent.front().is_some_and(|(_, tick)| *tick < oldest) {
                sent.pop_front();
            }
        }
        Some(Bytes::copy_from_slice(&reads.round.to_be_bytes()))
    }

    /// A peer repeats the context of a heartbeat. One that this leader never sent proves nothing.
    pub(super) fn on_round_answered<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        context: &[u8],
    ) {
        let Ok(round) = context.try_into().map(u64::from_be_bytes) else { return };
        if round > self.reads.round {
            return;
        }
        let Some(peer) = self.progress.get_mut(from) else { return };
        peer.on_round(round);
        self.release_confirmed(common);
    }

    /// Answers the reads whose round a quorum has answered.
    pub(super) fn release_confirmed<S: Storage>(&mut self, common: &mut Common<S>) {
        let Leader { progress, reads, .. } = self;
        let me = common.id();
        let answered = |id| {
            let round =
                if id == me { reads.round } else { progress.get(id).map_or(0, |peer| peer.acked_round()) };
            Index::new(round)
        };
        let Some(quorum) = common.membership.voters().committed_index(answered).map(Index::get) else {
            return;
        };
        while let Some(pending) = reads.pending.pop_front() {
            if pending.round > quorum {
                reads.pending.push_front(pending);
                break;
            }
            answer(common, pending.read, pending.index);
        }
        let Some(Lease { sent, quorum_heard, .. }) = reads.lease.as_deref_mut() else { return };
        while let Some((_, tick)) = sent.front().copied().filter(|(round, _)| *round <= quorum) {
            sent.pop_front();
            *quorum_heard = Some(tick);
        }
    }

    /// The members have changed: who promised isn't a quorum of the new configuration, perhaps. The next round is of all.
    pub(super) fn end_lease(&mut self) {
        if let Some(lease) = &mut self.reads.lease {
            lease.quorum_heard = None;
            lease.sent.clear();
        }
    }

    /// Has a quorum promised not to elect another leader yet?
    pub(crate) fn holds_lease<S: Storage>(&self, common: &Common<S>) -> bool {
        if self.gave_up_lease || self.transferee.is_some() || !common.config.lease_reads {
            return false;
        }
        let Some(heard) = self.reads.lease.as_ref().and_then(|lease| lease.quorum_heard) else {
            return false;
        };
        let elapsed = common.clock.now().saturating_sub(heard);
        let margin = u64::from(common.config.lease_drift_ticks).saturating_add(1);
        elapsed.saturating_add(margin) < u64::from(common.clock.election_ticks())
    }
}

/// The state machine may serve the read when it has applied `index`.
fn answer<S: Storage>(common: &mut Common<S>, read: Read, index: Index) {
    let Read { origin, context, mode: _ } = read;
    match origin {
        Origin::Local => common.outbox.rare().read_states.push(ReadState { index, context }),
        Origin::Remote { from, id } => {
            common.send(from, Body::ReadIndexReply(ReadIndexReply { id, context, index }));
        }
    }
}
