//! The cluster that a script drives.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

use raft_core::{Body, Entry, EntryBatches, HardState, Index, NodeId, RawNode, Ready, StepError};

use super::message::{Append, Apply, Wire};
use super::print;
use super::script::Directive;
use super::store::Store;

/// A scripted node.
pub(super) struct ScriptNode {
    pub(super) id: NodeId,
    pub(super) raw: RawNode<Store>,
    pub(super) store: Store,
    pub(super) options: super::commands::NodeOptions,
    pub(super) append_queue: VecDeque<Append>,
    pub(super) apply_queue: VecDeque<Apply>,
    /// The hard state that was shown last.
    pub(super) shown: HardState,
    /// A snapshot that was handed to the append thread, and in which write.
    pub(super) pending_snapshot: Option<(u64, Index)>,
    /// What the core refused, and yet did a part of.
    pub(super) half_done: Option<String>,
}

/// The state of a script.
#[derive(Default)]
pub(super) struct Environment {
    pub(super) nodes: Vec<ScriptNode>,
    pub(super) messages: Vec<Wire>,
    pub(super) quiet: bool,
    pub(super) out: String,
    /// How often the core, or the storage, refused what a script wanted.
    pub(super) refusals: u64,
}

/// The error text that a directive ends with.
pub(super) type CommandError = String;

const EMPTY: &str = "<empty Ready>";
const DROPPED: &str = "raft proposal dropped";

impl Environment {
    /// Runs a directive and gives its output.
    pub(super) fn run(&mut self, directive: &Directive) -> String {
        self.out.clear();
        if let Err(error) = self.dispatch(directive) {
            self.refusals += 1;
            if self.quiet {
                return error;
            }
            self.out.push_str(&error);
        }
        if self.quiet || self.out.is_empty() { "ok".to_owned() } else { std::mem::take(&mut self.out) }
    }

    /// How often anything was refused so far.
    pub(super) fn refused(&self) -> u64 {
        self.nodes.iter().fold(self.refusals, |sum, node| {
            let counters = node.raw.status().counters;
            sum + counters.dropped_messages + counters.refused_messages + counters.storage_failures
        })
    }

    /// Was anything refused since there were `before` refusals, and do all nodes keep what must hold?
    pub(super) fn refusal_since(&self, before: u64) -> Result<(), String> {
        self.check_invariants()?;
        if self.refused() > before { Ok(()) } else { Err("nothing was refused".to_owned()) }
    }

    /// Has every node left alone all that it refused?
    pub(super) fn half_done(&self) -> Result<(), String> {
        let first = self.nodes.iter().find_map(|node| Some((node.id, node.half_done.as_ref()?)));
        first.map_or(Ok(()), |(id, what)| Err(format!("node {id} changed, though it refused: {what}")))
    }

    /// Do all nodes keep what must hold?
    pub(super) fn check_invariants(&self) -> Result<(), String> {
        self.nodes.iter().try_for_each(|node| {
            node.raw.check_invariants().map_err(|violation| format!("node {}: {violation}", node.id))
        })
    }

    pub(super) fn node(&mut self, id: u64) -> Result<&mut ScriptNode, CommandError> {
        self.nodes.iter_mut().find(|node| node.id.get() == id).ok_or_else(|| format!("no node {id}"))
    }

    /// Runs `inner` and indents what it writes.
    pub(super) fn indented(
        &mut self,
        inner: impl FnOnce(&mut Environment) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let before = std::mem::take(&mut self.out);
        let result = inner(self);
        let text = std::mem::replace(&mut self.out, before);
        for line in text.lines() {
            self.out.push_str("  ");
            self.out.push_str(line);
            self.out.push('\n');
        }
        result
    }

    /// One round of handling a `Ready`. Returns false if it held nothing but news for which etcd has no word.
    pub(super) fn process_ready(&mut self, id: u64) -> Result<bool, CommandError> {
        let node = self.node(id)?;
        let mut ready = node.raw.ready();
        let more =
            !ready.transfers.is_empty() || !ready.dropped_reads.is_empty() || ready.storage_error.is_some();
        // etcd has no word for it; so it is stored without being shown.
        if let Some(report) = ready.data_loss.take() {
            node.store.set_lost(report.lost());
        }
        let batch = Batch::of(node, &mut ready);
        let text = batch.show(node, &ready);
        let known_to_etcd = !more || text != EMPTY || !batch.held.is_empty() || ready.needs_acknowledgement();
        let mut outgoing = batch.immediate;
        if node.options.config.async_writes {
            node.append_queue.extend(batch.append);
            node.apply_queue.extend(batch.apply);
        } else {
            outgoing.extend(batch.held);
        }
        let synchronous = !node.options.config.async_writes;
        self.out.push_str(&text);
        if synchronous {
            let node = self.node(id)?;
            if let Some(hard_state) = ready.hard_state {
                node.store.set_hard_state(hard_state);
            }
            node.write(ready.snapshot.as_ref(), &ready.entries)?;
            let refused = node.apply(&ready.committed_entries);
            self.refusals += refused;
        }
        self.messages.extend(outgoing);
        if synchronous {
            let node = self.node(id)?;
            node.call(|raw| raw.advance(ready)).map_err(|error| error.to_string())?;
        }
        Ok(known_to_etcd)
    }

    /// Handles one message of an append thread.
    pub(super) fn process_append(&mut self, id: u64) -> Result<(), CommandError> {
        let node = self.node(id)?;
        let Some(work) = node.append_queue.pop_front() else {
            self.out.push_str("no append work to perform");
            return Ok(());
        };
        let mut text = format!("Processing:\n{}\nResponses:\n", print::append(&work, false, ""));
        if let Some(hard_state) = work.hard_state {
            node.store.set_hard_state(hard_state);
        }
        if let Err(error) = node.write(work.snapshot.as_ref(), &work.entries) {
            text.truncate(text.len() - "Responses:\n".len());
            self.out.push_str(&text);
            return Err(error);
        }
        for response in &work.responses {
            text.push_str(&print::wire(response, ""));
            text.push('\n');
        }
        self.out.push_str(&text);
        self.messages.extend(work.responses);
        Ok(())
    }

    /// Handles one message of an apply thread.
    pub(super) fn process_apply(&mut self, id: u64) -> Result<(), CommandError> {
        let node = self.node(id)?;
        let Some(work) = node.apply_queue.pop_front() else {
            self.out.push_str("no apply work to perform");
            return Ok(());
        };
        let refused = node.apply(&work.entries);
        let response = Wire::Applied { to: work.from, entries: work.entries.clone() };
        let text = format!(
            "Processing:\n{}\nResponses:\n{}\n",
            print::apply(&work, false, ""),
            print::wire(&response, "")
        );
        self.out.push_str(&text);
        self.messages.push(response);
        self.refusals += refused;
        Ok(())
    }

    /// Delivers, or drops, what is addressed to a node. Returns how many messages that were.
    pub(super) fn deliver(&mut self, id: u64, drop: bool, only: Option<&str>) -> usize {
        let all = std::mem::take(&mut self.messages);
        let (taken, kept): (Vec<Wire>, Vec<Wire>) = all.into_iter().partition(|wire| {
            wire.to().get() == id
                && only.is_none_or(|name| wire.type_name() == name)
                && !(drop && wire.is_local())
        });
        self.messages = kept;
        let count = taken.len();
        for wire in taken {
            let text = print::wire(&wire, "");
            let mark = if drop { "dropped: " } else { "" };
            self.out.push_str(&format!("{mark}{text}\n"));
            if drop {
                continue;
            }
            let Ok(node) = self.node(id) else { continue };
            if let Some(error) = node.receive(wire) {
                self.out.push_str(&error);
                self.out.push('\n');
            }
        }
        count
    }
}

impl ScriptNode {
    /// Calls the core. What it refuses must leave it as it was, but for what it counts.
    pub(super) fn call<T, E: std::fmt::Display>(
        &mut self,
        call: impl FnOnce(&mut RawNode<Store>) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = state_of(&self.raw);
        let result = call(&mut self.raw);
        if let Err(error) = &result
            && state_of(&self.raw) != before
        {
            self.half_done.get_or_insert_with(|| error.to_string());
        }
        result
    }

    /// Steps a message. Returns the error that etcd would give.
    fn receive(&mut self, wire: Wire) -> Option<String> {
        match wire {
            Wire::Peer(message) => match self.call(|raw| raw.step(message)) {
                Err(StepError::Proposal(_)) => Some(DROPPED.to_owned()),
                Err(StepError::UnknownPeer(_)) => Some("raft: cannot step as peer not found".to_owned()),
                Ok(()) | Err(_) => None,
            },
            Wire::Own { write, .. } | Wire::Appended { write, .. } => {
                if self.pending_snapshot.is_some_and(|(number, _)| number <= write) {
                    self.pending_snapshot = None;
                }
                self.call(|raw| raw.on_persisted(write)).err().map(|error| error.to_string())
            }
            Wire::Applied { entries, .. } => {
                let last = entries.last()?.index;
                self.call(|raw| raw.on_applied(last)).err().map(|error| error.to_string())
            }
        }
    }

    fn write(
        &mut self,
        snapshot: Option<&raft_core::Snapshot>,
        entries: &EntryBatches,
    ) -> Result<(), CommandError> {
        let mut inner = self.store.0.borrow_mut();
        match snapshot {
            Some(_) if !entries.is_empty() => {
                Err("can't apply snapshot and entries at the same time".to_owned())
            }
            Some(snapshot) => inner
                .log
                .apply_snapshot(snapshot.clone())
                .map_err(|_| "requested index is older than the existing snapshot".to_owned()),
            None => entries
                .batches()
                .try_for_each(|batch| inner.log.append(batch))
                .map_err(|error| error.to_string()),
        }
    }

    /// Applies committed entries. Returns how many membership changes the core refused: they have no effect.
    fn apply(&mut self, entries: &[Entry]) -> u64 {
        let mut refused = 0;
        for entry in entries {
            let change = entry.payload.as_conf_change();
            let result = change.map(|change| self.call(|raw| raw.apply_conf_change(&change)));
            refused += u64::from(matches!(result, Some(Err(_))));
            self.store.apply(entry, result.and_then(Result::ok));
        }
        refused
    }

    /// Has the log entries that aren't known to be durable?
    fn has_unstable_entries(&self) -> bool {
        let status = self.raw.status();
        let snapshot = self.pending_snapshot.map_or(Index::ZERO, |(_, index)| index);
        status.last > status.durable.max(snapshot)
    }
}

/// A digest of all that decides how a node goes on.
fn state_of(raw: &RawNode<Store>) -> u64 {
    let mut hasher = DefaultHasher::new();
    raw.hash_state(&mut hasher);
    hasher.finish()
}

/// A `Ready`, sorted as etcd would.
struct Batch {
    immediate: Vec<Wire>,
    held: Vec<Wire>,
    append: Option<Append>,
    apply: Option<Apply>,
    must_sync: bool,
}

impl Batch {
    fn of(node: &mut ScriptNode, ready: &mut Ready) -> Batch {
        let number = ready.number;
        let mut own: VecDeque<(usize, Wire)> = node
            .raw
            .own_answers(number)
            .map(|(after, message)| (after, Wire::Own { message: message.clone(), write: number }))
            .collect();
        let mut immediate: Vec<Wire> = ready.messages.drain(..).map(Wire::Peer).collect();
        // Each request moves those behind it by one.
        let mut votes =
            ready.vote_requests_after().to_vec().into_iter().enumerate().map(|(before, at)| before + at);
        let mut held = Vec::new();
        let mut with_own = Vec::new();
        for (at, message) in ready.persisted_messages.drain(..).enumerate() {
            while own.front().is_some_and(|(after, _)| *after <= at) {
                with_own.extend(own.pop_front().map(|(_, wire)| wire));
            }
            // Requests for votes leave at once in etcd; ours wait.
            if let Body::RequestVote(_) = message.body {
                let at = votes.next().unwrap_or(usize::MAX);
                immediate.insert(at.min(immediate.len()), Wire::Peer(message));
            } else {
                held.push(Wire::Peer(message.clone()));
                with_own.push(Wire::Peer(message));
            }
        }
        with_own.extend(own.into_iter().map(|(_, wire)| wire));
        if let Some(snapshot) = &ready.snapshot {
            node.pending_snapshot = Some((number, snapshot.metadata.index));
        }
        let now = ready.hard_state.unwrap_or(node.shown);
        let must_sync =
            !ready.entries.is_empty() || (now.term, now.vote) != (node.shown.term, node.shown.vote);
        node.shown = now;
        let (mut append, mut apply) = (None, None);
        if node.options.config.async_writes {
            append = Batch::append(node, ready, with_own);
            apply = (!ready.committed_entries.is_empty())
                .then(|| Apply { from: node.id, entries: ready.committed_entries.clone() });
        } else {
            node.pending_snapshot = None;
        }
        Batch { immediate, held, append, apply, must_sync }
    }

    fn append(node: &ScriptNode, ready: &Ready, mut responses: Vec<Wire>) -> Option<Append> {
        let anything = !ready.entries.is_empty()
            || ready.hard_state.is_some()
            || ready.snapshot.is_some()
            || !responses.is_empty();
        if !anything {
            return None;
        }
        let unstable = node.has_unstable_entries();
        if unstable || ready.snapshot.is_some() {
            responses.push(Wire::Appended {
                to: node.id,
                term: node.raw.term(),
                last: if unstable { node.raw.last_position() } else { raft_core::LogPosition::ZERO },
                snapshot: ready.snapshot.clone(),
                write: ready.number,
            });
        }
        Some(Append {
            from: node.id,
            hard_state: ready.hard_state,
            entries: ready.entries.clone(),
            snapshot: ready.snapshot.clone(),
            responses,
        })
    }

    fn show(&self, node: &ScriptNode, ready: &Ready) -> String {
        let mut parts = Vec::new();
        if let Some(soft) = ready.soft_state {
            let leader = soft.leader.map_or(0, NodeId::get);
            parts.push(format!("Lead:{leader} State:{}", print::role(soft.role)));
        }
        if let Some(hard_state) = &ready.hard_state {
            parts.push(format!("HardState {}", print::hard_state(hard_state)));
        }
        if !ready.read_states.is_empty() {
            let states = ready.read_states.iter().map(|state| {
                let bytes: Vec<String> = state.context.iter().map(u8::to_string).collect();
                format!("{{{} [{}]}}", state.index, bytes.join(" "))
            });
            parts.push(format!("ReadStates [{}]", states.collect::<Vec<_>>().join(" ")));
        }
        if !ready.entries.is_empty() {
            parts.push("Entries:".to_owned());
            parts.extend(ready.entries.iter().map(print::entry));
        }
        if let Some(snapshot) = &ready.snapshot {
            parts.push(format!("Snapshot {}", print::snapshot(snapshot)));
        }
        if !ready.committed_entries.is_empty() {
            parts.push("CommittedEntries:".to_owned());
            parts.extend(ready.committed_entries.iter().map(print::entry));
        }
        let mut messages: Vec<String> = self.immediate.iter().map(|wire| print::wire(wire, "")).collect();
        if node.options.config.async_writes {
            messages.extend(self.append.iter().map(|append| print::append(append, true, "")));
            messages.extend(self.apply.iter().map(|apply| print::apply(apply, true, "")));
        } else {
            messages.extend(self.held.iter().map(|wire| print::wire(wire, "")));
        }
        if !messages.is_empty() {
            parts.push("Messages:".to_owned());
            parts.extend(messages);
        }
        if parts.is_empty() {
            return EMPTY.to_owned();
        }
        format!("Ready MustSync={}:\n{}\n", self.must_sync, parts.join("\n"))
    }
}
