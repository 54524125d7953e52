//! Forms with files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::wire::fuzz_multipart(data);
});
