//! Connections that are closed without a look at them: recorded, but a flood of them must not flood the log.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::record;
use super::worker::Worker;
use crate::capture::Flow;

/// After a record, further ones of the same user and cause are counted for this long, and share the next one.
const WINDOW: Duration = Duration::from_secs(1);

/// Users told apart in one window. What comes beyond shares a count.
const USERS: usize = 1024;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    /// There is no record of where it was going.
    NoFlow,
    /// Its user, or all together, have too many.
    TooMany,
}

impl Cause {
    fn rule(self) -> &'static str {
        match self {
            Self::NoFlow => "capture.flow",
            Self::TooMany => "limits.connections",
        }
    }
}

/// What the windows have counted. One for each worker.
#[derive(Debug, Default)]
pub(super) struct Refused {
    windows: RefCell<HashMap<(Option<u32>, Cause), Counted>>,
}

#[derive(Debug, Default)]
struct Counted {
    more: u64,
    last: Option<Flow>,
}

impl Refused {
    /// Notes one; true when it opens a window, and so is to be recorded by itself.
    fn note(&self, flow: Option<&Flow>, cause: Cause) -> Option<(Option<u32>, Cause)> {
        let mut windows = self.windows.borrow_mut();
        let mut key = (flow.map(|flow| flow.uid), cause);
        if windows.len() >= USERS && !windows.contains_key(&key) {
            key.0 = None;
        }
        match windows.get_mut(&key) {
            None => {
                windows.insert(key, Counted::default());
                Some(key)
            }
            Some(counted) => {
                counted.more += 1;
                counted.last = flow.cloned();
                None
            }
        }
    }

    /// Ends a window: what came after its first.
    fn take(&self, key: (Option<u32>, Cause)) -> Counted {
        self.windows.borrow_mut().remove(&key).unwrap_or_default()
    }
}

impl Worker {
    /// Records that a connection is closed, at once or with others a second later.
    pub(super) fn refused(self: &Rc<Self>, flow: Option<&Flow>, cause: Cause, reason: &str) {
        let Some(key) = self.refused.note(flow, cause) else { return };
        log::warn!("{reason}");
        let (worker, flow, reason) = (Rc::clone(self), flow.cloned(), reason.to_owned());
        tokio::task::spawn_local(async move {
            record::turned_away(&worker, flow.as_ref(), cause.rule(), &reason).await;
            tokio::time::sleep(WINDOW).await;
            let Counted { more, last } = worker.refused.take(key);
            if more > 0 {
                let reason = format!("{more} more within {} s: {reason}", WINDOW.as_secs());
                log::warn!("{reason}");
                record::turned_away(&worker, last.as_ref(), cause.rule(), &reason).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::capture::{BootTime, NetnsCookie, Reason};
    use crate::flow::OriginalDst;

    fn flow(uid: u32) -> Flow {
        Flow {
            original: OriginalDst(SocketAddr::from((Ipv4Addr::LOCALHOST, 443))),
            tgid: 1,
            tid: 1,
            uid,
            gid: 0,
            task_cgroup: 1,
            socket_cgroup: None,
            netns: NetnsCookie(1),
            socket_cookie: 1,
            connected_at: BootTime::now(),
            reason: Reason::Enrolled,
            snapshot: None,
        }
    }

    #[test]
    fn a_flood_of_one_user_makes_two_records_a_window() {
        let refused = Refused::default();
        let key = refused.note(Some(&flow(1000)), Cause::TooMany).expect("the first is recorded by itself");
        for _ in 0..500 {
            assert!(refused.note(Some(&flow(1000)), Cause::TooMany).is_none());
        }
        assert!(refused.note(Some(&flow(1001)), Cause::TooMany).is_some(), "another user");
        assert!(refused.note(None, Cause::NoFlow).is_some(), "another cause");
        let Counted { more, last } = refused.take(key);
        assert_eq!((more, last.map(|flow| flow.uid)), (500, Some(1000)));
        assert!(refused.note(Some(&flow(1000)), Cause::TooMany).is_some(), "the next window");
    }

    #[test]
    fn users_without_end_do_not_take_memory_without_end() {
        let refused = Refused::default();
        for uid in 0..10_000 {
            let _ = refused.note(Some(&flow(uid)), Cause::TooMany);
        }
        assert!(refused.windows.borrow().len() <= USERS + 1);
        assert_eq!(refused.take((None, Cause::TooMany)).more, 10_000 - USERS as u64 - 1);
    }
}
