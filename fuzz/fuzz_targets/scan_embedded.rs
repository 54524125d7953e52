//! Texts among others, near the beginning and far from it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::mask::fuzz_scan_embedded(data);
});
