//! WebSocket frames of either side, cut in different ways.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::http::websocket::fuzz_websocket(data);
});
