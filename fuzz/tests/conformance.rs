//! Scripts whose expected output came from etcd's own code, and those about quorums and configurations.
#![allow(missing_docs)]

use std::path::PathBuf;

use raft_fuzz::scenario::{Outcome, run_file, scripts};

/// Scripts of a feature of raft-rs that this core doesn't have yet.
const LATER: [&str; 1] = ["joint_group_commit.txt"];

fn all_pass(folder: &str, at_least: usize) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance").join(folder);
    assert!(
        path.is_dir(),
        "the conformance scripts are missing: {} must be a folder beside the project's own",
        path.display()
    );
    let files = scripts(&path).unwrap();
    assert!(files.len() >= at_least, "{folder} holds {} scripts", files.len());
    let mut failures = Vec::new();
    for file in files.iter().filter(|file| LATER.iter().all(|later| !file.ends_with(later))) {
        match run_file(file) {
            Outcome::Passed => {}
            Outcome::Failed(difference) => failures.push(format!("{}: {difference}", file.display())),
            Outcome::Unreadable(error) => failures.push(format!("{}: {error}", file.display())),
        }
    }
    assert!(failures.is_empty(), "{} scripts of {folder} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn etcds_own_scripts() {
    all_pass("etcd", 20);
}

#[test]
fn random_scripts() {
    all_pass("generated", 300);
}

#[test]
fn random_scripts_with_reads_limits_and_restarts() {
    all_pass("extended", 60);
}

#[test]
fn quorums() {
    all_pass("quorum", 5);
}

#[test]
fn changes_of_a_configuration() {
    all_pass("confchange", 9);
}

#[test]
fn where_etcd_panics_this_core_refuses_and_goes_on() {
    all_pass("panics", 82);
}
