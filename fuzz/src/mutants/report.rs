//! What is shown of a run.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Means, Mutant, Severity, Verdict};

/// A mutant and what became of it.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The mutant.
    pub mutant: Mutant,
    /// What each of [`Means::ALL`] says; or why it couldn't be tried.
    pub result: Result<[Verdict; 3], String>,
}

impl Trial {
    fn is_caught_by(&self, means: Means) -> bool {
        self.verdict(means).is_some_and(Verdict::is_caught)
    }

    fn verdict(&self, means: Means) -> Option<&Verdict> {
        let verdicts = self.result.as_ref().ok()?;
        Means::ALL.iter().zip(verdicts).find(|(one, _)| **one == means).map(|(_, verdict)| verdict)
    }

    /// Did every means that was asked fail to notice it?
    pub fn survived(&self) -> bool {
        self.result.as_ref().is_ok_and(|verdicts| {
            verdicts.iter().any(|verdict| *verdict != Verdict::NotRun)
                && !verdicts.iter().any(Verdict::is_caught)
        })
    }

    /// In one line.
    pub fn line(&self) -> String {
        let Mutant { name, severity, .. } = &self.mutant;
        match &self.result {
            Ok(verdicts) => {
                let cells = Means::ALL
                    .iter()
                    .zip(verdicts)
                    .filter_map(|(means, verdict)| Some(format!("{means} {}", cell(verdict)?)));
                let cells: Vec<String> = cells.collect();
                format!("{name} ({severity}): {}", cells.join("; "))
            }
            Err(error) => format!("{name} ({severity}): ERROR: {error}"),
        }
    }
}

fn cell(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Caught { by, cpu } => Some(format!("{:.1} s: {by}", cpu.as_secs_f64())),
        Verdict::Survived { tried } => Some(format!("survived ({tried})")),
        Verdict::NotRun => None,
    }
}

/// How wide a column may get, by what is in it.
const WIDEST: usize = 60;

/// All trials, one a line, in aligned columns.
pub fn table(trials: &[Trial]) -> String {
    let mut rows = vec![["mutant", "severity", "tests", "scenarios", "simulator"].map(str::to_owned)];
    for trial in trials {
        let mut row = [
            trial.mutant.name.clone(),
            trial.mutant.severity.to_string(),
            String::new(),
            String::new(),
            String::new(),
        ];
        match &trial.result {
            Ok(verdicts) => {
                for (at, verdict) in row.iter_mut().skip(2).zip(verdicts) {
                    *at = cell(verdict).unwrap_or_else(|| "-".to_owned()).chars().take(WIDEST).collect();
                }
            }
            Err(error) => row[2] = format!("ERROR: {error}"),
        }
        rows.push(row);
    }
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count().min(WIDEST)).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table
}

/// The trials in numbers, and the names of those that want looking at.
pub fn summary(trials: &[Trial]) -> String {
    let mut text = String::new();
    let tried = trials.iter().filter(|trial| trial.result.is_ok()).count();
    let survivors = trials.iter().filter(|trial| trial.survived());
    let (explained, missed): (Vec<&Trial>, Vec<&Trial>) =
        survivors.partition(|trial| trial.mutant.explained.is_some());
    let _ = writeln!(
        text,
        "{tried} mutants: {} caught, {} explained, {} survived",
        tried - explained.len() - missed.len(),
        explained.len(),
        missed.len()
    );
    for means in Means::ALL {
        let asked = trials.iter().filter(|trial| trial.verdict(means).is_some_and(|v| *v != Verdict::NotRun));
        let caught = trials.iter().filter(|trial| trial.is_caught_by(means));
        let _ =
            writeln!(text, "{means}: {} of {} caught{}", caught.count(), asked.count(), times(trials, means));
    }
    let lacking = |means: &[Means]| {
        let bad = trials.iter().filter(|trial| trial.mutant.severity == Severity::S0 && trial.result.is_ok());
        let lacks = bad.filter(|trial| {
            trial.mutant.explained.is_none()
                && !means.iter().any(|means| trial.is_caught_by(*means))
                && means.iter().any(|means| trial.verdict(*means).is_some_and(|v| *v != Verdict::NotRun))
        });
        names(lacks)
    };
    let lists = [
        ("S0, not caught by the simulator", lacking(&[Means::Simulator])),
        ("S0, not caught by a test or script", lacking(&[Means::Tests, Means::Scenarios])),
        ("survived, explained", names(explained.into_iter())),
        ("survived", names(missed.into_iter())),
        ("errors", names(trials.iter().filter(|trial| trial.result.is_err()))),
    ];
    for (title, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
        let _ = writeln!(text, "{title}: {names}");
    }
    text
}

fn names<'a>(trials: impl Iterator<Item = &'a Trial>) -> String {
    trials.map(|trial| trial.mutant.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// How soon a means notices what it notices.
fn times(trials: &[Trial], means: Means) -> String {
    let mut times: Vec<Duration> = trials
        .iter()
        .filter_map(|trial| match trial.verdict(means)? {
            Verdict::Caught { cpu, .. } => Some(*cpu),
            Verdict::Survived { .. } | Verdict::NotRun => None,
        })
        .collect();
    times.sort();
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(longest)) => format!(
            ", after {:.1} s of processor time in the median, {:.1} s at most",
            median.as_secs_f64(),
            longest.as_secs_f64()
        ),
        _ => String::new(),
    }
}
