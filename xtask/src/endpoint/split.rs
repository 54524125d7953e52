//! Finds where one request ends and the next begins in what a client sends (RFC 9112, sections 6 and 7).
//!
//! Only the boundaries are found; the bytes are never changed.

use anyhow::{Context as _, Result, bail};

/// The most header fields a head may have.
const MAX_FIELDS: usize = 128;

/// The longest head, chunk-size line or trailer section.
const MAX_LINES: usize = 256 * 1024;

/// What the next bytes are.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Request line and fields, up to the empty line.
    Head,
    /// This many bytes of a body.
    Body(u64),
    /// A chunk-size line.
    ChunkSize,
    /// This many bytes of a chunk, its line end included.
    Chunk(u64),
    /// Fields after the last chunk, up to the empty line.
    Trailer,
    /// Not HTTP/1.1: everything to come belongs to no request.
    Lost,
}

/// Splits a connection's bytes into requests as they arrive.
#[derive(Debug)]
pub(crate) struct Splitter {
    part: Part,
    request: Vec<u8>,
    /// Where the current line begins in `request`.
    line: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        Self { part: Part::Head, request: Vec::new(), line: 0 }
    }
}

impl Splitter {
    /// Takes what was read; hands each request that is whole now to `done`.
    ///
    /// # Errors
    ///
    /// Once, when the bytes turn out not to be HTTP/1.1; all that follows is [`Self::unfinished`].
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut done: impl FnMut(&[u8])) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(self.reach(bytes));
            self.request.extend_from_slice(now);
            bytes = later;
            match self.advance(now.len() as u64) {
                Ok(Some(next)) => self.part = next,
                Ok(None) => {
                    done(&self.request);
                    *self = Self::default();
                }
                Err(error) => {
                    self.part = Part::Lost;
                    self.request.extend_from_slice(bytes);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The bytes of a request that is not whole.
    pub(crate) fn unfinished(&self) -> &[u8] {
        &self.request
    }

    /// How many of the next bytes belong to the current part, or the current line of it.
    fn reach(&self, bytes: &[u8]) -> usize {
        match self.part {
            Part::Body(left) | Part::Chunk(left) => bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            Part::Head | Part::ChunkSize | Part::Trailer => {
                bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| end + 1)
            }
            Part::Lost => bytes.len(),
        }
    }

    /// What comes after `taken` more bytes; nothing when the request is whole.
    fn advance(&mut self, taken: u64) -> Result<Option<Part>> {
        match self.part {
            Part::Body(left) => return Ok((left > taken).then(|| Part::Body(left - taken))),
            Part::Chunk(left) if left > taken => return Ok(Some(Part::Chunk(left - taken))),
            Part::Chunk(_) => {
                self.line = self.request.len();
                return Ok(Some(Part::ChunkSize));
            }
            Part::Lost => return Ok(Some(Part::Lost)),
            Part::Head | Part::ChunkSize | Part::Trailer => {}
        }
        if !self.request.ends_with(b"\n") {
            if self.request.len() - self.line > MAX_LINES {
                bail!("a line of more than {MAX_LINES} bytes");
            }
            return Ok(Some(self.part));
        }
        let line = self.request[self.line..].trim_ascii();
        let next = match self.part {
            // Empty lines before a request line are ignored (RFC 9112, section 2.2).
            Part::Head if line.is_empty() && self.line > 0 => after_head(&self.request)?,
            Part::Head if self.request.len() > MAX_LINES => bail!("a head of more than {MAX_LINES} bytes"),
            Part::ChunkSize => match chunk_size(line)? {
                0 => Some(Part::Trailer),
                size => Some(Part::Chunk(size + 2)),
            },
            Part::Trailer if line.is_empty() => None,
            part => Some(part),
        };
        self.line = self.request.len();
        Ok(next)
    }
}

fn after_head(head: &[u8]) -> Result<Option<Part>> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(head).context("not an HTTP/1.1 request")?;
    let named = |name: &str| request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    if named("transfer-encoding").is_some() {
        return Ok(Some(Part::ChunkSize));
    }
    let Some(length) = named("content-length") else { return Ok(None) };
    let length = std::str::from_utf8(length.value).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let length = length.context("a Content-Length that is not a number")?;
    Ok((length > 0).then_some(Part::Body(length)))
}

fn chunk_size(line: &[u8]) -> Result<u64> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let size = std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
    // Two are added for the line end.
    size.filter(|&size| size <= u64::MAX - 2).context("a chunk size that is not a hexadecimal number")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: [&str; 4] = [
        "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nGET / HTTP/\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n\r\n\r\n0\r\nA\r\n\r\n\n\n\r\n\r\n\r\n\r\n0\r\nT: 1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
    ];

    fn split(splitter: &mut Splitter, pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        for piece in pieces {
            splitter.feed(piece, |request| found.push(String::from_utf8(request.to_vec()).unwrap())).unwrap();
        }
        found
    }

    fn stream() -> Vec<u8> {
        // The body of the second is eleven bytes; its last line end is an empty line before the third.
        REQUESTS.concat().into_bytes()
    }

    #[test]
    fn splits_the_same_wherever_the_bytes_are_cut() {
        let stream = stream();
        let whole = split(&mut Splitter::default(), &[&stream]);
        assert_eq!(whole.len(), REQUESTS.len());
        assert_eq!(whole.concat().as_bytes(), stream, "not a byte is lost or moved");
        assert_eq!(whole[0], REQUESTS[0]);
        assert!(whole[2].ends_with("T: 1\r\n\r\n"));
        for cut in 0..stream.len() {
            assert_eq!(split(&mut Splitter::default(), &[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(split(&mut Splitter::default(), &bytes), whole);
    }

    #[test]
    fn keeps_what_is_not_whole() {
        let mut splitter = Splitter::default();
        assert!(split(&mut splitter, &[b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nsecret"]).is_empty());
        assert!(splitter.unfinished().ends_with(b"\r\n\r\nsecret"));
    }

    #[test]
    fn keeps_all_that_follows_bytes_it_does_not_understand() {
        let mut splitter = Splitter::default();
        assert!(splitter.feed(b"\x16\x03\x01 what\n\nsecret", |_| unreachable!()).is_err());
        splitter.feed(b" and more", |_| unreachable!()).unwrap();
        assert!(splitter.unfinished().ends_with(b"secret and more"));
    }
}
