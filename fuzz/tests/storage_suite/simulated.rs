//! The same storages under simulated nodes.

use raft_core::{ConfState, NodeId};
use raft_fuzz::parts::Parts;
use raft_fuzz::{Failure, Options, Report, run_with};

use super::wrong::{Fault, Wrong};

/// Nodes with such a storage.
#[derive(Clone, Copy)]
struct WithFault(Option<Fault>);

impl Parts for WithFault {
    type Machine = ();
    type Storage = Wrong;

    fn machine(&self, _: NodeId) {}

    fn storage(&self, _: NodeId, conf_state: &ConfState) -> Result<Wrong, String> {
        Ok(Wrong::new(conf_state, self.0))
    }
}

fn first_failure(fault: Option<Fault>, seeds: u64) -> Result<Report, Box<Failure>> {
    let mut sum = Report::default();
    for seed in 70_100..70_100 + seeds {
        sum.add(&run_with(seed, &Options::default(), &WithFault(fault))?);
    }
    Ok(sum)
}

#[test]
fn a_storage_without_a_fault_passes() {
    let sum = first_failure(None, 30).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(sum.snapshots > 50 && sum.crashes > 300 && sum.changes > 50, "{sum:?}");
}

#[test]
fn what_is_wrong_with_a_storage_is_named_with_its_seed() {
    use Fault::*;
    let faults = [
        (OneEntryTooMany, "append", "bytes in one message"),
        (NothingUnderASmallLimit, "26", "no rest"),
        (KeepsTheOldTail, "11", "after a write: last_index is"),
        (ForgetsVotes, "8", "after a crash: the hard state is the one that was written last"),
        (LosesTheLastSync, "8", "after a crash"),
        (TearsWrites, "8", "after a crash"),
        (ReordersWrites, "8", "after a crash: the hard state"),
        (UnavailableBeforeTheLog, "8", "what lies before the log is Compacted"),
        (CompactedBehindTheLog, "8", "what lies behind the log is Unavailable"),
        (ForgetsTheTermBeforeTheLog, "11", "after a write: the term of"),
        (GivesOldSnapshots, "8", "it is SnapshotTemporarilyUnavailable"),
        (ForgetsTheSnapshotsConfiguration, "8", "the configuration is that of the latest snapshot"),
        (CompactsTooMuch, "11", "its snapshot is of"),
        (BeginsOneLate, "8", "entries gives"),
        (FetchesForEver, "8", "the entries are being fetched"),
    ];
    for (fault, statement, words) in faults {
        let failure = first_failure(Some(fault), 600).err().unwrap_or_else(|| panic!("{fault:?} passes"));
        assert_eq!(failure.violation.statement, statement, "{fault:?}: {failure}");
        assert!(failure.violation.what.contains(words), "{fault:?}: {failure}");
        let seed = format!("seed {} at", failure.seed);
        assert!(failure.to_string().contains(&seed), "{fault:?}: {failure}");
    }
}
