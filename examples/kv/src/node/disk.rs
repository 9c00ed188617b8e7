//! The thread that writes.
//!
//! Everything that waits when it comes round goes to the disk in one write with one flush. Only then do the votes
//! and acknowledgements leave that promise it, and the core is told. One acknowledgement is enough for all that a leader sent
//! meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use raft_kv::disk::snapshot::SnapshotDescriptor;
use raft_kv::disk::{LogWriter, SnapshotStore, WriteBatch};
use raft_kv::machine::Machine;
use raft_proto::{AppendEntriesReply, Body, Index, Message, NodeId, Snapshot};
use slog::{Logger, debug, error, info};

use super::{Inbox, Input};
use crate::transport::Transport;

/// What is to be written.
///
/// The queue of these isn't bounded by number: it holds no more than the core's own limits on what is in flight allow,
/// and the core's thread must never wait for the disk.
pub(super) enum Job {
    /// What one `Ready` has to be made durable, and what may be sent when it is.
    Write { number: u64, batch: WriteBatch, sync: bool, messages: Vec<Message> },
    /// A snapshot of this node's own was made: give up the log before it.
    Record(Snapshot),
}

/// Up to here everything is durable.
pub(crate) struct Persisted {
    pub(super) number: u64,
    /// The state machine that the last snapshot holds, if one was written.
    pub(super) machine: Option<Machine>,
    /// Peers to which a message was dropped.
    pub(super) lost: Vec<NodeId>,
}

/// How many writes go to the disk at once.
const AT_ONCE: usize = 1024;

pub(super) struct Disk {
    pub(super) jobs: Receiver<Job>,
    pub(super) writer: LogWriter,
    pub(super) snapshots: SnapshotStore,
    pub(super) transport: Arc<Transport>,
    pub(super) inbox: Inbox,
    pub(super) log: Logger,
}

/// What was taken from the queue to be written at once.
#[derive(Default)]
pub(super) struct Group {
    number: u64,
    batches: Vec<WriteBatch>,
    sync: bool,
    messages: Vec<Message>,
    record: Option<Snapshot>,
}

impl Group {
    /// Adds a job. False if nothing may follow it in this group.
    fn add(&mut self, job: Job) -> bool {
        match job {
            Job::Write { number, batch, sync, messages } => {
                let last = batch.snapshot.is_some();
                self.number = number;
                self.sync |= sync;
                messages.into_iter().for_each(|message| self.add_message(message));
                if batch != WriteBatch::default() {
                    self.batches.push(batch);
                }
                !last
            }
            Job::Record(snapshot) => {
                self.record = Some(snapshot);
                false
            }
        }
    }

    /// An acknowledgement holds for all entries up to its index: of several in a row to a peer, the last says it all.
    fn add_message(&mut self, message: Message) {
        match self.messages.last_mut() {
            Some(last) if says_all_of(&message, last) => *last = message,
            Some(_) | None => self.messages.push(message),
        }
    }
}

/// Are both acknowledgements, and is the first one's meaning part of the second's?
fn says_all_of(new: &Message, old: &Message) -> bool {
    let accepted = |message: &Message| match message.body {
        Body::AppendEntriesReply(AppendEntriesReply::Accepted { index }) => Some(index),
        _ => None,
    };
    let (Some(old_index), Some(new_index)) = (accepted(old), accepted(new)) else { return false };
    (new.from, new.to, new.term) == (old.from, old.to, old.term) && old_index <= new_index
}

impl Disk {
    /// Writes until the queue ends, which the core's thread does when it stops.
    pub(super) fn run(mut self) {
        while let Some(group) = self.next_group() {
            if let Err(reason) = self.write(group) {
                error!(self.log, "the disk failed"; "reason" => &reason);
                let _ = self.inbox.put_blocking(Input::DiskFailed(reason));
                return;
            }
        }
        if let Err(error) = self.writer.close() {
            error!(self.log, "the disk failed"; "reason" => %error);
        }
    }

    /// What waits, or the first that comes; none when the queue has ended.
    pub(super) fn next_group(&self) -> Option<Group> {
        let mut group = Group::default();
        let mut more = group.add(self.jobs.recv().ok()?);
        while more && group.batches.len() < AT_ONCE {
            match self.jobs.try_recv() {
                Ok(job) => more = group.add(job),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        Some(group)
    }

    /// Makes it durable; then its messages leave and the core is told.
    pub(super) fn write(&mut self, group: Group) -> Result<(), String> {
        if !group.batches.is_empty() {
            self.writer.write(&group.batches, group.sync).map_err(|error| error.to_string())?;
            self.trace(&group);
        }
        let mut machine = None;
        if let Some(snapshot) = group.batches.last().and_then(|batch| batch.snapshot.as_ref()) {
            machine = Some(self.restore(snapshot)?);
        }
        // A number of zero: nothing but a snapshot to record.
        if group.number > 0 {
            let lost = self.transport.send(group.messages);
            let persisted = Persisted { number: group.number, machine, lost };
            // The core's thread has stopped: the process is about to.
            let _ = self.inbox.put_blocking(Input::Persisted(persisted));
        }
        if let Some(snapshot) = group.record {
            self.writer.record_snapshot(&snapshot).map_err(|error| error.to_string())?;
            info!(self.log, "compacted the log"; "snapshot" => snapshot.metadata.index.get());
        }
        Ok(())
    }

    fn restore(&self, snapshot: &Snapshot) -> Result<Machine, String> {
        let descriptor = SnapshotDescriptor::of(snapshot).map_err(|error| error.to_string())?;
        let state = self.snapshots.open(&descriptor).map_err(|error| error.to_string())?;
        let machine = Machine::restore(state).map_err(|error| error.to_string())?;
        info!(self.log, "restored a snapshot"; "index" => snapshot.metadata.index.get(), "keys" => machine.len());
        Ok(machine)
    }

    fn trace(&self, group: &Group) {
        let entries = || group.batches.iter().flat_map(|batch| &batch.entries);
        let Some(last) = entries().last() else { return };
        let first = entries().map(|entry| entry.index).min().unwrap_or(Index::ZERO);
        debug!(self.log, "entries are durable here"; "first" => first.get(), "last" => last.index.get(),
            "term" => last.term.get(), "readies" => group.batches.len());
    }
}
