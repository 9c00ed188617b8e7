//! The protobuf encoding, from outside.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod any;
mod by_hand;
mod by_hand_stored;
mod from_etcd;
mod garbage;
#[path = "../prost/mod.rs"]
mod prost;
mod refusals;
mod round_trip;
mod text;
mod zero_copy;
