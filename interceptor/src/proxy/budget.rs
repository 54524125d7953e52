//! Bounds on what clients can make the daemon hold: connections, and bytes of buffered request bodies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The limits.
#[derive(Clone, Copy, Debug)]
pub struct BudgetLimits {
    /// Connections open at once.
    pub connections: usize,
    /// Connections of one user open at once.
    pub connections_per_user: usize,
    /// Bytes of bodies held at once.
    pub bytes: usize,
    /// Bytes of bodies held at once for one user.
    pub bytes_per_user: usize,
}

/// What is held, and how much may be. Shared by all workers.
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: Usage,
    by_user: HashMap<u32, Usage>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    connections: usize,
    bytes: usize,
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
    uid: u32,
    bytes: usize,
}

/// No room; the caller says so to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Budget {
    /// With nothing held yet.
    #[must_use]
    pub fn new(limits: BudgetLimits) -> Arc<Self> {
        Arc::new(Self { limits, held: Mutex::default() })
    }

    /// A place for one connection of `uid`.
    pub(super) fn connection(self: &Arc<Self>, uid: u32) -> Result<Slot, Exhausted> {
        self.take(uid, Usage { connections: 1, bytes: 0 })?;
        Ok(Slot { budget: Arc::clone(self), uid })
    }

    /// An empty reservation for a request of `uid`, to be grown as its body arrives.
    pub(super) fn reserve(self: &Arc<Self>, uid: u32) -> Reserved {
        Reserved { budget: Arc::clone(self), uid, bytes: 0 }
    }

    fn take(&self, uid: u32, more: Usage) -> Result<(), Exhausted> {
        let BudgetLimits { connections, connections_per_user, bytes, bytes_per_user } = self.limits;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let all = held.all.plus(more);
        let user = held.by_user.get(&uid).copied().unwrap_or_default().plus(more);
        let fits = |usage: Usage, connections, bytes| usage.connections <= connections && usage.bytes <= bytes;
        if !fits(all, connections, bytes) || !fits(user, connections_per_user, bytes_per_user) {
            return Err(Exhausted);
        }
        held.all = all;
        held.by_user.insert(uid, user);
        Ok(())
    }

    fn give_back(&self, uid: u32, less: Usage) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.minus(less);
        if let Some(user) = held.by_user.get_mut(&uid) {
            *user = user.minus(less);
            if *user == Usage::default() {
                held.by_user.remove(&uid);
            }
        }
    }
}

impl Usage {
    fn plus(self, more: Self) -> Self {
        Self { connections: self.connections + more.connections, bytes: self.bytes + more.bytes }
    }

    fn minus(self, less: Self) -> Self {
        Self { connections: self.connections - less.connections, bytes: self.bytes - less.bytes }
    }
}

impl Reserved {
    /// Room for `more` bytes.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Exhausted> {
        self.budget.take(self.uid, Usage { connections: 0, bytes: more })?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.give_back(self.uid, Usage { connections: 0, bytes: self.bytes });
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.budget.give_back(self.uid, Usage { connections: 1, bytes: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Arc<Budget> {
        Budget::new(BudgetLimits { connections: 3, connections_per_user: 2, bytes: 10, bytes_per_user: 8 })
    }

    #[test]
    fn one_user_cannot_take_every_connection() {
        let budget = budget();
        let held = [budget.connection(1).unwrap(), budget.connection(1).unwrap()];
        assert!(budget.connection(1).is_err());
        let other = budget.connection(2).unwrap();
        assert!(budget.connection(3).is_err(), "three are open");
        drop(held);
        assert!(budget.connection(1).is_ok());
        drop(other);
        assert!(budget.held.lock().unwrap().by_user.is_empty());
    }

    #[test]
    fn one_user_cannot_take_every_byte_and_bytes_are_given_back() {
        let budget = budget();
        let mut first = budget.reserve(1);
        first.grow(8).unwrap();
        assert_eq!(first.grow(1), Err(Exhausted), "the user's share");
        let mut second = budget.reserve(2);
        assert_eq!(second.grow(3), Err(Exhausted), "all there is");
        second.grow(2).unwrap();
        drop(first);
        second.grow(6).unwrap();
    }
}
