//! Log replication: AppendEntries of figure 2 rule by rule (§5.3), and what may be committed (§5.4.2).

use raft_core::proto::AppendEntriesReply;
use raft_core::{Body, HardState, MemoryStorage, Message, PeerState, RoleKind};

use crate::cluster::{Cluster, Disk, asynchronous, disk_with, figure_2};
use crate::words::*;

/// Node 1 of three, a follower of node 2 in term `now`, with entries of these terms, the first `commit` committed.
fn follower(terms: &[u64], commit: u64, now: u64) -> Cluster {
    let mut disk = disk_with(&[1, 2, 3], terms, commit);
    disk.set_hard_state(HardState { term: term(now), vote: None, commit: index(commit) });
    let mut cluster = Cluster::from_disks([(1, disk)], figure_2);
    cluster.step(message(2, 1, now, heartbeat(0))).unwrap();
    cluster.take_all();
    cluster
}

/// Sends node 1 an append in term `now`, and returns its answer.
fn ask(cluster: &mut Cluster, now: u64, body: Body) -> Body {
    cluster.step(message(2, 1, now, body)).unwrap();
    let mut answers = cluster.take_all();
    assert_eq!(answers.len(), 1);
    answers.remove(0).body
}

// -- the receiver's rules

#[test]
fn an_append_of_a_lower_term_changes_nothing() {
    let mut cluster = follower(&[1, 1], 0, 3);
    cluster.step(message(3, 1, 2, append(at(1, 1), entries(2, &[2, 2]), 2))).unwrap();
    assert_eq!(cluster.log_terms(1), [1, 1]);
    assert_eq!((cluster.commit(1), cluster.node(1).leader()), (0, Some(id(2))));
}

#[test]
fn an_append_of_a_lower_term_is_answered_with_the_higher_one() {
    let mut cluster = Cluster::from_disks([(1, disk_with(&[1, 2, 3], &[3], 0))], |_| {});
    for body in [append(at(0, 0), entries(1, &[2]), 0), heartbeat(0)] {
        cluster.step(message(2, 1, 2, body)).unwrap();
        assert_eq!(cluster.take_all(), [message(1, 2, 3, accepted(0))], "it acknowledges nothing");
    }
}

#[test]
fn an_append_is_refused_where_the_log_has_no_such_previous_entry() {
    let mut cluster = follower(&[1, 1, 2], 0, 5);
    for (prev, hint) in [
        (at(1, 3), at(1, 2)), // another term there
        (at(3, 3), at(2, 3)),
        (at(5, 9), at(2, 3)), // the log is too short
        (at(1, 9), at(1, 2)),
    ] {
        let answer = ask(&mut cluster, 5, append(prev, entries(prev.index.get() + 1, &[5]), 9));
        assert_eq!(answer, rejected(prev.index.get(), hint));
        assert_eq!((cluster.log_terms(1), cluster.commit(1)), (vec![1, 1, 2], 0), "nothing is changed");
    }
}

#[test]
fn a_conflicting_entry_is_deleted_with_all_that_follow_it() {
    let mut cluster = follower(&[1, 1, 2, 2, 2], 0, 5);
    assert_eq!(ask(&mut cluster, 5, append(at(1, 1), entries(2, &[1, 4]), 0)), accepted(3));
    assert_eq!(cluster.log_terms(1), [1, 1, 4]);
}

#[test]
fn entries_that_do_not_conflict_stay_though_the_message_ends_before_them() {
    let mut cluster = follower(&[1, 1, 1, 1], 0, 1);
    for (prev, terms) in [(at(1, 1), vec![1]), (at(0, 0), vec![1, 1]), (at(1, 2), vec![])] {
        let end = prev.index.get() + terms.len() as u64;
        let answer = ask(&mut cluster, 1, append(prev, entries(prev.index.get() + 1, &terms), 0));
        assert_eq!(answer, accepted(end), "it vouches for what this message held");
        assert_eq!(cluster.log_terms(1), [1, 1, 1, 1], "a late message deletes nothing");
    }
}

#[test]
fn only_the_entries_that_are_missing_are_appended() {
    let mut cluster = follower(&[1, 1, 1], 0, 2);
    cluster.set_disk(1, Disk::Held);
    cluster.step(message(2, 1, 2, append(at(1, 1), entries(2, &[1, 1, 2, 2]), 0))).unwrap();
    assert_eq!(cluster.last(1), 5);
    cluster.persist_all(1);
    assert_eq!(cluster.log_terms(1), [1, 1, 1, 2, 2]);
    assert_eq!(cluster.take_all().pop().unwrap().body, accepted(5));
}

#[test]
fn the_commit_index_goes_no_further_than_the_last_new_entry() {
    // Entries 4 to 6 never were the leader's.
    let mut cluster = follower(&[1, 1, 1, 2, 2, 2], 0, 3);
    assert_eq!(ask(&mut cluster, 3, append(at(1, 2), entries(3, &[]), 6)), accepted(2));
    assert_eq!(cluster.commit(1), 2, "an empty one vouches for the previous entry");
    assert_eq!(ask(&mut cluster, 3, append(at(1, 2), entries(3, &[1]), 6)), accepted(3));
    assert_eq!(cluster.commit(1), 3);
    ask(&mut cluster, 3, append(at(1, 3), entries(4, &[3, 3]), 4));
    assert_eq!(cluster.commit(1), 4, "nor further than the leader's");
}

#[test]
fn the_commit_index_never_goes_back() {
    let mut cluster = follower(&[1, 1, 1], 0, 1);
    cluster.step(message(2, 1, 1, append(at(1, 3), entries(4, &[]), 3))).unwrap();
    assert_eq!(cluster.commit(1), 3);
    for body in [append(at(1, 3), entries(4, &[]), 1), heartbeat(1), append(at(0, 0), entries(1, &[1]), 1)] {
        cluster.step(message(2, 1, 1, body)).unwrap();
        assert_eq!(cluster.commit(1), 3);
    }
}

#[test]
fn an_append_behind_the_commit_index_is_answered_with_it() {
    let mut cluster = follower(&[1, 1, 1, 1], 3, 1);
    assert_eq!(ask(&mut cluster, 1, append(at(1, 1), entries(2, &[1]), 9)), accepted(3));
    assert_eq!(cluster.commit(1), 3);
}

#[test]
fn a_heartbeat_moves_the_commit_index() {
    let mut cluster = follower(&[1, 1, 1], 0, 1);
    assert_eq!(ask(&mut cluster, 1, heartbeat(2)), heartbeat_reply());
    assert_eq!((cluster.commit(1), cluster.applied(1)), (2, vec!["1/1".to_owned(), "1/2".to_owned()]));
}

#[test]
fn an_entry_is_acknowledged_only_when_it_is_durable() {
    let mut cluster = follower(&[], 0, 1);
    cluster.set_disk(1, Disk::Held);
    cluster.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1]), 0))).unwrap();
    cluster.step(message(2, 1, 1, append(at(1, 1), entries(2, &[1]), 0))).unwrap();
    assert_eq!(cluster.take_all(), []);
    cluster.persist_one(1);
    assert_eq!(cluster.take_all(), [message(1, 2, 1, accepted(1))]);
    cluster.persist_one(1);
    assert_eq!(cluster.take_all(), [message(1, 2, 1, accepted(2))]);
}

#[test]
fn a_previous_entry_that_is_not_durable_yet_is_as_good_as_any() {
    let mut cluster = follower(&[], 0, 1);
    cluster.set_disk(1, Disk::Held);
    cluster.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1, 1]), 0))).unwrap();
    cluster.step(message(2, 1, 1, append(at(1, 2), entries(3, &[1]), 0))).unwrap();
    assert_eq!(cluster.last(1), 3);
    // A later leader replaces entry 2 while the writes are under way.
    cluster.step(message(3, 1, 2, append(at(1, 1), entries(2, &[2]), 0))).unwrap();
    cluster.persist_all(1);
    assert_eq!(cluster.log_terms(1), [1, 2]);
}

// -- the leader

#[test]
fn a_new_leader_starts_its_term_with_an_empty_entry() {
    let mut cluster = Cluster::with_logs(&[&[1, 1], &[1, 1], &[1, 1]], figure_2);
    cluster.elect(1);
    assert_eq!(cluster.log_terms(2), [1, 1, 2]);
    assert_eq!(cluster.commit(2), 3, "with it everything before is committed");
    assert!(cluster.slot(2).applied[2].payload.is_empty());
}

#[test]
fn a_new_leader_knows_nothing_of_the_others_logs() {
    let mut cluster = Cluster::plain(5);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.peer(1, 2).match_index, index(2));
    cluster.elect(2);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.deliver_if(is_vote_request);
    cluster.deliver_if(is_vote_reply);
    assert_eq!(cluster.role(1), RoleKind::Leader);
    for peer in [2, 3, 4, 5] {
        let known = cluster.peer(1, peer);
        assert_eq!((known.match_index, known.state), (index(0), PeerState::Probe));
        assert_eq!(known.next_index, index(cluster.last(1)), "it tries right behind its own log");
    }
    cluster.settle();
}

#[test]
fn an_entry_is_committed_when_a_majority_has_it() {
    let mut cluster = Cluster::plain(5);
    cluster.elect(1);
    cluster.propose(1, "x").unwrap();
    for (voter, commit) in [(2, 1), (3, 2)] {
        cluster.deliver_if(|message| is_append(message) && message.to == id(voter));
        cluster.deliver_if(is_append_reply);
        assert_eq!(cluster.commit(1), commit);
    }
    assert_eq!(cluster.applied(1), ["x"]);
    cluster.settle();
    assert_eq!(cluster.applied(5), ["x"]);
}

#[test]
fn the_commit_index_is_the_middle_of_what_the_voters_have_in_any_order() {
    for acks in [[0, 0, 9, 9], [9, 0, 9, 0], [0, 9, 0, 9], [5, 0, 9, 0], [0, 7, 5, 9]] {
        let mut cluster = Cluster::plain(5);
        cluster.elect(1);
        for _ in 0..8 {
            cluster.propose(1, "x").unwrap();
        }
        cluster.take_all();
        for (voter, acked) in (2..).zip(acks) {
            // The disks are those of honest nodes: what is acknowledged is there.
            if acked > 1 {
                let missing: Vec<u64> = vec![1; acked - 1];
                cluster.step(message(1, voter, 1, append(at(1, 1), with_x(2, &missing), 0))).unwrap();
            }
        }
        cluster.deliver_if(is_append_reply);
        let mut sorted = [9, acks[0].max(1), acks[1].max(1), acks[2].max(1), acks[3].max(1)];
        sorted.sort_unstable();
        assert_eq!(cluster.commit(1), sorted[2] as u64, "acknowledged: {acks:?}");
    }
}

fn with_x(first: u64, terms: &[u64]) -> raft_core::Entries {
    let x = |i, t: &u64| raft_core::Entry::normal(term(*t), index(i), "x".into());
    (first..).zip(terms).map(|(i, t)| x(i, t)).collect()
}

#[test]
fn learners_do_not_count_for_commitment() {
    let mut cluster = Cluster::of(&[1, 2, 3], &[4, 5], figure_2);
    cluster.elect(1);
    for voter in [2, 3] {
        cluster.cut_link(1, voter);
    }
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!((cluster.last(4), cluster.last(5), cluster.commit(1)), (2, 2, 1));
    cluster.heal();
    cluster.rounds(3);
    assert_eq!(cluster.applied(4), ["x"], "they apply what is committed");
}

#[test]
fn a_leader_sends_before_its_own_disk_has_written_and_counts_itself_only_after() {
    for configure in [figure_2, asynchronous] {
        let mut cluster = Cluster::with(3, configure);
        cluster.elect(1);
        cluster.set_disk(1, Disk::Held);
        cluster.propose(1, "x").unwrap();
        assert_eq!(cluster.network.iter().filter(|message| has_entries(message)).count(), 2);
        cluster.cut_link(1, 3);
        cluster.settle();
        assert_eq!((cluster.last(2), cluster.commit(1)), (2, 1), "one durable copy of three");
        cluster.persist_all(1);
        assert_eq!(cluster.commit(1), 2);
    }
}

#[test]
fn two_other_copies_are_enough_without_the_leaders_own() {
    let mut cluster = Cluster::with(3, asynchronous);
    cluster.elect(1);
    cluster.set_disk(1, Disk::Held);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(
        (cluster.applied(1), cluster.applied(2)),
        (vec![], vec!["x".to_owned()]),
        "applied when durable here"
    );
    cluster.persist_all(1);
    assert_eq!(cluster.applied(1), ["x"]);
}

#[test]
fn a_leader_that_loses_its_unsynced_copy_does_not_lose_what_was_committed() {
    let mut cluster = Cluster::with(3, asynchronous);
    cluster.elect(1);
    cluster.set_disk(1, Disk::Held);
    cluster.propose(1, "x").unwrap();
    cluster.settle();
    assert_eq!(cluster.applied(2), ["x"]);
    cluster.crash(1);
    cluster.restart(1);
    cluster.set_disk(1, Disk::AtOnce);
    cluster.rounds(60);
    assert_eq!(cluster.applied(1), ["x"]);
}

#[test]
fn a_heartbeat_tells_no_more_than_the_receiver_has_acknowledged() {
    let mut cluster = Cluster::plain(3);
    cluster.elect(1);
    cluster.isolate(3);
    for _ in 0..5 {
        cluster.propose(1, "x").unwrap();
    }
    cluster.settle();
    cluster.heal();
    cluster.tick(1);
    let told = |message: &Message| match &message.body {
        Body::Heartbeat(heartbeat) => Some((message.to.get(), heartbeat.commit.get())),
        _ => None,
    };
    assert_eq!(cluster.network.iter().filter_map(told).collect::<Vec<_>>(), [(2, 6), (3, 1)]);
}

#[test]
fn a_rejection_moves_no_match_index() {
    let mut cluster = Cluster::with_logs(&[&[1, 1, 2], &[1, 1, 1, 1], &[]], figure_2);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.step(message(3, 1, 3, granted())).unwrap();
    cluster.take_all();
    cluster.step(message(2, 1, 3, rejected(3, at(1, 3)))).unwrap();
    let known = cluster.peer(1, 2);
    assert_eq!((known.match_index, known.next_index, known.state), (index(0), index(3), PeerState::Probe));
    assert_eq!(cluster.commit(1), 0);
}

// -- figure 7

#[test]
fn all_followers_of_figure_7_converge_with_one_rejection_at_most() {
    let leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let logs: [&[u64]; 7] = [
        &leader,
        &leader[..9],                          // a
        &leader[..4],                          // b
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],    // c
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7], // d
        &[1, 1, 1, 4, 4, 4, 4],                // e
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],    // f
    ];
    let mut cluster = Cluster::with_logs(&logs, figure_2);
    cluster.step(message(5, 1, 7, refused())).unwrap(); // term 7 is known: the leader is that of term 8
    cluster.elect(1);
    assert_eq!(cluster.term(1), 8);
    let mut expected = leader.to_vec();
    expected.push(8);
    for n in cluster.numbers() {
        assert_eq!(cluster.log_terms(n), expected, "node {n}");
        assert_eq!(cluster.commit(n), 11);
    }
    let rejections = |n: u64| {
        let rejection = |message: &&Message| {
            matches!(message.body, Body::AppendEntriesReply(AppendEntriesReply::Rejected { .. }))
                && message.from == id(n)
        };
        cluster.sent.iter().filter(rejection).count()
    };
    assert_eq!((2..=7).map(rejections).collect::<Vec<_>>(), [1, 1, 0, 0, 1, 1], "a term is skipped at once");
    // The second try is where the logs agree, so no entry travels in vain.
    let second_try = |n: u64| {
        let prev = |message: &Message| match &message.body {
            Body::AppendEntries(append) if message.to == id(n) => Some(append.prev),
            _ => None,
        };
        cluster.sent.iter().filter_map(prev).nth(1).unwrap()
    };
    assert_eq!([2, 3, 6, 7].map(second_try), [at(6, 9), at(4, 4), at(4, 5), at(1, 3)]);
}

#[test]
fn the_back_off_takes_one_round_trip_for_each_term_at_most() {
    // The logs alternate in terms that the other doesn't have.
    let leader: Vec<u64> = (1..=40).map(|n| if n == 1 { 1 } else { 2 * (n / 4) + 2 }).collect();
    let follower: Vec<u64> = (1..=40).map(|n| if n == 1 { 1 } else { 2 * (n / 4) + 1 }).collect();
    let mut cluster = Cluster::with_logs(&[&leader, &follower, &[]], figure_2);
    cluster.elect(1);
    let terms = 12;
    let rejections = cluster
        .sent
        .iter()
        .filter(|message| {
            matches!(message.body, Body::AppendEntriesReply(AppendEntriesReply::Rejected { .. }))
                && message.from == id(2)
        })
        .count();
    assert!(rejections <= terms, "{rejections} rejections for {terms} terms");
    assert_eq!(cluster.log_terms(1), cluster.log_terms(2));
}

// -- figure 8

/// Figure 8 at (c): node 1 leads term 4; the entry of term 2 is on nodes 1 and 2; node 5 has another of term 3.
fn figure_8() -> Cluster {
    let voters = [1, 2, 3, 4, 5];
    let logs: [&[u64]; 5] = [&[1, 2], &[1, 2], &[1], &[1], &[1, 3]];
    let disks = voters.into_iter().zip(logs).map(|(n, terms)| {
        let mut disk = disk_with(&voters, terms, 0);
        disk.set_hard_state(HardState { term: term(3), vote: Some(id(5)), commit: index(0) });
        (n, disk)
    });
    let mut cluster = Cluster::from_disks(disks, |config| {
        figure_2(config);
        config.max_message_bytes = 0; // one entry a message
    });
    cluster.crash(5);
    cluster.node_mut(1).campaign().unwrap();
    cluster.pump(1);
    cluster.deliver_if(is_vote_request);
    cluster.deliver_if(is_vote_reply);
    assert_eq!((cluster.role(1), cluster.term(1)), (RoleKind::Leader, 4));
    cluster
}

#[test]
fn figure_8_an_old_entry_on_a_majority_is_not_committed_and_may_be_overwritten() {
    let mut cluster = figure_8();
    // Nothing of term 4 arrives, only the entry of term 2.
    let of_term_4 = |message: &Message| matches!(&message.body, Body::AppendEntries(append) if append.entries.iter().any(|e| e.term == term(4)));
    cluster.lose_if(of_term_4);
    let lost = cluster.take_if(of_term_4);
    for to in [3, 4] {
        // The first probe is lost; the answer to a heartbeat brings another, whose entry they lack.
        cluster.step(message(to, 1, 4, rejected(2, at(1, 1)))).unwrap();
    }
    drop(lost);
    cluster.settle();
    assert_eq!([1, 2, 3, 4].map(|n| cluster.log_terms(n)[1]), [2, 2, 2, 2], "on four of five");
    assert_eq!([3, 4].map(|n| cluster.peer(1, n).match_index), [index(2), index(2)], "and the leader knows");
    assert_eq!(cluster.commit(1), 0, "yet it doesn't count");

    // (d) Node 5 wins with the votes of those very nodes, and overwrites it.
    cluster.crash(1);
    cluster.heal();
    cluster.restart(5);
    cluster.step(message(2, 5, 4, refused())).unwrap();
    cluster.elect(5);
    cluster.restart(1);
    cluster.rounds(3);
    for n in 1..=5 {
        assert_eq!(cluster.log_terms(n), [1, 3, 5]);
    }
}

#[test]
fn figure_8_an_entry_of_the_leaders_own_term_commits_the_old_ones_with_it() {
    let mut cluster = figure_8();
    cluster.settle();
    // (e) Now node 5 can't win.
    assert_eq!((cluster.commit(1), cluster.log_terms(3)), (3, vec![1, 2, 4]));
    cluster.crash(1);
    cluster.restart(5);
    for _ in 0..3 {
        cluster.node_mut(5).campaign().unwrap();
        cluster.settle();
        assert_ne!(cluster.role(5), RoleKind::Leader);
    }
    cluster.rounds(60);
    assert_eq!(cluster.log_terms(5)[..3], [1, 2, 4]);
}

#[test]
fn a_follower_behind_several_leaders_catches_up_without_any_client() {
    let mut cluster = Cluster::new(5);
    let mut down = 5;
    for leader in [1, 2, 3, 4, 1] {
        cluster.isolate(down);
        let at_work = cluster.elect_among(&[leader, 1, 2, 3, 4, 5]);
        cluster.propose(at_work, "x").unwrap();
        cluster.settle();
        cluster.heal();
        down = at_work;
    }
    cluster.rounds(60);
    let leader = cluster.leader().unwrap();
    for n in cluster.numbers() {
        assert_eq!(cluster.commit(n), cluster.last(leader));
        assert_eq!(cluster.applied(n).len(), 5);
        assert!(n == leader || cluster.peer(leader, n).match_index == index(cluster.last(leader)));
    }
}

#[test]
fn the_previous_entry_zero_is_that_of_an_empty_log_only() {
    let mut disk = MemoryStorage::with_voters(ids(&[1, 2, 3]));
    disk.apply_snapshot(snapshot(at(1, 5), conf_state(&[1, 2, 3], &[]))).unwrap();
    disk.set_hard_state(HardState { term: term(1), vote: None, commit: index(5) });
    let mut cluster = Cluster::from_disks([(1, disk)], figure_2);
    cluster.step(message(2, 1, 1, append(at(0, 0), entries(1, &[1, 1, 1, 1, 1, 1, 1]), 0))).unwrap();
    assert_eq!(cluster.last(1), 5, "what lies before the log is known to agree, and is not looked at");
    assert_eq!(cluster.take_all().pop().unwrap().body, accepted(5));
    cluster.step(message(2, 1, 1, append(at(0, 9), entries(10, &[1]), 0))).unwrap();
    assert_eq!(cluster.last(1), 5, "a term of zero matches nothing");
}
