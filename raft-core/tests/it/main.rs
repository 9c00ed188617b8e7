//! The paper, section by section, over the public API only. One binary, so that it links once.
//!
//! `cluster` is a small deterministic cluster whose network, disks and clocks the tests turn by hand; `oracle` watches
//! it. A rule of the paper has a test here that fails when the rule is broken.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::unreachable
)]

mod cluster;
mod log_flow;
mod oracle;
mod storage_failures;
mod sync_async;
mod words;

mod disruption;
mod election;
mod explain;
mod faults_of_etcd;
mod given_snapshots;
mod guards;
mod heartbeats;
mod hostile;
mod joint;
mod layering;
mod leases;
mod lost_data;
mod meeting;
mod membership;
mod membership_and_elections;
mod options;
mod pipeline;
mod proposals;
mod reads;
mod replication;
mod schedule;
mod snapshot_requests;
mod snapshots;
mod status;
mod transfer;
