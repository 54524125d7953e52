//! Answering from an index: which records of a segment are wanted.

use super::super::facets::{Facet, Select};
use super::super::frame::{u16_at, u32_at, u64_at};
use super::Unfit;
use super::encode::Section;
use super::file::{SegmentIndex, take_text, take_u32};

impl SegmentIndex {
    /// Rows of the records that are wanted, in their order, and perhaps some that are not. What is read is what the
    /// question needs: times only where the range of the segment's begins or ends, columns only of values of which the
    /// dictionary has some that are wanted and some that are not.
    pub(in crate::audit) fn select(&self, select: &dyn Select) -> Result<Vec<u32>, Unfit> {
        let rows = self.rows();
        if rows == 0 {
            return Ok(Vec::new());
        }
        let mut unsure = self.unsure()?;
        unsure.retain(|&row| row < rows);
        let Some(mut wanted) = self.in_time(select)? else { return Ok(unsure) };
        for (number, facet) in Facet::ALL.into_iter().enumerate().filter(|(_, facet)| select.asks(*facet)) {
            let fits = self.dictionary(number, |values| select.fits(facet, values))?;
            if !fits.contains(&true) {
                return Ok(unsure);
            }
            if fits.contains(&false) {
                self.narrow(number, &fits, &mut wanted)?;
            }
        }
        unsure.iter().for_each(|&row| wanted[row as usize] = true);
        Ok((0..rows).filter(|&row| wanted[row as usize]).collect())
    }

    /// For each record whether it is in time; nothing when none is.
    fn in_time(&self, select: &dyn Select) -> Result<Option<Vec<bool>>, Unfit> {
        let (time, (first, last)) = (select.time(), self.times());
        if time.contains(&first) && time.contains(&last) {
            return Ok(Some(vec![true; self.rows() as usize]));
        }
        if first >= time.end || last < time.start {
            return Ok(None);
        }
        // Clocks are set back: times need not rise from record to record.
        let times = self.whole(Section::Times)?;
        Ok(Some(times.chunks_exact(8).map(|at| time.contains(&u64_at(at, 0))).collect()))
    }

    /// For each entry of a dictionary whether it fits.
    fn dictionary(&self, facet: usize, fits: impl Fn(&[&str]) -> bool) -> Result<Vec<bool>, Unfit> {
        let bytes = self.whole(Section::Dictionary(facet))?;
        let (mut rest, mut found, mut values) = (&bytes[..], Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (count, mut after) = take_u32(rest)?;
            values.clear();
            for _ in 0..count {
                let (value, behind) = take_text(after)?;
                values.push(value);
                after = behind;
            }
            found.push(fits(&values));
            rest = after;
        }
        Ok(found)
    }

    /// Leaves those wanted whose value in a column fits.
    fn narrow(&self, facet: usize, fits: &[bool], wanted: &mut [bool]) -> Result<(), Unfit> {
        let column = self.whole(Section::Column(facet))?;
        let width = self.width(facet);
        let unknown = Unfit::Damaged("a column has a value that its dictionary does not have");
        let narrow = |(wanted, value): (&mut bool, usize)| {
            *wanted &= *fits.get(value)?;
            Some(())
        };
        let wanted = wanted.iter_mut();
        let done = match width {
            1 => wanted.zip(column.iter().map(|&value| usize::from(value))).try_for_each(|pair| narrow(pair).ok_or(())),
            2 => wanted
                .zip(column.chunks_exact(2).map(|value| usize::from(u16_at(value, 0))))
                .try_for_each(|pair| narrow(pair).ok_or(())),
            4 => wanted
                .zip(column.chunks_exact(4).map(|value| u32_at(value, 0) as usize))
                .try_for_each(|pair| narrow(pair).ok_or(())),
            _ => Err(()),
        };
        done.map_err(|()| unknown)
    }
}
