//! A durable, replicated key-value server on `raft-core`.

pub mod command;
pub mod disk;
pub mod machine;
pub mod membership;
