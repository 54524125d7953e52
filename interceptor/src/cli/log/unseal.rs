//! `interceptor log unseal`: opens what was sealed, after the access is on record.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::unistd::{Uid, User, geteuid, getuid};
use serde_json::json;

use super::super::Failure;
use super::table::{Style, clean, colour};
use super::{find, report_damage};
use crate::audit::{
    Access, AuditorSecret, Content, Encoding, Error, Located, Opener, Outcome, ReadError, Reader, Time,
};
use crate::config::StatePaths;
use crate::flow::ExchangeId;

/// Arguments of `interceptor log unseal`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor log unseal latest --key auditor.key --reason 'case 17'
  interceptor log unseal 01a20909 --key auditor.key --reason 'case 17' --json | jq -r .request.text
  interceptor log unseal 01a20909 --key anna.key --key ben.key --reason 'case 17'

The attempt goes on record before anything is shown, also one whose key does not fit:
`interceptor log accesses` lists them. Needs the rights to write the audit log.

Exit status: 0 shown; 2 nothing is shown: the key does not fit, or the access cannot be recorded.")]
pub(crate) struct Args {
    /// Id of the record, an unambiguous start of it, or `latest`
    id: String,
    /// The auditor's private key; several where `audit.threshold` asks for the keys of several
    #[arg(long, value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
    /// Why it must be opened: goes on record before anything is shown
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, paths: &StatePaths) -> Result<ExitCode, Failure> {
    let auditor = Auditor::new(&args.key, &args.reason)?;
    let mut reader = Reader::open(&paths.audit())?;
    let at = find(&mut reader, &args.id)?;
    let keys = paths.keys();
    let opened = open(&mut reader, &at, &mut Opener::new(&keys, auditor.secrets()));
    report_damage(reader.damage());
    let access = auditor.access(at.id(), opened.as_ref().err());
    let (original, response) = access_first(&access, opened, paths)?;
    let request_cut = reader.cut_off(&at, Content::Upload)?;
    let response_cut = reader.cut_off(&at, Content::Response)?;
    let mut out = io::stdout().lock();
    if args.json {
        let content = |bytes: Option<Vec<u8>>, cut: Option<String>| {
            bytes.map(|bytes| {
                let length = bytes.len();
                let (encoding, text) = Encoding::of(bytes);
                json!({"encoding": encoding, "text": text, "bytes": length, "incomplete": cut})
            })
        };
        let document = json!({
            "id": access.exchange,
            "request": content(original, request_cut),
            "response": content(response, response_cut),
            "access": access,
        });
        writeln!(out, "{document}")?;
    } else {
        write_content(&mut out, "the request as the client sent it", original.as_deref(), request_cut)?;
        write_content(&mut out, "the response", response.as_deref(), response_cut)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Who opens what was sealed, and why.
pub(super) struct Auditor {
    secrets: Vec<AuditorSecret>,
    reason: String,
}

impl Auditor {
    /// With these private keys.
    pub(super) fn new(keys: &[PathBuf], reason: &str) -> Result<Self, Failure> {
        let reason = reason.trim();
        if reason.is_empty() {
            return Err("the reason is empty: say why the record must be opened".into());
        }
        let secrets = keys.iter().map(|path| secret(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { secrets, reason: reason.to_owned() })
    }

    pub(super) fn secrets(&self) -> &[AuditorSecret] {
        &self.secrets
    }

    fn access(&self, exchange: ExchangeId, refused: Option<&ReadError>) -> Access {
        let (uid, user) = caller();
        let fingerprints = self.secrets.iter().map(|secret| secret.public().fingerprint());
        Access {
            exchange,
            time: Time::now(),
            uid,
            user,
            auditor: fingerprints.collect::<Vec<_>>().join(" "),
            reason: self.reason.clone(),
            outcome: if refused.is_none() { Outcome::Opened } else { Outcome::Refused },
            error: refused.map(ToString::to_string),
        }
    }

    /// What was opened of a record, once the attempt is on record.
    pub(super) fn after_record<T>(
        &self,
        exchange: ExchangeId,
        opened: Result<T, ReadError>,
        paths: &StatePaths,
    ) -> Result<T, Failure> {
        let access = self.access(exchange, opened.as_ref().err());
        access_first(&access, opened, paths)
    }
}

/// Nothing has been shown so far: what was opened is gone if it cannot be put on record.
fn access_first<T>(access: &Access, opened: Result<T, ReadError>, paths: &StatePaths) -> Result<T, Failure> {
    match (opened, access.record(&paths.audit(), &paths.keys())) {
        (Ok(opened), Ok(())) => Ok(opened),
        (Err(error), Ok(())) => Err(format!("{error}; the attempt is on record").into()),
        (Err(error), Err(e)) => Err(format!("{error}; the attempt is not on record: {e}").into()),
        // Who may write it needs no other rights.
        (Ok(_), Err(e @ Error::Recording { .. })) => {
            Err(format!("{e}: this access is not on record, so nothing is shown").into())
        }
        (Ok(_), Err(e)) => {
            let of_log = matches!(
                e,
                Error::Header { .. } | Error::Damaged { .. } | Error::Inconsistent { .. } | Error::NoCheckpoint { .. }
            );
            let remedy = if of_log || geteuid().is_root() { "" } else { "; run it as root or the daemon's user" };
            Err(format!("{e}: this access cannot be put on record, so nothing is shown{remedy}").into())
        }
    }
}

fn secret(path: &Path) -> Result<AuditorSecret, Failure> {
    AuditorSecret::read(path).map_err(|e| {
        let missing = matches!(&e, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        let remedy = if missing { ": give an auditor's private key, made by `interceptor keys generate`" } else { "" };
        format!("--key: {e}{remedy}").into()
    })
}

/// What was sealed, original request and response.
type Opened = (Option<Vec<u8>>, Option<Vec<u8>>);

fn open(reader: &mut Reader, at: &Located, opener: &mut Opener<'_>) -> Result<Opened, ReadError> {
    reader.try_keys(at, opener)?;
    let original = unless_removed(reader.original(at, opener))?;
    let response = unless_removed(reader.response(at, opener))?;
    match (original, response) {
        (Err(gone), Err(_)) => Err(gone),
        (Err(gone), Ok(response)) => {
            eprintln!("interceptor: {gone}");
            Ok((None, response))
        }
        (Ok(original), Err(gone)) => {
            eprintln!("interceptor: {gone}");
            Ok((original, None))
        }
        (Ok(original), Ok(response)) => Ok((original, response)),
    }
}

/// What retention removed does not keep from showing the rest.
fn unless_removed<T>(content: Result<T, ReadError>) -> Result<Result<T, ReadError>, ReadError> {
    match content {
        Err(gone @ ReadError::Removed(..)) => Ok(Err(gone)),
        other => other.map(Ok),
    }
}

/// Raw bytes, as an auditor wants them in a file; on a terminal the titles stand out.
fn write_content(out: &mut impl Write, title: &str, content: Option<&[u8]>, cut: Option<String>) -> io::Result<()> {
    let cut = cut.filter(|_| content.is_some()).map(|why| format!(", incomplete: {}", clean(&why))).unwrap_or_default();
    writeln!(out, "{}", Style::Bold.paint(&format!("--- {title}{cut}"), colour()))?;
    let Some(content) = content.filter(|content| !content.is_empty()) else {
        return writeln!(out, "(nothing)");
    };
    if colour() {
        out.write_all(super::table::clean_lines(&String::from_utf8_lossy(content)).as_bytes())?;
    } else {
        out.write_all(content)?;
    }
    if content.last() == Some(&b'\n') { Ok(()) } else { writeln!(out) }
}

/// Who asks: the user that logged in, which su and sudo do not change, else the process's own.
pub(super) fn caller() -> (u32, Option<String>) {
    const UNSET: u32 = u32::MAX;
    let login = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    let uid = login.filter(|&uid: &u32| uid != UNSET).unwrap_or_else(|| getuid().as_raw());
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    (uid, user.map(|user| user.name))
}
