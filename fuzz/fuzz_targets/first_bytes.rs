//! What a connection's first bytes are taken for.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::proxy::fuzz_first_bytes(data);
});
