//! The reader on a log whose files were changed: it comes to an end, whatever it is asked for.
#![no_main]

use interceptor::audit::{Opener, Reader, Stream};

#[path = "../log/mod.rs"]
mod log;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let original = log::original();
    let files = log::mutated(data);
    original.put(&files);
    // Proofs are written with the checkpoint that is there: whoever checks them sees whose it is.
    let genuine = files.get("checkpoint") == original.files.get("checkpoint");
    let keys = original.keys();
    let mut opener = Opener::new(&keys, &original.secret);
    if let Ok(mut reader) = Reader::open(&original.audit()) {
        let _ = reader.poll();
        for index in 0..reader.len() {
            let _ = reader.record(index);
            let _ = reader.original(index, &mut opener);
            let _ = reader.response(index, &mut opener);
            for end in [false, true] {
                if let Ok(proof) = reader.prove(index, end)
                    && genuine
                {
                    proof.verify(&original.key).expect("what is given out as a proof is one");
                }
            }
        }
        let _ = reader.notes();
        assert!(reader.damage().len() < 1 << 16);
    }
    if let Ok(mut accesses) = Reader::open_stream(&original.audit(), Stream::Access) {
        let _ = accesses.poll();
        for index in 0..accesses.len() {
            let _ = accesses.access(index);
        }
    }
});
