//! Fuzz entry.

use super::super::facets::{Everything, Facet, Select};
use super::SegmentIndex;

/// Asks for one kind of value alone.
struct Only(Facet);

impl Select for Only {
    fn time(&self) -> std::ops::Range<u64> {
        1..u64::MAX - 1
    }

    fn asks(&self, facet: Facet) -> bool {
        facet == self.0
    }

    fn fits(&self, _: Facet, values: &[&str]) -> bool {
        values.iter().any(|value| value.len() > 3)
    }
}

/// Any bytes as an index file: opening it and asking it end, without a crash and without more memory than a few times
/// the file's. What is accepted answers that every record is wanted by who wants every record.
pub fn fuzz_index(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), super::encode::with_checksums(bytes)] {
        let Ok(mut index) = SegmentIndex::from_memory(bytes) else { continue };
        let rows = index.rows();
        if index.times().1 < u64::MAX
            && let Ok(all) = index.select(&Everything)
        {
            let mut wanted = all.clone();
            wanted.sort_unstable();
            wanted.dedup();
            assert_eq!(wanted.len(), rows as usize);
        }
        for facet in Facet::ALL {
            if let Ok(some) = index.select(&Only(facet)) {
                assert!(some.iter().all(|row| *row < rows));
            }
        }
        for row in 0..rows {
            if let Ok(row) = index.row(row) {
                let _ = index.parts(row.rest.parts);
            }
            let _ = index.id(row);
        }
        for visitor in index.visitors().unwrap_or_default() {
            let _ = index.parts(visitor.rest.parts);
        }
        let _ = (index.ids(), index.unended(), index.notes());
        let _ = index.damage(&std::path::Path::new("fuzz").into());
    }
}
