//! Where this process's frames go.

use std::mem;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use super::super::Error;
use super::super::writer::{Appended, Plan, Shared, Wanted};
use super::Remote;
use super::message::{encode_submission, parse_submission};

/// Where frames go.
#[derive(Clone)]
pub(crate) enum Route {
    /// Into the log, which this process writes.
    Local(Arc<Shared>),
    /// Nowhere for a moment: the log is changing hands, and whoever can wait does.
    Moving(Backlog),
    /// To the process that took the log over.
    Remote(Arc<Remote>),
}

/// What came meanwhile from those who cannot wait: the ends of exchanges that were given up, a few hundred bytes each,
/// and no more of them than there are connections.
type Backlog = Arc<std::sync::Mutex<Vec<Vec<u8>>>>;

/// The present route of all workers.
pub(crate) struct Sink {
    route: RwLock<Route>,
    changed: Notify,
}

impl Sink {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { route: RwLock::new(Route::Local(shared)), changed: Notify::new() }
    }

    pub(crate) fn route(&self) -> Route {
        self.route.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Content that may go into one frame; more is split into parts.
    pub(crate) fn part_bytes(&self) -> usize {
        match &*self.route.read().unwrap_or_else(PoisonError::into_inner) {
            Route::Local(shared) => shared.part_bytes(),
            // The least that any log takes: who waits may find a smaller segment than there was.
            Route::Moving(_) => MIN_PART,
            Route::Remote(remote) => remote.part_bytes(),
        }
    }

    /// From here on appends wait. Returns the log that was written; it is the caller's to end.
    ///
    /// # Errors
    /// [`Error::Closed`] when this process does not write it.
    pub(crate) fn detach(&self) -> Result<Arc<Shared>, Error> {
        let mut route = self.route.write().unwrap_or_else(PoisonError::into_inner);
        let Route::Local(shared) = &*route else { return Err(Error::Closed) };
        let shared = Arc::clone(shared);
        *route = Route::Moving(Backlog::default());
        Ok(shared)
    }

    /// Those who waited go on here.
    pub(crate) fn attach(&self, next: Route) {
        let last = {
            let mut route = self.route.write().unwrap_or_else(PoisonError::into_inner);
            mem::replace(&mut *route, next)
        };
        if let Route::Moving(backlog) = last {
            let waiting = mem::take(&mut *backlog.lock().unwrap_or_else(PoisonError::into_inner));
            for message in waiting {
                let submission = parse_submission(&message[4..]).expect("encoded below");
                self.append_or_report(&submission.plan);
            }
        }
        self.changed.notify_waiters();
    }

    /// Appends a frame; see [`Shared::append`]. Waits while the log changes hands.
    pub(crate) async fn append(&self, plan: &Plan<'_>, wanted: Wanted) -> Result<Appended, Error> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before looking: a change between looking and waiting is not missed.
            changed.as_mut().enable();
            match self.route() {
                Route::Local(shared) => match shared.append(plan, wanted).await {
                    Err(Error::Closed) if !self.leads_to(&shared) => {}
                    result => return result,
                },
                Route::Moving(_) => changed.await,
                Route::Remote(remote) => return remote.submit(plan, wanted).await?.appended().await,
            }
        }
    }

    /// Appends the end of an exchange; see [`Shared::append_now`]. Where this process writes the log, it does not wait.
    /// `bound` is set as soon as the frame will be in the log or cannot be, so that nobody need write another end.
    pub(crate) async fn append_end(
        &self,
        plan: &Plan<'_>,
        wanted: Wanted,
        bound: &mut bool,
    ) -> Result<Appended, Error> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.route() {
                Route::Local(shared) => match shared.append_now(plan, wanted) {
                    Err(Error::Closed) if !self.leads_to(&shared) => {}
                    result => {
                        *bound = true;
                        return result;
                    }
                },
                Route::Moving(_) => changed.await,
                Route::Remote(remote) => {
                    let submitted = remote.submit(plan, wanted).await;
                    *bound = true;
                    return submitted?.appended().await;
                }
            }
        }
    }

    /// Appends the end of an exchange that nobody waits for.
    ///
    /// # Errors
    /// When it is known already that it cannot be recorded.
    pub(crate) fn append_last(&self, plan: &Plan<'_>) -> Result<(), Error> {
        loop {
            match self.route() {
                Route::Local(shared) => match shared.append_now(plan, Wanted::Appended) {
                    Err(Error::Closed) if !self.leads_to(&shared) => {}
                    result => return result.map(drop),
                },
                Route::Moving(backlog) => {
                    let message = encode_submission(0, Wanted::Appended, plan)
                        .map_err(|e| Error::Successor { reason: e.to_string() })?;
                    let mut backlog = backlog.lock().unwrap_or_else(PoisonError::into_inner);
                    // Under its lock: `attach` empties it after the route has changed.
                    if matches!(self.route(), Route::Moving(_)) {
                        backlog.push(message);
                        return Ok(());
                    }
                }
                Route::Remote(remote) => return remote.submit_now(plan),
            }
        }
    }

    fn append_or_report(&self, plan: &Plan<'_>) {
        if let Err(error) = self.append_last(plan) {
            log::error!("audit log: the end of exchange {} is not recorded: {error}", plan.exchange);
        }
    }

    fn leads_to(&self, shared: &Arc<Shared>) -> bool {
        matches!(self.route(), Route::Local(now) if Arc::ptr_eq(&now, shared))
    }
}

/// Bytes of a part in the smallest segment.
const MIN_PART: usize = 4 << 10;
