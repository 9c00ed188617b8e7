//! What a fuzzer drives: functions that take bytes, do with the library what the bytes say, and panic if it breaks a promise.
//!
//! Each is a target of cargo-fuzz (`fuzz_targets/`), and `tests/corpus.rs` runs the committed corpus through the same functions
//! on stable. What the bytes can't do is call something that no user could call.
//!
//! ```console
//! cargo +nightly fuzz run -s none --features libfuzzer step_any -- -max_total_time=60
//! cargo run --release -p raft-fuzz --bin targets -- --only step_any --for 60
//! ```
//!
//! (The latter makes its inputs from the corpus by itself, without the feedback that makes a fuzzer good at it.)

mod any;
mod calls;
mod cluster;
mod corpus;
mod dice;
mod lying;
#[path = "../../raft-proto/tests/prost/mod.rs"]
mod prost;
mod step;
mod watched;
mod wire;

pub use calls::any_calls;
pub use cluster::cluster;
pub use corpus::{corpus, vary};
pub use lying::lying_storage;
pub use step::step_any;
pub use wire::wire_decode;

/// A name, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("wire_decode", wire_decode),
    ("step_any", step_any),
    ("lying_storage", lying_storage),
    ("any_calls", any_calls),
    ("cluster", cluster),
];
