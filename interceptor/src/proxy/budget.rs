//! Bounds on what clients can make the daemon hold: connections, requests of HTTP/2, and bytes of buffered bodies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections beyond the limit that are told so at once, and those of one user among them.
const COURTESIES: usize = 64;
const COURTESIES_PER_USER: usize = 8;

/// The limits.
#[derive(Clone, Copy, Debug)]
pub struct BudgetLimits {
    /// Connections open at once.
    pub connections: usize,
    /// Connections of one user open at once.
    pub connections_per_user: usize,
    /// Requests of HTTP/2 under way at once.
    pub streams: usize,
    /// Requests of HTTP/2 of one user under way at once.
    pub streams_per_user: usize,
    /// Bytes of bodies held at once.
    pub bytes: usize,
    /// Bytes of bodies held at once for one user.
    pub bytes_per_user: usize,
}

impl BudgetLimits {
    /// Descriptors that connections take which are only told that they are too many.
    pub const COURTESY_DESCRIPTORS: usize = COURTESIES;

    fn of_all(&self) -> Usage {
        let Self { connections, streams, bytes, .. } = *self;
        Usage { connections, courtesies: COURTESIES, streams, bytes }
    }

    fn of_one_user(&self) -> Usage {
        let Self { connections_per_user, streams_per_user, bytes_per_user, .. } = *self;
        Usage {
            connections: connections_per_user,
            courtesies: COURTESIES_PER_USER,
            streams: streams_per_user,
            bytes: bytes_per_user,
        }
    }
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
    courtesies: usize,
    streams: usize,
    bytes: usize,
}

/// What is held for somebody; given back when dropped.
#[derive(Debug)]
struct Hold {
    budget: Arc<Budget>,
    uid: u32,
    usage: Usage,
}

/// One open connection; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _hold: Hold,
}

/// One request of HTTP/2; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct StreamSlot {
    _hold: Hold,
}

/// A connection that is one too many, and is told so; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Courtesy {
    _hold: Hold,
}

/// Bytes of a body being buffered; gives them back when dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    hold: Hold,
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
        self.hold(uid, Usage { connections: 1, ..Usage::default() }).map(|hold| Slot { _hold: hold })
    }

    /// A place for one request of `uid` beside others on a connection.
    pub(super) fn stream(self: &Arc<Self>, uid: u32) -> Result<StreamSlot, Exhausted> {
        self.hold(uid, Usage { streams: 1, ..Usage::default() }).map(|hold| StreamSlot { _hold: hold })
    }

    /// A place for telling a connection of `uid` that there was none for it.
    pub(super) fn courtesy(self: &Arc<Self>, uid: u32) -> Result<Courtesy, Exhausted> {
        self.hold(uid, Usage { courtesies: 1, ..Usage::default() }).map(|hold| Courtesy { _hold: hold })
    }

    /// An empty reservation for a request of `uid`, to be grown as its body arrives.
    pub(super) fn reserve(self: &Arc<Self>, uid: u32) -> Reserved {
        Reserved { hold: Hold { budget: Arc::clone(self), uid, usage: Usage::default() } }
    }

    fn hold(self: &Arc<Self>, uid: u32, usage: Usage) -> Result<Hold, Exhausted> {
        self.take(uid, usage)?;
        Ok(Hold { budget: Arc::clone(self), uid, usage })
    }

    fn take(&self, uid: u32, more: Usage) -> Result<(), Exhausted> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let all = held.all.plus(more);
        let user = held.by_user.get(&uid).copied().unwrap_or_default().plus(more);
        if !all.fits(self.limits.of_all()) || !user.fits(self.limits.of_one_user()) {
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
        Self {
            connections: self.connections + more.connections,
            courtesies: self.courtesies + more.courtesies,
            streams: self.streams + more.streams,
            bytes: self.bytes + more.bytes,
        }
    }

    fn minus(self, less: Self) -> Self {
        Self {
            connections: self.connections - less.connections,
            courtesies: self.courtesies - less.courtesies,
            streams: self.streams - less.streams,
            bytes: self.bytes - less.bytes,
        }
    }

    fn fits(self, limits: Self) -> bool {
        self.connections <= limits.connections
            && self.courtesies <= limits.courtesies
            && self.streams <= limits.streams
            && self.bytes <= limits.bytes
    }
}

impl Reserved {
    /// Room for `more` bytes.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Exhausted> {
        self.hold.budget.take(self.hold.uid, Usage { bytes: more, ..Usage::default() })?;
        self.hold.usage.bytes += more;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.give_back(self.uid, self.usage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Arc<Budget> {
        Budget::new(BudgetLimits {
            connections: 3,
            connections_per_user: 2,
            streams: 5,
            streams_per_user: 4,
            bytes: 10,
            bytes_per_user: 8,
        })
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
    #[test]
    fn requests_on_one_connection_are_counted_by_user() {
        let budget = budget();
        let held: Vec<_> = (0..4).map(|_| budget.stream(1).unwrap()).collect();
        assert!(budget.stream(1).is_err(), "the user's share");
        let _other = budget.stream(2).unwrap();
        assert!(budget.stream(2).is_err(), "all there are");
        drop(held);
        assert!(budget.stream(1).is_ok());
    }

    #[test]
    fn only_some_of_those_that_are_too_many_are_told() {
        let budget = budget();
        let mut told: Vec<_> = (0..COURTESIES_PER_USER).map(|_| budget.courtesy(1).unwrap()).collect();
        assert!(budget.courtesy(1).is_err());
        assert!(budget.connection(1).is_ok(), "they take no place of the others");
        told.extend((COURTESIES_PER_USER..COURTESIES).map(|n| budget.courtesy(1000 + n as u32).unwrap()));
        assert!(budget.courtesy(2).is_err());
        drop(told);
        assert!(budget.held.lock().unwrap().by_user.is_empty());
    }
}
