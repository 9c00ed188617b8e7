//! Breaks the core on purpose, and shows what notices.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use raft_fuzz::mutants::{
    Means, Mutant, Scratch, Severity, Stop, Suite, Trial, Verdict, catalogue, listing, summary, table,
};

/// Builds the core with one fault after the other and runs tests, scripts and simulator against each.
///
/// Ends with 1 if a mutant survives that isn't explained, with 2 if one can't be tried.
#[derive(Debug, Parser)]
struct Args {
    /// Only the mutant of this name; may be given again.
    #[arg(long)]
    only: Vec<String>,
    /// Only mutants of this severity, S0 to S4; may be given again.
    #[arg(long, value_parser = |name: &str| Severity::named(name).ok_or("S0 to S4"))]
    severity: Vec<Severity>,
    /// How long the simulator may look for each fault, in seconds ("60" or "60s").
    #[arg(long, default_value = "60s", value_parser = seconds)]
    budget: Duration,
    /// How many mutants to try at the same time, each in a tree of its own.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Ask only these: tests, scenarios, simulator, or all.
    #[arg(long, default_value = "all", value_parser = means, value_delimiter = ',')]
    by: Vec<Option<Means>>,
    /// Ask no more about a mutant once it is caught.
    #[arg(long)]
    first: bool,
    /// Print the table of mutants for fuzz/mutants/README.md and do nothing else.
    #[arg(long)]
    list: bool,
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.trim_end_matches('s').parse().map(Duration::from_secs)
}

fn means(name: &str) -> Result<Option<Means>, String> {
    match name {
        "all" => Ok(None),
        name => Means::named(name).map(Some).ok_or_else(|| "tests, scenarios, simulator or all".to_owned()),
    }
}

impl Args {
    fn wants(&self, mutant: &Mutant) -> bool {
        (self.only.is_empty() || self.only.contains(&mutant.name))
            && (self.severity.is_empty() || self.severity.contains(&mutant.severity))
    }

    fn asks(&self, means: Means) -> bool {
        self.by.contains(&None) || self.by.contains(&Some(means))
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
    let mut mutants = catalogue(&root.join("fuzz/mutants"))?;
    if args.list {
        print!("{}", listing(&mutants));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = args.only.iter().find(|name| !mutants.iter().any(|mutant| mutant.name == **name)) {
        return Err(format!("there is no mutant '{name}'"));
    }
    mutants.retain(|mutant| args.wants(mutant));

    let stop = Stop::default();
    let asked = stop.clone();
    ctrlc::set_handler(move || asked.ask()).map_err(|error| error.to_string())?;

    let start = Instant::now();
    let folder = scratch_folder(&root);
    let trees = (0..args.jobs.max(1)).map(|job| Scratch::new(&root, &folder.join(job.to_string())));
    let trees: Vec<Scratch> = trees.collect::<Result<_, _>>()?;
    let suite = check_sound(args, &root, &folder, &trees, &stop)?;
    println!("the unbroken tree is built and passes, {:.0} s", start.elapsed().as_secs_f64());
    let trials = try_all(args, mutants, &trees, &suite, &stop);

    print!("\n{}\n{}", table(&trials), summary(&trials));
    println!("{:.0} s", start.elapsed().as_secs_f64());
    if stop.is_asked() {
        return Ok(ExitCode::from(130));
    }
    let survived = trials.iter().any(|trial| trial.survived() && trial.mutant.explained.is_none());
    let broken = trials.iter().any(|trial| trial.result.is_err());
    Ok(if broken { ExitCode::from(2) } else { ExitCode::from(u8::from(survived)) })
}

/// Where the broken trees are kept, so that the next run needn't build everything again.
fn scratch_folder(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    root.join(target).join("mutants-scratch")
}

/// Builds the tree as it is in each scratch, and sees that nothing is wrong with it: else every mutant would be caught.
fn check_sound(
    args: &Args,
    root: &Path,
    folder: &Path,
    trees: &[Scratch],
    stop: &Stop,
) -> Result<Suite, String> {
    let scripts = root.join("../shared/conformance");
    let scripts = scripts.is_dir().then_some(scripts);
    if scripts.is_none() {
        println!("there is no ../shared/conformance: scenarios are left out");
    }
    let mut suite = Suite { scripts, budget: SOUND, sound: folder.join("sound-simulate") };
    for tree in trees {
        for means in Means::CHEAPEST_FIRST.into_iter().filter(|means| args.asks(*means)) {
            let programs = tree.build(means, stop)?;
            if let (Means::Simulator, [simulate]) = (means, programs.as_slice()) {
                // The mutants' programs will take the place of this one.
                std::fs::copy(simulate, &suite.sound)
                    .map_err(|error| format!("{}: {error}", suite.sound.display()))?;
            }
            if let Verdict::Caught { by, .. } = suite.ask(means, &programs, tree.output(), stop)? {
                return Err(format!("the unbroken tree fails in {means}: {by}"));
            }
        }
    }
    suite.budget = args.budget;
    Ok(suite)
}

/// How long the simulator runs over the unbroken tree. What it finds later in a mutant is tried on this one too.
const SOUND: Duration = Duration::from_secs(5);

fn try_all(args: &Args, mutants: Vec<Mutant>, trees: &[Scratch], suite: &Suite, stop: &Stop) -> Vec<Trial> {
    let count = mutants.len();
    let waiting = Mutex::new(mutants.into_iter().collect::<VecDeque<Mutant>>());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for tree in trees {
            let (waiting, done) = (&waiting, &done);
            scope.spawn(move || {
                while let Some(mutant) = waiting.lock().ok().and_then(|mut waiting| waiting.pop_front()) {
                    let result = try_one(args, &mutant, tree, suite, stop);
                    if stop.is_asked() {
                        return;
                    }
                    let trial = Trial { mutant, result };
                    let Ok(mut done) = done.lock() else { return };
                    println!("[{}/{count}] {}", done.len() + 1, trial.line());
                    done.push(trial);
                }
            });
        }
    });
    let mut trials = done.into_inner().unwrap_or_default();
    trials.sort_by(|a, b| (a.mutant.severity, &a.mutant.name).cmp(&(b.mutant.severity, &b.mutant.name)));
    trials
}

fn try_one(
    args: &Args,
    mutant: &Mutant,
    tree: &Scratch,
    suite: &Suite,
    stop: &Stop,
) -> Result<[Verdict; 3], String> {
    tree.restore()?;
    tree.apply(mutant)?;
    let mut verdicts = [Verdict::NotRun, Verdict::NotRun, Verdict::NotRun];
    for means in Means::CHEAPEST_FIRST {
        if !args.asks(means) || mutant.only.is_some_and(|only| only != means) {
            continue;
        }
        let programs = tree.build(means, stop)?;
        let verdict = suite.ask(means, &programs, tree.output(), stop)?;
        let caught = verdict.is_caught();
        if let Some(at) = Means::ALL.iter().position(|one| *one == means) {
            verdicts[at] = verdict;
        }
        if args.first && caught {
            break;
        }
    }
    tree.restore()?;
    Ok(verdicts)
}
