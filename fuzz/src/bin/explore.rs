//! Tries every run of a small cluster within bounds, and stops at the first that breaks a promise.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use raft_fuzz::explore::{Bounds, Budget, Effort, Mistake, explore};

/// Tries every run of a small cluster of the real core within bounds, and checks what must hold in each state.
#[derive(Debug, Parser)]
struct Args {
    /// Nodes.
    #[arg(long, default_value_t = Bounds::default().nodes, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// No term is above it.
    #[arg(long, default_value_t = Bounds::default().max_term)]
    max_term: u64,
    /// No log has more entries.
    #[arg(long, default_value_t = Bounds::default().max_log)]
    max_log: usize,
    /// No more messages are on their way.
    #[arg(long, default_value_t = Bounds::default().in_flight)]
    in_flight: usize,
    /// Election time-outs in a run.
    #[arg(long, default_value_t = Bounds::default().budget.time_outs)]
    time_outs: u8,
    /// Ticks in a run; a node that doesn't lead has none in the last term.
    #[arg(long, default_value_t = Bounds::default().budget.ticks)]
    ticks: u8,
    /// Heartbeats of leaders in a run, beside those of ticks.
    #[arg(long, default_value_t = Bounds::default().budget.heartbeats)]
    heartbeats: u8,
    /// Proposals in a run.
    #[arg(long, default_value_t = Bounds::default().budget.proposals)]
    proposals: u8,
    /// Reads in a run.
    #[arg(long, default_value_t = Bounds::default().budget.reads)]
    reads: u8,
    /// Crashes in a run.
    #[arg(long, default_value_t = Bounds::default().budget.crashes)]
    crashes: u8,
    /// Lost messages in a run.
    #[arg(long, default_value_t = Bounds::default().budget.drops)]
    drops: u8,
    /// Messages that arrive twice, in a run.
    #[arg(long, default_value_t = Bounds::default().budget.duplicates)]
    duplicates: u8,
    /// Writes are on the disk before anything else happens.
    #[arg(long)]
    sync: bool,
    /// Committed entries are applied some time after they were handed out.
    #[arg(long)]
    apply_late: bool,
    /// Messages carry one entry each.
    #[arg(long)]
    one_entry: bool,
    /// Ask before a campaign whether it could be won.
    #[arg(long)]
    pre_vote: bool,
    /// Leaders that hear from no quorum step down. Give --ticks with it.
    #[arg(long)]
    check_quorum: bool,
    /// The last node is brought in by a joint change.
    #[arg(long)]
    joint: bool,
    /// What the caller does wrong, to see that it is found.
    #[arg(long)]
    mistake: Option<Mistake>,
    /// Stop after so many states.
    #[arg(long, default_value_t = u64::MAX)]
    states: u64,
    /// Stop after so many seconds.
    #[arg(long = "for", default_value_t = 120)]
    seconds: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

impl Args {
    fn bounds(&self) -> Bounds {
        Bounds {
            nodes: self.nodes,
            max_term: self.max_term,
            max_log: self.max_log,
            in_flight: self.in_flight,
            budget: Budget {
                time_outs: self.time_outs,
                ticks: self.ticks,
                heartbeats: self.heartbeats,
                proposals: self.proposals,
                changes: u8::from(self.joint),
                reads: self.reads,
                crashes: self.crashes,
                drops: self.drops,
                duplicates: self.duplicates,
            },
            background: !self.sync,
            apply_late: self.apply_late,
            one_entry: self.one_entry,
            pre_vote: self.pre_vote,
            check_quorum: self.check_quorum,
            mistake: self.mistake,
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let begin = Instant::now();
    let effort =
        Effort { states: args.states, time: Duration::from_secs(args.seconds), threads: args.threads };
    let mut told = begin;
    let report = explore(&args.bounds(), effort, |progress| {
        if told.elapsed() >= Duration::from_secs(5) {
            told = Instant::now();
            eprintln!(
                "{:>6.1} s  depth {:>3}  {:>11} states  {:>12} steps  {:>9} states of nodes",
                begin.elapsed().as_secs_f64(),
                progress.depth,
                progress.states,
                progress.transitions,
                progress.node_states
            );
        }
    });
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (progress, seconds) = (report.progress, begin.elapsed().as_secs_f64());
    println!(
        "{} distinct states, {} steps between them, depth {}, {} states of nodes, {} messages; {seconds:.1} s, {:.0} states/s",
        progress.states,
        progress.transitions,
        progress.depth,
        progress.node_states,
        progress.messages,
        progress.states as f64 / seconds
    );
    println!(
        "{}",
        if report.exhausted { "that is all there is within these bounds" } else { "there are more" }
    );
    match report.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("broken: {}", violation.statement);
            violation.schedule.iter().for_each(|line| println!("{line}"));
            ExitCode::FAILURE
        }
    }
}
