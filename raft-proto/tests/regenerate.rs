//! What prost generates of `proto/raft.proto` is checked in: our encoding is compared with it, here and by the fuzzer. This test is
//! the generator, and it checks that what is checked in is what it would write.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

#[test]
fn the_generated_code_is_that_of_the_proto_file() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = home.join("tests/prost/raftpb.rs");

    let descriptors = protox::compile(["raft.proto"], [home.join("proto")]).expect("raft.proto is valid");
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("prost-build generates code");
    let generated = fs::read_to_string(out.path().join("raftpb.rs")).unwrap();

    if std::env::var_os("REGENERATE").is_some() {
        fs::write(&checked_in, generated).unwrap();
        return;
    }
    assert!(
        fs::read_to_string(&checked_in).unwrap_or_default() == generated,
        "raft-proto/tests/prost/raftpb.rs isn't what raft-proto/proto/raft.proto generates.\n\
         Run REGENERATE=1 cargo test -p raft-proto --test regenerate, and commit the result."
    );
}
