//! Heap allocations of each workload, and the memory of a node: `cargo bench -p raft-core --bench allocations`.

mod counting;
mod harness;
mod ours;

use std::process::ExitCode;

use harness::baseline::{self, Figure};
use harness::weight::{self, Weight};
use ours::{Ours, Shared};

fn weigh(weight: Weight) -> Figure {
    let freed_by = |part: &mut dyn FnMut()| allocation_counter::measure(part).bytes_current.unsigned_abs();
    Figure { name: weight.name, unit: "node, in bytes", value: weight.weigh(freed_by) as f64 }
}

fn main() -> ExitCode {
    let mut figures = counting::count(harness::chosen(harness::all::<Ours>(), |spec| spec.name));
    let weights = harness::chosen(weight::all::<Ours<Shared>>(), |weight| weight.name);
    figures.extend(weights.into_iter().map(weigh));
    baseline::settle("allocations", "", &figures)
}
