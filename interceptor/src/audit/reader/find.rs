//! Finding one record, and all of its frames.

use std::sync::Arc;

use super::super::frame::Kind;
use super::super::index::{Rest, Row};
use super::super::walk::first_sequence;
use super::located::{Frame, Located, Part, Use};
use super::{ReadError, Reader};
use crate::flow::ExchangeId;

/// Records whose id starts so.
#[derive(Debug)]
pub enum Found {
    /// There is none.
    None,
    /// There is this one.
    One(Box<Located>),
    /// There are so many.
    Several(u64),
}

impl Found {
    /// The record, if it is one.
    #[must_use]
    pub fn one(self) -> Option<Located> {
        match self {
            Self::One(located) => Some(*located),
            Self::None | Self::Several(_) => None,
        }
    }
}

impl Reader {
    /// Records whose id starts with `prefix`; `latest` names the last one.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn find(&mut self, prefix: &str) -> Result<Found, ReadError> {
        if prefix == "latest" {
            return self.latest();
        }
        let Some(range) = range(&prefix.to_ascii_lowercase()) else { return Ok(Found::None) };
        let (mut count, mut first) = (0, None);
        for segment in (0..self.segments.len()).rev() {
            if !self.is_readable(segment)? {
                continue;
            }
            let index = self.index(segment)?;
            let (smallest, largest) = index.id_range();
            if index.rows() == 0 || largest < range.0 || smallest > range.1 {
                continue;
            }
            let ids = self.ask(segment, |index| index.ids())?;
            for (row, _) in ids.iter().enumerate().filter(|(_, id)| (range.0..=range.1).contains(*id)) {
                // One record is looked up; of several it is enough how many they are.
                match &first {
                    None => first = self.locate(segment, row as u32)?,
                    Some(_) => {
                        count += u64::from(!self.is_superseded_row(segment, row as u32)?);
                        continue;
                    }
                }
                count += u64::from(first.is_some());
            }
        }
        Ok(match (count, first) {
            (1, Some(located)) => Found::One(Box::new(located)),
            (0, _) | (_, None) => Found::None,
            (count, _) => Found::Several(count),
        })
    }

    fn latest(&mut self) -> Result<Found, ReadError> {
        for segment in (0..self.segments.len()).rev() {
            let rows = if self.is_readable(segment)? { self.index(segment)?.rows() } else { 0 };
            for row in (0..rows).rev() {
                if let Some(located) = self.locate(segment, row)? {
                    return Ok(Found::One(Box::new(located)));
                }
            }
        }
        Ok(Found::None)
    }

    /// The record of a row, with all its frames. Nothing when the writer has written it again further on, or it turns out that
    /// the segment cannot be read.
    pub(super) fn locate(&mut self, segment: usize, row: u32) -> Result<Option<Located>, ReadError> {
        let located = self.locate_in(segment, row);
        Ok(self.unless_unreadable(segment, located)?.flatten())
    }

    fn locate_in(&mut self, segment: usize, row: u32) -> Result<Option<Located>, ReadError> {
        let mut found = self.ask(segment, |index| index.row(row))?;
        if self.is_superseded(segment, &found)? {
            return Ok(None);
        }
        let mut opening = self.opening(segment, &found)?;
        if opening.is_none() {
            // The segment has changed since, or somebody has put another index there.
            self.make_again(segment)?;
            let Some(again) = self.row_of(segment, found.sequence)? else { return Ok(None) };
            found = again;
            opening = self.opening(segment, &found)?;
        }
        let Some(opening) = opening else { return Ok(None) };
        let mut located = Located::new(opening);
        self.add(&mut located, segment, &found.rest)?;
        self.look_back(&mut located, segment)?;
        self.look_ahead(&mut located, segment)?;
        Ok(Some(located))
    }

    fn opening(&mut self, segment: usize, row: &Row) -> Result<Option<Frame>, ReadError> {
        let path = Arc::clone(&self.segments[segment]);
        let indexed = self.index(segment)?.segment_id();
        if self.files.file(Use::Opening, &path)?.header.segment_id != indexed {
            return Ok(None);
        }
        let frame = self.files.frame(Use::Opening, &path, row.opening)?;
        let frame = frame.filter(|frame| {
            let entry = &frame.head.entry;
            entry.sequence == row.sequence && matches!(entry.kind, Kind::Request | Kind::Refusal | Kind::Access)
        });
        if let Some(frame) = &frame {
            self.note_damage(frame);
        }
        Ok(frame)
    }

    /// Adds the frames that one segment has of a record.
    fn add(&mut self, located: &mut Located, segment: usize, rest: &Rest) -> Result<(), ReadError> {
        let path = Arc::clone(&self.segments[segment]);
        for row in self.ask(segment, |index| index.parts(rest.parts))? {
            located.add(Part { path: Arc::clone(&path), row });
        }
        let Some(end) = rest.end else { return Ok(()) };
        let frame = self.files.frame(Use::Rest, &path, end);
        let id = located.id();
        if let Some(frame) = self
            .unless_unreadable(segment, frame)?
            .flatten()
            .filter(|f| f.head.entry.kind == Kind::Completion && f.head.entry.exchange == id)
        {
            self.note_damage(&frame);
            located.end = Some(frame);
        }
        Ok(())
    }

    /// Adds parts of the request that earlier segments have.
    fn look_back(&mut self, located: &mut Located, from: usize) -> Result<(), ReadError> {
        for segment in (0..from).rev() {
            if !self.is_readable(segment)? {
                continue;
            }
            if located.missing_parts() == 0 || !self.is_same_life(located, segment)? {
                break;
            }
            if let Some(rest) = self.rest_in(segment, located.id())? {
                self.add(located, segment, &rest)?;
            }
        }
        Ok(())
    }

    /// Adds parts of the response, and the end, that later segments have.
    fn look_ahead(&mut self, located: &mut Located, from: usize) -> Result<(), ReadError> {
        for segment in from + 1..self.segments.len() {
            if !self.is_readable(segment)? {
                continue;
            }
            if located.has_ended() || !self.is_same_life(located, segment)? {
                break;
            }
            if let Some(rest) = self.rest_in(segment, located.id())? {
                self.add(located, segment, &rest)?;
            }
        }
        Ok(())
    }

    /// Whether a segment is of the same life of the writer: exchanges do not outlive it.
    fn is_same_life(&mut self, located: &Located, segment: usize) -> Result<bool, ReadError> {
        Ok(self.index(segment)?.generation() == located.opening.generation)
    }

    /// What a segment has of an exchange that opened elsewhere.
    fn rest_in(&mut self, segment: usize, id: ExchangeId) -> Result<Option<Rest>, ReadError> {
        let visitors = self.ask(segment, |index| index.visitors())?;
        if let Some(visitor) = visitors.into_iter().find(|visitor| visitor.id == id) {
            return Ok(Some(visitor.rest));
        }
        // It may have opened there too, where the writer had to write frames again.
        let overlaps = self.first_sequence(segment + 1).is_some_and(|next| next < self.indexes_end(segment));
        if !overlaps {
            return Ok(None);
        }
        self.ask(segment, |index| {
            let row = index.ids()?.iter().position(|known| known == id.as_bytes());
            row.map(|row| index.row(row as u32).map(|row| row.rest)).transpose()
        })
    }

    /// The sequence number that follows a segment's last frame; its index was just asked.
    fn indexes_end(&self, segment: usize) -> u64 {
        self.indexes.iter().find(|(of, _)| *of == segment).map_or(0, |(_, index)| index.next_sequence())
    }

    /// The sequence number that a segment begins with: its name says it.
    fn first_sequence(&self, segment: usize) -> Option<u64> {
        first_sequence(self.segments.get(segment)?)
    }

    /// Whether the frame that opened a record was written again into a later segment, after a failure.
    fn is_superseded(&mut self, segment: usize, row: &Row) -> Result<bool, ReadError> {
        for later in segment + 1..self.segments.len() {
            if self.first_sequence(later).is_none_or(|first| first > row.sequence) {
                return Ok(false);
            }
            if self.is_readable(later)? && self.row_of(later, row.sequence)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_superseded_row(&mut self, segment: usize, row: u32) -> Result<bool, ReadError> {
        let row = self.ask(segment, |index| index.row(row))?;
        self.is_superseded(segment, &row)
    }

    /// The row of the record that a frame with this number opened.
    fn row_of(&mut self, segment: usize, sequence: u64) -> Result<Option<Row>, ReadError> {
        self.ask(segment, |index| {
            for row in 0..index.rows() {
                let row = index.row(row)?;
                if row.sequence == sequence {
                    return Ok(Some(row));
                }
            }
            Ok(None)
        })
    }
}

/// The smallest and the largest id that begin with `prefix`, if ids can.
fn range(prefix: &str) -> Option<([u8; 16], [u8; 16])> {
    let digits: String = prefix.chars().filter(|c| *c != '-').collect();
    let filled = |with: char| {
        let all: String = digits.chars().chain(std::iter::repeat(with)).take(32).collect();
        <[u8; 16]>::try_from(hex::decode(all).ok()?).ok()
    };
    let range = (filled('0')?, filled('f')?);
    // Hyphens stand in their places, and there is not too much of it.
    ExchangeId::from_bytes(range.0).to_string().starts_with(prefix).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range_of_ids() {
        let range = |prefix| range(prefix).map(|(low, high)| (hex::encode(low), hex::encode(high)));
        let all = |c: &str, with: &str| format!("{c}{}", with.repeat(32 - c.len()));
        assert_eq!(range(""), Some((all("", "0"), all("", "f"))));
        assert_eq!(range("01a20909-6"), Some((all("01a209096", "0"), all("01a209096", "f"))));
        assert_eq!(range("01a20909-"), Some((all("01a20909", "0"), all("01a20909", "f"))));
        let id = "01a20909-633c-7000-8000-0123456789ab";
        assert_eq!(range(id), Some((id.replace('-', ""), id.replace('-', ""))));
        for none in ["01a2-", "01a20909633c", "x", "latest", "01a20909-633c-7000-8000-0123456789ab0"] {
            assert_eq!(range(none), None, "{none}");
        }
    }
}
