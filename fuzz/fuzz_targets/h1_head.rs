//! Heads of HTTP/1.1 requests and responses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::http::fuzz_request_head(data);
    interceptor::http::fuzz_response_head(data);
});
