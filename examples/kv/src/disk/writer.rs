//! Writing the log: one commit, and one flush to the disk, for everything that waits.

use std::sync::Arc;

use raft_proto::{Entry, HardState, Index, Snapshot};

use super::engine::{Change, Engine};
use super::index::LogIndex;
use super::reader::Shared;
use super::record::State;
use super::snapshot::{SnapshotDescriptor, SnapshotStore};
use super::witness::Witness;
use super::{DiskError, WriteBatch, WriteRefusal};

/// How many entries that were compacted away are removed with each commit: more would make a commit wait.
const SWEPT_AT_ONCE: u64 = 2_048;

/// Writes the log. There is one, for one thread.
#[derive(Debug)]
pub struct LogWriter {
    shared: Arc<Shared>,
    witness: Witness,
    snapshots: SnapshotStore,
    keep_entries: u64,
    /// What is on the disk, the number of the last write included.
    durable: State,
    /// The hard state is newer in memory.
    behind: bool,
    /// Entries up to here are gone from the engine.
    swept: Index,
    failed: bool,
}

/// What a write makes of the log.
struct Plan<'a> {
    index: LogIndex,
    state: State,
    changes: Vec<Change<'a>>,
    /// The last entry that stays as it is; those behind it are new.
    stays: Index,
    cleared: bool,
}

impl LogWriter {
    pub(super) fn new(
        shared: Arc<Shared>,
        witness: Witness,
        snapshots: SnapshotStore,
        keep_entries: u64,
        swept: Index,
    ) -> LogWriter {
        let durable = shared.view().state.clone();
        LogWriter { shared, witness, snapshots, keep_entries, durable, behind: false, swept, failed: false }
    }

    /// Makes the batches durable, in order, in one commit. When this returns, they are on the disk and readable.
    ///
    /// With `sync` false (`Ready::must_sync`), batches that change nothing but the commit index are only
    /// remembered: they reach the disk with the next write. Anything else is flushed even then.
    ///
    /// # Errors
    /// [`DiskError::Refused`] changed nothing. After any other, nothing more is written ([`DiskError::Failed`]):
    /// what of a failed write is on the disk can only be found out by opening the folder anew.
    pub fn write(&mut self, batches: &[WriteBatch], sync: bool) -> Result<(), DiskError> {
        if self.failed {
            return Err(DiskError::Failed);
        }
        let plan = self.plan(batches).map_err(DiskError::Refused)?;
        let (before, lost) = {
            let view = self.shared.view();
            (view.state.hard_state, view.state.lost)
        };
        if plan.changes.is_empty() && plan.state.lost == lost {
            let only_commit = HardState { commit: before.commit, ..plan.state.hard_state } == before;
            if plan.state.hard_state == before && !(sync && self.behind) {
                return Ok(());
            }
            if only_commit && !sync {
                self.behind = true;
                self.shared.view_mut().state.hard_state = plan.state.hard_state;
                return Ok(());
            }
        }
        let new_snapshot = batches.iter().any(|batch| batch.snapshot.is_some());
        self.carry_out(plan, batches)?;
        if new_snapshot {
            self.snapshots.remove_superseded(self.durable.snapshot.as_ref());
        }
        Ok(())
    }

    /// Takes note of a snapshot that this node made of its own state machine, and gives up the log before it
    /// but for [`Options::keep_entries`](super::Options::keep_entries). Older snapshot files are removed. One
    /// that is older than the latest is removed itself, without an error.
    ///
    /// # Errors
    /// As for [`write`](LogWriter::write).
    pub fn record_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), DiskError> {
        if self.failed {
            return Err(DiskError::Failed);
        }
        let descriptor = self.described(snapshot).map_err(DiskError::Refused)?;
        let latest = self.durable.snapshot.as_ref().map(Snapshot::position);
        if latest.is_some_and(|latest| latest.index >= descriptor.index) {
            self.snapshots.remove_superseded(self.durable.snapshot.as_ref());
            return Ok(());
        }
        let mut plan = self.empty_plan();
        if plan.index.term(descriptor.index).ok() != Some(descriptor.term) {
            return Err(DiskError::Refused(WriteRefusal::SnapshotNotInLog(snapshot.position())));
        }
        let keep = Index::new(descriptor.index.get().saturating_sub(self.keep_entries));
        plan.index.compact(keep);
        plan.state.snapshot = Some(snapshot.clone());
        plan.commit_snapshot();
        self.carry_out(plan, &[])?;
        self.snapshots.remove_superseded(self.durable.snapshot.as_ref());
        Ok(())
    }

    /// The number of the last write: how many commits, each with one flush, this folder has seen.
    pub fn last_write(&self) -> u64 {
        self.durable.number
    }

    /// Writes what is only remembered (see [`write`](LogWriter::write)). Dropping does it too, without telling
    /// of an error.
    ///
    /// # Errors
    /// As for [`write`](LogWriter::write).
    pub fn close(mut self) -> Result<(), DiskError> {
        self.catch_up()
    }

    fn catch_up(&mut self) -> Result<(), DiskError> {
        if self.behind { self.write(&[], true) } else { Ok(()) }
    }

    fn empty_plan<'a>(&self) -> Plan<'a> {
        let view = self.shared.view();
        Plan {
            index: view.index.clone(),
            state: view.state.clone(),
            changes: Vec::new(),
            stays: view.index.last(),
            cleared: false,
        }
    }

    /// The file that this snapshot describes is here, and says of itself what the snapshot says.
    fn described(&self, snapshot: &Snapshot) -> Result<SnapshotDescriptor, WriteRefusal> {
        let descriptor = SnapshotDescriptor::of(snapshot).map_err(|_| WriteRefusal::SnapshotDescriptor)?;
        match self.snapshots.open(&descriptor) {
            Ok(file) if *file.metadata() == snapshot.metadata => Ok(descriptor),
            Ok(_) => Err(WriteRefusal::SnapshotDescriptor),
            Err(_) => Err(WriteRefusal::SnapshotMissing(snapshot.position())),
        }
    }

    /// Works out what the batches come to, and refuses what makes no sense.
    fn plan<'a>(&self, batches: &'a [WriteBatch]) -> Result<Plan<'a>, WriteRefusal> {
        let mut plan = self.empty_plan();
        for batch in batches {
            if let Some(snapshot) = &batch.snapshot {
                self.described(snapshot)?;
                plan.install(snapshot)?;
            }
            for entries in batch.entries.batches() {
                plan.append(entries)?;
            }
            if let Some(hard_state) = batch.hard_state {
                plan.vote(hard_state)?;
            }
            if let Some(report) = batch.data_loss {
                plan.state.lost = report.lost();
            }
        }
        plan.commit_snapshot();
        let (state, last) = (&plan.state, plan.index.last());
        if state.hard_state.commit > last {
            return Err(WriteRefusal::CommitBeyondLog { commit: state.hard_state.commit, last });
        }
        if state.hard_state.term < plan.index.last_term() {
            return Err(WriteRefusal::TermBehindLog(last));
        }
        Ok(plan)
    }

    fn carry_out(&mut self, mut plan: Plan<'_>, batches: &[WriteBatch]) -> Result<(), DiskError> {
        let swept = self.sweep(&mut plan);
        plan.state.base = plan.index.base();
        plan.state.last = plan.index.last();
        plan.state.number = self.durable.number.saturating_add(1);
        self.take_away(&plan);
        // Until the end, a failure leaves it open what is on the disk.
        self.failed = true;
        let engine: &Engine = &self.shared.engine;
        engine.commit(&plan.changes, &plan.state).map_err(|error| error.at(self.shared.folder.dir()))?;
        self.witness
            .set(plan.state.number)
            .map_err(|error| self.shared.folder.failed("writing", super::folder::ACKNOWLEDGED, error))?;
        self.failed = false;
        self.behind = false;
        self.swept = swept;
        self.durable = plan.state.clone();
        self.add(plan, batches);
        Ok(())
    }

    /// Adds the removal of a part of what was compacted away.
    fn sweep(&self, plan: &mut Plan<'_>) -> Index {
        let base = plan.index.base().index;
        if plan.cleared {
            return base;
        }
        let to = base.min(self.swept.plus(SWEPT_AT_ONCE));
        if to > self.swept {
            plan.changes.push(Change::Remove(self.swept.next()..to.next()));
        }
        to.max(self.swept)
    }

    /// What will be gone is no longer promised.
    fn take_away(&self, plan: &Plan<'_>) {
        let mut view = self.shared.view_mut();
        if plan.cleared {
            view.index = LogIndex::empty(plan.index.base());
            view.recent.clear();
        } else {
            view.index.truncate(plan.stays);
            view.index.compact(plan.index.base().index);
            view.recent.truncate(plan.stays);
            view.recent.compact(plan.index.base().index);
        }
    }

    /// What is there now is promised.
    fn add(&self, plan: Plan<'_>, batches: &[WriteBatch]) {
        let mut view = self.shared.view_mut();
        view.index = plan.index;
        view.state = plan.state;
        let from = batches.iter().rposition(|batch| batch.snapshot.is_some()).unwrap_or(0);
        for batch in batches.iter().skip(from) {
            if let Some(first) = batch.entries.first() {
                view.recent.truncate(first.index.prev());
                batch.entries.iter().for_each(|entry| view.recent.push(entry.clone()));
            }
        }
    }
}

impl<'a> Plan<'a> {
    /// What a snapshot covers is committed, also if the hard state that says so is still on its way.
    fn commit_snapshot(&mut self) {
        if let Some(snapshot) = &self.state.snapshot {
            let hard_state = &mut self.state.hard_state;
            hard_state.commit = hard_state.commit.max(snapshot.metadata.index);
        }
    }

    fn install(&mut self, snapshot: &Snapshot) -> Result<(), WriteRefusal> {
        let outdated = |latest: &Snapshot| latest.metadata.index > snapshot.metadata.index;
        if self.state.snapshot.as_ref().is_some_and(outdated) {
            return Err(WriteRefusal::SnapshotOutdated(snapshot.position()));
        }
        self.index = LogIndex::empty(snapshot.position());
        self.state.snapshot = Some(snapshot.clone());
        let hard_state = &mut self.state.hard_state;
        if snapshot.metadata.term > hard_state.term {
            *hard_state = HardState { term: snapshot.metadata.term, vote: None, ..*hard_state };
        }
        self.changes.clear();
        self.changes.push(Change::Clear);
        self.stays = snapshot.metadata.index;
        self.cleared = true;
        Ok(())
    }

    /// Term and vote never go back: that would be a second vote in one term.
    fn vote(&mut self, new: HardState) -> Result<(), WriteRefusal> {
        let old = self.state.hard_state;
        if new.term < old.term {
            return Err(WriteRefusal::TermGoesBack { from: old.term, to: new.term });
        }
        if new.term == old.term && old.vote.is_some() && new.vote != old.vote {
            return Err(WriteRefusal::SecondVote(new.term));
        }
        self.state.hard_state = new;
        Ok(())
    }

    fn append(&mut self, entries: &'a [Entry]) -> Result<(), WriteRefusal> {
        let Some(first) = entries.first() else { return Ok(()) };
        let replaced = first.index..self.index.last().next();
        self.index.replace_tail(entries)?;
        self.stays = self.stays.min(first.index.prev());
        if !replaced.is_empty() {
            self.changes.push(Change::Remove(replaced));
        }
        self.changes.push(Change::Put(entries));
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // Only a commit index, which the leader will tell again.
        let _ = self.catch_up();
    }
}
