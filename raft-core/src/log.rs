//! The log (§5.3): one view over what the storage holds and what is not durable yet, with its cursors.
//!
//! ```text
//!     compacted │            in the storage               │        unstable
//!   ────────────┼──────────┬───────────┬──────────┬───────┼───────────────────────
//!                  applied ┘    handed ┘ committed ┘                         last ┘
//! ```
//!
//! `applied ≤ handed ≤ committed ≤ last`: entries up to `handed` were given out for application, those up to `applied`
//! are acknowledged.

mod check;
mod conflict;
mod in_flight;
mod pages;
#[cfg(test)]
mod tests;
mod unstable;

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::ops::Range;

use raft_proto::{Entries, Entry, HardState, Heartbeat, Index, LogPosition, Snapshot, Term};

use crate::batches::extended;
use crate::config::Config;
use crate::entry_batches::EntryBatches;
use crate::error::{AckError, StartError};
use crate::storage::{Inconsistency, Storage, StorageError};

pub(crate) use in_flight::{Own, OwnAnswer, Write};

use check::check_entries;
use in_flight::InFlight;
use pages::Pages;
use unstable::Unstable;

/// The log of a node.
#[derive(Clone, Debug)]
pub(crate) struct RaftLog<S> {
    storage: S,
    unstable: Unstable,
    in_flight: InFlight,
    pages: Pages,
    committed: Index,
    handed: Index,
    applied: Index,
    /// How much may be kept in memory only because it isn't handed out for application.
    max_kept_bytes: u64,
    /// The state machine waits for a snapshot of this index or above, and is given nothing to apply meanwhile. Zero if it
    /// doesn't wait.
    wanted: Index,
}

/// Without what is stored: that is the caller's, and what is kept of it in memory says nothing new.
impl<S> Hash for RaftLog<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let RaftLog {
            storage: _,
            unstable,
            in_flight,
            pages,
            committed,
            handed,
            applied,
            max_kept_bytes: _,
            wanted,
        } = self;
        wanted.hash(state);
        (unstable, in_flight, pages, committed, handed, applied).hash(state);
    }
}

/// What follows from an append that a leader sent (§5.3), before anything is changed.
#[derive(Clone, Debug)]
pub(crate) enum AppendPlan {
    /// Everything up to the commit index is known to agree.
    BeforeCommit,
    /// `prev` agrees. The first `known` of the entries are in the log already; the rest replaces what is there.
    Append {
        /// How many are there.
        known: usize,
    },
    /// There is no entry `prev`.
    Reject {
        /// Where the logs could agree.
        hint: LogPosition,
    },
}

/// How an append can be impossible.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// It would replace a committed entry.
    Conflict(Index),
    Storage(StorageError),
}

impl From<StorageError> for AppendError {
    fn from(error: StorageError) -> AppendError {
        AppendError::Storage(error)
    }
}

impl<S: Storage> RaftLog<S> {
    /// The log that a storage holds.
    pub(crate) fn new(storage: S, config: &Config, hard_state: &HardState) -> Result<RaftLog<S>, StartError> {
        let first = storage.first_index()?;
        let last = storage.last_index()?;
        if first.is_zero() || first > Index::LIMIT || last > Index::LIMIT {
            return Err(StorageError::Inconsistent(Inconsistency::OutOfRange).into());
        }
        let before = first.prev();
        if last < before {
            return Err(StorageError::Inconsistent(Inconsistency::LastBeforeFirst).into());
        }
        if hard_state.commit > last {
            return Err(StartError::CommitOutsideLog { commit: hard_state.commit, before, last });
        }
        let last_term = storage.term(last)?;
        if last_term > Term::LIMIT {
            return Err(StorageError::Inconsistent(Inconsistency::OutOfRange).into());
        }
        // A log that begins with a snapshot may name a term above the node's: clusters are started that way.
        if last >= first && last_term > hard_state.term {
            return Err(StartError::TermBelowLog { term: hard_state.term, last: last_term });
        }
        let applied = if config.applied.is_zero() { before } else { config.applied };
        if applied < before || applied > last {
            return Err(StartError::AppliedOutsideLog { applied, before, last });
        }
        Ok(RaftLog {
            storage,
            unstable: Unstable::new(LogPosition::new(last_term, last)),
            in_flight: InFlight::default(),
            pages: Pages::new(config),
            // Whatever was compacted away or applied was committed, though that may not have been written in time.
            committed: hard_state.commit.max(before).max(applied),
            handed: applied,
            applied,
            max_kept_bytes: config.max_inflight_bytes,
            wanted: Index::ZERO,
        })
    }

    pub(crate) fn set_limits(&mut self, config: &Config) {
        self.max_kept_bytes = config.max_inflight_bytes;
        self.pages.set_limits(config);
    }

    /// Gives back memory for what isn't unstable, in flight or being applied.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.unstable.shrink_to_fit();
        self.in_flight.shrink_to_fit();
        self.pages.shrink_to_fit();
    }

    pub(crate) fn storage(&self) -> &S {
        &self.storage
    }

    pub(crate) fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    pub(crate) fn committed(&self) -> Index {
        self.committed
    }

    pub(crate) fn applied(&self) -> Index {
        self.applied
    }

    /// The last index that was handed out for application.
    pub(crate) fn handed(&self) -> Index {
        self.handed
    }

    /// Where entries are neither in memory, which has those behind the first of these, nor known to be durable, as those up to the
    /// second are. There is no such gap, ever.
    pub(crate) fn gap_in_memory(&self) -> Option<(Index, Index)> {
        let (kept, durable) = (self.unstable.start().index, self.unstable.base().index);
        (kept > durable).then_some((kept, durable))
    }

    /// The last position, durable or not.
    #[inline(always)]
    pub(crate) fn last(&self) -> LogPosition {
        self.unstable.last()
    }

    /// The last index that is known to be durable.
    pub(crate) fn durable(&self) -> Index {
        if self.unstable.snapshot().is_some() { Index::ZERO } else { self.unstable.base().index }
    }

    /// The index of the first entry that can be read.
    pub(crate) fn first_index(&self) -> Result<Index, StorageError> {
        match self.unstable.snapshot() {
            Some(snapshot) => Ok(snapshot.metadata.index.next()),
            None => self.storage.first_index(),
        }
    }

    /// The term at `index`, also of the position right before the first entry.
    #[inline]
    pub(crate) fn term(&self, index: Index) -> Result<Term, StorageError> {
        match self.unstable.term(index) {
            Some(term) => Ok(term),
            None => self.stored_term(index),
        }
    }

    /// The term at an index that isn't in the unstable part.
    #[inline(never)]
    fn stored_term(&self, index: Index) -> Result<Term, StorageError> {
        if index > self.last().index {
            return Err(StorageError::Unavailable);
        }
        if self.unstable.snapshot().is_some() {
            return Err(StorageError::Compacted);
        }
        match self.storage.term(index)? {
            term if term > self.unstable.start().term => {
                Err(StorageError::Inconsistent(Inconsistency::TermsOutOfOrder))
            }
            term => Ok(term),
        }
    }

    /// Is this entry in the log? An index outside of it, below or above, is not.
    pub(crate) fn matches(&self, position: LogPosition) -> Result<bool, StorageError> {
        match self.term(position.index) {
            Ok(term) => Ok(term == position.term),
            Err(StorageError::Compacted | StorageError::Unavailable) => Ok(false),
            Err(
                error @ (StorageError::Fetching
                | StorageError::SnapshotTemporarilyUnavailable
                | StorageError::Inconsistent(_)
                | StorageError::Other(_)),
            ) => Err(error),
        }
    }

    /// As far as a leader counts on this log by its `heartbeat`, if this log doesn't hold that. What is compacted away was
    /// committed, and is held. (A leader that tells no more shows a loss by its commit index.)
    #[inline(always)]
    pub(crate) fn missing(&self, heartbeat: &Heartbeat) -> Result<Option<Index>, StorageError> {
        let Heartbeat { commit, relied, .. } = heartbeat;
        let counted = relied.index.max(*commit);
        if counted > self.last().index {
            return Ok(Some(counted));
        }
        if relied.term.is_zero() || *relied == self.last() {
            return Ok(None);
        }
        match self.term(relied.index) {
            Ok(term) if term != relied.term => Ok(Some(counted)),
            Ok(_) | Err(StorageError::Compacted | StorageError::Unavailable) => Ok(None),
            Err(
                error @ (StorageError::Fetching
                | StorageError::SnapshotTemporarilyUnavailable
                | StorageError::Inconsistent(_)
                | StorageError::Other(_)),
            ) => Err(error),
        }
    }

    /// The last position at or below `from` whose term is at most `term`; see [`conflict`].
    pub(crate) fn last_not_above(&self, from: Index, term: Term) -> Result<LogPosition, StorageError> {
        conflict::last_not_above(from, term, |index| self.term(index))
    }

    /// Is a log that ends at `last` at least as up to date as this one? (§5.4.1)
    pub(crate) fn is_up_to_date(&self, last: LogPosition) -> bool {
        last >= self.last()
    }

    /// The entries from `first` on, up to `max_bytes` of them; at least one if there is one. What a leader sends is nearly
    /// always the batch that it has just appended.
    pub(crate) fn batch_from(&mut self, first: Index, max_bytes: u64) -> Result<Entries, StorageError> {
        self.unstable.seal();
        self.read(first..self.last().index.next(), max_bytes)
    }

    /// Entries of this range, from the storage and from memory: as far as `max_bytes` go, but at least one.
    fn read(&self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError> {
        if range.start >= range.end {
            return Ok(Entries::default());
        }
        let kept = self.unstable.start();
        if range.start > kept.index {
            // What is durable is read from memory as it would be from the storage: a caller who dropped it from there too early
            // is to learn of that.
            if range.start <= self.durable() && range.start < self.storage.first_index()? {
                return Err(StorageError::Compacted);
            }
            return Ok(self.unstable.page(range, max_bytes));
        }
        if self.unstable.snapshot().is_some() {
            return Err(StorageError::Compacted);
        }
        let stored = range.start..range.end.min(kept.index.next());
        let page = self.storage.entries(stored.clone(), max_bytes)?;
        check_entries(&page, &stored, kept.term)?;
        if page.last().is_some_and(|last| last.index < kept.index) {
            return Ok(page);
        }
        Ok(extended(page, range, max_bytes, |next| self.unstable.from(next)))
    }

    /// What follows from an append of `entries` behind `prev`. Reads only.
    #[inline(always)]
    pub(crate) fn plan_append(
        &self,
        prev: LogPosition,
        entries: &Entries,
    ) -> Result<AppendPlan, AppendError> {
        if prev.index < self.committed {
            return Ok(AppendPlan::BeforeCommit);
        }
        // Nearly always it goes on where the log ends.
        if prev == self.last() {
            return Ok(AppendPlan::Append { known: 0 });
        }
        self.plan_replacement(prev, entries)
    }

    /// The same where it doesn't follow the last entry.
    fn plan_replacement(&self, prev: LogPosition, entries: &[Entry]) -> Result<AppendPlan, AppendError> {
        if !self.matches(prev)? {
            // What is committed here isn't in the leader's log: one of the two is corrupt, and no back-off would end.
            if prev.index == self.committed && self.term(prev.index).is_ok() && !prev.index.is_zero() {
                return Err(AppendError::Conflict(prev.index));
            }
            let from = prev.index.min(self.last().index);
            return Ok(AppendPlan::Reject { hint: self.last_not_above(from, prev.term)? });
        }
        let mut known: usize = 0;
        for entry in entries {
            if !self.matches(entry.position())? {
                if entry.index <= self.committed {
                    return Err(AppendError::Conflict(entry.index));
                }
                break;
            }
            known = known.saturating_add(1);
        }
        Ok(AppendPlan::Append { known })
    }

    /// Puts `entries` behind `prev`, in place of whatever is there.
    pub(crate) fn append(&mut self, prev: LogPosition, entries: impl Into<Entries>) {
        if prev.index < self.last().index {
            self.in_flight.on_cut(prev.index);
        }
        self.unstable.replace_after(prev, entries.into());
    }

    /// An empty buffer for [`append_own`](RaftLog::append_own).
    #[inline]
    pub(crate) fn take_buffer(&mut self) -> Vec<Entry> {
        self.unstable.take_buffer()
    }

    /// The buffer is done with.
    #[inline]
    pub(crate) fn keep_buffer(&mut self, buffer: Vec<Entry>) {
        self.unstable.keep_buffer(buffer);
    }

    /// Puts entries that follow the last one behind it, and takes them out of their buffer.
    pub(crate) fn append_own(&mut self, entries: &mut Vec<Entry>) {
        self.unstable.append(entries);
    }

    /// Everything up to `index` is committed, as far as the log goes. Returns whether that is news.
    pub(crate) fn commit_to(&mut self, index: Index) -> bool {
        let index = index.min(self.last().index);
        let news = index > self.committed;
        if news {
            self.committed = index;
        }
        news
    }

    /// The log is replaced by a snapshot, which is committed, and by what followed it in the log, if that is kept. Both are
    /// written in one write, so that what was acknowledged is durable at any time.
    pub(crate) fn restore(&mut self, snapshot: Snapshot, tail: Vec<Entry>) {
        let position = snapshot.position();
        self.in_flight.on_restore();
        self.unstable.restore(snapshot);
        self.unstable.replace_after(position, tail.into());
        self.committed = self.committed.max(position.index).min(self.last().index);
        self.handed = self.handed.max(position.index);
        self.withdraw_want();
    }

    /// The state machine needs a snapshot of what it was handed, at least. Nothing more is handed out until that came.
    pub(crate) fn want_snapshot(&mut self) {
        self.wanted = self.handed.max(Index::new(1));
    }

    /// It needs none any more.
    pub(crate) fn withdraw_want(&mut self) {
        self.wanted = Index::ZERO;
    }

    /// The least index of the snapshot that the state machine waits for.
    pub(crate) fn wanted(&self) -> Option<Index> {
        (!self.wanted.is_zero()).then_some(self.wanted)
    }

    /// The entries behind `index`.
    pub(crate) fn tail(&self, index: Index) -> Result<Vec<Entry>, StorageError> {
        let mut tail = Vec::new();
        let end = self.last().index.next();
        let mut next = index.next();
        while next < end {
            tail.extend_from_slice(&self.read(next..end, u64::MAX)?);
            next = tail.last().map_or(end, |entry: &Entry| entry.index.next());
        }
        Ok(tail)
    }

    /// The encoded length of the entries that are kept in memory.
    pub(crate) fn bytes_in_memory(&self) -> u64 {
        self.unstable.bytes()
    }

    /// A snapshot that was received and isn't durable yet.
    pub(crate) fn pending_snapshot(&self) -> Option<&Snapshot> {
        self.unstable.snapshot()
    }

    /// Is there a membership change among the committed entries that aren't applied?
    pub(crate) fn has_unapplied_conf_change(&self) -> Result<bool, StorageError> {
        self.has_conf_change(self.applied, self.committed)
    }

    /// Is there a membership change behind `after`, up to `last`?
    pub(crate) fn has_conf_change(&self, after: Index, last: Index) -> Result<bool, StorageError> {
        const PAGE_BYTES: u64 = 1 << 20;
        let end = last.next();
        let mut next = after.next();
        while next < end {
            let page = self.read(next..end, PAGE_BYTES)?;
            if page.iter().any(|entry| entry.payload.is_conf_change()) {
                return Ok(true);
            }
            next = match page.last() {
                Some(last) => last.index.next(),
                None => return Err(StorageError::Inconsistent(Inconsistency::NothingForRange)),
            };
        }
        Ok(false)
    }

    // -- what is handed out to be written

    /// Is there an entry that isn't known to be durable?
    pub(crate) fn has_unstable(&self) -> bool {
        !self.unstable.is_empty()
    }

    /// Is there anything to write that wasn't handed out?
    pub(crate) fn has_unwritten(&self) -> bool {
        self.unstable.has_work()
    }

    /// The snapshot and the entries to write.
    pub(crate) fn hand_out_unwritten(&mut self, into: &mut EntryBatches) -> Option<&Snapshot> {
        self.unstable.hand_out(into)
    }

    /// A write was handed out: what was to be written, with the snapshot or without, and what the node tells itself then.
    pub(crate) fn on_write_handed_out(&mut self, number: u64, term: Term, snapshot: bool) {
        let covers = if self.has_unstable() { self.last().index } else { Index::ZERO };
        self.in_flight.push(Write { number, term, covers, snapshot, own: 0 });
    }

    /// The node tells itself something when what is unstable is durable; see [`InFlight::gather`].
    pub(crate) fn tell_self(&mut self, answer: OwnAnswer) {
        self.in_flight.gather(answer);
    }

    /// Does it tell itself anything with the next write?
    #[inline]
    pub(crate) fn has_own_answers(&self) -> bool {
        self.in_flight.gathered() > 0
    }

    /// The oldest write in flight, if its number is at most `number`. The caller takes out its
    /// [own answers](RaftLog::next_own), and passes it on to [`on_written`](RaftLog::on_written).
    pub(crate) fn acknowledge_write(&mut self, number: u64) -> Option<Write> {
        self.in_flight.acknowledge(number)
    }

    /// The next that the node tells itself with the write that was acknowledged.
    pub(crate) fn next_own(&mut self) -> Option<OwnAnswer> {
        self.in_flight.next_own()
    }

    /// A write is durable; the node's term is `term`.
    pub(crate) fn on_written(&mut self, write: &Write, term: Term) {
        if !write.covers.is_zero() && write.term == term {
            self.unstable.stable_to(write.covers);
            self.unstable.forget(self.handed, self.max_kept_bytes);
        }
        if write.snapshot
            && let Some(index) = self.unstable.stable_snapshot()
            && index > self.applied
        {
            self.applied = index;
            self.pages.on_applied(index);
        }
    }

    /// What the node tells itself with the write of this number, if it is in flight.
    pub(crate) fn own_answers(&self, number: u64) -> impl Iterator<Item = &OwnAnswer> {
        self.in_flight.own(number)
    }

    pub(crate) fn writes_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    // -- what is handed out to be applied

    /// The committed entries that may be handed out now.
    pub(crate) fn to_apply(&self) -> Range<Index> {
        let waits_for_snapshot = self.unstable.snapshot().is_some() || !self.wanted.is_zero();
        let blocked = self.pages.is_paused() || self.pages.read_failed || waits_for_snapshot;
        let limit = match self.pages.max_ahead() {
            Some(ahead) => self.committed.min(self.durable().plus(ahead)),
            None => self.committed,
        };
        let end = if blocked { self.handed } else { limit.max(self.handed) };
        self.handed.next()..end.next()
    }

    /// Hands out a batch of committed entries for application, if there are any.
    pub(crate) fn hand_out_committed(&mut self, into: &mut Entries) -> Result<(), StorageError> {
        let range = self.to_apply();
        if range.is_empty() {
            return Ok(());
        }
        let end = range.end;
        *into = match self.take_committed(range, self.pages.allowance()) {
            Ok(page) => page,
            Err(error) => {
                self.pages.read_failed = true;
                return Err(error);
            }
        };
        if let Some(last) = into.last().map(|entry| entry.index) {
            self.pages.hand_out(into, last, last.next() == end);
            self.handed = last;
            self.unstable.forget(last, self.max_kept_bytes);
        }
        Ok(())
    }

    /// Entries to be applied. They are nearly always the first batch that is kept, and kept for nothing but this.
    fn take_committed(&mut self, range: Range<Index>, max_bytes: u64) -> Result<Entries, StorageError> {
        let is_first = self.unstable.begins_with(&range, max_bytes);
        if is_first && range.start >= self.storage.first_index()? {
            return Ok(self.unstable.take_first());
        }
        self.read(range, max_bytes)
    }

    /// Committed entries that couldn't be read may be asked for again.
    pub(crate) fn retry_reads(&mut self) {
        self.pages.read_failed = false;
    }

    /// Do committed entries wait for the next tick, since they couldn't be read?
    pub(crate) fn waits_to_retry(&self) -> bool {
        self.pages.read_failed
    }

    /// Everything up to `index` is applied. Returns the payload bytes that this completes.
    pub(crate) fn on_applied(&mut self, index: Index) -> Result<u64, AckError> {
        if index > self.handed {
            return Err(AckError::NotHandedOutForApply { last: self.handed });
        }
        if index > self.applied {
            self.applied = index;
        }
        Ok(self.pages.on_applied(index))
    }
}
