//! Handing leadership over (thesis §3.10), and forgetting a leader.

use raft_core::ConfChangeKind::{AddLearner, Remove};
use raft_core::{
    Body, CampaignError, Config, ForgetLeaderError, Message, ProposeError, ReadMode, RequestVote, RoleKind,
    TransferEnd, TransferError, TransferLeader, TransferOutcome,
};

use crate::cluster::{Cluster, figure_2};
use crate::words::*;

fn led(configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::with(3, configure);
    cluster.elect(1);
    cluster.rounds(2);
    cluster
}

fn transfer(cluster: &mut Cluster, n: u64, to: u64) -> Result<(), TransferError> {
    let result = cluster.node_mut(n).transfer_leader(id(to));
    cluster.pump(n);
    result
}

fn ended(to: u64, end: TransferEnd) -> TransferOutcome {
    TransferOutcome { to: id(to), end }
}

fn told_to_campaign(cluster: &Cluster) -> Vec<u64> {
    cluster.sent.iter().filter(|message| is_timeout_now(message)).map(|message| message.to.get()).collect()
}

// -- to whom, and when

#[test]
fn a_voter_that_is_caught_up_campaigns_at_once_and_wins_against_every_lease() {
    // B117: with check-quorum the others have just heard of node 1, and vote nevertheless.
    let mut cluster = led(|_| {});
    transfer(&mut cluster, 1, 3).unwrap();
    assert_eq!(told_to_campaign(&cluster), [3]);
    assert_eq!(cluster.status(1).transferee, Some(id(3)));
    cluster.settle();
    assert_eq!((cluster.leader(), cluster.term(3)), (Some(3), 2));
    assert_eq!(cluster.slot(1).transfers, [ended(3, TransferEnd::SteppedDown)]);
    assert_eq!(cluster.status(1).transferee, None);
    let asked =
        |message: &Message| matches!(message.body, Body::RequestVote(RequestVote { by_transfer: true, .. }));
    assert!(cluster.sent.iter().any(asked) && !cluster.sent.iter().any(is_pre_vote_of_3));
}

fn is_pre_vote_of_3(message: &Message) -> bool {
    is_pre_vote(message) && message.from == id(3)
}

#[test]
fn a_voter_that_lags_is_brought_up_first() {
    // B149, B120. An entry a message, so that there are answers on the way.
    let mut cluster = led(|config| config.max_message_bytes = 0);
    cluster.isolate(3);
    for command in ["a", "b", "c"] {
        cluster.propose(1, command).unwrap();
    }
    cluster.settle();
    cluster.heal();
    transfer(&mut cluster, 1, 3).unwrap();
    assert_eq!(told_to_campaign(&cluster), [], "its log is shorter");
    for _ in 0..40 {
        let Some(from_3) = cluster.network.iter().position(|message| message.to == id(1)) else {
            if !cluster.deliver_next() {
                cluster.tick(1);
            }
            continue;
        };
        let told = told_to_campaign(&cluster).len();
        cluster.deliver_at(from_3);
        let caught_up =
            cluster.role(1) != RoleKind::Leader || cluster.peer(1, 3).match_index == cluster.status(1).last;
        assert!(told_to_campaign(&cluster).len() == told || caught_up, "too early");
        if told_to_campaign(&cluster).len() > told {
            break;
        }
    }
    assert_eq!(told_to_campaign(&cluster), [3]);
    cluster.settle();
    assert_eq!((cluster.leader(), cluster.applied(3)), (Some(3), cluster.applied(1)));
}

#[test]
fn nobody_but_a_voter_can_take_over() {
    let mut cluster = Cluster::of(&[1, 2], &[3], |_| {});
    assert_eq!(transfer(&mut cluster, 1, 2), Err(TransferError::NoLeader), "a follower that knows no leader");
    cluster.node_mut(1).campaign().unwrap();
    assert_eq!(transfer(&mut cluster, 1, 2), Err(TransferError::NoLeader), "a candidate");
    cluster.settle();
    let before = cluster.status(1);
    assert_eq!(transfer(&mut cluster, 1, 9), Err(TransferError::UnknownNode(id(9))));
    assert_eq!(transfer(&mut cluster, 1, 3), Err(TransferError::NotAVoter(id(3))));
    assert_eq!(transfer(&mut cluster, 1, 1), Err(TransferError::AlreadyLeader));
    assert_eq!(cluster.status(1), before);
    cluster.step(message(1, 3, 1, Body::TimeoutNow)).unwrap();
    assert_eq!(cluster.role(3), RoleKind::Follower, "a learner doesn't obey");
}

#[test]
fn a_follower_passes_the_wish_on() {
    let mut cluster = led(|_| {});
    transfer(&mut cluster, 2, 3).unwrap();
    assert_eq!(
        cluster.network,
        [message(2, 1, 1, Body::TransferLeader(TransferLeader { transferee: id(3) }))]
    );
    cluster.settle();
    assert_eq!(cluster.leader(), Some(3));
    assert_eq!(cluster.slot(1).transfers, [ended(3, TransferEnd::SteppedDown)]);
    assert_eq!(cluster.slot(2).transfers, []);
    // A wish that can't be fulfilled is dropped.
    cluster.step(message(2, 3, 2, Body::TransferLeader(TransferLeader { transferee: id(9) }))).unwrap();
    assert_eq!(cluster.status(3).transferee, None);
}

// -- how it ends

#[test]
fn nothing_is_proposed_while_leadership_is_handed_over() {
    // B150.
    let mut cluster = led(|_| {});
    cluster.isolate(3);
    transfer(&mut cluster, 1, 3).unwrap();
    let last = cluster.last(1);
    assert_eq!(cluster.propose(1, "x"), Err(ProposeError::Transferring { to: id(3) }));
    assert_eq!(cluster.change(1, change(&[(Remove, 2)])), Err(ProposeError::Transferring { to: id(3) }));
    assert_eq!(cluster.last(1), last);
}

#[test]
fn a_transfer_is_given_up_after_an_election_time_out() {
    // B118.
    let mut cluster = led(|_| {});
    cluster.isolate(3);
    transfer(&mut cluster, 1, 3).unwrap();
    cluster.rounds(9);
    assert_eq!((cluster.slot(1).transfers.len(), cluster.status(1).transferee), (0, Some(id(3))));
    cluster.round();
    assert_eq!(cluster.slot(1).transfers, [ended(3, TransferEnd::TimedOut)]);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.applied(2), ["x"]);
}

#[test]
fn another_transfer_supersedes_the_first_and_the_same_again_does_not() {
    let mut cluster = led(|_| {});
    cluster.isolate(3);
    transfer(&mut cluster, 1, 3).unwrap();
    cluster.rounds(5);
    transfer(&mut cluster, 1, 3).unwrap();
    assert_eq!(cluster.slot(1).transfers, []);
    cluster.rounds(5);
    assert_eq!(cluster.slot(1).transfers.len(), 1, "the time-out counts from the first");
    transfer(&mut cluster, 1, 3).unwrap();
    transfer(&mut cluster, 1, 2).unwrap();
    assert_eq!(cluster.slot(1).transfers[1..], [ended(3, TransferEnd::Superseded)]);
    cluster.settle();
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn a_transfer_to_the_leader_itself_gives_up_the_one_on_its_way() {
    let mut cluster = led(|_| {});
    cluster.isolate(3);
    transfer(&mut cluster, 1, 3).unwrap();
    assert_eq!(transfer(&mut cluster, 1, 1), Ok(()));
    assert_eq!(cluster.slot(1).transfers, [ended(3, TransferEnd::Superseded)]);
    assert_eq!(transfer(&mut cluster, 1, 1), Err(TransferError::AlreadyLeader), "there is none any more");
    cluster.propose(1, "x").unwrap();
}

#[test]
fn a_transfer_ends_when_its_target_is_removed_or_demoted() {
    // B147.
    for kind in [Remove, AddLearner] {
        let mut cluster = led(|_| {});
        cluster.isolate(3);
        cluster.change(1, change(&[(kind, 3)])).unwrap();
        transfer(&mut cluster, 1, 3).unwrap();
        cluster.settle();
        assert_eq!(cluster.slot(1).transfers, [ended(3, TransferEnd::TargetRemoved)]);
        cluster.propose(1, "x").unwrap();
    }
}

#[test]
fn a_leader_without_a_vote_ends_the_transfer_to_one_who_is_removed() {
    // Found by simulation (seed 203430).
    let mut cluster = Cluster::of(&[1, 2, 3, 4], &[], |config| config.step_down_on_removal = false);
    cluster.elect(1);
    cluster.settle();
    cluster.change_and_settle(1, change(&[(AddLearner, 1)]));
    cluster.isolate(3);
    cluster.change(1, change(&[(Remove, 3)])).unwrap();
    transfer(&mut cluster, 1, 3).unwrap();
    cluster.settle();
    assert_eq!(cluster.role(1), RoleKind::Leader);
    assert_eq!(cluster.slot(1).transfers, [ended(3, TransferEnd::TargetRemoved)]);
}

#[test]
fn a_leader_that_is_deposed_tells_what_became_of_the_transfer() {
    let mut cluster = led(figure_2);
    cluster.isolate(3);
    transfer(&mut cluster, 1, 3).unwrap();
    cluster.elect(2);
    assert_eq!(cluster.slot(1).transfers, [ended(3, TransferEnd::SteppedDown)]);
}

// -- leases

#[test]
fn a_transfer_that_timed_out_leaves_no_lease_since_the_word_may_arrive_late() {
    let mut cluster = led(|config| config.lease_reads = true);
    cluster.lose_if(is_timeout_now);
    transfer(&mut cluster, 1, 3).unwrap();
    for _ in 0..12 {
        cluster.read(1, "r", ReadMode::Lease).unwrap();
        cluster.round();
    }
    assert_eq!(cluster.slot(1).transfers, [ended(3, TransferEnd::TimedOut)]);
    let answered = cluster.slot(1).reads.len();
    cluster.read(1, "still by a round", ReadMode::Lease).unwrap();
    assert_eq!(cluster.slot(1).reads.len(), answered);
    cluster.settle();
    assert_eq!(cluster.slot(1).reads.len(), answered + 1);
}

#[test]
fn a_transfer_to_one_who_never_caught_up_gives_up_the_lease_only_while_it_lasts() {
    let mut cluster = led(|config| config.lease_reads = true);
    cluster.isolate(3);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    for answered in [0, 1] {
        cluster.read(1, "r", ReadMode::Lease).unwrap();
        assert_eq!(cluster.slot(1).reads.len(), answered * 2, "there is a lease from the first round on");
        cluster.settle();
    }
    transfer(&mut cluster, 1, 3).unwrap();
    cluster.read(1, "r", ReadMode::Lease).unwrap();
    assert_eq!(cluster.slot(1).reads.len(), 2, "not while leadership is handed over");
    for _ in 0..12 {
        cluster.read(1, "r", ReadMode::Lease).unwrap();
        cluster.round();
    }
    assert_eq!(told_to_campaign(&cluster), [], "nobody was told to campaign");
    let answered = cluster.slot(1).reads.len();
    cluster.read(1, "by lease", ReadMode::Lease).unwrap();
    assert_eq!(cluster.slot(1).reads.len(), answered + 1);
}

// -- forgetting the leader

#[test]
fn a_follower_that_forgot_its_leader_votes_before_the_time_out() {
    let mut cluster = led(|_| {});
    let ask = |cluster: &mut Cluster| {
        cluster.step(message(3, 2, 2, pre_vote(at(9, 9)))).unwrap();
        cluster.take_all()
    };
    assert_eq!(ask(&mut cluster), [], "it has just heard of node 1");
    let before = cluster.status(2);
    cluster.node_mut(2).forget_leader().unwrap();
    cluster.pump(2);
    let after = cluster.status(2);
    assert_eq!((after.leader, after.term, after.vote), (None, before.term, before.vote));
    assert_eq!(after.election_elapsed, before.election_elapsed);
    assert_eq!(ask(&mut cluster), [message(2, 3, 2, pre_granted())]);
    cluster.step(message(1, 2, 1, heartbeat(0))).unwrap();
    cluster.take_all();
    assert_eq!(cluster.node(2).leader(), Some(id(1)), "any word of the leader revokes it");
    assert_eq!(ask(&mut cluster), []);
}

#[test]
fn reads_that_were_passed_on_to_a_forgotten_leader_are_dropped() {
    let mut cluster = led(|_| {});
    cluster.read(2, "r", ReadMode::Quorum).unwrap();
    cluster.node_mut(2).forget_leader().unwrap();
    cluster.settle();
    assert_eq!((cluster.slot(2).dropped.len(), cluster.slot(2).reads.len()), (1, 0));
}

#[test]
fn nobody_forgets_a_leader_that_may_hold_a_lease_and_only_followers_do() {
    // B070.
    let mut cluster = led(|config| config.lease_reads = true);
    assert_eq!(cluster.node_mut(2).forget_leader(), Err(ForgetLeaderError::BoundByLease));
    assert_eq!(cluster.node(2).leader(), Some(id(1)));
    let mut cluster = led(|_| {});
    assert_eq!(cluster.node_mut(1).forget_leader(), Err(ForgetLeaderError::NotAFollower));
    cluster.node_mut(2).campaign().unwrap();
    assert_eq!(cluster.node_mut(2).forget_leader(), Err(ForgetLeaderError::NotAFollower));
    assert!(matches!(cluster.node_mut(1).campaign(), Err(CampaignError::AlreadyLeader)));
}

// -- to whom

#[test]
fn the_best_successor_is_the_voter_with_the_longest_log_that_was_heard_lately() {
    let mut cluster = Cluster::of(&[1, 2, 3, 4], &[5], figure_2);
    cluster.elect(1);
    cluster.settle();
    cluster.isolate(2);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    cluster.heal();
    assert_eq!(cluster.node_mut(2).transfer_leader_to_best(), Err(TransferError::NotLeader));
    assert_eq!(cluster.node_mut(1).transfer_leader_to_best(), Ok(id(3)), "2 lacks an entry, 5 has no vote");
    cluster.pump(1);
    cluster.settle();
    assert_eq!(cluster.role(3), RoleKind::Leader);
}

#[test]
fn nobody_is_fit_to_succeed_a_leader_that_heard_nobody() {
    let mut cluster = Cluster::with(1, figure_2);
    cluster.elect(1);
    assert_eq!(cluster.node_mut(1).transfer_leader_to_best(), Err(TransferError::NobodyFit));
    assert_eq!(cluster.status(1).transferee, None);
}
