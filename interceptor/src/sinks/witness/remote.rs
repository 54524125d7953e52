//! A witness that speaks C2SP tlog-witness: `POST .../add-checkpoint` with a proof that the log goes on from what the
//! witness has seen, answered with a cosignature.

use std::path::PathBuf;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use super::super::Place;
use super::super::http::{Http, later, told};
use super::super::receiver::{Refused, SetupError};
use super::runner::Unwitnessed;
use super::settings::RemoteSettings;
use crate::audit::{Checkpoint, Reader, Stream, WitnessKey, cosigned_by, keep_cosigned};

/// How often one checkpoint is sent: the witness may have to say what it has seen, and somebody else may be at work too.
const ATTEMPTS: usize = 3;

/// A witness over HTTP.
#[derive(Debug)]
pub(super) struct Remote {
    name: String,
    http: Http,
    target: String,
    key: WitnessKey,
    audit: PathBuf,
    /// What it has cosigned last.
    cosigned: Option<String>,
    /// Leaves of what it has cosigned last; none, as far as is known.
    old: u64,
}

impl Remote {
    pub(super) fn new(name: &str, settings: &RemoteSettings, place: &Place) -> Result<Self, SetupError> {
        let http = Http::new(&settings.target, &place.net)?;
        let target = format!("{}/add-checkpoint", http.url().path().trim_end_matches('/'));
        // Of another witness that had this name it says nothing.
        let cosigned = cosigned_by(&place.audit, name).filter(|note| settings.key.verify(note).is_ok());
        let old = cosigned.as_deref().and_then(Checkpoint::peek).map_or(0, |checkpoint| checkpoint.size);
        let (name, key, audit) = (name.to_owned(), settings.key.clone(), place.audit.clone());
        Ok(Self { name, http, target, key, audit, cosigned, old })
    }

    pub(super) fn describe(&self) -> String {
        format!("{} at {}", self.key.name(), self.http.describe())
    }

    pub(super) fn size(&self) -> Option<u64> {
        self.cosigned.as_deref().and_then(Checkpoint::peek).map(|checkpoint| checkpoint.size)
    }

    pub(super) async fn show(&mut self) -> Result<Option<u64>, Unwitnessed> {
        let newest = std::fs::read_to_string(self.audit.join(Stream::Log.checkpoint())).unwrap_or_default();
        if self.cosigned.as_ref().is_some_and(|cosigned| !newest.is_empty() && cosigned.starts_with(&newest)) {
            return Ok(None);
        }
        // Of what it says that it has seen nothing is kept before it has cosigned: it may be wrong.
        let mut old = self.old;
        for _ in 0..ATTEMPTS {
            let (proof, _) = Reader::open(&self.audit)?.prove_continuation(old)?;
            let request = Request::post(&self.target)
                .header(CONTENT_TYPE, "text/plain; charset=utf-8")
                .body(Full::new(Bytes::from(proof.to_string())))
                .map_err(Unwitnessed::later)?;
            let answer = self.http.send(request).await?;
            if answer.status() == StatusCode::CONFLICT {
                old = self.seen(old, proof.note(), &answer)?;
                continue;
            }
            if answer.status() == StatusCode::OK {
                return self.keep(proof.note(), &answer).map(Some);
            }
            return Err(refusal(&answer, old));
        }
        Err(Unwitnessed::later("it has seen another checkpoint each time: does another daemon send it, too?"))
    }

    /// The size that a witness says it has seen, which refuses that the log goes on from `old` to `note`.
    fn seen(&self, old: u64, note: &str, answer: &Response<Bytes>) -> Result<u64, Unwitnessed> {
        let size = size(answer)?;
        let cosigned = self.size().unwrap_or(0);
        if size == old && Checkpoint::peek(note).is_some_and(|shown| shown.size == old) {
            return Err(Unwitnessed::Contradiction(format!("it has seen {old} other leaves of this log")));
        }
        if size == old {
            return Err(Unwitnessed::later("it asks for a proof from a size that it does not stay with"));
        }
        if size < cosigned {
            let why =
                format!("it has cosigned {cosigned} leaves and says that it has seen {size}: it forgets what it saw");
            return Err(Unwitnessed::later(why));
        }
        Ok(size)
    }

    /// Keeps what was cosigned.
    fn keep(&mut self, note: &str, answer: &Response<Bytes>) -> Result<u64, Unwitnessed> {
        let lines = std::str::from_utf8(answer.body()).map_err(Unwitnessed::later)?;
        let cosigned = self.key.add(note, lines).map_err(|e| {
            Unwitnessed::later(format_args!("its answer is worth nothing: {e}; is `key` the one that it publishes?"))
        })?;
        let size = Checkpoint::peek(note).map_or(0, |checkpoint| checkpoint.size);
        keep_cosigned(&self.audit, &self.name, &cosigned).map_err(Unwitnessed::later)?;
        (self.old, self.cosigned) = (size, Some(cosigned));
        Ok(size)
    }
}

/// Why it refuses that the log goes on from `old`.
fn refusal(answer: &Response<Bytes>, old: u64) -> Unwitnessed {
    let told = told(answer);
    match answer.status() {
        StatusCode::NOT_FOUND => Unwitnessed::later(format_args!(
            "{told}: it does not know this log; have its operator add the key in audit/log-signing.pub"
        )),
        StatusCode::FORBIDDEN => Unwitnessed::later(format_args!(
            "{told}: it knows another key for this log; was the log written anew? The key is in audit/log-signing.pub"
        )),
        StatusCode::UNPROCESSABLE_ENTITY => {
            Unwitnessed::Contradiction(format!("{told}: the log does not begin with the {old} leaves that it has seen"))
        }
        _ => later(answer, &told).into(),
    }
}

/// The size that a witness says it has seen.
fn size(answer: &Response<Bytes>) -> Result<u64, Unwitnessed> {
    let text = std::str::from_utf8(answer.body()).ok().and_then(|text| text.strip_suffix('\n'));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Unwitnessed::later(told(answer)))
}

impl From<Refused> for Unwitnessed {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Later { why, after } => Self::Later { why, after },
            Refused::Content(why) | Refused::Part { why, .. } => Self::later(why),
        }
    }
}
