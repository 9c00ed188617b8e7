//! The mutants fit the tree, and their table names them.
#![allow(missing_docs)]

use std::path::{Path, PathBuf};

use raft_fuzz::mutants::{catalogue, checks_out, listing};

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

#[test]
fn the_table_of_mutants_names_exactly_those_that_exist() {
    let folder = root().join("fuzz/mutants");
    let listed = listing(&catalogue(&folder).unwrap());
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let known: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<&str> = listed.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(known, expected, "print the table anew: cargo run -p raft-fuzz --bin mutants -- --list");
}
