//! Proofs that a record is in the log.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::audit::fuzz_proof(data);
});
