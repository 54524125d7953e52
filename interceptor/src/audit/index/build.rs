//! Making an index from its segment.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use super::super::facets::Facet;
use super::super::frame::{Content, Holding, Kind};
use super::super::header::Stream;
use super::super::reader::ReadError;
use super::super::record::Record;
use super::super::walk::{FrameRef, Walk};
use super::super::{Error, Time};
use super::encode::{Columns, FACETS, Stamp};
use super::{PartRow, Rest, Row, Visitor};
use crate::flow::ExchangeId;

/// The largest offset that an index has room for; far behind the end of any segment.
const FURTHEST: u64 = u32::MAX as u64 * 8;
/// Frames after which it is asked whether to go on.
const STEP: u64 = 1024;

/// Walks through the segment at `path` and gives its index, as a file has it. A segment that is being written is taken
/// as it is now. Fails with [`Error::Closed`] when `go_on` says so.
pub(super) fn build(
    dir: &Path,
    stream: Stream,
    path: &Path,
    being_written: bool,
    stamp: Stamp,
    go_on: &dyn Fn() -> bool,
) -> Result<Vec<u8>, ReadError> {
    let mut walk = Walk::within(dir, stream, path, being_written)?;
    let mut builder = Builder::default();
    while let Some(frame) = walk.next()?.filter(|frame| frame.offset <= FURTHEST) {
        builder.add(&frame, &mut walk)?;
        if builder.columns.next_sequence.is_multiple_of(STEP) && !go_on() {
            return Err(ReadError::Log(Error::Closed));
        }
    }
    let place = walk.place().expect("it is in the segment");
    let (header, end) = (place.header(), place.at());
    let mut columns = builder.finish();
    columns.segment_id = header.segment_id;
    columns.generation = header.generation;
    columns.first_sequence = header.first_sequence;
    columns.next_sequence = columns.next_sequence.max(header.first_sequence);
    columns.end = end;
    columns.damage = walk.damage().to_vec();
    Ok(columns.encode(stamp))
}

/// Frames of one exchange.
#[derive(Debug, Default)]
struct Group {
    id: Option<ExchangeId>,
    /// Its row, when it opened here.
    row: Option<u32>,
    end: Option<u64>,
    parts: Vec<PartRow>,
    /// It opened with a request, which wants an end.
    is_request: bool,
}

#[derive(Debug, Default)]
struct Builder {
    columns: Columns,
    groups: Vec<Group>,
    by_id: HashMap<ExchangeId, usize>,
    /// Entries of the dictionaries.
    numbers: [HashMap<Vec<String>, u32>; FACETS],
}

impl Builder {
    /// Adds a frame: the same folding as a reader of frames does.
    fn add(&mut self, frame: &FrameRef, walk: &mut Walk) -> Result<(), ReadError> {
        let entry = &frame.head.entry;
        self.columns.next_sequence = entry.sequence.saturating_add(1);
        match entry.kind {
            Kind::Note => self.columns.notes.push((frame.offset, entry.wall_ns)),
            Kind::Act => {}
            Kind::Part => {
                let part = part(frame);
                let parts = &mut self.group(entry.exchange).parts;
                match parts.binary_search_by_key(&part.sequence, |part| part.sequence) {
                    Ok(again) => parts[again] = part,
                    Err(place) => parts.insert(place, part),
                }
            }
            Kind::Completion => self.group(entry.exchange).end = Some(frame.offset),
            Kind::Request | Kind::Refusal | Kind::Access => self.open(frame, walk)?,
        }
        Ok(())
    }

    fn group(&mut self, id: ExchangeId) -> &mut Group {
        let groups = &mut self.groups;
        let at = *self.by_id.entry(id).or_insert_with(|| {
            groups.push(Group { id: Some(id), ..Group::default() });
            groups.len() - 1
        });
        &mut self.groups[at]
    }

    fn open(&mut self, frame: &FrameRef, walk: &mut Walk) -> Result<(), ReadError> {
        let entry = &frame.head.entry;
        let row = self.columns.rows.len() as u32;
        let known = self.group(entry.exchange).row;
        if let Some(known) = known {
            let known = &mut self.columns.rows[known as usize];
            if known.sequence == entry.sequence {
                known.opening = frame.offset;
                return Ok(());
            }
            // The access log has several records of one exchange.
            self.by_id.remove(&entry.exchange);
        }
        let group = self.group(entry.exchange);
        (group.row, group.is_request) = (Some(row), entry.kind == Kind::Request);
        self.columns.rows.push(Row { opening: frame.offset, sequence: entry.sequence, rest: Rest::default() });
        self.columns.ids.push(*entry.exchange.as_bytes());
        let (record, sure) = said(frame, walk)?;
        if !sure {
            self.columns.unsure.push(row);
        }
        self.columns.times.push(record.time.unix_ns());
        for (number, facet) in Facet::ALL.into_iter().enumerate() {
            let values: Vec<String> = facet.values(&record).into_iter().map(String::from).collect();
            let dictionary = &mut self.columns.dictionaries[number];
            let value = match self.numbers[number].entry(values) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    dictionary.push(new.key().clone());
                    *new.insert(dictionary.len() as u32 - 1)
                }
            };
            self.columns.values[number].push(value);
        }
        Ok(())
    }

    fn finish(mut self) -> Columns {
        let columns = &mut self.columns;
        // Groups stand in the order of their first frames; parts in the order of the rows are read together.
        let (mut rows, visitors): (Vec<Group>, Vec<Group>) =
            self.groups.into_iter().partition(|group| group.row.is_some());
        rows.sort_unstable_by_key(|group| group.row);
        for group in rows.into_iter().chain(visitors) {
            let parts = (columns.parts.len() as u32, group.parts.len() as u32);
            columns.parts.extend(group.parts);
            let rest = Rest { end: group.end, parts };
            match (group.row, group.id) {
                (Some(row), _) => {
                    columns.rows[row as usize].rest = rest;
                    if group.is_request && group.end.is_none() {
                        columns.unended.push(row);
                    }
                }
                (None, Some(id)) => columns.visitors.push(Visitor { id, rest }),
                (None, None) => {}
            }
        }
        self.columns
    }
}

/// What an index keeps of a part frame.
pub(in crate::audit) fn part(frame: &FrameRef) -> PartRow {
    let section = frame.head.entry.sections.first();
    PartRow {
        offset: frame.offset,
        sequence: frame.head.entry.sequence,
        stored: section.map_or(0, |_| frame.head.section_range(0).len() as u32),
        content: section.map(|section| section.content),
        sealed: section.is_some_and(|section| section.holding == Holding::Sealed),
        damaged: frame.damaged,
    }
}

/// The record as its opening frame says it, and whether that is all there is to know.
fn said(frame: &FrameRef, walk: &mut Walk) -> Result<(Record, bool), ReadError> {
    let entry = &frame.head.entry;
    // What a reader makes of a frame that says nothing, or nothing that is a record.
    let nothing = || Record { time: Time::from_unix_ns(entry.wall_ns), ..Record::new(entry.exchange) };
    if entry.kind == Kind::Access {
        return Ok((nothing(), true));
    }
    let Some(row) = entry.sections.iter().position(|section| section.content == Content::Json) else {
        return Ok((nothing(), true));
    };
    if frame.head.removed.contains(row) {
        return Ok((nothing(), true));
    }
    if entry.sections[row].holding != Holding::Plain {
        return Ok((nothing(), false));
    }
    let json = walk.bytes(frame, frame.head.section_range(row))?;
    Ok((serde_json::from_slice(json).unwrap_or_else(|_| nothing()), true))
}
