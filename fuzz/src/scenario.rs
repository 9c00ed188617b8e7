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
mod script;
mod store;

use std::fmt;
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

/// Runs a script. `name` is that of its file, under which `divergences.md` may list it.
pub fn run_text(name: &str, text: &str) -> Outcome {
    let directives = match script::parse(text) {
        Ok(directives) => directives,
        Err(error) => return Outcome::Unreadable(error),
    };
    let mut environment = environment::Environment::default();
    let mut arithmetic = arithmetic::Arithmetic::default();
    for directive in &directives {
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
            match environment.refusal_since(refused) {
                Ok(()) => return Outcome::Passed,
                Err(why) => actual = format!("{actual}({why})\n"),
            }
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
