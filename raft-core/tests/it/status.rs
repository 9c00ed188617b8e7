//! What a node tells of itself, and what that costs.

use raft_core::RoleKind;

use crate::cluster::{Cluster, figure_2};
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
