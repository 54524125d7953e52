//! Tiles of the log's tree.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::audit::fuzz_tiles(data);
});
