//! Texts in which something is encoded.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::mask::fuzz_encoded(data);
});
