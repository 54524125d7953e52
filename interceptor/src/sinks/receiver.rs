//! What takes events, whatever it is.

use std::path::Path;
use std::time::Duration;

use ::http::{Response, StatusCode};
use bytes::Bytes;
use zeroize::Zeroizing;

use super::event::Event;
use super::file::{FileReceiver, Stdout};
use super::hec::Hec;
use super::http::Http;
use super::net::{Net, NetError};
use super::otlp::Otlp;
use super::s3::S3;
use super::settings::{Destination, Settings};
use super::syslog::Syslog;
use super::webhook::Webhook;
use super::{hec, http, otlp, s3};
use crate::flow::harmless;
use crate::sys::{SecretFileError, read_secret_file};

/// Why a sink cannot work as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file with a secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// Roots cannot be used.
    #[error(transparent)]
    Net(#[from] NetError),
    /// A value makes no sense.
    #[error("{0}")]
    Value(String),
}

/// Why events were not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// Not now: the same may be taken later.
    Later {
        /// Why not.
        why: String,
        /// What the receiver said to wait.
        after: Option<Duration>,
    },
    /// Not these: the receiver says that something is wrong with what was sent.
    Content(String),
    /// Not all of these, and it must not be tried again.
    Part {
        /// How many it did not take.
        refused: u64,
        /// Why not.
        why: String,
    },
}

impl Refused {
    pub(super) fn later(why: impl std::fmt::Display) -> Self {
        Self::Later { why: printable(&why.to_string()), after: None }
    }

    pub(super) fn content(why: impl std::fmt::Display) -> Self {
        Self::Content(printable(&why.to_string()))
    }
}

/// The most of a message that is kept.
const SHOWN: usize = 400;

/// What a receiver says goes to a journal and to terminals: its beginning, on one line, and without what drives them.
pub(crate) fn printable(why: &str) -> String {
    let start: String = why.chars().take(SHOWN).collect();
    harmless(&start.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// How long a receiver may take to read `bytes`, and to answer.
pub(super) fn patience(bytes: usize) -> Duration {
    const ANSWER: Duration = Duration::from_secs(30);
    /// Bytes a second over the slowest of lines.
    const SLOWEST: u64 = 64 << 10;
    ANSWER + Duration::from_secs(bytes as u64 / SLOWEST)
}

/// One receiver.
#[derive(Debug)]
pub(super) enum Receiver {
    Stdout(Stdout),
    File(FileReceiver),
    Syslog(Box<Syslog>),
    Webhook(Box<Webhook>),
    Hec(Box<Hec>),
    Otlp(Box<Otlp>),
    S3(Box<S3>),
}

impl Receiver {
    pub(super) fn new(settings: &Settings, net: &Net) -> Result<Self, SetupError> {
        let http = |target| Http::new(target, net);
        Ok(match &settings.to {
            Destination::Stdout => Self::Stdout(Stdout::default()),
            Destination::File(file) => Self::File(FileReceiver::new(file)),
            Destination::Syslog(syslog, tls) => Self::Syslog(Box::new(Syslog::new(syslog, tls, net)?)),
            Destination::Webhook(webhook, target) => {
                Self::Webhook(Box::new(Webhook::new(http(target)?, webhook, settings)?))
            }
            Destination::Hec(hec, target) => Self::Hec(Box::new(Hec::new(http(target)?, hec, settings)?)),
            Destination::Otlp(otlp, target) => Self::Otlp(Box::new(Otlp::new(http(target)?, otlp)?)),
            Destination::S3(s3, target) => Self::S3(Box::new(S3::new(http(target)?, s3, settings)?)),
        })
    }

    /// Whether what is on this host is fit for it.
    pub(super) fn check(&self) -> Result<(), SetupError> {
        match self {
            Self::File(file) => file.check(),
            _ => Ok(()),
        }
    }

    /// Where it is, for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Stdout(_) => "standard output".to_owned(),
            Self::File(file) => file.describe(),
            Self::Syslog(syslog) => syslog.describe(),
            Self::Webhook(webhook) => webhook.describe(),
            Self::Hec(hec) => hec.describe(),
            Self::Otlp(otlp) => otlp.describe(),
            Self::S3(s3) => s3.describe(),
        }
    }

    /// Hands `events` over. After a success, the receiver has them as safe as it can say.
    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        match self {
            Self::Stdout(stdout) => stdout.deliver(events),
            Self::File(file) => file.deliver(events),
            Self::Syslog(syslog) => syslog.deliver(events).await,
            Self::Webhook(webhook) => webhook.deliver(events).await,
            Self::Hec(hec) => hec.deliver(events).await,
            Self::Otlp(otlp) => otlp.deliver(events).await,
            Self::S3(s3) => s3.deliver(events).await,
        }
    }

    /// How long after the receiver's host has [acknowledged](Self::acknowledged) events they may still turn out not to have
    /// been taken: see [`lost`](Self::lost).
    pub(super) fn settles_after(&self) -> Duration {
        match self {
            Self::Syslog(syslog) => syslog.settles_after(),
            _ => Duration::ZERO,
        }
    }

    /// Bytes that were delivered, where that says how far [`acknowledged`](Self::acknowledged) is.
    pub(super) fn written(&self) -> u64 {
        match self {
            Self::Syslog(syslog) => syslog.written(),
            _ => 0,
        }
    }

    /// How many of them the receiver's host has for certain.
    pub(super) fn acknowledged(&self) -> u64 {
        match self {
            Self::Syslog(syslog) => syslog.acknowledged(),
            _ => 0,
        }
    }

    /// Why what was delivered and has not settled must be taken for lost, if it must.
    pub(super) async fn lost(&mut self) -> Option<String> {
        match self {
            Self::Syslog(syslog) => syslog.lost().await,
            _ => None,
        }
    }

    /// Ends what is open. Whether all that was delivered is known to have been taken.
    pub(super) async fn finish(&mut self) -> bool {
        match self {
            Self::Syslog(syslog) => syslog.finish().await,
            _ => true,
        }
    }
}

/// What a receiver may answer: a status of two bytes, and the rest.
#[doc(hidden)]
pub fn fuzz_answer(data: &[u8]) {
    let Some((&[high, low], body)) = data.split_first_chunk() else { return };
    let status = StatusCode::from_u16(u16::from_be_bytes([high, low])).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = Response::new(Bytes::copy_from_slice(body));
    *answer.status_mut() = status;
    let verdicts = [http::judge(&answer), hec::judge(&answer), s3::judge(&answer), otlp::verdict(&answer)];
    for Refused::Later { why, .. } | Refused::Content(why) | Refused::Part { why, .. } in
        verdicts.into_iter().filter_map(Result::err)
    {
        assert!(why.len() < 10_000 && !why.contains(char::is_control), "{why:?}");
    }
}

/// The text in a file that only this user may read, without white space at its ends.
pub(super) fn secret_text(path: &Path) -> Result<Zeroizing<String>, SetupError> {
    let bytes = read_secret_file(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(path, "is not text"))?.trim();
    if text.is_empty() {
        return Err(wrong(path, "is empty"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

pub(super) fn wrong(path: &Path, why: &str) -> SetupError {
    SetupError::Value(format!("{} {why}", path.display()))
}
