//! `interceptor rules list`.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;

use super::super::{Failure, Global};
use super::load::RuleArgs;
use crate::mask::Loaded;

/// Arguments of `interceptor rules list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  interceptor rules list
  interceptor rules list --rules corp.toml --json | jq -r 'select(.severity == \"high\") .id'

Exit status: 0 listed; 2 a rule file cannot be used.")]
pub(crate) struct Args {
    #[command(flatten)]
    rules: RuleArgs,
    /// JSON Lines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let engine = args.rules.engine(global)?;
    let mut out = io::stdout().lock();
    let written = engine
        .loaded()
        .try_for_each(|rule| if args.json { writeln!(out, "{}", document(&rule)) } else { line(&mut out, &rule) });
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        written => Ok(written.map(|()| ExitCode::SUCCESS)?),
    }
}

fn document(rule: &Loaded<'_>) -> serde_json::Value {
    let (meta, origin) = (rule.meta, rule.origin);
    json!({
        "id": meta.id,
        "type": meta.entity,
        "label": meta.label,
        "severity": meta.severity,
        "builtin": rule.builtin,
        "file": origin.file,
        "line": origin.at.line,
    })
}

fn line(out: &mut impl Write, rule: &Loaded<'_>) -> io::Result<()> {
    let meta = rule.meta;
    let severity = meta.severity.as_str();
    let place = if rule.builtin { "built in".to_owned() } else { rule.origin.to_string() };
    writeln!(out, "{:<36} {:<34} {severity:<7} {place}", meta.id, meta.entity)
}
