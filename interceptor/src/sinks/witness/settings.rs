//! What the configuration says about a witness.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::super::settings::{Target, Tls};
use crate::audit::WitnessKey;

/// Seconds between checkpoints, unless set otherwise.
const EVERY: u64 = 10;

/// One `[[audit.witness]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Table")]
pub struct WitnessSettings {
    /// What it is called: also the name of the file with what it cosigned.
    pub name: String,
    /// The least time between checkpoints.
    pub every: Duration,
    /// Which.
    pub to: To,
}

/// Who gets the checkpoints.
#[derive(Clone, Debug)]
pub enum To {
    /// A witness that cosigns them.
    Remote(RemoteSettings),
    /// A directory that keeps each.
    Directory(PathBuf),
}

/// A witness that speaks C2SP tlog-witness.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    /// Its submission prefix.
    pub target: Target,
    /// Its public key.
    pub key: WitnessKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    url: Option<String>,
    key: Option<String>,
    ca_file: Option<PathBuf>,
    plaintext: Option<bool>,
    directory: Option<PathBuf>,
    every_s: Option<u64>,
}

impl TryFrom<Table> for WitnessSettings {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let Table { name, url, key, ca_file, plaintext, directory, every_s } = table;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
            return Err(format!("witness name {name:?}: use letters, digits, - and _: it is also a file's name"));
        }
        let wrong = |why: String| format!("witness {name:?}: {why}");
        let is_reached = ca_file.is_some() || plaintext.is_some();
        let to = match (url, key, directory) {
            (Some(url), Some(key), None) => {
                let key = key.parse().map_err(|e| wrong(format!("key {key:?} {e}")))?;
                let tls = Tls { ca_file, ..Tls::default() };
                let target = Target { url, plaintext: plaintext.unwrap_or_default(), tls };
                To::Remote(RemoteSettings { target, key })
            }
            (Some(_), None, None) => {
                return Err(wrong(
                    "it has a url and no key: what it cosigns could not be checked; add key = \"...\"".into(),
                ));
            }
            (None, None, Some(directory)) if !is_reached => To::Directory(directory),
            (None, None, Some(_)) => return Err(wrong("ca_file and plaintext are for a url".into())),
            _ => return Err(wrong("give it either url and key, or directory".into())),
        };
        match every_s.unwrap_or(EVERY) {
            0 => Err(wrong("every_s is 0; a checkpoint is signed once a second at most".into())),
            seconds => Ok(Self { every: Duration::from_secs(seconds), to, name }),
        }
    }
}

impl WitnessSettings {
    /// Whether several witnesses can be as they are.
    ///
    /// # Errors
    /// When two have one name.
    pub fn check(all: &[Self]) -> Result<(), String> {
        let mut names: Vec<_> = all.iter().map(|witness| &witness.name).collect();
        names.sort();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(format!("two witnesses are called {:?}; what each cosigned is kept by its name", pair[0]))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "key = 'witness.example/w1+f5f1ad4c+BAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH'";

    fn parse(text: &str) -> Result<WitnessSettings, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn both_kinds_are_read_with_their_defaults() {
        let remote = parse(&format!("name = 'a'\nurl = 'https://w'\n{KEY}")).unwrap();
        assert_eq!(remote.every, Duration::from_secs(10));
        assert!(matches!(remote.to, To::Remote(RemoteSettings { target: Target { plaintext: false, .. }, .. })));
        let directory = parse("name = 'b'\ndirectory = '/mnt/worm'\nevery_s = 3600").unwrap();
        assert!(matches!(&directory.to, To::Directory(path) if path.as_os_str() == "/mnt/worm"));
        assert!(WitnessSettings::check(&[remote.clone(), directory]).is_ok());
        assert!(WitnessSettings::check(&[remote.clone(), remote]).unwrap_err().contains("two witnesses"));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_witness() {
        for (text, expected) in [
            ("name = '../a'\ndirectory = '/x'", "letters, digits"),
            ("name = 'a'", "either url and key, or directory"),
            ("name = 'a'\nurl = 'https://w'", "no key"),
            ("name = 'a'\nurl = 'https://w'\nkey = 'x'", "no verifier key"),
            ("name = 'a'\ndirectory = '/x'\nplaintext = true", "for a url"),
            ("name = 'a'\ndirectory = '/x'\nevery_s = 0", "every_s is 0"),
            ("name = 'a'\ndirectory = '/x'\npath = 'y'", "path"),
            ("directory = '/x'", "name"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
        assert!(parse(&format!("name = 'a'\nurl = 'https://w'\n{KEY}\ndirectory = '/x'")).is_err());
    }
}
