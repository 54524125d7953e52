//! Texts that are scanned as ever and in the simplest way.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::mask::fuzz_scan_reference(data);
});
