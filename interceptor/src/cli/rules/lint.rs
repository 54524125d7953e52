//! `interceptor rules lint`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{Failure, Global, NEGATIVE, progress};
use super::cost::{self, Comparison, percent};
use super::load::{self, LoadError};
use crate::config::Rules;
use crate::mask::{Engine, Error, Fault, Mistake};

/// Arguments of `interceptor rules lint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Tells every mistake in the files with its line, checks the examples of each rule, and measures what each rule costs:
the share of the built-in set's throughput that is lost with it, on ordinary text and one core. Without files and
--config, the built-in rules are measured, each against the set without it, which takes minutes.

Examples:
  interceptor rules lint corp.toml
  interceptor rules lint corp.toml --dictionary customers.txt --max-cost 5
  interceptor rules lint --config /etc/interceptor/interceptor.toml --json

Exit status: 0 the daemon would take them; 1 it would not; 2 a file cannot be read.")]
pub(crate) struct Args {
    /// Rule files
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// File of literals, one a line
    #[arg(long, value_name = "FILE")]
    dictionary: Vec<PathBuf>,
    /// The share of the throughput that a rule may cost, in per cent [default: rules.max_cost, else 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=100))]
    max_cost: Option<u32>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

impl Args {
    fn rules(&self, global: &Global) -> Result<Rules, Failure> {
        let mut rules = load::configured(global, &self.files, &self.dictionary)?;
        rules.max_cost = self.max_cost.unwrap_or(rules.max_cost);
        Ok(rules)
    }
}

pub(super) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let rules = args.rules(global)?;
    let report = match load::compile(&rules, None) {
        Ok(engine) => Report::of(&engine, rules.max_cost)?,
        Err(LoadError::Mask(Error::Rules(mistakes))) => {
            Report { max_cost: rules.max_cost, mistakes: mistakes.list().to_vec(), ..Report::default() }
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = io::stdout().lock();
    let written = if args.json { writeln!(out, "{}", report.document()) } else { report.print(&mut out) };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if report.mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NEGATIVE) })
}

/// What was measured, and what is wrong.
#[derive(Debug, Default)]
struct Report {
    max_cost: u32,
    /// MB/s of the set without and with the rules of files.
    throughput: Option<(f64, f64)>,
    rules: Vec<Measured>,
    mistakes: Vec<Mistake>,
}

#[derive(Debug)]
struct Measured {
    id: String,
    place: String,
    cost: f64,
    allow_slow: bool,
}

impl Report {
    fn of(engine: &Arc<Engine>, max_cost: u32) -> Result<Self, Error> {
        let mut report = Self { max_cost, ..Self::default() };
        let base = cost::only(engine, &[], None)?;
        report.throughput = Some(Comparison::of(&base, engine, 0.0)?.throughput());
        let own: Vec<_> = cost::own(engine).map(|(index, _)| index).collect();
        let measures_builtin = own.is_empty();
        let bar = progress::of(if measures_builtin { engine.loaded().len() } else { own.len() }, "rules");
        for (index, rule) in engine.loaded().enumerate().filter(|(_, rule)| measures_builtin || !rule.builtin) {
            let mut others = 0..;
            let (without, with) = if measures_builtin {
                (engine.only(|_| others.next() != Some(index), None)?, Arc::clone(engine))
            } else {
                (Arc::clone(&base), cost::only(engine, &[index], None)?)
            };
            let cost = Comparison::of(&without, &with, 0.0)?.cost();
            if cost > f64::from(max_cost) && !rule.allow_slow && !rule.builtin {
                report.mistakes.push(rule.mistake(Fault::Slow { cost: percent(cost), limit: max_cost }));
            }
            let (id, place) = (rule.meta.id.clone(), rule.origin.to_string());
            report.rules.push(Measured { id, place, cost, allow_slow: rule.allow_slow });
            bar.inc(1);
        }
        bar.finish_and_clear();
        // The costly ones are what one looks for.
        report.rules.sort_by(|a, b| b.cost.total_cmp(&a.cost));
        Ok(report)
    }

    fn document(&self) -> Value {
        let mistake = |mistake: &Mistake| {
            json!({
                "file": mistake.file,
                "line": mistake.at.map(|at| at.line),
                "column": mistake.at.map(|at| at.column),
                "rule": mistake.rule,
                "message": mistake.fault.to_string(),
            })
        };
        let rule = |rule: &Measured| {
            let cost = (rule.cost * 10.0).round() / 10.0;
            json!({"id": rule.id, "place": rule.place, "cost_percent": cost, "allow_slow": rule.allow_slow})
        };
        json!({
            "max_cost_percent": self.max_cost,
            "throughput_mb_s": self.throughput.map(|(without, with)| json!({"without": without.round(), "with": with.round()})),
            "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            "mistakes": self.mistakes.iter().map(mistake).collect::<Vec<_>>(),
        })
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for Measured { id, place, cost, allow_slow } in &self.rules {
            let accepted = if *allow_slow { "  (allow_slow)" } else { "" };
            writeln!(out, "{cost:>6.1} %  {id:<36} {place}{accepted}")?;
        }
        if let Some((without, with)) = self.throughput {
            writeln!(out, "one core: {without:.0} MB/s without the rules of files, {with:.0} MB/s with them")?;
        }
        self.mistakes.iter().try_for_each(|mistake| writeln!(out, "{mistake}"))
    }
}
