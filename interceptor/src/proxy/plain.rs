//! HTTP without TLS: an endpoint's is intercepted, a proxy's CONNECT is read through, and all else is passed on request by
//! request, because the next request on a connection may be for another host than the last.

use std::rc::Rc;

use tokio::io::{AsyncWriteExt, split};
use tokio::time::timeout;

use super::connection::{Connection, Name};
use super::linger;
use super::opening::{Incoming, Ready, Side, Tunnel};
use super::passage::{self, Passage, Unready};
use super::record::{self, StoredHead};
use super::reply::{self, Refusal};
use crate::audit::Record;
use crate::flow::ExchangeId;
use crate::http::{self, BodyDecoder, BodyFraming, ConnectHead, Limits, ReadError, Reader, RequestHead, ResponseHead};
use crate::policy::{Captured, Known, Said, Sentence, Treatment};
use crate::tls::Session;

/// A connection with HTTP on it.
struct Talk {
    incoming: Incoming,
    /// The record of what is being passed on, and for which host.
    passage: Option<(String, Passage)>,
    /// Status of the last response.
    status: Option<u16>,
}

/// What follows a request.
enum Then {
    /// Another one.
    Again(Talk),
    /// Something that is not HTTP any more.
    Other(Talk),
    /// What it was for is intercepted.
    Intercepted(Box<Ready>),
    /// Nothing: the connection has ended, recorded.
    Ended,
}

/// How a request that was passed on ended.
enum Passed {
    KeepAlive,
    Close,
    Upgraded,
}

/// The next thing a client asks for.
enum Asked {
    Connect(ConnectHead),
    Request(RequestHead),
}

/// Takes a connection to its end that began with something like a request.
pub(super) async fn run(incoming: Incoming) -> Option<Ready> {
    let mut talk = Talk { incoming, passage: None, status: None };
    loop {
        let asked = match talk.asked().await {
            Ok(Some(asked)) => asked,
            Ok(None) => {
                talk.end(None).await;
                return None;
            }
            Err(ReadError::Io(e)) => {
                talk.end(Some(&e.to_string())).await;
                return None;
            }
            Err(e) => {
                talk.refuse(None, None, Refusal::Malformed, "http.syntax", &e.to_string()).await;
                return None;
            }
        };
        let then = match asked {
            Asked::Connect(head) => talk.tunnel(head).await,
            Asked::Request(head) => talk.request(head).await,
        };
        talk = match then {
            Then::Again(talk) => talk,
            Then::Other(talk) => {
                talk.unread().await;
                return None;
            }
            Then::Intercepted(ready) => return Some(*ready),
            Then::Ended => return None,
        };
    }
}

impl Talk {
    /// The next head; none when the client or the server has closed, or nothing came for too long.
    async fn asked(&mut self) -> Result<Option<Asked>, ReadError> {
        let Incoming { arrival, near, far, .. } = &mut self.incoming;
        let settings = &arrival.worker.shared.settings;
        let connect = loop {
            if let Some(connect) = ConnectHead::begins(near.reader.buffered())
                && !near.reader.buffered().is_empty()
            {
                break connect;
            }
            let closed = async {
                match far {
                    // Closed, or talking out of turn.
                    Some(far) => drop(far.fill().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = near.fill() => if read? == 0 { return Ok(None) },
                () = closed => return Ok(None),
                () = tokio::time::sleep(settings.client.keep_alive) => return Ok(None),
            }
        };
        let (reader, stream, limits) = (&mut near.reader, &mut near.stream, &settings.http);
        let head = async {
            Ok(match connect {
                true => reader.connect_head(stream, limits).await?.map(Asked::Connect),
                false => reader.request_head(stream, limits).await?.map(Asked::Request),
            })
        };
        timeout(settings.client.head, head).await.unwrap_or_else(|_| Err(ReadError::Truncated))
    }

    async fn request(mut self, head: RequestHead) -> Then {
        let arrival = &self.incoming.arrival;
        let original = arrival.flow.original;
        let (host, port) = match head.authority() {
            Some((host, port)) => (Some(host.trim_end_matches('.').to_owned()), port),
            None => (None, None),
        };
        let port = match head.absolute() {
            Some((scheme, _)) => port.unwrap_or(if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 }),
            None => original.port(),
        };
        let by_address = match (head.absolute(), &self.incoming.tunnel) {
            (None, None) => arrival.plain_endpoint().cloned(),
            _ => None,
        };
        let known = match (&by_address, &host) {
            (Some(_), _) => Known::Plain,
            (None, Some(host)) => arrival.known(host, port),
            (None, None) => Known::Foreign,
        };
        let said = Said::Http { host: host.as_deref(), known };
        let sentence = arrival.decide(said, port, self.incoming.tunnel.as_ref().map(Tunnel::facts));
        match sentence.treatment {
            Treatment::Deny => {
                let (rule, reason) = (&sentence.rule, &sentence.reason);
                self.refuse(host.as_deref(), Some(&head), Refusal::Denied, rule, reason).await;
                Then::Ended
            }
            Treatment::Intercept => {
                let found = by_address.clone().or_else(|| arrival.endpoint(host.as_deref()?, port).cloned());
                let Some(endpoint) = found else {
                    let reason = "the endpoint is not in the catalogue any more";
                    self.refuse(host.as_deref(), Some(&head), Refusal::Denied, "connection.endpoint", reason).await;
                    return Then::Ended;
                };
                let name = match (by_address, host) {
                    (None, Some(host)) => Name::Plain(host),
                    _ => Name::Address(original.ip().to_string()),
                };
                if let Some((_, passage)) = self.passage.take() {
                    passage.end(self.status, None).await;
                }
                let Incoming { arrival, mut near, .. } = self.incoming;
                let reader = Reader::holding(&[&head.render()[..], &near.reader.take_all()].concat());
                let client_id = arrival.worker.pool.client();
                let (route, client) = (arrival.route(), Session::Plain(near.stream));
                let connection = Connection::new(arrival, endpoint, name, route, (Vec::new(), client_id));
                Then::Intercepted(Box::new(Ready { connection: Rc::new(connection), client, reader }))
            }
            Treatment::Splice if sentence.for_all => {
                let mut incoming = self.incoming;
                let rest = incoming.near.reader.take_all();
                incoming.near.reader = Reader::holding(&[&head.render()[..], &rest].concat());
                incoming.splice(&sentence, host.as_deref()).await;
                Then::Ended
            }
            Treatment::Splice => self.pass(host.unwrap_or_default(), &sentence, head).await,
        }
    }

    /// Passes one request on, and its response back.
    async fn pass(mut self, host: String, sentence: &Sentence, head: RequestHead) -> Then {
        if let Err(e) = self.ready(&host, sentence).await {
            self.refuse(Some(&host), Some(&head), e.refusal(), e.rule(), &e.to_string()).await;
            return Then::Ended;
        }
        let limits = self.incoming.arrival.worker.shared.settings.http.streaming();
        let (Some(far), Some((_, passage))) = (&mut self.incoming.far, &self.passage) else {
            unreachable!("both are there once it is ready")
        };
        match exchange(&mut self.incoming.near, far, passage, &limits, &head, &mut self.status).await {
            Ok(Passed::KeepAlive) => Then::Again(self),
            Ok(Passed::Upgraded) => Then::Other(self),
            Ok(Passed::Close) => {
                linger::close(&mut self.incoming.near.stream).await;
                self.end(None).await;
                Then::Ended
            }
            Err(e) => {
                self.incoming.near.stream.abort();
                self.end(Some(&e.to_string())).await;
                Then::Ended
            }
        }
    }

    /// A record that is durable and a server that is connected: both before a byte leaves.
    async fn ready(&mut self, host: &str, sentence: &Sentence) -> Result<(), Unready> {
        if self.passage.as_ref().is_some_and(|(passed, _)| passed != host) {
            let (_, passage) = self.passage.take().expect("looked at just now");
            passage.end(self.status.take(), None).await;
        }
        let arrival = &self.incoming.arrival;
        if self.passage.is_none() {
            let passage = match self.incoming.tunnel.as_mut().and_then(|tunnel| tunnel.passage.take()) {
                Some(passage) => passage,
                None => Passage::open(arrival, Some(host).filter(|host| !host.is_empty()), sentence).await?,
            };
            self.passage = Some((host.to_owned(), passage));
        }
        self.connect().await
    }

    async fn connect(&mut self) -> Result<(), Unready> {
        if self.incoming.far.is_none() {
            let arrival = &self.incoming.arrival;
            let stream = arrival.worker.dialer.connect(&arrival.route()).await?;
            self.incoming.far = Some(Side::new(stream));
        }
        Ok(())
    }

    /// Asks the proxy for the tunnel that the client wants, and looks at what the client says in it.
    async fn tunnel(mut self, head: ConnectHead) -> Then {
        let arrival = &self.incoming.arrival;
        let host = head.host.trim_end_matches('.').to_owned();
        let head = ConnectHead { host: host.clone(), ..head };
        let known = arrival.known(&host, head.port);
        if self.incoming.tunnel.is_some() {
            let reason = "a tunnel within a tunnel is not looked into, so it is not opened";
            self.refuse(Some(&host), None, Refusal::Denied, "connection.tunnel", reason).await;
            return Then::Ended;
        }
        let mut tunnel = Tunnel { head, known, passage: None };
        let sentence = match arrival.ruled(Said::Nothing, tunnel.head.port, Some(tunnel.facts())) {
            Some(ruled) if ruled.treatment == Treatment::Deny => {
                self.refuse(Some(&host), None, Refusal::Denied, &ruled.rule, &ruled.reason).await;
                return Then::Ended;
            }
            Some(ruled) if ruled.treatment == Treatment::Splice => Some(ruled),
            // The request would reach it as it is, whatever the client wrote into the head.
            _ if arrival.captured == Captured::Enrolled => {
                let reason =
                    "a model endpoint is no proxy; if there is one at this address, name it in a [[proxy]] table";
                self.refuse(Some(&host), None, Refusal::Denied, "connection.proxy", reason).await;
                return Then::Ended;
            }
            // What is for an endpoint is recorded request by request.
            _ => (!known.is_endpoint()).then(Sentence::tunnel),
        };
        let ready = match &sentence {
            Some(sentence) => self.ready(&host, sentence).await,
            None => {
                if let Some((_, passage)) = self.passage.take() {
                    passage.end(self.status.take(), None).await;
                }
                self.connect().await
            }
        };
        if let Err(e) = ready {
            self.refuse(Some(&host), None, e.refusal(), e.rule(), &e.to_string()).await;
            return Then::Ended;
        }
        match self.ask(&tunnel.head).await {
            Ok(Passed::Upgraded) => {
                tunnel.passage = self.passage.take().map(|(_, passage)| passage);
                let incoming = Incoming { tunnel: Some(tunnel), ..self.incoming };
                // The tunnel may hold anything, HTTP again for one.
                Box::pin(incoming.run()).await.map_or(Then::Ended, |ready| Then::Intercepted(Box::new(ready)))
            }
            Ok(Passed::KeepAlive) => {
                let status = self.status.unwrap_or_default();
                // Asked who it is, a client tries again.
                if self.passage.is_none() && status != 407 {
                    let reason = format!("the proxy answered with status {status}");
                    self.incoming.arrival.refuse(Some(&host), "upstream.proxy", &reason).await;
                }
                Then::Again(self)
            }
            Ok(Passed::Close) => {
                self.refused_by_proxy(&host, "the proxy did not open the tunnel").await;
                Then::Ended
            }
            Err(e) => {
                self.incoming.near.stream.abort();
                self.refused_by_proxy(&host, &e.to_string()).await;
                Then::Ended
            }
        }
    }

    async fn refused_by_proxy(self, host: &str, reason: &str) {
        if self.passage.is_none() {
            self.incoming.arrival.refuse(Some(host), "upstream.proxy", reason).await;
        }
        self.end(Some(reason)).await;
    }

    /// Passes the CONNECT request on, and the proxy's answer back. `Upgraded` is an open tunnel.
    async fn ask(&mut self, head: &ConnectHead) -> Result<Passed, ReadError> {
        let settings = self.incoming.arrival.worker.shared.settings.clone();
        let Incoming { near, far: Some(far), .. } = &mut self.incoming else { unreachable!("connected before") };
        http::write(&mut far.stream, &head.raw, settings.client.patience).await?;
        let count = |bytes: usize, sent: bool| {
            if let Some((_, passage)) = &self.passage {
                let counter = if sent { &passage.sent } else { &passage.received };
                counter.set(counter.get() + bytes as u64);
            }
        };
        count(head.raw.len(), true);
        let answer = timeout(settings.endpoint.response, async {
            loop {
                match far.reader.response_head(&mut far.stream, &settings.http.streaming()).await? {
                    None => return Err(ReadError::Truncated),
                    Some(answer) if answer.is_interim() => {}
                    Some(answer) => return Ok(answer),
                }
            }
        });
        let answer = answer.await.unwrap_or(Err(ReadError::Truncated))?;
        self.status = Some(answer.status());
        let raw = answer.render();
        count(raw.len(), false);
        http::write(&mut near.stream, &raw, settings.client.patience).await?;
        if (200..300).contains(&answer.status()) {
            return Ok(Passed::Upgraded);
        }
        let unread = std::cell::Cell::new(0);
        let counter = self.passage.as_ref().map_or(&unread, |(_, passage)| &passage.received);
        let kept =
            response_body(far, &mut near.stream, &answer, "CONNECT", &settings.http.streaming(), counter).await?;
        Ok(if kept { Passed::KeepAlive } else { Passed::Close })
    }

    /// After an upgrade: for a host that is no endpoint, so what follows is passed on unread.
    async fn unread(self) {
        let (Some(far), Some((_, passage))) = (self.incoming.far, self.passage) else { return };
        passage::run(self.incoming.near, far, passage).await;
    }

    async fn end(self, broken: Option<&str>) {
        if let Some((_, passage)) = self.passage {
            passage.end(self.status, broken).await;
        }
        if let Some(passage) = self.incoming.tunnel.and_then(|tunnel| tunnel.passage) {
            passage.end(None, broken).await;
        }
    }

    /// Answers a request that goes nowhere, records that, and ends the connection.
    async fn refuse(
        mut self,
        host: Option<&str>,
        head: Option<&RequestHead>,
        refusal: Refusal,
        rule: &str,
        reason: &str,
    ) {
        let arrival = &self.incoming.arrival;
        let mut record = Record::new(ExchangeId::new());
        if let Some(head) = head {
            StoredHead::of(&arrival.worker, head).await.describe_request(&mut record);
        }
        let message = format!("{} [rule {rule}]", record::safe_text(&arrival.worker, reason));
        let port = arrival.flow.original.port();
        let provider = host.and_then(|host| arrival.endpoint(host, port)).map(|endpoint| endpoint.provider);
        let response = reply::render(provider, refusal, &message, Some(record.id), true);
        let (status, response) = (response.status, response.to_bytes());
        let told = Some((&record, status, &response[..]));
        record::connection_refused(arrival, host, rule, reason, told).await;
        let patience = arrival.worker.shared.settings.client.patience;
        let stream = &mut self.incoming.near.stream;
        if http::write(stream, &response, patience).await.is_ok() {
            linger::close(stream).await;
        }
        self.end(Some(&format!("{reason} [rule {rule}]"))).await;
    }
}

/// Passes a request on while its response comes back: either may begin before the other has ended.
async fn exchange(
    near: &mut Side,
    far: &mut Side,
    passage: &Passage,
    limits: &Limits,
    head: &RequestHead,
    status: &mut Option<u16>,
) -> Result<Passed, ReadError> {
    let (mut near_reads, mut near_writes) = split(&mut near.stream);
    let (mut far_reads, mut far_writes) = split(&mut far.stream);
    let (near_reader, far_reader) = (&mut near.reader, &mut far.reader);
    let up = async {
        let raw = head.render();
        far_writes.write_all(&raw).await?;
        passage.sent.set(passage.sent.get() + raw.len() as u64);
        let mut decoder = BodyDecoder::new(head.framing(), limits);
        body(near_reader, &mut near_reads, &mut far_writes, &mut decoder, &passage.sent).await?;
        far_writes.flush().await.map_err(ReadError::Io)
    };
    let down = async {
        loop {
            let answer = far_reader.response_head(&mut far_reads, limits).await?.ok_or(ReadError::Truncated)?;
            *status = Some(answer.status());
            let raw = answer.render();
            near_writes.write_all(&raw).await?;
            passage.received.set(passage.received.get() + raw.len() as u64);
            if answer.is_interim() {
                near_writes.flush().await?;
                continue;
            }
            if answer.status() == 101 {
                near_writes.flush().await?;
                return Ok(Passed::Upgraded);
            }
            let framing = answer.framing(head.method());
            let mut decoder = BodyDecoder::new(framing, limits);
            body(far_reader, &mut far_reads, &mut near_writes, &mut decoder, &passage.received).await?;
            near_writes.flush().await?;
            let kept = framing != BodyFraming::UntilClose && answer.keep_alive() && head.keep_alive();
            return Ok::<_, ReadError>(if kept { Passed::KeepAlive } else { Passed::Close });
        }
    };
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    let mut sent = false;
    loop {
        tokio::select! {
            passed = &mut down => {
                let passed = passed?;
                // An early answer: what is still to come of the request is passed on, if the connection is to live on.
                if !sent && !matches!(passed, Passed::Close) {
                    up.await?;
                }
                return Ok(passed);
            }
            result = &mut up, if !sent => {
                result?;
                sent = true;
            }
        }
    }
}

/// Passes a body on as it comes, framing included.
async fn body<R, W>(
    reader: &mut Reader,
    from: &mut R,
    to: &mut W,
    decoder: &mut BodyDecoder,
    count: &std::cell::Cell<u64>,
) -> Result<(), ReadError>
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    while !decoder.is_done() {
        if reader.buffered().is_empty() {
            // A piece that waits for nothing more must not wait here.
            to.flush().await?;
            if reader.fill(from).await? == 0 {
                return Ok(decoder.finish()?);
            }
        }
        let taken = decoder.decode(reader.buffered())?.consumed;
        let piece = reader.take(taken);
        to.write_all(&piece).await?;
        count.set(count.get() + piece.len() as u64);
    }
    Ok(())
}

/// Passes the body of a response on; false when the connection ends with it.
async fn response_body<W: tokio::io::AsyncWrite + Unpin>(
    far: &mut Side,
    to: &mut W,
    answer: &ResponseHead,
    method: &str,
    limits: &Limits,
    count: &std::cell::Cell<u64>,
) -> Result<bool, ReadError> {
    let framing = answer.framing(method);
    let mut decoder = BodyDecoder::new(framing, limits);
    body(&mut far.reader, &mut far.stream, to, &mut decoder, count).await?;
    to.flush().await?;
    Ok(framing != BodyFraming::UntilClose && answer.keep_alive())
}
