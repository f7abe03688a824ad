//! See `host/src/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dbos_host::fuzz::run("sql_statement", data));
