//! The ClientHello, read piece by piece without answering (RFC 8446, section 4.1.2). Post-quantum key shares make it
//! larger than a segment, and a client may cut it into records as it likes.

use rustls::Error;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};

/// The most bytes a ClientHello may take, record headers included. Below the 64 KiB at which rustls stops joining
/// records, so that a piece is always taken whole.
const MAX_HELLO: usize = 60 * 1024;

/// The largest piece that is handed to rustls at once; its buffer has room for it beside any unfinished record.
pub(super) const PIECE: usize = 2048;

/// `handshake` in the first byte of a record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

const RECORD_HEADER: usize = 5;

/// `encrypted_client_hello` (RFC 9849).
const ECH: u16 = 0xfe0d;

/// What the bytes so far turned out to be, when not the beginning of a ClientHello.
pub(super) enum Fault {
    NotTls { first: u8 },
    TooLarge,
    Refused { error: Error, alert: Vec<u8> },
}

/// Collects a ClientHello.
#[derive(Default)]
pub(super) struct HelloReader {
    acceptor: Acceptor,
    bytes: Vec<u8>,
}

impl HelloReader {
    /// Takes the next piece, at most [`PIECE`] bytes; gives the ClientHello once it is whole.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<Accepted>, Fault> {
        debug_assert!(piece.len() <= PIECE);
        match self.bytes.first().or(piece.first()) {
            None => return Ok(None),
            Some(&HANDSHAKE) => {}
            Some(&first) => return Err(Fault::NotTls { first }),
        }
        if self.bytes.len() + piece.len() > MAX_HELLO {
            return Err(Fault::TooLarge);
        }
        self.bytes.extend_from_slice(piece);
        let mut rest = piece;
        while !rest.is_empty() {
            // Reading from a slice fails only when the buffer of rustls is full.
            if !matches!(self.acceptor.read_tls(&mut rest), Ok(1..)) {
                return Err(Fault::TooLarge);
            }
        }
        self.acceptor.accept().map_err(|(error, alert)| Fault::Refused { error, alert: alert_bytes(alert) })
    }

    /// Everything taken so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything taken, to be replayed to the endpoint.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn alert_bytes(mut alert: AcceptedAlert) -> Vec<u8> {
    let mut bytes = Vec::new();
    alert.write_all(&mut bytes).expect("writing to a vector does not fail");
    bytes
}

/// Whether the ClientHello in `records` carries an `encrypted_client_hello` extension, real or GREASE: they cannot be
/// told apart by an observer, which is the point of GREASE (RFC 9849, section 6.2).
pub(super) fn offers_ech(records: &[u8]) -> bool {
    has_extension(&join_records(records), ECH).unwrap_or(false)
}

/// The payload of the handshake records, one after another.
fn join_records(mut records: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(records.len());
    while let [HANDSHAKE, _, _, high, low, rest @ ..] = records {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        message.extend_from_slice(&rest[..len]);
        records = &records[RECORD_HEADER + len..];
    }
    message
}

/// Walks the extensions of the ClientHello that `message` starts with. `None` when it ends early.
fn has_extension(message: &[u8], wanted: u16) -> Option<bool> {
    let mut body = Walker(message);
    // Handshake type and length, version, random.
    body.take(1 + 3 + 2 + 32)?;
    body.vector8()?; // session id
    body.vector16()?; // cipher suites
    body.vector8()?; // compression methods
    let mut extensions = Walker(body.vector16()?);
    while !extensions.0.is_empty() {
        let kind = u16::from_be_bytes(extensions.take(2)?.try_into().ok()?);
        extensions.vector16()?;
        if kind == wanted {
            return Some(true);
        }
    }
    Some(false)
}

/// Takes length-prefixed vectors off the front (RFC 8446, section 3.4).
struct Walker<'a>(&'a [u8]);

impl<'a> Walker<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let len = self.take(1)?[0];
        self.take(len.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let len = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(len.into())
    }
}

/// Fuzzing entry: any bytes, whole and cut in two, come to the same end.
///
/// # Panics
/// When they do not.
#[doc(hidden)]
pub fn fuzz_client_hello(bytes: &[u8]) {
    let whole = outcome(bytes.chunks(PIECE));
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let cut = outcome(head.chunks(PIECE).chain(tail.chunks(PIECE)));
    assert_eq!(whole, cut, "a ClientHello means the same however it is cut");
    offers_ech(bytes);
}

/// What became of the pieces, in comparable form: the name and protocols asked for, or the kind of fault.
fn outcome<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut reader = HelloReader::default();
    for piece in pieces {
        match reader.push(piece) {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let alpn: Option<Vec<_>> = hello.alpn().map(Iterator::collect);
                return format!("{:?} {alpn:?}", hello.server_name());
            }
            Err(Fault::NotTls { first }) => return format!("not TLS: {first}"),
            Err(Fault::TooLarge) => return "too large".into(),
            Err(Fault::Refused { error, .. }) => return error.to_string(),
        }
    }
    "unfinished".into()
}
