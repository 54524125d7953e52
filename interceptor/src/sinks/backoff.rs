//! How long is waited before another attempt.

use std::time::Duration;

/// How long a sink waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between looks at a log in which nothing is new.
    pub poll: Duration,
    /// Before the second attempt; doubled before each further one.
    pub first: Duration,
    /// The most that is waited.
    pub most: Duration,
    /// Between checkpoints that are sent.
    pub checkpoints: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(200),
            first: Duration::from_secs(1),
            most: Duration::from_secs(60),
            checkpoints: Duration::from_secs(10),
        }
    }
}

/// Exponential, with jitter, so that many hosts do not come back to a receiver at once.
#[derive(Debug)]
pub(super) struct Backoff {
    pace: Pace,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, failures: 0 }
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// After a failure: how long to wait. At least `asked`, where the receiver said so, within the most.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let mut random = [0; 4];
        // Without random numbers there is no jitter.
        let _ = aws_lc_rs::rand::fill(&mut random);
        self.after(asked, u32::from_le_bytes(random))
    }

    fn after(&mut self, asked: Option<Duration>, random: u32) -> Duration {
        let full = self.pace.first.saturating_mul(1 << self.failures.min(16)).min(self.pace.most);
        self.failures += 1;
        let share = 0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX);
        full.mul_f64(share).max(asked.unwrap_or_default()).min(self.pace.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_most_and_starts_again_after_a_success() {
        let mut backoff = Backoff::new(Pace::default());
        let waits: Vec<_> = (0..9).map(|_| backoff.after(None, u32::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.after(None, 0), Duration::from_millis(500));
        assert_eq!(backoff.after(Some(Duration::from_secs(30)), 0), Duration::from_secs(30));
        assert_eq!(backoff.after(Some(Duration::from_secs(3600)), 0), Duration::from_secs(60));
    }
}
