//! What the configuration says about a sink.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};

use crate::siem::Format;

/// One `[[sink]]`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is called: also the name of its cursor.
    pub name: String,
    /// How events are written.
    pub format: Format,
    /// Where a sink that is new begins.
    pub from: Start,
    /// Where to.
    pub to: Destination,
}

/// Where a sink begins that has no cursor yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the first record there is.
    Start,
    /// With what comes from then on.
    #[default]
    End,
}

/// Where a sink sends to.
#[derive(Clone, Debug)]
pub enum Destination {
    /// The daemon's standard output.
    Stdout,
    /// A file that is rotated.
    File(File),
    /// A syslog receiver, RFC 5424 over TCP.
    Syslog(Syslog, Tls),
    /// An HTTP receiver of signed batches.
    Webhook(Webhook, Target),
    /// Splunk's HTTP Event Collector.
    Hec(Hec, Target),
    /// An OTLP receiver of logs.
    Otlp(Otlp, Target),
    /// A bucket of an S3-compatible store.
    S3(S3, Target),
}

/// `type = "file"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where; in a directory that exists.
    pub path: PathBuf,
    /// Bytes after which the file is renamed to `PATH.1` and a new one begun.
    #[serde(default = "hundred_mebibytes")]
    pub max_bytes: u64,
    /// How many renamed files are kept.
    #[serde(default = "ten")]
    pub keep: u32,
}

/// How a receiver and this daemon prove to each other who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// PEM file with the only roots that the receiver is verified against; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate, and its chain, that the receiver is shown when it asks for one.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file with that certificate's private key.
    pub client_key_file: Option<PathBuf>,
}

/// Where a sink that speaks HTTP sends to.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// A webhook: where batches are posted to. OTLP: the address for logs, `https://collector.example.com:4318/v1/logs`.
    /// Splunk and S3: the server, without a path, `https://splunk.example.com:8088`.
    pub url: String,
    /// Whether `url` may be `http://`.
    #[serde(default)]
    pub plaintext: bool,
    /// Who proves what, over `https://`.
    #[serde(skip)]
    pub tls: Tls,
}

/// `type = "syslog"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// `HOST:PORT`.
    pub address: String,
    /// TLS, unless plain TCP is asked for.
    #[serde(default)]
    pub transport: SyslogTransport,
    /// The facility, 0 to 23.
    #[serde(default = "log_audit")]
    pub facility: u8,
    /// Seconds after which a message counts as taken that the receiver's host has, when its connection is still open:
    /// syslog has no acknowledgement.
    #[serde(default = "five")]
    pub settle_s: u64,
}

/// How syslog messages travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogTransport {
    /// RFC 5425.
    #[default]
    Tls,
    /// RFC 6587, readable to whoever is on the way.
    Tcp,
}

/// `type = "webhook"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// File with the key that signs them.
    pub secret_file: PathBuf,
}

/// `type = "hec"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hec {
    /// File with the token.
    pub token_file: PathBuf,
    /// The index; none: the token's.
    #[serde(default)]
    pub index: Option<String>,
    /// The source type; none: one that says the format.
    #[serde(default)]
    pub sourcetype: Option<String>,
    /// Whether the indexer's acknowledgement is waited for. The token must have it enabled.
    #[serde(default = "yes")]
    pub acknowledge: bool,
    /// Seconds after which a batch that is not acknowledged is sent again.
    #[serde(default = "sixty")]
    pub ack_timeout_s: u64,
}

/// `type = "otlp"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// File with a token that is sent as `Authorization: Bearer`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

/// A collector of OpenTelemetry's that is no sink.
#[derive(Clone, Debug)]
pub struct CollectorSettings {
    /// What it wants to know.
    pub otlp: Otlp,
    /// Where it is.
    pub target: Target,
}

impl<'de> Deserialize<'de> for CollectorSettings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        let target = Target::take(&mut table).map_err(D::Error::custom)?;
        Ok(Self { target, otlp: rest(table).map_err(D::Error::custom)? })
    }
}

/// `type = "s3"`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// What the names of the objects begin with.
    #[serde(default)]
    pub prefix: String,
    /// File with two lines: access key id, secret access key.
    pub credentials_file: PathBuf,
    /// Object Lock: who may remove an object before its time; none: objects are not locked.
    #[serde(default)]
    pub retention: Option<Retention>,
    /// Days that an object is locked.
    #[serde(default)]
    pub retention_days: Option<u32>,
    /// Seconds after which a batch is closed, however small.
    #[serde(default = "sixty")]
    pub seal_s: u64,
    /// Bytes after which a batch is closed.
    #[serde(default = "eight_mebibytes")]
    pub seal_bytes: usize,
}

/// Modes of Object Lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// Those with a special permission.
    Governance,
    /// Nobody.
    Compliance,
}

fn hundred_mebibytes() -> u64 {
    100 << 20
}

fn eight_mebibytes() -> usize {
    8 << 20
}

fn ten() -> u32 {
    10
}

fn five() -> u64 {
    5
}

fn sixty() -> u64 {
    60
}

fn log_audit() -> u8 {
    13
}

fn yes() -> bool {
    true
}

impl Tls {
    const KEYS: [&'static str; 3] = ["ca_file", "client_cert_file", "client_key_file"];
}

impl Target {
    /// From the keys of `table` that are about it.
    fn take(table: &mut toml::Table) -> Result<Self, String> {
        let tls = part(table, &Tls::KEYS)?;
        Ok(Self { tls, ..part(table, &["url", "plaintext"])? })
    }
}

impl Settings {
    /// Whether several sinks can be as they are.
    ///
    /// # Errors
    /// When two have one name, or write to one file.
    pub fn check(all: &[Self]) -> Result<(), String> {
        let mut names = HashSet::new();
        let mut files = HashSet::new();
        for sink in all {
            if !names.insert(&sink.name) {
                return Err(format!("two sinks are called {:?}; each has a cursor by its name", sink.name));
            }
            if let Destination::File(file) = &sink.to
                && !files.insert(&file.path)
            {
                return Err(format!("two sinks write to {}; give each a file of its own", file.path.display()));
            }
        }
        Ok(())
    }

    /// How much is sent at once, and for how long is waited for more.
    pub(super) fn batch(&self) -> (usize, Duration) {
        match &self.to {
            Destination::S3(s3, _) => (s3.seal_bytes, Duration::from_secs(s3.seal_s)),
            _ => (1 << 20, Duration::ZERO),
        }
    }

    fn from_table(mut table: toml::Table) -> Result<Self, String> {
        let name: String = take(&mut table, "name")?.ok_or("a sink has no name; add name = \"...\"")?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
            return Err(format!("sink name {name:?}: use letters, digits, - and _: it is also a file's name"));
        }
        Self::named(name.clone(), table).map_err(|why| format!("sink {name:?}: {why}"))
    }

    fn named(name: String, mut table: toml::Table) -> Result<Self, String> {
        let kinds = "stdout, file, syslog, webhook, hec, otlp, s3";
        let kind: String = take(&mut table, "type")?.ok_or(format!("it has no type; choose one of {kinds}"))?;
        let format = take::<String>(&mut table, "format")?;
        let has_format = !matches!(kind.as_str(), "otlp");
        if !has_format && format.is_some() {
            return Err(format!("type {kind:?} has a format of its own; leave out `format`"));
        }
        let format = format.as_deref().unwrap_or("jsonl");
        let known = Format::ALL.into_iter().filter(|(_, format)| *format != Format::Har);
        let format = known.clone().find(|(name, _)| *name == format).map(|(_, format)| format).ok_or_else(|| {
            let known: Vec<_> = known.map(|(name, _)| name).collect();
            format!("format {format:?} is none of {}", known.join(", "))
        })?;
        let from = take(&mut table, "from")?.unwrap_or_default();
        let to = match kind.as_str() {
            "stdout" => match table.keys().next() {
                Some(unknown) => {
                    return Err(format!("unknown key `{unknown}`: a sink of this type has no further keys"));
                }
                None => Destination::Stdout,
            },
            "file" => Destination::File(rest(table)?),
            "syslog" => {
                let tls = part(&mut table, &Tls::KEYS)?;
                Destination::Syslog(rest(table)?, tls)
            }
            "webhook" | "hec" | "otlp" | "s3" => {
                let target = Target::take(&mut table)?;
                match kind.as_str() {
                    "webhook" => Destination::Webhook(rest(table)?, target),
                    "hec" => Destination::Hec(rest(table)?, target),
                    "otlp" => Destination::Otlp(rest(table)?, target),
                    _ => Destination::S3(rest(table)?, target),
                }
            }
            other => return Err(format!("type {other:?} is none of {kinds}")),
        };
        Ok(Self { name, format, from, to })
    }
}

fn take<T: DeserializeOwned>(table: &mut toml::Table, key: &str) -> Result<Option<T>, String> {
    let value = table.remove(key).map(T::deserialize).transpose();
    value.map_err(|error: toml::de::Error| format!("{key}: {}", error.message()))
}

/// What some keys of the table say.
fn part<T: DeserializeOwned>(table: &mut toml::Table, keys: &[&str]) -> Result<T, String> {
    rest(keys.iter().filter_map(|key| Some(((*key).to_owned(), table.remove(*key)?))).collect())
}

fn rest<T: DeserializeOwned>(table: toml::Table) -> Result<T, String> {
    // The second line has the key.
    T::deserialize(table).map_err(|error| error.to_string().trim().replace('\n', " "))
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_table(toml::Table::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn each_type_is_read_with_its_defaults() {
        let file = parse("name = 'a'\ntype = 'file'\npath = '/var/log/a.jsonl'").unwrap();
        assert!(matches!(file.to, Destination::File(File { max_bytes: 104_857_600, keep: 10, .. })));
        assert_eq!((file.format, file.from), (Format::Jsonl, Start::End));
        let syslog = "name = 'b'\ntype = 'syslog'\nformat = 'cef'\nfrom = 'start'\naddress = 'h:6514'";
        let syslog = parse(syslog).unwrap();
        assert_eq!((syslog.format, syslog.from), (Format::Cef, Start::Start));
        assert!(matches!(
            syslog.to,
            Destination::Syslog(Syslog { transport: SyslogTransport::Tls, facility: 13, .. }, _)
        ));
        let hec =
            parse("name = 'c'\ntype = 'hec'\nurl = 'https://h'\ntoken_file = '/t'\nclient_key_file = '/k'").unwrap();
        let Destination::Hec(_, target) = hec.to else { panic!("{hec:?}") };
        assert_eq!((target.url.as_str(), target.plaintext), ("https://h", false));
        assert_eq!(target.tls, Tls { client_key_file: Some("/k".into()), ..Tls::default() });
        assert!(parse("name = 'd'\ntype = 'stdout'").is_ok());
    }

    #[test]
    fn what_is_wrong_is_named_with_the_sink() {
        for (text, expected) in [
            ("type = 'file'", "no name"),
            ("name = '../a'\ntype = 'file'", "letters, digits"),
            ("name = 'a'", "no type"),
            ("name = 'a'\ntype = 'kafka'", "none of stdout"),
            ("name = 'a'\ntype = 'file'", "path"),
            ("name = 'a'\ntype = 'file'\npath = '/x'\nformat = 'har'", "none of jsonl, ocsf, ecs, cef, otlp"),
            ("name = 'a'\ntype = 'file'\npath = '/x'\nurl = 'y'", "url"),
            ("name = 'a'\ntype = 'stdout'\nurl = 'y'", "url"),
            ("name = 'a'\ntype = 'file'\npath = '/x'\nca_file = 'y'", "ca_file"),
            ("name = 'a'\ntype = 'otlp'", "url"),
            ("name = 'a'\ntype = 'otlp'\nurl = 'https://h'\nca_file = 1", "in `ca_file`"),
            ("name = 'a'\ntype = 'syslog'\naddress = 'h:1'\nplaintext = true", "plaintext"),
            ("name = 'a'\ntype = 'file'\npath = '/x'\nfrom = 'middle'", "middle"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
