//! Proofs that the log goes on from an earlier state, and what witnesses answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::audit::fuzz_consistency(data);
    interceptor::audit::fuzz_cosignature(data);
});
