//! Instructions of each workload, counted by valgrind: `cargo bench -p raft-core --bench instructions`.

mod harness;
mod ours;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::valgrind::main(harness::all::<ours::Ours>())
}
