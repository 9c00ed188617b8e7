//! Runs seeds, and stops at the first that shows a fault.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use raft_fuzz::reached::Situation;
use raft_fuzz::simulation::with_remarks;
use raft_fuzz::{Failure, Fault, Options, Report, run};

/// Simulates clusters under faults and checks that nothing is lost.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds to run. Default 1,000, or any number with `--for`.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after this time: 90, 90s, 10m, 2h.
    #[arg(long = "for", value_parser = duration)]
    time: Option<Duration>,
    /// Simulated seconds of chaos in each run.
    #[arg(long, default_value_t = 60)]
    chaos: u64,
    /// The number of voters; drawn by the seed if it isn't given.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=12))]
    nodes: Option<u64>,
    /// Whether the membership changes; drawn by the seed if it isn't given.
    #[arg(long)]
    changes: Option<bool>,
    /// What may break, separated by commas. Default: all of crash, outage, mend, cut-off, partition, weather, reads, stuck, pause,
    /// spoilt, echo, rivals, stranded, damage. (`lie` breaks the contract of a disk, to see that it is noticed.)
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    faults: Option<Vec<Fault>>,
    /// How many seeds to run at the same time.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Don't look for the shortest schedule that shows a failure.
    #[arg(long)]
    no_shrink: bool,
    /// Where such schedules are saved.
    #[arg(long, default_value = "target/simulate")]
    save: PathBuf,
    /// Fail if a situation of the list is never met.
    #[arg(long)]
    all_met: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let number: u64 = number.parse().map_err(|_| format!("not a time: {text}"))?;
    let seconds = match unit {
        "m" => number.saturating_mul(60),
        "h" => number.saturating_mul(3_600),
        _ => number,
    };
    Ok(Duration::from_secs(seconds))
}

fn fault(text: &str) -> Result<Fault, String> {
    Fault::of(text).ok_or_else(|| format!("no fault is called {text}"))
}

/// What all threads share.
struct Shared {
    next: AtomicU64,
    stop: AtomicBool,
}

type Outcome = Result<Report, Box<Failure>>;

fn main() -> ExitCode {
    let args = Args::parse();
    let faults = args.faults.clone().unwrap_or_else(Fault::to_be_borne);
    let options = Options { seconds: args.chaos, nodes: args.nodes, changes: args.changes, faults };
    let seeds = args.seeds.unwrap_or(if args.time.is_some() { u64::MAX } else { 1_000 });
    let end = args.seed.saturating_add(seeds);
    let shared = Arc::new(Shared { next: AtomicU64::new(args.seed), stop: AtomicBool::new(false) });
    let on_interrupt = Arc::clone(&shared);
    // Without it Ctrl-C ends the run without a summary, which is no reason not to begin.
    let _ = ctrlc::set_handler(move || on_interrupt.stop.store(true, Ordering::Relaxed));
    // A panic is a failure like others, and is told with its seed.
    std::panic::set_hook(Box::new(|_| {}));

    let start = Instant::now();
    let bar = progress_bar(seeds);
    let (sender, outcomes) = mpsc::channel();
    let (mut runs, mut failed, mut sum) = (0_u64, 0_u64, Report::default());
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            let (sender, shared, options) = (sender.clone(), &shared, &options);
            scope.spawn(move || work(shared, end, options, &sender));
        }
        drop(sender);
        for outcome in outcomes {
            match outcome {
                Ok(report) => {
                    runs += 1;
                    sum.add(&report);
                }
                Err(failure) => {
                    failed += 1;
                    bar.suspend(|| tell(&failure, &args));
                    if !args.keep_going {
                        shared.stop.store(true, Ordering::Relaxed);
                    }
                }
            }
            bar.set_position(runs + failed);
            bar.set_message(message(&sum, start.elapsed()));
            if args.time.is_some_and(|limit| start.elapsed() >= limit) {
                shared.stop.store(true, Ordering::Relaxed);
            }
        }
    });
    bar.finish_and_clear();
    println!("{}", summary(runs, failed, &sum, start.elapsed()));
    let missing: Vec<_> = sum.reached.missing().map(|situation| situation.text()).collect();
    println!("{:<10} {} of {}", "situations", Situation::ALL.len() - missing.len(), Situation::ALL.len());
    // After a few runs most of the list would stand here.
    if args.all_met || missing.len() < Situation::ALL.len() / 5 {
        missing.iter().for_each(|text| println!("never met: {text}"));
    }
    if failed == 0 && (missing.is_empty() || !args.all_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs seeds until there are no more, or all is to stop.
fn work(shared: &Shared, end: u64, options: &Options, outcomes: &mpsc::Sender<Outcome>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || outcomes.send(run(seed, options)).is_err() {
            return;
        }
    }
}

fn progress_bar(seeds: u64) -> ProgressBar {
    let bar = ProgressBar::new(seeds);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = if seeds == u64::MAX {
        "{pos} seeds, {per_sec}, {msg}"
    } else {
        "{wide_bar} {pos}/{len} seeds, {per_sec}, {msg}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn message(sum: &Report, elapsed: Duration) -> String {
    let simulated = sum.micros as f64 / 1e6;
    let times = simulated / elapsed.as_secs_f64();
    format!("{:.1} simulated hours, {times:.0} times real time, {}", simulated / 3_600.0, faults(sum))
}

/// How often each fault was inflicted.
fn faults(sum: &Report) -> String {
    let counts = Fault::ALL.iter().zip(sum.faults).filter(|(_, count)| *count > 0);
    counts.map(|(fault, count)| format!("{} {count}", fault.text())).collect::<Vec<_>>().join(", ")
}

/// Tells of a failure, and saves the shortest schedule that shows it.
fn tell(failure: &Failure, args: &Args) {
    eprint!("{failure}");
    eprintln!(
        "again: cargo run --release -p raft-fuzz --bin simulate -- --seed {} --seeds 1{}",
        failure.seed,
        settings(args)
    );
    if args.no_shrink {
        return;
    }
    let Some(schedule) = failure.shrink() else {
        eprintln!("no schedule shows it again");
        return;
    };
    let path = args.save.join(format!("seed-{}.txt", failure.seed));
    let text = with_remarks(&schedule, &failure.violation.to_string());
    let saved = std::fs::create_dir_all(&args.save).and_then(|()| std::fs::write(&path, text));
    match saved {
        Ok(()) => eprintln!(
            "{} actions show it: cargo run --release -p raft-fuzz --bin scenario -- {}",
            schedule.len(),
            path.display()
        ),
        Err(error) => eprintln!("{}: {error}", path.display()),
    }
}

/// The options that a seed needs to fail again.
fn settings(args: &Args) -> String {
    let mut text = String::new();
    if args.chaos != 60 {
        text.push_str(&format!(" --chaos {}", args.chaos));
    }
    if let Some(nodes) = args.nodes {
        text.push_str(&format!(" --nodes {nodes}"));
    }
    if let Some(changes) = args.changes {
        text.push_str(&format!(" --changes {changes}"));
    }
    if let Some(faults) = &args.faults {
        let names: Vec<_> = faults.iter().map(|fault| fault.text()).collect();
        text.push_str(&format!(" --faults {}", names.join(",")));
    }
    text
}

fn summary(runs: u64, failed: u64, sum: &Report, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let simulated = sum.micros as f64 / 1e6;
    let rows = [
        ("runs", runs.to_string()),
        ("failed", failed.to_string()),
        (
            "time",
            format!(
                "{simulated:.0} simulated seconds in {seconds:.1} s, {:.0} times real time",
                simulated / seconds
            ),
        ),
        ("events", format!("{}, {:.0} a second", sum.events, sum.events as f64 / seconds)),
        ("messages", format!("{} delivered, {} lost", sum.delivered, sum.lost)),
        ("entries", format!("{} committed in {} terms", sum.committed, sum.terms_led)),
        ("reads", sum.reads.to_string()),
        ("snapshots", format!("{} sent, {} restored", sum.snapshots_sent, sum.snapshots)),
        ("crashes", sum.crashes.to_string()),
        ("changes", format!("{} of the membership, made {} times", sum.changes, sum.changes_applied)),
        ("transfers", sum.transfers.to_string()),
        ("faults", faults(sum)),
        ("rest", format!("after {} election time-outs at most", sum.longest_wait)),
    ];
    rows.map(|(name, value)| format!("{name:<10} {value}")).join("\n")
}
