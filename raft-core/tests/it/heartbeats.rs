//! When heartbeats leave: with the next `Ready`, which there is for them.

use raft_core::{ConfChangeKind, Config, Entries, RoleKind};

use crate::cluster::Cluster;
use crate::words::*;

fn led(n: u64, configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::with(n, configure);
    cluster.elect(1);
    cluster.settle();
    cluster
}

#[test]
fn those_of_ticks_between_two_readys_are_one_round() {
    for (batch, expected) in [(true, 2), (false, 4)] {
        let mut cluster = led(3, |config| config.batch_messages = batch);
        let node = cluster.node_mut(1);
        assert!(!node.has_ready());
        node.tick();
        assert!(node.has_ready(), "they are to be sent");
        node.tick();
        cluster.pump(1);
        assert_eq!(cluster.take_if(is_heartbeat).len(), expected, "batch_messages = {batch}");
        assert!(!cluster.node(1).has_ready());
    }
}

#[test]
fn they_tell_what_is_committed_when_they_leave() {
    let mut cluster = led(3, |_| {});
    cluster.propose(1, "a").unwrap();
    cluster.deliver_if(|message| message.to == id(2));
    cluster.node_mut(1).tick();
    cluster.deliver_if(|message| message.to == id(1));
    let beats = cluster.take_if(is_heartbeat);
    assert_eq!(
        beats,
        [message(1, 2, 1, heartbeat_relying(2, at(1, 2))), message(1, 3, 1, heartbeat_relying(1, at(1, 1)))]
    );
}

#[test]
fn one_who_leads_no_more_sends_none() {
    let mut cluster = led(3, |_| {});
    let node = cluster.node_mut(1);
    node.tick();
    node.step(message(2, 1, 5, append(at(1, 1), Entries::default(), 0))).unwrap();
    assert_eq!(node.role(), RoleKind::Follower);
    let ready = node.ready();
    assert_eq!(ready.messages, []);
    node.storage_mut().persist(&ready).unwrap();
    node.on_persisted(ready.number).unwrap();
    assert!(!node.has_ready(), "nothing is due that never comes");
}

#[test]
fn none_is_due_when_nobody_is_left_who_could_hear_it() {
    let mut cluster = led(2, |_| {});
    let node = cluster.node_mut(1);
    node.tick();
    node.apply_conf_change(&change(&[(ConfChangeKind::Remove, 2)])).unwrap();
    assert!(!node.has_ready());
    node.tick();
    assert!(!node.has_ready());
}

#[test]
fn who_comes_anew_before_they_leave_is_not_counted_on() {
    let mut cluster = Cluster::of(&[1, 2], &[3], |_| {});
    cluster.elect(1);
    cluster.settle();
    cluster.tick(1);
    let counted_on = |n| message(1, n, 1, heartbeat_relying(1, at(1, 1)));
    assert_eq!(cluster.take_if(is_heartbeat), [counted_on(2), counted_on(3)]);
    let node = cluster.node_mut(1);
    node.tick();
    let renewed = change(&[(ConfChangeKind::Remove, 3), (ConfChangeKind::AddLearner, 3)]);
    node.apply_conf_change(&renewed).unwrap();
    let mut told = node.ready().messages;
    told.retain(is_heartbeat);
    assert_eq!(told, [counted_on(2), message(1, 3, 1, heartbeat(0))]);
}
