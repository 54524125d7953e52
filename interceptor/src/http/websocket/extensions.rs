//! `Sec-WebSocket-Extensions` (RFC 6455, section 9) and the parameters of permessage-deflate (RFC 7692, section 7.1).
//!
//! ```text
//! offered   permessage-deflate; client_max_window_bits, permessage-deflate
//! accepted  permessage-deflate; server_no_context_takeover; client_max_window_bits=12
//! ```

use super::super::Fields;
use super::super::fields::is_token;
use super::{HandshakeError, Peer};

const NAME: &str = "sec-websocket-extensions";

const DEFLATE: &str = "permessage-deflate";

/// What both sides agreed on for compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Each message of the client is compressed without regard to the ones before.
    pub client_no_context_takeover: bool,
    /// Each message of the endpoint is.
    pub server_no_context_takeover: bool,
    /// The client's compressor looks back no further than 2 to the power of this, in bytes; 8 to 15.
    pub client_max_window_bits: u8,
    /// The endpoint's.
    pub server_max_window_bits: u8,
}

impl Default for Deflate {
    /// As without parameters.
    fn default() -> Self {
        Self {
            client_no_context_takeover: false,
            server_no_context_takeover: false,
            client_max_window_bits: 15,
            server_max_window_bits: 15,
        }
    }
}

impl Deflate {
    /// How far `sender`'s compressor looks back.
    pub(super) fn window_bits(&self, sender: Peer) -> u8 {
        match sender {
            Peer::Client => self.client_max_window_bits,
            Peer::Endpoint => self.server_max_window_bits,
        }
    }

    /// Whether `sender`'s messages may refer to the ones before.
    pub(super) fn takeover(&self, sender: Peer) -> bool {
        match sender {
            Peer::Client => !self.client_no_context_takeover,
            Peer::Endpoint => !self.server_no_context_takeover,
        }
    }

    fn accepted(extension: &Extension) -> Result<Self, HandshakeError> {
        let mut agreed = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in &extension.parameters {
            match (name.as_str(), value.as_deref()) {
                ("client_no_context_takeover", None) => agreed.client_no_context_takeover = true,
                ("server_no_context_takeover", None) => agreed.server_no_context_takeover = true,
                ("client_max_window_bits", Some(bits)) => agreed.client_max_window_bits = window_bits(bits)?,
                ("server_max_window_bits", Some(bits)) => agreed.server_max_window_bits = window_bits(bits)?,
                _ => return Err(HandshakeError::DeflateParameters),
            }
            if seen.contains(&name.as_str()) {
                return Err(HandshakeError::DeflateParameters);
            }
            seen.push(name);
        }
        Ok(agreed)
    }
}

/// 8 to 15, without leading zeros (RFC 7692, 7.1.2).
fn window_bits(value: &str) -> Result<u8, HandshakeError> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits) && !value.starts_with(['0', '+']));
    bits.ok_or(HandshakeError::DeflateParameters)
}

/// One element of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extension {
    name: String,
    parameters: Vec<(String, Option<String>)>,
}

/// Every extension that is listed, in order.
pub(super) fn listed(fields: &Fields) -> Result<Vec<Extension>, HandshakeError> {
    let mut found = Vec::new();
    for value in fields.all(NAME) {
        let value = std::str::from_utf8(value).map_err(|_| HandshakeError::Extensions)?;
        let elements = split(value, ',').ok_or(HandshakeError::Extensions)?;
        for element in elements.into_iter().filter(|element| !element.is_empty()) {
            found.push(Extension::parse(element).ok_or(HandshakeError::Extensions)?);
        }
    }
    Ok(found)
}

/// What was agreed on, when `answer` was given to `offers`.
pub(super) fn agreed(offers: &[Extension], answer: &[Extension]) -> Result<Option<Deflate>, HandshakeError> {
    let [extension] = answer else {
        // Of several at least one is none that can be read.
        let strange = answer.iter().find(|extension| extension.name != DEFLATE);
        return match strange.or(answer.first()) {
            None => Ok(None),
            Some(extension) => Err(HandshakeError::Unreadable(extension.name.clone())),
        };
    };
    let mut offered = offers.iter().filter(|offer| offer.name == extension.name).peekable();
    if offered.peek().is_none() {
        return Err(HandshakeError::NotOffered);
    }
    if extension.name != DEFLATE {
        return Err(HandshakeError::Unreadable(extension.name.clone()));
    }
    let agreed = Deflate::accepted(extension)?;
    // The window of the client's compressor may be limited only where the client said that it knows how to
    // (RFC 7692, 7.1.2.2).
    if extension.has("client_max_window_bits") && !offered.any(|offer| offer.has("client_max_window_bits")) {
        return Err(HandshakeError::NotOffered);
    }
    Ok(Some(agreed))
}

impl Extension {
    /// `token *( ";" token [ "=" ( token / quoted-string ) ] )`. Names are compared without case by some and with it by
    /// others; every one that is known is in lower case, and another spelling is another extension here.
    fn parse(element: &str) -> Option<Self> {
        let mut parts = split(element, ';')?.into_iter();
        let name = parts.next().filter(|name| is_token(name.as_bytes()))?.to_owned();
        let parameters = parts.map(parameter).collect::<Option<_>>()?;
        Some(Self { name, parameters })
    }

    fn has(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|(name, _)| name == parameter)
    }
}

fn parameter(text: &str) -> Option<(String, Option<String>)> {
    let (name, value) = match text.split_once('=') {
        None => (text, None),
        Some((name, value)) => (name.trim_end_matches([' ', '\t']), Some(value.trim_start_matches([' ', '\t']))),
    };
    let value = match value {
        None => None,
        // What is quoted must be a token too (RFC 6455, 9.1).
        Some(value) => Some(value.strip_prefix('"').map_or(Some(value), |inner| inner.strip_suffix('"'))?),
    };
    let tokens = is_token(name.as_bytes()) && value.is_none_or(|value| is_token(value.as_bytes()));
    tokens.then(|| (name.to_owned(), value.map(str::to_owned)))
}

/// Splits at separators outside of quotes; nothing when a quote is left open.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            _ if c == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then(|| parts.into_iter().map(|part| part.trim_matches([' ', '\t'])).collect())
}
