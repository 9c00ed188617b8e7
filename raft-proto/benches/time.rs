//! CPU time of encoding and decoding: `cargo bench -p raft-proto --bench time`.

#[path = "../../raft-core/benches/harness/mod.rs"]
mod harness;
mod ours;

fn main() {
    harness::clock::main(harness::codec::all::<ours::OurCodec>());
}
