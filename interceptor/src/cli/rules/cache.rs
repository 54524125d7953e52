//! Compiled rules kept below the state directory: compiling takes a second, loading a millisecond.
//!
//! A directory of the daemon's user that nobody else may enter, a file for each set of patterns, library and CPU, its
//! digest before it. What is damaged, foreign or open to others is not used, and compiled anew.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use crate::config::StatePaths;
use crate::mask::DatabaseCache;
use crate::sys::{SecretFileError, create_secret_file, read_private_file, secret_dir};

/// Databases that are kept: a few sets, each with and without the rules of files.
const KEPT: usize = 8;
/// Bytes of the largest database that is read.
const LARGEST: u64 = 128 << 20;

/// The databases of a state directory.
#[derive(Clone, Debug)]
pub(in crate::cli) struct RuleCache {
    state: PathBuf,
    dir: PathBuf,
}

impl RuleCache {
    pub(in crate::cli) fn new(paths: &StatePaths) -> Self {
        Self { state: paths.root().to_path_buf(), dir: paths.rules() }
    }

    fn path(&self, key: &[u8; 32]) -> PathBuf {
        self.dir.join(hex::encode(key))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, Unusable> {
        // Its directory is looked at too: in another's, a file could be replaced once it has been checked.
        match fs::symlink_metadata(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unusable::Missing),
            _ => secret_dir(&self.dir)?,
        }
        let file = read_private_file(path, LARGEST)?;
        match file.split_first_chunk::<SHA256_OUTPUT_LEN>() {
            Some((expected, database)) if digest(&SHA256, database).as_ref() == expected => Ok(database.to_vec()),
            _ => Err(Unusable::Damaged),
        }
    }

    fn write(&self, path: &Path, database: &[u8]) -> Result<(), SecretFileError> {
        let io = |verb, path: &Path| {
            let path = path.to_path_buf();
            move |source| SecretFileError::Io { verb, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o750).create(&self.state).map_err(io("create", &self.state))?;
        secret_dir(&self.dir)?;
        let aside = self.dir.join(format!("new.{}", std::process::id()));
        let _ = fs::remove_file(&aside);
        let file = [digest(&SHA256, database).as_ref(), database].concat();
        create_secret_file(&aside, &file)?;
        fs::rename(&aside, path).map_err(io("rename", &aside))?;
        self.forget_old();
        Ok(())
    }

    /// Removes all but the newest files.
    fn forget_old(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let written =
            |path: &Path| fs::symlink_metadata(path).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut files: Vec<_> =
            entries.flatten().map(|entry| entry.path()).map(|path| (written(&path), path)).collect();
        files.sort();
        for (_, path) in files.iter().rev().skip(KEPT) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Why a cached database is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("there is none")]
    Missing,
    #[error("its digest does not agree")]
    Damaged,
    #[error(transparent)]
    File(#[from] SecretFileError),
}

impl DatabaseCache for RuleCache {
    fn get(&mut self, key: &[u8; 32]) -> Option<Vec<u8>> {
        let path = self.path(key);
        match self.read(&path) {
            Ok(database) => Some(database),
            Err(Unusable::Missing) => None,
            Err(Unusable::File(error)) if error.is_not_found() => None,
            Err(error) => {
                log::warn!("the compiled rules in {} are not used: {error}; they are compiled anew", path.display());
                None
            }
        }
    }

    fn put(&mut self, key: &[u8; 32], database: &[u8]) {
        let path = self.path(key);
        match self.write(&path, database) {
            Ok(()) => log::debug!("compiled rules are kept in {}", path.display()),
            Err(error) => log::warn!("the compiled rules cannot be kept, the next start compiles them again: {error}"),
        }
    }

    fn reject(&mut self, key: &[u8; 32], reason: &str) {
        log::warn!("the compiled rules in {} are not used: {reason}; compiled anew", self.path(key).display());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn kept(dir: &Path) -> Vec<PathBuf> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_was_put_is_given_back_and_what_is_damaged_is_not() {
        let state = tempfile::tempdir().unwrap();
        let mut cache = RuleCache::new(&StatePaths::at(state.path().join("state")));
        let key = [7; 32];
        assert!(cache.get(&key).is_none());
        cache.put(&key, b"a database");
        assert_eq!(cache.get(&key).as_deref(), Some(&b"a database"[..]));
        assert_eq!(fs::metadata(&cache.dir).unwrap().permissions().mode() & 0o7777, 0o700);
        let path = cache.path(&key);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(cache.get(&key).is_none(), "a flipped bit");
        fs::write(&path, b"short").unwrap();
        assert!(cache.get(&key).is_none(), "a torn file");
        cache.put(&key, b"another");
        assert_eq!(cache.get(&key).as_deref(), Some(&b"another"[..]), "replaced");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(cache.get(&key).is_none(), "open to others");
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(cache.get(&key).is_none(), "a link");
        cache.put(&key, b"another");
        fs::set_permissions(&cache.dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(cache.get(&key).is_none(), "a directory open to others");
    }

    #[test]
    fn old_databases_are_removed() {
        let state = tempfile::tempdir().unwrap();
        let mut cache = RuleCache::new(&StatePaths::at(state.path()));
        for n in 0..12 {
            cache.put(&[n; 32], b"x");
        }
        assert_eq!(kept(&cache.dir).len(), KEPT);
        assert!(cache.get(&[11; 32]).is_some());
    }

    #[test]
    fn a_set_is_compiled_once_and_a_foreign_database_is_replaced() {
        use crate::mask::{Engine, RuleSet};
        let state = tempfile::tempdir().unwrap();
        let mut cache = RuleCache::new(&StatePaths::at(state.path()));
        let compile = |cache: &mut RuleCache| Engine::compile(RuleSet::builtin().unwrap(), Some(cache)).unwrap();
        let finds = |engine: &std::sync::Arc<Engine>| {
            let mut found = Vec::new();
            engine.scanner().unwrap().scan("mail jane@corp.example", &mut found).unwrap();
            found.len() == 1
        };
        assert!(finds(&compile(&mut cache)));
        let databases = kept(&cache.dir);
        assert_eq!(databases.len(), 2, "for the whole text, and for what is around long runs");
        let written =
            || databases.iter().map(|path| fs::metadata(path).unwrap().modified().unwrap()).collect::<Vec<_>>();
        let first = written();
        assert!(finds(&compile(&mut cache)));
        assert_eq!(written(), first, "not compiled again");
        for path in &databases {
            let key = <[u8; 32]>::try_from(hex::decode(path.file_name().unwrap().as_encoded_bytes()).unwrap()).unwrap();
            cache.put(&key, b"not Hyperscan's");
            assert!(finds(&compile(&mut cache)));
            assert_ne!(cache.get(&key).as_deref(), Some(&b"not Hyperscan's"[..]), "replaced");
        }
    }
}
