//! Heap allocations of encoding and decoding: `cargo bench -p raft-proto --bench allocations`.

#[path = "../../raft-core/benches/counting/mod.rs"]
mod counting;
#[path = "../../raft-core/benches/harness/mod.rs"]
mod harness;
mod ours;

use std::process::ExitCode;

use harness::{baseline, codec};

fn main() -> ExitCode {
    let specs = harness::chosen(codec::all::<ours::OurCodec>(), |spec| spec.name);
    baseline::settle("allocations", "", &counting::count(specs))
}
