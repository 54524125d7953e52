//! `cargo xtask bench mask`: criterion's rows, and those of programs in Python over the same texts, in one table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use super::rates::Rates;
use crate::{setup, workspace};

/// The ratios are to this row.
const CEILING: &str = "hs_scan";

/// Programs in Python.
const PEERS: [&str; 2] = ["presidio", "detect-secrets"];

/// For each of their figures.
const SECONDS: &str = "5";

/// Measures what `filter` names, and prints the table. A program that cannot be measured is an error, after the table.
pub(super) fn run(filter: &str) -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
    let (texts, home) = (target.join("bench-texts"), target.join("criterion"));
    fs::create_dir_all(&texts).with_context(|| format!("cannot make {}", texts.display()))?;
    let begun = SystemTime::now();
    let mut command = workspace::cargo();
    command.args(["bench", "--package", "interceptor-benches", "--bench", "mask", "--", filter]);
    workspace::run_visibly(command.env("MASK_TEXTS", &texts).env("CRITERION_HOME", &home))?;
    let mut rates = read(&home, begun)?;
    let compared = compare(&texts, &mut rates);
    println!("\nGB/s on one core, and in brackets the part of {CEILING}:\n");
    println!("{}", rates.table(CEILING));
    compared
}

/// What criterion has measured since `begun`, in that order.
fn read(home: &Path, begun: SystemTime) -> Result<Rates> {
    let mut files = Vec::new();
    for group in fs::read_dir(home).with_context(|| format!("no results of criterion in {}", home.display()))? {
        for row in fs::read_dir(group?.path()).into_iter().flatten() {
            let file = row?.path().join("new/estimates.json");
            let written = fs::metadata(&file).and_then(|metadata| metadata.modified()).ok();
            files.extend(written.filter(|written| *written >= begun).map(|written| (written, file)));
        }
    }
    files.sort();
    let mut rates = Rates::default();
    for (_, file) in files {
        let (estimates, row) = (json(&file)?, json(&file.with_file_name("benchmark.json"))?);
        let nanoseconds = estimates["median"]["point_estimate"].as_f64();
        let rate = row["throughput"]["Bytes"].as_f64().zip(nanoseconds).map(|(bytes, time)| bytes / time);
        let text = row["group_id"].as_str().and_then(|group| group.strip_prefix("mask/"));
        let (Some(rate), Some(text), Some(engine)) = (rate, text, row["function_id"].as_str()) else {
            anyhow::bail!("{} is not what criterion is known to write", file.display());
        };
        rates.add(engine, text, Some(rate));
    }
    Ok(rates)
}

fn json(file: &Path) -> Result<Value> {
    let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", file.display()))
}

/// Adds the rows of the programs in Python; those that could not be measured have no figures.
fn compare(texts: &Path, rates: &mut Rates) -> Result<()> {
    let columns = rates.texts().to_vec();
    let python = setup::peers();
    let mut result = Ok(());
    for peer in PEERS {
        let measured = match &python {
            Ok(python) => measure(python, peer, texts, &columns),
            Err(_) => Ok(Map::new()),
        };
        let measured = measured.unwrap_or_else(|error| {
            let remedy = "if its packages are damaged, remove target/clients/peers to have them installed again";
            result = Err(error.context(format!("{peer} could not be measured; {remedy}")));
            Map::new()
        });
        for text in &columns {
            rates.add(peer, text, measured.get(text).and_then(Value::as_f64).map(|rate| rate / 1e9));
        }
    }
    python.and(result)
}

/// Bytes a second for each text.
fn measure(python: &Path, peer: &str, texts: &Path, columns: &[String]) -> Result<Map<String, Value>> {
    eprintln!("{peer}: {} texts, {SECONDS} s each", columns.len());
    let files = columns.iter().map(|text| texts.join(text).with_extension("json"));
    let mut command = Command::new(python);
    command.arg(workspace::root().join("benches/mask/peers/measure.py")).args([peer, SECONDS]).args(files);
    let printed = workspace::output(&mut command)?;
    serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))
}
