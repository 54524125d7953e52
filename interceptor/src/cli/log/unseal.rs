//! `interceptor log unseal`: opens what was sealed, after the access is on record.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::unistd::{Uid, User, getuid};
use serde_json::json;

use super::super::Failure;
use super::table::{Style, colour};
use super::{find, read};
use crate::audit::{Access, AuditorSecret, Encoding, Opener, Reader, Stream, Time};
use crate::config::StatePaths;
use crate::flow::ExchangeId;

/// Arguments of `interceptor log unseal`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Id of the record, an unambiguous start of it, or `latest`
    id: String,
    /// The auditor's private key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Why it must be opened: goes on record before anything is shown
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, paths: &StatePaths) -> Result<ExitCode, Failure> {
    let reason = args.reason.trim();
    if reason.is_empty() {
        return Err("the reason is empty: say why the record must be opened".into());
    }
    let secret = AuditorSecret::read(&args.key)?;
    let mut reader = read(&paths.audit())?;
    let index = find(&reader, &args.id)?;
    let keys = paths.keys();
    let mut opener = Opener::new(&keys, &secret);
    reader.try_keys(index, &mut opener)?;
    let (uid, user) = caller();
    let access = Access {
        exchange: reader.id(index),
        time: Time::now(),
        uid,
        user,
        auditor: secret.public().fingerprint(),
        reason: reason.to_owned(),
    };
    access.record(&paths.audit(), &keys).map_err(|e| {
        format!("{e}: this access cannot be put on record, so nothing is shown; run it as root or the daemon's user")
    })?;
    let original = reader.original(index, &mut opener)?;
    let response = reader.response(index, &mut opener)?;
    let mut out = io::stdout().lock();
    if args.json {
        let content = |bytes: Option<Vec<u8>>| {
            bytes.map(|bytes| {
                let length = bytes.len();
                let (encoding, text) = Encoding::of(bytes);
                json!({"encoding": encoding, "text": text, "bytes": length})
            })
        };
        let document = json!({
            "id": access.exchange,
            "request": content(original),
            "response": content(response),
            "access": access,
        });
        writeln!(out, "{document}")?;
    } else {
        write_content(&mut out, "the request as the client sent it", original.as_deref())?;
        write_content(&mut out, "the response", response.as_deref())?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Raw bytes, as an auditor wants them in a file; on a terminal the titles stand out.
fn write_content(out: &mut impl Write, title: &str, content: Option<&[u8]>) -> io::Result<()> {
    writeln!(out, "{}", Style::Bold.paint(&format!("--- {title}"), colour()))?;
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
fn caller() -> (u32, Option<String>) {
    const UNSET: u32 = u32::MAX;
    let login = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    let uid = login.filter(|&uid: &u32| uid != UNSET).unwrap_or_else(|| getuid().as_raw());
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    (uid, user.map(|user| user.name))
}

/// Accesses to one record, oldest first.
pub(crate) fn accesses(audit: &Path, id: ExchangeId) -> Result<Vec<Access>, Failure> {
    let mut reader = Reader::open_stream(audit, Stream::Access)?;
    reader.poll()?;
    let mut found = Vec::new();
    for index in 0..reader.len() {
        if reader.id(index) == id {
            found.push(reader.access(index)?);
        }
    }
    Ok(found)
}
