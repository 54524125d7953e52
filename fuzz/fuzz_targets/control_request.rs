//! What a peer of the control socket may send.
#![no_main]

use interceptor::daemon::control::Request;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let said = serde_json::to_vec(&request).expect("a request is plain data");
        assert_eq!(serde_json::from_slice::<Request>(&said).expect("what we say, we understand"), request);
    }
});
