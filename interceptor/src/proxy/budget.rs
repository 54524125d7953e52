//! Bounds on what clients can make the daemon hold: connections, and bytes of buffered request bodies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The limits; shared by all workers.
#[derive(Debug)]
pub struct Budget {
    connections: usize,
    per_user: usize,
    bytes: usize,
    buffered: AtomicUsize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_user: HashMap<u32, usize>,
}

/// One open connection; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    budget: Arc<Budget>,
    uid: u32,
}

/// Bytes of a body being buffered; gives them back when dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Arc<Budget>,
    bytes: usize,
}

/// No room; the caller says so to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Budget {
    /// `connections` open at once, `per_user` of one user, `bytes` of bodies held.
    #[must_use]
    pub fn new(connections: usize, per_user: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self { connections, per_user, bytes, buffered: AtomicUsize::new(0), open: Mutex::default() })
    }

    /// A place for one connection of `uid`.
    pub(super) fn connection(self: &Arc<Self>, uid: u32) -> Result<Slot, Exhausted> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = open.by_user.get(&uid).copied().unwrap_or(0);
        if open.all >= self.connections || of_user >= self.per_user {
            return Err(Exhausted);
        }
        open.all += 1;
        open.by_user.insert(uid, of_user + 1);
        Ok(Slot { budget: Arc::clone(self), uid })
    }

    /// An empty reservation, to be grown as a body arrives.
    pub(super) fn reserve(self: &Arc<Self>) -> Reserved {
        Reserved { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Reserved {
    /// Room for `more` bytes.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Exhausted> {
        let before = self.budget.buffered.fetch_add(more, Ordering::Relaxed);
        if before + more > self.budget.bytes {
            self.budget.buffered.fetch_sub(more, Ordering::Relaxed);
            return Err(Exhausted);
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.buffered.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.budget.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(count) = open.by_user.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                open.by_user.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_every_connection() {
        let budget = Budget::new(3, 2, 0);
        let held = [budget.connection(1).unwrap(), budget.connection(1).unwrap()];
        assert!(budget.connection(1).is_err());
        let other = budget.connection(2).unwrap();
        assert!(budget.connection(3).is_err(), "three are open");
        drop(held);
        assert!(budget.connection(1).is_ok());
        drop(other);
        assert!(budget.open.lock().unwrap().by_user.is_empty());
    }

    #[test]
    fn bytes_are_given_back() {
        let budget = Budget::new(1, 1, 10);
        let mut first = budget.reserve();
        first.grow(8).unwrap();
        let mut second = budget.reserve();
        assert_eq!(second.grow(3), Err(Exhausted));
        drop(first);
        second.grow(10).unwrap();
    }
}
