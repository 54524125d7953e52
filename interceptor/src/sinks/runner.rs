//! The thread of one sink: from the log to the receiver, and the cursor after it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::Backoff;
use super::event::{Event, What};
use super::receiver::{Receiver, Refused};
use super::settings::{Settings, Start};
use super::status::Shared;
use super::{Cursor, CursorError, Place};
use crate::audit::{FollowError, FollowPosition, Follower};
use crate::sys::yield_to_others;

/// The most events that are sent at once.
const MOST_EVENTS: usize = 1000;
/// How often a lock that another process has is asked for.
const ASK_LOCK: Duration = Duration::from_millis(100);

/// When the daemon wants to end, if it does.
pub(super) type Stop = watch::Receiver<Option<std::time::Instant>>;

/// What kept a sink from going on with its log.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// What was delivered has to be sent again, from the cursor on.
    #[error("{0}; what it may not have processed is sent again")]
    Lost(String),
}

/// What was delivered and may still turn out to be lost.
#[derive(Debug)]
struct Unsettled {
    at: Instant,
    position: FollowPosition,
    delivered: u64,
}

/// Events on their way, and the place in the log after them.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Event>,
    bytes: usize,
    since: Option<Instant>,
    position: Option<FollowPosition>,
}

pub(super) struct Runner {
    settings: Settings,
    receiver: Receiver,
    place: Place,
    shared: Arc<Shared>,
    backoff: Backoff,
    checkpoint_at: Option<Instant>,
    /// The checkpoint that was sent last.
    checkpoint: String,
}

impl Runner {
    pub(super) fn new(settings: Settings, receiver: Receiver, place: Place, shared: Arc<Shared>) -> Self {
        let backoff = Backoff::new(place.pace);
        Self { settings, receiver, place, shared, backoff, checkpoint_at: None, checkpoint: String::new() }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self, stop: Stop) {
        // Traffic goes first.
        if let Err(error) = yield_to_others() {
            log::debug!("sink {}: runs at the priority of the others: {error}", self.settings.name);
        }
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return log::error!("sink {}: cannot run: {error}", self.settings.name),
        };
        runtime.block_on(async {
            let mut deadline = stop.clone();
            tokio::select! {
                () = self.work(stop) => {}
                () = passed(&mut deadline) => {}
            }
        });
        // A look-up of a name that hangs must not keep the daemon.
        runtime.shutdown_background();
    }

    async fn work(&mut self, mut stop: Stop) {
        let Some(mut cursor) = self.cursor(&mut stop).await else { return };
        loop {
            let trouble = match self.follow(&mut cursor, &mut stop).await {
                Ok(()) => return,
                Err(trouble) => trouble,
            };
            if let Trouble::Follow(FollowError::Replaced(_)) = trouble {
                log::error!("sink {}: {trouble}; all that the log holds now is sent", self.settings.name);
                cursor.contents.position = FollowPosition::default();
            }
            if !self.pause(&trouble.to_string(), None, &mut stop).await {
                return;
            }
        }
    }

    /// The cursor, once no other process has it. None when the daemon ends before.
    async fn cursor(&mut self, stop: &mut Stop) -> Option<Cursor> {
        loop {
            match Cursor::take(&self.place.cursors, &self.settings.name) {
                Ok(Some(cursor)) => return Some(cursor),
                Ok(None) => {
                    self.shared.lock().error = Some("another process still works for this sink".to_owned());
                    tokio::select! {
                        () = sleep(ASK_LOCK) => {}
                        () = stopping(stop) => return None,
                    }
                }
                Err(error) => {
                    if !self.pause(&error.to_string(), None, stop).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Sends what the log holds and what comes. Ends without an error when the daemon does and all is sent.
    async fn follow(&mut self, cursor: &mut Cursor, stop: &mut Stop) -> Result<(), Trouble> {
        if !cursor.stored {
            if self.settings.from == Start::End {
                cursor.contents.position = Follower::end(&self.place.audit);
            }
            cursor.store()?;
        }
        self.show(cursor);
        let mut follower = Follower::open(&self.place.audit, cursor.contents.position.clone())?;
        cursor.contents.log = follower.checkpoint().map(|(_, checkpoint)| checkpoint.origin.clone());
        let (bytes, linger) = self.settings.batch();
        let mut unsettled = VecDeque::new();
        let mut batch = Batch::default();
        loop {
            let is_stopping = stop.borrow().is_some();
            let is_full = fill(&mut batch, &mut follower, self.settings.format, bytes)?;
            self.shared.lock().behind = follower.behind();
            let is_due = batch.since.is_some_and(|since| since.elapsed() >= linger);
            let mut ready = Batch::default();
            if is_full || is_due || is_stopping {
                std::mem::swap(&mut ready, &mut batch);
            }
            self.checkpoint(&follower, &mut ready, is_stopping);
            if !ready.events.is_empty() {
                if !self.send(cursor, ready, &mut unsettled, stop).await? {
                    return Ok(());
                }
                continue;
            }
            self.settle(cursor, &mut unsettled).await?;
            if follower.refresh() {
                continue;
            }
            if is_stopping {
                return self.finish(cursor, unsettled).await;
            }
            tokio::select! {
                () = sleep(self.place.pace.poll) => {}
                () = stopping(stop) => {}
            }
        }
    }

    /// Adds the newest checkpoint, when it is time for one.
    fn checkpoint(&mut self, follower: &Follower, batch: &mut Batch, is_last: bool) {
        let is_due = is_last || self.checkpoint_at.is_none_or(|at| at.elapsed() >= self.place.pace.checkpoints);
        if let Some((note, checkpoint)) = follower.checkpoint()
            && is_due
            && note != self.checkpoint
        {
            batch.events.push(Event::checkpoint(self.settings.format, note, checkpoint));
            self.checkpoint_at = Some(Instant::now());
            note.clone_into(&mut self.checkpoint);
        }
    }

    /// Sends a batch, however long it takes, and moves the cursor. False when the daemon ends before.
    async fn send(
        &mut self,
        cursor: &mut Cursor,
        batch: Batch,
        unsettled: &mut VecDeque<Unsettled>,
        stop: &mut Stop,
    ) -> Result<bool, Trouble> {
        self.settle(cursor, unsettled).await?;
        let Batch { events, position, .. } = batch;
        let mut delivered = 0;
        let mut left = Vec::from([Range { start: 0, end: events.len() }]);
        // An event that is refused alone gets one more chance.
        let mut refused_once = None;
        while let Some(range) = left.pop() {
            match self.receiver.deliver(&events[range.clone()]).await {
                Ok(()) => {
                    self.well();
                    delivered += records(&events[range]);
                }
                Err(Refused::Later { why, .. }) if !unsettled.is_empty() => return Err(Trouble::Lost(why)),
                Err(Refused::Later { why, after }) => {
                    if !self.pause(&why, after, stop).await {
                        return Ok(false);
                    }
                    left.push(range);
                }
                Err(Refused::Content(_)) if range.len() > 1 => {
                    let middle = range.start + range.len() / 2;
                    left.push(middle..range.end);
                    left.push(range.start..middle);
                }
                Err(Refused::Content(why)) if refused_once != Some(range.start) => {
                    if !self.pause(&why, None, stop).await {
                        return Ok(false);
                    }
                    refused_once = Some(range.start);
                    left.push(range);
                }
                Err(Refused::Content(why)) => {
                    self.give_up(cursor, &events[range.start], &why)?;
                    // The next attempt is made at once; only the waits grow until something is taken.
                    self.shared.well();
                }
            }
        }
        let Some(position) = position else { return Ok(true) };
        if self.receiver.settles_after().is_zero() {
            self.advance(cursor, position, delivered)?;
        } else {
            unsettled.push_back(Unsettled { at: Instant::now(), position, delivered });
        }
        Ok(true)
    }

    fn give_up(&self, cursor: &mut Cursor, event: &Event, why: &str) -> Result<(), Trouble> {
        let id = event.id();
        log::error!("sink {}: {} {id} was refused twice and is not sent: {why}", self.settings.name, event.kind());
        cursor.give_up(&id, event.sequence(), why)?;
        if matches!(event.what, What::Record(_)) {
            cursor.contents.undeliverable += 1;
        }
        Ok(())
    }

    /// Counts as taken what was delivered long enough ago.
    async fn settle(&mut self, cursor: &mut Cursor, unsettled: &mut VecDeque<Unsettled>) -> Result<(), Trouble> {
        if unsettled.is_empty() {
            return Ok(());
        }
        if let Some(why) = self.receiver.lost().await {
            return Err(Trouble::Lost(why));
        }
        let after = self.receiver.settles_after();
        let (mut position, mut delivered) = (None, 0);
        while let Some(first) = unsettled.pop_front_if(|first| first.at.elapsed() >= after) {
            position = Some(first.position);
            delivered += first.delivered;
        }
        match position {
            Some(position) => self.advance(cursor, position, delivered),
            None => Ok(()),
        }
    }

    async fn finish(&mut self, cursor: &mut Cursor, unsettled: VecDeque<Unsettled>) -> Result<(), Trouble> {
        let delivered = unsettled.iter().map(|unsettled| unsettled.delivered).sum();
        if self.receiver.finish().await
            && let Some(last) = unsettled.into_iter().next_back()
        {
            self.advance(cursor, last.position, delivered)?;
        }
        Ok(())
    }

    fn advance(&self, cursor: &mut Cursor, position: FollowPosition, delivered: u64) -> Result<(), Trouble> {
        cursor.contents.position = position;
        cursor.contents.delivered += delivered;
        cursor.store()?;
        self.show(cursor);
        Ok(())
    }

    fn show(&self, cursor: &Cursor) {
        let mut status = self.shared.lock();
        status.delivered = cursor.contents.delivered;
        status.undeliverable = cursor.contents.undeliverable;
        status.sequence = cursor.contents.position.seen.as_ref().map(|seen| seen.sequence);
    }

    fn well(&mut self) {
        if self.shared.lock().error.is_some() {
            log::info!("sink {}: goes on", self.settings.name);
        }
        self.backoff.reset();
        self.shared.well();
    }

    /// Waits after a failure. False when the daemon ends: what is not sent is still in the log.
    async fn pause(&mut self, why: &str, after: Option<Duration>, stop: &mut Stop) -> bool {
        let wait = self.backoff.next(after);
        if self.shared.lock().error.as_deref() != Some(why) {
            log::warn!("sink {}: {why}; next attempt in {:.1} s", self.settings.name, wait.as_secs_f64());
        }
        self.shared.failed(why, wait);
        tokio::select! {
            () = sleep(wait) => true,
            () = stopping(stop) => false,
        }
    }
}

/// Takes finished records until the batch is full, or there is none. Says whether it is full.
fn fill(
    batch: &mut Batch,
    follower: &mut Follower,
    format: crate::siem::Format,
    bytes: usize,
) -> Result<bool, FollowError> {
    while batch.bytes < bytes && batch.events.len() < MOST_EVENTS {
        let Some(followed) = follower.next()? else { return Ok(false) };
        let position = followed.position.clone();
        let event = Event::record(format, followed);
        batch.bytes += event.text.len() + 1;
        batch.events.push(event);
        batch.since.get_or_insert_with(Instant::now);
        batch.position = Some(position);
    }
    Ok(true)
}

fn records(events: &[Event]) -> u64 {
    events.iter().filter(|event| matches!(event.what, What::Record(_))).count() as u64
}

/// Done when the daemon wants to end.
pub(super) async fn stopping(stop: &mut Stop) {
    if stop.wait_for(Option::is_some).await.is_err() {
        // Nobody is there any more who could say so.
        std::future::pending::<()>().await;
    }
}

/// Done when the daemon has waited long enough.
pub(super) async fn passed(stop: &mut Stop) {
    stopping(stop).await;
    let deadline = *stop.borrow();
    if let Some(deadline) = deadline {
        sleep_until(deadline.into()).await;
    }
}
