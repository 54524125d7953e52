//! The head of a response (RFC 9112, sections 2 and 4).

use super::framing::{Side, declared};
use super::request::keep_alive;
use super::{BodyFraming, Error, Fields, Limits, Version};

/// A status line and its fields, byte-exact.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    fields: Fields,
    status: u16,
    version: Version,
    declared: Option<BodyFraming>,
    unframed: bool,
}

impl ResponseHead {
    /// Parses a head at the start of `input`: the head and its length, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// Any deviation listed at [`Error`]; the connection cannot be used any further then.
    pub fn parse(input: &[u8], limits: &Limits) -> Result<Option<(Self, usize)>, Error> {
        let Some((fields, len)) = Fields::parse(input, limits)? else { return Ok(None) };
        let (status, version) = status_line(&fields)?;
        let declared = declared(&fields, version, Side::Response)?;
        let head = Self { fields, status, version, declared, unframed: false };
        if head.is_bodiless() && !matches!(declared, None | Some(BodyFraming::Length(0))) {
            return Err(Error::BodyForbidden);
        }
        Ok(Some((head, len)))
    }

    /// A head whose status line was taken apart.
    pub(super) fn of(fields: Fields, status: u16, version: Version, declared: Option<BodyFraming>) -> Self {
        let unframed = version == Version::Http2 && declared.is_none();
        Self { fields, status, version, declared, unframed }
    }

    /// The status code, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The version of the status line.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether another response follows for the same request (1xx but 101, RFC 9110, 15.2).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// What ends the body of the response to a request with `method` (RFC 9112, 6.3).
    #[must_use]
    pub fn framing(&self, method: &str) -> BodyFraming {
        if method == "HEAD" || self.is_bodiless() || self.status == 304 {
            return BodyFraming::None;
        }
        self.declared.unwrap_or(BodyFraming::UntilClose)
    }

    /// Whether the server may answer another request on this connection (RFC 9112, 9.3). A body that ends with the
    /// connection settles it regardless.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        keep_alive(&self.fields, self.version)
    }

    /// The field lines.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The field lines, to edit: Alt-Svc goes, as it would lead the client around the interceptor.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// Whether nothing in the head says how long the body is, for another version of HTTP or another body: whoever sends it
    /// on has to frame it.
    #[must_use]
    pub fn is_unframed(&self) -> bool {
        self.unframed
    }

    /// Takes out what says how long the body is: it will have another length.
    pub fn unframe(&mut self) {
        self.fields.remove("content-length");
        self.fields.remove("transfer-encoding");
        self.declared = None;
        self.unframed = true;
    }

    /// The head to send on: the received bytes, but for edited lines.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        self.fields.render()
    }

    /// The head to send on when the connection ends with this response (RFC 9112, 9.6).
    #[must_use]
    pub fn render_last(mut self) -> Vec<u8> {
        self.fields.remove("connection");
        self.fields.remove("keep-alive");
        let mut head = self.fields.render();
        head.truncate(head.len() - b"\r\n".len());
        head.extend_from_slice(b"connection: close\r\n\r\n");
        head
    }

    fn is_bodiless(&self) -> bool {
        (100..200).contains(&self.status) || self.status == 204
    }
}

/// Reads the status line through httparse, which checks its grammar.
fn status_line(fields: &Fields) -> Result<(u16, Version), Error> {
    let raw = fields.raw();
    let mut headers = vec![httparse::EMPTY_HEADER; fields.len()];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(raw) {
        Ok(httparse::Status::Complete(len)) if len == raw.len() => {}
        Err(httparse::Error::Version) => return Err(Error::Version),
        _ => return Err(Error::StatusLine),
    }
    let status = response.code.filter(|code| *code >= 100).ok_or(Error::StatusLine)?;
    let version = if response.version == Some(1) { Version::Http11 } else { Version::Http10 };
    Ok((status, version))
}

/// Fuzz entry: whatever parses renders as it came, and does so whatever arrives behind it.
#[doc(hidden)]
pub fn fuzz_response_head(data: &[u8]) {
    let limits = Limits::default();
    let Ok(Some((mut head, len))) = ResponseHead::parse(data, &limits) else { return };
    assert_eq!(head.render(), data[..len]);
    assert!(matches!(ResponseHead::parse(&data[..len - 1], &limits), Ok(None)));
    assert_eq!(head.framing("HEAD"), BodyFraming::None);
    head.fields_mut().remove("alt-svc");
    let rendered = head.render();
    let again = ResponseHead::parse(&rendered, &limits).expect("an edited head is valid").expect("and complete").0;
    assert_eq!((again.status(), again.framing("GET")), (head.status(), head.framing("GET")));
    assert!(again.fields().get("Alt-Svc").is_none());
}
