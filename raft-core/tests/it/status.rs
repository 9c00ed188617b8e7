//! What a node tells of itself, and what that costs.

use raft_core::{RoleKind, Storage};

use crate::cluster::{Cluster, Disk, asynchronous, figure_2};
use crate::words::*;

#[test]
fn the_basic_status_allocates_nothing_and_the_rest_as_many_rows_as_there_are_members() {
    let mut cluster = Cluster::of(&[1, 2, 3], &[4], figure_2);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    for n in [1, 2] {
        let node = cluster.node(n);
        let mut basic = None;
        let used = allocation_counter::measure(|| basic = Some(node.basic_status()));
        assert_eq!(used.count_total, 0, "node {n}");
        let status = node.status();
        assert_eq!(basic, Some(status.basic));
        assert_eq!((status.conf_state, status.progress), (node.conf_state(), node.progress()));
    }
    assert_eq!(cluster.node(1).progress().len(), 4);
    assert!(cluster.node(2).progress().is_empty());
}

#[test]
fn a_status_reads_like_its_basic_part() {
    let mut cluster = Cluster::with(3, figure_2);
    cluster.elect(1);
    let status = cluster.status(1);
    assert_eq!((status.id, status.role, status.term), (id(1), RoleKind::Leader, term(1)));
    assert_eq!((status.leader, status.vote, status.commit), (Some(id(1)), Some(id(1)), index(1)));
}

/// What waits for its write is in memory, what waits to be committed too as far as the limit goes, and nothing else.
#[test]
fn the_log_is_in_memory_until_it_is_durable_and_handed_out() {
    for (limit, are_kept) in [(1_000, true), (10, false)] {
        let mut cluster = Cluster::with(2, |config| {
            asynchronous(config);
            config.max_inflight_bytes = limit;
        });
        cluster.elect(1);
        let in_memory = |cluster: &Cluster| cluster.node(1).basic_status().log_bytes_in_memory;
        assert_eq!(in_memory(&cluster), 0);
        cluster.set_disk(1, Disk::Held);
        for command in ["first", "second", "third"] {
            cluster.propose(1, command).unwrap();
        }
        let (appended, to_follower) = (in_memory(&cluster), cluster.take_all());
        cluster.persist_all(1);
        let stored = cluster.disk(1).entries(index(2)..index(5), u64::MAX).unwrap();
        assert_eq!((stored.len(), stored.encoded_len()), (3, appended));
        assert_eq!(in_memory(&cluster), if are_kept { appended } else { 0 }, "durable, not committed");
        to_follower.into_iter().for_each(|message| cluster.deliver(message));
        cluster.settle();
        assert_eq!((cluster.applied(1).len(), in_memory(&cluster)), (3, 0));
    }
}
