//! The nodes of a simulated cluster, each with its disk, its clock and its state machine.

mod shadow;

use std::collections::VecDeque;

use bytes::BytesMut;
use raft_core::{
    Body, ConfState, Config, Entries, HardState, Index, Message, NodeId, RawNode, Snapshot, StartError,
    Storage,
};

use crate::disk::{Disk, ReadFault};
use crate::machine::Machine;
use crate::members::Members;
use crate::oracle::{Check, broken};
use crate::parts::{Own, Parts, StateMachine};

pub use shadow::{Line, Shadow, chain};

/// What was given to a node at its start, apart from its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Its settings.
    pub config: Config,
    /// It makes a snapshot each time it has applied this many entries.
    pub snapshot_every: u64,
    /// And then keeps this many entries of its log.
    pub keep_entries: u64,
    /// Microseconds between two of its ticks.
    pub tick_every: u64,
    /// Its state machine survives a crash, with all that it has applied.
    pub durable_machine: bool,
    /// It acknowledges with `advance`, if it writes synchronously.
    pub advances: bool,
    /// Its disk gives no more entries than this at a time.
    pub page: usize,
}

/// Where a node that writes synchronously loses power, in the handling of a `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing is done.
    Taken,
    /// What needn't wait is sent.
    Sent,
    /// It is written.
    Written,
    /// What had to wait is sent.
    Released,
    /// It is applied.
    Applied,
}

/// The core of a node that is made of these.
pub type Raw<P> = RawNode<Disk<<P as Parts>::Storage>>;

/// A node that may be up or down.
pub struct Node<P: Parts = Own> {
    /// Its name.
    pub id: NodeId,
    /// How it was set up.
    pub options: NodeOptions,
    /// Its disk, which outlives it.
    pub disk: Disk<P::Storage>,
    /// The core, while it is up.
    pub raw: Option<Raw<P>>,
    /// Its state machine, as it should be.
    pub machine: Machine,
    /// The one that is tested beside it.
    pub tested: P::Machine,
    /// Committed batches that wait to be applied (asynchronous nodes apply late).
    pub to_apply: VecDeque<Entries>,
    /// How often it was started or crashed: what was on its way inside of it before that is gone.
    pub lives: u32,
    /// How often its disk was replaced. What it sent before that is no longer delivered.
    pub disks: u32,
    /// It will lose power at this stage of the next `Ready`.
    pub fuse: Option<Stage>,
    /// Its disk can't be read any more: it stays down until it is out of the configuration, and comes back empty.
    pub spoilt: bool,
    /// Its caller doesn't look for `Ready`s after the next tick or request, if it leads.
    pub busy: bool,
    /// Its state machine waits for a snapshot.
    pub damaged: bool,
    /// Its leader counts on what its disk no longer holds.
    pub lossy: bool,
    /// The largest windows that it was set up with since it started: messages and bytes.
    pub windows: (u32, u64),
    /// The hard state that was handed out last.
    pub handed: HardState,
    /// It commits only what is held among these nodes, by their bits, and among the others.
    pub second_group: Option<u16>,
    at_first: ConfState,
}

/// How many messages with entries may be on their way, and how many bytes of them: the one that crosses the limit still goes.
pub fn windows_of(config: &Config) -> (u32, u64) {
    let largest = config.max_message_bytes.max(4_096);
    (config.max_inflight_messages, config.max_inflight_bytes.saturating_add(largest))
}

impl<P: Parts> Node<P> {
    /// A node that is down.
    ///
    /// # Errors
    /// It has no storage.
    pub fn new(options: NodeOptions, conf_state: ConfState, parts: &P) -> Check<Node<P>> {
        let id = options.config.id;
        Ok(Node {
            id,
            disk: disk(id, conf_state.clone(), parts)?,
            raw: None,
            machine: Machine::default(),
            tested: parts.machine(id),
            to_apply: VecDeque::new(),
            lives: 0,
            disks: 0,
            fuse: None,
            spoilt: false,
            busy: false,
            damaged: false,
            lossy: false,
            windows: (0, 0),
            handed: HardState::default(),
            second_group: None,
            options,
            at_first: conf_state,
        })
    }

    /// A node that is down, of a cluster that began with this state.
    ///
    /// # Errors
    /// Its storage can't be made, or takes no snapshot.
    pub fn founder(options: NodeOptions, founding: Machine, parts: &P) -> Check<Node<P>> {
        let mut node = Node::new(options, ConfState::default(), parts)?;
        node.machine = founding;
        let snapshot = node.snapshot();
        node.disk.found(snapshot)?;
        node.machine = Machine::default();
        Ok(node)
    }

    /// Starts it from what its disk holds.
    ///
    /// # Errors
    /// The core refuses what a correct disk gave back (8); or the storage has no snapshot from which to start.
    pub fn start(&mut self, parts: &P) -> Check {
        self.lives += 1;
        self.fuse = None;
        self.to_apply.clear();
        self.disk.fail_reads(0, ReadFault::Fetching);
        self.disk.give_at_most(self.options.page);
        if self.lives == 1 || !self.keeps_machine() {
            self.tested = parts.machine(self.id);
            match self.disk.newest_snapshot() {
                Some(snapshot) => {
                    let snapshot = self.disk.with_state(&snapshot)?;
                    self.restore(&snapshot)?;
                }
                None => self.machine = Machine::new(self.at_first.clone()),
            }
        }
        self.disk.set_conf_state(self.machine.conf_state.clone());
        let mut config = self.options.config.clone();
        config.applied = self.machine.index();
        config.seed = config.seed.wrapping_add(u64::from(self.lives));
        self.windows = windows_of(&config);
        self.second_group = None;
        let raw = RawNode::new(config, self.disk.clone())
            .or_else(|error| broken("8", format!("node {} can't start: {error}", self.id)))?;
        self.handed = raw.hard_state();
        self.raw = Some(raw);
        Ok(())
    }

    /// Does the machine outlive a crash? Otherwise it begins with the newest snapshot.
    fn keeps_machine(&self) -> bool {
        let first = self.disk.look(|stored| stored.first_index().unwrap_or_default());
        self.options.durable_machine && self.machine.index() >= first.prev()
    }

    /// Does it act by a configuration that this node is in, or would it after a crash? `removed_at` is where the change was
    /// applied by which the node went: who has stored that this is committed doesn't campaign before it is applied.
    pub fn may_count_on(&self, id: NodeId, removed_at: Index) -> bool {
        let acts = self.raw.as_ref().is_some_and(|raw| raw.configuration().contains(id));
        let conf_state = if self.keeps_machine() {
            Some(self.machine.conf_state.clone())
        } else {
            self.disk.newest_snapshot().map(|snapshot| snapshot.metadata.conf_state)
        };
        let began = Members::of_state(&conf_state.unwrap_or_else(|| self.at_first.clone())).contains(id);
        acts || began && self.disk.synced().commit < removed_at
    }

    /// A snapshot of its state machines, with the whole state: that of the simulation first.
    fn snapshot(&mut self) -> Snapshot {
        let mut snapshot = self.machine.snapshot();
        let tested = self.tested.snapshot();
        if !tested.is_empty() {
            let mut both = BytesMut::from(&*snapshot.data);
            both.extend_from_slice(&tested);
            snapshot.data = both.freeze();
        }
        snapshot
    }

    /// A message that leaves has the state that goes with its snapshot.
    ///
    /// # Errors
    /// As [`Disk::with_state`].
    pub fn pack(&self, message: &mut Message) -> Check {
        if let Body::InstallSnapshot(install) = &mut message.body {
            install.snapshot = self.disk.with_state(&install.snapshot)?;
        }
        Ok(())
    }

    /// A message that arrives brings the state that goes with its snapshot.
    ///
    /// # Errors
    /// As [`Disk::receive`].
    pub fn unpack(&self, message: &mut Message) -> Check {
        if let Body::InstallSnapshot(install) = &mut message.body {
            install.snapshot = self.disk.receive(std::mem::take(&mut install.snapshot))?;
        }
        Ok(())
    }

    /// Its state machines become those of a snapshot that comes with the whole state.
    ///
    /// # Errors
    /// It is none.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Check {
        let Some((machine, tested)) = Machine::restore(snapshot) else {
            return broken("snapshot", format!("node {} is given no snapshot of ours", self.id));
        };
        self.machine = machine;
        self.damaged = false;
        self.tested.restore(tested).or_else(|error| {
            broken(
                "snapshot",
                format!("node {} can't restore that of {}: {error}", self.id, snapshot.position()),
            )
        })
    }

    /// Power is lost; `survive` of the writes on their way have reached the disk, and the next is half written, if it is torn.
    /// Returns whether a half of it could be told from a whole.
    ///
    /// # Errors
    /// As [`Disk::crash`], or the core doesn't refuse that half (8).
    pub fn crash(&mut self, survive: usize, torn: bool) -> Check<bool> {
        self.raw = None;
        self.lives += 1;
        self.damaged = false;
        self.to_apply.clear();
        let Some(half) = self.disk.crash(survive, torn)? else { return Ok(false) };
        match RawNode::new(self.options.config.clone(), half)
            .map(|raw| (raw.hard_state(), raw.last_position()))
        {
            Err(StartError::TermBelowLog { .. }) => Ok(true),
            other => broken("8", format!("node {} starts from half of a write: {other:?}", self.id)),
        }
    }

    /// It comes back with another disk, which is empty: nobody counts on it any more.
    ///
    /// # Errors
    /// There is none.
    pub fn replace_disk(&mut self, parts: &P) -> Check {
        self.disk = disk(self.id, ConfState::default(), parts)?;
        (self.machine, self.at_first) = (Machine::default(), ConfState::default());
        self.tested = parts.machine(self.id);
        self.disks += 1;
        self.spoilt = false;
        Ok(())
    }

    /// Does it write in the background?
    pub fn is_async(&self) -> bool {
        self.options.config.async_writes
    }

    /// Makes a snapshot if it is time to, after `count` entries were applied.
    ///
    /// # Errors
    /// As [`Disk::keep_snapshot`].
    pub fn make_snapshot_if_due(&mut self, count: usize) -> Check {
        let due = self.machine.index().get() % self.options.snapshot_every < count as u64;
        if due { self.make_snapshot(self.options.keep_entries) } else { Ok(()) }
    }

    /// Makes a snapshot if it can, and keeps so many entries before it.
    ///
    /// # Errors
    /// As [`Disk::keep_snapshot`].
    pub fn make_snapshot(&mut self, keep_entries: u64) -> Check {
        let index = self.machine.index();
        if index.is_zero() || self.damaged || !self.is_durable() {
            return Ok(());
        }
        let compact = Index::new(index.get().saturating_sub(keep_entries));
        let snapshot = self.snapshot();
        self.disk.keep_snapshot(snapshot, compact)
    }

    /// Is the last entry that was applied on the disk? With those that are applied before they are durable it may not be, or
    /// another may stand in its place.
    fn is_durable(&self) -> bool {
        self.disk.term_at(self.machine.index()) == Some(self.machine.applied.term)
    }

    /// Makes the snapshot that the core asked for, if it did.
    ///
    /// # Errors
    /// As [`Disk::keep_snapshot`].
    pub fn make_wanted_snapshot(&mut self) -> Check {
        if self.disk.take_wants_snapshot() { self.make_snapshot(u64::MAX) } else { Ok(()) }
    }
}

/// An empty one.
fn disk<P: Parts>(node: NodeId, conf_state: ConfState, parts: &P) -> Check<Disk<P::Storage>> {
    match parts.storage(node, &conf_state) {
        Ok(storage) => Ok(Disk::new(node, conf_state, storage)),
        Err(why) => broken("storage", format!("that of node {node} can't be made: {why}")),
    }
}
