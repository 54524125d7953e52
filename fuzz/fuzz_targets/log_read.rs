//! The reader on a log whose files were changed: it comes to an end, whatever it is asked for.
#![no_main]

use interceptor::audit::{Everything, Located, Opener, Query, Reader, Stream};

#[path = "../log/mod.rs"]
mod log;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let original = log::original();
    let files = log::mutated(data);
    original.put(&files);
    // Proofs are written with the checkpoint that is there: whoever checks them sees whose it is.
    let genuine = files.get("checkpoint") == original.files.get("checkpoint");
    let keys = original.keys();
    let mut opener = Opener::new(&keys, std::slice::from_ref(&original.secret));
    if let Ok(mut reader) = Reader::open(&original.audit()) {
        for at in located(&mut reader) {
            let _ = reader.record(&at);
            let _ = reader.original(&at, &mut opener);
            let _ = reader.response(&at, &mut opener);
            for end in [false, true] {
                if let Ok(proof) = reader.prove(&at, end)
                    && genuine
                {
                    proof.verify(&original.key).expect("what is given out as a proof is one");
                }
            }
        }
        let _ = reader.notes(|_| true);
        assert!(reader.damage().len() < 1 << 16);
    }
    if let Ok(mut accesses) = Reader::open_stream(&original.audit(), Stream::Access) {
        for at in located(&mut accesses) {
            let _ = accesses.access(&at);
        }
    }
});

fn located(reader: &mut Reader) -> Vec<Located> {
    let (mut query, mut records) = (Query::oldest_first(&Everything), Vec::new());
    while let Ok(Some(at)) = query.located(reader) {
        records.push(at);
    }
    records
}
