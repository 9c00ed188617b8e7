//! The server's own log storage and state machine in a simulated cluster: crashes, torn writes, disks that are slow, stuck or
//! can't be read, partitions, membership changes, snapshots and compaction, with all that raft-fuzz checks after each event.
//!
//! This is an example too: how anyone tests parts of his own. [`folder`] is the storage and [`machine`] the state machine, as the
//! simulator wants them; [`Server`] puts them together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod folder;
mod machine;

use raft_core::{ConfState, NodeId};
use raft_fuzz::parts::Parts;
use raft_fuzz::reached::Situation;
use raft_fuzz::storage_suite::check;
use raft_fuzz::{Options, Report, run_with};

use folder::Folder;
use machine::KeyValue;

/// A node of the server.
#[derive(Clone, Copy)]
struct Server;

impl Parts for Server {
    type Machine = KeyValue;
    type Storage = Folder;

    fn machine(&self, _: NodeId) -> KeyValue {
        KeyValue::default()
    }

    fn storage(&self, node: NodeId, conf_state: &ConfState) -> Result<Folder, String> {
        Folder::create(node, conf_state).map_err(|error| error.to_string())
    }
}

/// Some seeds from here on. More of them: `RAFT_KV_SEEDS=1000 cargo test --release -p raft-kv --test simulated`.
fn all_hold(from: u64, count: u64, changes: bool) -> Report {
    let more = std::env::var("RAFT_KV_SEEDS").ok().and_then(|text| text.parse().ok());
    let options = Options { changes: Some(changes), ..Options::default() };
    let mut sum = Report::default();
    for seed in from..from + more.unwrap_or(count) {
        sum.add(&run_with(seed, &options, &Server).unwrap_or_else(|failure| panic!("{failure}")));
    }
    sum
}

#[test]
fn the_folder_keeps_the_contract_of_a_storage() {
    let node = NodeId::new(1).unwrap();
    check(|conf_state| Folder::create(node, conf_state)).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn clusters_of_the_server_keep_every_promise() {
    let sum = all_hold(1, 4, false);
    assert!(sum.crashes > 30 && sum.reads > 80 && sum.committed > 400, "{sum:?}");
}

#[test]
fn clusters_whose_membership_changes_keep_every_promise() {
    let sum = all_hold(1_000, 16, true);
    assert!(sum.crashes > 80 && sum.snapshots > 10 && sum.changes > 20, "{sum:?}");
    use Situation::{CommitLost, DiskStuck, Fetched, SnapshotRestored, WriteTorn};
    let missing: Vec<_> = sum.reached.missing().collect();
    for situation in [CommitLost, DiskStuck, Fetched, SnapshotRestored, WriteTorn] {
        assert!(!missing.contains(&situation), "never met: {}", situation.text());
    }
}
