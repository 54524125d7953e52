//! A worker thread: its listeners, its scanner, its sealing key, and the connections it accepted.

use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::desk::Desk;
use super::refused::Refused;
use super::{Budget, Drain, EndpointsTls, Order, Pulse, Settings, Tokens, arrival};
use crate::audit;
use crate::capture::{Catalogue, Flows, HttpProxy, Listening, Namespaces, NetnsCookie};
use crate::identity::Callers;
use crate::mask::{Engine, Scanner};
use crate::policy::{Connections, Policy};
use crate::sys::Listener;
use crate::tls::LeafCache;
use crate::upstream::{Dialer, Pool, PoolSettings};

/// Pause after a failed accept: descriptors may have run out, and trying again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection to an endpoint waits for its next request, and how many of HTTP/1 do. Shorter than the minute
/// that servers commonly wait, so that they seldom close one in the moment it is used.
const POOLED: Duration = Duration::from_secs(50);
const POOLED_PER_ROUTE: usize = 32;

/// How often those are looked through.
const SWEEP: Duration = Duration::from_secs(5);

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// The model endpoints, by name.
    pub catalogue: Catalogue,
    /// Flow records, written by the kernel programs.
    pub flows: Flows,
    /// The network namespaces that clients are in.
    pub namespaces: Namespaces,
    /// The daemon's own.
    pub own_netns: NetnsCookie,
    /// Names the callers.
    pub callers: Callers,
    /// Certificates of the internal CA.
    pub leaves: LeafCache,
    /// Client certificates and roots of single endpoints.
    pub endpoint_tls: EndpointsTls,
    /// The masking rules.
    pub engine: Arc<Engine>,
    /// The keys of this host's tokens.
    pub tokens: Tokens,
    /// The HTTP proxies that clients are configured to use.
    pub proxies: Vec<HttpProxy>,
    /// Which connections are intercepted, which passed on.
    pub connections: Connections,
    /// What may leave.
    pub policy: Policy,
    /// How much clients may make the daemon hold.
    pub budget: Arc<Budget>,
    /// Whether this process is coming to its end.
    pub drain: Arc<Drain>,
    /// Limits and deadlines of one connection.
    pub settings: Settings,
}

/// The state of one thread.
pub struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) desk: Desk,
    pub(super) audit: audit::Worker,
    pub(super) dialer: Dialer,
    pub(super) pool: Pool,
    pub(super) refused: Refused,
}

impl Worker {
    /// To be called on the thread that will run it.
    #[must_use]
    pub fn new(shared: Arc<Shared>, scanner: Scanner, audit: audit::Worker, dialer: Dialer) -> Rc<Self> {
        let settings = &shared.settings;
        let pool = Pool::new(PoolSettings {
            limits: settings.http,
            patience: settings.client.patience,
            idle: POOLED,
            per_route: POOLED_PER_ROUTE,
        });
        let desk = Desk::new(Arc::clone(&shared.engine), scanner);
        Rc::new(Self { shared, desk, audit, dialer, pool, refused: Refused::default() })
    }

    /// Accepts where it is told to, until nobody can tell it anything any more. Gives signs of life meanwhile.
    pub async fn serve(self: Rc<Self>, mut orders: UnboundedReceiver<Order>, pulse: Arc<Pulse>) {
        let mut alive = JoinSet::new();
        alive.spawn_local(async move { pulse.keep().await });
        let sweeping = Rc::clone(&self);
        alive.spawn_local(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                sweeping.pool.sweep().await;
            }
        });
        let mut accepting: Vec<(Listening, JoinSet<()>)> = Vec::new();
        while let Some(order) = orders.recv().await {
            match order {
                Order::Listen { listening, sockets } => accepting.push((listening, self.listen(listening, sockets))),
                // Dropped, the set aborts its tasks, and they close their sockets.
                Order::Close(listening) => accepting.retain(|(open, _)| *open != listening),
            }
        }
    }

    fn listen(self: &Rc<Self>, listening: Listening, sockets: Vec<TcpListener>) -> JoinSet<()> {
        let mut accepting = JoinSet::new();
        for socket in sockets {
            match Listener::from_std(socket, self.dialer.transport) {
                Ok(listener) => drop(accepting.spawn_local(Rc::clone(self).accept(listener, listening))),
                Err(e) => log::error!("a listener cannot be used: {e}; its connections are not served"),
            }
        }
        accepting
    }

    async fn accept(self: Rc<Self>, listener: Listener, listening: Listening) {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    if let Err(e) = stream.keep_alive() {
                        log::debug!("no keep-alive for {client:?}: {e}");
                    }
                    tokio::task::spawn_local(arrival::serve(Rc::clone(&self), stream, client, listening));
                }
                Err(e) => {
                    log::warn!("cannot accept a connection: {e}");
                    if e.kind() != io::ErrorKind::ConnectionAborted {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
}
