//! Instructions of encoding and decoding, counted by valgrind: `cargo bench -p raft-proto --bench instructions`.

#[path = "../../raft-core/benches/harness/mod.rs"]
mod harness;
mod ours;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::valgrind::main(harness::codec::all::<ours::OurCodec>())
}
