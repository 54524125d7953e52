//! What the proxy calls: a worker begins exchanges, an exchange takes the response and is completed by consuming it.

use std::sync::{Arc, Mutex, PoisonError};

use super::Error;
use super::frame::{Content, Holding, Kind};
use super::log::{Context, Durability};
use super::record::{Completion, Position, Record, State};
use super::seal::{KeyId, Place, Slot, Subject};
use super::tree::{Hash, parts};
use super::writer::{Plan, Ticket, Wanted};
use crate::flow::{BodyDigest, ExchangeId};

/// Proof that a request's record is in the log, as durable as the settings say. `upstream::send` demands it.
#[derive(Debug, PartialEq, Eq)]
pub struct Committed {
    exchange: ExchangeId,
    digest: BodyDigest,
}

impl Committed {
    /// The recorded exchange.
    #[must_use]
    pub fn exchange(&self) -> ExchangeId {
        self.exchange
    }

    /// SHA-256 of the recorded body: the one that may leave.
    #[must_use]
    pub fn digest(&self) -> BodyDigest {
        self.digest
    }
}

/// A request as it is about to leave, readable to the audit role: credentials must have been removed from the head.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Request line and header fields, credential headers replaced.
    pub head: &'a [u8],
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// One thread's handle on the log, with a data key of its own that is replaced every five minutes.
pub struct Worker {
    context: Arc<Context>,
    slot: Slot,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    pub(crate) fn new(context: Arc<Context>) -> Result<Self, Error> {
        let slot = Arc::new(Mutex::new(context.sealer.epoch()?));
        context.slots.add(&slot);
        Ok(Self { context, slot })
    }

    /// Records a request that is about to leave. The record is as durable as the settings say when this returns.
    /// `original` is the request as the client sent it, head and body; it is sealed.
    ///
    /// The log fills in `host`; `log`, `response`, `timing`, `state` and `request.masked` of `record` are ignored.
    /// Dropping the future leaves an exchange that is recorded as aborted.
    ///
    /// # Errors
    /// The request must not leave.
    pub async fn begin(
        &self,
        mut record: Record,
        original: &[u8],
        outgoing: Outgoing<'_>,
    ) -> Result<(Exchange, Committed), Error> {
        let id = record.id;
        let pen = self.pen(&record).await?;
        let json = self.opening(&mut record, State::Open);
        let digest = BodyDigest::of(outgoing.body);
        let stored = [
            pen.store(Content::Json, json.into(), Holding::Plain).await?,
            pen.store(Content::Original, original.into(), Holding::Sealed).await?,
            pen.store(Content::MaskedHead, outgoing.head.into(), Holding::Plain).await?,
            pen.store(Content::MaskedBody, outgoing.body.into(), Holding::Plain).await?,
        ];
        let plan = plan(Kind::Request, id, &stored, Some(digest));
        let ticket = self.append(&plan).await?;
        let exchange = Exchange { pen, response: Running::default(), upload: Arc::default(), ended: false };
        wait(ticket).await?;
        Ok((exchange, Committed { exchange: id, digest }))
    }

    /// Records a request that never leaves: denied, malformed, refused. One complete record, as durable as the settings
    /// say when this returns. `original` is what the client sent, as far as it was read; `response` is what it got.
    /// Both are sealed.
    ///
    /// The log fills in `host`; `log`, `state`, `request.masked` and `response.body` of `record` are ignored.
    ///
    /// # Errors
    /// When nothing could be recorded.
    pub async fn refuse(
        &self,
        mut record: Record,
        original: Option<&[u8]>,
        response: &[u8],
    ) -> Result<ExchangeId, Error> {
        let id = record.id;
        record.response.body = None;
        let pen = self.pen(&record).await?;
        let json = self.opening(&mut record, State::Complete);
        let mut stored = vec![pen.store(Content::Json, json.into(), Holding::Plain).await?];
        if let Some(original) = original {
            stored.push(pen.store(Content::Original, original.into(), Holding::Sealed).await?);
        }
        stored.push(pen.store(Content::Response, response.into(), Holding::Sealed).await?);
        let ticket = self.append(&plan(Kind::Refusal, id, &stored, None)).await?;
        wait(ticket).await?;
        Ok(id)
    }

    fn opening(&self, record: &mut Record, state: State) -> Vec<u8> {
        record.host.clone_from(&self.context.host);
        record.log = Position::default();
        record.request.masked = None;
        record.state = state;
        serde_json::to_vec(&record).expect("a record is plain data")
    }

    /// Appends a leaf; the ticket says when it is durable, if that is to be waited for.
    async fn append(&self, plan: &Plan<'_>) -> Result<Option<Ticket>, Error> {
        self.append_plan(plan, self.context.wanted()).await
    }

    pub(super) async fn append_plan(&self, plan: &Plan<'_>, wanted: Wanted) -> Result<Option<Ticket>, Error> {
        Ok(self.context.sink.append(plan, wanted).await?.ticket)
    }

    /// Seals content that is not in parts, and nobody's in particular.
    pub(super) fn seal(&self, id: ExchangeId, content: Content, bytes: &[u8]) -> Result<(KeyId, Vec<u8>), Error> {
        let (context, slot) = (Arc::clone(&self.context), Arc::clone(&self.slot));
        Pen { context, slot, id, subject: None }.seal(content, 0, bytes)
    }

    /// What writes the contents of one exchange.
    async fn pen(&self, record: &Record) -> Result<Pen, Error> {
        let subject = match record.subject() {
            Some(name) => Some(self.context.subject(name).await?),
            None => None,
        };
        Ok(Pen { context: Arc::clone(&self.context), slot: Arc::clone(&self.slot), id: record.id, subject })
    }
}

impl Context {
    /// The subject of this name. Making the secret of one that has none waits for the disk: not on the caller's thread.
    async fn subject(self: &Arc<Self>, name: String) -> Result<Arc<Subject>, Error> {
        if let Some(subject) = self.sealer.subjects.known(&name) {
            return Ok(subject);
        }
        let context = Arc::clone(self);
        let created = tokio::task::spawn_blocking(move || context.sealer.subjects.create(&name)).await;
        created.unwrap_or_else(|_| Err(Error::Sealing { reason: "a subject's secret could not be made".into() }))
    }

    /// What a leaf must be before it counts.
    fn wanted(&self) -> Wanted {
        match self.durability {
            Durability::Process => Wanted::Appended,
            Durability::Power => Wanted::Durable,
        }
    }
}

/// Writes the contents of one exchange: sealed under its worker's data key and the secret of whose data it is.
#[derive(Clone)]
struct Pen {
    context: Arc<Context>,
    slot: Slot,
    id: ExchangeId,
    subject: Option<Arc<Subject>>,
}

impl Pen {
    fn seal(&self, content: Content, ordinal: u32, bytes: &[u8]) -> Result<(KeyId, Vec<u8>), Error> {
        let place = Place { exchange: self.id, content, ordinal };
        let mut epoch = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = epoch.seal(self.context.sealer.lifetime(), place, self.subject.as_deref(), bytes)?;
        Ok((epoch.id(), sealed))
    }

    /// Seals or keeps content; puts what is too large for one frame into part frames.
    async fn store<'a>(&self, content: Content, bytes: Bytes<'a>, holding: Holding) -> Result<Stored<'a>, Error> {
        let limit = self.context.sink.part_bytes();
        let slice = bytes.as_slice();
        if slice.len() <= limit {
            if holding == Holding::Plain {
                return Ok(Stored::Plain(content, bytes));
            }
            let (key, sealed) = self.seal(content, 0, slice)?;
            return Ok(Stored::Sealed(content, key, sealed));
        }
        let mut running = Running::default();
        for piece in slice.chunks(limit) {
            running.push(self, content, holding, piece).await?;
        }
        Ok(Stored::Parts(content, running))
    }
}

pub(super) async fn wait(ticket: Option<Ticket>) -> Result<(), Error> {
    match ticket {
        None => Ok(()),
        Some(ticket) => ticket.await.unwrap_or(Err(Error::Closed)),
    }
}

/// Content, borrowed from the caller or made here.
enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl From<Vec<u8>> for Bytes<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}

impl Bytes<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Content ready to become a section.
enum Stored<'a> {
    Plain(Content, Bytes<'a>),
    Sealed(Content, KeyId, Vec<u8>),
    Parts(Content, Running),
}

fn plan<'a>(kind: Kind, id: ExchangeId, stored: &'a [Stored<'a>], body: Option<BodyDigest>) -> Plan<'a> {
    stored.iter().fold(Plan::new(kind, id), |plan, stored| match stored {
        Stored::Plain(content, bytes) => match body {
            Some(digest) if *content == Content::MaskedBody => {
                plan.plain_hashed(*content, bytes.as_slice(), *digest.as_bytes())
            }
            _ => plan.plain(*content, bytes.as_slice()),
        },
        Stored::Sealed(content, key, bytes) => plan.sealed(*content, *key, bytes),
        Stored::Parts(content, running) => plan.parts(*content, running.count, running.digest),
    })
}

/// Part frames written so far for one content.
#[derive(Clone, Copy, Debug, Default)]
struct Running {
    count: u32,
    digest: Hash,
}

impl Running {
    async fn push(&mut self, pen: &Pen, content: Content, holding: Holding, piece: &[u8]) -> Result<(), Error> {
        let (plan, sink) = (Plan::new(Kind::Part, pen.id), &pen.context.sink);
        let appended = match holding {
            Holding::Plain => sink.append(&plan.plain(content, piece), Wanted::Appended).await?,
            Holding::Sealed | Holding::Parts => {
                let (key, sealed) = pen.seal(content, self.count, piece)?;
                sink.append(&plan.sealed(content, key, &sealed), Wanted::Appended).await?
            }
        };
        self.count += 1;
        self.digest = parts(&self.digest, &appended.leaf);
        Ok(())
    }
}

/// An exchange whose request is recorded and whose response is awaited. Ends by [`Exchange::complete`]; dropped before
/// that, it is recorded as aborted.
#[must_use = "dropping an exchange records it as aborted"]
pub struct Exchange {
    pen: Pen,
    response: Running,
    /// Of a request that is passed on as it comes; its parts are written by an [`Upload`].
    upload: Arc<Mutex<Running>>,
    ended: bool,
}

/// The body of a request that is passed on as it comes, beside its [`Exchange`], which takes the response meanwhile.
pub struct Upload {
    pen: Pen,
    running: Arc<Mutex<Running>>,
}

impl Upload {
    /// Records a piece before it leaves: sealed, and as safe as [`Exchange::chunk`] makes a piece of the response.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn chunk(&mut self, content: &[u8]) -> Result<(), Error> {
        for piece in content.chunks(self.pen.context.sink.part_bytes()) {
            let mut running = *self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.push(&self.pen, Content::Upload, Holding::Sealed, piece).await?;
            *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upload").field(&self.pen.id).finish()
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Exchange").field(&self.pen.id).finish()
    }
}

impl Exchange {
    /// Names the exchange.
    #[must_use]
    pub fn id(&self) -> ExchangeId {
        self.pen.id
    }

    /// The request's body, of which nothing was recorded yet.
    #[must_use]
    pub fn upload(&self) -> Upload {
        Upload { pen: self.pen.clone(), running: Arc::clone(&self.upload) }
    }

    /// Records a piece of the response as it came, before it is released to the client: sealed, and safe from the
    /// death of this process when this is done; safe from loss of power at the latest a second later. Waits only when
    /// the segment is full before the next one is allocated: then the client waits, and the thread serves others.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn chunk(&mut self, content: &[u8]) -> Result<(), Error> {
        for piece in content.chunks(self.pen.context.sink.part_bytes()) {
            self.response.push(&self.pen, Content::Response, Holding::Sealed, piece).await?;
        }
        Ok(())
    }

    /// Records the end: safe from the death of this process when this is done, as durable as the settings say when the
    /// future that it returns is done. Room is kept for it in the log; only when that is used up may it wait, and the
    /// thread with it, a quarter of a second at most. While the log changes hands, it waits and the thread does not.
    ///
    /// # Errors
    /// When it could not be recorded: the last bytes of the response must not be released.
    pub async fn complete(
        mut self,
        completion: &Completion,
    ) -> Result<impl Future<Output = Result<(), Error>> + use<>, Error> {
        let json = serde_json::to_vec(completion).expect("a completion is plain data");
        let plan = self.end(&json);
        let wanted = self.pen.context.wanted();
        let context = Arc::clone(&self.pen.context);
        Ok(wait(context.sink.append_end(&plan, wanted, &mut self.ended).await?.ticket))
    }

    fn end<'a>(&self, json: &'a [u8]) -> Plan<'a> {
        let Running { count, digest } = self.response;
        let plan = Plan::new(Kind::Completion, self.pen.id).plain(Content::Json, json);
        let plan = plan.parts(Content::Response, count, digest);
        match *self.upload.lock().unwrap_or_else(PoisonError::into_inner) {
            Running { count: 0, .. } => plan,
            Running { count, digest } => plan.parts(Content::Upload, count, digest),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let completion = Completion::aborted("given up before its end");
        let json = serde_json::to_vec(&completion).expect("a completion is plain data");
        if let Err(error) = self.pen.context.sink.append_last(&self.end(&json)) {
            // The reader reports the missing end.
            log::error!("audit log: the end of exchange {} is not recorded: {error}", self.pen.id);
        }
    }
}
