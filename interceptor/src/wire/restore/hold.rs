//! The events of a stream: those that wait until it is known whether a token is in them.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;

use super::locate::{Channel, places};
use super::patch::{Edit, patch};
use super::split::{Block, Splitter, data};
use super::{Format, Restoration, Search, Tokens, Unrestored};
use crate::flow::OffsetMap;

/// Events that are held at once: a token in pieces of one character has less than a hundred, but other choices' events may
/// come between.
const MAX_EVENTS: usize = 1024;
/// And their bytes.
const MAX_BYTES: usize = 1 << 20;
/// Texts that are followed at once.
const MAX_CHANNELS: usize = 1024;
/// Their pieces in one event.
const MAX_PIECES: usize = 1024;

#[derive(Debug)]
pub(super) struct Hold<S> {
    splitter: Splitter,
    texts: HashMap<Channel, Text<S>>,
    /// In their order.
    waiting: VecDeque<Event>,
    /// The number of the first of them, counted from the beginning of the stream.
    first: u64,
    bytes: usize,
}

/// A text that is followed.
#[derive(Debug)]
struct Text<S> {
    search: S,
    /// The event in which a token has begun that may yet be completed.
    since: Option<u64>,
}

/// An event, or what else stands between two.
#[derive(Debug)]
struct Event {
    raw: Bytes,
    pieces: Vec<Piece>,
    edits: Vec<Edit>,
}

/// A piece of a channel's text.
#[derive(Debug)]
struct Piece {
    channel: Channel,
    is_json: bool,
    /// Where it begins in the text of the channel.
    start: u64,
    end: u64,
    map: OffsetMap,
}

impl<S> Default for Hold<S> {
    fn default() -> Self {
        Self { splitter: Splitter::default(), texts: HashMap::new(), waiting: VecDeque::new(), first: 0, bytes: 0 }
    }
}

impl<S: Search> Hold<S> {
    /// Takes the next bytes of the stream; those that may go on are added to `out`.
    pub(super) fn feed<T: Tokens<Search = S>>(
        &mut self,
        tokens: &T,
        format: Format,
        content: &[u8],
        outcome: &mut Restoration,
        out: &mut Vec<u8>,
    ) {
        let mut splitter = std::mem::take(&mut self.splitter);
        splitter.feed(content, |block| match block {
            Block::Event(raw) => {
                self.event(tokens, format, raw.into(), outcome);
                self.settle(tokens, outcome, out);
            }
            Block::LineEnd => {
                self.push(Bytes::from_static(b"\n"));
                self.settle(tokens, outcome, out);
            }
            Block::Unread(raw) => {
                outcome.unrestored = Some(Unrestored::Bounds);
                self.give_up();
                self.push(raw.into());
                self.settle(tokens, outcome, out);
            }
        });
        self.splitter = splitter;
    }

    /// All that is held, and what has come of an event that is not complete.
    pub(super) fn release<T: Tokens<Search = S>>(&mut self, tokens: &T, out: &mut Vec<u8>) {
        self.let_go(self.waiting.len(), tokens, out);
        out.append(&mut self.splitter.take());
    }

    fn push(&mut self, raw: Bytes) {
        self.bytes += raw.len();
        self.waiting.push_back(Event { raw, pieces: Vec::new(), edits: Vec::new() });
    }

    /// Reads an event. What is found in it is noted on it and on those before it.
    fn event<T: Tokens<Search = S>>(&mut self, tokens: &T, format: Format, raw: Bytes, outcome: &mut Restoration) {
        let text = data(&raw).and_then(|range| Some((std::str::from_utf8(&raw[range.clone()]).ok()?, range.start)));
        // What is no JSON, such as [DONE], holds no words.
        let places = text.and_then(|(text, base)| places(format, text, base).ok()).unwrap_or_default();
        if places.len() > MAX_PIECES {
            outcome.unrestored = Some(Unrestored::Bounds);
            self.give_up();
            return self.push(raw);
        }
        let number = self.first + self.waiting.len() as u64;
        self.push(raw.clone());
        let mut found = Vec::new();
        for place in places {
            let known = self.texts.len();
            let text = match self.texts.get_mut(&place.channel) {
                Some(text) => text,
                None if known == MAX_CHANNELS => continue,
                None => {
                    let search = tokens.search(place.is_json());
                    self.texts.entry(place.channel).or_insert(Text { search, since: None })
                }
            };
            let (start, since) = (text.search.at(), text.since);
            text.search.feed(&place.text, &mut found);
            text.since = text.search.pending().map(|at| if at < start { since.unwrap_or(number) } else { number });
            let (channel, is_json, end) = (place.channel, place.is_json(), text.search.at());
            let piece = Piece { channel, is_json, start, end, map: place.map };
            if let Some(event) = self.waiting.back_mut() {
                event.pieces.push(piece);
            }
            for (span, token) in found.drain(..) {
                // Only the first one can have begun in an event before this one.
                let from = if span.start < start { since.unwrap_or(number) } else { number };
                self.note(from, channel, &span, token);
                outcome.count(tokens, token);
            }
        }
    }

    /// Notes what becomes of a token that begins in the event with this number: its value comes where it begins, and the
    /// rest of it goes.
    fn note(&mut self, from: u64, channel: Channel, span: &Range<u64>, token: usize) {
        let from = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut token = Some(token);
        for Event { pieces, edits, .. } in self.waiting.iter_mut().skip(from) {
            // Its own piece is the last one there is of its channel.
            for piece in pieces.iter().filter(|piece| piece.channel == channel) {
                let (start, end) = (span.start.max(piece.start), span.end.min(piece.end));
                let offset = |at: u64| usize::try_from(at - piece.start).ok();
                if start < end
                    && let (Some(start), Some(end)) = (offset(start), offset(end))
                {
                    let raw = piece.map.to_raw(&(start..end));
                    edits.push(Edit { raw, token: token.take(), is_json: piece.is_json });
                }
            }
        }
    }

    /// Lets go what no token may be in progress in, and everything when that is too much.
    fn settle<T: Tokens<Search = S>>(&mut self, tokens: &T, outcome: &mut Restoration, out: &mut Vec<u8>) {
        let mut settled = self.settled();
        if self.waiting.len() - settled > MAX_EVENTS || (settled < self.waiting.len() && self.bytes > MAX_BYTES) {
            outcome.unrestored = Some(Unrestored::Bounds);
            self.give_up();
            settled = self.waiting.len();
        }
        self.let_go(settled, tokens, out);
    }

    /// How many events no token may be in progress in, nor in one before them.
    fn settled(&self) -> usize {
        let since = self.texts.values().filter_map(|text| text.since).min();
        since.map_or(self.waiting.len(), |number| {
            usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX)
        })
    }

    fn give_up(&mut self) {
        for text in self.texts.values_mut() {
            text.search.forget();
            text.since = None;
        }
    }

    fn let_go<T: Tokens>(&mut self, count: usize, tokens: &T, out: &mut Vec<u8>) {
        self.first += count as u64;
        for mut event in self.waiting.drain(..count) {
            self.bytes -= event.raw.len();
            patch(&event.raw, &mut event.edits, tokens, out);
        }
    }
}
