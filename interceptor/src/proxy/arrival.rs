//! A captured connection, from accept to the point where its first bytes are looked at.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::budget::Slot;
use super::canary;
use super::drain::Phase;
use super::opening::{self, Ready, Side};
use super::overload;
use super::record;
use super::refused::Cause;
use super::worker::Worker;
use crate::audit;
use crate::capture::{Endpoint, Flow, Listening, Namespaces, Netns, Protocol, Reason};
use crate::flow::ClientAddr;
use crate::identity::Caller;
use crate::policy::{Captured, Known, Opening, Said, Sentence, Tunnel, Who};
use crate::sys::Stream;
use crate::upstream::{DialFrom, Route};

/// A captured connection of which nothing is known yet but who made it, and where to.
pub(super) struct Arrival {
    pub(super) worker: Rc<Worker>,
    pub(super) flow: Flow,
    pub(super) caller: Caller,
    /// The caller, as records name it.
    pub(super) recorded: audit::Caller,
    pub(super) captured: Captured,
    /// Where to dial from; none: the daemon's own network namespace.
    pub(super) netns: Option<Arc<Netns>>,
    pub(super) slot: Slot,
}

/// Takes a connection that this listener accepted to its end, or to the end of this process.
pub(super) async fn serve(worker: Rc<Worker>, stream: Stream, client: ClientAddr, listening: Listening) {
    let drain = Arc::clone(&worker.shared.drain);
    let _open = drain.guard();
    tokio::select! {
        biased;
        () = admitted(worker, stream, client, listening) => {}
        // What was begun is recorded as aborted by being dropped.
        () = drain.reaches(Phase::Over) => log::warn!("the connection from {client} is cut off: this process ends"),
    }
}

async fn admitted(worker: Rc<Worker>, stream: Stream, client: ClientAddr, listening: Listening) {
    if let Some(ready) = Box::pin(admit(worker, stream, client, listening)).await {
        ready.serve().await;
    }
}

/// None where it was refused, or has come to its end already.
async fn admit(worker: Rc<Worker>, stream: Stream, client: ClientAddr, listening: Listening) -> Option<Ready> {
    let flow = match worker.shared.flows.take(client, listening) {
        Ok(flow) => flow,
        // Nobody was redirected here: a direct dial of the listener, or a record that was swept. Never guess.
        Err(e) => {
            worker.refused(None, Cause::NoFlow, &format!("closing a connection from {client}: {e}"));
            return None;
        }
    };
    if flow.reason == Reason::Canary {
        canary::answer(&worker, &flow, stream).await;
        return None;
    }
    let Ok(slot) = worker.shared.budget.connection(flow.uid) else {
        let reason = format!("turning away a connection of uid {}: too many are open", flow.uid);
        worker.refused(Some(&flow), Cause::TooMany, &reason);
        overload::turn_away(&worker, &flow, stream).await;
        return None;
    };
    let (caller, netns) = resolve(&worker, &flow).await;
    let recorded = record::caller(&worker, &caller);
    let captured = captured(&worker, &flow);
    let arrival = |netns| Arrival { worker, flow, caller, recorded, captured, netns, slot };
    match netns {
        Ok(netns) => opening::run(arrival(netns), Side::new(stream)).await,
        Err(reason) => {
            arrival(None).refuse(None, "upstream.dial_from", &reason).await;
            None
        }
    }
}

/// Why `flow` is here. A configured proxy is not an endpoint: what passes through it is judged by itself.
fn captured(worker: &Worker, flow: &Flow) -> Captured {
    let proxy = worker.shared.proxies.iter().any(|proxy| proxy.is_at(flow.original));
    match flow.reason {
        Reason::Enrolled if !proxy => Captured::Enrolled,
        Reason::Enrolled | Reason::Strict | Reason::Canary => Captured::Strict,
    }
}

/// The caller, and the network namespace to dial from. Both ask procfs: a worker does not wait for them. What the caller
/// could delay has its own threads and a deadline.
async fn resolve(worker: &Worker, flow: &Flow) -> (Caller, Result<Option<Arc<Netns>>, String>) {
    tokio::join!(worker.shared.callers.name(flow), client_namespace(worker, flow))
}

/// None: the daemon's own. Asks the kernel alone.
async fn client_namespace(worker: &Worker, flow: &Flow) -> Result<Option<Arc<Netns>>, String> {
    let shared = &worker.shared;
    if shared.settings.dial_from != DialFrom::Client || flow.netns == shared.own_netns {
        return Ok(None);
    }
    let (namespaces, flow) = (shared.namespaces.clone(), flow.clone());
    let entered = tokio::task::spawn_blocking(move || enter(&namespaces, &flow)).await;
    entered.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())).map(Some)
}

fn enter(namespaces: &Namespaces, flow: &Flow) -> Result<Arc<Netns>, String> {
    if let Some(netns) = namespaces.get(flow.netns) {
        return Ok(netns);
    }
    match Netns::of_process(flow.tgid) {
        Ok(netns) if netns.cookie == flow.netns => Ok(Arc::new(netns)),
        Ok(_) => Err("the client's network namespace is gone, so nothing can be dialled from it".into()),
        Err(e) => Err(format!("the client's network namespace cannot be entered: {e}")),
    }
}

impl Arrival {
    /// The way to where the client meant to connect, without TLS.
    pub(super) fn route(&self) -> Route {
        Route {
            original: self.flow.original,
            uid: self.flow.uid,
            netns: self.netns.clone(),
            tunnel: None,
            name: None,
            tls: None,
        }
    }

    /// What the catalogue says about a host: a name in lower case, or an address.
    pub(super) fn known(&self, host: &str, port: u16) -> Known {
        let catalogue = &self.worker.shared.catalogue;
        match self.endpoint(host, port) {
            Some(endpoint) if endpoint.protocol == Protocol::Http => Known::Plain,
            Some(_) => Known::Tls,
            None if catalogue.knows(host) => Known::OtherPort,
            None if catalogue.is_ech_public_name(host) => Known::Public,
            None => Known::Foreign,
        }
    }

    /// The endpoint with that name or address.
    pub(super) fn endpoint(&self, host: &str, port: u16) -> Option<&Arc<Endpoint>> {
        let catalogue = &self.worker.shared.catalogue;
        let by_address = |ip: IpAddr| catalogue.addressed(ip, port).or_else(|| catalogue.by_address(ip, port));
        catalogue.find(host, port).or_else(|| host.parse().ok().and_then(by_address))
    }

    /// The plain-HTTP endpoint that is configured with the destination's address.
    pub(super) fn plain_endpoint(&self) -> Option<&Arc<Endpoint>> {
        let original = self.flow.original;
        let found = self.worker.shared.catalogue.by_address(original.ip(), original.port());
        // One with TLS is not to be reached in the clear because its address is configured too.
        found.filter(|endpoint| endpoint.protocol == Protocol::Http)
    }

    /// What happens to the connection, now that it has said something.
    pub(super) fn decide(&self, said: Said<'_>, port: u16, tunnel: Option<Tunnel<'_>>) -> Sentence {
        self.with_opening(said, port, tunnel, |opening| self.worker.shared.connections.decide(opening))
    }

    /// What a configured rule says about it.
    pub(super) fn ruled(&self, said: Said<'_>, port: u16, tunnel: Option<Tunnel<'_>>) -> Option<Sentence> {
        self.with_opening(said, port, tunnel, |opening| self.worker.shared.connections.ruled(opening))
    }

    fn with_opening<T>(
        &self,
        said: Said<'_>,
        port: u16,
        tunnel: Option<Tunnel<'_>>,
        ask: impl FnOnce(&Opening<'_>) -> T,
    ) -> T {
        let exe = self.caller.exe.as_ref().map(|exe| exe.to_string_lossy());
        let cgroup = self.caller.cgroup.as_ref().map(ToString::to_string);
        let container = self.caller.container().map(|container| container.id);
        let caller = Who {
            exe: exe.as_deref(),
            exe_sha256: self.caller.exe_sha256.as_deref(),
            own_mounts: self.caller.own_mounts,
            user: self.caller.user.as_deref(),
            cgroup: cgroup.as_deref(),
            container: container.as_deref(),
        };
        ask(&Opening { captured: self.captured, port, said, tunnel, caller })
    }

    /// Records that the connection ends here.
    pub(super) async fn refuse(&self, host: Option<&str>, rule: &str, reason: &str) {
        record::connection_refused(self, host, rule, reason, None).await;
    }

    /// How long a client may be silent before it is taken to wait for the server: only where such protocols pass.
    pub(super) fn patience(&self) -> Option<Duration> {
        /// Decided for every strict connection, so it must not be felt; a client that speaks first does so in far less.
        const PEEK: Duration = Duration::from_millis(200);
        (self.captured == Captured::Strict).then_some(PEEK)
    }
}
