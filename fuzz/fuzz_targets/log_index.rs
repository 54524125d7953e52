//! The index of a segment of the audit log, as a disk may give it back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::audit::fuzz_index(data);
});
