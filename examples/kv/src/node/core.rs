//! The thread that owns the core, and its loop.
//!
//! Each turn: wait for inputs or the next tick; count the ticks that are due; feed in *everything* that waits, the
//! proposals as one batch and the reads as one; then take `Ready` after `Ready` until there is none. Nothing in a turn
//! waits for a disk or a peer: writes go to the [`disk`](super::disk) thread, messages into the peers' queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytes::Bytes;
use raft_core::{Config, DataLossReport, Proposal, RawNode, ReadMode, Ready, RoleKind, SnapshotStatus};
use raft_kv::disk::{Disk as DataFolder, LogReader, SnapshotStore, WriteBatch};
use raft_kv::machine::{Machine, Outcome};
use raft_proto::{ConfState, Entry, Index, LogPosition, NodeId, Payload, Snapshot, SnapshotMetadata};
use slog::{Logger, debug, error, info, warn};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::disk::{Disk, Job, Persisted};
use super::members::{self, Admin};
use super::status::{NodeStatus, role_name};
use super::steps::Steps;
use super::waiting::{Reads, Waits, Writes};
use super::{Inbox, Input, Node, Read, SharedMachine, View, Write, WriteError};
use crate::transport::Transport;

/// How many inputs are taken in one turn.
const AT_ONCE: usize = 4096;

/// How many bytes of commands are proposed as one batch, more or less.
const BATCH_BYTES: usize = 8 << 20;

/// A snapshot is also taken when so many bytes of commands were applied since the last, so that large values don't make
/// the log many times larger than what it holds.
const SNAPSHOT_BYTES: u64 = 256 << 20;

/// After so many election time-outs a snapshot that couldn't be made is tried again: the disk was full, perhaps.
const SNAPSHOT_RETRY: u64 = 10;

/// What a node is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) folder: DataFolder,
    pub(crate) machine: Machine,
    pub(crate) inbox: Inbox,
    pub(crate) transport: Arc<Transport>,
    pub(crate) tick: Duration,
    pub(crate) snapshot_every: u64,
    /// The path of every write is logged.
    pub(crate) trace_writes: bool,
    pub(crate) log: Logger,
}

/// Starts the node's threads. The receiver is told when they have ended: with the reason, if it was a failure.
///
/// # Errors
/// The core refuses its configuration or what is on disk, or a thread can't be started.
pub(crate) fn start(
    parts: Parts,
    inputs: mpsc::Receiver<Input>,
) -> Result<(Node, oneshot::Receiver<Result<(), String>>), String> {
    let (core, disk) = assemble(parts)?;
    let node = Node { inbox: core.inbox.clone(), view: core.view.subscribe(), machine: core.machine.clone() };
    let disk = std::thread::Builder::new()
        .name("disk".into())
        .spawn(move || disk.run())
        .map_err(|error| format!("a thread can't be started: {error}"))?;
    let (ended, end) = oneshot::channel();
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("raft".into())
        .spawn(move || {
            let result = core.run(&runtime, inputs);
            // The jobs' queue has ended with the core: what waits is still written.
            let _ = disk.join();
            let _ = ended.send(result);
        })
        .map_err(|error| format!("a thread can't be started: {error}"))?;
    Ok((node, end))
}

/// What the two threads run.
///
/// # Errors
/// The core refuses its configuration or what is on disk.
pub(super) fn assemble(parts: Parts) -> Result<(Core, Disk), String> {
    let Parts { config, folder, machine, inbox, transport, tick, snapshot_every, trace_writes, log } = parts;
    let DataFolder { reader, writer, snapshots } = folder;
    let raft = RawNode::with_logger(config.clone(), reader.clone(), &log)
        .map_err(|error| format!("the node can't start: {error}"))?;
    let commit = raft.commit_index();
    let view = View { role: raft.role(), term: raft.term(), leader: raft.leader() };
    let machine = SharedMachine::new(machine);
    let (jobs, queued) = std::sync::mpsc::channel();
    let disk = Disk {
        jobs: queued,
        writer,
        snapshots: snapshots.clone(),
        transport: transport.clone(),
        inbox: inbox.clone(),
        log: log.clone(),
    };
    let conf_state = reader.initial_state().1;
    transport.set_members(&conf_state, machine.read().peers());
    let snapshot = reader.latest_snapshot().map_or(LogPosition::ZERO, |snapshot| snapshot.position());
    let core = Core {
        election_ticks: config.election_ticks,
        applied: LogPosition { term: snapshot.term, index: raft.applied_index() },
        raft,
        conf_state,
        admin: Admin::default(),
        reader,
        snapshots,
        inbox,
        transport,
        machine,
        jobs,
        last_job: 0,
        handed_out: 0,
        writes: Writes::default(),
        reads: Reads::default(),
        view: watch::Sender::new(view),
        steps: Steps::new(log.clone(), trace_writes, commit),
        tick,
        next_tick: Instant::now() + tick,
        ticks: 0,
        snapshot_every,
        snapshot: snapshot.index,
        bytes_since: 0,
        making_snapshot: None,
        retry_snapshot: None,
        refusals: BTreeMap::new(),
        log,
    };
    Ok((core, disk))
}

/// The owner of the core, in its thread.
pub(super) struct Core {
    pub(super) raft: RawNode<LogReader>,
    /// The configuration as of `applied`. The core's own may be that of a snapshot which isn't restored yet.
    conf_state: ConfState,
    admin: Admin,
    reader: LogReader,
    snapshots: SnapshotStore,
    inbox: Inbox,
    transport: Arc<Transport>,
    machine: SharedMachine,
    jobs: Sender<Job>,
    /// The number of the last `Ready` that went to the disk, and of the last that there was.
    last_job: u64,
    handed_out: u64,
    writes: Writes,
    reads: Reads,
    view: watch::Sender<View>,
    steps: Steps,
    tick: Duration,
    next_tick: Instant,
    ticks: u64,
    election_ticks: u32,
    applied: LogPosition,
    snapshot_every: u64,
    /// The index of the latest snapshot, and of the one that is being made.
    snapshot: Index,
    /// Bytes of commands that were applied since the last snapshot was begun.
    bytes_since: u64,
    making_snapshot: Option<Index>,
    /// The tick at which one is tried again that couldn't be made.
    retry_snapshot: Option<u64>,
    /// Why a message of each peer was last refused.
    refusals: BTreeMap<NodeId, String>,
    log: Logger,
}

/// What is put together over a turn.
#[derive(Default)]
struct Turn {
    writes: Vec<Write>,
    reads: Vec<Read>,
    stop: bool,
}

impl Core {
    fn run(mut self, runtime: &Handle, mut inputs: mpsc::Receiver<Input>) -> Result<(), String> {
        let mut waiting = Vec::new();
        loop {
            let next_tick = self.next_tick;
            // Ends at the tick, or with all that waits.
            let _ = runtime
                .block_on(async { timeout_at(next_tick, inputs.recv_many(&mut waiting, AT_ONCE)).await });
            // First the time: an input that waited while this process was held up must not meet an old lease.
            self.count_ticks();
            if self.turn(&mut waiting)? {
                info!(self.log, "the node stops");
                return Ok(());
            }
        }
    }

    /// Deals with all inputs at once, and with what comes of them. True if the node is to stop.
    pub(super) fn turn(&mut self, inputs: &mut Vec<Input>) -> Result<bool, String> {
        let mut turn = Turn::default();
        for input in inputs.drain(..) {
            self.take(input, &mut turn)?;
        }
        self.propose(std::mem::take(&mut turn.writes));
        self.ask(std::mem::take(&mut turn.reads));
        while self.raft.has_ready() {
            let ready = self.raft.ready();
            self.handle(ready)?;
        }
        self.publish();
        self.maybe_make_snapshot();
        Ok(turn.stop)
    }

    /// A process that was held up has ticks to make up for. A leader makes up for all of them, so that its lease ends in
    /// time; any other node for one: it is better late to campaign than to miss a leader whose messages wait.
    fn count_ticks(&mut self) {
        let now = Instant::now();
        let most = match self.raft.role() {
            RoleKind::Leader => 3 * self.election_ticks,
            RoleKind::Follower | RoleKind::PreCandidate | RoleKind::Candidate => 1,
        };
        let mut due = 0;
        while self.next_tick <= now && due < most {
            self.raft.tick();
            self.next_tick += self.tick;
            self.ticks += 1;
            due += 1;
        }
        if self.next_tick <= now {
            self.next_tick = now + self.tick;
        }
        if due > 1 {
            debug!(self.log, "made up for ticks"; "ticks" => due);
        }
        if due > 0 && self.ticks.is_multiple_of(u64::from(self.election_ticks)) {
            self.writes.prune();
            self.admin.prune();
        }
    }

    fn take(&mut self, input: Input, turn: &mut Turn) -> Result<(), String> {
        match input {
            Input::Message(message) => {
                self.steps.receiving(&message);
                let from = message.from;
                if let Err(error) = self.raft.step(message) {
                    self.refused(from, &error.to_string());
                }
            }
            Input::Unreachable(peer) => self.raft.report_unreachable(peer),
            Input::SnapshotSent { to, ok } => {
                let status = if ok { SnapshotStatus::Finished } else { SnapshotStatus::Failed };
                self.raft.report_snapshot(to, status);
            }
            Input::Write(write) => turn.writes.push(write),
            Input::Read(read) => turn.reads.push(read),
            Input::Change(change) => self.admin.propose(&mut self.raft, &self.conf_state, change),
            Input::Transfer(transfer) => self.admin.transfer(&mut self.raft, transfer),
            Input::Status(answer) => {
                let _ = answer.send(self.status());
            }
            Input::Persisted(persisted) => self.persisted(persisted)?,
            Input::DiskFailed(reason) => return Err(reason),
            Input::SnapshotMade(made) => self.snapshot_made(made),
            Input::Stop => turn.stop = true,
        }
        Ok(())
    }

    /// A peer that sends what can't be taken does so again and again: it's said once.
    fn refused(&mut self, peer: NodeId, reason: &str) {
        let last = self.refusals.entry(peer).or_default();
        if last == reason {
            debug!(self.log, "refused a message again"; "peer" => peer.get(), "reason" => reason);
        } else {
            warn!(self.log, "refused a message"; "peer" => peer.get(), "reason" => reason);
            *last = reason.to_string();
        }
    }

    /// Proposes everything that waits, as one batch unless it's very large: then what is over the limit on
    /// uncommitted bytes is refused, and the rest isn't.
    fn propose(&mut self, writes: Vec<Write>) {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for write in writes {
            bytes += write.command.len();
            batch.push(write);
            if bytes >= BATCH_BYTES {
                self.propose_batch(std::mem::take(&mut batch));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.propose_batch(batch);
        }
    }

    fn propose_batch(&mut self, batch: Vec<Write>) {
        let commands: Vec<Bytes> = batch.iter().map(|write| write.command.clone()).collect();
        let error = match self.raft.propose_batch(commands) {
            Ok(Proposal::Appended { term, first, .. }) => {
                let mut index = first;
                for write in batch {
                    self.steps.appended(write.number, term, index);
                    self.writes.add(index, term, write.number, write.answer);
                    index = index.next();
                }
                return;
            }
            // Can't be: forwarding is off. If it were, nobody here would hear of the end.
            Ok(Proposal::Forwarded { .. }) => WriteError::Unknown("the write was passed on to another node"),
            Err(error) => WriteError::NotProposed(error),
        };
        for write in batch {
            let _ = write.answer.send(Err(error.clone()));
        }
    }

    fn ask(&mut self, reads: Vec<Read>) {
        let mut by_mode = BTreeMap::new();
        for read in reads {
            by_mode.entry(read.mode == ReadMode::Lease).or_insert_with(Vec::new).push(read.answer);
        }
        for (lease, batch) in by_mode {
            let mode = if lease { ReadMode::Lease } else { ReadMode::Quorum };
            let context = self.reads.ask(batch);
            if let Err(reason) = self.raft.read_index(context.clone(), mode) {
                self.reads.drop_batch(&context, reason);
            }
        }
    }

    fn handle(&mut self, ready: Ready) -> Result<(), String> {
        self.handed_out = ready.number;
        self.steps.committed(self.raft.commit_index(), self.raft.term());
        if let Some(error) = &ready.storage_error {
            error!(self.log, "the log can't be read"; "reason" => %error);
        }
        for dropped in &ready.dropped_reads {
            debug!(self.log, "a read was dropped"; "reason" => %dropped.reason);
            self.reads.drop_batch(&dropped.context, dropped.reason);
        }
        match ready.data_loss {
            Some(DataLossReport::Noticed(lost)) => {
                error!(self.log, "this node has lost what it had acknowledged: it has no vote until it is removed and added again";
                    "acknowledged" => lost.acknowledged.get(), "last" => lost.last.get());
            }
            Some(DataLossReport::Regained) => info!(self.log, "this node has again what it had lost"),
            None => {}
        }
        for outcome in &ready.transfers {
            info!(self.log, "a transfer of leadership ended"; "to" => outcome.to.get(), "end" => %outcome.end);
            self.admin.transferred(*outcome);
        }
        for state in &ready.read_states {
            self.reads.confirm(&state.context, state.index);
        }
        self.steps.sending(&ready.messages);
        let lost = self.transport.send(ready.messages);
        self.report(lost);

        let batch = WriteBatch {
            snapshot: ready.snapshot,
            entries: ready.entries,
            hard_state: ready.hard_state,
            data_loss: ready.data_loss,
        };
        if batch != WriteBatch::default() || !ready.persisted_messages.is_empty() {
            self.last_job = ready.number;
            let messages = ready.persisted_messages;
            let job = Job::Write { number: ready.number, batch, sync: ready.must_sync, messages };
            self.jobs.send(job).map_err(|_| "the disk's thread has ended".to_string())?;
        } else if self.last_job == 0 {
            self.acknowledge(ready.number)?;
        }
        self.apply(&ready.committed_entries)?;
        self.reads.applied(self.applied.index);
        Ok(())
    }

    fn report(&mut self, lost: Vec<NodeId>) {
        for peer in lost {
            self.raft.report_unreachable(peer);
        }
    }

    fn acknowledge(&mut self, number: u64) -> Result<(), String> {
        self.raft.on_persisted(number).map_err(|error| error.to_string())
    }

    fn persisted(&mut self, persisted: Persisted) -> Result<(), String> {
        self.report(persisted.lost);
        if let Some(machine) = persisted.machine {
            let snapshot =
                self.reader.latest_snapshot().map_or(LogPosition::ZERO, |snapshot| snapshot.position());
            let applied = machine.applied();
            self.conf_state = self.reader.initial_state().1;
            self.transport.set_members(&self.conf_state, machine.peers());
            self.admin.covered(applied);
            *self.machine.write() = machine;
            self.snapshot = self.snapshot.max(snapshot.index);
            self.applied = LogPosition { term: snapshot.term, index: applied };
            self.writes.covered(applied);
            self.reads.applied(applied);
        }
        if persisted.number == self.last_job {
            // Nothing is on its way to the disk: with this, every `Ready` that there was is done.
            self.last_job = 0;
            self.acknowledge(self.handed_out)
        } else {
            self.acknowledge(persisted.number)
        }
    }

    fn apply(&mut self, entries: &[Entry]) -> Result<(), String> {
        let Some(last) = entries.last() else { return Ok(()) };
        {
            let mut machine = self.machine.write();
            let steps = &self.steps;
            for entry in entries {
                let outcome = match &entry.payload {
                    // A copy, so that a small value doesn't keep the whole message in memory that it came with.
                    Payload::Normal(command) => machine.apply(entry.index, &Bytes::copy_from_slice(command)),
                    Payload::TermStart | Payload::RefusedChange => {
                        machine.skip(entry.index);
                        Outcome::Done
                    }
                    Payload::ConfChange(_) | Payload::ConfChangeV2(_) | Payload::LeaveJoint => Outcome::Done,
                };
                if let Some(change) = members::change_of(entry) {
                    let made = members::apply(&mut self.raft, &mut self.conf_state, &change);
                    match &made {
                        Ok(now) => machine.change_members(entry.index, &change, now),
                        Err(_) => machine.skip(entry.index),
                    }
                    info!(self.log, "a membership change is applied"; "index" => entry.index.get(),
                        "refused" => made.as_ref().err(), "now" => members::shown(&self.conf_state));
                    self.transport.set_members(&self.conf_state, machine.peers());
                    self.admin.applied(entry, Some(made));
                } else {
                    self.admin.applied(entry, None);
                }
                self.bytes_since = self.bytes_since.saturating_add(entry.payload.len());
                steps.applied(entry);
                self.writes.applied(entry.index, entry.term, &outcome, |answered| steps.answered(&answered));
            }
        }
        self.applied = last.position();
        self.raft.on_applied(last.index).map_err(|error| error.to_string())
    }

    fn publish(&mut self) {
        let now = View { role: self.raft.role(), term: self.raft.term(), leader: self.raft.leader() };
        self.view.send_if_modified(|view| {
            let modified = *view != now;
            *view = now;
            modified
        });
        if let Some(leader) = now.leader {
            self.admin.led_by(leader);
        }
    }

    /// Makes a snapshot on a thread of its own if enough was applied since the last, or if a follower needs one.
    fn maybe_make_snapshot(&mut self) {
        let applied = self.applied.index;
        if self.making_snapshot.is_some() || applied <= self.snapshot {
            return;
        }
        let enough =
            applied.since(self.snapshot) >= self.snapshot_every || self.bytes_since >= SNAPSHOT_BYTES;
        let due = match self.retry_snapshot {
            Some(tick) => self.ticks >= tick,
            None => enough || self.reader.wanted_snapshot().is_some(),
        };
        if !due {
            return;
        }
        self.retry_snapshot = None;
        self.making_snapshot = Some(applied);
        self.bytes_since = 0;
        let metadata =
            SnapshotMetadata { conf_state: self.conf_state.clone(), index: applied, term: self.applied.term };
        let frozen = self.machine.write().freeze();
        let (snapshots, inbox) = (self.snapshots.clone(), self.inbox.clone());
        debug!(self.log, "making a snapshot"; "index" => applied.get(), "keys" => frozen.len());
        let spawned = std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            let make = || {
                let mut writer = snapshots.create(metadata).map_err(|error| error.to_string())?;
                frozen.write_to(&mut writer).map_err(|error| error.to_string())?;
                drop(frozen);
                writer.finish().map_err(|error| error.to_string())
            };
            let made = make();
            // The core's thread has stopped: so will this process.
            let _ = inbox.put_blocking(Input::SnapshotMade(made));
        });
        if let Err(error) = spawned {
            self.snapshot_made(Err(error.to_string()));
        }
    }

    fn snapshot_made(&mut self, made: Result<Snapshot, String>) {
        self.making_snapshot = None;
        match made {
            Ok(snapshot) => {
                self.snapshot = self.snapshot.max(snapshot.metadata.index);
                info!(self.log, "made a snapshot"; "index" => snapshot.metadata.index.get());
                // The disk's thread has ended only if it failed, and said so.
                let _ = self.jobs.send(Job::Record(snapshot));
            }
            Err(reason) => {
                error!(self.log, "can't make a snapshot"; "reason" => reason);
                self.retry_snapshot = Some(self.ticks + SNAPSHOT_RETRY * u64::from(self.election_ticks));
            }
        }
    }

    /// Why the oldest of the reads that wait here isn't answered.
    fn why_read_waits(&self) -> Option<String> {
        match self.reads.oldest()? {
            Waits::Unconfirmed(context) => self.raft.why_read_waits(&context).map(|why| why.to_string()),
            Waits::Unapplied(index) => {
                Some(format!("it is confirmed, and index {index} isn't applied here yet"))
            }
        }
    }

    fn status(&self) -> NodeStatus {
        let status = self.raft.status();
        let machine = self.machine.read();
        let progress = status.progress.iter().filter(|peer| peer.id != status.id);
        NodeStatus {
            id: status.id.get(),
            role: role_name(status.role),
            term: status.term.get(),
            vote: status.vote.map(NodeId::get),
            leader: status.leader.map(NodeId::get),
            first: self.reader.first_index().get(),
            last: status.last.get(),
            commit: status.commit.get(),
            applied: self.applied.index.get(),
            snapshot: self.reader.latest_snapshot().map_or(0, |snapshot| snapshot.metadata.index.get()),
            disk_writes: self.reader.last_write(),
            keys: machine.len(),
            sessions: machine.sessions(),
            voters: members::ids(&self.conf_state.voters),
            conf_state: super::status::Members::of(&self.conf_state),
            why_not_leader: self.raft.why_not_leader().map(|why| why.to_string()),
            why_not_committed: self.raft.why_not_committed(status.last).map(|why| why.to_string()),
            why_read_waits: self.why_read_waits(),
            lost: status.lost.map(super::status::Lost::of),
            transferee: status.transferee.map(NodeId::get),
            waiting_writes: self.writes.len(),
            waiting_reads: self.reads.len(),
            progress: progress
                .map(|peer| super::status::Progress::of(peer, self.raft.why_paused(peer.id)))
                .collect(),
        }
    }
}
