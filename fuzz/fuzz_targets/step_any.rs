//! `raft_fuzz::targets::step_any`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::step_any(data));
