//! Naming the record that a damaged frame belongs to. When the head's checksum is wrong, the exchange id may be what
//! was damaged. One changed byte can be found: change each byte of the head to each value until the checksum is right.

use std::collections::HashSet;

use super::super::Error;
use super::super::frame::{MAX_HEAD, MIN_HEAD, parse_head};
use super::super::scan::SegmentFile;
use crate::flow::ExchangeId;

/// Where a head has its exchange id.
const EXCHANGE: usize = 72;

/// The exchange that the frame at `at` belongs to, as far as its bytes tell; `known` are exchanges that were open.
pub(super) fn exchange(
    file: &mut SegmentFile,
    at: u64,
    known: &HashSet<ExchangeId>,
) -> Result<Option<ExchangeId>, Error> {
    let seed = file.seed;
    let mut head = file.bytes(at, MAX_HEAD)?.to_vec();
    if head.len() < MIN_HEAD {
        return Ok(None);
    }
    if let Ok(intact) = parse_head(seed, &head) {
        return Ok(Some(intact.entry.exchange));
    }
    for position in 0..head.len() {
        let original = head[position];
        for change in 1..=255 {
            head[position] = original ^ change;
            if let Ok(repaired) = parse_head(seed, &head) {
                return Ok(Some(repaired.entry.exchange));
            }
        }
        head[position] = original;
    }
    let stored = <[u8; 16]>::try_from(&head[EXCHANGE..EXCHANGE + 16]).expect("16 bytes");
    let stored = ExchangeId::from_bytes(stored);
    Ok(known.contains(&stored).then_some(stored))
}
