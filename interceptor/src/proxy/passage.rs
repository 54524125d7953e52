//! What is passed on unread: the record of it, and the bytes both ways.

use std::cell::Cell;
use std::io;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};

use super::arrival::Arrival;
use super::opening::Side;
use super::record;
use super::reply::Refusal;
use crate::audit::{self, Completion, Coverage, Outgoing, Part, Response, State, Timing};
use crate::flow::ExchangeId;
use crate::http::Reader;
use crate::policy::Sentence;
use crate::upstream::DialError;

/// A durable record of a connection that is passed on, and the bytes so far. Dropped before its end, it is recorded as
/// aborted.
pub(super) struct Passage {
    id: ExchangeId,
    exchange: audit::Exchange,
    started: Instant,
    /// Bytes to the server.
    pub(super) sent: Cell<u64>,
    /// Bytes to the client.
    pub(super) received: Cell<u64>,
}

impl Passage {
    /// Records that a connection to `host` is about to be passed on. Nothing may leave before.
    pub(super) async fn open(arrival: &Arrival, host: Option<&str>, sentence: &Sentence) -> Result<Self, audit::Error> {
        let id = ExchangeId::new();
        let mut record = record::of_connection(id, arrival, host);
        record.decision.action = Some("splice".into());
        record.decision.rule = Some(sentence.rule.clone());
        record.decision.reason = Some(sentence.reason.clone());
        record.coverage = Coverage {
            scanned_bytes: Some(0),
            opaque_bytes: None,
            parts: vec![Part {
                path: "connection".into(),
                bytes: None,
                status: "opaque".into(),
                reason: Some("passed on unread".into()),
            }],
        };
        let (exchange, _) = arrival.worker.audit.begin(record, &[], Outgoing { head: &[], body: &[] }).await?;
        Ok(Self { id, exchange, started: Instant::now(), sent: Cell::default(), received: Cell::default() })
    }

    /// Records the end, and why it came early if it did. `status` is that of the last HTTP response, where one was seen.
    pub(super) async fn end(self, status: Option<u16>, broken: Option<&str>) {
        let total = self.started.elapsed();
        let completion = Completion {
            response: Response { status, bytes: Some(self.received.get()), ..Response::default() },
            timing: Timing { total_us: Some(record::micros(total)), ..Timing::default() },
            state: if broken.is_some() { State::Aborted } else { State::Complete },
            reason: broken.map(str::to_owned),
            request_bytes: Some(self.sent.get()),
        };
        let ended = match self.exchange.complete(&completion).await {
            Ok(durable) => durable.await,
            Err(e) => Err(e),
        };
        if let Err(e) = ended {
            log::error!("the end of {} is not in the audit log: {e}", self.id);
        }
    }
}

/// Why something cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unready {
    /// Nothing leaves unrecorded.
    #[error("the audit log cannot be written: {0}")]
    Unrecorded(#[from] audit::Error),
    /// There is nobody to pass it to.
    #[error(transparent)]
    Unreachable(#[from] DialError),
}

impl Unready {
    /// What a client that speaks HTTP is told.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Unrecorded(_) => Refusal::AuditUnavailable,
            Self::Unreachable(_) => Refusal::Upstream,
        }
    }

    /// The rule that it stands for.
    pub(super) fn rule(&self) -> &'static str {
        match self {
            Self::Unrecorded(_) => "audit.durability",
            Self::Unreachable(e) => record::dial_rule(e),
        }
    }
}

/// Passes bytes on both ways until both sides have no more, or one breaks. Either may close its direction first. There is
/// no limit on silence: what it carries may have a reason for it; the kernel finds out when a peer is gone.
pub(super) async fn run(mut near: Side, mut far: Side, passage: Passage) {
    for side in [&near, &far] {
        side.stream.keep_alive().unwrap_or_else(|e| log::debug!("no keep-alive: {e}"));
    }
    let result = {
        let (mut near_reads, mut near_writes) = split(&mut near.stream);
        let (mut far_reads, mut far_writes) = split(&mut far.stream);
        let up = pump(&mut near_reads, &mut near.reader, &mut far_writes, &passage.sent);
        let down = pump(&mut far_reads, &mut far.reader, &mut near_writes, &passage.received);
        tokio::try_join!(up, down)
    };
    match result {
        Ok(_) => passage.end(None, None).await,
        Err(e) => {
            // Neither peer must take what it got for the whole.
            near.stream.abort();
            far.stream.abort();
            passage.end(None, Some(&format!("the connection broke: {e}"))).await;
        }
    }
}

/// Passes on what is buffered, then what comes, until the end; then closes that direction. What is not taken by the
/// writer is not read from the reader.
pub(super) async fn pump<R, W>(from: &mut R, reader: &mut Reader, to: &mut W, count: &Cell<u64>) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let piece = reader.take_all();
        if !piece.is_empty() {
            to.write_all(&piece).await?;
            count.set(count.get() + piece.len() as u64);
        } else if reader.fill(from).await? == 0 {
            return to.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::sys::{self, Listener, Stream, Transport, run_worker};

    async fn pair(transport: Transport) -> (Stream, Stream) {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 4, transport).unwrap();
        let addr = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(sys::connect(addr, 0, Duration::from_secs(10), transport), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    fn on_each_transport<F: Future<Output = ()>>(claim: impl Fn(Transport) -> F) {
        for transport in [Transport::IoUring, Transport::Epoll] {
            run_worker(transport, claim(transport)).unwrap();
        }
    }

    #[test]
    fn a_full_log_and_a_dead_server_are_told_apart() {
        let addr = (Ipv4Addr::LOCALHOST, 9).into();
        for (unready, status, rule) in [
            (Unready::from(audit::Error::NoAuditor), 503, "audit.durability"),
            (DialError::Refused { addr }.into(), 502, "upstream.connect"),
            (DialError::Loop { addr }.into(), 502, "upstream.loop"),
        ] {
            assert_eq!((unready.refusal().status(None), unready.rule()), (status, rule), "{unready}");
        }
        assert!(Unready::from(audit::Error::NoAuditor).to_string().starts_with("the audit log cannot be written: "));
    }

    #[test]
    fn bytes_pass_in_order_and_the_end_passes_behind_them() {
        on_each_transport(|transport| async move {
            let (mut client, near) = pair(transport).await;
            let (far, mut server) = pair(transport).await;
            let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
            let count = Cell::new(0);
            let pumped = async {
                let (mut near, mut far) = (near, far);
                // As if a hello had been looked at before.
                let mut reader = Reader::holding(b"first ");
                pump(&mut near, &mut reader, &mut far, &count).await.unwrap();
            };
            let said = async {
                client.write_all(&sent).await.unwrap();
                client.shutdown().await.unwrap();
            };
            let mut heard = Vec::new();
            let hearing = server.read_to_end(&mut heard);
            let (_, _, read) = tokio::join!(pumped, said, hearing);
            assert_eq!(read.unwrap(), sent.len() + 6);
            assert!(heard.starts_with(b"first ") && heard[6..] == sent);
            assert_eq!(count.get(), heard.len() as u64);
        });
    }

    #[test]
    fn what_the_reader_does_not_take_is_not_read_from_the_writer() {
        on_each_transport(|transport| async move {
            let (mut client, mut near) = pair(transport).await;
            let (mut far, server) = pair(transport).await;
            let count = Cell::new(0);
            let flood = async {
                let piece = vec![7; 1 << 20];
                let mut written = 0_u64;
                // Ends when nothing moves any more: everything between the two is full.
                while tokio::time::timeout(Duration::from_millis(300), client.write_all(&piece)).await.is_ok() {
                    written += piece.len() as u64;
                    assert!(written < 64 << 20, "nobody reads, so somebody must be holding it");
                }
            };
            let mut reader = Reader::default();
            tokio::select! {
                () = flood => {}
                _ = pump(&mut near, &mut reader, &mut far, &count) => panic!("nobody ended it"),
            }
            drop(server);
        });
    }
}
