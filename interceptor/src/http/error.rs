//! Why a message is refused.

use thiserror::Error;

/// A message that is malformed, ambiguous or over a limit. Offsets count from the first byte of the head. No variant
/// carries the peer's bytes, so that an error can be logged and sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// RFC 9112, 2.2: an empty line before the start line. It may be skipped by a lenient server, so it is refused.
    #[error("an empty line stands before the start line")]
    EmptyStartLine,
    /// RFC 9112, 2.2: a line ends in LF without CR.
    #[error("the line ends in a bare LF at byte {offset}; lines must end in CRLF")]
    BareLf {
        /// Of the LF.
        offset: usize,
    },
    /// RFC 9112, 2.2: a CR that is not followed by LF.
    #[error("a bare CR at byte {offset}; lines must end in CRLF")]
    BareCr {
        /// Of the CR.
        offset: usize,
    },
    /// RFC 9110, 5.5: NUL or another control character in a head or a chunk extension.
    #[error("a control character at byte {offset}")]
    ControlCharacter {
        /// Of the character.
        offset: usize,
    },
    /// RFC 9112, 5.2: a field value folded over lines.
    #[error("a folded header line (obs-fold) at byte {offset}; put the value on one line")]
    ObsFold {
        /// Of the folded line.
        offset: usize,
    },
    /// RFC 9112, 5: a field line without a colon.
    #[error("a header line without a colon at byte {offset}")]
    MissingColon {
        /// Of the line.
        offset: usize,
    },
    /// RFC 9112, 5.1: whitespace between field name and colon.
    #[error("whitespace before the colon of the header line at byte {offset}")]
    WhitespaceBeforeColon {
        /// Of the line.
        offset: usize,
    },
    /// RFC 9110, 5.1: a field name that is empty or holds anything but token characters (so: ASCII only).
    #[error("an invalid header name at byte {offset}")]
    InvalidFieldName {
        /// Of the line.
        offset: usize,
    },
    /// The head has no end within the limit (RFC 9110, 5.4; status 431 of RFC 6585).
    #[error("the head is larger than {limit} bytes")]
    HeadTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The head has more field lines than the limit (RFC 6585, 5).
    #[error("the head has more than {limit} header lines")]
    TooManyFields {
        /// In lines.
        limit: usize,
    },
    /// RFC 9112, 3: the request line is not `method SP target SP HTTP/1.x`.
    #[error("the request line is malformed")]
    RequestLine,
    /// RFC 9112, 4: the status line is not `HTTP/1.x SP status [SP reason]`.
    #[error("the status line is malformed")]
    StatusLine,
    /// RFC 9110, 2.5: a version other than 1.0 and 1.1.
    #[error("the HTTP version is not 1.0 or 1.1")]
    Version,
    /// RFC 9113, 3.4: the peer speaks HTTP/2 although HTTP/1.1 was negotiated.
    #[error("an HTTP/2 preface on a connection that negotiated HTTP/1.1; offer http/1.1 in ALPN or use --http1.1")]
    Http2Preface,
    /// RFC 9110, 9.3.6: CONNECT asks for a tunnel, which could not be read.
    #[error("CONNECT is refused: this endpoint is not a proxy")]
    Connect,
    /// RFC 9112, 3.2: the target is in none of the forms its method allows.
    #[error("the request target is malformed")]
    Target,
    /// RFC 9112, 3.2.2: the authority of an absolute-form target is not the Host field's.
    #[error("the request target and the Host header name different hosts")]
    TargetHostMismatch,
    /// RFC 9112, 3.2: an HTTP/1.1 request without Host.
    #[error("an HTTP/1.1 request without a Host header")]
    MissingHost,
    /// RFC 9112, 3.2: more than one Host.
    #[error("more than one Host header")]
    DuplicateHost,
    /// RFC 9110, 7.2: a Host that is not `host [":" port]`.
    #[error("the Host header is not a host with an optional port")]
    InvalidHost,
    /// RFC 9112, 6.3: more than one Content-Length, even if they agree.
    #[error("more than one Content-Length header")]
    DuplicateContentLength,
    /// RFC 9110, 8.6: a Content-Length that is not digits only (a sign, a space, a list), or beyond 64 bits.
    #[error("the Content-Length is not a decimal number")]
    InvalidContentLength,
    /// RFC 9112, 6.1 and 6.3: both lengths are given. The classic smuggling vector.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndTransferEncoding,
    /// RFC 9112, 6.1: a transfer coding other than exactly `chunked`, or more than one.
    #[error("a Transfer-Encoding other than exactly \"chunked\"")]
    TransferEncoding,
    /// RFC 9112, 6.1: HTTP/1.0 knows no transfer codings.
    #[error("a Transfer-Encoding in an HTTP/1.0 message")]
    TransferEncodingIn10,
    /// A name that some servers read as Content-Length, Transfer-Encoding or Host (`_` for `-`, as CGI does).
    #[error("a header name that can be mistaken for a framing header, at byte {offset}")]
    DisguisedFraming {
        /// Of the line.
        offset: usize,
    },
    /// RFC 9110, 7.6.1: Connection names a field that is for all recipients, so that an intermediary would remove it.
    #[error("the Connection header names Host, Content-Length or Transfer-Encoding")]
    FramingNominated,
    /// RFC 9113, 8.2.2: a field of one connection in a message of HTTP/2.
    #[error("a header that belongs to a connection of HTTP/1 in a message of HTTP/2")]
    ConnectionField,
    /// RFC 9113, 8.2.1: whitespace around a value, or a character that no value has.
    #[error("an invalid header value")]
    InvalidFieldValue,
    /// RFC 9112, 6.1: a body announced where none can be (1xx, 204).
    #[error("a response that cannot have a body announces one")]
    BodyForbidden,
    /// RFC 9112, 7.1: a chunk size that is not 1 to 16 hexadecimal digits.
    #[error("a chunk size is not 1 to 16 hexadecimal digits")]
    ChunkSize,
    /// RFC 9112, 7.1: no CRLF where a chunk line or its data must end.
    #[error("a chunk does not end in CRLF")]
    ChunkEnd,
    /// RFC 9112, 7.1.1: the extensions of one body are over the limit.
    #[error("the chunk extensions are longer than {limit} bytes")]
    ChunkExtensionsTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// RFC 9112, 7.1.2: the trailer section is over the limit.
    #[error("the trailers are longer than {limit} bytes")]
    TrailersTooLarge {
        /// In bytes.
        limit: usize,
    },
    /// RFC 9110, 6.5.1: a trailer that would change framing, routing or authentication.
    #[error("a trailer that is only allowed in the head")]
    ForbiddenTrailer,
    /// RFC 9110, 15.5.14: the body is over the endpoint's limit.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// In bytes.
        limit: u64,
    },
    /// RFC 9112, 8: the connection closed before the body's end.
    #[error("the connection closed before the end of the body")]
    Truncated,
}
