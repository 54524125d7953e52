//! Messages of gRPC, cut in different ways.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    interceptor::wire::fuzz_grpc(data);
});
