//! `interceptor scan`.

mod explain;
mod files;
mod sarif;

use std::io::{BufRead, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::rules::RuleArgs;
use super::{Failure, Global, NEGATIVE, progress};
use crate::flow::Finding;
use crate::mask::Scanner;

/// Longest line that is read: a text of 64 MiB, every byte of it escaped.
const LONGEST_LINE: u64 = 384 << 20;

/// Arguments of `interceptor scan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without FILE, each line in is {\"id\":...,\"text\":\"...\"}; each line out, in the same order, is
{\"id\":...,\"spans\":[{\"start\":5,\"end\":24,\"type\":\"CREDIT_CARD\",\"rule\":\"card.pan\",\"score\":1.0}]}.
Offsets are bytes of the text in UTF-8, end exclusive. A number that several kinds of identifier claim is
listed once for each, the likeliest first; masking goes by the first. With --explain each line has besides what rules proposed, and why it is a
span or not: \"explain\":[{\"start\",\"end\",\"type\",\"rule\",\"outcome\",\"validator\",\"confirmed\",\"word\",\"folded\",\"decoded\",\"by\",\"because\"}].

With FILE, the place of each finding is told, never its value.

Examples:
  echo '{\"id\":1,\"text\":\"card 4111 1111 1111 1111\"}' | interceptor scan
  jq -c '{id:input_line_number,text:.}' -R notes.txt | interceptor scan --check
  git diff --cached --name-only --diff-filter=d -z | xargs -0 -r interceptor scan --check     a pre-commit hook
  interceptor scan --format sarif src/*.py > findings.sarif

Exit status: 0 scanned; with --check 1 when something was found; 2 on a line that is not as above, or a file that cannot be read.")]
pub(crate) struct Args {
    /// Files to scan instead of standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How findings in files are told; json is one object a line
    #[arg(long, value_enum, default_value_t = Format::Text, requires = "files")]
    format: Format,
    /// Say why each value is found or not: validator, words, the rule that won
    #[arg(long)]
    explain: bool,
    /// Exit with status 1 when anything was found
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    rules: RuleArgs,
}

/// How findings in files are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// `file:line:column: TYPE (severity, rule, score)`
    Text,
    /// One object a line
    Json,
    /// SARIF 2.1.0
    Sarif,
}

#[derive(Deserialize)]
struct Line {
    id: serde_json::Value,
    text: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a serde_json::Value,
    spans: Vec<Span<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Vec<explain::Explained>>,
}

#[derive(Serialize)]
struct Span<'a> {
    start: usize,
    end: usize,
    #[serde(rename = "type")]
    entity: &'a str,
    rule: &'a str,
    score: f64,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let mut scanner = args.rules.engine(global)?.scanner()?;
    let mut stdout = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    let scanned = if args.files.is_empty() {
        let bar = progress::of_input();
        let scanned = scan(bar.wrap_read(std::io::stdin().lock()), &mut stdout, args.explain, &mut scanner);
        bar.finish_and_clear();
        scanned
    } else {
        files::scan(&args.files, args.format, args.explain, &mut scanner, &mut stdout)
    };
    // What came before a bad line has been answered.
    match stdout.flush() {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        flushed => flushed?,
    }
    let found = scanned?;
    Ok(if args.check && found > 0 { ExitCode::from(NEGATIVE) } else { ExitCode::SUCCESS })
}

/// Answers every line of `input`; gives how many findings there are.
fn scan(
    mut input: impl BufRead,
    output: &mut impl Write,
    explain: bool,
    scanner: &mut Scanner,
) -> Result<usize, Failure> {
    let mut line = Vec::new();
    let mut findings = Vec::new();
    let mut total = 0;
    for number in 1.. {
        line.clear();
        if (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() as u64 == LONGEST_LINE {
            return Err(format!("line {number}: longer than {LONGEST_LINE} bytes; split the text").into());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let parsed: Line = serde_json::from_slice(&line)
            .map_err(|error| format!("line {number} is not a JSON object with \"id\" and \"text\": {}", why(&error)))?;
        findings.clear();
        let scanned = if explain {
            scanner
                .explain(&parsed.text, &mut findings)
                .map(|proposals| Some(proposals.iter().map(explain::explained).collect()))
        } else {
            scanner.readings(&parsed.text, &mut findings).map(|()| None)
        };
        let explain = scanned.map_err(|error| format!("line {number}: {error}"))?;
        total += findings.len();
        let answer = Answer { id: &parsed.id, spans: findings.iter().map(span).collect(), explain };
        serde_json::to_writer(&mut *output, &answer)?;
        output.write_all(b"\n")?;
    }
    Ok(total)
}

/// What is wrong with a line's JSON, and in which column: the parser counts every line as its first.
fn why(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match error.column() {
        0 => what.to_owned(),
        column => format!("{what} (column {column})"),
    }
}

fn span(finding: &Finding) -> Span<'_> {
    Span {
        start: finding.span.start,
        end: finding.span.end,
        entity: &finding.rule.entity,
        rule: &finding.rule.id,
        score: two_digits(finding.score),
    }
}

/// Two digits say all that a score knows.
fn two_digits(score: f32) -> f64 {
    (f64::from(score) * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Engine;

    fn answer(input: &str) -> (String, Result<usize, Failure>) {
        answer_with(input, false)
    }

    fn answer_with(input: &str, explain: bool) -> (String, Result<usize, Failure>) {
        let mut out = Vec::new();
        let result = scan(input.as_bytes(), &mut out, explain, &mut Engine::builtin().unwrap().scanner().unwrap());
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn answers_are_compact_in_order_and_in_bytes() {
        let (out, found) =
            answer("{\"id\":\"a\",\"text\":\"\u{e9} 4111 1111 1111 1111\"}\n\n{\"id\":7,\"text\":\"nothing\"}");
        assert_eq!(
            out,
            "{\"id\":\"a\",\"spans\":[{\"start\":3,\"end\":22,\"type\":\"CREDIT_CARD\",\"rule\":\"card.pan\",\"score\":0.95}]}\n\
             {\"id\":7,\"spans\":[]}\n"
        );
        assert_eq!(found.unwrap(), 1);
    }

    #[test]
    fn an_explanation_names_the_winner_and_what_decided() {
        let line = "{\"id\":1,\"text\":\"postgres://app:vR2kd9Xq7w@db.corp.example/x and jane@corp.example\"}";
        let (out, _) = answer_with(line, true);
        let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
        let explain = answer["explain"].as_array().unwrap();
        let reported = explain.iter().filter(|one| one["outcome"] == "reported").count();
        assert_eq!(reported, answer["spans"].as_array().unwrap().len(), "{out}");
        let suppressed = explain.iter().find(|one| one["outcome"] == "suppressed").expect(&out);
        assert!(suppressed["by"]["rule"].is_string() && suppressed["because"].is_string(), "{out}");
    }

    #[test]
    fn garbage_is_named_by_one_line_number() {
        let (_, found) = answer("{\"id\":1,\"text\":\"x\"}\ngarbage\n");
        let expected = "line 2 is not a JSON object with \"id\" and \"text\": expected value (column 1)";
        assert_eq!(found.unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_bad_line_is_named_after_the_good_ones_were_answered() {
        let (out, found) = answer("{\"id\":1,\"text\":\"x\"}\n{\"id\":2}\n");
        assert_eq!(out, "{\"id\":1,\"spans\":[]}\n");
        assert!(
            found
                .unwrap_err()
                .to_string()
                .starts_with("line 2 is not a JSON object with \"id\" and \"text\": missing field `text`")
        );
    }
}
