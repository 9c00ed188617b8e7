//! The slowest obvious storage: a list of everything.

use std::sync::Arc;

use bytes::Bytes;
use raft_core::{
    ConfChange, ConfChangeKind, ConfChangeSingle, ConfChangeTransition, ConfChangeV2, ConfState, DataLoss,
    DataLossReport, Entry, HardState, Index, LogPosition, NodeId, Payload, Ready, Snapshot, SnapshotMetadata,
    Storage, Term,
};

use crate::disk::Expected;

use super::failure::{Broken, Rule};
use super::story::{Append, Write};

/// What a storage holds.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// What the log begins behind: the last snapshot that was received.
    pub(super) base: LogPosition,
    /// Everything since then, whether it may be dropped or not.
    pub(super) entries: Vec<Entry>,
    /// Entries up to here may be dropped.
    pub(super) droppable: Index,
    pub(super) hard_state: HardState,
    pub(super) conf_state: ConfState,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) lost: Option<DataLoss>,
}

impl State {
    /// What a storage should hold after a crash. Its commit index may be this one, if that was ever written or is covered by the snapshot.
    pub(super) fn of(expected: &Expected, commit: Index) -> State {
        let Expected { stored, synced, at_first } = *expected;
        let base = stored.first_index().unwrap_or_default().prev();
        let snapshot = NodeId::new(1).and_then(|to| stored.snapshot(Index::ZERO, to).ok());
        let covered = snapshot.as_ref().map_or(Index::ZERO, |snapshot| snapshot.metadata.index);
        let newest = stored.hard_state().commit.max(covered);
        let conf_state =
            snapshot.as_ref().map_or_else(|| at_first.clone(), |it| it.metadata.conf_state.clone());
        State {
            base: LogPosition { term: stored.term(base).unwrap_or_default(), index: base },
            entries: stored.all_entries().cloned().collect(),
            droppable: base,
            hard_state: HardState {
                commit: commit.clamp(synced.commit, newest.max(synced.commit)),
                ..synced
            },
            conf_state,
            snapshot,
            lost: stored.initial_state().ok().and_then(|initial| initial.lost),
        }
    }

    pub(super) fn last(&self) -> LogPosition {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// The term at this index, from the base on.
    pub(super) fn term(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.entries.iter().find(|entry| entry.index == index).map(|entry| entry.term)
    }

    fn latest_snapshot(&self) -> Index {
        self.snapshot.as_ref().map_or(Index::ZERO, |snapshot| snapshot.metadata.index)
    }
}

/// The states of a storage.
pub(super) struct Twin {
    /// Those before the last sync.
    older: Vec<State>,
    /// That of the last sync, and those since then: never empty.
    possible: Vec<State>,
    writes: u64,
    /// The first index that was seen last.
    first: Index,
}

impl Twin {
    pub(super) fn new(conf_state: ConfState) -> Twin {
        let empty = State {
            base: LogPosition::ZERO,
            entries: Vec::new(),
            droppable: Index::ZERO,
            hard_state: HardState::default(),
            conf_state,
            snapshot: None,
            lost: None,
        };
        Twin { older: Vec::new(), possible: vec![empty], writes: 0, first: Index::ZERO }
    }

    pub(super) fn now(&self) -> &State {
        &self.possible[self.possible.len() - 1]
    }

    pub(super) fn possible(&self) -> &[State] {
        &self.possible
    }

    pub(super) fn older(&self) -> &[State] {
        &self.older
    }

    pub(super) fn sync(&mut self) {
        let now = self.now().clone();
        self.older.append(&mut self.possible);
        self.possible.push(now);
    }

    /// It came up in this one of the possible states.
    pub(super) fn restart_at(&mut self, at: usize) {
        self.possible.truncate(at + 1);
        self.sync();
        // What was dropped and not synced may be there again.
        self.first = Index::ZERO;
    }

    /// The log begins here now.
    pub(super) fn note_first(&mut self, first: Index) -> Result<(), Broken> {
        if first < self.first {
            let expected = format!("first_index() of {} or above, as before", self.first);
            return Err(Broken::new(Rule::Compaction, expected, first.to_string()));
        }
        self.first = first;
        Ok(())
    }

    /// What a node would ask for: nothing that is committed is replaced, the terms and the commit index don't go down, and a term
    /// is written with its first entry.
    pub(super) fn ready(&mut self, what: &Write) -> Ready {
        self.writes += 1;
        let now = self.now();
        let mut hard_state = now.hard_state;
        let mut ready = Ready::default();
        ready.number = self.writes;
        let received = self
            .metadata_to_receive(what)
            .map(|metadata| LogPosition { term: metadata.term, index: metadata.index });
        if let Some(position) = received {
            hard_state.commit = position.index;
            hard_state.term = hard_state.term.max(position.term);
        }
        if what.new_term {
            hard_state.term = hard_state.term.next();
            hard_state.vote = NodeId::new(1 + self.writes % 3);
        }
        if let Some(append) = &what.append {
            hard_state.term = hard_state.term.max(Term::new(1));
            let last = received.unwrap_or(now.last()).index;
            let after = Index::new(last.get().saturating_sub(append.back)).max(hard_state.commit);
            // What is replaced is of an earlier term.
            if after < last && !what.new_term {
                hard_state.term = hard_state.term.next();
                hard_state.vote = None;
            }
            ready.entries = made(append, hard_state.term, after).into();
        }
        let last = ready.entries.last().map_or(received.unwrap_or(now.last()).index, |entry| entry.index);
        let uncommitted = last.since(hard_state.commit);
        hard_state.commit = hard_state.commit.plus(uncommitted * what.commit_percent / 100);
        let promised = (hard_state.term, hard_state.vote) != (now.hard_state.term, now.hard_state.vote);
        ready.data_loss = what.loses.map(|loses| {
            let loss = DataLoss { acknowledged: last.plus(self.writes), last };
            if loses { DataLossReport::Noticed(loss) } else { DataLossReport::Regained }
        });
        ready.must_sync =
            promised || received.is_some() || !ready.entries.is_empty() || ready.data_loss.is_some();
        ready.hard_state = (hard_state != now.hard_state).then_some(hard_state);
        ready
    }

    /// Of the snapshot that comes with this write.
    pub(super) fn metadata_to_receive(&self, what: &Write) -> Option<SnapshotMetadata> {
        let now = self.now();
        let index = now.hard_state.commit.max(now.latest_snapshot()).plus(what.receive_ahead?.max(1));
        let term = now.hard_state.term.max(Term::new(1));
        Some(SnapshotMetadata { conf_state: configuration(index), index, term })
    }

    pub(super) fn write(&mut self, ready: &Ready) {
        let mut next = self.now().clone();
        if let Some(snapshot) = &ready.snapshot {
            next.base = snapshot.position();
            next.entries.clear();
            next.droppable = next.base.index;
            next.conf_state = snapshot.metadata.conf_state.clone();
            next.snapshot = Some(snapshot.clone());
        }
        if let Some(first) = ready.entries.first() {
            next.entries.retain(|entry| entry.index < first.index);
            next.entries.extend(ready.entries.iter().cloned());
        }
        next.hard_state = ready.hard_state.unwrap_or(next.hard_state);
        next.lost = ready.data_loss.map_or(next.lost, DataLossReport::lost);
        self.possible.push(next);
    }

    /// Of a snapshot so far behind the commit index, if that is newer than the latest.
    pub(super) fn metadata_to_save(&self, behind: u64) -> Option<SnapshotMetadata> {
        let now = self.now();
        let index = Index::new(now.hard_state.commit.get().saturating_sub(behind));
        let newer = index > now.latest_snapshot() && index > now.base.index;
        let term = now.term(index).filter(|_| newer)?;
        Some(SnapshotMetadata { conf_state: configuration(index), index, term })
    }

    pub(super) fn save_snapshot(&mut self, snapshot: Snapshot) {
        let mut next = self.now().clone();
        next.droppable = next.droppable.max(snapshot.metadata.index);
        next.conf_state = snapshot.metadata.conf_state.clone();
        next.snapshot = Some(snapshot);
        self.possible.push(next);
    }

    /// All but so many of what the latest snapshot covers, if anything of that is there.
    pub(super) fn to_compact(&self, keep: u64) -> Option<Index> {
        let index = Index::new(self.now().latest_snapshot().get().saturating_sub(keep));
        (index >= self.first && index > self.now().base.index).then_some(index)
    }

    pub(super) fn compact(&mut self, index: Index) {
        let mut next = self.now().clone();
        next.droppable = next.droppable.max(index);
        self.possible.push(next);
    }
}

/// A configuration that tells of which index it is.
fn configuration(index: Index) -> ConfState {
    let id = |n: u64| NodeId::new(n).into_iter();
    ConfState {
        voters: id(1).chain(id(2)).chain(id(index.get() + 10)).collect(),
        learners: id(4).collect(),
        voters_outgoing: id(1).chain(id(3)).collect(),
        learners_next: id(3).collect(),
        auto_leave: index.get().is_multiple_of(2),
    }
}

/// The entries of this term behind `after`. Each tells which it is.
fn made(append: &Append, term: Term, after: Index) -> Vec<Entry> {
    let one = |nth: u64| {
        let index = after.plus(nth);
        Entry { term, index, payload: payload(append, term, index) }
    };
    (1..=append.count).map(one).collect()
}

/// A command as a rule, and each other kind if all are wanted.
fn payload(append: &Append, term: Term, index: Index) -> Payload {
    let kind = if append.all_kinds { index.get() % 7 } else { 0 };
    let node = NodeId::new(index.get());
    let text = Bytes::from(format!("{term}/{index}"));
    match kind {
        1 => Payload::Normal(Bytes::new()),
        2 => Payload::TermStart,
        3 => Payload::RefusedChange,
        4 => Payload::LeaveJoint,
        5 => Payload::ConfChange(Arc::new(ConfChange {
            id: 7,
            kind: ConfChangeKind::AddLearner,
            node,
            context: text,
        })),
        6 => Payload::ConfChangeV2(Arc::new(ConfChangeV2 {
            transition: ConfChangeTransition::JointExplicit,
            changes: vec![
                ConfChangeSingle { kind: ConfChangeKind::Remove, node },
                ConfChangeSingle::default(),
            ],
            context: text,
        })),
        _ => {
            let mut data = text.to_vec();
            data.resize(data.len().max(append.size), 7);
            Payload::Normal(data.into())
        }
    }
}
