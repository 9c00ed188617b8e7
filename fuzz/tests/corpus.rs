//! The fuzzer's corpus, through the same functions, on stable.
#![allow(missing_docs)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::{fs, io};

use raft_fuzz::targets::TARGETS;

/// The files of a corpus, in order.
fn corpus(name: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        files.push((file.file_name().to_string_lossy().into_owned(), fs::read(file.path())?));
    }
    files.sort();
    Ok(files)
}

#[test]
fn every_input_of_the_corpus_keeps_the_promises() {
    for (name, target) in TARGETS {
        let files = corpus(name).unwrap_or_else(|error| panic!("the corpus of {name}: {error}"));
        assert!(!files.is_empty(), "{name} has no corpus");
        for (file, bytes) in files {
            let result = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            assert!(result.is_ok(), "fuzz/corpus/{name}/{file}: the panic stands above");
        }
    }
}

/// A target that nothing calls would never fail.
#[test]
fn every_target_of_cargo_fuzz_is_one_of_the_library() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut names: Vec<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let mut known = TARGETS.map(|(name, _)| name.to_owned()).to_vec();
    names.sort();
    known.sort();
    assert_eq!(names, known);
}
