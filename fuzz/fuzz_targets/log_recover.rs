//! Opening a log whose files were changed: nothing is lost that a signed checkpoint covers, whether it is opened or
//! refused; a refusal changes nothing; what was intact is opened and stays intact.
#![no_main]

use interceptor::audit::{Error, Log, Verdict, verify};

#[path = "../log/mod.rs"]
mod log;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let original = log::original();
    let before = log::mutated(data);
    original.put(&before);
    let intact = matches!(verify(&original.audit(), &original.trust()), Ok(Verdict::Intact(_)));
    let opened = Log::open(original.settings()).and_then(Log::close);
    let after = original.look();
    // An older checkpoint covers only the frames of the first life: those of the first segment.
    let first = &original.signed[0].0;
    let older = before.get("checkpoint") == Some(&original.older_checkpoint);
    for frame in original.signed.iter().filter(|frame| !older || frame.0 == *first) {
        assert!(!log::has(&before, frame) || log::has(&after, frame), "{} byte {} is lost: {opened:?}", frame.0, frame.1);
    }
    match opened {
        Ok(()) if intact => {
            let verdict = verify(&original.audit(), &original.trust());
            assert!(matches!(verdict, Ok(Verdict::Intact(_))), "it was intact before it was opened: {verdict:?}");
        }
        Ok(()) => {}
        Err(Error::Damaged { .. } | Error::Inconsistent { .. } | Error::NoCheckpoint { .. }) => {
            for (name, bytes) in before.iter().filter(|(name, _)| name.ends_with(".alog")) {
                assert_eq!(after.get(name), Some(bytes), "{name} was changed by a refusal");
            }
        }
        Err(_) => {}
    }
});
