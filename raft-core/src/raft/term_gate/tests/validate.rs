//! What no correct node sends is refused by name, before it can mean anything.

use std::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;
use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, ConfState, Entry, Heartbeat, HeartbeatReply, Index,
    InstallSnapshot, LogPosition, Message, Payload, Propose, ReadIndex, ReadIndexReply, RequestVote,
    Snapshot, SnapshotMetadata, Term, TransferLeader, VoteReply,
};

use super::{id, message};
use crate::error::StepError;
use crate::membership::{ConfStateError, Configuration};
use crate::raft::term_gate;

const BEYOND: Index = Index::LIMIT.next();

fn at(index: u64) -> Index {
    Index::new(index)
}

/// Validates as node 1 of nodes 1, 2, 3 and the learner 4.
fn validate(message: &Message) -> Result<(), StepError> {
    let state = ConfState { learners: Vec::from([id(4)]), ..ConfState::of_voters([id(1), id(2), id(3)]) };
    term_gate::validate(id(1), &Configuration::from_conf_state(&state).unwrap(), message)
}

/// Why this is refused in term 5.
fn refusal(body: Body) -> StepError {
    validate(&message(Term::new(5), body)).unwrap_err()
}

fn append(prev: LogPosition, entries: &[(u64, u64)], commit: Index) -> Body {
    let entries = entries
        .iter()
        .map(|(term, index)| Entry::normal(Term::new(*term), at(*index), Bytes::new()))
        .collect();
    Body::AppendEntries(AppendEntries { prev, entries, commit })
}

fn position(term: u64, index: u64) -> LogPosition {
    LogPosition::new(Term::new(term), at(index))
}

fn propose(entries: &[Entry]) -> Body {
    Body::Propose(Propose { entries: entries.iter().cloned().collect() })
}

fn snapshot(term: u64, index: u64, conf_state: ConfState) -> Body {
    let metadata = SnapshotMetadata { conf_state, index: at(index), term: Term::new(term) };
    Body::InstallSnapshot(InstallSnapshot { snapshot: Snapshot { metadata, data: Bytes::new() } }.into())
}

fn voter() -> ConfState {
    ConfState::of_voters([id(1)])
}

fn replies() -> [Body; 5] {
    [
        Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: at(1) }),
        Body::RequestVoteReply(VoteReply::Granted),
        Body::PreVoteReply(VoteReply::Granted),
        Body::HeartbeatReply(HeartbeatReply::default()),
        Body::ReadIndexReply(ReadIndexReply::default()),
    ]
}

fn requests() -> [Body; 7] {
    [
        append(position(4, 3), &[(4, 4), (5, 5)], at(9)),
        Body::RequestVote(RequestVote::default()),
        Body::PreVote(RequestVote::default()),
        snapshot(4, 3, voter()),
        Body::Heartbeat(Heartbeat::default()),
        Body::TransferLeader(TransferLeader { transferee: id(3) }),
        Body::TimeoutNow,
    ]
}

#[test]
fn what_a_correct_node_sends_is_accepted() {
    for body in requests().into_iter().chain(replies()) {
        for term in [Term::new(5), Term::LIMIT] {
            assert!(validate(&message(term, body.clone())).is_ok(), "{body:?}");
        }
    }
    assert!(validate(&message(Term::ZERO, propose(&[Entry::default()]))).is_ok());
    assert!(validate(&message(Term::ZERO, Body::ReadIndex(ReadIndex::default()))).is_ok());
}

#[test]
fn a_message_for_another_node_is_refused() {
    let astray = Message { to: id(3), ..message(Term::new(5), Body::TimeoutNow) };
    assert!(matches!(validate(&astray), Err(StepError::NotForThisNode { to }) if to == id(3)));
}

#[test]
fn a_message_from_this_very_node_is_refused() {
    for body in replies() {
        let own = Message { from: id(1), ..message(Term::new(5), body) };
        assert!(matches!(validate(&own), Err(StepError::FromThisNode)));
    }
}

#[test]
fn only_members_answer_but_anyone_may_ask() {
    for body in replies() {
        let stranger = Message { from: id(9), ..message(Term::new(5), body.clone()) };
        assert!(matches!(validate(&stranger), Err(StepError::UnknownPeer(from)) if from == id(9)));
        let learner = Message { from: id(4), ..message(Term::new(5), body) };
        assert!(validate(&learner).is_ok());
    }
    for body in requests() {
        let stranger = Message { from: id(9), ..message(Term::new(5), body) };
        assert!(validate(&stranger).is_ok(), "the node may not know yet that it was added");
    }
}

#[test]
fn a_term_is_there_where_it_belongs_and_within_its_limit() {
    for body in requests().into_iter().chain(replies()) {
        for term in [Term::ZERO, Term::LIMIT.next(), Term::new(u64::MAX)] {
            let result = validate(&message(term, body.clone()));
            assert!(matches!(result, Err(StepError::TermOutOfRange(refused)) if refused == term), "{body:?}");
        }
    }
    for body in [propose(&[Entry::default()]), Body::ReadIndex(ReadIndex::default())] {
        let result = validate(&message(Term::new(1), body));
        assert!(matches!(result, Err(StepError::TermNotExpected(term)) if term == Term::new(1)));
    }
}

#[test]
fn an_index_beyond_the_limit_is_refused_wherever_it_stands() {
    // B135.
    let vote = RequestVote { last: LogPosition::new(Term::new(4), BEYOND), by_transfer: false, priority: 0 };
    let rejected = |rejected, hint| {
        Body::AppendEntriesReply(AppendEntriesReply::Rejected {
            rejected,
            hint: LogPosition::new(Term::new(4), hint),
        })
    };
    let bodies = [
        append(position(4, 3), &[], BEYOND),
        append(LogPosition::new(Term::new(4), BEYOND), &[], at(1)),
        append(LogPosition::new(Term::new(4), Index::LIMIT), &[(4, BEYOND.get())], at(1)),
        Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: BEYOND }),
        rejected(BEYOND, at(1)),
        rejected(at(1), BEYOND),
        Body::RequestVote(vote),
        Body::PreVote(vote),
        snapshot(4, BEYOND.get(), voter()),
        Body::Heartbeat(Heartbeat { commit: BEYOND, relied: LogPosition::ZERO, context: Bytes::new() }),
        Body::Heartbeat(Heartbeat {
            commit: Index::ZERO,
            relied: LogPosition::new(Term::ZERO, BEYOND),
            context: Bytes::new(),
        }),
        Body::ReadIndexReply(ReadIndexReply { index: BEYOND, ..ReadIndexReply::default() }),
    ];
    for body in bodies {
        let error = refusal(body.clone());
        assert!(matches!(error, StepError::IndexOutOfRange(index) if index == BEYOND), "{body:?}: {error:?}");
    }
}

#[test]
fn the_last_index_of_all_is_accepted() {
    for body in [
        append(LogPosition::new(Term::new(4), Index::LIMIT.prev()), &[(4, Index::LIMIT.get())], Index::LIMIT),
        Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: Index::LIMIT }),
        snapshot(4, Index::LIMIT.get(), voter()),
        Body::Heartbeat(Heartbeat { commit: Index::LIMIT, relied: LogPosition::ZERO, context: Bytes::new() }),
    ] {
        assert!(validate(&message(Term::new(5), body.clone())).is_ok(), "{body:?}");
    }
}

#[test]
fn entries_are_consecutive_from_prev() {
    for entries in
        [&[(4, 5)][..], &[(4, 3)], &[(4, 4), (4, 6)], &[(4, 4), (4, 4)], &[(4, 4), (4, 3)], &[(4, 0)]]
    {
        let error = refusal(append(position(4, 3), entries, at(1)));
        assert!(matches!(error, StepError::EntriesNotContiguous), "{entries:?}: {error:?}");
    }
}

#[test]
fn the_terms_of_entries_never_go_down_nor_beyond_their_leader() {
    for entries in [&[(3, 4)][..], &[(4, 4), (5, 5), (4, 6)], &[(6, 4)], &[(4, 4), (6, 5)], &[(u64::MAX, 4)]]
    {
        let error = refusal(append(position(4, 3), entries, at(1)));
        assert!(matches!(error, StepError::EntryTermsOutOfOrder), "{entries:?}: {error:?}");
    }
}

#[test]
fn a_proposal_has_entries_and_those_have_no_place_yet() {
    let refusal = |body| validate(&message(Term::ZERO, body)).unwrap_err();
    assert!(matches!(refusal(propose(&[])), StepError::EmptyProposal));
    for placed in [position(1, 0), position(0, 1)] {
        let entry = Entry { term: placed.term, index: placed.index, ..Entry::default() };
        assert!(matches!(refusal(propose(&[Entry::default(), entry])), StepError::ProposalHasPosition));
    }
    for payload in [Payload::TermStart, Payload::RefusedChange, Payload::LeaveJoint] {
        let entry = Entry { payload, ..Entry::default() };
        assert!(matches!(refusal(propose(&[Entry::default(), entry])), StepError::ProposalOfLeadersOwn));
    }
}

#[test]
fn a_snapshot_is_of_something_in_no_later_term_and_with_a_configuration() {
    assert!(matches!(refusal(snapshot(4, 0, voter())), StepError::EmptySnapshot));
    assert!(matches!(refusal(snapshot(0, 3, voter())), StepError::EmptySnapshot));
    let error = refusal(snapshot(6, 3, voter()));
    assert!(matches!(error, StepError::SnapshotTermOutOfRange(term) if term == Term::new(6)));
    let twice = ConfState::of_voters([id(1), id(1)]);
    let error = refusal(snapshot(4, 3, twice));
    assert!(matches!(error, StepError::SnapshotConfState(ConfStateError::Repeated(node)) if node == id(1)));
}

/// Numbers at the edges, where arithmetic overflows.
fn edge() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..4,
        (0_u64..4).prop_map(|n| Index::LIMIT.get() - 1 + n),
        (0_u64..4).prop_map(|n| u64::MAX - n)
    ]
}

proptest! {
    #[test]
    fn an_append_is_accepted_exactly_if_it_is_a_piece_of_a_log(
        prev in (edge(), edge()),
        steps in proptest::collection::vec((-1_i64..3, -1_i64..3), 0..4),
        honest: bool,
        commit in edge(),
        term in edge(),
    ) {
        let mut last = prev;
        let mut entries = Vec::new();
        for (term_step, index_step) in steps {
            let (term_step, index_step) = if honest { (term_step.max(0), 1) } else { (term_step, index_step) };
            last = (last.0.wrapping_add_signed(term_step), last.1.wrapping_add_signed(index_step));
            entries.push(last);
        }
        let given = validate(&message(Term::new(term), append(position(prev.0, prev.1), &entries, at(commit))));

        // The twin counts in numbers that have room.
        let wide = |(term, index): &(u64, u64)| (u128::from(*term), u128::from(*index));
        let log: Vec<(u128, u128)> = [prev].iter().chain(&entries).map(wide).collect();
        let limit = u128::from(Index::LIMIT.get());
        let fits = term != 0 && u128::from(term) <= limit && u128::from(commit) <= limit;
        let consecutive = log.windows(2).all(|pair| pair[0].1 + 1 == pair[1].1 && pair[0].0 <= pair[1].0);
        let in_range = log.iter().all(|(_, index)| *index <= limit);
        let of_leader = log.iter().skip(1).all(|entry| entry.0 <= u128::from(term));
        prop_assert_eq!(given.is_ok(), fits && consecutive && in_range && of_leader, "{:?}", given);
    }
}
