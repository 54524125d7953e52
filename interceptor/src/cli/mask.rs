//! `interceptor mask`.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use super::{Failure, Global};
use crate::flow::{Access, Action, ExchangeId, Field, Form, OffsetMap};
use crate::mask::{Engine, TokenKey, rewrite};

/// The tokens' key below the state's `keys` directory: 32 bytes.
const KEY_FILE: &str = "token.key";
/// Longest text that is read: what the proxy takes, twice.
const LONGEST_TEXT: u64 = 64 << 20;

/// Arguments of `interceptor mask`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads a text from standard input and writes it with every sensitive value replaced by a token such as
[EMAIL_k7q2m9xd]. Equal values have equal tokens under one key.

The key is that of the state directory (keys/token.key), so tokens are those of the audit log; where there is none,
a key for this run alone is drawn.

Examples:
  echo 'mail jane@corp.example' | interceptor mask
  interceptor mask --state /var/lib/interceptor < prompt.txt")]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(LONGEST_TEXT + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("standard input: {error}; `mask` reads UTF-8 text"))?;
    if text.len() as u64 > LONGEST_TEXT {
        return Err(format!("standard input is longer than {LONGEST_TEXT} bytes; split the text").into());
    }
    let key = token_key(&global.paths().keys().join(KEY_FILE))?;
    std::io::stdout().lock().write_all(&mask(text, &key)?)?;
    Ok(ExitCode::SUCCESS)
}

fn mask(text: String, key: &TokenKey) -> Result<bytes::Bytes, Failure> {
    let fields = [Field {
        path: "text".to_owned(),
        map: OffsetMap::identity(0, text.len()),
        text: text.as_str().into(),
        form: Form::String { depth: 0 },
        access: Access::Editable,
    }];
    let found = Engine::builtin()?.scanner()?.scan_fields(&fields)?;
    let actions = vec![Action::Mask; found.len()];
    let body = bytes::Bytes::copy_from_slice(text.as_bytes());
    Ok(rewrite(ExchangeId::new(), body, &fields, &found, &actions, key)?.body().clone())
}

fn token_key(path: &Path) -> Result<TokenKey, Failure> {
    let shown = path.display();
    match std::fs::read(path) {
        Ok(bytes) => {
            let bytes: [u8; 32] = bytes
                .try_into()
                .map_err(|bytes: Vec<u8>| format!("{shown}: {} bytes, a token key has 32", bytes.len()))?;
            Ok(TokenKey::from_bytes(bytes))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("interceptor: no token key at {shown}: these tokens are of a key drawn for this run");
            let mut bytes = [0; 32];
            aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gives no random bytes")?;
            Ok(TokenKey::from_bytes(bytes))
        }
        Err(error) => Err(format!("{shown}: {error}; run as a user who may read it, or give another --state").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_values_is_kept() {
        let key = TokenKey::from_bytes([3; 32]);
        let masked = mask("Mail jane@corp.example,\nnow.\n".to_owned(), &key).unwrap();
        let masked = std::str::from_utf8(&masked).unwrap();
        assert!(masked.starts_with("Mail [EMAIL_") && masked.ends_with("],\nnow.\n"), "{masked}");
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        std::fs::write(&path, [0; 31]).unwrap();
        assert!(token_key(&path).unwrap_err().to_string().contains("31 bytes"));
    }
}
