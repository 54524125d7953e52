//! The key of this host's tokens, a new one every epoch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::mask::TokenKey;

/// Within an epoch equal values have equal tokens; tokens of different epochs cannot be linked.
const EPOCH: Duration = Duration::from_secs(30 * 86_400);

/// Epoch keys derived from one master key, which is kept over restarts. Shared by all workers.
pub struct Tokens {
    master: Zeroizing<[u8; 32]>,
    current: Mutex<(u64, Arc<TokenKey>)>,
}

impl Tokens {
    /// Tokens under this host's `master` key.
    #[must_use]
    pub fn new(master: Zeroizing<[u8; 32]>) -> Self {
        let epoch = epoch(SystemTime::now());
        let current = Mutex::new((epoch, Arc::new(derive(&master, epoch))));
        Self { master, current }
    }

    /// The key of the epoch we are in.
    #[must_use]
    pub fn current(&self) -> Arc<TokenKey> {
        let now = epoch(SystemTime::now());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != now {
            *current = (now, Arc::new(derive(&self.master, now)));
        }
        Arc::clone(&current.1)
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(..)")
    }
}

fn epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / EPOCH.as_secs()
}

/// HMAC-SHA-256 as a key derivation function (NIST SP 800-108r1 in counter mode has no more to it for one block).
fn derive(master: &[u8; 32], epoch: u64) -> TokenKey {
    let tag =
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, master), &[b"token epoch", &epoch.to_be_bytes()[..]].concat());
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(tag.as_ref());
    TokenKey::from_bytes(*key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{RuleMeta, Severity};

    fn token(key: &TokenKey) -> String {
        let rule = RuleMeta {
            id: "ssn".into(),
            entity: "US_SSN".into(),
            label: "SSN".into(),
            severity: Severity::High,
            report_only: false,
        };
        key.token(&rule, "078-05-1120")
    }

    #[test]
    fn tokens_are_equal_within_an_epoch_and_over_restarts_only() {
        let master = [7; 32];
        let restarted = [Tokens::new(master.into()).current(), Tokens::new(master.into()).current()];
        assert_eq!(token(&restarted[0]), token(&restarted[1]));
        assert_ne!(token(&derive(&master, 1)), token(&derive(&master, 2)));
        assert_ne!(token(&derive(&[8; 32], 1)), token(&derive(&master, 1)));
    }

    #[test]
    fn an_epoch_has_thirty_days() {
        let day = |n: u64| epoch(UNIX_EPOCH + Duration::from_secs(n * 86_400));
        assert_eq!((day(29), day(30), day(60)), (0, 1, 2));
    }
}
