//! The writer: a thread that makes durable what the loop hands it, many `Ready`s at a time.

use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, Sender};

use raft_core::{EntryBatches, HardState, Message, NodeId};

use crate::QUEUE;
use crate::file::LogFile;

/// The part of a `Ready` that waits for the disk. (Nothing here compacts its log, so there is never a snapshot.)
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) entries: EntryBatches,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) must_sync: bool,
    pub(crate) messages: Vec<Message>,
}

/// Everything up to this `Ready` is durable, so these messages may leave.
pub(crate) struct Report {
    pub(crate) node: NodeId,
    pub(crate) number: u64,
    pub(crate) messages: Vec<Message>,
}

/// How many `Ready`s each sync covered.
#[derive(Debug, Default)]
pub(crate) struct Syncs(pub(crate) Vec<usize>);

/// Writes until there is nobody left who would hand it anything.
pub(crate) fn run(
    node: NodeId,
    mut file: LogFile,
    queue: &Receiver<Job>,
    reports: &Sender<io::Result<Report>>,
) -> Syncs {
    let mut syncs = Syncs::default();
    while let Ok(first) = queue.recv() {
        let mut report = Report { node, number: 0, messages: Vec::new() };
        let mut must_sync = false;
        let mut count = 0;
        let mut written = Ok(());
        // Whatever has queued up during the last sync goes into this one.
        for job in std::iter::once(first).chain(queue.try_iter().take(QUEUE)) {
            written = written.and_then(|()| file.add(&job.entries, job.hard_state));
            report.number = job.number;
            report.messages.extend(job.messages);
            must_sync |= job.must_sync;
            count += 1;
        }
        written = written.and_then(|()| file.write(must_sync));
        if must_sync {
            syncs.0.push(count);
        }
        // After a write or a sync that failed nobody knows what is on the disk, so it isn't tried again.
        let failed = written.is_err();
        let heard = reports.send(written.map(|()| report)).is_ok();
        if failed || !heard {
            break;
        }
    }
    syncs
}

impl fmt::Display for Syncs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 30;
        let total: usize = self.0.iter().sum();
        write!(f, "{} syncs for {total} Readies:", self.0.len())?;
        for count in self.0.iter().take(SHOWN) {
            write!(f, " {count}")?;
        }
        if self.0.len() > SHOWN { f.write_str(" …") } else { Ok(()) }
    }
}
