//! JSON Lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::wire::fuzz_lines(data);
});
