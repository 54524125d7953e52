//! Names of users and groups, remembered for a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, Uid, User};

const MAX_AGE: Duration = Duration::from_secs(60);
const MAX_ENTRIES: usize = 4096;

type Cache = Mutex<HashMap<u32, (Option<String>, Instant)>>;

/// The host's user and group database (NSS), which may be a server far away.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: Cache,
    groups: Cache,
}

impl Names {
    /// Name of a user; none when there is none or the database cannot be asked.
    pub(super) fn user(&self, uid: u32) -> Option<String> {
        remembered(&self.users, uid, || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name))
    }

    /// Name of a group, or its number when it has none.
    pub(super) fn group(&self, gid: u32) -> String {
        remembered(&self.groups, gid, || Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name))
            .unwrap_or_else(|| gid.to_string())
    }

    /// A user's name when it was asked for before, however long ago.
    pub(super) fn remembered_user(&self, uid: u32) -> Option<String> {
        known(&self.users, uid)
    }

    /// A group's name when it was asked for before, or its number.
    pub(super) fn remembered_group(&self, gid: u32) -> String {
        known(&self.groups, gid).unwrap_or_else(|| gid.to_string())
    }
}

fn known(cache: &Cache, id: u32) -> Option<String> {
    let entries = cache.lock().unwrap_or_else(PoisonError::into_inner);
    entries.get(&id).and_then(|(name, _)| name.clone())
}

fn remembered(cache: &Cache, id: u32, ask: impl FnOnce() -> Option<String>) -> Option<String> {
    let now = Instant::now();
    let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((name, asked)) = lock().get(&id)
        && now.duration_since(*asked) < MAX_AGE
    {
        return name.clone();
    }
    // Not under the lock: the database may be slow, and other callers are known.
    let name = ask();
    let mut entries = lock();
    if entries.len() >= MAX_ENTRIES {
        entries.retain(|_, (_, asked)| now.duration_since(*asked) < MAX_AGE);
    }
    if entries.len() < MAX_ENTRIES {
        entries.insert(id, (name.clone(), now));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_its_name() {
        let names = Names::default();
        assert_eq!(names.user(0).as_deref(), Some("root"));
        assert_eq!(names.group(0), "root");
    }

    #[test]
    fn a_group_without_a_name_is_its_number() {
        let names = Names::default();
        assert_eq!(names.user(3_999_999_123), None);
        assert_eq!(names.group(3_999_999_123), "3999999123");
    }

    #[test]
    fn an_answer_is_asked_for_once_and_the_cache_stays_bounded() {
        let cache = Cache::default();
        assert_eq!(remembered(&cache, 7, || Some("seven".into())).as_deref(), Some("seven"));
        assert_eq!(remembered(&cache, 7, || panic!("asked again")).as_deref(), Some("seven"));
        for id in 0..2 * MAX_ENTRIES as u32 {
            remembered(&cache, id, || None);
        }
        assert_eq!(cache.lock().unwrap().len(), MAX_ENTRIES);
    }
}
