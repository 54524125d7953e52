//! A client's TLS hello, cut in different ways.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::tls::fuzz_client_hello(data);
});
