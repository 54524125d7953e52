//! The network namespaces that have a listener, for whoever needs a socket in one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Netns, NetnsCookie};

/// Every network namespace that has a listener of the daemon, open. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    open: Arc<RwLock<HashMap<NetnsCookie, Arc<Netns>>>>,
}

impl Namespaces {
    /// The namespace of that cookie; none when it has no listener (any more). Holding it keeps the namespace alive: hold
    /// it no longer than a connection.
    #[must_use]
    pub fn get(&self, cookie: NetnsCookie) -> Option<Arc<Netns>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&cookie).cloned()
    }

    /// Keeps a namespace open from now on.
    pub fn insert(&self, netns: Arc<Netns>) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(netns.cookie, netns);
    }

    /// Lets go of a namespace.
    pub fn remove(&self, cookie: NetnsCookie) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&cookie);
    }
}
