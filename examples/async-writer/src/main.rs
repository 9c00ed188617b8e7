//! Three nodes whose disks don't hold up the loop: each has a writer, a thread that works through the `Ready`s in order
//! and syncs its file once for as many of them as have queued up meanwhile.
//!
//! ```text
//! cargo run -p raft-example-async-writer            in a temporary folder
//! cargo run -p raft-example-async-writer FOLDER     in this one: a second run goes on where the first ended
//! ```
//!
//! ```text
//!   the loop                                     a writer
//!   ────────                                     ────────
//!   ready 7 ── entries, hard state ────────────▶ write 7, sync
//!     │  └──── messages ──▶ network                 │
//!   ready 8 ──────────────────────────────────▶ ┐   │
//!   ready 9 ──────────────────────────────────▶ ├ (queued meanwhile)
//!   ready 10 ─────────────────────────────────▶ ┘   │
//!   on_persisted(7) ◀── persisted_messages of 7 ────┘
//!     └──────▶ network                           write 8, 9, 10, sync once
//!   on_persisted(10) ◀── persisted_messages of 8, 9, 10 ┘
//! ```

mod file;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_core::{
    Config, Entry, Index, LogPosition, MemoryStorage, Message, NodeId, Proposal, RawNode, RoleKind,
};

use file::LogFile;
use writer::{Job, Report, Syncs};

const COMMANDS: u32 = 2_000;

/// How many commands a client has under way at once.
const WINDOW: usize = 64;

/// The caller's unit of time.
const TICK: Duration = Duration::from_millis(10);

/// How many `Ready`s a writer may be behind before the loop waits for it.
const QUEUE: usize = 1_024;

fn main() -> Result<(), Box<dyn Error>> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    let temporary = std::env::temp_dir().join(format!("raft-async-writer-{}", std::process::id()));
    let folder = given.as_ref().unwrap_or(&temporary);
    let outcome = run(folder, COMMANDS)?;
    for (id, applied, syncs) in &outcome {
        println!("node {id} applied {applied} commands; {syncs}", applied = applied.len());
    }
    if given.is_none() {
        std::fs::remove_dir_all(&temporary)?;
    }
    Ok(())
}

/// What a server has applied since its log began, and how its writer fared.
type Outcome = (NodeId, Vec<Bytes>, Syncs);

/// Starts from what the folder holds, and runs until so many new commands are applied on all servers.
fn run(folder: &Path, commands: u32) -> Result<Vec<Outcome>, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let ids: Vec<NodeId> = (1..=3).filter_map(NodeId::new).collect();
    let (reporter, reports) = mpsc::channel();
    let mut servers = Vec::new();
    for id in &ids {
        servers.push(Server::start(*id, &ids, folder, reporter.clone())?);
    }
    drop(reporter);
    let mut client = Client::with(commands);
    let mut network: Vec<Message> = Vec::new();
    let mut next_tick = Instant::now();

    while servers.iter().any(|server| server.node.applied_index() < client.last || !client.is_done()) {
        // 1. Inputs: time, messages, at most one command. The loop goes round many times during one sync, so that many
        //    small `Ready`s queue up for the next one.
        let now = Instant::now();
        if now >= next_tick {
            next_tick = now + TICK;
            for server in &mut servers {
                server.node.tick();
            }
        }
        let mut idle = network.is_empty();
        for message in std::mem::take(&mut network) {
            if let Some(server) = servers.iter_mut().find(|server| server.node.id() == message.to) {
                server.node.step(message)?;
            }
        }
        let leaders = servers.iter_mut().filter(|server| server.node.role() == RoleKind::Leader);
        if let Some(leader) = leaders.max_by_key(|server| server.node.term()) {
            idle &= !client.propose(&mut leader.node)?;
        }
        for server in &mut servers {
            server.work(&mut network, &mut client)?;
        }
        // 5 and 7. What is durable by now. There is nothing else to wait for, if nothing else happened.
        let patience =
            if idle { next_tick.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
        if let Some(report) = next_report(&reports, patience)? {
            for server in servers.iter_mut().filter(|server| server.node.id() == report.node) {
                network.extend(report.messages.iter().cloned());
                server.node.on_persisted(report.number)?;
            }
        }
    }
    servers.into_iter().map(Server::stop).collect()
}

/// The next report of a writer. A writer that failed ends it all: what it was given may never be durable.
fn next_report(reports: &Receiver<io::Result<Report>>, patience: Duration) -> io::Result<Option<Report>> {
    match reports.recv_timeout(patience) {
        Ok(report) => report.map(Some),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("all writers have stopped")),
    }
}

/// A node, the way to its writer, and its state machine: a list of commands.
struct Server {
    node: RawNode<MemoryStorage>,
    jobs: SyncSender<Job>,
    writer: JoinHandle<Syncs>,
    applied: Vec<Bytes>,
}

impl Server {
    fn start(
        id: NodeId,
        voters: &[NodeId],
        folder: &Path,
        reports: Sender<io::Result<Report>>,
    ) -> Result<Server, Box<dyn Error>> {
        let mut storage = MemoryStorage::with_voters(voters.iter().copied());
        let file = LogFile::open(&folder.join(format!("node-{id}.log")), &mut storage)?;
        let config =
            Config { async_writes: true, ..Config::new(id, RandomState::new().build_hasher().finish()) };
        let node = RawNode::new(config, storage)?;
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        let name = format!("writer {id}");
        let writer =
            thread::Builder::new().name(name).spawn(move || writer::run(id, file, &queue, &reports))?;
        Ok(Server { node, jobs, writer, applied: Vec::new() })
    }

    fn work(&mut self, network: &mut Vec<Message>, client: &mut Client) -> Result<(), Box<dyn Error>> {
        // 2. Outputs, as long as there are any.
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            if let Some(now) = ready.soft_state {
                println!("node {}: {} in term {}", self.node.id(), now.role, self.node.term());
            }
            // 3. Send what may leave at once.
            network.append(&mut ready.messages);
            // 6 and 7. Apply. With `async_writes` these entries are durable already, those of this `Ready` aren't among
            //    them: there is nothing to wait for.
            for entry in &ready.committed_entries {
                if let Some(command) = entry.data() {
                    self.applied.push(command.clone());
                }
                client.see(entry);
                self.node.on_applied(entry.index)?;
            }
            // The node reads its log from memory, where it may be ahead of what is durable.
            self.node.storage_mut().persist(&ready)?;
            // 4 and 5. The rest is for the writer, in order.
            if ready.needs_acknowledgement() {
                let job = Job {
                    number: ready.number,
                    entries: ready.entries,
                    hard_state: ready.hard_state,
                    must_sync: ready.must_sync,
                    messages: ready.persisted_messages,
                };
                self.jobs.send(job)?;
            }
        }
        Ok(())
    }

    /// Waits until everything is written.
    fn stop(self) -> Result<Outcome, Box<dyn Error>> {
        drop(self.jobs);
        match self.writer.join() {
            Ok(syncs) => Ok((self.node.id(), self.applied, syncs)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Has its commands replicated, each of them once.
struct Client {
    to_propose: VecDeque<Bytes>,
    /// What is proposed and not settled, in the order of the log.
    under_way: VecDeque<(LogPosition, Bytes)>,
    /// The index of the last command that is known to be applied somewhere.
    last: Index,
}

impl Client {
    fn with(commands: u32) -> Client {
        let to_propose = (0..commands).map(|number| format!("command {number}").into()).collect();
        Client { to_propose, under_way: VecDeque::new(), last: Index::ZERO }
    }

    fn is_done(&self) -> bool {
        self.to_propose.is_empty() && self.under_way.is_empty()
    }

    /// Proposes the next command if there is one and the window isn't full; returns whether it did.
    fn propose(&mut self, leader: &mut RawNode<MemoryStorage>) -> Result<bool, Box<dyn Error>> {
        if self.under_way.len() >= WINDOW {
            return Ok(false);
        }
        let Some(command) = self.to_propose.pop_front() else { return Ok(false) };
        if let Proposal::Appended { term, last, .. } = leader.propose(command.clone())? {
            self.under_way.push_back((LogPosition::new(term, last), command));
        }
        Ok(true)
    }

    /// An entry is applied. What was proposed at this place or before is applied too, or it has lost its place to entries
    /// of a later term; then it is proposed again.
    fn see(&mut self, entry: &Entry) {
        let settled = self.under_way.partition_point(|(position, _)| *position <= entry.position());
        for (position, command) in self.under_way.drain(..settled) {
            if position == entry.position() {
                self.last = entry.index;
            } else {
                self.to_propose.push_back(command);
            }
        }
    }
}
