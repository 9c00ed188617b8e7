//! The ratchet: what was measured, against what is committed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// How much more than the baseline is let pass.
const TOLERANCE: f64 = 0.03;

/// What stands before the words that tell with what a baseline was measured.
const HEAD: &str = "# ";

/// One figure.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

/// Prints what was measured, and compares it with the file of this name. With `--write` among the arguments the file is
/// written instead, which then holds these figures beside those of workloads that weren't chosen. Fails if anything is worse,
/// unless it was measured `with` something else than the baseline was.
pub(crate) fn settle(what: &str, with: &str, figures: &[Figure]) -> ExitCode {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline").join(format!("{what}.txt"));
    let (before_with, mut baseline) = read(&path);
    let mut worse = 0_u32;
    for Figure { name, unit, value } in figures {
        print!("{name:16} {value:>10.3} {what} per {unit}");
        match baseline.insert((*name).to_owned(), *value) {
            None => println!(", which has no baseline"),
            // What is zero stays zero; elsewhere a hundredth is room for how the figures are rounded.
            Some(before) if *value > before * (1.0 + TOLERANCE) + if before > 0.0 { 0.01 } else { 0.0 } => {
                worse += 1;
                println!(": WORSE than the baseline of {before:.3}");
            }
            Some(before) if *value < before * (1.0 - TOLERANCE) - 0.01 => {
                println!(", better than the baseline of {before:.3}");
            }
            Some(_) => println!(),
        }
    }
    if env::args().any(|arg| arg == "--write") {
        let lines: String = baseline.iter().map(|(name, value)| format!("{name}\t{value:.3}\n")).collect();
        let head = if with.is_empty() { String::new() } else { format!("{HEAD}{with}\n") };
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, head + &lines).unwrap();
        return ExitCode::SUCCESS;
    }
    if before_with != with {
        println!(
            "The baseline was measured with {before_with}, and this with {with}: nothing follows from a difference."
        );
        return ExitCode::SUCCESS;
    }
    if worse > 0 {
        eprintln!(
            "{worse} of the workloads take more than {} % more {what} than the baseline. If the price is right, or another \
             compiler is the reason, `cargo bench -p {} --bench {what} -- --write` makes it the new one.",
            TOLERANCE * 100.0,
            env!("CARGO_PKG_NAME")
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// With what the file was measured, and its figures.
fn read(path: &PathBuf) -> (String, BTreeMap<String, f64>) {
    let text = fs::read_to_string(path).unwrap_or_default();
    let with = text.lines().find_map(|line| line.strip_prefix(HEAD)).unwrap_or_default().to_owned();
    let figure = |line: &str| {
        let (name, value) = line.split_once('\t')?;
        Some((name.to_owned(), value.parse().unwrap()))
    };
    (with, text.lines().filter_map(figure).collect())
}
