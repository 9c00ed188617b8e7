//! One node as the search sees it: the real core with its disk, and what it does on each input.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use raft_core::{
    AppendEntriesReply, Body, ConfChangeProposal, ConfState, Config, Entries, Entry, EntryBatches, HardState,
    MemoryStorage, Message, NodeId, RawNode, Ready, RoleKind, Status, StepError, Storage, Term, VoteReply,
};

use super::{Bounds, Mistake};
use crate::machine::entry_hash;

/// What can happen to a node. A message is known by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Input {
    Deliver(u32),
    /// Its election time-out has passed.
    TimeOut,
    /// It sends heartbeats.
    Heartbeat,
    /// A tick of its clock.
    Tick,
    /// A client proposes.
    Propose,
    /// The operator proposes the membership change.
    Change,
    /// A client reads, when so many entries are committed.
    Read {
        floor: u8,
    },
    /// Its oldest write reaches the disk.
    Persist,
    /// Its oldest committed batch is applied.
    Apply,
    /// It loses its memory and starts again. So many of its writes had reached the disk. (Who is down for a while does
    /// nothing, and so may as well have lost its memory when that ends.)
    Crash {
        survive: u8,
    },
}

/// What a node did that matters to the history of the cluster.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// It gave its vote.
    Vote { term: Term, candidate: NodeId },
    /// It became leader, by the votes of these halves.
    Leads { term: Term, halves: Halves },
    /// Its commit index rose to here, by these halves if it leads.
    Commits { index: u64, term: Term, role: RoleKind, halves: Halves },
}

/// The voters of both halves of a configuration.
pub(super) type Halves = [Vec<NodeId>; 2];

/// What a node came to.
#[derive(Debug)]
pub(super) struct Reaction {
    pub(super) after: Node,
    pub(super) sent: Vec<Message>,
    pub(super) events: Vec<Event>,
}

/// What an entry holds, as far as two of the same index can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cell {
    pub(super) term: Term,
    content: u64,
    pub(super) is_change: bool,
}

impl Cell {
    fn of(entry: &Entry) -> Cell {
        let is_change = entry.payload.as_conf_change().is_some();
        Cell { term: entry.term, content: entry_hash(entry), is_change }
    }
}

/// A `Ready` that was handed to the disk and isn't on it yet.
#[derive(Clone, Debug)]
struct Write {
    number: u64,
    entries: EntryBatches,
    hard_state: Option<HardState>,
    messages: Vec<Message>,
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    id: NodeId,
    raw: RawNode<MemoryStorage>,
    /// On their way to the disk, in order.
    writes: VecDeque<Write>,
    /// What needed no sync: it becomes durable with the next write.
    unsynced: Option<HardState>,
    /// Committed, and not applied.
    batches: VecDeque<Entries>,
    /// What its state machine has applied in this life.
    applied: Vec<Cell>,
    /// How often it was started, if that can matter.
    lives: u64,
}

/// What the checks want to know of a node.
#[derive(Debug)]
pub(super) struct View {
    pub(super) id: NodeId,
    pub(super) role: RoleKind,
    pub(super) term: Term,
    pub(super) commit: usize,
    pub(super) log: Vec<Cell>,
    pub(super) durable: Vec<Cell>,
    pub(super) durable_state: HardState,
    pub(super) applied: Vec<Cell>,
    /// A leader's match index of each member.
    pub(super) matches: Vec<(NodeId, usize)>,
    /// By which it acts.
    pub(super) conf_state: ConfState,
    /// Writes on their way.
    pub(super) writes: usize,
    /// Batches that aren't applied.
    pub(super) batches: usize,
}

impl Node {
    /// A node that starts from what its disk holds, and has nothing to do yet.
    ///
    /// # Errors
    /// The core doesn't start.
    pub(super) fn start(
        id: NodeId,
        storage: MemoryStorage,
        lives: u64,
        bounds: &Bounds,
    ) -> Result<Node, String> {
        let config = Config {
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: 1,
            pre_vote: bounds.pre_vote,
            check_quorum: bounds.check_quorum,
            async_writes: bounds.background,
            max_message_bytes: if bounds.one_entry { 0 } else { u64::MAX },
            ..Config::new(id, lives)
        };
        let mut raw = RawNode::new(config, storage).map_err(|error| format!("8: node {id}: {error}"))?;
        raw.set_election_timeout(ELECTION_TICKS);
        Ok(Node {
            id,
            raw,
            writes: VecDeque::new(),
            unsynced: None,
            batches: VecDeque::new(),
            applied: Vec::new(),
            lives,
        })
    }

    /// Two nodes with the same fingerprint do the same on the same inputs.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.id, self.lives).hash(&mut hasher);
        self.raw.hash_state(&mut hasher);
        let storage = self.raw.storage();
        storage.hard_state().hash(&mut hasher);
        storage.all_entries().for_each(|entry| entry.hash(&mut hasher));
        self.writes.len().hash(&mut hasher);
        for Write { number: _, entries, hard_state, messages } in &self.writes {
            entries.iter().for_each(|entry| entry.hash(&mut hasher));
            (hard_state, messages).hash(&mut hasher);
        }
        (self.unsynced, &self.batches, &self.applied).hash(&mut hasher);
        hasher.finish()
    }

    /// Its log: what is on the disk, and over it what is on its way there.
    fn log(&self) -> Vec<Cell> {
        let mut log: Vec<Cell> = self.raw.storage().all_entries().map(Cell::of).collect();
        for write in &self.writes {
            if let Some(first) = write.entries.first() {
                log.truncate(position(first.index.prev().get()));
                log.extend(write.entries.iter().map(Cell::of));
            }
        }
        log
    }

    pub(super) fn view(&self) -> View {
        let storage = self.raw.storage();
        let peers = self.raw.progress().into_iter();
        View {
            id: self.id,
            role: self.raw.role(),
            term: self.raw.term(),
            commit: position(self.raw.commit_index().get()),
            log: self.log(),
            durable: storage.all_entries().map(Cell::of).collect(),
            durable_state: storage.hard_state(),
            applied: self.applied.clone(),
            matches: peers.map(|peer| (peer.id, position(peer.match_index.get()))).collect(),
            conf_state: self.raw.conf_state(),
            writes: self.writes.len(),
            batches: self.batches.len(),
        }
    }

    /// What follows from this input; `None` if it can't be given to the node.
    ///
    /// # Errors
    /// The statement that the node breaks.
    pub(super) fn react(
        &self,
        input: Input,
        message: Option<&Message>,
        bounds: &Bounds,
    ) -> Result<Option<Reaction>, String> {
        match input {
            Input::Crash { survive } => self.crash(usize::from(survive), bounds).map(Some),
            _ => Running::of(self, bounds).handle(input, message),
        }
    }

    fn crash(&self, survive: usize, bounds: &Bounds) -> Result<Reaction, String> {
        let mut storage = self.raw.storage().clone();
        for write in self.writes.iter().take(survive) {
            put(&mut storage, write)?;
        }
        match bounds.mistake {
            Some(Mistake::ForgetVote) => {
                let state = storage.hard_state();
                storage.set_hard_state(HardState { vote: None, ..state });
            }
            Some(Mistake::LoseTail) => storage = without_last(&storage, bounds)?,
            Some(Mistake::ForgetCommit | Mistake::SendEarly | Mistake::AcknowledgeEarly) | None => {}
        }
        let durable = storage.hard_state();
        // The numbers of reads are drawn at the start, and two lives must not draw the same.
        let lives = self.lives + u64::from(bounds.budget.reads > 0);
        let node = Node::start(self.id, storage, lives, bounds)?;
        let status = node.raw.status();
        if (status.term, status.vote) != (durable.term, durable.vote) || status.commit < durable.commit {
            return Err(format!("8: node {} starts with another state than it stored", self.id));
        }
        Running::of(&node, bounds).finish()
    }
}

/// What a disk would hold that lost its last entry.
fn without_last(storage: &MemoryStorage, bounds: &Bounds) -> Result<MemoryStorage, String> {
    let mut kept = bounds.disk();
    let state = storage.hard_state();
    let mut rest: Vec<Entry> = storage.all_entries().cloned().collect();
    rest.pop();
    let last = rest.last().map(|entry| entry.index).unwrap_or_default();
    kept.append(&rest.into()).map_err(|error| error.to_string())?;
    kept.set_hard_state(HardState { commit: state.commit.min(last), ..state });
    Ok(kept)
}

/// The election time-out: the smallest that the core allows with heartbeats at each tick.
const ELECTION_TICKS: u32 = 2;

/// How many entries there are up to this index; none are compacted.
fn position(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// A write reaches the disk.
fn put(storage: &mut MemoryStorage, write: &Write) -> Result<(), String> {
    let appended = write.entries.batches().try_for_each(|batch| storage.append(batch));
    appended.map_err(|error| format!("11: a write doesn't fit the disk: {error}"))?;
    if let Some(hard_state) = write.hard_state {
        storage.set_hard_state(hard_state);
    }
    Ok(())
}

/// A node while it handles an input.
struct Running<'a> {
    bounds: &'a Bounds,
    before: &'a Node,
    raw: RawNode<MemoryStorage>,
    writes: VecDeque<Write>,
    unsynced: Option<HardState>,
    batches: VecDeque<Entries>,
    applied: Vec<Cell>,
    /// The term that it led when the input came.
    led: Option<Term>,
    last: Status,
    sent: Vec<Message>,
    events: Vec<Event>,
}

impl<'a> Running<'a> {
    fn of(before: &'a Node, bounds: &'a Bounds) -> Running<'a> {
        let last = before.raw.status();
        Running {
            bounds,
            before,
            raw: before.raw.clone(),
            writes: before.writes.clone(),
            unsynced: before.unsynced,
            batches: before.batches.clone(),
            applied: before.applied.clone(),
            led: (last.role == RoleKind::Leader).then_some(last.term),
            last,
            sent: Vec::new(),
            events: Vec::new(),
        }
    }

    fn handle(mut self, input: Input, message: Option<&Message>) -> Result<Option<Reaction>, String> {
        let possible = match input {
            Input::Deliver(_) => match message {
                Some(message) => self.deliver(message)?,
                None => false,
            },
            Input::TimeOut => self.raw.campaign().is_ok(),
            Input::Heartbeat => {
                self.raw.ping();
                true
            }
            Input::Tick => {
                self.raw.tick();
                true
            }
            Input::Propose => self.raw.propose(Bytes::from_static(b"x")).is_ok(),
            // One that comes too early would be no more than an empty entry.
            Input::Change => {
                let proposal = self.raw.propose_conf_change(self.bounds.change());
                matches!(proposal, Ok(ConfChangeProposal::Appended { .. }))
            }
            Input::Read { floor } => {
                self.raw.read_index(Bytes::copy_from_slice(&[floor]), raft_core::ReadMode::Quorum).is_ok()
            }
            Input::Persist => self.persist_oldest()?,
            Input::Apply => self.apply_oldest()?,
            Input::Crash { .. } => false,
        };
        if !possible {
            return Ok(None);
        }
        self.look()?;
        self.finish().map(Some)
    }

    fn deliver(&mut self, message: &Message) -> Result<bool, String> {
        match self.raw.step(message.clone()) {
            Ok(()) => {}
            // One that isn't in this node's configuration may be in the sender's, or was in an earlier one.
            Err(StepError::UnknownPeer(_)) if self.bounds.budget.changes > 0 => {}
            Err(error) => {
                return Err(format!("node {} accuses an honest peer: {error}", self.before.id));
            }
        }
        let status = self.raw.status();
        if matches!(message.body, Body::PreVote(_)) {
            let now = (status.term, status.vote, status.role, status.commit, status.last);
            let last = &self.last;
            if now != (last.term, last.vote, last.role, last.commit, last.last) {
                return Err(format!("22: a pre-vote changes node {}", self.before.id));
            }
        }
        Ok(true)
    }

    /// Hands out what is due until there is nothing more, and checks the whole.
    fn finish(mut self) -> Result<Reaction, String> {
        while self.raw.has_ready() {
            let ready = self.raw.ready();
            self.take(ready)?;
        }
        // Which time-out is drawn must not tell two states apart.
        self.raw.set_election_timeout(ELECTION_TICKS);
        let id = self.before.id;
        let now = self.raw.status();
        let last = self.raw.last_position();
        self.raw.check_invariants().map_err(|violation| format!("10-16: node {id}: {violation}"))?;
        let after = Node {
            id,
            raw: self.raw,
            writes: self.writes,
            unsynced: self.unsynced,
            batches: self.batches,
            applied: self.applied,
            lives: self.before.lives,
        };
        let log = after.log();
        if log.len() != position(last.index.get()) || log.last().is_some_and(|cell| cell.term != last.term) {
            return Err(format!("11: what node {id} handed out isn't its log"));
        }
        if !log.is_sorted_by_key(|cell| cell.term) {
            return Err(format!("3: the terms go down in the log of node {id}"));
        }
        let believed = log.iter().take(position(now.durable.get()));
        if !believed.eq(after.view().durable.iter().take(position(now.durable.get()))) {
            return Err(format!("11: node {id} believes that {} are durable, which aren't", now.durable));
        }
        if now.counters.storage_failures > 0 {
            return Err(format!("11: node {id} asks its disk for what isn't there"));
        }
        let leads = (now.role == RoleKind::Leader).then_some(now.term);
        if leads.is_some() && leads == self.led && !log.starts_with(&self.before.log()) {
            return Err(format!("2: leader {id} changes its log"));
        }
        Ok(Reaction { after, sent: self.sent, events: self.events })
    }

    /// Does with a `Ready` what it asks for.
    fn take(&mut self, mut ready: Ready) -> Result<(), String> {
        if let Some(error) = ready.storage_error {
            return Err(format!("the storage of node {} is said to fail: {error}", self.before.id));
        }
        if ready.snapshot.is_some() {
            return Err("a snapshot, where none was made".to_owned());
        }
        for read in &ready.read_states {
            let floor = read.context.first().copied().unwrap_or_default();
            if read.index.get() < u64::from(floor) {
                return Err(format!("20: a read at {} misses what was committed, {floor}", read.index));
            }
        }
        for message in std::mem::take(&mut ready.messages) {
            self.send(message)?;
        }
        let committed = std::mem::take(&mut ready.committed_entries);
        if !committed.is_empty() {
            self.batches.push_back(committed);
        }
        if ready.needs_acknowledgement() {
            self.write(ready)?;
        }
        while !self.bounds.apply_late && !self.batches.is_empty() {
            self.apply_oldest()?;
        }
        self.look()
    }

    fn write(&mut self, ready: Ready) -> Result<(), String> {
        let Ready { number, entries, hard_state, persisted_messages: messages, must_sync, .. } = ready;
        // What needs no sync may be acknowledged at once, and is lost in a crash unless something later is durable.
        if !must_sync && self.writes.is_empty() {
            self.unsynced = hard_state.or(self.unsynced);
            return self.acknowledge(number, messages);
        }
        let before = self.unsynced.take().filter(|_| self.bounds.mistake != Some(Mistake::ForgetCommit));
        let hard_state = hard_state.or(before);
        let mut write = Write { number, entries, hard_state, messages };
        match self.bounds.mistake {
            Some(Mistake::SendEarly) => {
                for message in std::mem::take(&mut write.messages) {
                    self.send(message)?;
                }
            }
            Some(Mistake::AcknowledgeEarly) => {
                self.raw.on_persisted(number).map_err(|error| error.to_string())?;
                self.look()?;
            }
            Some(Mistake::ForgetVote | Mistake::ForgetCommit | Mistake::LoseTail) | None => {}
        }
        self.writes.push_back(write);
        if !self.bounds.background {
            self.persist_oldest()?;
        }
        Ok(())
    }

    fn persist_oldest(&mut self) -> Result<bool, String> {
        let Some(write) = self.writes.pop_front() else { return Ok(false) };
        put(self.raw.storage_mut(), &write)?;
        self.acknowledge(write.number, write.messages)?;
        Ok(true)
    }

    fn acknowledge(&mut self, number: u64, messages: Vec<Message>) -> Result<(), String> {
        for message in messages {
            self.send(message)?;
        }
        self.raw.on_persisted(number).map_err(|error| error.to_string())?;
        self.look()
    }

    fn apply_oldest(&mut self) -> Result<bool, String> {
        let Some(batch) = self.batches.pop_front() else { return Ok(false) };
        for entry in &batch {
            if position(entry.index.get()) != self.applied.len() + 1 {
                return Err(format!("8: node {} applies entry {} out of turn", self.before.id, entry.index));
            }
            self.applied.push(Cell::of(entry));
            if let Some(change) = entry.payload.as_conf_change() {
                self.raw.apply_conf_change(&change).map_err(|error| error.to_string())?;
                self.look()?;
            }
        }
        if let Some(last) = batch.last() {
            self.raw.on_applied(last.index).map_err(|error| error.to_string())?;
        }
        self.look()?;
        Ok(true)
    }

    /// After each call: what the node now is follows from what it was (9, 18c, 18e), and what is news is noted.
    fn look(&mut self) -> Result<(), String> {
        let now = self.raw.status();
        let last = std::mem::replace(&mut self.last, now);
        let (now, id) = (&self.last, self.before.id);
        let votes_anew = now.term == last.term && last.vote.is_some() && now.vote != last.vote;
        if now.term < last.term || votes_anew || now.commit < last.commit || now.applied < last.applied {
            return Err(format!("9: node {id} goes back"));
        }
        if let Some(lost) = now.lost {
            return Err(format!("node {id} believes that it lost {}", lost.acknowledged));
        }
        let halves = || [now.conf_state.voters.clone(), now.conf_state.voters_outgoing.clone()];
        if now.commit > last.commit {
            let (index, term, role) = (now.commit.get(), now.term, now.role);
            self.events.push(Event::Commits { index, term, role, halves: halves() });
        }
        if (now.role, now.term) == (last.role, last.term) {
            return Ok(());
        }
        match now.role {
            RoleKind::Leader => self.events.push(Event::Leads { term: now.term, halves: halves() }),
            RoleKind::Candidate | RoleKind::PreCandidate => {
                if !halves().iter().any(|half| half.contains(&id)) {
                    return Err(format!("18e: node {id} campaigns without a vote"));
                }
                let log = self.before.log();
                let (applied, commit) = (position(now.applied.get()), position(now.commit.get()));
                if log.iter().take(commit).skip(applied).any(|cell| cell.is_change) {
                    return Err(format!("18c: node {id} campaigns before it has applied a committed change"));
                }
            }
            RoleKind::Follower => {}
        }
        Ok(())
    }

    /// A message leaves: what it promises is durable (7).
    fn send(&mut self, message: Message) -> Result<(), String> {
        // Where messages leave early on purpose, the search is to find what comes of it.
        if self.bounds.mistake != Some(Mistake::SendEarly) {
            self.check_promise(&message)?;
        }
        if let Some(candidate) = vote_in(&message) {
            self.events.push(Event::Vote { term: message.term, candidate });
        }
        self.sent.push(message);
        Ok(())
    }

    fn check_promise(&self, message: &Message) -> Result<(), String> {
        let storage = self.raw.storage();
        let (state, id, term) = (storage.hard_state(), self.before.id, message.term);
        let early =
            |what: &str| Err(format!("7: {what} of node {id} in term {term} leaves before it is durable"));
        let kept = |candidate| state.term > term || (state.term == term && state.vote == Some(candidate));
        if vote_in(message).is_some_and(|candidate| !kept(candidate)) {
            return early("the vote");
        }
        if let Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }) = &message.body {
            // The leader of a term that is over may be answered together with the cut that ended it.
            if *index > storage.last_index().unwrap_or_default() && state.term == term {
                return early("the acknowledgement");
            }
        }
        // A pre-vote changes nothing, and the answer to a heartbeat promises nothing.
        let promises_nothing = matches!(
            message.body,
            Body::PreVote(_)
                | Body::PreVoteReply(_)
                | Body::HeartbeatReply(_)
                | Body::ReadIndex(_)
                | Body::Propose(_)
        );
        if !promises_nothing && state.term < term {
            return early("the term");
        }
        Ok(())
    }
}

/// For whom this message is a vote of its sender's.
fn vote_in(message: &Message) -> Option<NodeId> {
    match &message.body {
        Body::RequestVote(_) => Some(message.from),
        Body::RequestVoteReply(VoteReply::Granted) => Some(message.to),
        _ => None,
    }
}
