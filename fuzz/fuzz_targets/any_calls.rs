//! `raft_fuzz::targets::any_calls`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::any_calls(data));
