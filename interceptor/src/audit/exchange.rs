//! What the proxy calls: a worker begins exchanges, an exchange takes the response and is completed by consuming it.

use std::sync::{Arc, Mutex, PoisonError};

use super::Error;
use super::frame::{Content, Kind};
use super::log::{Context, Durability};
use super::record::{Completion, Position, Record, State};
use super::seal::{KeyId, Slot};
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
        let json = self.opening(&mut record, State::Open);
        let digest = BodyDigest::of(outgoing.body);
        let stored = [
            self.store(id, Content::Json, json.into(), false).await?,
            self.store(id, Content::Original, original.into(), true).await?,
            self.store(id, Content::MaskedHead, outgoing.head.into(), false).await?,
            self.store(id, Content::MaskedBody, outgoing.body.into(), false).await?,
        ];
        let plan = plan(Kind::Request, id, &stored, Some(digest));
        let ticket = self.append(&plan).await?;
        let exchange = Exchange {
            context: Arc::clone(&self.context),
            slot: Arc::clone(&self.slot),
            id,
            response: Running::default(),
            upload: Arc::default(),
            ended: false,
        };
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
        let json = self.opening(&mut record, State::Complete);
        let mut stored = vec![self.store(id, Content::Json, json.into(), false).await?];
        if let Some(original) = original {
            stored.push(self.store(id, Content::Original, original.into(), true).await?);
        }
        stored.push(self.store(id, Content::Response, response.into(), true).await?);
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

    /// Seals content that is not in parts.
    pub(super) fn seal(&self, id: ExchangeId, content: Content, bytes: &[u8]) -> Result<(KeyId, Vec<u8>), Error> {
        self.context.seal(&self.slot, id, content, 0, bytes)
    }

    /// Seals or keeps content; puts what is too large for one frame into part frames.
    async fn store<'a>(
        &self,
        id: ExchangeId,
        content: Content,
        bytes: Bytes<'a>,
        seal: bool,
    ) -> Result<Stored<'a>, Error> {
        let limit = self.context.sink.part_bytes();
        let slice = bytes.as_slice();
        if slice.len() <= limit {
            if !seal {
                return Ok(Stored::Plain(content, bytes));
            }
            let (key, sealed) = self.seal(id, content, slice)?;
            return Ok(Stored::Sealed(content, key, sealed));
        }
        let mut running = Running::default();
        for piece in slice.chunks(limit) {
            running.push(&self.context, seal.then_some(&self.slot), id, content, piece).await?;
        }
        Ok(Stored::Parts(content, running))
    }
}

impl Context {
    fn seal(
        &self,
        slot: &Slot,
        id: ExchangeId,
        content: Content,
        ordinal: u32,
        bytes: &[u8],
    ) -> Result<(KeyId, Vec<u8>), Error> {
        let mut epoch = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let sealed = epoch.seal(self.sealer.lifetime(), id, content, ordinal, bytes)?;
        Ok((epoch.id(), sealed))
    }

    /// What a leaf must be before it counts.
    fn wanted(&self) -> Wanted {
        match self.durability {
            Durability::Process => Wanted::Appended,
            Durability::Power => Wanted::Durable,
        }
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
    async fn push(
        &mut self,
        context: &Context,
        seal: Option<&Slot>,
        id: ExchangeId,
        content: Content,
        piece: &[u8],
    ) -> Result<(), Error> {
        let plan = Plan::new(Kind::Part, id);
        let appended = match seal {
            Some(slot) => {
                let (key, sealed) = context.seal(slot, id, content, self.count, piece)?;
                context.sink.append(&plan.sealed(content, key, &sealed), Wanted::Appended).await?
            }
            None => context.sink.append(&plan.plain(content, piece), Wanted::Appended).await?,
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
    context: Arc<Context>,
    slot: Slot,
    id: ExchangeId,
    response: Running,
    /// Of a request that is passed on as it comes; its parts are written by an [`Upload`].
    upload: Arc<Mutex<Running>>,
    ended: bool,
}

/// The body of a request that is passed on as it comes, beside its [`Exchange`], which takes the response meanwhile.
pub struct Upload {
    context: Arc<Context>,
    slot: Slot,
    id: ExchangeId,
    running: Arc<Mutex<Running>>,
}

impl Upload {
    /// Records a piece before it leaves: sealed, and as safe as [`Exchange::chunk`] makes a piece of the response.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn chunk(&mut self, content: &[u8]) -> Result<(), Error> {
        for piece in content.chunks(self.context.sink.part_bytes()) {
            let mut running = *self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.push(&self.context, Some(&self.slot), self.id, Content::Upload, piece).await?;
            *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upload").field(&self.id).finish()
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Exchange").field(&self.id).finish()
    }
}

impl Exchange {
    /// Names the exchange.
    #[must_use]
    pub fn id(&self) -> ExchangeId {
        self.id
    }

    /// The request's body, of which nothing was recorded yet.
    #[must_use]
    pub fn upload(&self) -> Upload {
        Upload {
            context: Arc::clone(&self.context),
            slot: Arc::clone(&self.slot),
            id: self.id,
            running: Arc::clone(&self.upload),
        }
    }

    /// Records a piece of the response as it came, before it is released to the client: sealed, and safe from the
    /// death of this process when this is done; safe from loss of power at the latest a second later. Waits only when
    /// the segment is full before the next one is allocated: then the client waits, and the thread serves others.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub async fn chunk(&mut self, content: &[u8]) -> Result<(), Error> {
        for piece in content.chunks(self.context.sink.part_bytes()) {
            self.response.push(&self.context, Some(&self.slot), self.id, Content::Response, piece).await?;
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
        let wanted = self.context.wanted();
        let context = Arc::clone(&self.context);
        Ok(wait(context.sink.append_end(&plan, wanted, &mut self.ended).await?.ticket))
    }

    fn end<'a>(&self, json: &'a [u8]) -> Plan<'a> {
        let Running { count, digest } = self.response;
        let plan = Plan::new(Kind::Completion, self.id).plain(Content::Json, json);
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
        if let Err(error) = self.context.sink.append_last(&self.end(&json)) {
            // The reader reports the missing end.
            log::error!("audit log: the end of exchange {} is not recorded: {error}", self.id);
        }
    }
}
