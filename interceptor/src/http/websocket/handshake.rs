//! How a session begins: RFC 6455, section 4, and RFC 8441 for HTTP/2.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::fields::is_token;
use super::super::{BodyFraming, Fields, RequestHead, Version};
use super::extensions::{self, Extension};
use super::{Deflate, HandshakeError};

/// What an endpoint appends to the key (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What both sides agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// Compression, where it was agreed on.
    pub deflate: Option<Deflate>,
    /// The subprotocol, where one was chosen.
    pub protocol: Option<String>,
}

/// What the client of a session offered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offered {
    extensions: Vec<Extension>,
    protocols: Vec<String>,
}

/// A request for a WebSocket over HTTP/1.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    accept: String,
    offered: Offered,
}

/// Whether a request of HTTP/1.1 asks for a WebSocket, properly or not.
#[must_use]
pub fn switches(head: &RequestHead) -> bool {
    head.fields().lists("upgrade", "websocket")
}

impl Upgrade {
    /// Reads a request's head; `None` when it does not ask for a WebSocket.
    ///
    /// # Errors
    /// When it does so in a way that two readers could take differently, or of which the session could not be read.
    pub fn of(head: &RequestHead) -> Result<Option<Self>, HandshakeError> {
        let fields = head.fields();
        if !switches(head) {
            return Ok(None);
        }
        if head.method() != "GET" || head.version() == Version::Http10 || head.framing() != BodyFraming::None {
            return Err(HandshakeError::Request);
        }
        upgrades(fields)?;
        let offered = Offered::of(fields)?;
        let key = one(fields, "sec-websocket-key", HandshakeError::Key)?.ok_or(HandshakeError::Key)?;
        if STANDARD.decode(key).map(|key| key.len()) != Ok(16) {
            return Err(HandshakeError::Key);
        }
        Ok(Some(Self { accept: accept(key), offered }))
    }

    /// Reads the fields of the `101` that answers it.
    ///
    /// # Errors
    /// When it answers something else, or agrees to what could not be read.
    pub fn accepted(&self, fields: &Fields) -> Result<Negotiated, HandshakeError> {
        upgrades(fields)?;
        let accept = one(fields, "sec-websocket-accept", HandshakeError::Accept)?;
        if accept != Some(self.accept.as_bytes()) {
            return Err(HandshakeError::Accept);
        }
        self.offered.accepted(fields)
    }
}

impl Offered {
    /// Reads the fields of a request for a session.
    fn of(fields: &Fields) -> Result<Self, HandshakeError> {
        if one(fields, "sec-websocket-version", HandshakeError::Version)? != Some(b"13") {
            return Err(HandshakeError::Version);
        }
        let mut names = Vec::new();
        for value in fields.all("sec-websocket-protocol") {
            for name in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                let name = protocol(name)?;
                if names.contains(&name) {
                    return Err(HandshakeError::Protocols);
                }
                names.push(name);
            }
        }
        Ok(Self { extensions: extensions::listed(fields)?, protocols: names })
    }

    /// Reads the fields of the answer that agrees to the session.
    fn accepted(&self, fields: &Fields) -> Result<Negotiated, HandshakeError> {
        let deflate = extensions::agreed(&self.extensions, &extensions::listed(fields)?)?;
        let chosen = one(fields, "sec-websocket-protocol", HandshakeError::Protocol)?.map(protocol).transpose()?;
        match chosen {
            Some(name) if !self.protocols.contains(&name) => Err(HandshakeError::Protocol),
            protocol => Ok(Negotiated { deflate, protocol }),
        }
    }
}

fn upgrades(fields: &Fields) -> Result<(), HandshakeError> {
    let protocol = one(fields, "upgrade", HandshakeError::Upgrade)?;
    let exact = protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    if exact && fields.lists("connection", "upgrade") { Ok(()) } else { Err(HandshakeError::Upgrade) }
}

/// The field's value, which stands there once at most.
fn one<'a>(fields: &'a Fields, name: &str, error: HandshakeError) -> Result<Option<&'a [u8]>, HandshakeError> {
    let mut values = fields.all(name);
    let value = values.next();
    if values.next().is_some() { Err(error) } else { Ok(value) }
}

fn protocol(name: &[u8]) -> Result<String, HandshakeError> {
    let name = std::str::from_utf8(name).ok().filter(|name| is_token(name.as_bytes()));
    name.map(str::to_owned).ok_or(HandshakeError::Protocols)
}

/// The answer to a key. SHA-1 is the protocol's choice; nothing rests on its strength.
fn accept(key: &[u8]) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    STANDARD.encode(context.finish())
}
