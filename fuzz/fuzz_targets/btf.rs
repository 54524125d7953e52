//! The kernel's description of its own types.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::capture::fuzz_btf(data);
});
