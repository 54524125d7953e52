//! An archive in an S3-compatible store: batches of lines as objects, with Object Lock where that is configured, and
//! every signed checkpoint beside them.
//!
//! ```text
//! PREFIX2026/11/29/00000000000000000042-00000000000000000107-4c5c8a1e.jsonl    records that ended with these frames
//! PREFIXcheckpoints/00000000000000000063-00000000000000000108-9f86d081884c7d65.note   the signed note, by leaves, frames, hash
//! ```

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};

use super::event::{Event, What};
use super::http::{Http, later};
use super::receiver::{Refused, SetupError, printable, secret_text, wrong};
use super::settings::{self, Retention, Settings};
use super::webhook::idempotency_key;
use crate::audit::Checkpoint;
use crate::siem::{self, Format};

/// How long a signed request may be used.
const VALID: Duration = Duration::from_secs(300);
/// A hundred years: S3 takes no later date.
const MOST_DAYS: u32 = 36_500;
/// Characters of the name that tell batches with the same frames from each other.
const TAG: usize = 8;

/// A bucket.
pub(super) struct S3 {
    http: Http,
    bucket: Bucket,
    credentials: Credentials,
    prefix: String,
    extension: &'static str,
    lock: Option<(&'static str, SignedDuration)>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

impl S3 {
    pub(super) fn new(http: Http, settings: &settings::S3, sink: &Settings) -> Result<Self, SetupError> {
        let bucket = Bucket::new(http.url().clone(), UrlStyle::Path, settings.bucket.clone(), settings.region.clone());
        let bucket = bucket.map_err(|e| SetupError::Value(format!("url {:?}: {e}", http.url().as_str())))?;
        let text = secret_text(&settings.credentials_file)?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let (Some(key), Some(secret), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(wrong(&settings.credentials_file, "does not have two lines: access key id, secret access key"));
        };
        let lock = match (settings.retention, settings.retention_days) {
            (None, None) => None,
            (Some(_), Some(days)) if days > MOST_DAYS => {
                return Err(SetupError::Value(format!("retention_days is more than {MOST_DAYS}")));
            }
            (Some(_), None | Some(0)) => return Err(SetupError::Value("retention needs retention_days".into())),
            (None, Some(_)) => {
                return Err(SetupError::Value(
                    "retention_days needs retention = \"governance\" or \"compliance\"".into(),
                ));
            }
            (Some(mode), Some(days)) => {
                let mode = match mode {
                    Retention::Governance => "GOVERNANCE",
                    Retention::Compliance => "COMPLIANCE",
                };
                Some((mode, SignedDuration::from_hours(i64::from(days) * 24)))
            }
        };
        let extension = if sink.format == Format::Cef { "cef" } else { "jsonl" };
        let credentials = Credentials::new(key, secret);
        Ok(Self { http, bucket, credentials, prefix: settings.prefix.clone(), extension, lock })
    }

    pub(super) fn describe(&self) -> String {
        format!("S3 bucket {} at {}", self.bucket.name(), self.http.describe())
    }

    pub(super) async fn deliver(&mut self, events: &[Event]) -> Result<(), Refused> {
        let records: Vec<&Event> = events.iter().filter(|event| event.is_of_log()).collect();
        if let (Some(first), Some(last)) = (records.first(), records.last()) {
            // Of the record's own time: a batch that is sent again gets the name that it had.
            let day = &last.time().to_string()[..10].replace('-', "/");
            let tag = &idempotency_key(records.iter().copied())[..TAG];
            let name = format!("{}{day}/{:020}-{:020}-{tag}.{}", self.prefix, first.end, last.end, self.extension);
            let body = records.iter().flat_map(|event| [event.text.as_bytes(), b"\n"]).collect::<Vec<_>>().concat();
            self.put(&name, body).await?;
        }
        for event in events {
            if let What::Checkpoint { note, checkpoint, .. } = &event.what {
                // With its hash: a log that was put back to an earlier state must not replace what it had signed before.
                let Checkpoint { size, frames, .. } = checkpoint;
                let name =
                    format!("{}checkpoints/{size:020}-{frames:020}-{}.note", self.prefix, siem::checkpoint_tag(note));
                self.put(&name, note.clone().into_bytes()).await?;
            }
        }
        Ok(())
    }

    async fn put(&mut self, name: &str, body: Vec<u8>) -> Result<(), Refused> {
        // With Object Lock, a store demands a checksum.
        let mut headers = vec![
            ("content-type", "text/plain; charset=utf-8".to_owned()),
            ("x-amz-sdk-checksum-algorithm", "SHA256".to_owned()),
            ("x-amz-checksum-sha256", STANDARD.encode(digest(&SHA256, &body))),
        ];
        if let Some((mode, age)) = self.lock {
            let until = Timestamp::now().checked_add(age).map_err(Refused::later)?;
            headers.push(("x-amz-object-lock-mode", mode.to_owned()));
            headers.push(("x-amz-object-lock-retain-until-date", format!("{until:.0}")));
        }
        let mut action = self.bucket.put_object(Some(&self.credentials), name);
        for (header, value) in &headers {
            action.headers_mut().insert(*header, value.clone());
        }
        let signed = action.sign(VALID);
        let mut request = Request::put(&signed[url::Position::BeforePath..url::Position::AfterQuery]);
        for (header, value) in headers {
            request = request.header(header, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(Refused::later)?;
        judge(&self.http.send(request).await?)
    }
}

/// A store answers 400 to what is wrong with bucket or configuration, too: only one of its codes is about the content.
pub(super) fn judge(answer: &Response<Bytes>) -> Result<(), Refused> {
    if answer.status().is_success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(answer.body());
    let element = |name: &str| {
        let inside = text.split_once(&format!("<{name}>"))?.1;
        let inside = inside.strip_prefix("<![CDATA[").unwrap_or(inside);
        inside.split_once(&format!("</{name}>")).map(|(inside, _)| printable(inside))
    };
    let code = element("Code").unwrap_or_default();
    let message = element("Message").unwrap_or_default();
    let why = format!("the store answered {} {code}: {message}", answer.status());
    if code == "EntityTooLarge" { Err(Refused::content(why)) } else { Err(later(answer, &why)) }
}
