//! The command `scenario`: what it prints, how it counts, and with which code it ends.
#![allow(missing_docs)]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Code and standard output.
fn run(arguments: &[&Path]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_scenario")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

const GOOD: &str = "add-nodes 1 voters=(1) index=2\n----\nok\n\ncampaign 1\n----\nok\n";
/// Two directives differ: the second and the third.
const BAD: &str = "add-nodes 1 voters=(1) index=2\n----\nok\n\n\
    raft-state\n----\n1: StateFollower (Voter) Term:1 Lead:0\n\ncampaign 1\n----\nnever\n";

/// A folder with scripts of these names.
fn folder(scripts: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in scripts {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn last_line(output: &str) -> &str {
    output.lines().last().unwrap()
}

#[test]
fn all_pass() {
    let folder = folder(&[("a.txt", GOOD.as_bytes()), ("below/b.txt", GOOD.as_bytes())]);
    assert_eq!(run(&[folder.path()]), (Some(0), "2 passed, 0 failed\n".to_owned()));
    let file = folder.path().join("a.txt");
    assert_eq!(run(&[&file, folder.path()]), (Some(0), "3 passed, 0 failed\n".to_owned()));
}

#[test]
fn a_failure_is_shown_by_its_first_difference_and_the_rest_is_run() {
    let folder =
        folder(&[("a.txt", BAD.as_bytes()), ("b.txt", GOOD.as_bytes()), ("c/d.txt", BAD.as_bytes())]);
    let (code, output) = run(&[folder.path()]);
    assert_eq!(code, Some(1), "{output}");
    for name in ["a.txt", "c/d.txt"] {
        let shown = format!(
            "{}: line 5: raft-state\n  - 1: StateFollower (Voter) Term:1 Lead:0\n  + 1: StateFollower (Voter) Term:0 Lead:0\n",
            folder.path().join(name).display()
        );
        assert!(output.contains(&shown), "{output}");
    }
    assert!(!output.contains("never"), "a later difference is shown:\n{output}");
    assert_eq!(last_line(&output), "1 passed, 2 failed");
}

#[test]
fn what_cannot_be_read_is_a_failure_and_the_rest_is_run() {
    let folder = folder(&[
        ("a.txt", b"add-nodes 1 voters=(1) index=2"),
        ("b.txt", b"\xff\xfe"),
        ("c.txt", GOOD.as_bytes()),
        ("notes.md", b"no script"),
    ]);
    let nowhere = folder.path().join("nowhere.txt");
    let (code, output) = run(&[&nowhere, folder.path()]);
    assert_eq!(code, Some(1), "{output}");
    for (name, why) in [
        ("nowhere.txt", "No such file"),
        ("a.txt", "line 1: the directive has no ----"),
        ("b.txt", "valid UTF-8"),
    ] {
        let line =
            output.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {output}"));
        assert!(line.contains(why), "{line}");
    }
    assert_eq!(last_line(&output), "1 passed, 3 failed");
}

#[test]
fn a_folder_without_scripts_is_a_failure() {
    let folder = folder(&[("good.txt", GOOD.as_bytes()), ("empty/notes.md", b"no script")]);
    let (code, output) = run(&[&folder.path().join("empty"), &folder.path().join("good.txt")]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("empty: there are no scripts"), "{output}");
    assert_eq!(last_line(&output), "1 passed, 1 failed");
}

#[test]
fn without_a_path_it_says_how_it_is_used() {
    assert_eq!(run(&[]), (Some(2), String::new()));
    assert_eq!(run(&[Path::new("--no-such-option")]), (Some(2), String::new()));
}
