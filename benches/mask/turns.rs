//! The part of Hyperscan's speed that scanning has, measured by turns: what else runs on the machine then slows both
//! down alike, while rows of the table are minutes apart.

use std::sync::Arc;

use criterion::measurement::Measurement as _;
use interceptor::mask::Engine;

use crate::processor::ProcessorTime;
use crate::text::{self, Kind};

/// Turns of each, and bytes that are scanned in one.
const TURNS: usize = 101;
const BYTES: usize = 512 << 10;

/// Prints the median, and between what the middle half of the turns is.
pub(crate) fn compare(engine: &Arc<Engine>, kinds: &[Kind]) {
    eprintln!("scan : hs_scan, by turns, {TURNS} of {} KiB: median, and the middle half of them", BYTES >> 10);
    let mut scanner = engine.scanner().expect("memory for a scanner");
    let mut found = Vec::new();
    for kind in kinds {
        let text = kind.text();
        let pieces = text::pieces(&text[..text.floor_char_boundary(BYTES)], kind.piece);
        let mut ratios: Vec<f64> = (0..TURNS)
            .map(|_| {
                let alone = time(|| {
                    for piece in &pieces {
                        scanner.match_only(piece).expect("a scan");
                    }
                });
                let all = time(|| {
                    for piece in &pieces {
                        found.clear();
                        scanner.scan(piece, &mut found).expect("a scan");
                    }
                });
                alone / all
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| ratios[quarter * TURNS / 4]);
        eprintln!("  {:<12} {median:.2}  ({low:.2} to {high:.2})", kind.name);
    }
}

fn time(work: impl FnOnce()) -> f64 {
    let start = ProcessorTime.start();
    work();
    ProcessorTime.to_f64(&ProcessorTime.end(start))
}
