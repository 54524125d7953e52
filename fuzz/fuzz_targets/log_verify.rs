//! The verifier on a log whose files were changed: it never says that all is well when something that was signed is not
//! what it was.
#![no_main]

use interceptor::audit::{Verdict, verify};

#[path = "../log/mod.rs"]
mod log;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let original = log::original();
    let files = log::mutated(data);
    original.put(&files);
    match verify(&original.audit(), &original.trust()) {
        // An older checkpoint covers less, and a local log cannot tell that it was put back.
        Ok(Verdict::Intact(_)) => {
            let newest = files.get("checkpoint") != Some(&original.older_checkpoint);
            assert!(!newest || original.has_all_signed(&files), "signed records were changed");
        }
        Ok(Verdict::Faulty(fault)) => assert!(!fault.reason.is_empty() && !fault.file.is_empty()),
        Err(_) => {}
    }
});
