//! Stapled OCSP responses, as an endpoint or somebody in its place sends them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::tls::fuzz_ocsp(data);
});
