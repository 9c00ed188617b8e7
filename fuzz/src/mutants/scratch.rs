//! A copy of the sources that is broken and built, over and over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child::{self, Finished, Limits, Stop};
use super::{Means, Mutant, catalogue};

/// The tree that is broken, with a target folder of its own so that a mutant costs no more than what it changes.
#[derive(Debug)]
pub struct Scratch {
    origin: PathBuf,
    tree: PathBuf,
    target: PathBuf,
    output: PathBuf,
}

/// The longest that a build may take: the first builds everything.
const BUILD_TIME: Duration = Duration::from_secs(1_200);

/// Building takes more memory than what is built.
const BUILD_MEMORY: u64 = 16 << 20;

impl Scratch {
    /// A copy of `origin` below `folder`, which may be left from an earlier run.
    ///
    /// # Errors
    /// What can't be read or written.
    pub fn new(origin: &Path, folder: &Path) -> Result<Scratch, String> {
        let scratch = Scratch {
            origin: origin.to_owned(),
            tree: folder.join("tree"),
            target: folder.join("target"),
            output: folder.join("output.txt"),
        };
        std::fs::create_dir_all(&scratch.tree).map_err(|error| format!("{}: {error}", folder.display()))?;
        scratch.restore()?;
        Ok(scratch)
    }

    /// Where what a program prints passes through.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// Makes the tree equal to the original again. What is equal isn't touched, so that it needn't be built.
    ///
    /// # Errors
    /// What can't be read or written.
    pub fn restore(&self) -> Result<(), String> {
        let files = sources(&self.origin)?;
        for file in &files {
            let (from, to) = (self.origin.join(file), self.tree.join(file));
            let failed = |error: std::io::Error| format!("{}: {error}", from.display());
            let content = std::fs::read(&from).map_err(failed)?;
            if std::fs::read(&to).is_ok_and(|present| present == content) {
                continue;
            }
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            std::fs::write(&to, content).map_err(failed)?;
        }
        remove_others(&self.tree, Path::new(""), &files)
    }

    /// Applies a mutant to the tree, which must be equal to the original.
    ///
    /// # Errors
    /// The patch doesn't fit, in the words of git.
    pub fn apply(&self, mutant: &Mutant) -> Result<(), String> {
        git_apply(&self.tree, &mutant.patch, &[])
    }

    /// Builds what a means needs. Gives the programs to run.
    ///
    /// # Errors
    /// The compiler's first error, or the run is to end.
    pub fn build(&self, means: Means, stop: &Stop) -> Result<Vec<PathBuf>, String> {
        let (what, programs): (&[&str], usize) = match means {
            Means::Tests => (&["test", "--no-run", "-p", "raft-core", "--lib", "--test", "it"], 2),
            Means::Scenarios => (&["build", "-p", "raft-fuzz", "--bin", "scenario"], 1),
            Means::Simulator => (&["build", "-p", "raft-fuzz", "--bin", "simulate"], 1),
        };
        let built = self.cargo(what, stop)?;
        let found: Vec<PathBuf> = built.output.lines().filter_map(executable).collect();
        if found.len() != programs {
            return Err(format!("{means} are {} programs and not {programs}", found.len()));
        }
        Ok(found)
    }

    fn cargo(&self, arguments: &[&str], stop: &Stop) -> Result<Finished, String> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(arguments)
            .args(["--profile", "mutants", "--locked", "--message-format", "json"])
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_TERM_COLOR", "never")
            .env_remove("CARGO_INCREMENTAL");
        let limits = Limits { time: BUILD_TIME, memory: BUILD_MEMORY };
        let built = child::run_limited(&mut command, limits, &self.output, stop)?;
        if !built.succeeded() {
            return Err(format!("it does not build: {}", first_error(&built.output)));
        }
        Ok(built)
    }
}

/// The executable that a line of cargo's messages names.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}

fn first_error(output: &str) -> String {
    let rendered = output.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(message.get("message")?.get("rendered")?.as_str()?.to_owned())
    });
    let plain = output.lines().map(str::to_owned);
    let error = rendered.chain(plain).find(|text| text.trim_start().starts_with("error"));
    error.unwrap_or_else(|| "no error is printed".to_owned()).lines().take(6).collect::<Vec<_>>().join(" ")
}

/// The files of a tree that git knows or would know, below its root.
fn sources(root: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git")
        .args(list)
        .current_dir(root)
        .output()
        .map_err(|error| format!("git is needed and can't be run: {error}"))?;
    if !listed.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim()));
    }
    let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let files = names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()));
    // One that was deleted and not yet committed is still listed.
    Ok(files.filter(|file| root.join(file).is_file()).collect())
}

/// Removes what isn't among `files`, below the folder `inside` of `tree`.
fn remove_others(tree: &Path, inside: &Path, files: &BTreeSet<PathBuf>) -> Result<(), String> {
    let folder = tree.join(inside);
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = inside.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            remove_others(tree, &name, files)?;
        } else if !files.contains(&name) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn git_apply(tree: &Path, patch: &Path, options: &[&str]) -> Result<(), String> {
    let mut command = Command::new("git");
    command.arg("apply").args(options).arg(patch).current_dir(tree);
    if let Some(above) = tree.parent() {
        // Below a repository git would leave out, without a word, what isn't named from that repository's root.
        command.env("GIT_CEILING_DIRECTORIES", above);
    }
    let applied = command.output().map_err(|error| format!("git is needed and can't be run: {error}"))?;
    if applied.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&applied.stderr);
    Err(format!("it does not apply: {}", why.trim().replace('\n', "; ")))
}

/// Does every mutant of `folder` apply to the tree at `root`?
///
/// # Errors
/// Those that don't, one a line; or git can't be run.
pub fn checks_out(root: &Path, folder: &Path) -> Result<(), String> {
    let wrong: Vec<String> = catalogue(folder)?
        .iter()
        .filter_map(|mutant| {
            let error = git_apply(root, &mutant.patch, &["--check"]).err()?;
            Some(format!("{}: {error}", mutant.name))
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
