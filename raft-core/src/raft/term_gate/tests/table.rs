//! Each kind of message in each term, for each role, against a table written out by hand.

use std::collections::BTreeSet;
use std::vec::Vec;

use bytes::Bytes;
use raft_proto::{
    AppendEntries, AppendEntriesReply, Body, Entry, Heartbeat, HeartbeatReply, Index, InstallSnapshot,
    LogPosition, Propose, ReadIndex, ReadIndexReply, RequestVote, Term, TransferLeader, VoteReply,
};

use super::{id, message};
use crate::raft::common::Timer;
use crate::raft::term_gate::{Dropped, Verdict, View, judge};
use crate::report::RoleKind;

/// What becomes of a message of a lower term, of the same, and of a higher one.
///
/// Roles are F(ollower), P(re-candidate), C(andidate), L(eader). Columns: a lower term, at a node that doesn't
/// answer those and at one that does; the same term, by role; a higher term, by role, while no leader is heard and
/// while one is.
///
/// ```text
/// D  delivered                          f  follow the sender in the message's term
/// x  dropped: its term is over          s  step down, with a new time-out
/// l  dropped: a leader is heard         k  step down, the timer goes on
/// a  answered: accepted up to zero      r  answered: no pre-vote
/// o  dropped: of another term            n  delivered if of the very next term, else o
/// p  delivered to a pre-candidate, else x
/// ```
const TABLE: &str = "
    Propose             D D    DDDD    DDDD    DDDD
    ReadIndex           D D    DDDD    DDDD    DDDD
    AppendEntries       x a    DffD    ffff    ffff
    Heartbeat           x a    DffD    ffff    ffff
    InstallSnapshot     x x    DffD    ffff    ffff
    RequestVote         x x    DDDD    ksss    llll
    RequestVote!        x x    DDDD    ksss    ksss
    PreVote             r r    DDDD    DDDD    llll
    PreVote!            r r    DDDD    DDDD    DDDD
    PreVoteReply+       o o    oooo    nnnn    nnnn
    PreVoteReply-       p p    DDDD    ssss    ssss
    RequestVoteReply+   x x    DDDD    ssss    ssss
    RequestVoteReply-   x x    DDDD    ssss    ssss
    AppendEntriesReply+ x x    DDDD    ssss    ssss
    AppendEntriesReply- x x    DDDD    ssss    ssss
    HeartbeatReply      x x    DDDD    ssss    ssss
    TransferLeader      x x    DDDD    ssss    ssss
    TimeoutNow          x x    DDDD    ssss    ssss
    ReadIndexReply      x x    DDDD    ssss    ssss
";

const ROLES: [RoleKind; 4] =
    [RoleKind::Follower, RoleKind::PreCandidate, RoleKind::Candidate, RoleKind::Leader];

/// The message that a row is about; `!` is by transfer, `+` says yes, `-` says no.
fn body(row: &str) -> Body {
    let position = LogPosition::new(Term::new(3), Index::new(9));
    let vote = |by_transfer| RequestVote { last: position, by_transfer, priority: 0 };
    match row {
        "Propose" => Body::Propose(Propose { entries: [Entry::default()].into_iter().collect() }),
        "ReadIndex" => Body::ReadIndex(ReadIndex { id: 1, context: Bytes::new(), lease: false }),
        "AppendEntries" => Body::AppendEntries(AppendEntries { prev: position, ..AppendEntries::default() }),
        "Heartbeat" => Body::Heartbeat(Heartbeat::default()),
        "InstallSnapshot" => Body::InstallSnapshot(InstallSnapshot::default().into()),
        "RequestVote" => Body::RequestVote(vote(false)),
        "RequestVote!" => Body::RequestVote(vote(true)),
        "PreVote" => Body::PreVote(vote(false)),
        "PreVote!" => Body::PreVote(vote(true)),
        "PreVoteReply+" => Body::PreVoteReply(VoteReply::Granted),
        "PreVoteReply-" => Body::PreVoteReply(VoteReply::REFUSED),
        "RequestVoteReply+" => Body::RequestVoteReply(VoteReply::Granted),
        "RequestVoteReply-" => Body::RequestVoteReply(VoteReply::REFUSED),
        "AppendEntriesReply+" => {
            Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: position.index })
        }
        "AppendEntriesReply-" => Body::AppendEntriesReply(AppendEntriesReply::Rejected {
            rejected: position.index,
            hint: position,
        }),
        "HeartbeatReply" => Body::HeartbeatReply(HeartbeatReply::default()),
        "TransferLeader" => Body::TransferLeader(TransferLeader { transferee: id(3) }),
        "TimeoutNow" => Body::TimeoutNow,
        "ReadIndexReply" => Body::ReadIndexReply(ReadIndexReply::default()),
        other => panic!("no message {other}"),
    }
}

/// What a letter of the table means for a message of node 2 in this term.
fn verdict(cell: char, term: Term) -> Verdict {
    let follow = |leader, timer| Verdict::Follow { term, leader, timer };
    match cell {
        'D' => Verdict::Deliver,
        'x' => Verdict::Drop(Dropped::LowerTerm),
        'l' => Verdict::Drop(Dropped::InLease),
        'n' if term == Term::new(6) => Verdict::Deliver,
        'o' | 'n' => Verdict::Drop(Dropped::OtherTerm),
        'a' => Verdict::Answer(Body::AppendEntriesReply(AppendEntriesReply::Accepted { index: Index::ZERO })),
        'r' => Verdict::Answer(Body::PreVoteReply(VoteReply::REFUSED)),
        'f' => follow(Some(id(2)), Timer::Restart),
        's' => follow(None, Timer::Restart),
        'k' => follow(None, Timer::Keep),
        other => panic!("no verdict {other}"),
    }
}

/// The cell of a row for this term of the message, where the node's is 5.
fn cell(columns: &[&str], view: &View, term: u64) -> char {
    let role = ROLES.iter().position(|role| *role == view.role).unwrap();
    let (column, at) = match term {
        ..5 => (usize::from(view.answers_lower_terms), 0),
        5 => (2, role),
        6.. => (3 + usize::from(view.in_lease), role),
    };
    match columns[column].chars().nth(at).unwrap() {
        'p' if view.role == RoleKind::PreCandidate => 'D',
        'p' => 'x',
        cell => cell,
    }
}

#[test]
fn every_message_in_every_term_is_judged_as_the_table_says() {
    let mut judged = 0;
    for row in TABLE.trim().lines() {
        let (name, columns) = row.trim().split_once(' ').unwrap();
        let columns: Vec<&str> = columns.split_whitespace().collect();
        assert_eq!(columns.len(), 5, "{row}");
        for (role, in_lease, answers_lower_terms) in ROLES.iter().flat_map(|role| {
            [(false, false), (false, true), (true, false), (true, true)]
                .map(|(in_lease, answers)| (*role, in_lease, answers))
        }) {
            let view = View { reaches_sender: true, term: Term::new(5), role, in_lease, answers_lower_terms };
            for term in [0, 1, 4, 5, 6, 9, u64::MAX] {
                let message = message(Term::new(term), body(name));
                let expected = verdict(cell(&columns, &view, term), message.term);
                assert_eq!(judge(&view, &message), expected, "{name} of term {term} at {view:?}");
                judged += 1;
            }
        }
    }
    assert_eq!(judged, 19 * 4 * 4 * 7);
}

#[test]
fn the_table_has_a_row_for_every_kind_of_message() {
    let names: BTreeSet<&str> = TABLE
        .trim()
        .lines()
        .map(|row| body(row.split_whitespace().next().unwrap()))
        .map(|body| match body {
            // A new kind of message fails to compile here: give it a row.
            Body::Propose(_)
            | Body::AppendEntries(_)
            | Body::AppendEntriesReply(_)
            | Body::RequestVote(_)
            | Body::RequestVoteReply(_)
            | Body::PreVote(_)
            | Body::PreVoteReply(_)
            | Body::InstallSnapshot(_)
            | Body::Heartbeat(_)
            | Body::HeartbeatReply(_)
            | Body::TransferLeader(_)
            | Body::TimeoutNow
            | Body::ReadIndex(_)
            | Body::ReadIndexReply(_) => body.name(),
        })
        .collect();
    assert_eq!(names.len(), 14);
}

#[test]
fn a_deposed_leader_learns_of_the_new_term() {
    // §5.1: "If a candidate or leader discovers that its term is out of date, it immediately reverts to follower".
    let view = View {
        term: Term::new(5),
        role: RoleKind::Leader,
        in_lease: true,
        answers_lower_terms: true,
        reaches_sender: true,
    };
    let refusal = message(Term::new(7), body("AppendEntriesReply-"));
    assert_eq!(
        judge(&view, &refusal),
        Verdict::Follow { term: Term::new(7), leader: None, timer: Timer::Restart }
    );
}

#[test]
fn a_candidate_whom_this_node_does_not_ask_itself_is_told_the_term() {
    // Found by simulation (seed 106026): its own campaigns never tell it, and it may need this vote.
    for answers_lower_terms in [false, true] {
        let (role, in_lease) = (RoleKind::Candidate, false);
        let view = View { term: Term::new(5), role, in_lease, answers_lower_terms, reaches_sender: false };
        let request = |term| message(Term::new(term), body("RequestVote"));
        let refusal = Verdict::Answer(Body::RequestVoteReply(VoteReply::REFUSED));
        assert_eq!(judge(&view, &request(4)), refusal);
        assert_eq!(judge(&view, &request(5)), Verdict::Deliver);
    }
}
