//! Loss of power and torn writes, simulated on the files.

use std::fs;
use std::path::Path;

use super::super::header::HEADER;
use super::*;

/// A log that was killed: the files as they are while it is open, and when each record was acknowledged.
struct Crashed {
    place: Place,
    acknowledged: Vec<ExchangeId>,
    /// Files as they were when the last record was acknowledged as durable.
    durable: tempfile::TempDir,
    /// Files with more frames that nobody waited for.
    after: tempfile::TempDir,
}

fn crashed(records: usize, chunks: usize) -> Crashed {
    let place = Place::new();
    let (durable, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = place.open();
    let mut worker = log.worker().unwrap();
    let mut acknowledged = Vec::new();
    run(async {
        for _ in 0..records {
            acknowledged.push(exchange(&mut worker, &[b"data"]).await);
        }
        let id = ExchangeId::new();
        let (mut open, _) = worker.begin(Record::new(id), ORIGINAL, outgoing()).await.unwrap();
        acknowledged.push(id);
        copy_dir(&place.audit(), durable.path());
        for n in 0..chunks {
            open.chunk(&vec![n as u8; 100 + 700 * n % 5000]).await.unwrap();
        }
        copy_dir(&place.audit(), after.path());
        open.complete(&Completion::default()).await.unwrap().await.unwrap();
    });
    log.close().unwrap();
    Crashed { place, acknowledged, durable, after }
}

impl Crashed {
    /// Puts the state after the crash in place.
    fn restore(&self, from: &Path) {
        fs::remove_dir_all(self.place.audit()).unwrap();
        copy_dir(from, &self.place.audit());
    }

    /// Opens and closes the log; everything acknowledged must be there and verify, and so must what follows.
    fn recovers(&self, case: &str) {
        let log = Log::open(self.place.settings()).unwrap_or_else(|e| panic!("{case}: {e}"));
        let after = run(exchange(&mut log.worker().unwrap(), &[]));
        log.close().unwrap();
        let Verdict::Intact(_) = self.place.verify() else { panic!("{case}: {}", self.place.faulty()) };
        let mut reader = self.place.reader();
        for id in self.acknowledged.iter().chain([&after]) {
            let found = find(&mut reader, id).unwrap_or_else(|| panic!("{case}: {id}"));
            let record = reader.record(&found).unwrap();
            let expected = if Some(id) == self.acknowledged.last() { State::Aborted } else { State::Complete };
            assert_eq!(record.state, expected, "{case}: {id}");
        }
    }
}

#[test]
fn a_killed_writer_loses_nothing_and_its_open_exchange_is_aborted() {
    let crashed = crashed(2, 3);
    crashed.restore(crashed.after.path());
    crashed.recovers("as it was");
}

#[test]
fn a_tail_cut_or_damaged_at_any_offset_is_trimmed_and_kept_aside() {
    let crashed = crashed(1, 2);
    let name = "log-00000000000000000000.alog";
    let end = |dir: &Path| {
        let bytes = fs::read(dir.join(name)).unwrap();
        bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1
    };
    let (from, to) = (end(crashed.durable.path()), end(crashed.after.path()));
    assert!(from > HEADER && to > from + 500);
    for at in (from..to).step_by(7) {
        for case in ["cut", "damaged"] {
            crashed.restore(crashed.after.path());
            let path = crashed.place.audit().join(name);
            let mut bytes = fs::read(&path).unwrap();
            if case == "cut" {
                bytes[at..].fill(0);
            } else {
                bytes[at] ^= 0x55;
            }
            fs::write(&path, bytes).unwrap();
            crashed.recovers(&format!("{case} at {at}"));
        }
    }
    let aside = names(&crashed.place.audit()).into_iter().filter(|n| n.ends_with(".quarantine")).count();
    assert_eq!(aside, 1, "what was cut off is kept");
}

/// SplitMix64: a seed names a case.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[test]
fn damage_to_what_was_durable_is_no_torn_tail() {
    let crashed = crashed(2, 3);
    crashed.restore(crashed.after.path());
    let path = crashed.place.audit().join("log-00000000000000000000.alog");
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER + 200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Log::open(crashed.place.settings()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was truncated");
}

#[test]
fn a_later_frame_that_knows_of_durability_is_proof_without_a_checkpoint() {
    let crashed = crashed(2, 3);
    crashed.restore(crashed.after.path());
    fs::remove_file(crashed.place.audit().join("checkpoint")).unwrap();
    let path = crashed.place.audit().join("log-00000000000000000000.alog");
    let mut bytes = fs::read(&path).unwrap();
    bytes[HEADER + 200] ^= 1;
    fs::write(&path, bytes).unwrap();
    let settings = Settings { accept_missing_checkpoint: true, ..crashed.place.settings() };
    let error = Log::open(settings).unwrap_err();
    assert!(matches!(error, Error::Damaged { sequence: 0, .. }), "{error}");
}

#[test]
fn a_recovery_leaves_a_note_in_the_log() {
    let crashed = crashed(1, 2);
    crashed.restore(crashed.after.path());
    let path = crashed.place.audit().join("log-00000000000000000000.alog");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[end] ^= 1;
    fs::write(&path, bytes).unwrap();
    crashed.recovers("last byte damaged");
    let note = crashed.place.segments()[1..].iter().any(|path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(20).any(|w| w == br#"{"event":"recovered""#)
    });
    assert!(note);
}

/// The first start was killed before its first checkpoint, with a segment that was named and not written; the second is
/// killed before its first checkpoint as well.
#[test]
fn two_crashes_before_the_first_checkpoint_are_no_attack() {
    let place = Place::new();
    fs::create_dir(place.audit()).unwrap();
    fs::write(place.audit().join("log-00000000000000000000.alog"), vec![0; 64 << 10]).unwrap();
    let moments = power::moments_of_opening(&place);
    assert!(moments > 10, "{moments}");
}
