//! Synchronous and asynchronous use are one protocol: the same inputs give the same outputs.

use proptest::bool::ANY;
use proptest::prelude::Strategy;
use raft_core::{Config, Message};

use crate::cluster::{Cluster, Disk, figure_2};
use crate::schedule::{World, check_at_rest, events, happen, recover};
use crate::words::*;

fn cluster(plain: bool, async_writes: bool) -> Cluster {
    Cluster::of(&[1, 2, 3, 4], &[5], move |config: &mut Config| {
        if plain {
            figure_2(config);
        }
        config.async_writes = async_writes;
        config.max_inflight_messages = 3;
        config.max_message_bytes = 60;
        config.max_committed_bytes = 100;
    })
}

#[test]
fn where_disks_write_at_once_both_ways_send_the_same_messages() {
    check(40, &(events(World::Network, 300), ANY), |(schedule, plain)| {
        let run = |async_writes| {
            let mut cluster = cluster(plain, async_writes);
            for event in &schedule {
                happen(&mut cluster, *event);
            }
            recover(&mut cluster);
            cluster
        };
        let (sync, asynchronous) = (run(false), run(true));
        let first = sync.sent.iter().zip(&asynchronous.sent).find(|(a, b)| a != b);
        assert_eq!(first, None, "the first message that differs");
        assert_eq!(sync.sent.len(), asynchronous.sent.len());
        for n in sync.numbers() {
            assert_eq!(sync.slot(n).applied, asynchronous.slot(n).applied);
            assert_eq!(sync.slot(n).reads, asynchronous.slot(n).reads);
        }
        Ok(())
    });
}

#[test]
fn whenever_the_disks_write_the_committed_logs_are_the_same() {
    // A stable leader, a stream of commands, and disks that write when the schedule says so.
    let turn = (0..5_u64, 0..6_u32);
    check(60, &(proptest::collection::vec(turn, 10..120), ANY), |(turns, plain)| {
        let run = |held: bool, async_writes: bool| {
            let mut cluster = cluster(plain, async_writes);
            cluster.elect(1);
            for n in cluster.numbers() {
                cluster.set_disk(n, if held { Disk::Held } else { Disk::AtOnce });
            }
            for (n, what) in &turns {
                match what {
                    0 | 1 => {
                        cluster.propose(1, "x").unwrap();
                    }
                    2 | 3 => {
                        cluster.persist_one(n + 1);
                    }
                    4 => {
                        cluster.deliver_next();
                    }
                    _ => cluster.deliver_if(|message: &Message| message.to == id(n + 1)),
                }
            }
            for _ in 0..3 {
                for n in cluster.numbers() {
                    cluster.set_disk(n, Disk::AtOnce);
                    cluster.persist_all(n);
                }
                cluster.rounds(3);
            }
            check_at_rest(&cluster);
            cluster.slot(1).applied.clone()
        };
        let expected = run(false, false);
        for (held, async_writes) in [(false, true), (true, false), (true, true)] {
            assert_eq!(run(held, async_writes), expected);
        }
        Ok(())
    });
}

#[test]
fn whatever_happens_nothing_committed_is_lost_and_all_agree_in_the_end() {
    check(80, &(events(World::All, 500), ANY, ANY), |(schedule, plain, async_writes)| {
        let mut cluster = cluster(plain, async_writes);
        for event in &schedule {
            happen(&mut cluster, *event);
        }
        recover(&mut cluster);
        Ok(())
    });
}

#[test]
fn a_cluster_of_both_kinds_agrees() {
    let strategy = events(World::All, 400).prop_map(|schedule| (schedule, ()));
    check(40, &strategy, |(schedule, ())| {
        let mut cluster = cluster(false, false);
        for n in [2, 4, 5] {
            cluster.crash(n);
            cluster.start(n, |config| config.async_writes = true);
        }
        for event in &schedule {
            happen(&mut cluster, *event);
        }
        recover(&mut cluster);
        Ok(())
    });
}
