//! What passes between a daemon and its successor.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::audit::fuzz_messages(data);
    interceptor::daemon::handover::fuzz_handover(data);
});
