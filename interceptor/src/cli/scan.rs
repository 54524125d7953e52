//! `interceptor scan`.

use std::io::{BufRead, BufWriter, Read, Write};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::{Failure, Global, NEGATIVE};
use crate::flow::Finding;
use crate::mask::{Engine, Scanner};

/// Longest line that is read: a text of 64 MiB, every byte of it escaped.
const LONGEST_LINE: u64 = 384 << 20;

/// Arguments of `interceptor scan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line in is {\"id\":...,\"text\":\"...\"}; each line out, in the same order, is
{\"id\":...,\"spans\":[{\"start\":5,\"end\":24,\"type\":\"CREDIT_CARD\",\"rule\":\"card.pan\",\"score\":0.95}]}.
Offsets are bytes of the text in UTF-8, end exclusive. A number that several kinds of identifier claim is
listed once for each, the likeliest first; masking goes by the first.

Examples:
  echo '{\"id\":1,\"text\":\"card 4111 1111 1111 1111\"}' | interceptor scan
  jq -c '{id:input_line_number,text:.}' -R notes.txt | interceptor scan --check

Exit status: 0 scanned; with --check 1 when something was found; 2 on a line that is not as above.")]
pub(crate) struct Args {
    /// Exit with status 1 when anything was found
    #[arg(long)]
    check: bool,
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

pub(crate) fn run(args: &Args, _global: &Global) -> Result<ExitCode, Failure> {
    let mut scanner = Engine::builtin()?.scanner()?;
    let stdin = std::io::stdin().lock();
    let mut stdout = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    let scanned = scan(stdin, &mut stdout, &mut scanner);
    // What came before a bad line has been answered.
    match stdout.flush() {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        flushed => flushed?,
    }
    let found = scanned?;
    Ok(if args.check && found > 0 { ExitCode::from(NEGATIVE) } else { ExitCode::SUCCESS })
}

/// Answers every line of `input`; gives the number of findings.
fn scan(mut input: impl BufRead, output: &mut impl Write, scanner: &mut Scanner) -> Result<usize, Failure> {
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
        scanner.readings(&parsed.text, &mut findings).map_err(|error| format!("line {number}: {error}"))?;
        total += findings.len();
        let answer = Answer { id: &parsed.id, spans: findings.iter().map(span).collect() };
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
        // Two digits say all that a score knows.
        score: (f64::from(finding.score) * 100.0).round() / 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(input: &str) -> (String, Result<usize, Failure>) {
        let mut out = Vec::new();
        let result = scan(input.as_bytes(), &mut out, &mut Engine::builtin().unwrap().scanner().unwrap());
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
