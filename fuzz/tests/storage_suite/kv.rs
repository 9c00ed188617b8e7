//! The key-value server's own log storage, in the suite.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::{fmt, fs, io};

use bytes::Bytes;
use raft_core::{ConfState, Index, NodeId, Ready, Snapshot};
use raft_fuzz::storage_suite::Subject;
use raft_kv::disk::snapshot::SnapshotDescriptor;
use raft_kv::disk::{Disk, Identity, LogReader, Options, WriteBatch};
use tempfile::TempDir;

/// A data folder. A crash leaves what is in its files at that moment.
pub struct Folder {
    disk: Disk,
    folder: TempDir,
}

/// Why something failed.
#[derive(Debug)]
pub struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn failed(error: impl fmt::Display) -> Failed {
    Failed(error.to_string())
}

fn open(folder: &Path, bootstrap: ConfState) -> Result<Disk, Failed> {
    let node = NodeId::new(1).ok_or_else(|| failed("there is no node 1"))?;
    let identity = Identity { node, cluster: "suite".to_owned() };
    // It compacts by itself, as far as it may, and keeps little in memory, so that the file is read.
    Disk::open(folder, &identity, Options { bootstrap, keep_entries: 0, cache_bytes: 100 }).map_err(failed)
}

impl Folder {
    pub fn create(bootstrap: &ConfState) -> Result<Folder, Failed> {
        let folder = tempfile::tempdir().map_err(failed)?;
        Ok(Folder { disk: open(folder.path(), bootstrap.clone())?, folder })
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
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
        let copied = tempfile::tempdir().map_err(failed)?;
        copy(self.folder.path(), copied.path()).map_err(failed)?;
        self.disk = open(copied.path(), ConfState::default())?;
        self.folder = copied;
        Ok(())
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
