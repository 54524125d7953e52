//! Records that are wanted, one after the other.

use std::collections::VecDeque;

use super::super::facets::Select;
use super::super::record::Record;
use super::located::Located;
use super::{ReadError, Reader};

/// Looks for records that are wanted, segment by segment.
pub struct Query<'q> {
    select: &'q dyn Select,
    newest_first: bool,
    /// Segments that were looked at.
    done: usize,
    segment: usize,
    /// Rows of it that may be wanted.
    rows: VecDeque<u32>,
}

impl std::fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("newest_first", &self.newest_first).field("done", &self.done).finish()
    }
}

impl<'q> Query<'q> {
    /// In the order of the log.
    pub fn oldest_first(select: &'q dyn Select) -> Self {
        Self { select, newest_first: false, done: 0, segment: 0, rows: VecDeque::new() }
    }

    /// From the end of the log.
    pub fn newest_first(select: &'q dyn Select) -> Self {
        Self { newest_first: true, ..Self::oldest_first(select) }
    }

    /// The next record, without the request as it left, which is not read.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn outline(&mut self, reader: &mut Reader) -> Result<Option<(Located, Record)>, ReadError> {
        self.next(reader, Reader::outline)
    }

    /// The next record, whole.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn record(&mut self, reader: &mut Reader) -> Result<Option<(Located, Record)>, ReadError> {
        self.next(reader, Reader::record)
    }

    /// The next record, unread: it may be one that is not wanted after all, where the index cannot tell.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn located(&mut self, reader: &mut Reader) -> Result<Option<Located>, ReadError> {
        self.candidate(reader)
    }

    fn next(
        &mut self,
        reader: &mut Reader,
        read: impl Fn(&mut Reader, &Located) -> Result<Record, ReadError>,
    ) -> Result<Option<(Located, Record)>, ReadError> {
        while let Some(located) = self.candidate(reader)? {
            let record = read(reader, &located)?;
            // The record has the last word.
            if self.select.takes(&record) {
                return Ok(Some((located, record)));
            }
        }
        Ok(None)
    }

    fn candidate(&mut self, reader: &mut Reader) -> Result<Option<Located>, ReadError> {
        loop {
            let row = if self.newest_first { self.rows.pop_back() } else { self.rows.pop_front() };
            if let Some(row) = row {
                if let Some(located) = reader.locate(self.segment, row)? {
                    return Ok(Some(located));
                }
                continue;
            }
            let count = reader.segments.len();
            if self.done == count {
                return Ok(None);
            }
            self.segment = if self.newest_first { count - 1 - self.done } else { self.done };
            self.done += 1;
            if !reader.is_readable(self.segment)? {
                continue;
            }
            self.rows = reader.ask(self.segment, |index| index.select(self.select))?.into();
        }
    }
}
