//! Chunked bodies, cut in different ways.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::http::fuzz_body(data);
});
