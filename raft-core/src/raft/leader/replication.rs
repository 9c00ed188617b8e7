//! Sending the log, and counting the acknowledgements (§5.3, §5.4; pipelining: thesis §10.2.1).

use raft_proto::{
    AppendEntries, Body, Entries, Heartbeat, Index, InstallSnapshot, LogPosition, NodeId, Snapshot,
    SnapshotMetadata,
};

use super::Leader;
use crate::config::Config;
use crate::error::StepError;
use crate::membership::Configuration;
use crate::progress::{Progress, ProgressState, Window};
use crate::raft::common::{Common, Next};
use crate::report::SnapshotStatus;
use crate::storage::{Inconsistency, Storage, StorageError};
use crate::trace::{debug, info};

/// May an append without entries be sent, to tell the commit index or to find out where the logs agree?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Empty {
    Allowed,
    NotAllowed,
}

/// The entries that were read last: the peers of a broadcast that are equally far share them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    first: Index,
    entries: Entries,
}

impl Batch {
    /// The entries from `first` on, up to the limit of one message.
    fn from<S: Storage>(&mut self, common: &mut Common<S>, first: Index) -> Result<Entries, StorageError> {
        if first > common.log.last().index {
            return Ok(Entries::default());
        }
        if self.entries.is_empty() || self.first != first {
            self.entries = common.log.batch_from(first, common.config.max_message_bytes)?;
            self.first = first;
        }
        Ok(self.entries.clone())
    }
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    No,
    /// The part of the log that the peer lacks is compacted away.
    NeedsSnapshot,
}

/// Sends a peer the next part of the log, or a snapshot if that part is compacted away. Returns whether anything was
/// sent.
pub(super) fn send_append<S: Storage>(
    common: &mut Common<S>,
    to: NodeId,
    peer: &mut Progress,
    empty: Empty,
    batch: &mut Batch,
) -> bool {
    match send_log(common, to, peer, empty, batch) {
        Sent::Yes => true,
        Sent::No => false,
        Sent::NeedsSnapshot => send_snapshot(common, to, peer),
    }
}

/// Sends a peer as much of the log as its window holds.
fn send_window<S: Storage>(common: &mut Common<S>, to: NodeId, peer: &mut Progress, batch: &mut Batch) {
    while peer.next_index() <= common.log.last().index
        && send_append(common, to, peer, Empty::NotAllowed, batch)
    {}
}

/// Sends a peer the next part of the log, if it is there.
pub(super) fn send_log<S: Storage>(
    common: &mut Common<S>,
    to: NodeId,
    peer: &mut Progress,
    empty: Empty,
    batch: &mut Batch,
) -> Sent {
    if peer.is_paused() {
        return Sent::No;
    }
    let prev = peer.next_index().prev();
    let read = common.log.term(prev).and_then(|term| {
        let full = peer.is_full();
        let entries = if full { Entries::default() } else { batch.from(common, peer.next_index())? };
        Ok((term, entries))
    });
    let (term, entries) = match read {
        Ok(read) => read,
        Err(StorageError::Compacted | StorageError::Unavailable) => return Sent::NeedsSnapshot,
        Err(
            error @ (StorageError::Fetching
            | StorageError::SnapshotTemporarilyUnavailable
            | StorageError::Inconsistent(_)
            | StorageError::Other(_)),
        ) => {
            common.storage_failed(&error);
            return Sent::No;
        }
    };
    if entries.is_empty() && empty == Empty::NotAllowed {
        return Sent::No;
    }
    let commit = common.log.committed();
    let last = entries.last().map_or(prev, |entry| entry.index);
    peer.on_sent(entries.len(), last, entries.payload_len(), commit);
    let prev = LogPosition::new(term, prev);
    common.send(to, Body::AppendEntries(AppendEntries { prev, entries, commit }));
    Sent::Yes
}

/// Sends a peer a snapshot (§7), if it was heard recently: one that can't be reached would only cost the work.
fn send_snapshot<S: Storage>(common: &mut Common<S>, to: NodeId, peer: &mut Progress) -> bool {
    if !peer.recently_active {
        debug!(common.trace, "no snapshot for a peer that is silent", "to" => to);
        return false;
    }
    let snapshot = match read_snapshot(common, to, Index::ZERO) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            common.storage_failed(&error);
            return false;
        }
    };
    info!(common.trace, "snapshot sent", "to" => to, "position" => snapshot.position(),
        "match" => peer.match_index(), "next" => peer.next_index());
    peer.become_snapshot(snapshot.metadata.index);
    common.send(to, Body::InstallSnapshot(InstallSnapshot { snapshot }.into()));
    true
}

/// A snapshot from whose end the log can follow, and whose configuration names whom it is for: a node refuses any other, and
/// would be sent it again without end. One that isn't like that is an error of the storage, which is counted.
fn read_snapshot<S: Storage>(
    common: &Common<S>,
    to: NodeId,
    at_least: Index,
) -> Result<Snapshot, StorageError> {
    let at_least = common.log.first_index()?.prev().max(common.changed_at).max(at_least);
    let snapshot = common.log.storage().snapshot(at_least, to)?;
    let SnapshotMetadata { conf_state, index, term } = &snapshot.metadata;
    let wrong = if index.is_zero() {
        Inconsistency::EmptySnapshot
    } else if *index > Index::LIMIT || *term > common.term {
        Inconsistency::OutOfRange
    } else if *index < at_least {
        Inconsistency::SnapshotTooOld
    } else {
        match Configuration::from_conf_state(conf_state) {
            Ok(members) if members.contains(to) => return Ok(snapshot),
            Ok(_) => Inconsistency::SnapshotForOthers,
            Err(_) => Inconsistency::SnapshotConfState,
        }
    };
    Err(StorageError::Inconsistent(wrong))
}

impl Leader {
    /// A peer, perhaps this node itself, has the log up to `index` on its disk.
    pub(crate) fn on_accepted<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        index: Index,
    ) -> Result<(), StepError> {
        let last = common.log.last().index;
        if index > last {
            return Err(StepError::AckBeyondLog { acked: index, last });
        }
        let Some(peer) = self.progress.get_mut(from) else { return Ok(()) };
        let first_index = if peer.is_snapshot() { Some(common.log.first_index()?) } else { None };
        peer.hear(common.clock.now());
        if index < peer.match_index() || (index == peer.match_index() && !peer.is_probe()) {
            return Ok(());
        }
        peer.on_match(index);
        match peer.state() {
            ProgressState::Probe => peer.become_replicate(),
            ProgressState::Replicate(_) => peer.free_up_to(index),
            // Whatever brought it here, the log continues from its match on.
            ProgressState::Snapshot { .. } if first_index.is_some_and(|first| index.next() >= first) => {
                info!(common.trace, "peer is past its snapshot", "peer" => from, "match" => index);
                peer.become_probe();
                peer.become_replicate();
            }
            ProgressState::Snapshot { .. } => {}
        }
        // What is committed already needs no count.
        let news = index > common.log.committed() && self.maybe_commit(common);
        if news {
            self.release_early_reads(common);
        }
        // A membership change is told even if nothing else is: others may have to act on it.
        let tells = !common.config.skip_commit_broadcast || self.conf_gate > common.log.applied();
        if news && tells {
            self.spread(common);
        }
        if from != common.id() {
            // What waits for the next `Ready` goes to all peers then, who share it.
            if !self.unsent {
                self.send_next(common, from, tells && !news);
            }
            self.continue_transfer(common, from);
        }
        Ok(())
    }

    /// A peer has no entry at `rejected`; its log can agree at most up to `hint` (§5.3).
    #[inline(never)]
    pub(crate) fn on_rejected<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        rejected: Index,
        hint: LogPosition,
    ) -> Result<(), StepError> {
        let agree = match hint.term.is_zero() {
            true => hint.index,
            false => common.log.last_not_above(hint.index, hint.term)?.index,
        };
        let Some(peer) = self.progress.get_mut(from) else { return Ok(()) };
        peer.hear(common.clock.now());
        if peer.on_reject(rejected, agree) {
            debug!(common.trace, "peer rejected", "peer" => from, "rejected" => rejected, "hint" => hint,
                "next" => peer.next_index());
            send_append(common, from, peer, Empty::Allowed, &mut Batch::default());
        }
        Ok(())
    }

    /// A peer's state machine needs a snapshot. It asks until it has one; one at a time is on its way.
    #[inline(never)]
    pub(crate) fn on_snapshot_wanted<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        at_least: Index,
    ) -> Next {
        let Some(peer) = self.progress.get_mut(from) else { return Next::Stay };
        peer.hear(common.clock.now());
        if peer.awaits_wanted_snapshot() {
            return Next::Stay;
        }
        match read_snapshot(common, from, at_least) {
            Ok(snapshot) => {
                info!(common.trace, "snapshot sent", "to" => from, "position" => snapshot.position(),
                    "wanted" => at_least);
                peer.on_wanted_snapshot_sent();
                common.send(from, Body::InstallSnapshot(InstallSnapshot { snapshot }.into()));
            }
            Err(error) => common.storage_failed(&error),
        }
        Next::Stay
    }

    /// A peer answered a heartbeat: it lives, so what it lacks is sent (again).
    #[inline(always)]
    pub(crate) fn on_heartbeat_reply<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        from: NodeId,
        context: &[u8],
    ) -> Next {
        let Some(peer) = self.progress.get_mut(from) else { return Next::Stay };
        peer.hear(common.clock.now());
        peer.resume();
        if peer.match_index() < common.log.last().index || peer.is_probe() {
            send_append(common, from, peer, Empty::Allowed, &mut Batch::default());
        }
        if !context.is_empty() {
            self.on_round_answered(common, from, context);
        }
        Next::Stay
    }

    /// Commits what a quorum has, if that includes an entry of this term (§5.4.2). Returns whether that is news.
    pub(super) fn maybe_commit<S: Storage>(&mut self, common: &mut Common<S>) -> bool {
        self.quorum_index(common).is_some_and(|index| index >= self.term_start && common.log.commit_to(index))
    }

    /// The largest index that enough voters have.
    pub(crate) fn quorum_index<S: Storage>(&self, common: &Common<S>) -> Option<Index> {
        let voters = common.membership.voters();
        match &common.groups {
            None => voters.committed_index(|id| self.progress.match_index(id)),
            Some(groups) => voters.group_committed_index(|id| (self.progress.match_index(id), groups.of(id))),
        }
    }

    /// Is what is committed held by a quorum that spans two commit groups? `None` without groups, and before an entry of this
    /// term is applied: until then it isn't known what earlier leaders committed.
    pub(crate) fn is_group_consistent<S: Storage>(&self, common: &Common<S>) -> Option<bool> {
        let groups = common.groups.as_ref().filter(|_| self.has_applied_in_term(common))?;
        let holds = |id: &NodeId| self.progress.match_index(*id) >= common.log.committed();
        let group = |id| Some(id).filter(holds).map(|id| groups.of(id));
        Some(common.membership.voters().is_group_quorum(group))
    }

    /// What is enough has changed.
    pub(crate) fn recount<S: Storage>(&mut self, common: &mut Common<S>) {
        if self.maybe_commit(common) {
            self.release_early_reads(common);
            self.spread(common);
        }
    }

    /// Sends a peer as much as its window holds; before that, if it `tells`, the commit index that no message on its way does.
    fn send_next<S: Storage>(&mut self, common: &mut Common<S>, to: NodeId, tells: bool) {
        let Some(peer) = self.progress.get_mut(to) else { return };
        let mut batch = Batch::default();
        if tells && peer.lacks_commit(common.log.committed()) {
            send_append(common, to, peer, Empty::Allowed, &mut batch);
        }
        send_window(common, to, peer, &mut batch);
    }

    /// Tells the peers the commit index to whom no message on its way does.
    pub(super) fn tell_commit_to_all<S: Storage>(&mut self, common: &mut Common<S>) {
        if common.config.skip_commit_broadcast && self.conf_gate <= common.log.applied() {
            return;
        }
        let me = common.id();
        let commit = common.log.committed();
        let mut batch = Batch::default();
        for (id, peer) in self.progress.iter_mut().filter(|(id, _)| *id != me) {
            if peer.lacks_commit(commit) {
                send_append(common, id, peer, Empty::Allowed, &mut batch);
            }
        }
    }

    /// Sends to every peer what its window holds.
    pub(crate) fn send_what_is_due<S: Storage>(&mut self, common: &mut Common<S>) {
        let me = common.id();
        let mut batch = Batch::default();
        for (id, peer) in self.progress.iter_mut().filter(|(id, _)| *id != me) {
            send_window(common, id, peer, &mut batch);
        }
    }

    /// So many messages may be on their way to a peer. Returns false for an unknown one, and for none.
    pub(crate) fn set_max_inflight<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        to: NodeId,
        messages: u32,
    ) -> bool {
        let Some(peer) = self.progress.get_mut(to).filter(|_| messages > 0) else { return false };
        peer.set_window(Window { messages, ..peer.window() });
        self.send_what_is_due(common);
        true
    }

    /// The settings have changed: if that concerns the windows, those of all peers.
    pub(crate) fn on_reconfigured<S: Storage>(&mut self, common: &mut Common<S>, before: &Config) {
        let window = super::window(&common.config);
        if window == super::window(before) {
            return;
        }
        for (_, peer) in self.progress.iter_mut() {
            peer.set_window(window);
        }
        self.send_what_is_due(common);
    }

    /// Tells all peers that the leader lives, and how far each of them may commit.
    pub(crate) fn broadcast_heartbeat<S: Storage>(&mut self, common: &mut Common<S>) {
        let context = self.begin_round(common);
        let me = common.id();
        let commit = common.log.committed();
        for (id, peer) in self.progress.iter_mut() {
            if id != me {
                let index = peer.match_index();
                let relied = LogPosition::new(common.log.term(index).unwrap_or_default(), index);
                let commit = commit.min(index);
                peer.on_heartbeat_sent(commit);
                common.send_heartbeat(id, || {
                    let context = context.clone().unwrap_or_default();
                    Heartbeat { commit, relied, context }
                });
            }
        }
        // Where no other vote counts, the round is over.
        if context.is_some() {
            self.release_confirmed(common);
        }
    }

    /// A message to this peer couldn't be sent: those that follow it may be lost too.
    pub(crate) fn on_unreachable<S: Storage>(&mut self, common: &Common<S>, peer: NodeId) {
        let Some(progress) = self.progress.get_mut(peer) else { return };
        if matches!(progress.state(), ProgressState::Replicate(_)) && peer != common.id() {
            debug!(common.trace, "peer is unreachable", "peer" => peer, "match" => progress.match_index());
            progress.become_probe();
        }
    }

    /// The transfer of a snapshot to this peer has ended. Either way it is heard before more is sent.
    pub(crate) fn on_snapshot_reported<S: Storage>(
        &mut self,
        common: &Common<S>,
        peer: NodeId,
        status: SnapshotStatus,
    ) {
        let Some(progress) = self.progress.get_mut(peer) else { return };
        progress.on_wanted_snapshot_reported();
        if !progress.is_snapshot() {
            return;
        }
        info!(common.trace, "snapshot reported", "peer" => peer, "finished" => status == SnapshotStatus::Finished);
        if status == SnapshotStatus::Failed {
            progress.forget_snapshot();
        }
        progress.become_probe();
        progress.pause();
    }
}
