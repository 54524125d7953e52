//! The field lines of a head: checked line by line, looked up by name, rendered as they came.

use std::ops::Range;

use memchr::memchr;

use super::{Error, Limits};

/// The raw head and its field lines (RFC 9112, section 5), in the order and spelling received.
#[derive(Clone, Debug)]
pub struct Fields {
    bytes: Vec<u8>,
    /// The start line's end, its CRLF included.
    start_line: usize,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    /// With CRLF.
    whole: Range<usize>,
    name: Range<usize>,
    /// Without the optional whitespace around it.
    value: Range<usize>,
    edit: Edit,
}

#[derive(Clone, Debug)]
enum Edit {
    None,
    Dropped,
    Value(Vec<u8>),
}

impl Fields {
    /// Splits a complete head; `None` when its empty line has not arrived yet. Lines are checked in order, so that the
    /// first fault is reported whatever the segmentation of the input.
    pub(super) fn parse(input: &[u8], limits: &Limits) -> Result<Option<(Self, usize)>, Error> {
        let Some(Lines { ranges, len }) = split_lines(input, limits)? else { return Ok(None) };
        let bytes = input[..len].to_vec();
        let start_line = ranges[0].end + 2;
        let lines = ranges[1..].iter().map(|range| Line::parse(&bytes, range)).collect::<Result<_, _>>()?;
        Ok(Some((Self { bytes, start_line, lines }, len)))
    }

    /// The head as it was received.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of lines that were not removed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.iter().filter(|line| !line.is_dropped()).count()
    }

    /// Whether there are no lines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first value of the field `name` (compared without case), without surrounding whitespace.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Every value of the field `name`, in order.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Every line as (name, value), in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().filter(|line| !line.is_dropped()).map(|line| {
            let name = std::str::from_utf8(&self.bytes[line.name.clone()]).unwrap_or_default();
            let value = match &line.edit {
                Edit::Value(value) => value,
                Edit::None | Edit::Dropped => &self.bytes[line.value.clone()],
            };
            (name, value)
        })
    }

    /// Whether a comma-separated field (RFC 9110, 5.6.1) lists `token`, compared without case.
    #[must_use]
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(|&b| b == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Removes every line of the field `name`; says how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let mut removed = 0;
        for line in self.lines.iter_mut().filter(|line| !line.is_dropped()) {
            if self.bytes[line.name.clone()].eq_ignore_ascii_case(name.as_bytes()) {
                line.edit = Edit::Dropped;
                removed += 1;
            }
        }
        removed
    }

    /// Replaces the value of Content-Length, and nothing else of its line; says whether there was one.
    pub fn set_content_length(&mut self, length: u64) -> bool {
        let bytes = &self.bytes;
        let mut lines = self.lines.iter_mut().filter(|line| !line.is_dropped());
        let found = lines.find(|line| bytes[line.name.clone()].eq_ignore_ascii_case(b"content-length"));
        found.map(|line| line.edit = Edit::Value(length.to_string().into_bytes())).is_some()
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let start = self.bytes.len() - b"\r\n".len();
        self.bytes.truncate(start);
        for part in [name.as_bytes(), b": ", value, b"\r\n\r\n"] {
            self.bytes.extend_from_slice(part);
        }
        let end = self.bytes.len() - b"\r\n".len();
        let value = start + name.len() + 2..end - 2;
        self.lines.push(Line { whole: start..end, name: start..start + name.len(), value, edit: Edit::None });
    }

    /// Puts the pieces of a Cookie field, which HTTP/2 sends apart, on one line (RFC 9113, 8.2.3).
    pub(super) fn merge_cookies(&mut self) {
        let cookies: Vec<&[u8]> = self.all("cookie").collect();
        if cookies.len() > 1 {
            let merged = cookies.join(&b"; "[..]);
            self.remove("cookie");
            self.push("cookie", &merged);
        }
    }

    /// The head to send: the received bytes, but for the edited lines.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 16);
        out.extend_from_slice(&self.bytes[..self.start_line]);
        for line in &self.lines {
            match &line.edit {
                Edit::None => out.extend_from_slice(&self.bytes[line.whole.clone()]),
                Edit::Dropped => {}
                Edit::Value(value) => {
                    out.extend_from_slice(&self.bytes[line.whole.start..line.value.start]);
                    out.extend_from_slice(value);
                    out.extend_from_slice(&self.bytes[line.value.end..line.whole.end]);
                }
            }
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// Whether the line of `name` has a tab between colon and value or value and end. RFC 9110 allows it; some
    /// servers then do not recognise a framing field.
    pub(super) fn has_tab_around(&self, name: &str) -> bool {
        self.lines.iter().any(|line| {
            self.bytes[line.name.clone()].eq_ignore_ascii_case(name.as_bytes())
                && (self.bytes[line.name.end..line.value.start].contains(&b'\t')
                    || self.bytes[line.value.end..line.whole.end].contains(&b'\t'))
        })
    }

    /// Where a line starts whose name some servers fold into a framing field's.
    pub(super) fn disguised_framing(&self) -> Option<usize> {
        let folds = |name: &[u8]| name == b"content_length" || name == b"transfer_encoding";
        let found = self.lines.iter().find(|line| folds(&self.bytes[line.name.clone()].to_ascii_lowercase()));
        found.map(|line| line.whole.start)
    }
}

impl Line {
    fn parse(bytes: &[u8], range: &Range<usize>) -> Result<Self, Error> {
        let offset = range.start;
        let line = &bytes[range.clone()];
        let colon = memchr(b':', line).ok_or(Error::MissingColon { offset })?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.last().is_some_and(|b| matches!(b, b' ' | b'\t')) {
            return Err(Error::WhitespaceBeforeColon { offset });
        }
        if !is_token(name) {
            return Err(Error::InvalidFieldName { offset });
        }
        let is_ows = |b: &u8| matches!(b, b' ' | b'\t');
        let lead = value.iter().take_while(|b| is_ows(b)).count();
        let tail = value[lead..].iter().rev().take_while(|b| is_ows(b)).count();
        let start = offset + colon + 1 + lead;
        Ok(Self {
            whole: offset..range.end + 2,
            name: offset..offset + colon,
            value: start..range.end - tail,
            edit: Edit::None,
        })
    }

    fn is_dropped(&self) -> bool {
        matches!(self.edit, Edit::Dropped)
    }
}

/// Whether `name` is a token (RFC 9110, 5.6.2).
pub(super) fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The lines of a complete head, without their CRLF.
struct Lines {
    ranges: Vec<Range<usize>>,
    /// Of the head.
    len: usize,
}

fn split_lines(input: &[u8], limits: &Limits) -> Result<Option<Lines>, Error> {
    let mut ranges = Vec::new();
    let mut start = 0;
    loop {
        let Some(lf) = memchr(b'\n', &input[start..]).map(|at| start + at) else {
            let too_large = input.len() >= limits.head;
            return if too_large { Err(Error::HeadTooLarge { limit: limits.head }) } else { Ok(None) };
        };
        if lf >= limits.head {
            return Err(Error::HeadTooLarge { limit: limits.head });
        }
        if lf == start || input[lf - 1] != b'\r' {
            return Err(Error::BareLf { offset: lf });
        }
        let line = start..lf - 1;
        check_line(input, &line)?;
        match (line.is_empty(), ranges.is_empty()) {
            (true, true) => return Err(Error::EmptyStartLine),
            (true, false) => return Ok(Some(Lines { ranges, len: lf + 1 })),
            (false, _) => ranges.push(line),
        }
        if ranges.len() > limits.fields + 1 {
            return Err(Error::TooManyFields { limit: limits.fields });
        }
        start = lf + 1;
    }
}

/// Refuses what may stand in no line of a head.
fn check_line(input: &[u8], line: &Range<usize>) -> Result<(), Error> {
    let bytes = &input[line.clone()];
    if line.start > 0 && bytes.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
        return Err(Error::ObsFold { offset: line.start });
    }
    let bad = bytes.iter().position(|&b| (b < 0x20 && (b != b'\t' || line.start == 0)) || b == 0x7f);
    match bad.map(|at| (bytes[at], line.start + at)) {
        None => Ok(()),
        Some((b'\r', offset)) => Err(Error::BareCr { offset }),
        Some((_, offset)) => Err(Error::ControlCharacter { offset }),
    }
}

/// Checks a trailer section (RFC 9112, 7.1.2), given without its final empty line.
pub(super) fn check_trailers(section: &[u8]) -> Result<(), Error> {
    let mut start = 0;
    while start < section.len() {
        let lf = memchr(b'\n', &section[start..]).map_or(section.len() - 1, |at| start + at);
        let line = start..lf - 1;
        if matches!(section[start], b' ' | b'\t') {
            return Err(Error::ObsFold { offset: start });
        }
        check_line(section, &line)?;
        let parsed = Line::parse(section, &line)?;
        let name = section[parsed.name].to_ascii_lowercase();
        if FORBIDDEN_TRAILERS.iter().any(|forbidden| forbidden.as_bytes() == name) {
            return Err(Error::ForbiddenTrailer);
        }
        start = lf + 1;
    }
    Ok(())
}

/// Fields that a trailer must not carry (RFC 9110, 6.5.1): framing, routing, content format, authentication, controls.
const FORBIDDEN_TRAILERS: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "content_length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "transfer_encoding",
    "upgrade",
];
