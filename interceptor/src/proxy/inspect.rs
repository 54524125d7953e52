//! The pure middle of the path, as one step without a socket: where is the text, what is in it, may it leave, as what.

use std::sync::Arc;

use bytes::Bytes;

use super::connection::Connection;
use super::desk;
use super::exchange::Rejection;
use super::record;
use super::safe::Safe;
use super::worker::{Shared, Worker};
use crate::audit::Record;
use crate::flow::{Action, ExchangeId, Finding, Provider};
use crate::mask::{self, Exemption, Masked, Orders, Scanner};
use crate::policy::{Allowed, Facts, Findings, Verdict};
use crate::wire::{self, Kind, Operation};

/// One request, as far as the decision depends on it.
pub(super) struct Request {
    pub(super) id: ExchangeId,
    pub(super) provider: Provider,
    pub(super) host: String,
    pub(super) user: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) operation: Operation,
    /// Findings in the target and in header fields.
    pub(super) head: Vec<Finding>,
    /// How the body says it is written.
    pub(super) content_type: Option<String>,
    pub(super) body: Body,
}

/// The body of a request.
pub(super) enum Body {
    /// All of it.
    Whole(Bytes),
    /// Nobody knows it yet: it is passed on as it comes, if policy lets it.
    Streamed,
}

impl Request {
    pub(super) fn of(
        connection: &Connection,
        id: ExchangeId,
        operation: Operation,
        head: Vec<Finding>,
        body: Body,
    ) -> Self {
        let peer = &connection.peer;
        Self {
            id,
            provider: peer.endpoint.provider,
            host: peer.name.as_str().to_owned(),
            user: peer.caller.user.clone(),
            groups: peer.caller.groups.clone().unwrap_or_default(),
            operation,
            head,
            content_type: None,
            body,
        }
    }
}

/// A request that may leave, and as what.
pub(super) struct Inspected {
    pub(super) masked: Masked,
    pub(super) allowed: Allowed,
}

/// The verdict on `request`; `record` is filled with what was found and decided, also when it is refused.
pub(super) async fn run(worker: &Worker, record: &mut Record, request: Request) -> Result<Inspected, Rejection> {
    let (bytes, is_small) = match &request.body {
        Body::Whole(body) => (body.len(), desk::is_small(body)),
        Body::Streamed => (0, true),
    };
    if is_small {
        return inspect(&worker.shared, &mut worker.desk.own().borrow_mut(), record, &request);
    }
    let (shared, mut moved) = (Arc::clone(&worker.shared), record.clone());
    let inspected = worker.desk.away(bytes, move |scanner| {
        let result = inspect(&shared, scanner, &mut moved, &request);
        (moved, result)
    });
    let (filled, result) = inspected.await?;
    *record = filled;
    result
}

fn unreadable(error: &wire::Error) -> Rejection {
    Rejection::malformed("wire.format", &error.to_string())
}

/// Tells the journal what policy wants told.
fn alert(id: ExchangeId, record: &Record) {
    for found in record.findings.iter().filter(|found| found.action == Action::Alert) {
        log::warn!("request {id}: {} of {} (rule {}), which policy wants told", found.count, found.entity, found.rule);
    }
}

fn inspect(
    shared: &Shared,
    scanner: &mut Scanner,
    record: &mut Record,
    request: &Request,
) -> Result<Inspected, Rejection> {
    let Request { operation, head, .. } = request;
    let (body, streamed) = match &request.body {
        Body::Whole(body) => (body.clone(), false),
        Body::Streamed => (Bytes::new(), true),
    };
    let body = &body;
    let document = match operation {
        Operation::Unknown | Operation::Read => None,
        Operation::Message => Some(wire::locate_message(body).map_err(|e| unreadable(&e))?),
        _ => {
            let content_type = request.content_type.as_deref();
            Some(wire::locate_as(*operation, content_type, body).map_err(|e| unreadable(&e))?)
        }
    };
    let fields = document.as_ref().map_or(&[][..], |document| &document.fields);
    match &document {
        Some(document) => record::cover(record, document),
        None if streamed => record::cover_streamed(record),
        None => record::cover_unread(record, body.len()),
    }
    let tokens = shared.tokens.current();
    record.request.model = record.request.model.take().map(|model| Safe { scanner, key: &tokens }.text(&model));
    let found = scanner.scan_fields(fields)?;
    record::cover_encoded(record, scanner.undecoded());

    let has = |kind| document.iter().flat_map(|document| &document.parts).any(|part| part.kind == kind);
    let facts = Facts {
        provider: request.provider,
        host: &request.host,
        user: request.user.as_deref(),
        groups: &request.groups,
        // A body where none is expected was not looked at either.
        known_operation: *operation != Operation::Unknown && (document.is_some() || body.is_empty() && !streamed),
        has_body: !body.is_empty() || streamed,
        opaque_media: has(Kind::Media),
        opaque_documents: has(Kind::Document),
    };
    let decision = shared.policy.decide(&facts, &Findings { head, body: &found, fields });
    record::count(record, &found, head, &decision.actions);
    alert(request.id, record);
    let plan = match decision.verdict {
        Verdict::Deny(denial) => return Err(denial.into()),
        Verdict::Proceed(plan) => plan,
    };
    record::decided(record, &plan);
    let masked = if document.is_some() {
        let orders = Orders { actions: &decision.actions.body, restore: &decision.actions.restore };
        mask::rewrite(request.id, body.clone(), fields, &found, orders, &tokens, scanner)?
    } else {
        let exemption = match streamed {
            true => Exemption::Streamed,
            false if body.is_empty() => Exemption::NoBody,
            false => Exemption::OpaqueByPolicy,
        };
        Masked::exempt(request.id, body.clone(), exemption)
    };
    let allowed = plan.allow(request.id, masked.digest());
    Ok(Inspected { masked, allowed })
}
