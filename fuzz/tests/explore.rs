//! Every run of small clusters, and that what is wrong on purpose is found.
#![allow(missing_docs)]

use std::time::Duration;

use raft_fuzz::explore::{Bounds, Budget, Effort, Mistake, Report, explore};

const ALL: Effort = Effort { states: u64::MAX, time: Duration::from_secs(600), threads: 2 };

fn run(bounds: &Bounds, effort: Effort) -> Report {
    explore(bounds, effort, |_| {}).expect("the core starts")
}

/// Everything within these bounds holds; it comes to so many states.
fn all_hold(bounds: &Bounds) -> u64 {
    let report = run(bounds, ALL);
    if let Some(violation) = report.violation {
        panic!("{}\n{}", violation.statement, violation.schedule.join("\n"));
    }
    assert!(report.exhausted);
    report.progress.states
}

/// The mistake is noticed, by this statement.
fn is_found(mistake: Mistake, bounds: Bounds, number: &str) {
    let report = run(&Bounds { mistake: Some(mistake), ..bounds.clone() }, ALL);
    let violation = report.violation.unwrap_or_else(|| panic!("{mistake:?} isn't found"));
    assert!(violation.statement.starts_with(&format!("{number}:")), "{mistake:?}: {}", violation.statement);
    assert!(violation.schedule[0].contains("node 1 times out"), "{:?}", violation.schedule);
}

/// Writes are on the disk at once, and nothing goes wrong unless it is asked for.
fn small() -> Bounds {
    Bounds {
        budget: Budget { time_outs: 1, ..Budget::default() },
        in_flight: 3,
        background: false,
        ..Bounds::default()
    }
}

#[test]
fn elections_with_a_crash_keep_every_promise() {
    let budget = Budget { time_outs: 2, crashes: 1, ..Budget::default() };
    let bounds = Bounds { budget, max_log: 2, ..small() };
    assert!(all_hold(&bounds) > 1_000);
}

/// With three terms, and entries that travel one by one, a leader can send what follows an entry of which a third node holds
/// another leader's: a core that takes it fails here.
#[test]
fn three_leaders_keep_every_promise() {
    let budget = Budget { time_outs: 3, proposals: 1, ..Budget::default() };
    assert!(all_hold(&Bounds { budget, max_term: 3, one_entry: true, ..small() }) > 100_000);
}

#[test]
fn a_proposal_with_writes_in_the_background_keeps_every_promise() {
    let budget = Budget { time_outs: 1, proposals: 1, ..Budget::default() };
    assert!(all_hold(&Bounds { budget, background: true, ..small() }) > 10_000);
}

#[test]
fn lost_and_doubled_messages_break_no_promise() {
    let budget = Budget { time_outs: 2, drops: 1, duplicates: 1, ..Budget::default() };
    assert!(all_hold(&Bounds { budget, max_log: 2, ..small() }) > 1_000);
}

#[test]
fn a_joint_change_keeps_every_promise() {
    let budget = Budget { time_outs: 2, changes: 1, crashes: 1, ..Budget::default() };
    let bounds = Bounds { budget, max_log: 4, in_flight: 2, apply_late: true, ..small() };
    assert!(all_hold(&bounds) > 10_000);
}

#[test]
fn reads_miss_nothing_that_was_committed() {
    let budget = Budget { time_outs: 1, proposals: 1, reads: 1, ..Budget::default() };
    assert!(all_hold(&Bounds { budget, ..small() }) > 10_000);
}

#[test]
fn the_threads_make_no_difference() {
    let budget = Budget { time_outs: 1, proposals: 1, crashes: 1, ..Budget::default() };
    let bounds = Bounds { budget, in_flight: 2, ..small() };
    let [one, three] = [1, 3].map(|threads| run(&bounds, Effort { threads, ..ALL }).progress);
    assert_eq!(
        (one.states, one.transitions, one.depth, one.node_states),
        (three.states, three.transitions, three.depth, three.node_states)
    );
}

#[test]
fn the_search_stops_where_it_is_told_to() {
    let report = run(&small(), Effort { states: 10, ..ALL });
    assert!(!report.exhausted && report.violation.is_none());
    assert!(report.progress.states >= 10);
}

#[test]
fn a_disk_that_forgets_the_vote_is_found() {
    let budget = Budget { time_outs: 2, crashes: 1, ..Budget::default() };
    is_found(Mistake::ForgetVote, Bounds { budget, max_term: 1, in_flight: 4, ..small() }, "6");
}

#[test]
fn a_disk_that_loses_its_tail_is_found() {
    let budget = Budget { time_outs: 1, crashes: 1, ..Budget::default() };
    is_found(Mistake::LoseTail, Bounds { budget, in_flight: 4, ..small() }, "12");
}

#[test]
fn messages_that_leave_before_the_write_are_found() {
    let budget = Budget { time_outs: 2, crashes: 1, ..Budget::default() };
    let bounds = Bounds { budget, max_term: 1, in_flight: 4, background: true, ..small() };
    is_found(Mistake::SendEarly, bounds, "6");
}

#[test]
fn writes_that_are_acknowledged_early_are_found() {
    is_found(Mistake::AcknowledgeEarly, Bounds { background: true, ..small() }, "11");
}

#[test]
fn a_commit_index_that_is_forgotten_though_a_later_write_is_not_is_found() {
    let budget = Budget { time_outs: 2, changes: 1, crashes: 1, ..Budget::default() };
    let bounds = Bounds { budget, max_log: 4, in_flight: 2, apply_late: true, ..small() };
    is_found(Mistake::ForgetCommit, bounds, "18a");
}
