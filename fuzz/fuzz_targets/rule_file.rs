//! Rule files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::mask::fuzz_rule_file(data);
});
