//! The mutants fit the tree, and their table names them.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use raft_fuzz::mutants::{
    Limits, Mutant, Scratch, Severity, Stop, Trial, Verdict, catalogue, checks_out, listing, run_limited,
    summary, table,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

#[test]
fn every_mutant_applies_to_the_tree() {
    let folder = root().join("fuzz/mutants");
    if let Err(wrong) = checks_out(&root(), &folder) {
        panic!("fuzz/mutants/README.md tells how to refresh a patch\n{wrong}");
    }
}

/// The rows of a table of mutants.
fn rows(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("| `")).collect()
}

#[test]
fn the_table_of_mutants_names_exactly_those_that_exist() {
    let folder = root().join("fuzz/mutants");
    let listed = listing(&catalogue(&folder).unwrap());
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let (known, expected) = (rows(&readme), rows(&listed));
    let missing: Vec<&&str> = expected.iter().filter(|row| !known.contains(row)).collect();
    let gone: Vec<&&str> = known.iter().filter(|row| !expected.contains(row)).collect();
    let again = "print the table anew: cargo run -p raft-fuzz --bin mutants -- --list";
    assert!(missing.is_empty() && gone.is_empty(), "{again}\nmissing: {missing:#?}\nto go: {gone:#?}");
    assert_eq!(known.len(), expected.len(), "{again}: a row stands there twice");
}

const HEAD: &str = "number: own\nseverity: S0\nclass: EL\nbreaks: One and one\n  is two.\n\n";

/// A patch of the one line of `sum.txt`.
fn patch(before: &str) -> String {
    format!("{HEAD}--- a/sum.txt\n+++ b/sum.txt\n@@ -1 +1 @@\n-{before}\n+1 + 1 = 3\n")
}

/// A repository that holds `sum.txt`, and these patches in `mutants`.
fn repository(patches: &[(&str, String)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("sum.txt"), "1 + 1 = 2\n").unwrap();
    let folder = root.path().join("mutants");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in patches {
        std::fs::write(folder.join(format!("{name}.patch")), text).unwrap();
    }
    let made = Command::new("git").args(["init", "--quiet"]).current_dir(root.path()).status();
    assert!(made.expect("git is needed").success());
    root
}

#[test]
fn a_mutant_is_put_into_the_copy_only_and_taken_out_again() {
    let root = repository(&[("wrong_sum", patch("1 + 1 = 2"))]);
    let mutants = catalogue(&root.path().join("mutants")).unwrap();
    assert_eq!((mutants[0].breaks.as_str(), mutants[0].severity), ("One and one is two.", Severity::S0));

    let elsewhere = tempfile::tempdir().unwrap();
    let scratch = Scratch::new(root.path(), elsewhere.path()).unwrap();
    let copy = || std::fs::read_to_string(elsewhere.path().join("tree/sum.txt")).unwrap();
    scratch.apply(&mutants[0]).unwrap();
    std::fs::write(elsewhere.path().join("tree/left-over"), "by a test").unwrap();
    assert_eq!(copy(), "1 + 1 = 3\n");
    assert_eq!(std::fs::read_to_string(root.path().join("sum.txt")).unwrap(), "1 + 1 = 2\n");

    scratch.restore().unwrap();
    assert_eq!(copy(), "1 + 1 = 2\n");
    assert!(!elsewhere.path().join("tree/left-over").exists());
}

#[test]
fn a_copy_below_the_repository_is_not_taken_for_a_part_of_it() {
    // Where git finds a repository above, it leaves out without a word what the patch doesn't name from its root.
    let root = repository(&[("wrong_sum", patch("1 + 1 = 2"))]);
    let mutants = catalogue(&root.path().join("mutants")).unwrap();
    std::fs::write(root.path().join(".gitignore"), "/target\n").unwrap();
    let scratch = Scratch::new(root.path(), &root.path().join("target/0")).unwrap();
    scratch.apply(&mutants[0]).unwrap();
    let copy = std::fs::read_to_string(root.path().join("target/0/tree/sum.txt")).unwrap();
    assert_eq!(copy, "1 + 1 = 3\n");
}

#[test]
fn a_patch_that_does_not_fit_is_named() {
    let fits = patch("1 + 1 = 2");
    let root = repository(&[("fits", fits.clone()), ("stale", patch("2 + 2 = 4"))]);
    let wrong = checks_out(root.path(), &root.path().join("mutants")).unwrap_err();
    assert!(wrong.starts_with("stale: ") && !wrong.contains("fits: "), "{wrong}");
    let headless = fits.replace("severity: S0\n", "");
    let root = repository(&[("headless", headless)]);
    let wrong = catalogue(&root.path().join("mutants")).unwrap_err();
    assert!(wrong.contains("'severity:' is missing"), "{wrong}");
}

/// A mutant of that name, and what came of it.
fn trial(name: &str, verdicts: [Verdict; 3], explained: Option<&str>) -> Trial {
    let mutant = Mutant {
        name: name.to_owned(),
        number: "own".to_owned(),
        severity: Severity::S0,
        class: "EL".to_owned(),
        breaks: "a rule".to_owned(),
        only: None,
        explained: explained.map(str::to_owned),
        patch: PathBuf::new(),
    };
    Trial { mutant, result: Ok(verdicts) }
}

#[test]
fn the_summary_tells_which_mutants_want_looking_at() {
    let caught = |by: &str| Verdict::Caught { by: by.to_owned(), cpu: Duration::from_millis(1_500) };
    let survived = || Verdict::Survived { tried: "9 runs".to_owned() };
    let trials = [
        trial("both", [caught("1, first a"), Verdict::NotRun, caught("seed 3: 1: two lead")], None),
        trial("by_tests", [caught("2, first b"), survived(), survived()], None),
        trial("missed", [survived(), survived(), survived()], None),
        trial("equal", [survived(), survived(), survived()], Some("it is the same")),
    ];
    let text = summary(&trials);
    assert!(text.starts_with("4 mutants: 2 caught, 1 explained, 1 survived\n"), "{text}");
    assert!(text.contains("simulator: 1 of 4 caught, after 1.5 s"), "{text}");
    assert!(text.contains("S0, not caught by the simulator: by_tests, missed\n"), "{text}");
    assert!(text.contains("\nsurvived: missed\n"), "{text}");
    let rows = table(&trials);
    let column = |row: &str, cell: &str| row.find(cell).unwrap_or_else(|| panic!("no {cell} in {row}"));
    let lines: Vec<&str> = rows.lines().collect();
    assert_eq!(column(lines[0], "simulator"), column(lines[1], "1.5 s: seed 3"));
}

#[test]
fn a_program_without_an_end_is_ended() {
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "echo begun; exec sleep 1000"]);
    let limits = Limits::of(Duration::from_millis(200));
    let finished = run_limited(&mut command, limits, output.path(), &Stop::default()).unwrap();
    assert!(finished.status.is_none() && !finished.succeeded());
    assert_eq!(finished.output, "begun\n");
}
