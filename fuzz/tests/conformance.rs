//! Scripts whose expected output came from etcd's own code, and those about quorums and configurations. They stand in a folder
//! beside the project's own, `../shared/conformance`.
#![allow(missing_docs)]

use std::io::Write;
use std::path::PathBuf;

use raft_fuzz::scenario::{run_file, scripts};

fn all_pass(folder: &str, at_least: usize) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance").join(folder);
    if !path.is_dir() {
        let mut missing = format!(
            "the conformance scripts are missing, {folder} is not compared: no folder {}",
            path.display()
        );
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        // Whoever has only the repository can't run them, and is told so; not by `eprintln!`, which the harness keeps to itself.
        missing.push('\n');
        std::io::stderr().write_all(missing.as_bytes()).unwrap();
        return;
    }
    let files = scripts(&path).unwrap();
    assert!(files.len() >= at_least, "{folder} holds {} scripts", files.len());
    let mut failures = Vec::new();
    for file in &files {
        failures.extend(run_file(file).failure().map(|why| format!("{}: {why}", file.display())));
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
