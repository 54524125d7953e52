//! Connections to endpoints that wait for their next request, one pool a worker.
//!
//! A connection is reused only by a request that would have opened the same one: same user, address, network namespace,
//! tunnel, name, protocols offered and client certificate. A request is never sent twice unless the endpoint says that it has not
//! looked at it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Connection, DialError, Dialer, Route, h1, h2};
use crate::flow::OriginalDst;
use crate::http::Limits;
use crate::sys::Stream;
use crate::tls::{Alpn, EndpointTls, ServerName};

/// How long it is remembered what an endpoint speaks.
const MEMORY: Duration = Duration::from_secs(300);

/// How many routes are remembered; the one that was used longest ago goes first.
const ROUTES: usize = 1024;

/// Bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSettings {
    /// Of messages.
    pub limits: Limits,
    /// How long an endpoint may take no byte of what it is sent.
    pub patience: Duration,
    /// Until a connection that nobody uses is closed.
    pub idle: Duration,
    /// Idle connections of HTTP/1 to one endpoint.
    pub per_route: usize,
}

/// The pool of one worker.
#[derive(Debug)]
pub struct Pool {
    settings: PoolSettings,
    routes: RefCell<HashMap<Key, Entry>>,
    clients: Cell<u64>,
}

/// One connection of a client. Its requests share connections of HTTP/2 to an endpoint, and with no other's while they are
/// under way: what one client makes an endpoint do to a connection, another does not suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(u64);

/// What a connection was opened for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    original: OriginalDst,
    uid: u32,
    /// Its cookie: to hold the namespace itself would keep it from ending.
    netns: Option<u64>,
    tunnel: Option<Bytes>,
    name: Option<ServerName<'static>>,
    tls: Option<Arc<EndpointTls>>,
    offered: Vec<Alpn>,
}

#[derive(Debug)]
struct Entry {
    /// What was agreed on last.
    spoken: Option<Alpn>,
    used: Instant,
    idle: Vec<(Instant, h1::Connection)>,
    shared: Vec<(ClientId, h2::Shared)>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(settings: PoolSettings) -> Self {
        Self { settings, routes: RefCell::default(), clients: Cell::new(0) }
    }

    /// For a connection of a client.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.clients.set(self.clients.get() + 1);
        ClientId(self.clients.get())
    }

    /// What the endpoint spoke when it was offered `offered` a short time ago; none if that is not known.
    #[must_use]
    pub fn spoken(&self, route: &Route, offered: &[Alpn]) -> Option<Option<Alpn>> {
        let routes = self.routes.borrow();
        let entry = routes.get(&Key::of(route, offered))?;
        (entry.used.elapsed() < MEMORY).then_some(entry.spoken)
    }

    /// Opens a connection for requests to come, over `stream` if that has come as far as the endpoint already; says what
    /// the endpoint speaks.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn prepare(
        &self,
        dialer: &Dialer,
        route: &Route,
        offered: &[Alpn],
        (client, stream): (ClientId, Option<Stream>),
    ) -> Result<Option<Alpn>, DialError> {
        let connection = self.open(dialer, route, offered, (client, stream)).await?;
        let spoken = connection.alpn();
        self.give_back(route, offered, connection);
        Ok(spoken)
    }

    /// A connection for one request, waiting or new.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn lease(
        &self,
        dialer: &Dialer,
        route: &Route,
        offered: &[Alpn],
        client: ClientId,
    ) -> Result<Connection, DialError> {
        while let Some(mut idle) = self.take_idle(route, offered) {
            if !idle.is_stale().await {
                return Ok(Connection::H1(idle));
            }
        }
        if let Some(connection) = self.share(route, offered, client).await {
            return Ok(connection);
        }
        self.open(dialer, route, offered, (client, None)).await
    }

    /// Takes a connection back that can carry another request.
    pub fn give_back(&self, route: &Route, offered: &[Alpn], connection: Connection) {
        // A stream of HTTP/2 ends by being dropped; its connection stays.
        let Connection::H1(connection) = connection else { return };
        let mut routes = self.routes.borrow_mut();
        let Some(entry) = routes.get_mut(&Key::of(route, offered)) else { return };
        if entry.idle.len() < self.settings.per_route {
            entry.idle.push((Instant::now(), connection));
        }
    }

    /// Closes what has been idle for too long or has been closed by the endpoint. To be called every few seconds.
    pub async fn sweep(&self) {
        let settings = &self.settings;
        let mut waiting = Vec::new();
        self.routes.borrow_mut().retain(|key, entry| {
            entry
                .shared
                .retain(|(_, shared)| !(shared.is_ended() || shared.is_idle() && entry.used.elapsed() > settings.idle));
            entry.idle.retain(|(since, _)| since.elapsed() < settings.idle);
            waiting.extend(entry.idle.drain(..).map(|(since, idle)| (key.clone(), since, idle)));
            !entry.shared.is_empty() || entry.used.elapsed() < MEMORY
        });
        for (key, since, mut idle) in waiting {
            if !idle.is_stale().await
                && let Some(entry) = self.routes.borrow_mut().get_mut(&key)
            {
                entry.idle.push((since, idle));
            }
        }
    }

    fn take_idle(&self, route: &Route, offered: &[Alpn]) -> Option<h1::Connection> {
        let mut routes = self.routes.borrow_mut();
        let entry = routes.get_mut(&Key::of(route, offered))?;
        entry.used = Instant::now();
        // The one used last is the least likely to have been closed.
        entry.idle.pop().map(|(_, idle)| idle)
    }

    async fn share(&self, route: &Route, offered: &[Alpn], client: ClientId) -> Option<Connection> {
        let key = Key::of(route, offered);
        let candidates = self.routes.borrow().get(&key)?.shared.clone();
        for (index, (owner, mut shared)) in candidates.into_iter().enumerate() {
            if (owner == client || shared.is_idle())
                && let Some(connection) = shared.lease().await
            {
                // The list may have changed meanwhile; then the connection has another owner for once.
                if let Some(entry) = self.routes.borrow_mut().get_mut(&key)
                    && let Some((owner, _)) = entry.shared.get_mut(index)
                {
                    *owner = client;
                }
                return Some(Connection::H2(connection));
            }
        }
        None
    }

    async fn open(
        &self,
        dialer: &Dialer,
        route: &Route,
        offered: &[Alpn],
        (client, stream): (ClientId, Option<Stream>),
    ) -> Result<Connection, DialError> {
        let session = match stream {
            Some(stream) => dialer.secure(stream, route, offered).await?,
            None => match dialer.dial(route, offered).await {
                // What the client cannot speak is translated.
                Err(e) if offered == [Alpn::Http11] && e.wants_other_protocols() => {
                    dialer.dial(route, &[Alpn::H2]).await?
                }
                dialled => dialled?,
            },
        };
        let PoolSettings { limits, patience, .. } = self.settings;
        let connection = h1::Connection::new(session, limits, patience);
        let spoken = connection.alpn();
        if spoken != Some(Alpn::H2) {
            self.remember(route, offered, spoken, None);
            return Ok(Connection::H1(connection));
        }
        let addr = route.original.0;
        let opened = h2::Shared::open(connection.into_stream(), limits, patience).await;
        let mut shared = opened.map_err(|source| DialError::Http2 { addr, source })?;
        let leased = shared.lease().await.ok_or(DialError::NoStreams { addr })?;
        self.remember(route, offered, spoken, Some((client, shared)));
        Ok(Connection::H2(leased))
    }

    fn remember(&self, route: &Route, offered: &[Alpn], spoken: Option<Alpn>, shared: Option<(ClientId, h2::Shared)>) {
        let mut routes = self.routes.borrow_mut();
        if routes.len() >= ROUTES
            && !routes.contains_key(&Key::of(route, offered))
            && let Some(oldest) = routes.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())
        {
            routes.remove(&oldest);
        }
        let now = Instant::now();
        let entry = routes.entry(Key::of(route, offered)).or_insert_with(|| Entry {
            spoken,
            used: now,
            idle: Vec::new(),
            shared: Vec::new(),
        });
        (entry.spoken, entry.used) = (spoken, now);
        entry.shared.extend(shared);
    }
}

impl Key {
    fn of(route: &Route, offered: &[Alpn]) -> Self {
        Self {
            original: route.original,
            uid: route.uid,
            netns: route.netns.as_ref().map(|netns| netns.cookie.0),
            tunnel: route.tunnel.clone(),
            name: route.name.clone(),
            tls: route.tls.clone(),
            offered: offered.to_vec(),
        }
    }
}
