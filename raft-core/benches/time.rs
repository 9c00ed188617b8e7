//! CPU time of each workload: `cargo bench -p raft-core --bench time`.

mod harness;
mod ours;

fn main() {
    harness::clock::main(harness::all::<ours::Ours>());
}
