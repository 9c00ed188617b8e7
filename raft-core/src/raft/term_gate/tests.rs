//! The gate: its table, cell by cell, and each refusal.

#![allow(clippy::arithmetic_side_effects)]

mod table;
mod validate;

use raft_proto::{Body, Message, NodeId, Term};

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

/// A message from node 2 to node 1.
fn message(term: Term, body: Body) -> Message {
    Message { from: id(2), to: id(1), term, body }
}
