//! What receivers of records answer: JSON, XML, protobuf, anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::sinks::fuzz_answer(data);
});
