//! How long a body is (RFC 9112, section 6.3).

use super::{Error, Fields, Version};

/// What ends a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is none: the next message starts right after the head.
    None,
    /// This many bytes.
    Length(u64),
    /// The last chunk and its trailers.
    Chunked,
    /// The end of the connection, or of the stream in HTTP/2. In HTTP/1, responses only.
    UntilClose,
}

/// Which message the framing fields belong to: requests get no leeway, because the endpoint reads them after us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// Reads the framing fields; `None` when there are none.
pub(super) fn declared(fields: &Fields, version: Version, side: Side) -> Result<Option<BodyFraming>, Error> {
    if side == Side::Request {
        refuse_disguises(fields)?;
    }
    let mut codings = fields.all("transfer-encoding");
    let mut lengths = fields.all("content-length");
    let (coding, length) = (codings.next(), lengths.next());
    if coding.is_some() && length.is_some() {
        return Err(Error::LengthAndTransferEncoding);
    }
    if lengths.next().is_some() {
        return Err(Error::DuplicateContentLength);
    }
    if let Some(coding) = coding {
        if version == Version::Http10 {
            return Err(Error::TransferEncodingIn10);
        }
        let exact = match side {
            Side::Request => coding == b"chunked" && !fields.has_tab_around("transfer-encoding"),
            // Coding names are case-insensitive (RFC 9112, 7), and nobody reads a response after the client.
            Side::Response => coding.eq_ignore_ascii_case(b"chunked"),
        };
        if !exact || codings.next().is_some() {
            return Err(Error::TransferEncoding);
        }
        return Ok(Some(BodyFraming::Chunked));
    }
    let Some(length) = length else { return Ok(None) };
    if side == Side::Request && fields.has_tab_around("content-length") {
        return Err(Error::InvalidContentLength);
    }
    parse_length(length).map(BodyFraming::Length).map(Some)
}

/// The Content-Length of a message of HTTP/2, where it says nothing about where the body ends.
pub(super) fn content_length(fields: &Fields) -> Result<Option<u64>, Error> {
    refuse_disguises(fields)?;
    let mut lengths = fields.all("content-length");
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Error::DuplicateContentLength);
    }
    length.map(parse_length).transpose()
}

/// What makes some servers overlook a framing field, or see one where there is none. Responses are free of this: some
/// content networks do send `Connection: Transfer-Encoding`.
fn refuse_disguises(fields: &Fields) -> Result<(), Error> {
    if let Some(offset) = fields.disguised_framing() {
        return Err(Error::DisguisedFraming { offset });
    }
    if ["host", "content-length", "transfer-encoding"].iter().any(|name| fields.lists("connection", name)) {
        return Err(Error::FramingNominated);
    }
    Ok(())
}

/// Digits only: `str::parse` alone would take a leading plus.
fn parse_length(value: &[u8]) -> Result<u64, Error> {
    let digits = std::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|v| v.parse().ok()).ok_or(Error::InvalidContentLength)
}
