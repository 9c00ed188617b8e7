//! Drives the fuzz targets on stable, without a fuzzer: the committed inputs, then new ones made of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, io, panic};

use clap::Parser;
use fastrand::Rng;
use raft_fuzz::targets::{TARGETS, Target, corpus, vary};

/// Calls each fuzz target with inputs that are made of the committed ones, and stops at the first that breaks a promise.
#[derive(Debug, Parser)]
struct Args {
    /// Only these targets.
    #[arg(long)]
    only: Vec<String>,
    /// What decides the inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds for each target.
    #[arg(long = "for", default_value_t = 30)]
    seconds: u64,
    /// Instead of all that, these inputs.
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(unknown) = args.only.iter().find(|only| TARGETS.iter().all(|(name, _)| name != only)) {
        eprintln!("there is no target {unknown}; there are {}", TARGETS.map(|(name, _)| name).join(", "));
        return ExitCode::from(2);
    }
    for target in TARGETS {
        if !args.only.is_empty() && args.only.iter().all(|only| only != target.0) {
            continue;
        }
        let result =
            if args.files.is_empty() { vary_for(target, &args) } else { replay(target, &args.files) };
        match result {
            Ok(None) => {}
            Ok(Some(failing)) => {
                let again = format!("--only {} {}", target.0, failing.display());
                eprintln!("again: cargo run --release -p raft-fuzz --bin targets -- {again}");
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("{}: {error}", target.0);
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}

/// Does the target take it without a panic?
fn holds((_, run): Target, bytes: &[u8]) -> bool {
    panic::catch_unwind(|| run(bytes)).is_ok()
}

/// The first of these files that breaks a promise.
fn replay(target: Target, files: &[PathBuf]) -> io::Result<Option<PathBuf>> {
    for file in files {
        if !holds(target, &fs::read(file)?) {
            return Ok(Some(file.clone()));
        }
    }
    println!("{}: {} inputs", target.0, files.len());
    Ok(None)
}

/// The file of the first input that breaks a promise: one of the corpus, or a new one.
fn vary_for(target: Target, args: &Args) -> io::Result<Option<PathBuf>> {
    let committed = corpus(target.0)?;
    for (path, bytes) in &committed {
        if !holds(target, bytes) {
            return Ok(Some(path.clone()));
        }
    }
    let inputs: Vec<Vec<u8>> = committed.into_iter().map(|(_, bytes)| bytes).collect();
    let mut rng = Rng::with_seed(args.seed);
    let (start, limit) = (Instant::now(), Duration::from_secs(args.seconds));
    let mut made = 0_u64;
    while start.elapsed() < limit {
        let bytes = vary(&mut rng, &inputs);
        made += 1;
        if !holds(target, &bytes) {
            return keep(target.0, args.seed, made, &bytes).map(Some);
        }
    }
    println!("{}: {} inputs of the corpus, {made} made of them", target.0, inputs.len());
    Ok(None)
}

/// Keeps an input where cargo-fuzz keeps what it finds.
fn keep(name: &str, seed: u64, number: u64, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(name);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("seed-{seed}-{number}"));
    fs::write(&path, bytes)?;
    Ok(path)
}
