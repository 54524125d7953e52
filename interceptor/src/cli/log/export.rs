//! `interceptor log export`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;

use super::filter::{self, Filter};
use super::list::last;
use super::{new_file, report_damage};
use crate::audit::{Query, Reader};
use crate::cli::Failure;
use crate::siem::{Exporter, Format};

/// Arguments of `interceptor log export`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  interceptor log export --since yesterday > records.jsonl
  interceptor log export --format ocsf --decision deny --out denied.ocsf.jsonl
  interceptor log export --format har --caller alice --limit 100 --out alice.har

jsonl: the records themselves. ocsf: OCSF 1.8.0 API Activity (6003). ecs: Elastic Common Schema.
cef: ArcSight Common Event Format. otlp: OpenTelemetry logs, lines of OTLP/JSON. har: HTTP Archive,
for browsers' developer tools. What is sealed is not opened: all formats have masked content only.

{}

Exit status: 0 exported, also when there is nothing; 2 there is no log, or it may not be read.", filter::HELP))]
pub(crate) struct Args {
    /// How records are written
    #[arg(long, value_name = "F", default_value = "jsonl", value_parser = format())]
    format: Format,
    /// Into this new file, which only its owner may read [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only the last N records
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    filter: Filter,
}

fn format() -> impl clap::builder::TypedValueParser<Value = Format> {
    let named = |name: String| Format::ALL.into_iter().find(|(of, _)| *of == name).map(|(_, format)| format);
    PossibleValuesParser::new(Format::ALL.map(|(name, _)| name)).try_map(move |name| named(name).ok_or("no format"))
}

pub(crate) fn run(args: &Args, audit: &Path) -> Result<ExitCode, Failure> {
    let mut reader = Reader::open(audit)?;
    match &args.out {
        None => drop(export(args, &mut reader, io::stdout().lock())?),
        Some(path) => {
            // What the audit role may read is nobody else's to read: the log's own files are no wider.
            let count = export(args, &mut reader, new_file(path, 0o600)?)
                .map_err(|e| format!("--out {}: {e}", path.display()))?;
            eprintln!("interceptor: {count} {} in {}", if count == 1 { "record" } else { "records" }, path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn export(args: &Args, reader: &mut Reader, out: impl Write) -> Result<u64, Failure> {
    let mut exporter = Exporter::new(args.format, BufWriter::new(out))?;
    if let Some(limit) = args.limit {
        for (at, _) in last(reader, &args.filter, limit)? {
            exporter.write(&reader.record(&at)?)?;
        }
    } else {
        let mut query = Query::oldest_first(&args.filter);
        while let Some((_, record)) = query.record(reader)? {
            exporter.write(&record)?;
        }
    }
    report_damage(reader.damage());
    Ok(exporter.finish()?)
}
