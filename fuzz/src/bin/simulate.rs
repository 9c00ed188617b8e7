//! Runs seeds, and stops at the first that shows a fault.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use raft_fuzz::{Options, Report, run};

/// Simulates clusters under faults and checks that nothing is lost.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after this many seconds.
    #[arg(long = "for")]
    seconds: Option<u64>,
    /// Simulated seconds of chaos in each run.
    #[arg(long, default_value_t = 60)]
    chaos: u64,
    /// The number of voters; drawn by the seed if it isn't given.
    #[arg(long)]
    nodes: Option<u64>,
    /// Whether the membership changes; drawn by the seed if it isn't given.
    #[arg(long)]
    changes: Option<bool>,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options =
        Options { seconds: args.chaos, nodes: args.nodes, changes: args.changes, ..Options::default() };
    let start = Instant::now();
    let limit = args.seconds.map(Duration::from_secs);
    let (mut runs, mut failed, mut sum) = (0_u64, 0_u64, Report::default());
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        if limit.is_some_and(|limit| start.elapsed() >= limit) {
            break;
        }
        match run(seed, &options) {
            Ok(report) => {
                runs += 1;
                sum.add(&report);
            }
            Err(failure) => {
                eprint!("{failure}");
                eprintln!(
                    "again: cargo run --release -p raft-fuzz --bin simulate -- --seed {seed} --seeds 1"
                );
                if !args.keep_going {
                    return ExitCode::FAILURE;
                }
                failed += 1;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let simulated = sum.micros as f64 / 1e6;
    println!(
        "{runs} runs, {failed} failed, {simulated:.0} simulated seconds in {seconds:.1} s ({:.0} times real time), {} events",
        simulated / seconds,
        sum.events
    );
    println!(
        "{} entries committed in {} terms, {} reads, {} crashes, {} snapshots restored, {} membership changes, {} transfers",
        sum.committed, sum.terms_led, sum.reads, sum.crashes, sum.snapshots, sum.changes, sum.transfers
    );
    for situation in sum.reached.missing() {
        println!("never met: {}", situation.text());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
