//! What looks for a fault: three means that know nothing of each other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child::{self, Finished, Limits, Stop};

/// A way to notice a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// The core's own tests, of units and through its public interface.
    Tests,
    /// The scripts whose expected output came from etcd's code.
    Scenarios,
    /// The simulator.
    Simulator,
}

impl Means {
    /// All of them, in the order of the table.
    pub const ALL: [Means; 3] = [Means::Tests, Means::Scenarios, Means::Simulator];

    /// All of them, the cheapest first: to build the tests takes longest, and the simulator takes all the time it is given.
    pub const CHEAPEST_FIRST: [Means; 3] = [Means::Scenarios, Means::Tests, Means::Simulator];

    /// The means of this name.
    pub fn named(name: &str) -> Option<Means> {
        Means::ALL.into_iter().find(|means| means.to_string() == name)
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Means::Tests => "tests",
            Means::Scenarios => "scenarios",
            Means::Simulator => "simulator",
        })
    }
}

/// What one means says of one mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It notices the fault.
    Caught {
        /// By which test, script or statement.
        by: String,
        /// The processor time until then.
        cpu: Duration,
    },
    /// It doesn't.
    Survived {
        /// What was tried, in words.
        tried: String,
    },
    /// It wasn't asked, or can't be.
    NotRun,
}

impl Verdict {
    /// Does it notice the fault?
    pub fn is_caught(&self) -> bool {
        matches!(self, Verdict::Caught { .. })
    }
}

/// How the suite is run.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The folder of scripts, if there is one.
    pub scripts: Option<PathBuf>,
    /// How long the simulator may look for a fault.
    pub budget: Duration,
    /// The simulator of the unbroken tree: what it finds too is no mutant's doing.
    pub sound: PathBuf,
}

/// The tests and the scripts take about a second each; what takes this long has no end.
const HANGS_AFTER: Duration = Duration::from_secs(60);

impl Suite {
    /// Asks one means, whose programs were built for it.
    ///
    /// # Errors
    /// A program can't be started, or the run is to end.
    pub fn ask(
        &self,
        means: Means,
        programs: &[PathBuf],
        output: &Path,
        stop: &Stop,
    ) -> Result<Verdict, String> {
        match means {
            Means::Tests => tests(programs, output, stop),
            Means::Scenarios => self.scenarios(programs, output, stop),
            Means::Simulator => self.simulator(programs, output, stop),
        }
    }

    fn scenarios(&self, programs: &[PathBuf], output: &Path, stop: &Stop) -> Result<Verdict, String> {
        let (Some(scripts), [scenario]) = (&self.scripts, programs) else { return Ok(Verdict::NotRun) };
        let mut command = Command::new(scenario);
        command.arg(scripts);
        let run = child::run_limited(&mut command, Limits::of(HANGS_AFTER), output, stop)?;
        if run.succeeded() {
            return Ok(Verdict::Survived { tried: run.output.lines().last().unwrap_or_default().to_owned() });
        }
        let first = run.output.lines().find_map(|line| {
            let (path, rest) = line.split_once(": line ")?;
            let script = Path::new(path).strip_prefix(scripts).ok()?.display().to_string();
            Some((script, rest.split(':').next()?.to_owned()))
        });
        let counted =
            run.output.lines().last().and_then(|line| line.strip_suffix(" failed")?.split(' ').nth(2));
        let by = match (first, counted) {
            (Some((script, line)), Some(count)) => format!("{count}, first {script}:{line}"),
            _ => how_it_ended(&run),
        };
        Ok(Verdict::Caught { by, cpu: run.cpu })
    }

    fn simulator(&self, programs: &[PathBuf], output: &Path, stop: &Stop) -> Result<Verdict, String> {
        let [simulate] = programs else { return Ok(Verdict::NotRun) };
        let budget = self.budget.as_secs().max(1);
        let mut command = Command::new(simulate);
        command.args(["--no-shrink", "--for", &budget.to_string()]);
        let run = child::run_limited(&mut command, Limits::of(self.budget + HANGS_AFTER), output, stop)?;
        if run.succeeded() {
            let runs = run.output.lines().find_map(|line| line.strip_prefix("runs ")).unwrap_or_default();
            return Ok(Verdict::Survived { tried: format!("{} runs", runs.trim()) });
        }
        let Some((seed, statement)) = run.output.lines().find_map(violation) else {
            return Ok(Verdict::Caught { by: how_it_ended(&run), cpu: run.cpu });
        };
        let mut again = Command::new(&self.sound);
        again.args(["--no-shrink", "--seed", &seed.to_string(), "--seeds", "1"]);
        if !child::run_limited(&mut again, Limits::of(HANGS_AFTER), output, stop)?.succeeded() {
            return Err(format!("seed {seed} fails without any mutant: {statement}"));
        }
        Ok(Verdict::Caught { by: format!("seed {seed}: {statement}"), cpu: run.cpu })
    }
}

/// Those that read the sources as text would notice any patch.
const READS_SOURCES: &str = "layering::";

fn tests(programs: &[PathBuf], output: &Path, stop: &Stop) -> Result<Verdict, String> {
    let (mut failed, mut passed, mut cpu) = (Vec::new(), 0, Duration::ZERO);
    for program in programs {
        let mut command = Command::new(program);
        command.args(["--skip", READS_SOURCES]).env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
        let run = child::run_limited(&mut command, Limits::of(HANGS_AFTER), output, stop)?;
        cpu += run.cpu;
        let results = run.output.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
        for (name, result) in results {
            match result {
                "FAILED" => failed.push(name.to_owned()),
                _ => passed += 1,
            }
        }
        if !run.succeeded() && failed.is_empty() {
            failed.push(how_it_ended(&run));
        }
    }
    failed.sort();
    Ok(match failed.first() {
        Some(first) => Verdict::Caught { by: format!("{}, first {first}", failed.len()), cpu },
        None => Verdict::Survived { tried: format!("{passed} passed") },
    })
}

/// The seed that a line names, and the statement that it broke.
fn violation(line: &str) -> Option<(u64, String)> {
    let (seed, rest) = line.strip_prefix("seed ")?.split_once(' ')?;
    let (_, statement) = rest.split_once(": ")?;
    Some((seed.parse().ok()?, statement.to_owned()))
}

/// How a program ended that tells nothing better.
fn how_it_ended(run: &Finished) -> String {
    let panic = run.output.lines().position(|line| line.contains("panicked at"));
    match (run.status, panic) {
        (None, _) => "it has no end".to_owned(),
        (Some(_), Some(at)) => {
            format!("panic: {}", run.output.lines().nth(at + 1).unwrap_or_default())
        }
        (Some(status), None) => format!("it ends with {status}"),
    }
}
