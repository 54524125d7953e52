//! The close frame (RFC 6455, sections 5.5.1 and 7.4).

use bytes::Bytes;

use super::Error;
use super::frame::{self, MAX_CONTROL};

/// What a close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The status code, where there is one.
    pub code: Option<u16>,
    /// The reason; empty where there is none.
    pub reason: String,
}

impl Close {
    /// Reads the payload of a close frame.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Error> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() {
                Ok(Self { code: None, reason: String::new() })
            } else {
                Err(Error::CloseLength)
            };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Error::CloseCode(code));
        }
        let reason = std::str::from_utf8(reason).map_err(|_| Error::Utf8)?.to_owned();
        Ok(Self { code: Some(code), reason })
    }
}

/// Whether a status code may stand in a frame: it is defined for that, or in the ranges of libraries and applications. The
/// codes 1012 to 1014 were registered after RFC 6455.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A close frame; masked when there is a key, as a client's must be. Of a reason that is too long the end is left out.
#[must_use]
pub fn close_frame(code: u16, reason: &str, key: Option<[u8; 4]>) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_CONTROL - payload.len())]);
    frame::encode(frame::CLOSE, false, &payload, key)
}
