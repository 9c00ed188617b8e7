//! The data folder against a model, against crashes and against damage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod crash;
mod damage;
mod model;
mod refusals;
mod snapshots;

use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use raft_core::{DataLoss, DataLossReport, Storage};
use raft_kv::disk::{Disk, DiskError, Identity, Options, SnapshotStore, WriteBatch};
use raft_proto::{ConfState, Entry, HardState, Index, LogPosition, NodeId, Snapshot, SnapshotMetadata, Term};

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn identity() -> Identity {
    Identity { node: node(1), cluster: "1/a:1,2/b:2,3/c:3".to_owned() }
}

fn members() -> ConfState {
    ConfState::of_voters([node(1), node(2), node(3)])
}

fn options() -> Options {
    // Few are kept, and few in memory, so that every path is taken.
    Options { bootstrap: members(), keep_entries: 4, cache_bytes: 200 }
}

fn open(dir: &Path) -> Result<Disk, DiskError> {
    Disk::open(dir, &identity(), options())
}

fn index(index: u64) -> Index {
    Index::new(index)
}

/// An entry whose payload says which it is.
fn entry(term: u64, at: u64) -> Entry {
    let data = format!("{term}/{at} {}", "x".repeat((at % 40) as usize));
    Entry::normal(Term::new(term), index(at), Bytes::from(data))
}

fn entries(term: u64, range: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    range.map(|at| entry(term, at)).collect()
}

fn hard_state(term: u64, commit: u64) -> HardState {
    HardState { term: Term::new(term), vote: NodeId::new(2), commit: index(commit) }
}

fn appended(term: u64, range: std::ops::RangeInclusive<u64>, commit: u64) -> WriteBatch {
    let entries = entries(term, range);
    WriteBatch {
        entries: entries.into(),
        hard_state: Some(hard_state(term, commit)),
        ..WriteBatch::default()
    }
}

fn metadata(at: LogPosition) -> SnapshotMetadata {
    SnapshotMetadata { conf_state: members(), index: at.index, term: at.term }
}

fn at(term: u64, at: u64) -> LogPosition {
    LogPosition { term: Term::new(term), index: index(at) }
}

/// A snapshot file with this state.
fn make_snapshot(store: &SnapshotStore, at: LogPosition, state: &[u8]) -> Snapshot {
    let mut writer = store.create(metadata(at)).unwrap();
    writer.write_all(state).unwrap();
    writer.finish().unwrap()
}

/// All entries that the folder has.
fn read_all(disk: &Disk) -> Vec<Entry> {
    let mut all = Vec::new();
    let (first, last) = (disk.reader.first_index(), disk.reader.last_index());
    disk.reader.entries(first..last.next(), u64::MAX, &mut all).unwrap();
    all
}
