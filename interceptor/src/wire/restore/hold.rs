//! The events of a stream: those that wait until it is known whether a token is in them.

use std::collections::{HashMap, VecDeque};

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

#[derive(Debug)]
pub(super) struct Hold<S> {
    splitter: Splitter,
    searches: HashMap<Channel, S>,
    /// In their order.
    waiting: VecDeque<Event>,
    bytes: usize,
}

/// An event, or what else stands between two.
#[derive(Debug)]
struct Event {
    raw: Vec<u8>,
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
        Self { splitter: Splitter::default(), searches: HashMap::new(), waiting: VecDeque::new(), bytes: 0 }
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
                self.event(tokens, format, raw, outcome);
                self.settle(tokens, outcome, out);
            }
            Block::LineEnd => {
                self.push(b"\n".to_vec(), Vec::new());
                self.settle(tokens, outcome, out);
            }
            Block::Unread(raw) => {
                outcome.unrestored = Some(Unrestored::Bounds);
                self.give_up();
                self.push(raw, Vec::new());
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

    fn push(&mut self, raw: Vec<u8>, pieces: Vec<Piece>) {
        self.bytes += raw.len();
        self.waiting.push_back(Event { raw, pieces, edits: Vec::new() });
    }

    /// Reads an event. What is found in it is noted on it and on those before it.
    fn event<T: Tokens<Search = S>>(&mut self, tokens: &T, format: Format, raw: Vec<u8>, outcome: &mut Restoration) {
        let text = data(&raw).and_then(|range| Some((std::str::from_utf8(&raw[range.clone()]).ok()?, range.start)));
        // What is no JSON, such as [DONE], holds no words.
        let places = text.and_then(|(text, base)| places(format, text, base).ok()).unwrap_or_default();
        let mut pieces = Vec::with_capacity(places.len());
        let (mut found, mut here) = (Vec::new(), Vec::new());
        for place in places {
            let known = self.searches.len();
            let search = match self.searches.get_mut(&place.channel) {
                Some(search) => search,
                None if known == MAX_CHANNELS => continue,
                None => self.searches.entry(place.channel).or_insert(tokens.search(place.is_json())),
            };
            let start = search.at();
            search.feed(&place.text, &mut here);
            found.extend(here.drain(..).map(|(span, token)| (place.channel, span, token)));
            let is_json = place.is_json();
            pieces.push(Piece { channel: place.channel, is_json, start, end: search.at(), map: place.map });
        }
        self.push(raw, pieces);
        for (channel, span, token) in found {
            if self.note(channel, &span, token) {
                outcome.count(tokens, token);
            }
        }
    }

    /// Notes what becomes of a token: its value comes where it begins, and the rest of it goes.
    fn note(&mut self, channel: Channel, span: &std::ops::Range<u64>, token: usize) -> bool {
        let is_held = |event: &Event| event.pieces.iter().any(|p| p.channel == channel && p.start <= span.start);
        if !self.waiting.iter().any(is_held) {
            return false;
        }
        let mut token = Some(token);
        for event in &mut self.waiting {
            for piece in event.pieces.iter().filter(|piece| piece.channel == channel) {
                let (start, end) = (span.start.max(piece.start), span.end.min(piece.end));
                let offset = |at: u64| usize::try_from(at - piece.start).ok();
                if start < end
                    && let (Some(start), Some(end)) = (offset(start), offset(end))
                {
                    let raw = piece.map.to_raw(&(start..end));
                    event.edits.push(Edit { raw, token: token.take(), is_json: piece.is_json });
                }
            }
        }
        true
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
        let first = self.searches.iter().filter_map(|(channel, search)| {
            let pending = search.pending()?;
            let holds = |event: &Event| event.pieces.iter().any(|p| p.channel == *channel && pending < p.end);
            self.waiting.iter().position(holds)
        });
        first.min().unwrap_or(self.waiting.len())
    }

    fn give_up(&mut self) {
        self.searches.values_mut().for_each(Search::forget);
    }

    fn let_go<T: Tokens>(&mut self, count: usize, tokens: &T, out: &mut Vec<u8>) {
        for mut event in self.waiting.drain(..count) {
            self.bytes -= event.raw.len();
            patch(&event.raw, &mut event.edits, tokens, out);
        }
    }
}
