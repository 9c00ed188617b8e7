//! The nodes of a simulated cluster, each with its disk, its clock and its state machine.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use raft_core::{
    ConfState, Config, Entry, Index, Message, NodeId, RawNode, Ready, Snapshot, StartError, Status,
    StorageError, TransferOutcome,
};

use crate::disk::{Disk, Write};
use crate::machine::Machine;

/// What was given to a node at its start, apart from its number.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its settings.
    pub config: Config,
    /// It makes a snapshot each time it has applied this many entries.
    pub snapshot_every: u64,
    /// And then keeps this many entries of its log.
    pub keep_entries: u64,
    /// Microseconds between two of its ticks.
    pub tick_every: u64,
}

/// A node that may be up or down.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// How it was set up.
    pub options: NodeOptions,
    /// Its disk, which outlives it.
    pub disk: Disk,
    /// The core, while it is up.
    pub raw: Option<RawNode<Disk>>,
    /// Its state machine, which lives in memory.
    pub machine: Machine,
    /// Committed batches that wait to be applied (asynchronous nodes apply late).
    pub to_apply: VecDeque<Vec<Entry>>,
    /// How often it was started.
    pub lives: u64,
    /// Where its log holds membership changes.
    pub changes: BTreeSet<Index>,
    at_first: ConfState,
}

/// What came of handling a `Ready`.
#[derive(Debug, Default)]
pub struct Handled {
    /// Messages that leave now.
    pub messages: Vec<Message>,
    /// Messages that leave because something became durable.
    pub released: Vec<Message>,
    /// Entries that were applied.
    pub applied: Vec<Entry>,
    /// Entries that were handed to the disk.
    pub appended: Vec<Entry>,
    /// A snapshot that was handed to the disk, or restored.
    pub snapshot: Option<Snapshot>,
    /// Reads that may be served at this index.
    pub reads: Vec<(Index, Bytes)>,
    /// Reads that were dropped.
    pub dropped_reads: Vec<Bytes>,
    /// Membership changes that were applied: the configuration that follows, or nothing where the change was refused.
    pub configured: Vec<(Index, Option<ConfState>)>,
    /// What the node said of itself after each step of this.
    pub moments: Vec<Status>,
    /// Transfers that ended.
    pub transfers: Vec<TransferOutcome>,
}

impl Node {
    /// A node that is down.
    pub fn new(options: NodeOptions, conf_state: ConfState) -> Node {
        Node {
            id: options.config.id,
            disk: Disk::new(conf_state.clone()),
            raw: None,
            machine: Machine::default(),
            to_apply: VecDeque::new(),
            lives: 0,
            changes: BTreeSet::new(),
            options,
            at_first: conf_state,
        }
    }

    /// A node that is down, of a cluster that began with this snapshot.
    ///
    /// # Errors
    /// It isn't a snapshot.
    pub fn founder(options: NodeOptions, snapshot: Snapshot) -> Result<Node, StorageError> {
        let disk = Disk::founded(snapshot)?;
        Ok(Node { disk, ..Node::new(options, ConfState::default()) })
    }

    /// Starts it from what its disk holds.
    ///
    /// # Errors
    /// The core refuses what a correct disk gave back: a fault.
    pub fn start(&mut self) -> Result<(), StartError> {
        self.lives += 1;
        self.to_apply.clear();
        self.machine = match self.disk.newest_snapshot() {
            Some(snapshot) => Machine::restore(&snapshot),
            None => Machine::new(self.at_first.clone()),
        };
        self.disk.set_conf_state(self.machine.conf_state.clone());
        self.changes = self.disk.with_durable(|storage| changes_among(storage.all_entries()).collect());
        let mut config = self.options.config.clone();
        config.applied = self.machine.index();
        config.seed = config.seed.wrapping_add(self.lives);
        self.raw = Some(RawNode::new(config, self.disk.clone())?);
        Ok(())
    }

    /// Power is lost; `survive` of the writes on their way have reached the disk.
    ///
    /// # Errors
    /// A write didn't fit the log on disk.
    pub fn crash(&mut self, survive: usize) -> Result<(), StorageError> {
        self.raw = None;
        self.to_apply.clear();
        self.disk.crash(survive)
    }

    /// Does it write in the background?
    pub fn is_async(&self) -> bool {
        self.options.config.async_writes
    }

    /// Handles a `Ready`: writes it at once and applies, or hands it to the disk and goes on.
    ///
    /// # Errors
    /// What the core asked for couldn't be done.
    pub fn handle(&mut self, mut ready: Ready) -> Result<Handled, String> {
        let mut handled = Handled {
            messages: std::mem::take(&mut ready.messages),
            appended: ready.entries.clone(),
            snapshot: ready.snapshot.clone(),
            reads: ready.read_states.drain(..).map(|read| (read.index, read.context)).collect(),
            dropped_reads: ready.dropped_reads.drain(..).map(|read| read.context).collect(),
            transfers: std::mem::take(&mut ready.transfers),
            ..Handled::default()
        };
        if ready.snapshot.is_some() {
            self.changes.clear();
        }
        if let Some(first) = ready.entries.first() {
            self.changes.split_off(&first.index);
            self.changes.extend(changes_among(&ready.entries));
        }
        let committed = std::mem::take(&mut ready.committed_entries);
        let needs_write = ready.needs_acknowledgement();
        let write = Write::of(&mut ready);
        if needs_write {
            self.disk.submit(write);
        }
        if self.is_async() {
            if !committed.is_empty() {
                self.to_apply.push_back(committed);
            }
            return Ok(handled);
        }
        while self.disk.queued() > 0 {
            self.complete_write(&mut handled)?;
        }
        if !committed.is_empty() {
            self.to_apply.push_back(committed);
            self.apply_one(&mut handled)?;
        }
        Ok(handled)
    }

    /// The oldest write on its way reaches the disk, and the core is told.
    ///
    /// # Errors
    /// What the core asked for couldn't be done.
    pub fn complete_write(&mut self, handled: &mut Handled) -> Result<(), String> {
        let write =
            self.disk.complete_one().map_err(|error| format!("a write doesn't fit the disk: {error}"))?;
        let Some(write) = write else { return Ok(()) };
        if let Some(snapshot) = &write.snapshot {
            self.machine = Machine::restore(snapshot);
            self.to_apply.clear();
        }
        handled.released.extend(write.messages);
        let Some(raw) = &mut self.raw else { return Ok(()) };
        raw.on_persisted(write.number).map_err(|error| error.to_string())?;
        handled.moments.push(raw.status());
        Ok(())
    }

    /// The oldest committed batch is applied.
    ///
    /// # Errors
    /// The batch doesn't follow what was applied.
    pub fn apply_one(&mut self, handled: &mut Handled) -> Result<(), String> {
        let Some(batch) = self.to_apply.pop_front() else { return Ok(()) };
        for entry in &batch {
            if entry.index != self.machine.index().next() {
                return Err(format!("entry {} follows {}", entry.index, self.machine.index()));
            }
            self.machine.apply(entry);
            self.configure(entry, handled)?;
        }
        let index = self.machine.index();
        if index.get() % self.options.snapshot_every < batch.len() as u64 {
            let snapshot = self.machine.snapshot();
            let compact = Index::new(index.get().saturating_sub(self.options.keep_entries));
            self.disk.keep_snapshot(snapshot, compact);
        }
        handled.applied.extend(batch);
        match &mut self.raw {
            Some(raw) => raw.on_applied(index).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Makes the snapshot that the core asked for, if it did.
    pub fn make_wanted_snapshot(&mut self) {
        if self.disk.take_wants_snapshot() && !self.machine.index().is_zero() {
            self.disk.keep_snapshot(self.machine.snapshot(), Index::ZERO);
        }
    }

    /// If the entry is a membership change, it is made.
    fn configure(&mut self, entry: &Entry, handled: &mut Handled) -> Result<(), String> {
        let Some(change) = entry.payload.as_conf_change() else { return Ok(()) };
        let Some(raw) = &mut self.raw else { return Ok(()) };
        let before = raw.status();
        let configured = raw.apply_conf_change(&change);
        let after = raw.status();
        match &configured {
            Ok(state) => self.machine.conf_state = state.clone(),
            Err(error) if after != before => {
                return Err(format!("a change that was refused ({error}) had an effect on node {}", self.id));
            }
            Err(_) => {}
        }
        handled.configured.push((entry.index, configured.ok()));
        handled.moments.push(after);
        Ok(())
    }
}

/// Where these entries hold membership changes.
fn changes_among(entries: &[Entry]) -> impl Iterator<Item = Index> + '_ {
    entries.iter().filter(|entry| entry.payload.as_conf_change().is_some()).map(|entry| entry.index)
}
