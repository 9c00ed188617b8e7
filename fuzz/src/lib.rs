//! The adversary: a cluster whose world is a seed.
//!
//! Real [`RawNode`](raft_core::RawNode)s run over a simulated [`network`], [`disk`]s, clocks and clients, all decided by one
//! `u64`: the same seed gives the same run, byte for byte. After every event the [`oracle`] checks what must hold
//! (`../shared/invariants.md` has the statements); after the chaos everything is healed, and progress is demanded.

pub mod cluster;
pub mod disk;
pub mod explore;
pub mod machine;
pub mod members;
pub mod mutants;
pub mod network;
pub mod oracle;
pub mod parts;
pub mod reached;
pub mod scenario;
pub mod simulation;
pub mod storage_suite;
pub mod targets;

pub use simulation::{Failure, Fault, Options, Report, run, run_with};
