//! Coded bodies, whole and cut in different ways.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::http::fuzz_coding(data);
});
