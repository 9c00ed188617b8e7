//! The leader (§5.3, §5.4).

mod read_index;
mod reconfigure;
mod replication;
mod transfer;

use alloc::vec::Vec;

use bytes::Bytes;
use raft_proto::{Entries, Entry, Index, NodeId, Payload};

use super::common::{Common, Next, Timer};
use crate::config::Config;
use crate::error::ProposeError;
use crate::log::Own;
use crate::progress::{Progress, ProgressTable, Window};
use crate::report::{ConfChangeRefusal, TransferEnd};
use crate::storage::Storage;
use crate::trace::{Ids, debug, info};

pub(crate) use read_index::{Origin, Read};

use read_index::Reads;
use replication::Batch;

/// The node that handles the clients' requests.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Leader {
    /// What is known of each peer.
    pub(crate) progress: ProgressTable,
    /// The index of the empty entry at the start of this term: every entry from here on is of this term.
    term_start: Index,
    /// Payload bytes that were appended in this term and aren't applied here yet.
    uncommitted: u64,
    reads: Reads,
    /// A quorum was heard so recently that it needn't be counted before this tick.
    quorum_until: u64,
    /// The tick of the next heartbeats.
    heartbeat_at: u64,
    /// No membership change is appended before this index is applied.
    conf_gate: Index,
    /// To whom leadership is being handed over.
    transferee: Option<NodeId>,
    /// Somebody was told to campaign: followers no longer keep to a lease.
    gave_up_lease: bool,
    /// Something was appended or committed that the followers are told with the next `Ready`.
    unsent: bool,
    /// The next round of heartbeats is made when the next `Ready` is cut, which there is for it.
    round_due: bool,
}

/// What may be on its way to a peer.
fn window(config: &Config) -> Window {
    Window { messages: config.max_inflight_messages, bytes: config.max_inflight_bytes }
}

fn next_heartbeat<S: Storage>(common: &Common<S>) -> u64 {
    common.clock.now().saturating_add(u64::from(common.config.heartbeat_ticks))
}

/// The leader acknowledges its log to itself when that is durable, as any peer does.
fn acknowledge<S: Storage>(common: &mut Common<S>) {
    common.tell_self(common.term, Own::Accepted(common.log.last().index));
}

/// What was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) first: Index,
    pub(crate) last: Index,
    /// Why a membership change among it was replaced by an empty entry.
    pub(crate) refused: Option<ConfChangeRefusal>,
}

impl Leader {
    /// Takes office: nothing is known of the peers, and an empty entry starts the term, since only an entry of the
    /// current term can be committed by counting (§5.4.2, §8).
    pub(crate) fn new<S: Storage>(common: &mut Common<S>) -> Leader {
        let last = common.log.last().index;
        let window = window(&common.config);
        let progress = ProgressTable::new(&common.membership.members(), |id| {
            if id == common.id() {
                Progress::of_leader(last, window)
            } else {
                Progress::new(last.next(), window)
            }
        });
        let mut leader = Leader {
            progress,
            term_start: last.next(),
            uncommitted: 0,
            reads: Reads::default(),
            quorum_until: common.clock.now().saturating_add(u64::from(common.clock.election_ticks())),
            heartbeat_at: next_heartbeat(common),
            conf_gate: last,
            transferee: None,
            gave_up_lease: false,
            unsent: false,
            round_due: false,
        };
        let entry = Entry { payload: Payload::TermStart, term: common.term, index: leader.term_start };
        common.log.append(common.log.last(), core::iter::once(entry).collect::<Entries>());
        acknowledge(common);
        common.outbox.expect(leader.progress.len().saturating_sub(1), false);
        leader.broadcast_append(common);
        leader
    }

    /// Is an entry of this term committed? Until then the commit index may lie behind what earlier leaders committed.
    pub(crate) fn has_committed_in_term<S: Storage>(&self, common: &Common<S>) -> bool {
        common.log.committed() >= self.term_start
    }

    /// Is an entry of this term applied?
    pub(crate) fn has_applied_in_term<S: Storage>(&self, common: &Common<S>) -> bool {
        common.log.applied() >= self.term_start
    }

    /// The index of the first entry of this term.
    pub(crate) fn term_start(&self) -> Index {
        self.term_start
    }

    pub(crate) fn uncommitted(&self) -> u64 {
        self.uncommitted
    }

    pub(crate) fn pending_reads(&self) -> usize {
        self.reads.len()
    }

    /// Appends proposals to the log and sends them out. A membership change that can't be made now is appended as an empty
    /// entry in its place, so that what was proposed with it keeps its order; the reason comes with the result. Takes the entries
    /// out of the buffer in which they come.
    pub(crate) fn propose<S: Storage>(
        &mut self,
        common: &mut Common<S>,
        entries: &mut Vec<Entry>,
    ) -> Result<Appended, ProposeError> {
        if !common.membership.contains(common.id()) {
            return Err(ProposeError::NotInConfiguration);
        }
        if let Some(to) = self.transferee {
            return Err(ProposeError::Transferring { to });
        }
        let first = common.log.last().index.next();
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        if common.log.last().index.plus(count) > Index::LIMIT {
            return Err(ProposeError::LogFull);
        }
        let mut gate = self.conf_gate;
        let mut refused = None;
        let mut bytes: u64 = 0;
        for (entry, ahead) in entries.iter_mut().zip(0..) {
            if let Some(change) = entry.payload.as_conf_change()
                && let Err(refusal) = reconfigure::admit(common, &change, first.plus(ahead), &mut gate)
            {
                refused = Some(refusal);
                entry.payload = Payload::RefusedChange;
            }
            bytes = bytes.saturating_add(entry.payload.len());
        }
        let limit = common.config.max_uncommitted_bytes;
        if self.uncommitted > 0 && bytes > 0 && self.uncommitted.saturating_add(bytes) > limit {
            debug!(common.trace, "proposal refused", "uncommitted" => self.uncommitted, "bytes" => bytes);
            return Err(ProposeError::OverUncommittedLimit { limit });
        }
        self.conf_gate = gate;
        self.uncommitted = self.uncommitted.saturating_add(bytes);
        self.append(common, entries);
        if !common.config.batch_messages {
            acknowledge(common);
        }
        self.spread(common);
        Ok(Appended { first, last: common.log.last().index, refused })
    }

    /// Appends entries of this term, whose positions follow from where they are put.
    fn append<S: Storage>(&mut self, common: &mut Common<S>, entries: &mut Vec<Entry>) {
        let term = common.term;
        let mut index = common.log.last().index;
        for entry in entries.iter_mut() {
            index = index.next();
            entry.term = term;
            entry.index = index;
        }
        common.log.append_own(entries);
    }

    /// One tick: check the quorum (thesis §6.2), send heartbeats.
    pub(crate) fn tick<S: Storage>(&mut self, common: &mut Common<S>) -> Next {
        let check_quorum = common.config.check_quorum;
        let period_over = common.clock.take_quorum_check_due();
        let lost = if common.config.check_quorum_each_tick {
            common.clock.now() >= self.quorum_until && self.is_quorum_silent(common)
        } else {
            period_over && !self.is_quorum_active(common)
        };
        if check_quorum && lost {
            let silent = |id: &NodeId| self.progress.get(*id).is_some_and(|peer| !peer.recently_active);
            let silent: Vec<NodeId> = common.membership.voters().voters().filter(silent).collect();
            info!(common.trace, "quorum lost", "term" => common.term, "silent" => Ids(&silent));
            return Next::Follow { term: common.term, leader: None, timer: Timer::Restart };
        }
        if period_over {
            let me = common.id();
            for (id, peer) in self.progress.iter_mut().filter(|_| check_quorum) {
                peer.recently_active = id == me;
            }
            self.end_transfer(common, TransferEnd::TimedOut);
        }
        if common.clock.now() >= self.heartbeat_at {
            self.heartbeat_at = next_heartbeat(common);
            self.beat(common);
        }
        Next::Stay
    }

    /// The first tick at which there is something to do.
    pub(crate) fn next_due<S: Storage>(&self, common: &Common<S>) -> u64 {
        let each_tick = common.config.check_quorum && common.config.check_quorum_each_tick;
        let quorum_until = if each_tick { self.quorum_until } else { u64::MAX };
        self.heartbeat_at.min(common.clock.quorum_check_at()).min(quorum_until)
    }

    /// Gives back the memory of buffers that hold nothing.
    pub(crate) fn shrink_to_fit(&mut self) {
        for (_, peer) in self.progress.iter_mut() {
            peer.shrink_to_fit();
        }
        self.reads.shrink_to_fit();
    }

    /// Was a quorum heard since all were marked silent?
    fn is_quorum_active<S: Storage>(&self, common: &Common<S>) -> bool {
        let me = common.id();
        let active = |id| id == me || self.progress.get(id).is_some_and(|peer| peer.recently_active);
        common.membership.voters().is_quorum(active)
    }

    /// Was no quorum heard for an election time-out? If one was, the question needn't be asked again before one has passed
    /// since.
    fn is_quorum_silent<S: Storage>(&mut self, common: &Common<S>) -> bool {
        let (me, now) = (common.id(), common.clock.now());
        let heard = |id| if id == me { now } else { self.progress.get(id).map_or(0, Progress::last_heard) };
        // The quorum index, of ticks: some quorum was heard at or after this one, and none after it.
        let voters = common.membership.voters();
        let quorum = voters.committed_index(|id| Index::new(heard(id))).map_or(now, Index::get);
        self.quorum_until = quorum.saturating_add(u64::from(common.clock.election_ticks()));
        now >= self.quorum_until
    }

    /// Entries with this much payload are applied.
    pub(crate) fn on_applied(&mut self, bytes: u64) {
        self.uncommitted = self.uncommitted.saturating_sub(bytes);
    }

    /// The reads of this node whose confirmation ends with this leadership.
    pub(crate) fn into_reads(self) -> impl Iterator<Item = Bytes> {
        self.reads.into_local()
    }

    /// Tells the followers what was appended or committed: now, or with the next `Ready`, which there is for either.
    fn spread<S: Storage>(&mut self, common: &mut Common<S>) {
        if common.config.batch_messages {
            self.unsent = true;
        } else {
            self.broadcast_append(common);
        }
    }

    /// Sends heartbeats: now, or with the next `Ready`, which there is for them.
    pub(crate) fn beat<S: Storage>(&mut self, common: &mut Common<S>) {
        if common.config.batch_messages && (self.round_due || self.progress.has_others(common.id())) {
            self.round_due = true;
        } else {
            self.broadcast_heartbeat(common);
        }
    }

    pub(crate) fn is_round_due(&self) -> bool {
        self.round_due
    }

    /// Does anything wait for a `Ready` to be cut?
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent || self.round_due
    }

    /// A `Ready` is being cut: what waited for it is sent.
    pub(crate) fn send_unsent<S: Storage>(&mut self, common: &mut Common<S>) {
        if self.round_due {
            self.broadcast_heartbeat(common);
        }
        if core::mem::take(&mut self.unsent) {
            self.tell_of_log(common);
        }
    }

    /// Tells the followers, and when it is durable this node itself, how far the log goes and is committed. Apart, since most
    /// `Ready`s of a leader are of heartbeats.
    #[inline(never)]
    fn tell_of_log<S: Storage>(&mut self, common: &mut Common<S>) {
        if common.log.has_unwritten() {
            acknowledge(common);
        }
        self.send_what_is_due(common);
        self.tell_commit_to_all(common);
    }

    fn broadcast_append<S: Storage>(&mut self, common: &mut Common<S>) {
        let me = common.id();
        let mut batch = Batch::default();
        for (id, peer) in self.progress.iter_mut() {
            if id != me {
                replication::send_append(common, id, peer, replication::Empty::Allowed, &mut batch);
            }
        }
    }
}
