//! A cluster in one thread. The test is its clock, its network and its power supply; nothing happens by itself.

mod network;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use raft_core::{
    AckError, ConfChangeProposal, ConfChangeV2, ConfState, Config, DroppedRead, Entry, HardState, Index,
    MemoryStorage, Message, NodeId, Payload, PeerStatus, Proposal, ProposeError, RawNode, ReadError,
    ReadMode, ReadState, Ready, RoleKind, Status, StepError, Storage, TransferOutcome,
};

use crate::oracle::{self, Oracle};
use crate::words::{conf_state, entries, id, index, snapshot, term};

/// How a node's disk works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Each `Ready` is written and applied before the next one is taken.
    AtOnce,
    /// Writes pile up until the test lets them through.
    Held,
}

/// A node with all that belongs to it.
pub struct Slot {
    config: Config,
    node: Option<RawNode<MemoryStorage>>,
    /// What a loss of power leaves: everything up to the last write that was synced.
    durable: MemoryStorage,
    disk: Disk,
    writes: VecDeque<Ready>,
    /// The state machine: everything applied so far, from index 1 on.
    pub applied: Vec<Entry>,
    pub reads: Vec<ReadState>,
    pub dropped: Vec<DroppedRead>,
    /// How transfers of leadership ended that this node had begun.
    pub transfers: Vec<TransferOutcome>,
}

/// Which messages are lost.
type Loss = Box<dyn FnMut(&Message) -> bool>;

/// Some nodes and the messages between them.
pub struct Cluster {
    slots: BTreeMap<u64, Slot>,
    /// Messages on their way, oldest first.
    pub network: VecDeque<Message>,
    /// Links that lose everything, by direction.
    cut: BTreeSet<(u64, u64)>,
    lose: Option<Loss>,
    lost: Vec<Message>,
    /// Every message that ever left.
    pub sent: Vec<Message>,
    oracle: Oracle,
    /// What the answer to a read must not be below.
    floors: BTreeMap<Bytes, Index>,
    starts: u64,
}

impl Cluster {
    /// `n` voters with the default configuration, except that ten ticks are the election time-out, and one a heartbeat.
    pub fn new(n: u64) -> Cluster {
        Cluster::with(n, |_| {})
    }

    /// The same without pre-vote and check-quorum: the protocol of the paper's figure 2.
    pub fn plain(n: u64) -> Cluster {
        Cluster::with(n, figure_2)
    }

    pub fn with(n: u64, configure: impl Fn(&mut Config)) -> Cluster {
        let voters: Vec<u64> = (1..=n).collect();
        Cluster::of(&voters, &[], configure)
    }

    pub fn of(voters: &[u64], learners: &[u64], configure: impl Fn(&mut Config)) -> Cluster {
        let logs: Vec<(u64, MemoryStorage)> = voters
            .iter()
            .chain(learners)
            .map(|n| (*n, MemoryStorage::with_conf_state(conf_state(voters, learners))))
            .collect();
        Cluster::from_disks(logs, configure)
    }

    /// Voters whose logs hold entries of these terms from index 1 on, in the last one's term; nothing is committed.
    pub fn with_logs(logs: &[&[u64]], configure: impl Fn(&mut Config)) -> Cluster {
        let voters: Vec<u64> = (1..).take(logs.len()).collect();
        let disks = voters.iter().zip(logs).map(|(n, terms)| (*n, disk_with(&voters, terms, 0)));
        Cluster::from_disks(disks, configure)
    }

    /// Voters, and nodes that aren't members but know who is.
    pub fn with_spares(voters: &[u64], spares: &[u64], configure: impl Fn(&mut Config)) -> Cluster {
        let disk = MemoryStorage::with_conf_state(conf_state(voters, &[]));
        Cluster::from_disks(voters.iter().chain(spares).map(|n| (*n, disk.clone())), configure)
    }

    pub fn from_disks(
        disks: impl IntoIterator<Item = (u64, MemoryStorage)>,
        configure: impl Fn(&mut Config),
    ) -> Cluster {
        let mut cluster = Cluster {
            slots: BTreeMap::new(),
            network: VecDeque::new(),
            cut: BTreeSet::new(),
            lose: None,
            lost: Vec::new(),
            sent: Vec::new(),
            oracle: Oracle::default(),
            floors: BTreeMap::new(),
            starts: 0,
        };
        for (n, durable) in disks {
            let mut config = Config::new(id(n), 0);
            configure(&mut config);
            let slot = Slot {
                config,
                node: None,
                durable,
                disk: Disk::AtOnce,
                writes: VecDeque::new(),
                applied: Vec::new(),
                reads: Vec::new(),
                dropped: Vec::new(),
                transfers: Vec::new(),
            };
            cluster.slots.insert(n, slot);
            cluster.restart(n);
        }
        cluster
    }

    // -- looking at it

    pub fn slot(&self, n: u64) -> &Slot {
        &self.slots[&n]
    }

    pub fn slot_mut(&mut self, n: u64) -> &mut Slot {
        self.slots.get_mut(&n).unwrap()
    }

    pub fn node(&self, n: u64) -> &RawNode<MemoryStorage> {
        self.slots[&n].node.as_ref().expect("the node is down")
    }

    /// The node itself. What is done to it is noticed by [`pump`](Cluster::pump).
    pub fn node_mut(&mut self, n: u64) -> &mut RawNode<MemoryStorage> {
        self.slot_mut(n).node.as_mut().expect("the node is down")
    }

    pub fn numbers(&self) -> Vec<u64> {
        self.slots.keys().copied().collect()
    }

    pub fn is_up(&self, n: u64) -> bool {
        self.slots[&n].node.is_some()
    }

    pub fn status(&self, n: u64) -> Status {
        self.node(n).status()
    }

    pub fn role(&self, n: u64) -> RoleKind {
        self.node(n).role()
    }

    pub fn term(&self, n: u64) -> u64 {
        self.node(n).term().get()
    }

    pub fn commit(&self, n: u64) -> u64 {
        self.node(n).commit_index().get()
    }

    pub fn last(&self, n: u64) -> u64 {
        self.node(n).last_index().get()
    }

    /// What the leader `n` knows of `peer`.
    pub fn peer(&self, n: u64, peer: u64) -> PeerStatus {
        let status = self.status(n);
        status.progress.into_iter().find(|known| known.id == id(peer)).expect("no such peer, or no leader")
    }

    /// The commands that were applied, without the empty entries at the starts of terms.
    pub fn applied(&self, n: u64) -> Vec<String> {
        commands(&self.slots[&n].applied)
    }

    /// The terms of the log on the disk.
    pub fn log_terms(&self, n: u64) -> Vec<u64> {
        self.node(n).storage().all_entries().map(|entry| entry.term.get()).collect()
    }

    pub fn hard_state(&self, n: u64) -> HardState {
        self.slots[&n].durable.hard_state()
    }

    /// What a loss of power would leave.
    pub fn disk(&self, n: u64) -> &MemoryStorage {
        &self.slots[&n].durable
    }

    pub fn conf_state(&self, n: u64) -> ConfState {
        self.status(n).conf_state
    }

    /// All who lead in the newest term.
    pub fn leader(&self) -> Option<u64> {
        let up = || self.slots.iter().filter_map(|(n, slot)| Some((*n, slot.node.as_ref()?)));
        let newest = up().map(|(_, node)| node.term()).max()?;
        up().find(|(_, node)| node.role() == RoleKind::Leader && node.term() == newest).map(|(n, _)| n)
    }

    // -- inputs

    pub fn step(&mut self, message: Message) -> Result<(), StepError> {
        let to = message.to.get();
        let result = self.node_mut(to).step(message);
        self.pump(to);
        result
    }

    pub fn tick(&mut self, n: u64) {
        self.node_mut(n).tick();
        self.pump(n);
    }

    pub fn ticks(&mut self, n: u64, count: u32) {
        for _ in 0..count {
            self.tick(n);
        }
    }

    /// One tick of every node that is up, and every message delivered.
    pub fn round(&mut self) {
        for n in self.numbers() {
            if self.is_up(n) {
                self.tick(n);
            }
        }
        self.settle();
    }

    pub fn rounds(&mut self, count: u32) {
        for _ in 0..count {
            self.round();
        }
    }

    pub fn propose(&mut self, n: u64, command: &'static str) -> Result<Proposal, ProposeError> {
        let result = self.node_mut(n).propose(Bytes::from_static(command.as_bytes()));
        self.pump(n);
        result
    }

    /// Proposes a membership change.
    pub fn change(&mut self, n: u64, change: ConfChangeV2) -> Result<ConfChangeProposal, ProposeError> {
        let result = self.node_mut(n).propose_conf_change(change);
        self.pump(n);
        result
    }

    /// The same, and delivers whatever follows; the change must be made.
    pub fn change_and_settle(&mut self, n: u64, change: ConfChangeV2) {
        let proposed = self.change(n, change);
        assert!(matches!(proposed, Ok(ConfChangeProposal::Appended { .. })), "{proposed:?}");
        self.settle();
    }

    pub fn read(&mut self, n: u64, context: &'static str, mode: ReadMode) -> Result<(), ReadError> {
        let result = self.node_mut(n).read_index(Bytes::from_static(context.as_bytes()), mode);
        self.pump(n);
        result
    }

    /// A read with bytes of its own, whose answer must not be older than anything that is committed by now.
    pub fn read_checked(&mut self, n: u64, mode: ReadMode) -> Result<(), ReadError> {
        self.starts += 1;
        let context = Bytes::copy_from_slice(&self.starts.to_be_bytes());
        let up = self.slots.values().filter_map(|slot| slot.node.as_ref());
        let floor = up.map(RawNode::commit_index).max().unwrap_or(Index::ZERO);
        self.floors.insert(context.clone(), floor);
        let result = self.node_mut(n).read_index(context, mode);
        self.pump(n);
        result
    }

    /// Rounds until one of these leads the newest term.
    pub fn elect_among(&mut self, nodes: &[u64]) -> u64 {
        for _ in 0..200 {
            if let Some(leader) = self.leader().filter(|leader| nodes.contains(leader)) {
                return leader;
            }
            self.round();
        }
        panic!("none of {nodes:?} was elected");
    }

    /// The same for all but one.
    pub fn elect_among_others(&mut self, n: u64) -> u64 {
        let others: Vec<u64> = self.numbers().into_iter().filter(|other| *other != n).collect();
        self.elect_among(&others)
    }

    /// Makes `n` campaign, and delivers whatever follows. It must win.
    pub fn elect(&mut self, n: u64) {
        self.node_mut(n).campaign().unwrap();
        self.pump(n);
        self.settle();
        assert_eq!(self.role(n), RoleKind::Leader, "node {n} didn't win");
    }

    // -- the disks

    pub fn set_disk(&mut self, n: u64, disk: Disk) {
        self.slot_mut(n).disk = disk;
        self.pump(n);
    }

    pub fn held_writes(&self, n: u64) -> usize {
        self.slots[&n].writes.len()
    }

    /// Lets the oldest held write through. Returns false if there is none.
    pub fn persist_one(&mut self, n: u64) -> bool {
        let Some(ready) = self.slot_mut(n).writes.pop_front() else { return false };
        self.persist(n, ready);
        self.pump(n);
        true
    }

    pub fn persist_all(&mut self, n: u64) {
        while self.persist_one(n) {}
    }

    /// A loss of power: whatever wasn't synced is gone, and so is the state machine, which is in memory.
    pub fn crash(&mut self, n: u64) {
        let slot = self.slot_mut(n);
        slot.node = None;
        slot.writes.clear();
        slot.reads.clear();
        slot.dropped.clear();
        slot.transfers.clear();
    }

    /// The node starts from its disk; the state machine from the last snapshot there.
    /// Gives a node that is down another disk.
    pub fn replace_disk(&mut self, n: u64, disk: MemoryStorage) {
        self.slot_mut(n).durable = disk;
        self.oracle.on_replaced(id(n));
    }

    pub fn restart(&mut self, n: u64) {
        self.start(n, |config| config.applied = Index::ZERO);
    }

    /// The same with another configuration from here on.
    pub fn start(&mut self, n: u64, configure: impl Fn(&mut Config)) {
        self.starts += 1;
        let starts = self.starts;
        self.oracle.on_start(id(n));
        let slot = self.slots.get_mut(&n).unwrap();
        configure(&mut slot.config);
        slot.config.seed = starts;
        let applied = slot.config.applied.max(slot.durable.first_index().unwrap().prev());
        slot.applied = self.oracle.state_at(applied);
        if let Some(conf_state) = self.oracle.configuration_at(applied) {
            slot.durable.set_conf_state(conf_state);
        }
        let storage = slot.durable.clone();
        slot.node = Some(RawNode::new(slot.config.clone(), storage).unwrap());
        self.pump(n);
    }

    /// The application takes a snapshot at what it has applied, and the log before it is dropped.
    pub fn compact(&mut self, n: u64) {
        let slot = self.slot_mut(n);
        let last = slot.applied.last().expect("nothing is applied").position();
        let node = slot.node.as_mut().unwrap();
        let conf_state = node.status().conf_state;
        let storage = node.storage_mut();
        storage.set_snapshot(snapshot(last, conf_state));
        storage.compact(last.index).unwrap();
        slot.durable = storage.clone();
    }

    /// The same, if there is anything to drop.
    pub fn compact_if_new(&mut self, n: u64) {
        let applied = self.slots[&n].applied.last().map_or(Index::ZERO, |entry| entry.index);
        if applied >= self.node(n).storage().first_index().unwrap() {
            self.compact(n);
        }
    }

    // -- the loop of the caller

    /// Takes every `Ready` of a node, and checks the node.
    pub fn pump(&mut self, n: u64) {
        if !self.is_up(n) {
            return;
        }
        self.check(n);
        let mut taken = 0;
        while self.node(n).has_ready() {
            taken += 1;
            assert!(taken < 10_000, "node {n} never has enough");
            let mut ready = self.node_mut(n).ready();
            assert!(!ready.is_empty(), "node {n} had nothing to hand out");
            self.send(n, std::mem::take(&mut ready.messages));
            for read in &ready.read_states {
                let floor = self.floors.get(&read.context).copied().unwrap_or(Index::ZERO);
                assert!(read.index >= floor, "a stale read at node {n}: {read:?}, committed was {floor}");
            }
            let slot = self.slot_mut(n);
            slot.reads.append(&mut ready.read_states);
            slot.dropped.append(&mut ready.dropped_reads);
            slot.transfers.append(&mut ready.transfers);
            if slot.config.async_writes {
                let committed = std::mem::take(&mut ready.committed_entries);
                self.apply(n, &committed);
                if let Some(last) = committed.last() {
                    self.node_mut(n).on_applied(last.index).unwrap();
                }
            }
            match self.slots[&n].disk {
                Disk::AtOnce if self.held_writes(n) == 0 => self.persist(n, ready),
                Disk::AtOnce | Disk::Held => self.slot_mut(n).writes.push_back(ready),
            }
            self.check(n);
        }
        // `has_ready` is exactly "`ready` would not be empty".
        assert!(self.node(n).clone().ready().is_empty(), "node {n} has something that it doesn't tell");
    }

    fn persist(&mut self, n: u64, mut ready: Ready) {
        let slot = self.slot_mut(n);
        let storage = slot.node.as_mut().unwrap().storage_mut();
        storage.persist(&ready).unwrap();
        if ready.must_sync {
            slot.durable = storage.clone();
        }
        if let Some(snapshot) = &ready.snapshot {
            let state = self.oracle.state_at(snapshot.metadata.index);
            self.slot_mut(n).applied = state;
        }
        self.send(n, std::mem::take(&mut ready.persisted_messages));
        if !self.slots[&n].config.async_writes {
            self.apply(n, &ready.committed_entries);
        }
        let result: Result<(), AckError> = self.node_mut(n).advance(ready);
        result.unwrap();
        self.check(n);
    }

    fn send(&mut self, n: u64, messages: Vec<Message>) {
        for message in messages {
            // What a node passes on still names the node that it came from.
            if message.from == id(n) {
                self.oracle.on_sent(&message, &self.slots[&n].durable);
            }
            self.sent.push(message.clone());
            let link = (n, message.to.get());
            let lost = self.lose.as_mut().is_some_and(|lose| lose(&message));
            if !lost && !self.cut.contains(&link) {
                self.network.push_back(message);
            }
        }
    }

    fn apply(&mut self, n: u64, committed: &[Entry]) {
        for entry in committed {
            self.oracle.on_applied(id(n), entry);
            let slot = self.slot_mut(n);
            let next = slot.applied.len() as u64 + 1;
            assert_eq!(entry.index.get(), next, "node {n} skipped or repeated an entry");
            slot.applied.push(entry.clone());
            if let Some(change) = entry.payload.as_conf_change() {
                self.configure(n, entry.index, &change);
            }
        }
    }

    fn configure(&mut self, n: u64, index: Index, change: &ConfChangeV2) {
        self.check(n);
        let before = self.status(n);
        let configured = self.node_mut(n).apply_conf_change(change);
        if configured.is_err() {
            assert_eq!(self.status(n), before, "a change that is refused has no effect");
        }
        self.oracle.on_configured(id(n), index, configured.ok());
        self.check(n);
    }

    fn check(&mut self, n: u64) {
        self.node(n).check_invariants().unwrap_or_else(|violation| panic!("node {n}: {violation}"));
        let disks: BTreeMap<NodeId, &MemoryStorage> =
            self.slots.iter().map(|(n, slot)| (id(*n), &slot.durable)).collect();
        let status = self.slots[&n].node.as_ref().unwrap().status();
        self.oracle.on_event(&status, &disks);
    }

    fn check_logs(&self) {
        oracle::check_log_matching(self.slots.iter().map(|(n, slot)| (id(*n), &slot.durable)));
    }
}

/// Figure 2 and no more.
pub fn figure_2(config: &mut Config) {
    config.pre_vote = false;
    config.check_quorum = false;
}

/// Writes complete while the caller goes on.
pub fn asynchronous(config: &mut Config) {
    config.async_writes = true;
}

/// A disk whose log holds entries of these terms from index 1 on.
pub fn disk_with(voters: &[u64], terms: &[u64], commit: u64) -> MemoryStorage {
    let mut disk = MemoryStorage::with_conf_state(conf_state(voters, &[]));
    disk.append(&entries(1, terms)).unwrap();
    let newest = terms.last().copied().unwrap_or(0);
    disk.set_hard_state(HardState { term: term(newest), vote: None, commit: index(commit) });
    disk
}

/// The commands among these entries.
pub fn commands(entries: &[Entry]) -> Vec<String> {
    let command = |entry: &Entry| match &entry.payload {
        Payload::Normal(data) if !data.is_empty() => Some(String::from_utf8_lossy(data).into_owned()),
        _ => None,
    };
    entries.iter().filter_map(command).collect()
}
