//! Masking at its worst: hostile texts of a mebibyte each, see `texts`. Names are `worst/<kind>`.
//!
//! `worst/rules` first scans the near-misses of every rule once and says which were the slowest, so that those need no
//! list here; a text that a limit refuses says so.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use interceptor::mask::{Engine, Error, Scanner};
use interceptor::wire::{Operation, locate};
use interceptor_benches as _;

mod texts;

/// How many of the slowest near-misses are measured.
const SLOWEST: usize = 5;
/// Levels of nesting: more than documents have, fewer than are refused.
const DEPTH: usize = 100;

fn kinds(c: &mut Criterion) {
    let mut scanner = scanner();
    for (kind, text) in texts::all() {
        measure(c, &kind, text.len(), || scan(&mut scanner, &text));
    }
}

fn rules(c: &mut Criterion) {
    let engine = Engine::builtin().expect("the built-in rules compile");
    let mut scanner = scanner();
    let mut rows: Vec<_> = texts::near_misses(&engine)
        .into_iter()
        .map(|(rule, text)| {
            let started = Instant::now();
            let _ = black_box(scan(&mut scanner, &text));
            (started.elapsed().as_secs_f64() / text.len() as f64, rule, text)
        })
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, rule, text) in rows.iter().take(SLOWEST) {
        measure(c, &format!("rules/{rule}"), text.len(), || scan(&mut scanner, text));
    }
}

/// Documents that are nothing but structure, read and scanned field by field.
fn documents(c: &mut Criterion) {
    let mut scanner = scanner();
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(DEPTH), close.repeat(DEPTH));
    let many = |item: String| vec![item.as_str(); texts::LENGTH / item.len() + 1].join(",");
    let mut quoted = "\"4111 1111 1111 1112\"".to_owned();
    for _ in 0..6 {
        quoted = serde_json::to_string(&quoted).expect("a string");
    }
    for (kind, inner) in [
        ("arrays", many(nested("[", "]"))),
        ("objects", many(nested("{\"a\":", "}"))),
        ("strings in strings", many(quoted)),
        ("empty strings", many("\"\"".into())),
        ("numbers", many("4111111111111112".into())),
    ] {
        let body = bytes::Bytes::from(format!("{{\"messages\":[{{\"role\":\"user\",\"content\":[{inner}]}}]}}"));
        measure(c, &format!("json/{kind}"), body.len(), || {
            let document = locate(Operation::ChatCompletions, &body).map_err(|e| e.to_string())?;
            scanner.scan_fields(&document.fields).map(|found| found.len()).map_err(|e| e.to_string())
        });
    }
}

fn scanner() -> Scanner {
    Engine::builtin().and_then(|engine| engine.scanner()).expect("the built-in rules compile")
}

fn scan(scanner: &mut Scanner, text: &str) -> Result<usize, Error> {
    let mut found = Vec::new();
    scanner.scan(text, &mut found).map(|()| found.len())
}

fn measure<E: std::fmt::Display>(
    c: &mut Criterion,
    kind: &str,
    bytes: usize,
    mut run: impl FnMut() -> Result<usize, E>,
) {
    if let Err(error) = run() {
        eprintln!("worst/{kind}: refused, {error}");
    }
    let mut group = c.benchmark_group("worst");
    group.throughput(Throughput::Bytes(bytes as u64)).sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group.bench_function(BenchmarkId::from_parameter(kind), |b| b.iter(|| black_box(run().is_ok())));
    group.finish();
}

criterion_group!(benches, kinds, documents, rules);
criterion_main!(benches);
