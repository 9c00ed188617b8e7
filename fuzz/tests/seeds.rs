//! The simulation over fixed seeds, that a seed decides everything, and that the runs meet what they should.
#![allow(missing_docs)]

use raft_fuzz::reached::Situation;
use raft_fuzz::simulation::{Schedule, replay, with_remarks};
use raft_fuzz::{Fault, Options, Report, run};

/// Seeds from here on, `count` of them. Returns what they came to.
fn all_hold(from: u64, count: u64, nodes: Option<u64>, changes: bool) -> Report {
    let options = Options { nodes, changes: Some(changes), ..Options::default() };
    let mut sum = Report::default();
    for seed in from..from + count {
        sum.add(&run(seed, &options).unwrap_or_else(|failure| panic!("{failure}")));
    }
    sum
}

#[test]
fn clusters_of_any_size_keep_every_promise() {
    let sum = all_hold(1, 40, None, false);
    assert!(sum.crashes > 400 && sum.terms_led > 200 && sum.reads > 1_000, "{sum:?}");
}

#[test]
fn clusters_of_three_keep_every_promise() {
    all_hold(10_000, 40, Some(3), false);
}

#[test]
fn a_single_node_keeps_every_promise() {
    all_hold(20_000, 10, Some(1), false);
}

/// The longer runs of `simulate` meet all of them.
#[test]
fn clusters_whose_membership_changes_keep_every_promise_and_meet_most_situations() {
    let sum = all_hold(30_000, 60, None, true);
    assert!(sum.changes > 200 && sum.transfers > 50, "{sum:?}");
    let missing: Vec<_> = sum.reached.missing().map(|situation| situation.text()).collect();
    assert!(missing.len() < Situation::ALL.len() / 5, "never met: {missing:#?}");
}

#[test]
fn a_seed_decides_everything() {
    let options = Options { seconds: 20, ..Options::default() };
    for seed in [3, 17, 4242] {
        let (first, second) = (run(seed, &options), run(seed, &options));
        let (Ok(first), Ok(second)) = (first, second) else { panic!("seed {seed} fails") };
        assert_eq!(first, second);
        let other = run(seed + 1, &options).map(|report| report.fingerprint);
        assert_ne!(other.ok(), Some(first.fingerprint));
    }
}

/// A disk that loses a vote lets a node vote twice. The run that shows it is cut down to a few actions, and these still do.
#[test]
fn a_failure_is_cut_down_to_what_it_takes() {
    let options =
        Options { faults: vec![Fault::Lie], nodes: Some(3), changes: Some(false), ..Options::default() };
    let failure = (22..400).find_map(|seed| run(seed, &options).err()).unwrap();
    assert_eq!(failure.violation.statement, "6", "{failure}");
    assert!((50..=100).contains(&failure.trail.len()), "{}", failure.trail.len());
    let whole = failure.schedule.as_ref().unwrap();
    let short = failure.shrink().unwrap();
    assert!(short.len() < whole.len() / 10, "{} of {}:\n{short}", short.len(), whole.len());
    let text = with_remarks(&short, &failure.violation.to_string());
    let read: Schedule = text.parse().unwrap();
    assert_eq!(read.to_string(), short.to_string());
    assert_eq!(replay(&read).unwrap_err().violation.statement, "6");
}
