//! `raft_fuzz::targets::lying_storage`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::lying_storage(data));
