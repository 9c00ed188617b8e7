//! Runs scripts in etcd's interaction format, and replays schedules of the simulation.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use clap::Parser;
use raft_fuzz::scenario::{Outcome, run_file, scripts};
use raft_fuzz::simulation::{Schedule, TITLE, replay};

/// Runs scripts, shows the first difference of each that fails, and counts. Ends with 1 if any failed.
#[derive(Debug, Parser)]
struct Args {
    /// Scripts, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Prints each difference as an entry of divergences.md, to which its reason must be added.
    #[arg(long)]
    as_divergence: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (mut passed, mut failed) = (0, 0);
    let mut files = Vec::new();
    for path in &args.paths {
        match scripts(path) {
            Ok(found) if found.is_empty() => {
                failed += 1;
                println!("{}: there are no scripts", path.display());
            }
            Ok(found) => files.extend(found),
            Err(error) => {
                failed += 1;
                println!("{}: {error}", path.display());
            }
        }
    }
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut outcomes: Vec<(usize, Outcome)> = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, files) = (sender.clone(), &next, &files);
            scope.spawn(move || {
                while let Some((at, file)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    files.get(at).map(|file| (at, file))
                } {
                    if sender.send((at, run_any(file))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        results.iter().collect()
    });
    outcomes.sort_by_key(|(at, _)| *at);
    for (at, outcome) in outcomes {
        let name = files.get(at).map(|file| file.display().to_string()).unwrap_or_default();
        match (&outcome, outcome.failure()) {
            (_, None) => passed += 1,
            (Outcome::Failed(difference), _) if args.as_divergence => {
                failed += 1;
                let script = files.get(at).and_then(|file| file.file_name()).unwrap_or_default();
                let (script, line) = (script.to_string_lossy(), difference.line);
                println!("### {script}, line {line}\n\n```text\n{}```\n", difference.actual);
            }
            (_, Some(why)) => {
                failed += 1;
                println!("{name}: {why}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a script, or a schedule, which fails by breaking a statement.
fn run_any(path: &Path) -> Outcome {
    let text = match std::fs::read_to_string(path) {
        Ok(text) if text.starts_with(TITLE) => text,
        Ok(_) | Err(_) => return run_file(path),
    };
    match text.parse::<Schedule>().map(|schedule| replay(&schedule)) {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(failure)) => Outcome::Unreadable(format!("\n{failure}")),
        Err(error) => Outcome::Unreadable(error),
    }
}
