//! The thread of one sink: from the log to the receiver, and the cursor after it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::event::Event;
use super::receiver::{Receiver, Refused};
use super::settings::{Settings, Start};
use super::status::Shared;
use super::thread::{self, Stop, stopping};
use super::{Cursor, CursorError, Place};
use crate::audit::{FollowError, FollowPosition, Follower, Stream, VerifyingKey};

/// The most events that are sent at once.
const MOST_EVENTS: usize = 1000;
/// How often a lock that another process has is asked for.
const ASK_LOCK: Duration = Duration::from_millis(100);

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
    /// The cursor is a place in the log of another host.
    #[error("the cursor is one of the log {0:?}, which this is not")]
    OtherLog(String),
}

/// What was delivered and may still turn out to be lost.
#[derive(Debug)]
struct Unsettled {
    /// What had been written then.
    written: u64,
    /// When the receiver's host was seen to have it.
    acknowledged: Option<Instant>,
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
    key: VerifyingKey,
    shared: Arc<Shared>,
    backoff: Backoff,
    checkpoint_at: Option<Instant>,
    /// The checkpoint that was sent last.
    checkpoint: String,
}

impl Runner {
    pub(super) fn new(
        settings: Settings,
        receiver: Receiver,
        place: Place,
        key: VerifyingKey,
        shared: Arc<Shared>,
    ) -> Self {
        let backoff = Backoff::new(place.pace);
        Self { settings, receiver, place, key, shared, backoff, checkpoint_at: None, checkpoint: String::new() }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self, stop: Stop) {
        thread::run(&format!("sink {}", self.settings.name), stop, async |stop| self.work(stop).await);
    }

    async fn work(&mut self, mut stop: Stop) {
        let Some(mut cursor) = self.cursor(&mut stop).await else { return };
        loop {
            let trouble = match self.follow(&mut cursor, &mut stop).await {
                Ok(()) => return,
                Err(trouble) => trouble,
            };
            // What was sent of this may not have arrived.
            self.checkpoint.clear();
            match trouble {
                Trouble::Follow(FollowError::Replaced(_)) | Trouble::OtherLog(_) => {
                    log::error!("sink {}: {trouble}; all that the log holds now is sent", self.settings.name);
                    cursor.contents.position = FollowPosition::default();
                    cursor.contents.log = None;
                }
                Trouble::Follow(FollowError::Rewritten) => {
                    log::info!("sink {}: {trouble}", self.settings.name);
                    continue;
                }
                _ => {}
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
                cursor.contents.position = Follower::end(&self.place.audit, Stream::Log, &self.key);
            }
            cursor.store()?;
        }
        self.show(cursor);
        let mut follower = Follower::open(&self.place.audit, &self.key, cursor.contents.position.clone())?;
        if let Some((_, checkpoint)) = follower.checkpoint() {
            let log = cursor.contents.log.get_or_insert_with(|| checkpoint.origin.clone());
            if *log != checkpoint.origin {
                return Err(Trouble::OtherLog(log.clone()));
            }
        }
        let (bytes, linger) = self.settings.batch();
        let mut unsettled = VecDeque::new();
        let mut batch = Batch::default();
        loop {
            let is_stopping = stop.borrow().is_some();
            follower.check()?;
            let is_full = fill(&mut batch, &mut follower, self.settings.format, bytes)?;
            self.missing(follower.missing());
            let is_due = batch.since.is_some_and(|since| since.elapsed() >= linger);
            let mut ready = Batch::default();
            if is_full || is_due || is_stopping {
                std::mem::swap(&mut ready, &mut batch);
            }
            let checkpoint = self.checkpoint(&follower, &mut ready, is_stopping);
            if !ready.events.is_empty() {
                if !self.send(cursor, ready, &follower, &mut unsettled, stop).await? {
                    return Ok(());
                }
                if let Some(note) = checkpoint {
                    (self.checkpoint, self.checkpoint_at) = (note, Some(Instant::now()));
                }
                continue;
            }
            self.settle(cursor, &mut unsettled).await?;
            if unsettled.is_empty() && batch.events.is_empty() {
                follower.let_go();
                self.shared.reached(follower.looked_at());
            }
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

    /// Adds the newest checkpoint, when it is time for one; says which it was.
    fn checkpoint(&self, follower: &Follower, batch: &mut Batch, is_last: bool) -> Option<String> {
        let is_due = is_last || self.checkpoint_at.is_none_or(|at| at.elapsed() >= self.place.pace.checkpoints);
        let (note, checkpoint) = follower.checkpoint().filter(|(note, _)| is_due && *note != self.checkpoint)?;
        batch.events.push(Event::checkpoint(self.settings.format, note, checkpoint));
        Some(note.to_owned())
    }

    /// Tells of frames that were not found.
    fn missing(&self, frames: u64) {
        let told = std::mem::replace(&mut self.shared.lock().missing, frames);
        if frames > told {
            let name = &self.settings.name;
            log::error!("sink {name}: {frames} frames are missing in the audit log; run `interceptor log verify`");
        }
    }

    /// Sends a batch, however long it takes, and moves the cursor. False when the daemon ends before.
    async fn send(
        &mut self,
        cursor: &mut Cursor,
        batch: Batch,
        follower: &Follower,
        unsettled: &mut VecDeque<Unsettled>,
        stop: &mut Stop,
    ) -> Result<bool, Trouble> {
        self.settle(cursor, unsettled).await?;
        let Batch { events, position, .. } = batch;
        let settles = !self.receiver.settles_after().is_zero();
        let mut delivered = 0;
        // One of those that were taken.
        let mut taken = None;
        let mut left = Vec::from([Range { start: 0, end: events.len() }]);
        // An event that is refused alone gets one more chance.
        let mut refused_once = None;
        while let Some(range) = left.pop() {
            follower.check()?;
            match self.receiver.deliver(&events[range.clone()]).await {
                Ok(()) => {
                    // Where nothing is acknowledged, that it was sent says little.
                    if !settles {
                        self.well();
                    }
                    taken = events[range.clone()].last();
                    delivered += of_log(&events[range]);
                }
                Err(Refused::Part { refused, why }) => {
                    self.well();
                    let of = of_log(&events[range.clone()]);
                    self.give_up_some(cursor, &events[range], refused.min(of), &why)?;
                    delivered += of.saturating_sub(refused);
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
                // There is always a newer one.
                Err(Refused::Content(why)) if !events[range.start].is_of_log() => {
                    self.give_up(cursor, &events[range.start], &why)?;
                }
                Err(Refused::Content(why)) if !self.takes_anything(follower, taken).await => {
                    let why = format!("it takes nothing, not even a signed checkpoint: check its address: {why}");
                    if !self.pause(&why, None, stop).await {
                        return Ok(false);
                    }
                    left.push(range);
                }
                Err(Refused::Content(why)) => {
                    self.give_up(cursor, &events[range.start], &why)?;
                    // It has just taken something else, so the next attempt is made at once; the waits grow until something
                    // new is taken.
                    self.shared.well();
                }
            }
        }
        let Some(position) = position else { return Ok(true) };
        if settles {
            let written = self.receiver.written();
            unsettled.push_back(Unsettled { written, acknowledged: None, position, delivered });
        } else {
            self.advance(cursor, position, delivered)?;
        }
        Ok(true)
    }

    /// Whether the receiver takes what nothing is wrong with: a checkpoint, or else again what it has `taken` before. One that
    /// refuses everything (another server at its address, a filter on the way) must not make the sink give up one record
    /// after the other, also when it did not refuse the first ones.
    async fn takes_anything(&mut self, follower: &Follower, taken: Option<&Event>) -> bool {
        let checkpoint = follower.checkpoint();
        let checkpoint = checkpoint.map(|(note, said)| Event::checkpoint(self.settings.format, note, said));
        for event in checkpoint.iter().chain(taken) {
            if self.receiver.deliver(std::slice::from_ref(event)).await.is_ok() {
                return true;
            }
        }
        false
    }

    fn give_up(&self, cursor: &mut Cursor, event: &Event, why: &str) -> Result<(), Trouble> {
        let id = event.id();
        log::error!("sink {}: {} {id} was refused twice and is not sent: {why}", self.settings.name, event.kind());
        cursor.give_up(&id, event.sequence(), why)?;
        if event.is_of_log() {
            cursor.contents.undeliverable += 1;
            self.shared.lock().refused += 1;
        }
        Ok(())
    }

    /// The receiver has not taken some of `events`, and does not say which.
    fn give_up_some(&self, cursor: &mut Cursor, events: &[Event], some: u64, why: &str) -> Result<(), Trouble> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        let which = format!("{some} of {} to {}", first.id(), last.id());
        log::error!("sink {}: the receiver did not take {which}: {why}", self.settings.name);
        cursor.give_up(&which, first.sequence(), why)?;
        cursor.contents.undeliverable += some;
        self.shared.lock().refused += some;
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
        // Not only when it has everything: while much is to be sent, that is seldom seen.
        let acknowledged = self.receiver.acknowledged();
        for sent in unsettled.iter_mut().filter(|sent| sent.written <= acknowledged) {
            sent.acknowledged.get_or_insert_with(Instant::now);
        }
        let after = self.receiver.settles_after();
        let (mut position, mut delivered) = (None, 0);
        let has_settled = |sent: &mut Unsettled| sent.acknowledged.is_some_and(|at| at.elapsed() >= after);
        while let Some(first) = unsettled.pop_front_if(has_settled) {
            position = Some(first.position);
            delivered += first.delivered;
        }
        match position {
            Some(position) => {
                self.well();
                self.advance(cursor, position, delivered)
            }
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
        let position = &cursor.contents.position;
        status.sequence = position.seen.as_ref().map(|seen| seen.sequence);
        drop(status);
        self.shared.reached(position.seen.as_ref().map_or(position.from, |seen| seen.sequence + 1));
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

/// Takes finished records and notes until the batch is full, or there is none. Says whether it is full.
fn fill(
    batch: &mut Batch,
    follower: &mut Follower,
    format: crate::siem::Format,
    bytes: usize,
) -> Result<bool, FollowError> {
    while batch.bytes < bytes && batch.events.len() < MOST_EVENTS {
        let Some(followed) = follower.next()? else { return Ok(false) };
        let position = followed.position.clone();
        let origin = follower.checkpoint().map_or("", |(_, checkpoint)| &checkpoint.origin);
        let event = Event::said(format, followed, origin);
        batch.bytes += event.text.len() + 1;
        batch.events.push(event);
        batch.since.get_or_insert_with(Instant::now);
        batch.position = Some(position);
    }
    Ok(true)
}

fn of_log(events: &[Event]) -> u64 {
    events.iter().filter(|event| event.is_of_log()).count() as u64
}
