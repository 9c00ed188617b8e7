//! What the clients of a simulated cluster saw is linearizable, says a checker that knows nothing of logs and indexes.
#![allow(missing_docs)]

use porcupine_rs::{Model, check_operations};
use raft_fuzz::oracle::Operation;
use raft_fuzz::{Options, run};

/// A register that is written and read.
#[derive(Clone, Debug)]
struct Register;

#[derive(Clone, Debug)]
enum Access {
    Write(u64),
    Read(u64),
}

impl Model for Register {
    type State = u64;
    type Op = Access;
    type Metadata = ();

    fn init() -> u64 {
        0
    }

    fn step(state: &u64, access: &Access) -> (bool, u64) {
        match access {
            Access::Write(value) => (true, *value),
            Access::Read(value) => (value == state, *state),
        }
    }
}

/// A write that nobody was told of may take effect at any time after it was sent, or never: then it is one that the register
/// held for no one to see.
fn history(operations: &[Operation]) -> Vec<porcupine_rs::Operation<Register>> {
    let time = |clock: u64| i64::try_from(clock).unwrap();
    let end = time(operations.iter().filter_map(|operation| operation.returned).max().unwrap_or(0)) + 1;
    let seen = |operation: &&Operation| {
        let read = |other: &Operation| other.read.is_some() && other.read == operation.written;
        operation.returned.is_some() || operations.iter().any(read)
    };
    let access = |operation: &Operation| porcupine_rs::Operation {
        client_id: Some(u32::try_from(operation.client).unwrap()),
        call_time: time(operation.called),
        return_time: operation.returned.map_or(end, time),
        op: operation.written.map(Access::Write).unwrap_or(Access::Read(operation.read.unwrap_or(0))),
        metadata: None,
    };
    operations.iter().filter(seen).map(access).collect()
}

#[test]
fn what_clients_see_is_linearizable() {
    let mut checked = 0;
    for seed in 50_000..50_050 {
        let report = run(seed, &Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
        let history = history(&report.operations);
        checked += history.len();
        assert!(check_operations(&history), "seed {seed}");
    }
    assert!(checked > 3_000, "{checked}");
}

#[test]
fn a_stale_read_is_noticed() {
    let report = run(50_000, &Options::default()).unwrap_or_else(|failure| panic!("{failure}"));
    let mut operations = report.operations;
    let last = operations.iter().rposition(|operation| operation.read.is_some()).unwrap();
    let first =
        operations.iter().find(|operation| operation.written.is_some() && operation.returned.is_some());
    operations[last].read = first.unwrap().written;
    assert!(!check_operations(&history(&operations)));
}
