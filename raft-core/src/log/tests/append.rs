//! What follows from an append (§5.3), against a plain list of terms.

use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;
use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, Entry, HardState, Index, LogPosition, Message, Term,
};

use super::super::{AppendError, AppendPlan, RaftLog};
use super::{all_of, at, config, entries_behind, entry, id, log_of, named, open, position, stored};
use crate::raw_node::RawNode;
use crate::storage::MemoryStorage;

/// A plan in short.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plan {
    BeforeCommit,
    Append(usize),
    Reject(u64, u64),
    /// What is committed isn't in the leader's log.
    Impossible(u64),
}

fn plan(log: &RaftLog<MemoryStorage>, prev: LogPosition, entries: &[Entry]) -> Plan {
    match log.plan_append(prev, &entries.to_vec().into()) {
        Ok(AppendPlan::BeforeCommit) => Plan::BeforeCommit,
        Ok(AppendPlan::Append { known }) => Plan::Append(known),
        Ok(AppendPlan::Reject { hint }) => Plan::Reject(hint.term.get(), hint.index.get()),
        Err(AppendError::Conflict(index)) => Plan::Impossible(index.get()),
        Err(AppendError::Storage(error)) => panic!("{error}"),
    }
}

#[test]
fn an_append_behind_the_end_is_all_new() {
    let log = log_of(&[1, 1], &[2]);
    assert_eq!(plan(&log, position(2, 3), &entries_behind(3, &[2, 2])), Plan::Append(0));
    assert_eq!(plan(&log, position(2, 3), &[]), Plan::Append(0));
}

#[test]
fn a_late_append_of_what_is_there_cuts_nothing() {
    // B036: the leader sent 2 and then 3; a duplicate of 2 arrives last.
    let log = log_of(&[1, 1], &[1, 1]);
    assert_eq!(plan(&log, position(1, 1), &entries_behind(1, &[1])), Plan::Append(1));
    assert_eq!(plan(&log, position(1, 1), &[]), Plan::Append(0));
    assert_eq!(named(&all_of(&log)), [(1, 1), (1, 2), (1, 3), (1, 4)]);
}

#[test]
fn an_append_keeps_what_agrees_and_replaces_the_rest() {
    let mut log = log_of(&[1, 1, 1], &[1, 1]);
    let entries = entries_behind(1, &[1, 2]);
    assert_eq!(plan(&log, position(1, 1), &entries), Plan::Append(1));
    log.append(position(1, 2), entries[1..].to_vec());
    assert_eq!(named(&all_of(&log)), [(1, 1), (1, 2), (2, 3)]);
}

#[test]
fn a_gap_is_rejected_with_the_own_end_as_a_hint() {
    let log = log_of(&[1, 1], &[2]);
    assert_eq!(plan(&log, position(5, 9), &entries_behind(9, &[5])), Plan::Reject(2, 3));
}

#[test]
fn a_prev_of_another_term_is_rejected_with_a_hint_of_no_higher_term() {
    let log = log_of(&[1, 1, 3], &[3, 3]);
    assert_eq!(plan(&log, position(2, 4), &[]), Plan::Reject(1, 2));
    assert_eq!(plan(&log, position(4, 4), &[]), Plan::Reject(3, 4));
}

#[test]
fn an_append_before_the_commit_index_is_known_to_agree() {
    let mut log = log_of(&[1, 1, 1], &[]);
    log.commit_to(at(3));
    assert_eq!(plan(&log, position(9, 2), &entries_behind(2, &[9])), Plan::BeforeCommit);
    assert_eq!(plan(&log, position(1, 3), &entries_behind(3, &[2])), Plan::Append(0));
}

#[test]
fn a_committed_entry_is_never_replaced() {
    // The gate lets no such entries through; the log refuses them all the same.
    let mut log = log_of(&[1, 1, 1], &[1]);
    log.commit_to(at(3));
    let error = log.plan_append(position(1, 3), &std::vec![entry(2, 3)].into()).unwrap_err();
    assert!(matches!(error, AppendError::Conflict(index) if index == at(3)));
}

/// Follower 1 of nodes 1 to 3 has nine entries of term 1. Leader 2 of term 2 tells it, with these entries behind
/// its fifth, that the commit index is 9. Gives its commit index, last index and answer.
fn follow(entries: &[Entry]) -> (Index, Index, AppendEntriesReply) {
    let mut storage = MemoryStorage::with_voters([id(1), id(2), id(3)]);
    storage.append(&entries_behind(0, &[1; 9]).into()).unwrap();
    storage.set_hard_state(HardState { term: Term::new(1), vote: None, commit: at(2) });
    let mut node = RawNode::new(config(), storage).unwrap();
    let entries = entries.iter().cloned().collect();
    let append = AppendEntries { prev: position(1, 5), entries, commit: at(9) };
    let body = Body::AppendEntries(append);
    node.step(Message { from: id(2), to: id(1), term: Term::new(2), body }).unwrap();
    let ready = node.ready();
    match &ready.persisted_messages[..] {
        [Message { body: Body::AppendEntriesReply(reply), .. }] => {
            (node.commit_index(), node.last_index(), *reply)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_follower_commits_and_acknowledges_no_more_than_the_append_vouches_for() {
    // B024, B033: its entries 6 to 9 may be stale. B036: they stay all the same.
    assert_eq!(follow(&[]), (at(5), at(9), AppendEntriesReply::Accepted { index: at(5) }));
    assert_eq!(
        follow(&entries_behind(5, &[1, 1])),
        (at(7), at(9), AppendEntriesReply::Accepted { index: at(7) })
    );
    assert_eq!(
        follow(&entries_behind(5, &[1, 2])),
        (at(7), at(7), AppendEntriesReply::Accepted { index: at(7) })
    );
}

/// Terms that never go down.
fn climb(from: u64, steps: &[u64]) -> Vec<u64> {
    let mut term = from;
    steps
        .iter()
        .map(|step| {
            term += step;
            term
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn an_append_is_planned_and_done_as_on_a_plain_list(
        before in 0_u64..3,
        own in vec(0_u64..2, 0..10),
        split in any::<prop::sample::Index>(),
        commit in any::<prop::sample::Index>(),
        agreed in any::<prop::sample::Index>(),
        prev_index in 0_u64..12,
        theirs in vec(0_u64..2, 0..12),
    ) {
        let own = climb(1, &own);
        let split = split.index(own.len() + 1);
        let last = before + u64::try_from(own.len()).unwrap();
        let first_term = if before == 0 { 0 } else { 1 };
        let mut log = open(stored(position(first_term, before), &own[..split]), &config(), 0);
        log.append(log.last(), entries_behind(log.last().index.get(), &own[split..]));
        let commit = before + u64::try_from(commit.index(own.len() + 1)).unwrap();
        log.commit_to(at(commit));

        // The leader's log shares a beginning with this one, and has its own terms from there on.
        let shared = agreed.index(own.len() + 1);
        let mut leader = own[..shared].to_vec();
        leader.extend(climb(leader.last().copied().unwrap_or(1), &theirs));
        let leader_end = before + u64::try_from(leader.len()).unwrap();
        let prev_index = prev_index.clamp(before, leader_end);
        let from = usize::try_from(prev_index - before).unwrap();
        let term_in = |terms: &[u64], index: u64| match index.checked_sub(before) {
            None => None,
            Some(0) => Some(first_term),
            Some(n) => terms.get(usize::try_from(n - 1).unwrap()).copied(),
        };
        let prev = position(term_in(&leader, prev_index).unwrap(), prev_index);
        let entries = entries_behind(prev_index, &leader[from..]);
        let has = |entry: LogPosition| term_in(&own, entry.index.get()) == Some(entry.term.get());

        let known = entries.iter().take_while(|entry| has(entry.position())).count();
        let expected = if prev_index < commit {
            Plan::BeforeCommit
        } else if has(prev) {
            Plan::Append(known)
        } else if prev_index == commit && prev_index > 0 {
            Plan::Impossible(commit)
        } else {
            let possible = |index: &u64| term_in(&own, *index).is_none_or(|term| term <= prev.term.get());
            let hint = (0..=prev_index.min(last)).filter(possible).max().unwrap();
            Plan::Reject(term_in(&own, hint).unwrap_or(0), hint)
        };
        prop_assert_eq!(plan(&log, prev, &entries), expected);
        prop_assert_eq!(log.last().index, at(last), "a plan changes nothing");

        if expected == Plan::Append(known) && known < entries.len() {
            let behind = if known == 0 { prev } else { entries[known - 1].position() };
            log.append(behind, entries[known..].to_vec());
            let mut terms = own.clone();
            terms.truncate(from + known);
            terms.extend(entries[known..].iter().map(|entry| entry.term.get()));
            prop_assert_eq!(named(&all_of(&log)), named(&entries_behind(before, &terms)));
        }
    }
}
