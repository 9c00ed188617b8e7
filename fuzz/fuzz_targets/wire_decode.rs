//! `raft_fuzz::targets::wire_decode`, driven by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| raft_fuzz::targets::wire_decode(data));
