//! A follower (§5.2).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, Entry, Heartbeat, Index, NodeId, Propose, ReadIndex,
    ReadIndexReply, Snapshot, TransferLeader,
};

use super::common::{Common, MAX_PENDING_READS, Next};
use super::snapshot::{self, SnapshotPlan};
use crate::error::{ProposeError, ReadError, TransferError};
use crate::log::AppendPlan;
use crate::report::{DroppedRead, ReadMode, ReadState};
use crate::storage::Storage;
use crate::trace::{debug, info};

/// A node that follows a leader, or waits for one.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Follower {
    pub(crate) leader: Option<NodeId>,
    /// The election timer ran out, and runs again only because this node couldn't campaign: that is no word from the leader.
    pub(crate) leader_is_silent: bool,
    /// Nothing until a read is passed on.
    reads: Option<Box<ForwardedReads>>,
}

/// Reads that were passed on to the leader, oldest first.
#[derive(Clone, Debug, Default, Hash)]
struct ForwardedReads(VecDeque<ForwardedRead>);

#[derive(Clone, Debug, Hash)]
struct ForwardedRead {
    id: u64,
    context: Bytes,
    /// The tick at which it was passed on.
    since: u64,
}

impl Follower {
    pub(crate) fn of(leader: Option<NodeId>) -> Follower {
        Follower { leader, ..Follower::default() }
    }

    /// A word from the leader: wait for it again.
    #[inline]
    fn hear<S: Storage>(&mut self, common: &mut Common<S>, leader: NodeId) {
        common.clock.restart_election();
        self.leader_is_silent = false;
        if self.leader != Some(leader) {
            // A term has one leader (§5.2): this is the first that is heard of it, or the end of an interval in
            // which it was forgotten.
            self.leader = Some(leader);
            common.news = true;
            info!(common.trace, "leader heard", "leader" => leader, "term" => common.term);
        }
    }

    /// AppendEntries (§5.3): the plan says what it means for the log.
    #[inline(always)]
    pub(crate) fn on_append<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        append: &mut AppendEntries,
        plan: AppendPlan,
    ) {
        self.hear(common, from);
        let reply = match plan {
            AppendPlan::BeforeCommit => AppendEntriesReply::Accepted { index: common.log.committed() },
            AppendPlan::Append { known } => {
                // The acknowledgement and the commit index go no further than what this message vouches for: behind it
                // the log may hold entries that never were the leader's.
                let last = append.entries.last().map_or(append.prev.index, |entry| entry.index);
                if known < append.entries.len() {
                    let prev = known.checked_sub(1).and_then(|at| append.entries.get(at));
                    let prev = prev.map_or(append.prev, Entry::position);
                    let all = core::mem::take(&mut append.entries);
                    common.log.append(prev, if known == 0 { all } else { all.slice(known..) });
                }
                common.log.commit_to(append.commit.min(last));
                AppendEntriesReply::Accepted { index: last }
            }
            AppendPlan::Reject { hint } => {
                debug!(common.trace, "append rejected", "from" => from, "prev" => append.prev, "hint" => hint);
                AppendEntriesReply::Rejected { rejected: append.prev.index, hint }
            }
        };
        if let AppendEntriesReply::Accepted { index } = reply {
            common.regain(index);
        }
        common.send(from, Body::AppendEntriesReply(reply));
    }

    /// A heartbeat. Its commit index lies within what the leader counts on; `missing` is as far as that goes, if this log
    /// doesn't hold it. Then this node lost data and answers no more, so that nobody counts on it.
    #[inline(always)]
    pub(crate) fn on_heartbeat<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        heartbeat: &mut Heartbeat,
        missing: Option<Index>,
    ) -> Next {
        self.hear(common, from);
        if let Some(relied) = missing {
            common.lose(relied);
            return Next::Stay;
        }
        // What the leader counts on, and no longer knows the term of, may be something else here: another tells what is committed.
        let relied = heartbeat.relied;
        if relied.index.is_zero() || !relied.term.is_zero() {
            common.log.commit_to(heartbeat.commit);
        }
        if !heartbeat.context.is_empty() {
            common.promise();
        }
        common.answer_heartbeat(from, core::mem::take(&mut heartbeat.context));
        common.ask_for_snapshot(from);
        Next::Stay
    }

    /// InstallSnapshot (§7).
    #[inline(never)]
    pub(crate) fn on_snapshot<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        snapshot: Snapshot,
        plan: SnapshotPlan,
    ) -> Next {
        self.hear(common, from);
        snapshot::install(common, from, snapshot, plan);
        Next::Stay
    }

    /// Passes proposals on to the leader. `from` proposed them.
    pub(crate) fn propose<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        entries: &mut Vec<Entry>,
    ) -> Result<NodeId, ProposeError> {
        let leader = self.leader.ok_or(ProposeError::NoLeader)?;
        if !common.config.forward_proposals {
            return Err(ProposeError::NotLeader { leader });
        }
        let entries = entries.drain(..).collect();
        common.pass_on(from, leader, Body::Propose(Propose { entries }));
        Ok(leader)
    }

    /// Passes the wish to hand leadership over on to the leader.
    pub(crate) fn transfer_leader<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        transferee: NodeId,
    ) -> Result<(), TransferError> {
        let leader = self.leader.ok_or(TransferError::NoLeader)?;
        common.send(leader, Body::TransferLeader(TransferLeader { transferee }));
        Ok(())
    }

    /// The leader is gone, says the caller: this node may vote for another. The reads that were passed on won't be answered.
    pub(crate) fn forget_leader<S: Storage>(&mut self, common: &mut Common<S>) {
        self.leader = None;
        common.news = true;
        for read in self.reads.take().into_iter().flat_map(|reads| reads.0) {
            common.drop_read(DroppedRead { context: read.context, reason: ReadError::LeaderChanged });
        }
    }

    /// The state machine needs a snapshot. The leader is asked for one now and with each heartbeat, until it came.
    pub(crate) fn want_snapshot<S: Storage>(&mut self, common: &mut Common<S>) {
        common.log.want_snapshot();
        if let Some(leader) = self.leader {
            common.ask_for_snapshot(leader);
        }
    }

    /// Asks the leader for a read index.
    pub(crate) fn read_index<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        context: Bytes,
        mode: ReadMode,
    ) -> Result<(), ReadError> {
        let leader = self.leader.ok_or(ReadError::NoLeader)?;
        if self.pending_reads() >= MAX_PENDING_READS {
            return Err(ReadError::TooManyPending);
        }
        let id = common.next_read;
        // Zero is the number of a request that has none.
        common.next_read = id.checked_add(1).unwrap_or(1);
        let read = ForwardedRead { id, context: context.clone(), since: common.clock.now() };
        self.reads.get_or_insert_default().0.push_back(read);
        common.clock.wake();
        let body = Body::ReadIndex(ReadIndex { id, context, lease: mode == ReadMode::Lease });
        common.pass_on(common.id(), leader, body);
        Ok(())
    }

    /// Another node believes that this one leads: whoever does may answer it.
    #[inline(never)]
    pub(crate) fn pass_on_read<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        read: ReadIndex,
    ) -> Next {
        match self.leader {
            Some(leader) if leader != from => common.pass_on(from, leader, Body::ReadIndex(read)),
            Some(_) | None => debug!(common.trace, "read not passed on", "from" => from),
        }
        Next::Stay
    }

    /// The leader's answer to a read. Its number must be that of one that waits, so that a late answer to an earlier
    /// read never confirms another one with the same context.
    #[inline(never)]
    pub(crate) fn on_read_reply<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        reply: &ReadIndexReply,
    ) -> Next {
        let matches = |read: &ForwardedRead| {
            if reply.id == 0 { read.context == reply.context } else { read.id == reply.id }
        };
        let found = self.reads.as_mut().and_then(|reads| {
            let at = reads.0.iter().position(matches)?;
            reads.0.remove(at)
        });
        match found {
            Some(read) => {
                common
                    .outbox
                    .rare()
                    .read_states
                    .push(ReadState { index: reply.index, context: read.context });
            }
            None => debug!(common.trace, "answer to no read", "index" => reply.index),
        }
        Next::Stay
    }

    /// One tick. Returns whether it is time to campaign.
    pub(crate) fn tick<S: Storage>(&mut self, common: &mut Common<S>) -> bool {
        while common.clock.now() >= self.read_gives_up_at(common)
            && let Some(read) = self.reads.as_mut().and_then(|reads| reads.0.pop_front())
        {
            common.drop_read(DroppedRead { context: read.context, reason: ReadError::TimedOut });
        }
        common.is_promotable() && common.clock.election_due()
    }

    /// The tick at which the oldest read gives up.
    fn read_gives_up_at<S: Storage>(&self, common: &Common<S>) -> u64 {
        let limit = u64::from(common.clock.election_ticks()).saturating_mul(2);
        let oldest = self.reads.as_ref().and_then(|reads| reads.0.front());
        oldest.map_or(u64::MAX, |read| read.since.saturating_add(limit))
    }

    /// The first tick at which there may be something to do.
    pub(crate) fn next_due<S: Storage>(&self, common: &Common<S>) -> u64 {
        common.clock.election_at().min(self.read_gives_up_at(common))
    }

    /// The reads whose answer no longer counts.
    pub(crate) fn into_reads(self) -> impl Iterator<Item = Bytes> {
        self.reads.into_iter().flat_map(|reads| reads.0).map(|read| read.context)
    }

    /// Was a read with this context passed on, and not answered?
    pub(crate) fn is_reading(&self, context: &[u8]) -> bool {
        self.reads.iter().flat_map(|reads| &reads.0).any(|read| read.context == context)
    }

    pub(crate) fn pending_reads(&self) -> usize {
        self.reads.as_ref().map_or(0, |reads| reads.0.len())
    }
}
