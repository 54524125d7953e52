//! Load whose acknowledgements are kept, and checked against what is in the log afterwards.

use super::*;

/// How much of a suite is run: `quick` with the other tests, `full` where `cargo xtask soak log-crash` asks for it.
pub(super) fn size(suite: &str, quick: usize, full: usize) -> usize {
    let all = std::env::var("INTERCEPTOR_TEST_AUDIT").is_ok_and(|asked| asked.split(' ').any(|asked| asked == suite));
    if all { full } else { quick }
}

/// What the log has acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Requests that may leave.
    pub(super) begun: Vec<ExchangeId>,
    /// Exchanges whose end is recorded.
    pub(super) ended: Vec<ExchangeId>,
}

/// The body that only the request `id` has, some `bytes` long at most.
pub(super) fn body(id: ExchangeId, bytes: usize) -> String {
    let bytes = 40 + usize::from(u16::from_be_bytes([id.as_bytes()[14], id.as_bytes()[15]])) % bytes;
    id.to_string().repeat(bytes.div_ceil(36))
}

/// Runs exchanges one after another, as far as they are taken, and keeps what is acknowledged.
pub(super) fn load(log: &Log, kept: &mut Kept, exchanges: usize, bytes: usize) {
    let Ok(worker) = log.worker() else { return };
    run(async {
        for _ in 0..exchanges {
            let id = ExchangeId::new();
            let text = body(id, bytes);
            let outgoing = Outgoing { head: HEAD, body: text.as_bytes() };
            let Ok((mut exchange, _)) = worker.begin(Record::new(id), ORIGINAL, outgoing).await else { continue };
            kept.begun.push(id);
            // Nobody waits for these: pages that a crash may keep or lose.
            for _ in 0..3 {
                let _ = exchange.chunk(text.as_bytes()).await;
            }
            if let Ok(durable) = exchange.complete(&Completion::default()).await
                && durable.await.is_ok()
            {
                kept.ended.push(id);
            }
        }
    });
}

impl Kept {
    /// What is done after a restart.
    pub(super) fn write_one(mut self, place: &Place) {
        let log = place.open();
        load(&log, &mut self, 1, 100);
        log.close().unwrap();
        assert_eq!(self.ended.len(), 1);
        self.check(place, "what was written after a restart");
    }

    /// Everything acknowledged is there and as it was, everything else is whole.
    pub(super) fn check(&self, place: &Place, case: &str) {
        match place.verify() {
            Verdict::Intact(_) => {}
            Verdict::Faulty(fault) => panic!("{case}: {fault}"),
        }
        let mut reader = place.reader();
        assert!(reader.damage().is_empty(), "{case}: {:?}", reader.damage());
        let mut states = std::collections::HashMap::new();
        for at in located(&mut reader) {
            let record = reader.record(&at).unwrap_or_else(|e| panic!("{case}: {e}"));
            let masked = record.request.masked.unwrap_or_else(|| panic!("{case}: {} has no request", record.id));
            let whole = masked.text.as_bytes().chunks(36).all(|piece| piece == record.id.to_string().as_bytes());
            assert!(whole && !masked.text.is_empty(), "{case}: {} was altered: {}", record.id, masked.text);
            states.insert(record.id, record.state);
        }
        for id in &self.begun {
            assert!(states.contains_key(id), "{case}: {id} is lost");
        }
        for id in &self.ended {
            assert_eq!(states.get(id), Some(&State::Complete), "{case}: {id} had ended");
        }
    }
}
