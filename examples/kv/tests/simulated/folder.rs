//! The server's data folder as a storage that can be tested: what its caller does to it, and what a crash leaves.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::{fmt, fs, io};

use bytes::Bytes;
use raft_core::{ConfState, Index, NodeId, Ready, Snapshot};
use raft_fuzz::storage_suite::Subject;
use raft_kv::disk::snapshot::SnapshotDescriptor;
use raft_kv::disk::{Disk, Identity, LogReader, Options, WriteBatch};
use tempfile::TempDir;

/// The file in which the engine writes; see [`raft_kv::disk`].
const LOG: &str = "log.redb";
/// A disk writes this much whole or not at all.
const SECTOR: usize = 512;

/// A data folder. A crash leaves what is in its files at that moment, in a copy that is opened in its place.
pub(crate) struct Folder {
    disk: Disk,
    node: NodeId,
    folder: TempDir,
}

/// Why something failed.
#[derive(Debug)]
pub(crate) struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn failed(error: impl fmt::Display) -> Failed {
    Failed(error.to_string())
}

/// An empty folder, which goes when it is dropped: in memory where there is such a place, since no power is lost in fact, and
/// flushing thousands of times to a real disk takes long.
fn empty() -> Result<TempDir, Failed> {
    let in_memory = Path::new("/dev/shm");
    if in_memory.is_dir() { tempfile::tempdir_in(in_memory) } else { tempfile::tempdir() }.map_err(failed)
}

fn open(folder: &Path, node: NodeId, bootstrap: ConfState) -> Result<Disk, Failed> {
    let identity = Identity { node, cluster: "simulated".to_owned() };
    // It compacts by itself, as far as it may, and keeps little in memory, so that the file is read.
    let options = Options { bootstrap, keep_entries: node.get() - 1, cache_bytes: 100 };
    Disk::open(folder, &identity, options).map_err(failed)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

impl Folder {
    /// That of a new node, which starts with this configuration.
    pub(crate) fn create(node: NodeId, bootstrap: &ConfState) -> Result<Folder, Failed> {
        let folder = empty()?;
        Ok(Folder { disk: open(folder.path(), node, bootstrap.clone())?, node, folder })
    }

    fn copied(&self) -> Result<TempDir, Failed> {
        let copied = empty()?;
        copy(self.folder.path(), copied.path()).map_err(failed)?;
        Ok(copied)
    }

    /// Goes on in this folder.
    fn restart_in(&mut self, folder: TempDir) -> Result<(), Failed> {
        self.disk = open(folder.path(), self.node, ConfState::default())?;
        self.folder = folder;
        Ok(())
    }
}

/// What is in a file of which some sectors weren't written before power was lost. A file that grows is flushed once more, before
/// anything is written that relies on its length.
fn torn(before: &[u8], after: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let most = [1, 8, 64][rng.usize(0..3)];
    let mut torn = vec![0; before.len().max(after.len())];
    for (number, sector) in torn.chunks_mut(SECTOR).enumerate() {
        let from = if rng.usize(0..=most) == 0 { before } else { after };
        let there = from.get(number * SECTOR..).unwrap_or_default();
        let len = there.len().min(sector.len());
        sector[..len].copy_from_slice(&there[..len]);
    }
    torn
}

impl Subject for Folder {
    type Storage = LogReader;
    type Error = Failed;

    fn storage(&self) -> &LogReader {
        &self.disk.reader
    }

    fn write(&mut self, ready: &Ready) -> Result<(), Failed> {
        let batch = WriteBatch {
            snapshot: ready.snapshot.clone(),
            entries: ready.entries.clone(),
            hard_state: ready.hard_state,
            data_loss: ready.data_loss,
        };
        self.disk.writer.write(&[batch], ready.must_sync).map_err(failed)
    }

    fn sync(&mut self) -> Result<(), Failed> {
        self.disk.writer.write(&[], true).map_err(failed)
    }

    fn crash(&mut self) -> Result<(), Failed> {
        let copied = self.copied()?;
        self.restart_in(copied)
    }

    /// The write is one flush of one file: of what it changed there, any sector may have reached the disk, or not.
    fn crash_while_writing(&mut self, ready: &Ready) -> Result<(), Failed> {
        let copied = self.copied()?;
        self.write(ready)?;
        let before = fs::read(copied.path().join(LOG)).map_err(failed)?;
        let after = fs::read(self.folder.path().join(LOG)).map_err(failed)?;
        fs::write(copied.path().join(LOG), torn(&before, &after, ready.number)).map_err(failed)?;
        self.restart_in(copied)
    }

    fn receive_snapshot(&mut self, snapshot: Snapshot) -> Result<Snapshot, Failed> {
        let mut writer = self.disk.snapshots.create(snapshot.metadata).map_err(failed)?;
        writer.write_all(&snapshot.data).map_err(failed)?;
        writer.finish().map_err(failed)
    }

    fn snapshot_state(&self, snapshot: &Snapshot) -> Result<Bytes, Failed> {
        let descriptor = SnapshotDescriptor::of(snapshot).map_err(failed)?;
        let mut state = Vec::new();
        self.disk.snapshots.open(&descriptor).map_err(failed)?.read_to_end(&mut state).map_err(failed)?;
        Ok(state.into())
    }

    fn save_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Failed> {
        self.disk.writer.record_snapshot(snapshot).map_err(failed)
    }

    fn compact(&mut self, _: Index) -> Result<(), Failed> {
        Ok(())
    }
}
