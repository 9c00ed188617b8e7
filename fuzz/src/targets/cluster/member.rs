//! A node with its disk, its clock and its state machine.

use std::collections::VecDeque;

use raft_core::{
    ConfState, Config, Entries, HardState, Index, LogPosition, MemoryStorage, Message, RawNode, Ready,
    Snapshot, SnapshotMetadata, Status,
};

use super::{FOUNDED, History};

/// A node that may be up or down.
pub(in crate::targets) struct Member {
    pub(in crate::targets) config: Config,
    /// The node, while it is up.
    pub(in crate::targets) raw: Option<RawNode<MemoryStorage>>,
    /// What isn't written yet.
    pub(in crate::targets) out: VecDeque<Ready>,
    /// What is on its disk, while it is down.
    disk: MemoryStorage,
    to_apply: VecDeque<Entries>,
    /// Its state machine, which is durable: what it applied last, and the configuration as of there.
    applied: LogPosition,
    conf_state: ConfState,
}

impl Member {
    /// One that is down. A founder has the snapshot with which the cluster began; who joins later has nothing.
    pub(super) fn new(config: Config, founded: Option<&ConfState>) -> Member {
        let mut member = Member {
            config,
            raw: None,
            out: VecDeque::new(),
            disk: MemoryStorage::default(),
            to_apply: VecDeque::new(),
            applied: LogPosition::ZERO,
            conf_state: ConfState::default(),
        };
        if let Some(conf_state) = founded {
            member.applied = FOUNDED;
            member.conf_state = conf_state.clone();
            member.disk.apply_snapshot(member.snapshot()).expect("it is the first");
            member.disk.set_hard_state(HardState { term: FOUNDED.term, vote: None, commit: FOUNDED.index });
        }
        member
    }

    pub(super) fn status(&self) -> Option<Status> {
        self.raw.as_ref().map(RawNode::status)
    }

    /// Starts it, if it is down.
    pub(super) fn start(&mut self) {
        if self.raw.is_some() {
            return;
        }
        self.config.seed += 1;
        self.config.applied = self.applied.index;
        let mut disk = std::mem::take(&mut self.disk);
        disk.set_conf_state(self.conf_state.clone());
        self.raw = Some(RawNode::new(self.config.clone(), disk).expect("it starts from what it wrote"));
    }

    /// Power is lost, and with it what isn't written.
    pub(super) fn crash(&mut self, history: &mut History) {
        if let Some(raw) = self.raw.take() {
            self.disk = raw.storage().clone();
            self.out.clear();
            self.to_apply.clear();
            history.on_crash(self.config.id);
        }
    }

    /// Takes what the node gives.
    pub(super) fn drain(&mut self, network: &mut Vec<Message>, history: &mut History) {
        let Some(raw) = &mut self.raw else { return };
        history.on_event(raw);
        while raw.has_ready() {
            let mut ready = raw.ready();
            assert!(!ready.is_empty(), "has_ready() and ready() disagree");
            history.on_event(raw);
            for read in ready.read_states.drain(..) {
                history.on_answer(raw.id(), &read.context, Some(read.index));
            }
            for read in ready.dropped_reads.drain(..) {
                history.on_answer(raw.id(), &read.context, None);
            }
            send(network, history, &mut ready.messages);
            if self.config.async_writes && !ready.committed_entries.is_empty() {
                self.to_apply.push_back(std::mem::take(&mut ready.committed_entries));
            }
            self.out.push_back(ready);
        }
    }

    /// The oldest write reaches the disk.
    pub(super) fn persist_one(&mut self, network: &mut Vec<Message>, history: &mut History) {
        let Some(raw) = &mut self.raw else { return };
        let Some(mut ready) = self.out.pop_front() else { return };
        raw.storage_mut().persist(&ready).expect("it fits what was written before");
        if let Some(snapshot) = &ready.snapshot {
            self.applied = snapshot.position();
            self.conf_state = snapshot.metadata.conf_state.clone();
            self.to_apply.clear();
        }
        send(network, history, &mut ready.persisted_messages);
        raw.on_persisted(ready.number).expect("it was handed out");
        if !ready.committed_entries.is_empty() {
            self.to_apply.push_back(ready.committed_entries);
        }
        history.on_event(raw);
    }

    /// The oldest committed batch is applied.
    pub(super) fn apply_one(&mut self, history: &mut History) {
        let Some(raw) = &mut self.raw else { return };
        let Some(batch) = self.to_apply.pop_front() else { return };
        for entry in &batch {
            assert_eq!(entry.index, self.applied.index.next(), "each entry is applied, once, in its turn");
            history.on_apply(entry);
            self.applied = entry.position();
            if let Some(change) = entry.payload.as_conf_change()
                && let Ok(conf_state) = raw.apply_conf_change(&change)
            {
                self.conf_state = conf_state;
            }
        }
        raw.on_applied(self.applied.index).expect("it was handed out");
        history.on_event(raw);
    }

    /// Everything is written and applied.
    pub(super) fn finish(&mut self, network: &mut Vec<Message>, history: &mut History) {
        while !self.out.is_empty() {
            self.persist_one(network, history);
        }
        while !self.to_apply.is_empty() {
            self.apply_one(history);
        }
    }

    /// It makes a snapshot, and keeps so many entries before it.
    pub(super) fn compact(&mut self, keep: u64) {
        let upto = Index::new(self.applied.index.get().saturating_sub(keep));
        if self.take_snapshot()
            && let Some(raw) = &mut self.raw
        {
            // There may be nothing to drop.
            let _ = raw.storage_mut().compact(upto);
        }
    }

    /// Keeps a snapshot of what is applied, if that can be done now: a node may ask for one, and its caller has to make it.
    pub(super) fn take_snapshot(&mut self) -> bool {
        let snapshot = self.snapshot();
        let Some(raw) = &mut self.raw else { return false };
        // A snapshot that isn't written yet will be newer than this one.
        if self.applied.index.is_zero() || self.out.iter().any(|ready| ready.snapshot.is_some()) {
            return false;
        }
        raw.storage_mut().set_snapshot(snapshot);
        true
    }

    fn snapshot(&self) -> Snapshot {
        let LogPosition { term, index } = self.applied;
        let metadata = SnapshotMetadata { conf_state: self.conf_state.clone(), index, term };
        Snapshot { metadata, data: Default::default() }
    }
}

fn send(network: &mut Vec<Message>, history: &mut History, messages: &mut Vec<Message>) {
    for message in messages.drain(..) {
        history.on_send(&message);
        network.push(message);
    }
}
