//! Texts that are scanned whole and in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::mask::fuzz_mask_stream(data);
});
