//! Heap allocations of each workload, and the memory of a node: `cargo bench -p raft-core --bench allocations`.

mod counting;
mod harness;
mod ours;

use std::process::ExitCode;

use harness::baseline::{self, Figure};
use harness::weight::{self, Parts, Weight};
use ours::{Ours, Shared};

fn weigh(weight: Weight) -> Figure {
    let Parts { node, storage } = (weight.make)();
    let freed = allocation_counter::measure(|| drop(node)).bytes_current;
    drop(storage);
    Figure { name: weight.name, unit: "node, in bytes", value: freed.unsigned_abs() as f64 }
}

fn main() -> ExitCode {
    let mut figures = counting::count(harness::chosen(harness::all::<Ours>(), |spec| spec.name));
    let weights = harness::chosen(weight::all::<Ours<Shared>>(), |weight| weight.name);
    figures.extend(weights.into_iter().map(weigh));
    baseline::settle("allocations", &figures)
}
