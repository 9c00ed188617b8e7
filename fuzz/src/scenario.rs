//! Runs scripts in etcd's interaction format against this core, and compares every line of the output.
//!
//! The format is described in `../shared/conformance/FORMAT.md`. The wording of messages is etcd's and lives here: the core
//! knows nothing of it. Writes that the core numbers are shown as the storage messages of etcd's asynchronous mode.

mod arithmetic;
mod commands;
mod divergence;
mod environment;
mod message;
mod print;
mod recovery;
mod script;
mod store;

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// How a script came out.
#[derive(Debug)]
pub enum Outcome {
    /// Every directive gave the expected output.
    Passed,
    /// The first directive that didn't.
    Failed(Difference),
    /// It isn't a script.
    Unreadable(String),
    /// The core, or the runner, panicked over it: at which directive, and with what message.
    Panicked(String),
}

impl Outcome {
    /// What is wrong with the script, if anything is.
    pub fn failure(&self) -> Option<String> {
        match self {
            Outcome::Passed => None,
            Outcome::Failed(difference) => Some(difference.to_string()),
            Outcome::Unreadable(why) | Outcome::Panicked(why) => Some(format!("{why}\n")),
        }
    }
}

/// A directive whose output isn't the expected one.
#[derive(Debug)]
pub struct Difference {
    /// The line of the directive.
    pub line: usize,
    /// The directive.
    pub directive: String,
    /// What the script expects.
    pub expected: String,
    /// What came.
    pub actual: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "line {}: {}", self.line, self.directive)?;
        let (expected, actual): (Vec<_>, Vec<_>) =
            (self.expected.lines().collect(), self.actual.lines().collect());
        let same = expected.iter().zip(&actual).take_while(|(a, b)| a == b).count();
        let (from, shown) = (same.saturating_sub(3), 12);
        for line in expected.iter().take(same).skip(from) {
            writeln!(f, "    {line}")?;
        }
        for line in expected.iter().skip(same).take(shown) {
            writeln!(f, "  - {line}")?;
        }
        for line in actual.iter().skip(same).take(shown) {
            writeln!(f, "  + {line}")?;
        }
        Ok(())
    }
}

/// What etcd panics with, in the scripts whose last directive makes it do so.
const PANIC: &str = "panic: ";

/// Runs a script. `name` is that of its file, under which `divergences.md` may list it. A panic is this script's failure.
pub fn run_text(name: &str, text: &str) -> Outcome {
    guarded(|at| match script::parse(text) {
        Ok(directives) => run_directives(name, &directives, at),
        Err(error) => Outcome::Unreadable(error),
    })
}

/// Runs it; a panic becomes the outcome. `run` notes the line that it is at.
fn guarded(run: impl FnOnce(&Cell<usize>) -> Outcome) -> Outcome {
    let at = Cell::new(0);
    catch_unwind(AssertUnwindSafe(|| run(&at))).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message =
            message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Outcome::Panicked(format!("line {}: a panic: {message}", at.get()))
    })
}

fn run_directives(name: &str, directives: &[script::Directive], at: &Cell<usize>) -> Outcome {
    let mut environment = environment::Environment::default();
    let mut arithmetic = arithmetic::Arithmetic::default();
    for directive in directives {
        at.set(directive.line);
        let refused = environment.refused();
        let mut actual = match arithmetic.run(directive) {
            Some(output) => output,
            None => environment.run(directive),
        };
        if !actual.is_empty() && !actual.ends_with('\n') {
            actual.push('\n');
        }
        if directive.expected.starts_with(PANIC) {
            // Where etcd dies, this core refuses, keeps its promises, and goes on.
            let well = environment.refusal_since(refused).and_then(|()| environment.goes_on());
            match well.and_then(|()| environment.half_done()) {
                Ok(()) => return Outcome::Passed,
                Err(why) => actual = format!("{actual}({why})\n"),
            }
        } else if let Err(why) = environment.half_done() {
            actual = format!("{actual}({why})\n");
        }
        // Where a divergence is recorded, etcd's output is as wrong as any other: the record is to be removed then.
        let ours = divergence::find(name, directive.line);
        let expected = ours.as_ref().unwrap_or(&directive.expected);
        if actual != *expected {
            return Outcome::Failed(Difference {
                line: directive.line,
                directive: directive.text.clone(),
                expected: expected.clone(),
                actual,
            });
        }
        if ours.is_some() {
            return Outcome::Passed;
        }
    }
    Outcome::Passed
}

/// Runs the script in a file.
pub fn run_file(path: &Path) -> Outcome {
    match std::fs::read_to_string(path) {
        Ok(text) => run_text(&path.file_name().unwrap_or_default().to_string_lossy(), &text),
        Err(error) => Outcome::Unreadable(error.to_string()),
    }
}

/// The scripts in a file or, if it is a folder, in all files below it.
///
/// # Errors
/// The folder can't be read.
pub fn scripts(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(scripts(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_failure_of_its_script() {
        let outcome = guarded(|at| {
            at.set(7);
            panic!("the core is in pieces {}", 3);
        });
        assert_eq!(outcome.failure().unwrap(), "line 7: a panic: the core is in pieces 3\n");
    }

    #[test]
    fn what_is_refused_must_not_be_done_in_part() {
        let directives = script::parse("add-nodes 1 voters=(1) index=2\n----\n").unwrap();
        let mut environment = environment::Environment::default();
        environment.run(&directives[0]);
        let node = &mut environment.nodes[0];
        assert_eq!(node.call(|_| Err::<(), _>("not now")), Err("not now"));
        assert_eq!(environment.half_done(), Ok(()));
        let refused = environment.nodes[0].call(|raw| {
            raw.tick();
            Err::<(), _>("too late")
        });
        assert_eq!(refused, Err("too late"));
        assert_eq!(environment.half_done(), Err("node 1 changed, though it refused: too late".to_owned()));
    }
}
