//! How fast a request's body has to come.
//!
//! One limit for the whole body would either cut off a large upload over a slow line or let a client hold its memory with
//! a byte a minute. So silence is limited, and so is the time for all of it: a first span for whatever there is, and more
//! with each byte that has come.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The slowest that a body may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Without a byte; also how long it takes until the rate counts.
    pub idle: Duration,
    /// On average over the whole body; 0 for any.
    pub bytes_per_s: u64,
}

/// A body that comes, measured against its [`Pace`]. Told of bytes in one place and waited for in another.
#[derive(Debug)]
pub(super) struct Pacer {
    pace: Pace,
    started: Instant,
    last: Cell<Instant>,
    bytes: Cell<u64>,
}

impl Pace {
    /// From now on.
    pub(super) fn start(self) -> Pacer {
        let now = Instant::now();
        Pacer { pace: self, started: now, last: Cell::new(now), bytes: Cell::new(0) }
    }
}

impl Pacer {
    /// More of the body has come.
    pub(super) fn came(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(bytes as u64));
        self.last.set(Instant::now());
    }

    /// When it is over, as things stand.
    pub(super) fn deadline(&self) -> Instant {
        let silent = self.last.get() + self.pace.idle;
        let Some(earned) = self.bytes.get().saturating_mul(1000).checked_div(self.pace.bytes_per_s) else {
            return silent;
        };
        silent.min(self.started + self.pace.idle + Duration::from_millis(earned))
    }

    /// Ends when the body is too slow, and not before. What has come meanwhile puts the end off.
    pub(super) async fn expired(&self) {
        while self.deadline() > Instant::now() {
            sleep_until(self.deadline()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { idle: Duration::from_secs(60), bytes_per_s: 1024 };

    /// How long a client lasts that sends `bytes` every `every`, and how much it has sent by then.
    async fn lasts(pace: Pace, bytes: usize, every: Duration, at_most: Duration) -> (Duration, usize) {
        let (started, pacer) = (Instant::now(), pace.start());
        let mut sent = 0;
        let sending = async {
            while started.elapsed() < at_most {
                pacer.came(bytes);
                sent += bytes;
                tokio::time::sleep(every).await;
            }
        };
        tokio::select! {
            () = sending => {}
            () = pacer.expired() => {}
        }
        (started.elapsed(), sent)
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_cut_off_and_a_slow_line_is_not() {
        let second = Duration::from_secs(1);
        let hour = 3600 * second;
        let (lasted, _) = lasts(PACE, 1, second, hour).await;
        assert!(lasted < 62 * second, "a byte a second: {lasted:?}");
        let (_, sent) = lasts(PACE, 4 << 10, second, hour).await;
        assert_eq!(sent, 3600 * (4 << 10), "4 KiB a second for an hour");
    }

    #[tokio::test(start_paused = true)]
    async fn credit_for_speed_is_no_right_to_be_silent() {
        let pacer = PACE.start();
        pacer.came(100 << 20);
        let started = Instant::now();
        pacer.expired().await;
        assert_eq!(started.elapsed(), PACE.idle);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_only_silence_counts() {
        let pace = Pace { bytes_per_s: 0, ..PACE };
        let (lasted, _) = lasts(pace, 1, Duration::from_secs(59), Duration::from_secs(7200)).await;
        assert!(lasted >= Duration::from_secs(7200), "{lasted:?}");
    }
}
