//! The fuzz targets on stable: their corpus, and some inputs made of it.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use raft_fuzz::targets::{TARGETS, corpus, vary};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_input_of_the_corpus_keeps_the_promises() {
    for (name, target) in TARGETS {
        let files = corpus(name).unwrap_or_else(|error| panic!("the corpus of {name}: {error}"));
        assert!(!files.is_empty(), "{name} has no corpus");
        for (path, bytes) in files {
            assert!(catch_unwind(|| target(&bytes)).is_ok(), "{}: the panic is above", path.display());
        }
    }
}

#[test]
fn so_do_inputs_that_are_made_of_it() {
    for (name, target) in TARGETS {
        let inputs: Vec<Vec<u8>> = corpus(name).unwrap().into_iter().map(|(_, bytes)| bytes).collect();
        let mut rng = Rng::with_seed(7);
        for number in 1..=300 {
            let bytes = vary(&mut rng, &inputs);
            assert!(catch_unwind(|| target(&bytes)).is_ok(), "{name}, input {number}: the panic is above");
        }
    }
}

/// A target that no test calls would never fail here.
#[test]
fn every_target_of_cargo_fuzz_is_one_of_the_library() {
    let files = fs::read_dir(folder().join("fuzz_targets")).unwrap().map(|file| file.unwrap().path());
    let names: BTreeSet<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
}

/// `any_calls` is to call all that a user can call, with all that a user can set.
#[test]
fn every_public_method_of_a_node_is_called_and_every_setting_changed() {
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let core = folder().join("../raft-core/src");
    let targets = folder().join("src/targets");
    let calls = [read(&targets.join("calls.rs")), read(&targets.join("watched.rs"))].concat();
    let node = read(&core.join("raw_node.rs"));
    let methods = node.lines().filter_map(|line| line.strip_prefix("    pub fn "));
    let methods: BTreeSet<&str> = methods.filter_map(|rest| rest.split(['(', '<']).next()).collect();
    assert!(methods.contains("step"), "the source isn't as it was: {methods:?}");
    for name in methods {
        // Where the logs go changes nothing else.
        let called = name == "with_logger" || calls.contains(&format!("{name}("));
        assert!(called, "RawNode::{name} is new: let fuzz/src/targets/calls.rs call it");
    }
    let config = read(&core.join("config.rs"));
    let settings = config.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(": "));
    let settings: BTreeSet<&str> =
        settings.map(|(name, _)| name).filter(|name| !name.contains(' ')).collect();
    assert!(settings.contains("pre_vote"), "the source isn't as it was: {settings:?}");
    for name in settings {
        let changed = name == "id" || calls.contains(&format!("config.{name} = "));
        assert!(changed, "Config::{name} is new: let fuzz/src/targets/calls.rs change it");
    }
}
