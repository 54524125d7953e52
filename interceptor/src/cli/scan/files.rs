//! `interceptor scan FILE...`: where in files something was found. What was found is not printed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::Failure;
use super::explain::{self, Explained};
use super::{Format, sarif, two_digits};
use crate::flow::Finding;
use crate::mask::{self, Scanner};

/// Largest file that is read.
const LARGEST: u64 = 64 << 20;
/// Bytes at the head of a file in which a zero byte means that it is no text.
const HEAD: usize = 8 << 10;

/// Line and column in characters, from 1.
type Place = (usize, usize);

/// One finding in a file.
#[derive(Debug)]
pub(super) struct Hit {
    pub(super) finding: Finding,
    pub(super) start: Place,
    /// Behind the last character.
    pub(super) end: Place,
}

/// Scans all of `paths`; gives how many findings there are.
pub(super) fn scan(
    paths: &[PathBuf],
    format: Format,
    explain: bool,
    scanner: &mut Scanner,
    out: &mut impl Write,
) -> Result<usize, Failure> {
    if explain && format != Format::Text {
        return Err("--explain of files is for people to read: leave --format out".into());
    }
    let mut found = 0;
    let mut results = Vec::new();
    for path in paths {
        let Some(text) = read(path)? else {
            eprintln!("interceptor: {}: no text, not scanned", path.display());
            continue;
        };
        let Inspected { hits, explained } =
            inspect(&text, explain, scanner).map_err(|error| format!("{}: {error}", path.display()))?;
        found += hits.len();
        match format {
            Format::Sarif => results.extend(hits.into_iter().map(|hit| (path.clone(), hit))),
            Format::Json => hits.iter().try_for_each(|hit| writeln!(out, "{}", document(path, hit)))?,
            Format::Text => hits.iter().try_for_each(|hit| line(out, path, hit))?,
        }
        for ((line, column), proposal) in explained {
            writeln!(out, "{}:{line}:{column}:   {proposal}", path.display())?;
        }
    }
    if format == Format::Sarif {
        serde_json::to_writer(&mut *out, &sarif::log(&results))?;
        writeln!(out)?;
    }
    Ok(found)
}

/// A file's text; none when it is no text. Bytes that are no UTF-8 are replaced, for what else is in the file counts.
fn read(path: &Path) -> Result<Option<String>, Failure> {
    let name = path.display();
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("cannot read {name}: {error}; name files that this user may read"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{name} is longer than {LARGEST} bytes; split it").into());
    }
    if bytes[..bytes.len().min(HEAD)].contains(&0) {
        return Ok(None);
    }
    Ok(Some(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())))
}

/// What a text came to.
struct Inspected {
    hits: Vec<Hit>,
    /// What was tried, by its place, where that is asked for.
    explained: Vec<(Place, Explained)>,
}

fn inspect(text: &str, explain: bool, scanner: &mut Scanner) -> Result<Inspected, mask::Error> {
    let mut findings = Vec::new();
    let lines = Lines::new(text);
    let mut explained = Vec::new();
    if explain {
        let proposals = scanner.explain(text, &mut findings)?;
        explained.extend(proposals.iter().map(|one| (lines.place(one.span.start), explain::explained(one))));
    } else {
        scanner.scan(text, &mut findings)?;
    }
    let hit =
        |finding: Finding| Hit { start: lines.place(finding.span.start), end: lines.place(finding.span.end), finding };
    Ok(Inspected { hits: findings.into_iter().map(hit).collect(), explained })
}

/// Where the lines of a text begin.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte, from 1; the column in characters.
    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        // A proposal may begin within a character; a finding does not.
        (line, self.text[start..self.text.floor_char_boundary(offset)].chars().count() + 1)
    }
}

fn document(path: &Path, hit: &Hit) -> serde_json::Value {
    let Finding { span, rule, score } = &hit.finding;
    json!({
        "file": path.to_string_lossy(),
        "line": hit.start.0,
        "column": hit.start.1,
        "start": span.start,
        "end": span.end,
        "type": rule.entity,
        "rule": rule.id,
        "severity": rule.severity,
        "score": two_digits(*score),
    })
}

fn line(out: &mut impl Write, path: &Path, hit: &Hit) -> io::Result<()> {
    let (line, column) = hit.start;
    let Finding { rule, score, .. } = &hit.finding;
    let severity = rule.severity.as_str();
    let name = path.display();
    writeln!(out, "{name}:{line}:{column}: {} ({severity}, rule {}, score {score:.2})", rule.entity, rule.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Engine;

    fn run(text: &[u8], format: Format, explain: bool) -> (String, usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a b.txt");
        std::fs::write(&path, text).unwrap();
        let mut scanner = Engine::builtin().unwrap().scanner().unwrap();
        let mut out = Vec::new();
        let found = scan(&[path], format, explain, &mut scanner, &mut out).unwrap();
        (String::from_utf8(out).unwrap().replace(dir.path().to_str().unwrap(), "DIR"), found)
    }

    #[test]
    fn findings_are_told_by_line_and_column_and_without_their_value() {
        let text = "fine\n\u{e9}: 4111 1111 1111 1111\nmail jane@corp.example\n";
        let (out, found) = run(text.as_bytes(), Format::Text, false);
        assert_eq!(
            out,
            "DIR/a b.txt:2:4: CREDIT_CARD (high, rule card.pan, score 0.95)\n\
             DIR/a b.txt:3:6: EMAIL_ADDRESS (medium, rule email, score 1.00)\n"
        );
        assert_eq!(found, 2);
        let (out, _) = run(text.as_bytes(), Format::Json, false);
        let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        assert_eq!((&first["line"], &first["column"], &first["start"]), (&2.into(), &4.into(), &9.into()));
    }

    #[test]
    fn sarif_has_rules_levels_and_regions() {
        let (out, _) = run(b"x\nmail jane@corp.example, joe@corp.example\n", Format::Sarif, false);
        let log: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 1, "each rule once");
        let result = &run["results"][1];
        assert_eq!(
            (&result["ruleId"], &result["ruleIndex"], &result["level"]),
            (&"email".into(), &0.into(), &"warning".into())
        );
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "file://DIR/a%20b.txt");
        assert_eq!(place["region"], json!({"startLine": 2, "startColumn": 25, "endLine": 2, "endColumn": 41}));
        assert!(!out.contains("joe@"));
    }

    #[test]
    fn what_is_no_text_is_left_out_and_what_is_no_utf8_is_not() {
        assert_eq!(run(b"\0\x01 jane@corp.example", Format::Text, false).1, 0);
        assert_eq!(run(b"caf\xe9 jane@corp.example", Format::Text, false).1, 1);
    }

    #[test]
    fn explanations_follow_the_findings_of_their_file() {
        let (out, _) = run(b"card 4111 1111 1111 1111, 4111 1111 1111 1112", Format::Text, true);
        let lines: Vec<_> = out.lines().collect();
        assert!(lines[0].contains("CREDIT_CARD") && lines.len() > 2, "{out}");
        assert!(
            lines[1..].iter().any(|line| line.contains("card.pan: reported; validator card confirms; word \"card\"")),
            "{out}"
        );
        assert!(lines[1..].iter().any(|line| line.contains("card.pan: rejected by its validator card")), "{out}");
    }
}
