//! The head of a CONNECT request, as a proxy would receive it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::http::fuzz_connect_head(data);
});
