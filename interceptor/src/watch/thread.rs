//! The thread that follows the log and asks the daemon, counts, and raises alerts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, interval_at, sleep, timeout};

use super::accesses::{Accesses, Trouble};
use super::refusals::Refusals;
use super::rules::{DEGRADED, LOG_REPLACED, Rules, Suppressed, UNDELIVERABLE, WITNESS_CONTRADICTS};
use super::totals::Totals;
use super::{ANSWER, Stop, stopping};
use crate::audit::{
    Alert, FollowError, FollowPosition, Followed, Follower, Notes, Probe, Said, Stream, Time, VerifyingKey,
};
use crate::daemon::{Asks, Concern, Status};
use crate::sinks::WitnessStatus;

/// Between looks at a log in which nothing is new.
const POLL: Duration = Duration::from_millis(200);
/// How often the daemon is asked how it is.
const LOOK: Duration = Duration::from_secs(5);
/// Before the log is tried again after an error.
const PAUSE: Duration = Duration::from_secs(1);
/// Records taken in one go, so that a long log does not keep the thread from ending.
const AT_ONCE: usize = 256;

pub(super) struct Thread {
    audit: PathBuf,
    key: VerifyingKey,
    rules: Rules,
    totals: Arc<Mutex<Totals>>,
    accesses: Accesses,
    notes: Notes,
    probe: Probe,
    asks: Asks,
    /// What ends from this frame on was recorded while this daemon ran: it is counted.
    counted_from: u64,
    position: FollowPosition,
    /// What the last status said: what is new since is told.
    concerns: BTreeSet<Concern>,
    refusals: Refusals,
    contradicting: BTreeSet<String>,
    /// What was last said to be wrong with the log.
    complaint: Option<String>,
}

impl Thread {
    pub(super) fn new(
        (audit, key): (PathBuf, VerifyingKey),
        rules: Rules,
        totals: Arc<Mutex<Totals>>,
        accesses: Accesses,
        (notes, probe, asks): (Notes, Probe, Asks),
    ) -> Self {
        let earlier = Time::now().unix_ns().saturating_sub(rules.memory().as_nanos() as u64);
        Self {
            counted_from: Follower::end(&audit, Stream::Log, &key).from,
            position: Follower::since(&audit, Time::from_unix_ns(earlier)),
            audit,
            key,
            rules,
            totals,
            accesses,
            notes,
            probe,
            asks,
            concerns: BTreeSet::new(),
            refusals: Refusals::default(),
            contradicting: BTreeSet::new(),
            complaint: None,
        }
    }

    /// Works until it is told to stop.
    pub(super) async fn work(mut self, mut stop: Stop) {
        loop {
            let Err(error) = self.follow(&mut stop).await else { return };
            if let FollowError::Replaced(_) = error {
                let told = self.rules.tell(LOG_REPLACED, "", 1, error.to_string(), Time::now());
                self.suppressed(told);
                self.position = Follower::end(&self.audit, Stream::Log, &self.key);
            }
            self.raise();
            self.complain(Some(error.to_string()));
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = stopping(&mut stop) => return,
            }
        }
    }

    async fn follow(&mut self, stop: &mut Stop) -> Result<(), FollowError> {
        let mut follower = Follower::open(&self.audit, &self.key, self.position.clone())?;
        let mut look = interval_at(Instant::now() + LOOK, LOOK);
        loop {
            let is_all = self.take_some(&mut follower)?;
            if *stop.borrow() {
                return Ok(());
            }
            if !is_all {
                continue;
            }
            // Not before: a note further on may say that an alert was raised already.
            let trouble = self.look_at_accesses().await.or(self.raise());
            self.complain(trouble);
            if follower.refresh() {
                continue;
            }
            tokio::select! {
                () = sleep(POLL) => {}
                _ = look.tick() => self.look().await,
                () = stopping(stop) => {}
            }
        }
    }

    /// Takes what the log holds; false when there is more.
    fn take_some(&mut self, follower: &mut Follower) -> Result<bool, FollowError> {
        for _ in 0..AT_ONCE {
            let Some(followed) = follower.next()? else {
                follower.let_go();
                self.totals().behind = follower.behind();
                return Ok(true);
            };
            self.take(followed);
        }
        self.totals().behind = follower.behind();
        Ok(false)
    }

    fn take(&mut self, Followed { said, position }: Followed) {
        match said {
            Said::Record(record) => {
                let suppressed = self.rules.record(&record);
                if position.last.is_some_and(|last| last.end >= self.counted_from) {
                    self.totals().count(&record);
                    self.suppressed(suppressed);
                }
            }
            Said::Note(note) => self.rules.note(&note),
        }
        self.position = position;
    }

    /// Asks the daemon how it is.
    async fn look(&mut self) {
        let Some(status) = timeout(ANSWER, self.asks.status()).await.ok().flatten() else { return };
        let now = Time::now();
        let concerns = status.reasons.iter().map(|reason| reason.concern).collect();
        let before = std::mem::replace(&mut self.concerns, concerns);
        let mut told = BTreeSet::new();
        for reason in status.reasons.iter().filter(|reason| !before.contains(&reason.concern)) {
            if told.insert(reason.concern) {
                let what = self.rules.tell(DEGRADED, reason.concern.as_str(), 1, reason.what.clone(), now);
                self.suppressed(what);
            }
        }
        self.look_at_sinks(&status, now);
        for (name, reason) in new_contradictions(&mut self.contradicting, &status.witnesses) {
            let told = self.rules.tell(WITNESS_CONTRADICTS, &name, 1, reason, now);
            self.suppressed(told);
        }
    }

    /// Tells accesses; says why it could not.
    async fn look_at_accesses(&mut self) -> Option<String> {
        let trouble = self.accesses.note(&self.notes, &self.probe).await.err()?;
        if let Trouble::Follow(FollowError::Replaced(_)) = trouble {
            let reason = format!("the stream of accesses: {trouble}");
            let told = self.rules.tell(LOG_REPLACED, "accesses", 1, reason, Time::now());
            self.suppressed(told);
        }
        Some(trouble.to_string())
    }

    fn look_at_sinks(&mut self, status: &Status, now: Time) {
        for (sink, new) in self.refusals.new_in(&status.sinks) {
            let reason = format!(
                "the receiver of sink {sink} refused {new} for good: their ids are in sinks/{sink}.undeliverable"
            );
            let told = self.rules.tell(UNDELIVERABLE, &sink, new, reason, now);
            self.suppressed(told);
        }
    }

    /// Writes into the log what is due. What it does not take stays due; says why.
    fn raise(&mut self) -> Option<String> {
        let due: Vec<Alert> = self.rules.due().cloned().collect();
        for alert in due {
            match alert.record(&self.notes) {
                Ok(()) => {
                    let Alert { name, severity, reason, suppressed, .. } = &alert;
                    log::warn!("alert {name:?} ({}): {reason}; {suppressed} suppressed before", severity.as_str());
                    self.totals().alert(name, 1, 0);
                    self.rules.raised(&alert);
                }
                Err(error) => return Some(format!("alert {:?} is not in it yet: {error}", alert.name)),
            }
        }
        None
    }

    fn suppressed(&self, suppressed: impl IntoIterator<Item = Suppressed>) {
        let mut totals = self.totals();
        for Suppressed { rule, count } in suppressed {
            totals.alert(&rule, 0, count);
        }
    }

    /// Says what is wrong, once.
    fn complain(&mut self, complaint: Option<String>) {
        if let Some(complaint) = complaint.as_ref().filter(|new| self.complaint.as_ref() != Some(*new)) {
            log::error!("watching the audit log: {complaint}");
        }
        self.complaint = complaint;
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Witnesses that contradict the log and did not before, and what each says.
fn new_contradictions(before: &mut BTreeSet<String>, witnesses: &[WitnessStatus]) -> Vec<(String, String)> {
    let now = witnesses.iter().filter(|witness| witness.contradicts).map(|witness| witness.name.clone()).collect();
    let before = std::mem::replace(before, now);
    let new = witnesses.iter().filter(|witness| witness.contradicts && !before.contains(&witness.name));
    new.map(|WitnessStatus { name, to, error, .. }| {
        (name.clone(), format!("witness {name} ({to}): {}", error.as_deref().unwrap_or_default()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_that_contradicts_the_log_is_told_of_when_it_begins_to() {
        let witness = |name: &str, contradicts: bool| WitnessStatus {
            name: name.to_owned(),
            to: "directory /mnt".to_owned(),
            error: Some("it has seen 16 leaves of this log, which has 6 now".to_owned()),
            contradicts,
            ..WitnessStatus::default()
        };
        let mut before = BTreeSet::new();
        let mut told = |witnesses: &[WitnessStatus]| new_contradictions(&mut before, witnesses);
        assert_eq!(told(&[witness("a", false), witness("b", false)]), []);
        let [(name, reason)] = told(&[witness("a", false), witness("b", true)]).try_into().unwrap();
        assert_eq!(name, "b");
        assert_eq!(reason, "witness b (directory /mnt): it has seen 16 leaves of this log, which has 6 now");
        assert_eq!(told(&[witness("a", false), witness("b", true)]), []);
        assert_eq!(told(&[witness("a", true), witness("b", true)]).len(), 1);
        assert_eq!(told(&[witness("a", false), witness("b", false)]), []);
        assert_eq!(told(&[witness("a", false), witness("b", true)]).len(), 1);
    }
}
