//! The server as its users meet it: real processes, real sockets, real disks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batching;
mod bench;
mod cli;
mod cluster_command;
mod curl;
mod failures;
mod forwarding;
mod harness;
mod history;
mod http;
mod members;
mod partitions;
mod peers;
mod proxy;
mod readme;
mod snapshots;
mod why;
