//! The client's side of a connection, from its first byte to the end of the handshake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::DEFAULT_CIPHER_SUITES;
use rustls::pki_types::DnsName;
use rustls::server::Accepted;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::hello::{Fault, HelloReader, PIECE, offers_ech};
use super::mint::knows_no_ecdsa;
use super::refusal;

/// How long a client may take to accept an alert.
const ALERT_PATIENCE: Duration = Duration::from_secs(1);

/// What a client asks for. Nothing has been answered yet.
pub struct Hello<IO> {
    /// The server name, in lower case. `None` when the client sent none, or one that is no DNS name.
    pub sni: Option<DnsName<'static>>,
    /// The application protocols offered, in the client's order. Empty when it offered none.
    pub alpn: Vec<Vec<u8>>,
    /// Whether an Encrypted ClientHello extension was there. Many clients send a meaningless one (GREASE), so this
    /// alone proves nothing; a real one shows as a foreign [`sni`](Self::sni).
    pub ech: bool,
    /// Whether it can verify RSA leaves only: see [`LeafCache::prepare`](super::LeafCache::prepare).
    pub knows_no_ecdsa: bool,
    accepted: Accepted,
    bytes: Vec<u8>,
    io: IO,
}

/// Why there is no TLS session with the client.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The client closed before its first byte.
    #[error("the client closed without sending anything")]
    Closed,
    /// Not TLS at all.
    #[error("the client does not speak TLS: its first byte is {first:#04x}")]
    NotTls {
        /// The first byte.
        first: u8,
    },
    /// The client closed inside the ClientHello.
    #[error("the client closed after {received} bytes of an unfinished ClientHello")]
    Truncated {
        /// Bytes received.
        received: usize,
    },
    /// No real ClientHello is that large.
    #[error("the ClientHello exceeds 60 KiB")]
    TooLarge,
    /// The deadline passed.
    #[error("the client did not finish its {stage} in time")]
    Timeout {
        /// `ClientHello` or `handshake`.
        stage: &'static str,
    },
    /// The client looked at the leaf and does not trust it. Install the internal CA where this client looks.
    #[error(
        "the client refused the internal CA's certificate with alert {alert:?}; it needs the CA in its trust store"
    )]
    ClientRefusedCa {
        /// The alert it sent.
        alert: AlertDescription,
    },
    /// The client ended the handshake for another reason that it named.
    #[error("the client ended the handshake with alert {alert:?}")]
    ClientAlert {
        /// The alert it sent.
        alert: AlertDescription,
    },
    /// The client closed during the handshake without a word. Some do that when they do not trust the CA.
    #[error("the client closed during the handshake, without an alert; perhaps it does not trust the internal CA")]
    ClosedInHandshake,
    /// The client finished the handshake, and closed without a request. Some do that when they do not trust the CA.
    #[error("the client closed after the handshake, without a request; perhaps it does not trust the internal CA")]
    ClosedAfterHandshake,
    /// The client broke the protocol, or shares no version, cipher suite or application protocol with us.
    #[error("TLS with the client failed: {0}")]
    Protocol(#[source] rustls::Error),
    /// The connection broke.
    #[error("the connection of the client broke: {0}")]
    Io(#[source] io::Error),
}

/// Reads the ClientHello until `deadline`, answering nothing unless it is malformed. `read` are the bytes of it that
/// were read before.
///
/// # Errors
/// See [`AcceptError`]. A malformed ClientHello has been answered with its alert.
pub async fn accept<IO>(mut io: IO, read: &[u8], deadline: Instant) -> Result<Hello<IO>, AcceptError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut reader = HelloReader::default();
    let mut early = read.chunks(PIECE);
    let mut buffer = [0; PIECE];
    loop {
        let piece = match early.next() {
            Some(piece) => piece,
            None => {
                let read = timeout_at(deadline, io.read(&mut buffer)).await;
                let len = read.map_err(|_| AcceptError::Timeout { stage: "ClientHello" })?.map_err(AcceptError::Io)?;
                &buffer[..len]
            }
        };
        if piece.is_empty() {
            return Err(match reader.bytes().len() {
                0 => AcceptError::Closed,
                received => AcceptError::Truncated { received },
            });
        }
        match reader.push(piece) {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let bytes = [reader.into_bytes(), early.flatten().copied().collect()].concat();
                return Ok(Hello::new(accepted, bytes, io));
            }
            Err(Fault::NotTls { first }) => return Err(AcceptError::NotTls { first }),
            Err(Fault::TooLarge) => {
                say_last(&mut io, &fatal(AlertDescription::RecordOverflow)).await;
                return Err(AcceptError::TooLarge);
            }
            Err(Fault::Refused { error, alert }) => {
                // rustls has an alert for most faults, not for all.
                let alert = if alert.is_empty() { &fatal(AlertDescription::DecodeError) } else { &alert[..] };
                say_last(&mut io, alert).await;
                return Err(AcceptError::Protocol(error));
            }
        }
    }
}

impl<IO> Hello<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    fn new(accepted: Accepted, bytes: Vec<u8>, io: IO) -> Self {
        let hello = accepted.client_hello();
        let sni =
            hello.server_name().and_then(|name| DnsName::try_from(name).ok().map(|name| name.to_lowercase_owned()));
        let alpn = hello.alpn().map(|offered| offered.map(<[u8]>::to_vec).collect()).unwrap_or_default();
        let knows_no_ecdsa = knows_no_ecdsa(&hello, DEFAULT_CIPHER_SUITES);
        Self { sni, alpn, ech: offers_ech(&bytes), knows_no_ecdsa, accepted, bytes, io }
    }

    /// The connection, for its addresses.
    pub fn io(&self) -> &IO {
        &self.io
    }

    /// Finishes the handshake as the server that `config` makes us, until `deadline`.
    ///
    /// # Errors
    /// See [`AcceptError`]; a client that does not trust the CA is [`AcceptError::ClientRefusedCa`].
    pub async fn intercept(self, config: Arc<ServerConfig>, deadline: Instant) -> Result<TlsStream<IO>, AcceptError> {
        let handshake = StartHandshake::from_parts(self.accepted, self.io).into_stream(config);
        timeout_at(deadline, handshake)
            .await
            .map_err(|_| AcceptError::Timeout { stage: "handshake" })?
            .map_err(refusal::in_handshake)
    }

    /// Ends the connection with a fatal alert: [`AlertDescription::UnrecognisedName`] for a name that is not served
    /// here, [`AlertDescription::AccessDenied`] when policy forbids it.
    pub async fn deny(mut self, alert: AlertDescription) {
        say_last(&mut self.io, &fatal(alert)).await;
    }

    /// Gives the connection up, untouched: with the bytes read so far replayed, the endpoint sees the client's own
    /// handshake.
    #[must_use]
    pub fn splice(self) -> (IO, Vec<u8>) {
        (self.io, self.bytes)
    }
}

impl<IO> std::fmt::Debug for Hello<IO> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello").field("sni", &self.sni).field("alpn", &self.alpn).field("ech", &self.ech).finish()
    }
}

/// A record with one fatal alert (RFC 8446, section 6), sent before any version is agreed.
fn fatal(alert: AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert.into()]
}

/// Sends the last bytes of a connection, as far as the client takes them.
async fn say_last<IO: AsyncWrite + Unpin>(io: &mut IO, bytes: &[u8]) {
    let farewell = async {
        io.write_all(bytes).await?;
        io.shutdown().await
    };
    // The connection ends either way; a client that is gone does not hear why.
    let _ = timeout(ALERT_PATIENCE, farewell).await;
}
