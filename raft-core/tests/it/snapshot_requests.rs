//! A follower whose state machine needs a snapshot, though its log is whole.

use raft_core::{
    AppendEntriesReply, Body, CampaignError, Config, MemoryStorage, Message, PeerState, RawNode, RoleKind,
    SnapshotRequestError, SnapshotStatus, WhyNotLeader,
};

use crate::cluster::{Cluster, Disk, asynchronous, disk_with, figure_2};
use crate::words::*;

fn is_request(message: &Message) -> bool {
    matches!(message.body, Body::AppendEntriesReply(AppendEntriesReply::SnapshotWanted { .. }))
}

fn wanted(at_least: u64) -> Body {
    Body::AppendEntriesReply(AppendEntriesReply::SnapshotWanted { at_least: index(at_least) })
}

/// Node 1 leads three nodes that have applied entries 1 to 4.
fn led(configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::with(3, |config| {
        figure_2(config);
        configure(config);
    });
    cluster.elect(1);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command).unwrap();
    }
    cluster.settle();
    cluster.rounds(1);
    cluster
}

fn request(cluster: &mut Cluster, n: u64) {
    cluster.node_mut(n).request_snapshot().unwrap();
    cluster.pump(n);
}

fn restored(cluster: &Cluster, n: u64) -> u64 {
    use raft_core::Storage;
    cluster.disk(n).snapshot(index(0), id(n)).map_or(0, |snapshot| snapshot.metadata.index.get())
}

#[test]
fn it_gets_one_and_its_log_goes_on_meanwhile() {
    for configure in [figure_2 as fn(&mut Config), asynchronous] {
        let mut cluster = led(configure);
        // Without node 2, node 3 is needed for a quorum.
        cluster.isolate(2);
        request(&mut cluster, 3);
        cluster.settle();
        assert_eq!(cluster.status(3).snapshot_wanted, Some(index(4)));
        cluster.propose(1, "d").unwrap();
        cluster.settle();
        cluster.rounds(1);
        assert_eq!((cluster.commit(1), cluster.commit(3)), (5, 5), "it acknowledges");
        assert_eq!(cluster.slot(3).applied.len(), 4, "and applies nothing");
        assert_eq!(restored(&cluster, 3), 0);

        cluster.compact(1);
        cluster.propose(1, "e").unwrap();
        cluster.propose(1, "f").unwrap();
        cluster.settle();
        cluster.rounds(2);
        assert_eq!(restored(&cluster, 3), 5);
        assert_eq!(cluster.status(3).snapshot_wanted, None);
        assert_eq!(
            cluster.applied(3),
            cluster.applied(1),
            "what follows the snapshot is applied from the log"
        );
        assert_eq!((cluster.commit(3), cluster.last(3)), (7, 7));
        assert_eq!(cluster.peer(1, 3).state, PeerState::Replicate, "its log was never in doubt");
    }
}

/// The snapshot and what is kept of the log are one write: a crash before it leaves the log as it was.
#[test]
fn what_was_acknowledged_is_durable_at_any_time() {
    for completed in [false, true] {
        let mut cluster = led(asynchronous);
        cluster.compact(1);
        cluster.isolate(2);
        request(&mut cluster, 3);
        cluster.propose(1, "d").unwrap();
        cluster.deliver_if(|message| message.to == id(3) && is_append(message));
        cluster
            .deliver_if(|message| message.from == id(3) && is_append_reply(message) && !is_request(message));
        assert_eq!(cluster.peer(1, 3).match_index, index(5));
        cluster.set_disk(3, Disk::Held);
        cluster.settle();
        assert!(cluster.held_writes(3) > 0);
        if completed {
            cluster.persist_all(3);
            assert_eq!(restored(&cluster, 3), 4);
        }
        cluster.crash(3);
        cluster.restart(3);
        assert_eq!(cluster.last(3), 5, "completed: {completed}");
        cluster.set_disk(3, Disk::AtOnce);
        cluster.rounds(3);
        assert_eq!(cluster.status(3).lost, None);
        assert_eq!(cluster.applied(3), cluster.applied(1));
    }
}

/// Asked for again while the first is being written, a second snapshot of the same entries replaces the state machine once more:
/// what is behind it is applied when that is done, and not when the first is durable.
#[test]
fn nothing_is_applied_between_two_snapshots_of_the_same_entries() {
    let mut cluster = led(|config| {
        asynchronous(config);
        config.max_apply_ahead = 8;
    });
    cluster.compact(1);
    cluster.set_disk(3, Disk::Held);
    for _ in 0..2 {
        request(&mut cluster, 3);
        // What it tells waits for its disk.
        cluster.step(message(3, 1, 1, wanted(4))).unwrap();
        cluster.deliver_if(is_snapshot);
        assert_eq!(cluster.status(3).snapshot_wanted, None, "it came");
        cluster.node_mut(1).report_snapshot(id(3), SnapshotStatus::Finished);
    }
    cluster.propose(1, "d").unwrap();
    cluster.settle();
    cluster.rounds(1);
    cluster.persist_all(3);
    assert_eq!((cluster.status(3).applied, cluster.slot(3).applied.len()), (index(5), 5));
    assert_eq!(cluster.applied(3), cluster.applied(1));
}

#[test]
fn it_asks_with_each_heartbeat_until_it_has_one() {
    let mut cluster = led(|_| {});
    request(&mut cluster, 3);
    assert_eq!(cluster.take_if(is_request).len(), 1, "lost");
    for _ in 0..3 {
        cluster.tick(1);
        cluster.deliver_if(is_heartbeat);
        assert_eq!(cluster.take_if(is_request).len(), 1);
        cluster.take_all();
    }
    cluster.compact(1);
    cluster.rounds(3);
    assert_eq!(restored(&cluster, 3), 4);
    cluster.sent.clear();
    cluster.rounds(3);
    assert!(!cluster.sent.iter().any(is_request));
}

#[test]
fn one_is_on_its_way_at_a_time() {
    let mut cluster = led(|_| {});
    cluster.compact(1);
    let sent = |cluster: &mut Cluster| {
        cluster.step(message(3, 1, 1, wanted(4))).unwrap();
        cluster.take_all().iter().filter(|message| is_snapshot(message)).count()
    };
    assert_eq!((sent(&mut cluster), sent(&mut cluster)), (1, 0));
    cluster.node_mut(1).report_snapshot(id(3), SnapshotStatus::Failed);
    assert_eq!((sent(&mut cluster), sent(&mut cluster)), (1, 0));
    cluster.node_mut(1).report_snapshot(id(3), SnapshotStatus::Finished);
    assert_eq!(sent(&mut cluster), 1, "it asks for what it needs");
    assert!(!cluster.peer(1, 3).paused, "the log is sent as before");
}

#[test]
fn a_snapshot_of_less_than_was_handed_out_does_not_do() {
    let mut cluster = led(|_| {});
    request(&mut cluster, 3);
    cluster.take_all();
    let offer = |at| {
        let snapshot = snapshot(at, conf_state(&[1, 2, 3], &[]));
        Body::InstallSnapshot(raft_core::InstallSnapshot { snapshot }.into())
    };
    cluster.step(message(1, 3, 1, offer(at(1, 3)))).unwrap();
    assert_eq!((restored(&cluster, 3), cluster.status(3).snapshot_wanted), (0, Some(index(4))));
    cluster.step(message(1, 3, 1, offer(at(1, 4)))).unwrap();
    assert_eq!((restored(&cluster, 3), cluster.status(3).snapshot_wanted), (4, None));
}

#[test]
fn without_a_request_a_known_snapshot_leaves_the_state_machine_alone() {
    let mut cluster = led(|_| {});
    let body = raft_core::InstallSnapshot { snapshot: snapshot(at(1, 4), conf_state(&[1, 2, 3], &[])) };
    cluster.step(message(1, 3, 1, Body::InstallSnapshot(body.into()))).unwrap();
    assert_eq!(restored(&cluster, 3), 0);
}

#[test]
fn who_waits_for_a_snapshot_does_not_campaign() {
    let mut cluster = led(|_| {});
    request(&mut cluster, 3);
    cluster.isolate(3);
    cluster.ticks(3, 100);
    assert_eq!(cluster.role(3), RoleKind::Follower);
    assert!(matches!(cluster.node_mut(3).campaign(), Err(CampaignError::SnapshotWanted)));
    let why = RawNode::new(Config::new(id(3), 0), disk_with(&[1, 2, 3], &[1], 1)).map(|mut node| {
        node.request_snapshot().unwrap();
        node.why_not_leader()
    });
    assert_eq!(why.unwrap(), Some(WhyNotLeader::SnapshotWanted));

    cluster.node_mut(3).withdraw_snapshot_request();
    cluster.pump(3);
    cluster.ticks(3, 100);
    assert_eq!(cluster.role(3), RoleKind::Candidate, "it can do without");
}

#[test]
fn who_leads_or_campaigns_cannot_ask_for_one() {
    let mut cluster = led(|_| {});
    assert_eq!(cluster.node_mut(1).request_snapshot(), Err(SnapshotRequestError::NotAFollower));
    cluster.isolate(2);
    cluster.node_mut(2).campaign().unwrap();
    assert_eq!(cluster.node_mut(2).request_snapshot(), Err(SnapshotRequestError::NotAFollower));
    let storage = MemoryStorage::with_voters(ids(&[1, 2]));
    let mut node = RawNode::new(Config::new(id(1), 0), storage).unwrap();
    assert_eq!(node.request_snapshot(), Ok(()), "no leader is known: it is asked when it is heard");
    assert!(!node.has_ready());
    node.step(message(2, 1, 1, heartbeat(0))).unwrap();
    assert!(node.ready().persisted_messages.iter().any(is_request));
}

/// A new leader is asked as the old one was.
#[test]
fn the_request_outlives_its_leader() {
    let mut cluster = led(|_| {});
    request(&mut cluster, 3);
    cluster.take_all();
    cluster.elect(2);
    cluster.compact(2);
    cluster.rounds(3);
    assert_eq!(cluster.status(3).snapshot_wanted, None);
    assert!(restored(&cluster, 3) >= 4);
    assert_eq!(cluster.applied(3), cluster.applied(2));
}

/// Without pre-vote and quorum check only a campaign shows a leader that its term is over, and who waits for a snapshot doesn't campaign.
#[test]
fn who_waits_in_a_later_term_tells_the_leader_so() {
    let mut cluster = led(|_| {});
    // Its sender, whose log is empty, is refused, and gone.
    cluster.step(message(2, 3, 2, request_vote(at(0, 0)))).unwrap();
    cluster.take_all();
    assert_eq!(cluster.status(3).term, term(2));
    request(&mut cluster, 3);
    cluster.rounds(60);
    let leader = cluster.status(3).leader;
    assert_eq!(leader.map(|id| id.get()), cluster.leader());
    assert!(leader.is_some());
}
