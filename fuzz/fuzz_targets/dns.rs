//! DNS messages, as a resolver or somebody in its place sends them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::capture::dns::fuzz_dns(data);
});
