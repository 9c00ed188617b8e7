//! What a node does with its `Ready`s.

use bytes::Bytes;
use raft_core::{ConfState, DataLossReport, Entry, Index, ReadError, Ready, RoleKind, Snapshot, TransferEnd};

use super::world::World;
use crate::cluster::{Node, Raw, Stage};
use crate::disk::Store;
use crate::machine::Command;
use crate::members::Members;
use crate::oracle::{Cause, Check, Outcome, broken};
use crate::parts::{Parts, StateMachine};
use crate::reached::Situation;

impl<P: Parts> World<P> {
    fn called(&mut self, at: usize, cause: Cause) -> Check {
        let (oracle, cx) = self.look(at);
        oracle.on_call(&cx, cause)
    }

    /// The core of a node was called: does all that is to be done.
    pub(super) fn drain(&mut self, at: usize, cause: Cause) -> Check {
        self.called(at, cause)?;
        loop {
            let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
            if !raw.has_ready() {
                break;
            }
            let mut ready = std::mem::take(&mut self.ready);
            raw.ready_into(&mut ready);
            self.take(at, &mut ready)?;
            self.ready = ready;
        }
        let node = &self.nodes[at];
        if node.raw.as_ref().is_some_and(|raw| raw.hard_state() != node.handed) {
            return broken("ready", format!("node {} doesn't hand out its hard state", node.id));
        }
        if !P::Storage::NONE {
            node.disk.check_reads()?;
        }
        let (oracle, cx) = self.look(at);
        oracle.after_event(&cx, cause)
    }

    /// The same, unless its caller is busy: then all that is to be done waits for another call. Only what is made when it leaves may
    /// wait: with other messages the oracle counts on that none was made before what has happened since, a change of the members or an
    /// answer.
    pub(super) fn drain_unless_busy(&mut self, at: usize, cause: Cause) -> Check {
        let node = &mut self.nodes[at];
        let busy = std::mem::take(&mut node.busy);
        let waits = |raw: &Raw<P>| raw.role() == RoleKind::Leader && raw.config().batch_messages;
        if busy && node.raw.as_ref().is_some_and(waits) {
            self.reached.reach(Situation::CallerBusy);
            return self.called(at, cause);
        }
        self.drain(at, cause)
    }

    /// Handles a `Ready`: writes it at once and applies, or hands it to the disk and goes on.
    fn take(&mut self, at: usize, ready: &mut Ready) -> Check {
        if ready.is_empty() {
            return broken(
                "ready",
                format!("has_ready() of node {} was true for an empty one", self.nodes[at].id),
            );
        }
        self.check_sync(at, ready)?;
        let (oracle, cx) = self.look(at);
        oracle.on_ready(&cx, ready)?;
        self.check_wanted(at, ready)?;
        self.take_note(at, ready)?;
        let needs_write = ready.needs_acknowledgement();
        if needs_write && self.blows(at, Stage::Taken)? {
            return Ok(());
        }
        for message in ready.messages.drain(..) {
            self.leaves(at, message)?;
        }
        let node = &mut self.nodes[at];
        if node.is_async() {
            let committed = std::mem::take(&mut ready.committed_entries);
            if !committed.is_empty() {
                node.to_apply.push_back(committed);
            }
            if !needs_write {
                return Ok(());
            }
            node.disk.submit(std::mem::take(ready));
            return Ok(());
        }
        if needs_write && self.blows(at, Stage::Sent)? {
            return Ok(());
        }
        self.finish(at, ready, needs_write)
    }

    /// The rest of a `Ready` that is handled synchronously.
    fn finish(&mut self, at: usize, ready: &mut Ready, needs_write: bool) -> Check {
        if needs_write {
            self.write_now(at, ready)?;
            if self.blows(at, Stage::Written)? {
                return Ok(());
            }
        }
        for message in ready.persisted_messages.drain(..) {
            self.leaves(at, message)?;
        }
        if needs_write && self.blows(at, Stage::Released)? {
            return Ok(());
        }
        self.apply_batch(at, &ready.committed_entries)?;
        if needs_write && self.blows(at, Stage::Applied)? {
            return Ok(());
        }
        let node = &mut self.nodes[at];
        let Some(raw) = &mut node.raw else { return Ok(()) };
        if node.options.advances {
            let result = raw.advance(std::mem::take(ready));
            if let Err(error) = result {
                return broken("ready", format!("node {}: {error}", node.id));
            }
            self.called(at, Cause::Persisted)?;
            return Ok(());
        }
        if needs_write {
            self.acknowledge_written(at, ready.number)?;
        }
        if !ready.committed_entries.is_empty() {
            self.acknowledge_applied(at)?;
        }
        Ok(())
    }

    /// What must be synced is said to be.
    fn check_sync(&mut self, at: usize, ready: &Ready) -> Check {
        let node = &mut self.nodes[at];
        let before = node.handed;
        node.handed = ready.hard_state.unwrap_or(before);
        let promises = (before.term, before.vote) != (node.handed.term, node.handed.vote);
        if (promises || !ready.entries.is_empty() || ready.snapshot.is_some()) && !ready.must_sync {
            return broken("must_sync", format!("node {} needn't sync {:?}", node.id, node.handed));
        }
        Ok(())
    }

    /// A state machine that waits for a snapshot is given nothing but one that covers all that it was given before (`wanted`).
    fn check_wanted(&self, at: usize, ready: &Ready) -> Check {
        let node = &self.nodes[at];
        if !node.damaged {
            return Ok(());
        }
        let given = node.to_apply.back().and_then(|batch| batch.last()).map(|entry| entry.index);
        let given = given.unwrap_or_default().max(node.machine.index());
        let (id, comes) = (node.id, ready.snapshot.as_ref().map(|snapshot| snapshot.metadata.index));
        if comes.is_some_and(|index| index < given) || !ready.committed_entries.is_empty() {
            let count = ready.committed_entries.len();
            return broken(
                "wanted",
                format!("node {id} waits for a snapshot of {given}, and gets {comes:?} and {count} to apply"),
            );
        }
        self.reached.reach_if(comes.is_some() && !ready.entries.is_empty(), Situation::SnapshotWithTail);
        Ok(())
    }

    /// What a `Ready` only tells.
    fn take_note(&mut self, at: usize, ready: &mut Ready) -> Check {
        let World { reached, nodes, oracle, report, .. } = self;
        let Some(raw) = &nodes[at].raw else { return Ok(()) };
        reached.reach_if(matches!(ready.data_loss, Some(DataLossReport::Noticed(_))), Situation::LossNoticed);
        reached.reach_if(ready.storage_error.is_some(), Situation::ReadFailed);
        for outcome in ready.transfers.drain(..) {
            reached.reach(match outcome.end {
                TransferEnd::SteppedDown => Situation::TransferDone,
                TransferEnd::TimedOut => Situation::TransferTimedOut,
                TransferEnd::TargetRemoved => Situation::TransferTargetRemoved,
                TransferEnd::Superseded => Situation::TransferSuperseded,
            });
            report.transfers += u64::from(outcome.end == TransferEnd::SteppedDown);
        }
        for read in ready.dropped_reads.drain(..) {
            reached.reach_if(read.reason == ReadError::LeaderChanged, Situation::ReadDropped);
            reached.reach_if(read.reason == ReadError::TimedOut, Situation::ReadTimedOut);
            oracle.clients.on_dropped(at, &read.context)?;
        }
        if ready.read_states.is_empty() {
            return Ok(());
        }
        for read in ready.read_states.drain(..) {
            let local = raw.role() == RoleKind::Leader;
            reached.reach(if local { Situation::ReadByQuorum } else { Situation::ReadForwarded });
            report.reads += 1;
            oracle.clients.on_confirmed(at, &read.context, read.index)?;
        }
        let machine = &nodes[at].machine;
        let waits = oracle.clients.serve(at, machine.index(), machine)?;
        reached.reach_if(waits, Situation::ReadWaits);
        Ok(())
    }

    fn write_now(&mut self, at: usize, ready: &Ready) -> Check {
        self.nodes[at].disk.write_now(ready)?;
        if let Some(snapshot) = &ready.snapshot {
            self.restore(at, snapshot)?;
        }
        let (oracle, cx) = self.look(at);
        oracle.on_durable(&cx, !ready.entries.is_empty())
    }

    /// The state machine is that of a snapshot.
    fn restore(&mut self, at: usize, snapshot: &Snapshot) -> Check {
        let node = &mut self.nodes[at];
        let snapshot = node.disk.with_state(snapshot)?;
        node.restore(&snapshot)?;
        // It may have been damaged again since the snapshot came.
        node.damaged = node.raw.as_ref().is_some_and(|raw| raw.basic_status().snapshot_wanted.is_some());
        self.oracle.on_restored(node.id, node.machine.index(), node.tested.digest())?;
        self.reached.reach(Situation::SnapshotRestored);
        self.reached.reach_if(!node.to_apply.is_empty(), Situation::SnapshotWhileApplying);
        self.report.snapshots += 1;
        node.to_apply.clear();
        Ok(())
    }

    /// The oldest write on its way reaches the disk, and the core is told.
    pub(super) fn complete_one(&mut self, at: usize) -> Check {
        let Some(write) = self.nodes[at].disk.complete_one()? else { return Ok(()) };
        if let Some(snapshot) = &write.snapshot {
            self.restore(at, snapshot)?;
        }
        if let Some(last) = write.entries.last() {
            let replaced = self.oracle.shadow(at).term(last.index) != Some(last.term);
            self.reached.reach_if(replaced, Situation::LateAck);
        }
        let (oracle, cx) = self.look(at);
        oracle.on_durable(&cx, !write.entries.is_empty())?;
        for message in write.persisted_messages {
            self.leaves(at, message)?;
        }
        self.acknowledge_written(at, write.number)
    }

    fn acknowledge_written(&mut self, at: usize, number: u64) -> Check {
        let Some(raw) = &mut self.nodes[at].raw else { return Ok(()) };
        if let Err(error) = raw.on_persisted(number) {
            return broken("ready", format!("node {}: {error}", self.nodes[at].id));
        }
        self.called(at, Cause::Persisted)
    }

    /// The core is told what is applied.
    pub(super) fn acknowledge_applied(&mut self, at: usize) -> Check {
        let node = &mut self.nodes[at];
        let Some(raw) = &mut node.raw else { return Ok(()) };
        if let Err(error) = raw.on_applied(node.machine.index()) {
            return broken("ready", format!("node {}: {error}", node.id));
        }
        self.called(at, Cause::Other)
    }

    /// Committed entries are applied.
    pub(super) fn apply_batch(&mut self, at: usize, batch: &[Entry]) -> Check {
        if batch.is_empty() {
            return Ok(());
        }
        for entry in batch {
            let node = &mut self.nodes[at];
            let applied = node.machine.index();
            if entry.index != applied.next() {
                return broken("10", format!("node {} is to apply {} after {applied}", node.id, entry.index));
            }
            let done = node.machine.apply(entry);
            let (oracle, cx) = self.look(at);
            oracle.on_applied(&cx, entry)?;
            let changed = if entry.payload.is_conf_change() { self.configure(at, entry)? } else { None };
            self.apply_tested(at, entry, done, changed.as_ref())?;
            if let Some((command, index)) = done {
                self.reached.reach_if(index < entry.index, Situation::SentTwice);
                self.oracle.clients.on_applied(at, command, index)?;
            }
        }
        let node = &mut self.nodes[at];
        node.make_snapshot_if_due(batch.len())?;
        self.oracle.clients.serve(at, node.machine.index(), &node.machine)?;
        Ok(())
    }

    /// The state machine that is tested applies an entry. What it comes to must be what it came to elsewhere, and what the
    /// simulation's own comes to. That one has done it already: if a client sent it, it took effect there at this index.
    fn apply_tested(
        &mut self,
        at: usize,
        entry: &Entry,
        done: Option<(Command, Index)>,
        changed: Option<&ConfState>,
    ) -> Check {
        let node = &mut self.nodes[at];
        let answer = match (done, entry.data()) {
            (Some(_), Some(data)) => node.tested.apply(entry.index, Command::tested(data)),
            _ => {
                node.tested.skip(entry, changed);
                Bytes::new()
            }
        };
        let value = node.tested.read();
        // The last command of its client, not one before that, which is no longer remembered.
        let again = |(command, first): (Command, Index)| {
            let last = node.machine.sessions[usize::from(command.client)].sequence;
            (command.sequence == last && first < entry.index).then_some(first)
        };
        let first = done.and_then(again).filter(|_| value.is_some());
        let outcome = Outcome { answer, digest: node.tested.digest() };
        self.oracle.on_outcome(node.id, entry.index, outcome, first)?;
        if let Some(value) = value.filter(|value| *value != node.machine.register) {
            let expected = node.machine.register;
            return broken(
                "20",
                format!("node {} reads {value} after {}, and {expected} was written", node.id, entry.index),
            );
        }
        Ok(())
    }

    /// A membership change is made. Returns what the configuration is then.
    fn configure(&mut self, at: usize, entry: &Entry) -> Check<Option<ConfState>> {
        let node = &mut self.nodes[at];
        let (Some(change), Some(raw)) = (entry.payload.as_conf_change(), &mut node.raw) else {
            return Ok(None);
        };
        let before = raw.status();
        let leads = raw.role() == RoleKind::Leader;
        let asked = node.disk.snapshots_asked();
        let result = raw.apply_conf_change(&change);
        if node.disk.snapshots_asked() > asked {
            // One that is made now may have the state of before the change and the configuration of after it.
            return broken("snapshot", format!("node {} asks for one while a change is being made", node.id));
        }
        if let Err(error) = &result
            && raw.status() != before
        {
            return broken(
                "18d",
                format!("a change that was refused ({error}) had an effect on node {}", node.id),
            );
        }
        let state = result.ok();
        if let Some(members) = state.as_ref().map(Members::of_state).filter(|_| leads) {
            let out = |node: &&mut Node<P>| !members.contains(node.id);
            self.nodes.iter_mut().filter(out).for_each(|node| node.lossy = false);
        }
        let node = &mut self.nodes[at];
        if let Some(state) = &state {
            node.machine.conf_state = state.clone();
            self.report.changes_applied += 1;
        }
        let (oracle, cx) = self.look(at);
        oracle.on_configured(&cx, entry.index, &change, state.as_ref())?;
        self.called(at, Cause::Configured)?;
        Ok(state)
    }
}
