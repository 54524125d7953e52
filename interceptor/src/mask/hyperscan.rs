//! The Hyperscan database: which rules' patterns end where.
//!
//! Block mode, no start of match (it costs a factor of four), no UTF-8 flags (undefined on invalid bytes).

use ::hyperscan::prelude::*;
use ::hyperscan::{Block, BlockDatabase, ExprInfo, Pattern, Patterns, Scratch, Serialized as _};
use aws_lc_rs::digest::{Context, SHA256};

use super::{DatabaseCache, Error};

/// The compiled patterns; shared by all threads.
pub(super) struct Database {
    database: BlockDatabase,
}

/// Working memory of one thread. Fits the database it was allocated for.
pub(super) struct Workspace {
    scratch: Scratch,
}

impl Database {
    /// Compiles `patterns`; a match reports the pattern's index.
    pub(super) fn compile<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, Error> {
        let patterns = patterns
            .into_iter()
            .enumerate()
            .map(|(id, pattern)| Ok(Pattern { id: Some(id), ..parse(pattern)? }))
            .collect::<Result<Vec<_>, Error>>()?;
        let database = Patterns(patterns).build().map_err(failed)?;
        Ok(Self { database })
    }

    /// As [`compile`](Self::compile), unless `cache` has it. The key is a digest of the patterns, the library's version
    /// and the CPU features it compiles for.
    pub(super) fn compile_cached(patterns: &[&str], cache: &mut dyn DatabaseCache) -> Result<Self, Error> {
        let made_by = Self::compile(["a"])?.database.info().map_err(failed)?;
        let key = key(&made_by, patterns);
        if let Some(bytes) = cache.get(&key) {
            let restored = bytes.deserialize::<Block>().and_then(|database| Ok((database.info()?, database)));
            match restored {
                Ok((info, database)) if info == made_by => return Ok(Self { database }),
                Ok((info, _)) => cache.reject(&key, &format!("made by {info}")),
                Err(error) => cache.reject(&key, &error.to_string()),
            }
        }
        let compiled = Self::compile(patterns.iter().copied())?;
        cache.put(&key, &compiled.database.serialize().map_err(failed)?);
        Ok(compiled)
    }

    /// Its size in memory.
    pub(super) fn bytes(&self) -> usize {
        self.database.size().unwrap_or(usize::MAX)
    }

    pub(super) fn workspace(&self) -> Result<Workspace, Error> {
        Ok(Workspace { scratch: self.database.alloc_scratch().map_err(failed)? })
    }

    /// Calls `found(pattern, end)` for every end of a match, in the order of the ends, until it returns `false`.
    pub(super) fn scan(
        &self,
        text: &[u8],
        workspace: &mut Workspace,
        mut found: impl FnMut(usize, usize) -> bool,
    ) -> Result<(), Error> {
        // The crate would truncate the length silently.
        if u32::try_from(text.len()).is_err() {
            return Err(Error::TooLong(text.len()));
        }
        let mut stopped = false;
        let on_match = |id: u32, _from: u64, end: u64, _flags: u32| {
            if found(id as usize, end as usize) {
                Matching::Continue
            } else {
                stopped = true;
                Matching::Terminate
            }
        };
        match self.database.scan(text, &workspace.scratch, on_match) {
            Ok(()) => Ok(()),
            Err(_) if stopped => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

/// The fewest and the most bytes that `pattern` matches.
pub(super) fn width(pattern: &str) -> Result<(usize, usize), Error> {
    let info: ExprInfo = parse(pattern)?.info().map_err(failed)?;
    Ok((info.min_width(), info.max_width()))
}

/// Known patterns over known input: a library that loses matches must not guard anything (Vectorscan 5.4 does).
pub(super) fn self_test() -> Result<(), Error> {
    let expected = [(1, 12), (0, 70), (2, 131), (0, 4165)];
    let database = Database::compile(["key-[0-9a-f]{8}", "(?i)pass", "[a-z]+@[a-z]+\\.[a-z]{2}"])?;
    let mut text = vec![b' '; 4200];
    for (at, piece) in [(8, "PaSs"), (58, "key-00c0ffee"), (120, "joe@host.org"), (4153, "key-deadbeef")] {
        text[at..at + piece.len()].copy_from_slice(piece.as_bytes());
    }
    let mut seen = Vec::new();
    database.scan(&text, &mut database.workspace()?, |id, end| {
        seen.push((id, end));
        true
    })?;
    if seen == expected {
        return Ok(());
    }
    Err(Error::SelfTest {
        version: ::hyperscan::version_str().to_string_lossy().into_owned(),
        reason: format!("expected {expected:?}, got {seen:?}"),
    })
}

fn key(made_by: &str, patterns: &[&str]) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    for part in std::iter::once(&made_by).chain(patterns) {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    let mut key = [0; 32];
    key.copy_from_slice(digest.finish().as_ref());
    key
}

fn parse(pattern: &str) -> Result<Pattern, Error> {
    Pattern::new(pattern).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Hyperscan(error.to_string())
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("bytes", &self.database.size().ok()).finish()
    }
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").field("bytes", &self.scratch.size().ok()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linked_library_passes_its_self_test() {
        self_test().unwrap();
    }

    #[test]
    fn a_false_from_the_callback_ends_the_scan_without_an_error() {
        let database = Database::compile(["a"]).unwrap();
        let mut seen = 0;
        let mut stop_at_three = |_, _| {
            seen += 1;
            seen < 3
        };
        database.scan(&[b'a'; 100], &mut database.workspace().unwrap(), &mut stop_at_three).unwrap();
        assert_eq!(seen, 3);
    }

    #[test]
    fn width_tells_fixed_from_variable() {
        assert_eq!(width("ab[0-9]{4}").unwrap(), (6, 6));
        assert_ne!(width("ab+").unwrap().0, width("ab+").unwrap().1);
    }
}
