//! Answers restored as a whole, as a stream, and as a stream in other pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::proxy::fuzz_restore(data);
});
