//! Syslog: RFC 5424 messages over TLS (RFC 5425) or TCP (RFC 6587), each with its length before it.
//!
//! Syslog has no acknowledgement. What a receiver has not read when it dies is gone, and its host has acknowledged it all
//! the same. So events count as taken only when their connection has lived on for a while after that; when it breaks
//! before, they are sent again.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::event::{Event, What};
use super::net::{GONE, Io, Net, Peer};
use super::receiver::{Refused, SetupError, patience};
use super::settings::{self, SyslogTransport, Tls};
use crate::flow::Severity;

/// How long it may take to close its side of a connection after we closed ours.
const CLOSE: Duration = Duration::from_secs(2);
/// The longest part of a header that names a host (RFC 5424 section 6).
const MAX_HOST: usize = 255;
/// Severities.
const ERROR: u8 = 3;
const WARNING: u8 = 4;
const NOTICE: u8 = 5;
const INFORMATIONAL: u8 = 6;

/// A syslog receiver.
pub(super) struct Syslog {
    peer: Peer,
    description: String,
    facility: u8,
    settle: Duration,
    stream: Option<Box<dyn Io>>,
    /// Bytes of messages that were written to it.
    written: u64,
}

impl std::fmt::Debug for Syslog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syslog").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Syslog {
    pub(super) fn new(settings: &settings::Syslog, tls: &Tls, net: &Net) -> Result<Self, SetupError> {
        let wrong = || SetupError::Value(format!("address {:?} is not HOST:PORT", settings.address));
        let (host, port) = settings.address.rsplit_once(':').ok_or_else(wrong)?;
        let (host, port) = (host.trim_start_matches('[').trim_end_matches(']'), port.parse().map_err(|_| wrong())?);
        if host.is_empty() {
            return Err(wrong());
        }
        if settings.facility > 23 {
            return Err(SetupError::Value(format!("facility {} is none; they are 0 to 23", settings.facility)));
        }
        if settings.settle_s < GONE.as_secs() {
            return Err(SetupError::Value(format!(
                "settle_s is less than {}: no broken connection would be noticed in time",
                GONE.as_secs()
            )));
        }
        let (peer, over) = match settings.transport {
            SyslogTransport::Tls => (Peer::verified(net, (host, port), &[], tls)?, "TLS"),
            SyslogTransport::Tcp if *tls != Tls::default() => {
                return Err(SetupError::Value(
                    "transport \"tcp\" speaks no TLS; leave out ca_file, client_cert_file and client_key_file".into(),
                ));
            }
            SyslogTransport::Tcp => (Peer::plain(net, host, port), "TCP in the clear"),
        };
        Ok(Self {
            peer,
            description: format!("syslog at {} over {over}", settings.address),
            facility: settings.facility,
            settle: Duration::from_secs(settings.settle_s),
            stream: None,
            written: 0,
        })
    }

    pub(super) fn describe(&self) -> String {
        self.description.clone()
    }

    pub(super) fn settles_after(&self) -> Duration {
        self.settle
    }

    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        if self.stream.is_none() {
            (self.stream, self.written) = (Some(self.peer.connect().await.map_err(Refused::later)?), 0);
        }
        let Some(stream) = &mut self.stream else { return Err(Refused::later("no connection")) };
        let mut bytes = Vec::new();
        for event in events {
            frame(self.facility, event, &mut bytes);
        }
        let write = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        let written = match timeout(patience(bytes.len()), write).await {
            Ok(written) => written.map_err(|e| e.to_string()),
            Err(_) => Err("the receiver does not read".to_owned()),
        };
        match written {
            Ok(()) => {
                self.written += bytes.len() as u64;
                Ok(())
            }
            Err(why) => {
                self.stream = None;
                Err(Refused::later(why))
            }
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// What TLS adds makes it less than there is: never more.
    pub(super) fn acknowledged(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| self.written.saturating_sub(stream.unacknowledged()))
    }

    /// A receiver says nothing; it ends the connection, or the connection breaks.
    pub(super) async fn lost(&mut self) -> Option<String> {
        let Some(stream) = &mut self.stream else { return Some("the connection broke".to_owned()) };
        let mut said = [0; 4096];
        let why = loop {
            // The end comes after all that was said before.
            match timeout(Duration::ZERO, stream.read(&mut said)).await {
                Err(_) => return None,
                Ok(Ok(0)) => break "the receiver closed the connection".to_owned(),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => break error.to_string(),
            }
        };
        self.stream = None;
        Some(why)
    }

    /// A receiver that closes the connection because we did has read everything before.
    pub(super) async fn finish(&mut self) -> bool {
        let Some(mut stream) = self.stream.take() else { return false };
        let closing = async {
            stream.shutdown().await?;
            let mut said = [0; 256];
            while stream.read(&mut said).await? > 0 {}
            std::io::Result::Ok(())
        };
        matches!(timeout(CLOSE, closing).await, Ok(Ok(())))
    }
}

/// Appends the message of an event: `LENGTH <PRI>1 TIME HOST interceptor - KIND - TEXT`.
fn frame(facility: u8, event: &Event, bytes: &mut Vec<u8>) {
    let severity = match &event.what {
        What::Checkpoint { .. } => INFORMATIONAL,
        What::Note { .. } => match event.severity() {
            Some(Severity::Low) => NOTICE,
            Some(Severity::Medium) => WARNING,
            _ => ERROR,
        },
        What::Record(record) => match record.decision.action.as_deref() {
            Some("deny") => WARNING,
            Some("mask") => NOTICE,
            _ => INFORMATIONAL,
        },
    };
    // Nine decimals are more than the six that a time may have.
    let time = event.time().to_string();
    let (seconds, fraction) = time.split_once('.').unwrap_or((&time, "000000"));
    let is_printable = |c: &char| c.is_ascii_graphic();
    let host: String = event.host().chars().filter(is_printable).take(MAX_HOST).collect();
    let host = if host.is_empty() { "-" } else { &host };
    let mut header = String::new();
    let _ = write!(
        header,
        "<{}>1 {seconds}.{}Z {host} interceptor - {} - ",
        u16::from(facility) * 8 + u16::from(severity),
        fraction.get(..6).unwrap_or("000000"),
        event.kind()
    );
    bytes.extend_from_slice(format!("{} ", header.len() + event.text.len()).as_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(event.text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::event::of;
    use super::*;
    use crate::audit::{Record, Time};
    use crate::flow::ExchangeId;
    use crate::siem::Format;

    #[test]
    fn a_message_is_what_rfc_5424_says_with_its_length_before_it() {
        let mut record = Record::new(ExchangeId::from_bytes([7; 16]));
        record.time = Time::from_unix_ns(1_700_000_000_123_456_789);
        record.host = "build 7".into();
        record.decision.action = Some("deny".into());
        let mut event = of(Format::Jsonl, record);
        event.text = "é".into();
        let mut bytes = Vec::new();
        frame(13, &event, &mut bytes);
        let message = "<108>1 2023-11-14T22:13:20.123456Z build7 interceptor - record - é";
        assert_eq!(String::from_utf8(bytes).unwrap(), format!("{} {message}", message.len()));
    }

    fn syslog(address: std::net::SocketAddr) -> Syslog {
        let settings = toml::from_str(&format!("address = '{address}'\ntransport = 'tcp'")).unwrap();
        Syslog::new(&settings, &Tls::default(), &Net::default()).unwrap()
    }

    fn event(text: String) -> Event {
        let mut event = of(Format::Jsonl, Record::new(ExchangeId::from_bytes([7; 16])));
        event.text = text;
        event
    }

    #[tokio::test]
    async fn what_was_acknowledged_counts_while_more_is_on_its_way() {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.set_recv_buffer_size(2048).unwrap();
        listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let mut syslog = syslog(listener.local_addr().unwrap().as_socket().unwrap());
        syslog.deliver(&[event("first".into())]).await.unwrap();
        let first = syslog.written();
        let read_by_its_host = async {
            while syslog.acknowledged() < first {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), read_by_its_host).await.unwrap();
        // More than the receiver, which reads nothing, has room for.
        syslog.deliver(&[event("x".repeat(32 << 10))]).await.unwrap();
        assert!((first..syslog.written()).contains(&syslog.acknowledged()), "{}", syslog.acknowledged());
    }

    #[tokio::test]
    async fn an_end_after_much_that_was_said_is_noticed() {
        use std::io::Write as _;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut syslog = syslog(listener.local_addr().unwrap());
        syslog.deliver(&[event("text".into())]).await.unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        assert_eq!(syslog.lost().await, None);
        receiver.write_all(&[b' '; 20_000]).unwrap();
        receiver.shutdown(std::net::Shutdown::Write).unwrap();
        // On its way through the loopback.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(syslog.lost().await.as_deref(), Some("the receiver closed the connection"));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let settings = |text: &str| toml::from_str::<settings::Syslog>(text).unwrap();
        for text in
            ["address = 'h'", "address = ':1'", "address = 'h:1'\nfacility = 24", "address = 'h:1'\nsettle_s = 1"]
        {
            assert!(Syslog::new(&settings(text), &Tls::default(), &Net::default()).is_err(), "{text}");
        }
        let plain = settings("address = '[::1]:514'\ntransport = 'tcp'");
        assert!(Syslog::new(&plain, &Tls::default(), &Net::default()).is_ok());
        let tls = Tls { ca_file: Some("/x".into()), ..Tls::default() };
        assert!(Syslog::new(&plain, &tls, &Net::default()).is_err());
    }
}
