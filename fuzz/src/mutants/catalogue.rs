//! The patches, and what stands above each of them.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Means;

/// How bad a fault is, as in the list of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Committed data is lost, two nodes lead, or state machines differ.
    S0,
    /// A stale read, a false acknowledgement, or an invariant that is one step from S0.
    S1,
    /// Nothing goes on, for ever.
    S2,
    /// A panic on legal input.
    S3,
    /// Memory, extra work, or nothing goes on for a while.
    S4,
}

impl Severity {
    /// The severity of this name.
    pub fn named(name: &str) -> Option<Severity> {
        [Severity::S0, Severity::S1, Severity::S2, Severity::S3, Severity::S4]
            .into_iter()
            .find(|severity| severity.to_string() == name)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A fault that can be put into the tree.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Its key in the list of faults, or a name of that kind; the patch is `NAME.patch`.
    pub name: String,
    /// Its number in the list, or "own".
    pub number: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it concerns: the two letters of the list.
    pub class: String,
    /// The rule that it breaks.
    pub breaks: String,
    /// The one means that can notice it, if it doesn't sit in the core.
    pub only: Option<Means>,
    /// Why nothing can notice it, if so.
    pub explained: Option<String>,
    /// The patch.
    pub patch: PathBuf,
}

/// All mutants of a folder, by name.
///
/// # Errors
/// What can't be read, or what is missing above a patch.
pub fn catalogue(folder: &Path) -> Result<Vec<Mutant>, String> {
    let unreadable = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut mutants = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            mutants.push(read(path)?);
        }
    }
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(mutants)
}

fn read(patch: PathBuf) -> Result<Mutant, String> {
    let wrong = |what: &str| format!("{}: {what}", patch.display());
    let text = std::fs::read_to_string(&patch).map_err(|error| wrong(&error.to_string()))?;
    let head: Vec<&str> = text.lines().take_while(|line| !line.starts_with("--- ")).collect();
    let field = |name: &str| {
        let at = head.iter().position(|line| line.split_once(':').is_some_and(|(key, _)| key == name))?;
        let (_, first) = head[at].split_once(':')?;
        let rest = head[at + 1..].iter().take_while(|line| line.starts_with("  "));
        Some(rest.fold(first.trim().to_owned(), |all, line| format!("{all} {}", line.trim())))
    };
    let needed = |name: &str| field(name).ok_or_else(|| wrong(&format!("'{name}:' is missing above it")));
    let only = match field("only") {
        None => None,
        Some(means) => Some(Means::named(&means).ok_or_else(|| wrong("'only:' names no means"))?),
    };
    Ok(Mutant {
        name: patch.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        number: needed("number")?,
        severity: Severity::named(&needed("severity")?).ok_or_else(|| wrong("there is no such severity"))?,
        class: needed("class")?,
        breaks: needed("breaks")?,
        only,
        explained: field("explained"),
        patch,
    })
}

/// The mutants as a table in Markdown, as it stands in `fuzz/mutants/README.md`.
pub fn listing(mutants: &[Mutant]) -> String {
    let mut table =
        "| mutant | number | severity | class | the rule that it breaks |\n|---|---|---|---|---|\n"
            .to_owned();
    for Mutant { name, number, severity, class, breaks, .. } in mutants {
        let _ = writeln!(table, "| `{name}` | {number} | {severity} | {class} | {breaks} |");
    }
    table
}
