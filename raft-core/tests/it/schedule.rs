//! Random schedules: anything that can happen to a cluster, in any order.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use raft_core::{ReadMode, RoleKind, SnapshotStatus};

use crate::cluster::{Cluster, Disk};
use crate::words::id;

/// Something that happens. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Tick(u64),
    /// All nodes tick and every message arrives.
    Round,
    Deliver(usize),
    Duplicate(usize),
    Lose(usize),
    Propose(u64),
    Read(u64),
    Campaign(u64),
    Hold(u64),
    PersistOne(u64),
    Release(u64),
    Crash(u64),
    Restart(u64),
    Compact(u64),
    Unreachable(u64, u64),
    SnapshotReport(u64, u64, bool),
    Cut(u64, u64),
    Heal,
}

/// How rough the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Messages arrive at any time and in any order, disks write at once.
    Network,
    /// The same, and disks are slow and nodes crash.
    All,
}

pub fn events(world: World, count: usize) -> impl Strategy<Value = Vec<Event>> {
    let node = || 0..5_u64;
    let network = prop_oneof![
        12 => node().prop_map(Event::Tick),
        4 => Just(Event::Round),
        30 => any::<usize>().prop_map(Event::Deliver),
        3 => any::<usize>().prop_map(Event::Duplicate),
        4 => any::<usize>().prop_map(Event::Lose),
        8 => node().prop_map(Event::Propose),
        4 => node().prop_map(Event::Read),
        2 => node().prop_map(Event::Campaign),
        1 => node().prop_map(Event::Compact),
        1 => (node(), node()).prop_map(|(a, b)| Event::Unreachable(a, b)),
        1 => (node(), node(), any::<bool>()).prop_map(|(a, b, ok)| Event::SnapshotReport(a, b, ok)),
        1 => (node(), node()).prop_map(|(a, b)| Event::Cut(a, b)),
        1 => Just(Event::Heal),
    ];
    let rough = prop_oneof![
        2 => node().prop_map(Event::Hold),
        8 => node().prop_map(Event::PersistOne),
        1 => node().prop_map(Event::Release),
        1 => node().prop_map(Event::Crash),
        2 => node().prop_map(Event::Restart),
    ];
    let weight = if world == World::All { 15 } else { 0 };
    vec(prop_oneof![85 => network, weight => rough], count / 2..count)
}

/// Lets it happen.
pub fn happen(cluster: &mut Cluster, event: Event) {
    let numbers = cluster.numbers();
    let node = |n: u64| numbers[n as usize % numbers.len()];
    let message = |cluster: &Cluster, at: usize| at % cluster.network.len().max(1);
    match event {
        Event::Round => cluster.round(),
        Event::Deliver(at) => {
            cluster.deliver_at(message(cluster, at));
        }
        Event::Duplicate(at) => {
            let copy = cluster.network.get(message(cluster, at)).cloned();
            cluster.network.extend(copy);
        }
        Event::Lose(at) => {
            cluster.network.remove(message(cluster, at));
        }
        Event::Cut(a, b) => cluster.cut_link(node(a), node(b)),
        Event::Heal => cluster.heal(),
        Event::Restart(n) if !cluster.is_up(node(n)) => cluster.restart(node(n)),
        Event::Tick(n)
        | Event::Propose(n)
        | Event::Read(n)
        | Event::Campaign(n)
        | Event::Hold(n)
        | Event::PersistOne(n)
        | Event::Release(n)
        | Event::Crash(n)
        | Event::Restart(n)
        | Event::Compact(n)
        | Event::Unreachable(n, _)
        | Event::SnapshotReport(n, _, _)
            if cluster.is_up(node(n)) =>
        {
            at_node(cluster, node(n), event, node);
        }
        _ => {}
    }
}

fn at_node(cluster: &mut Cluster, n: u64, event: Event, node: impl Fn(u64) -> u64) {
    match event {
        Event::Tick(_) => cluster.tick(n),
        Event::Propose(_) => {
            let _ = cluster.propose(n, "some command");
        }
        Event::Read(_) => {
            let _ = cluster.read_checked(n, ReadMode::Quorum);
        }
        Event::Campaign(_) => {
            let _ = cluster.node_mut(n).campaign();
            cluster.pump(n);
        }
        Event::Hold(_) => cluster.set_disk(n, Disk::Held),
        Event::PersistOne(_) => {
            cluster.persist_one(n);
        }
        Event::Release(_) => {
            cluster.set_disk(n, Disk::AtOnce);
            cluster.persist_all(n);
        }
        Event::Crash(_) => cluster.crash(n),
        Event::Compact(_) => cluster.compact_if_new(n),
        Event::Unreachable(_, peer) => cluster.node_mut(n).report_unreachable(id(node(peer))),
        Event::SnapshotReport(_, peer, ok) => {
            let status = if ok { SnapshotStatus::Finished } else { SnapshotStatus::Failed };
            cluster.node_mut(n).report_snapshot(id(node(peer)), status);
        }
        _ => {}
    }
}

/// Everything works again. After a while all nodes must agree, without any client.
pub fn recover(cluster: &mut Cluster) {
    for n in cluster.numbers() {
        if !cluster.is_up(n) {
            cluster.restart(n);
        }
        cluster.set_disk(n, Disk::AtOnce);
        cluster.persist_all(n);
    }
    cluster.heal();
    cluster.rounds(40);
    // Snapshots, or the answers to them, may have been lost: by the contract the caller reports that.
    for n in cluster.numbers() {
        for peer in cluster.status(n).progress {
            cluster.node_mut(n).report_snapshot(peer.id, SnapshotStatus::Failed);
        }
    }
    cluster.rounds(40);
    check_at_rest(cluster);
}

/// One leader, and everybody has what it has.
pub fn check_at_rest(cluster: &Cluster) {
    let leader = cluster.leader().expect("no leader a while after everything works again");
    let last = cluster.last(leader);
    assert!(last > 0);
    for n in cluster.numbers().into_iter().filter(|n| cluster.is_up(*n)) {
        let status = cluster.status(n);
        assert_eq!(status.leader, Some(id(leader)));
        let indexes = [status.commit, status.applied, status.last, status.durable];
        assert_eq!(indexes.map(|index| index.get()), [last; 4], "node {n}");
        assert_eq!((status.pending_reads, status.writes_in_flight), (0, 0));
        assert_eq!((status.uncommitted_bytes, status.log_bytes_in_memory), (0, 0));
        assert_eq!(cluster.slot(n).applied, cluster.slot(leader).applied);
        if n != leader {
            assert_eq!(status.role, RoleKind::Follower);
            let peer = cluster.peer(leader, n);
            assert_eq!((peer.match_index.get(), peer.inflight_messages, peer.inflight_bytes), (last, 0, 0));
            assert_eq!(peer.state, raft_core::PeerState::Replicate);
        }
    }
}
