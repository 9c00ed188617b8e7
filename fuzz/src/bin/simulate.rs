//! Runs seeds, and stops at the first that shows a fault.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use raft_fuzz::{Options, run};

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
    #[arg(long, default_value_t = 20)]
    chaos: u64,
    /// The number of voters; drawn by the seed if it isn't given.
    #[arg(long)]
    nodes: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options { seconds: args.chaos, nodes: args.nodes };
    let start = Instant::now();
    let limit = args.seconds.map(Duration::from_secs);
    let (mut runs, mut micros, mut events, mut crashes, mut committed, mut reads, mut snapshots, mut terms) =
        (0_u64, 0_u64, 0, 0, 0, 0, 0, 0);
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        if limit.is_some_and(|limit| start.elapsed() >= limit) {
            break;
        }
        match run(seed, options) {
            Ok(report) => {
                runs += 1;
                micros += report.micros;
                events += report.events;
                crashes += report.crashes;
                committed += report.committed;
                reads += report.reads;
                snapshots += report.snapshots;
                terms += report.terms_led;
            }
            Err(failure) => {
                eprint!("{failure}");
                eprintln!(
                    "again: cargo run --release -p raft-fuzz --bin simulate -- --seed {seed} --seeds 1"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{runs} runs, {:.0} simulated seconds in {seconds:.1} s ({:.0} times real time), {events} events",
        micros as f64 / 1e6,
        micros as f64 / 1e6 / seconds
    );
    println!(
        "{committed} entries committed in {terms} terms, {reads} reads, {crashes} crashes, {snapshots} snapshots restored"
    );
    ExitCode::SUCCESS
}
