//! Reads by a lease (thesis §6.4.1): a quorum has promised not to elect another leader for a while. It is asked to only
//! while somebody reads by lease.

use raft_core::ConfChangeKind::AddVoter;
use raft_core::{Body, CampaignError, Config, ConfigError, Message, ReadMode, RoleKind};

use crate::cluster::{Cluster, Disk, asynchronous};
use crate::words::*;

fn leases(config: &mut Config) {
    config.lease_reads = true;
}

fn led(configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::with(3, configure);
    cluster.elect(1);
    cluster
}

/// The same, and somebody reads by lease: the heartbeats of an election time-out from now on ask for the promise.
fn leased(configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = led(configure);
    assert!(!serves(&mut cluster, 1), "nothing was promised yet");
    cluster.settle();
    cluster.slot_mut(1).reads.clear();
    cluster
}

/// Does a lease read get its answer at once?
fn serves(cluster: &mut Cluster, n: u64) -> bool {
    let before = cluster.slot(n).reads.len();
    cluster.read(n, "lease", ReadMode::Lease).unwrap();
    cluster.slot(n).reads.len() > before
}

fn answered(cluster: &mut Cluster, n: u64) -> usize {
    cluster.slot(n).reads.len()
}

#[test]
fn a_lease_read_needs_no_round_while_the_lease_holds() {
    let mut cluster = leased(leases);
    cluster.sent.clear();
    assert!(serves(&mut cluster, 1), "the round of the first read was answered");
    cluster.round();
    cluster.sent.clear();
    assert!(serves(&mut cluster, 1));
    assert_eq!(cluster.sent, []);
}

#[test]
fn a_read_that_asks_for_a_quorum_is_not_answered_from_a_lease() {
    let mut cluster = leased(leases);
    cluster.isolate(1);
    assert!(serves(&mut cluster, 1), "it holds a lease");
    let before = answered(&mut cluster, 1);
    cluster.read(1, "quorum", ReadMode::Quorum).unwrap();
    cluster.settle();
    assert_eq!(answered(&mut cluster, 1), before, "whose clock may be wrong");
}

#[test]
fn a_lease_ends_before_the_followers_promise_does() {
    for (election_ticks, drift, last) in [(10, 1, 7), (10, 0, 8), (20, 3, 15)] {
        let mut cluster = leased(|config| {
            leases(config);
            config.election_ticks = election_ticks;
            config.lease_drift_ticks = drift;
        });
        cluster.round();
        cluster.isolate(1);
        for _ in 0..last {
            cluster.tick(1);
            assert!(serves(&mut cluster, 1));
        }
        cluster.tick(1);
        assert!(!serves(&mut cluster, 1), "{last} ticks after the round was sent");
        assert_eq!(cluster.role(1), RoleKind::Leader);
    }
}

#[test]
fn a_lease_counts_from_when_its_round_was_sent_not_answered() {
    let mut cluster = leased(leases);
    cluster.rounds(2);
    cluster.tick(1);
    let beats = cluster.take_if(is_heartbeat);
    cluster.isolate(1);
    cluster.ticks(1, 7);
    cluster.heal();
    assert!(!serves(&mut cluster, 1), "the round before was sent eight ticks ago");
    cluster.take_all();
    for beat in beats {
        cluster.deliver(beat);
    }
    cluster.deliver_if(is_heartbeat_reply);
    cluster.tick(1);
    cluster.take_all();
    assert!(!serves(&mut cluster, 1), "the promise was given up to eight ticks ago");
}

#[test]
fn a_lease_needs_a_quorum_of_voters() {
    let mut cluster = Cluster::of(&[1, 2, 3, 4, 5], &[6, 7], leases);
    cluster.elect(1);
    for voter in [3, 4, 5] {
        cluster.cut_link(1, voter);
    }
    assert!(!serves(&mut cluster, 1));
    cluster.rounds(2);
    let asked =
        |message: &&Message| matches!(&message.body, Body::Heartbeat(beat) if !beat.context.is_empty());
    assert!(cluster.sent.iter().filter(asked).count() >= 12, "four others were asked, and both learners");
    assert!(!serves(&mut cluster, 1), "node 2 and the learners are no quorum");
}

#[test]
fn without_a_lease_a_lease_read_waits_for_a_round() {
    let mut cluster = led(leases);
    assert!(!serves(&mut cluster, 1));
    assert_eq!(cluster.network.iter().filter(|message| is_heartbeat(message)).count(), 2);
    cluster.settle();
    assert_eq!(answered(&mut cluster, 1), 1);
}

#[test]
fn an_answer_on_which_a_lease_relies_waits_until_its_term_is_durable() {
    let mut cluster = Cluster::with(3, |config| {
        leases(config);
        asynchronous(config);
    });
    cluster.set_disk(3, Disk::Held);
    let beat = |n| message(n, 3, 1, heartbeat_of_round(1));
    cluster.step(beat(1)).unwrap();
    assert_eq!(cluster.take_if(is_heartbeat_reply), [], "term 1 is not durable yet");
    cluster.persist_all(3);
    assert_eq!(cluster.take_if(is_heartbeat_reply).len(), 1);
    cluster.step(beat(1)).unwrap();
    assert_eq!(cluster.take_if(is_heartbeat_reply).len(), 1, "from then on it leaves at once");

    // Whoever answered remembers after a crash that it promised, and votes for nobody for a while.
    cluster.crash(3);
    cluster.restart(3);
    cluster.step(message(2, 3, 2, request_vote(raft_core::LogPosition::ZERO))).unwrap();
    cluster.persist_all(3);
    assert_eq!((cluster.term(3), cluster.status(3).vote), (1, None));
}

#[test]
fn a_new_leadership_starts_without_a_lease() {
    let mut cluster = leased(leases);
    cluster.rounds(3);
    assert!(serves(&mut cluster, 1));
    cluster.step(message(3, 1, 5, heartbeat_reply())).unwrap();
    assert_eq!(cluster.role(1), RoleKind::Follower);
    cluster.rounds(1);
    cluster.step(message(1, 2, 1, heartbeat_reply())).unwrap();
    cluster.elect_among(&[1, 2, 3]);
    let leader = cluster.leader().unwrap();
    cluster.settle();
    cluster.take_all();
    assert!(!serves(&mut cluster, leader), "no round of this term was answered");
}

#[test]
fn a_followers_lease_read_is_answered_from_the_lease() {
    let mut cluster = leased(leases);
    cluster.round();
    cluster.read(2, "r", ReadMode::Lease).unwrap();
    cluster.sent.clear();
    cluster.settle();
    assert_eq!((answered(&mut cluster, 2), cluster.sent.len()), (1, 1), "one message, and no round");
}

#[test]
fn no_other_leader_is_elected_while_a_lease_holds_though_clocks_drift() {
    for seed in 0..60 {
        let mut cluster = led(|config| {
            leases(config);
            config.election_ticks = 20;
            config.lease_drift_ticks = 2;
        });
        // Different histories give different phases and time-outs.
        cluster.rounds(1 + seed % 23);
        for n in [2, 3] {
            for _ in 0..seed / 23 {
                cluster.crash(n);
                cluster.restart(n);
            }
        }
        cluster.rounds(21);
        serves(&mut cluster, 1);
        cluster.settle();
        let beats: Vec<Message> = {
            cluster.tick(1);
            cluster.take_all()
        };
        for beat in beats {
            cluster.deliver(beat);
        }
        cluster.deliver_if(is_heartbeat_reply);
        cluster.isolate(1);
        let mut served = 0;
        for ticked in 0_u32..60 {
            if serves(&mut cluster, 1) {
                assert!([2, 3].iter().all(|n| cluster.term(*n) == 1), "a campaign in a lease, seed {seed}");
                served += 1;
            }
            // The followers' clocks run a tenth faster.
            cluster.tick(1);
            for _ in 0..(if ticked % 10 == 9 { 2 } else { 1 }) {
                for n in [2, 3] {
                    cluster.tick(n);
                    let settled = |message: &Message| message.from == id(1) || message.to == id(1);
                    cluster.settle_without(settled);
                }
            }
            if cluster.role(1) != RoleKind::Leader {
                break;
            }
        }
        assert!(served >= 15, "a lease of some length, seed {seed}");
        cluster.rounds(60);
        assert!(cluster.leader().is_some_and(|leader| leader != 1));
    }
}

#[test]
fn a_restarted_follower_is_still_bound_by_its_promise() {
    for ballot in [request_vote(at(9, 9)), pre_vote(at(9, 9))] {
        let mut cluster = led(leases);
        cluster.rounds(2);
        cluster.crash(2);
        cluster.restart(2);
        for _ in 0..10 {
            cluster.step(message(3, 2, 7, ballot.clone())).unwrap();
            assert_eq!((cluster.take_all(), cluster.term(2)), (vec![], 1));
            cluster.tick(2);
        }
        cluster.take_all();
        cluster.step(message(3, 2, 7, ballot.clone())).unwrap();
        assert_eq!(cluster.take_all().len(), 1);
    }
}

#[test]
fn a_node_that_never_was_in_a_term_is_bound_by_nothing() {
    let mut cluster = Cluster::with(3, leases);
    cluster.step(message(3, 2, 1, request_vote(at(0, 0)))).unwrap();
    assert_eq!(cluster.take_all(), [message(2, 3, 1, granted())]);
}

#[test]
fn a_promise_outlives_the_term_in_which_it_was_given() {
    // Node 2 has promised its vote to nobody for ten ticks, and node 1's lease counts on it. Now a late answer tells
    // it of a higher term: the leader is no longer its leader, but that one doesn't know, and serves reads.
    for (late, ballot) in [
        (message(3, 2, 5, refused()), message(3, 2, 5, request_vote(at(9, 9)))), // a candidate of that very term
        (message(3, 2, 5, refused()), message(3, 2, 6, request_vote(at(9, 9)))), // and of a later one
        (message(3, 2, 5, pre_refused()), message(3, 2, 6, pre_vote(at(9, 9)))),
        (message(3, 2, 5, heartbeat_reply()), message(3, 2, 5, request_vote(at(9, 9)))),
    ] {
        let mut cluster = leased(leases);
        cluster.rounds(3);
        cluster.step(late).unwrap();
        assert_eq!((cluster.term(2), cluster.node(2).leader()), (5, None));
        for _ in 0..8 {
            assert!(serves(&mut cluster, 1));
            cluster.take_all();
            cluster.step(ballot.clone()).unwrap();
            let answers: Vec<Message> = cluster.take_all();
            let grants = answers.iter().any(|m| m.body == granted() || m.body == pre_granted());
            assert!(!grants, "{ballot:?} was granted while node 1 has a lease");
            for n in [1, 2] {
                cluster.node_mut(n).tick();
            }
            cluster.isolate(1);
            cluster.pump(1);
            cluster.pump(2);
            cluster.take_all();
        }
    }
}

// -- a lease is kept only while it is asked for

#[test]
fn whoever_reads_by_no_lease_pays_for_none() {
    let mut cluster = led(leases);
    cluster.propose(1, "x").unwrap();
    cluster.rounds(30);
    let asks =
        |message: &&Message| matches!(&message.body, Body::Heartbeat(beat) if !beat.context.is_empty());
    assert_eq!(cluster.sent.iter().filter(asks).count(), 0, "no promise was asked for");
    cluster.node_mut(2).campaign().unwrap();
}

#[test]
fn a_lease_is_kept_for_an_election_time_out_after_the_last_read() {
    let mut cluster = leased(leases);
    let asks =
        |message: &&Message| matches!(&message.body, Body::Heartbeat(beat) if !beat.context.is_empty());
    let mut kept = 0;
    for _ in 0..30 {
        cluster.sent.clear();
        cluster.round();
        kept += usize::from(cluster.sent.iter().any(|message| asks(&message)));
    }
    assert_eq!(kept, 9, "the heartbeats of the ticks before the tenth");
    assert!(cluster.node_mut(2).campaign().is_ok(), "nothing binds it any more");
}

#[test]
fn a_follower_promises_to_a_heartbeat_with_a_round_and_to_no_other() {
    for (beat, binds) in [(heartbeat(0), false), (heartbeat_of_round(1), true)] {
        let mut cluster = Cluster::with(3, leases);
        cluster.step(message(1, 2, 1, beat)).unwrap();
        let bound = matches!(cluster.node_mut(2).campaign(), Err(CampaignError::BoundByLease));
        assert_eq!(bound, binds);
    }
}

#[test]
fn a_promise_holds_whatever_its_giver_is_told_to_do() {
    let mut cluster = leased(leases);
    cluster.node_mut(2).set_election_timeout(0);
    cluster.tick(2);
    assert_eq!(cluster.role(2), RoleKind::Follower);
    assert!(matches!(cluster.node_mut(2).campaign(), Err(CampaignError::BoundByLease)));
}

#[test]
fn leases_are_not_switched_while_a_node_runs() {
    // A leader that has them would take the echo of a follower without them for a promise.
    for on in [true, false] {
        let mut cluster = led(|config| config.lease_reads = !on);
        let switched = cluster.node_mut(1).reconfigure(|config| config.lease_reads = on);
        assert_eq!(switched, Err(ConfigError::FixedAtStart));
    }
}

/// Of the two who promised, only one is among the five of the new configuration's quorum: nodes 3, 4 and 5 have promised nothing.
#[test]
fn a_lease_does_not_outlive_a_membership_change() {
    let mut cluster = Cluster::with_spares(&[1, 2, 3], &[4, 5], leases);
    cluster.elect(1);
    cluster.rounds(1);
    cluster.cut_link(1, 3);
    cluster.read(1, "first", ReadMode::Lease).unwrap();
    cluster.settle();
    assert!(serves(&mut cluster, 1));
    cluster.heal();
    cluster.change_and_settle(1, change(&[(AddVoter, 4)]));
    assert!(!serves(&mut cluster, 1), "a round of the new configuration comes first");
    cluster.settle();
    assert!(serves(&mut cluster, 1));
    cluster.change_and_settle(1, change(&[(AddVoter, 5)]));
    assert!(!serves(&mut cluster, 1));
}
