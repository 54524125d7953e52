//! The master key of this host's tokens: made by the daemon, used by `mask` too.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::Failure;
use crate::config::StatePaths;
use crate::proxy::Tokens;
use crate::sys;

/// The host's tokens; `None` when it has no key yet.
pub(super) fn read(paths: &StatePaths) -> Result<Option<Tokens>, Failure> {
    let path = paths.keys().join("token.key");
    let master = match sys::read_secret_file(&path) {
        Ok(master) => master,
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let master = <[u8; 32]>::try_from(&master[..]).map_err(|_| {
        format!(
            "{} has {} bytes, a token key has 32; restore it from a copy, or move it away",
            path.display(),
            master.len()
        )
    })?;
    Ok(Some(Tokens::new(Zeroizing::new(master))))
}

/// The host's tokens, under a key that is made and kept when there is none.
pub(super) fn read_or_create(paths: &StatePaths) -> Result<Tokens, Failure> {
    if let Some(tokens) = read(paths)? {
        return Ok(tokens);
    }
    let master = random()?;
    sys::create_secret_file(&paths.keys().join("token.key"), &*master)?;
    Ok(Tokens::new(master))
}

/// Tokens under a key for this run alone.
pub(super) fn of_this_run() -> Result<Tokens, Failure> {
    Ok(Tokens::new(random()?))
}

fn random() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut key = Zeroizing::new([0; 32]);
    rand::fill(&mut *key).map_err(|_| "the system gives no random bytes")?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_wrong_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = StatePaths::at(dir.path());
        sys::secret_dir(&paths.keys()).unwrap();
        assert!(read(&paths).unwrap().is_none());
        sys::create_secret_file(&paths.keys().join("token.key"), &[0; 31]).unwrap();
        assert!(read(&paths).unwrap_err().to_string().contains("31 bytes"));
    }
}
