//! Masking against what bounds it and against what else could find values, in one group for each kind of text.
//!
//! | row | what is measured |
//! |---|---|
//! | `memory_read` | reading such pieces from memory, word by word |
//! | `hs_scan` | Hyperscan alone over the same database: the ceiling |
//! | `scan` | with the digit gate, verification and context |
//! | `decode` | finding the text in the body of a request |
//! | `mask` | from the body of a request as it arrives to the body as it leaves: decode, scan, verify, patch |
//! | `stream` | text that arrives in such pieces, and goes on as soon as it is settled |
//! | `regex_set`, `aho_corasick` | see `peers` |
//!
//! `scan` and `hs_scan` are measured by turns besides. `cargo xtask bench mask` puts the rows, and programs that are no
//! Rust, into one table.

mod peers;
mod processor;
mod text;
mod turns;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use interceptor::flow::{Action, ExchangeId};
use interceptor::mask::{Engine, Orders, Scanner, Stream, TokenKey, rewrite};
use interceptor::wire::{Document, Operation, locate_as};
use interceptor_benches as _;

use peers::{Literals, Set};
use processor::ProcessorTime;
use text::{KINDS, Kind};

/// Where the texts are to be written for others.
const TEXTS: &str = "MASK_TEXTS";

/// The text so many times is more than any cache holds.
const BEYOND_CACHES: usize = 32;

type Group<'c> = BenchmarkGroup<'c, ProcessorTime>;

fn main() {
    if let Some(directory) = std::env::var_os(TEXTS) {
        KINDS.iter().for_each(|kind| kind.write(Path::new(&directory)));
    }
    let engine = Engine::builtin().expect("the built-in rules compile");
    turns::compare(&engine, &KINDS);
    let (set, literals) = (Set::new(&engine), Literals::new(&engine));
    let mut criterion = Criterion::default()
        .with_measurement(ProcessorTime)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    for kind in &KINDS {
        compare(&mut criterion, kind, &engine, &set, &literals);
    }
    criterion.final_summary();
}

fn compare(
    criterion: &mut Criterion<ProcessorTime>,
    kind: &Kind,
    engine: &Arc<Engine>,
    set: &Set,
    literals: &Literals,
) {
    let text = kind.text();
    let pieces = text::pieces(&text, kind.piece);
    let mut scanner = engine.scanner().expect("memory for a scanner");
    let mut group = criterion.benchmark_group(format!("mask/{}", kind.name));
    group.sampling_mode(SamplingMode::Flat);
    row(&mut group, "memory_read", &text::pieces(&text.repeat(BEYOND_CACHES), kind.piece), |piece| read(piece));
    row(&mut group, "hs_scan", &pieces, |piece| scanner.match_only(piece).expect("a scan"));
    let mut found = Vec::new();
    row(&mut group, "scan", &pieces, |piece| {
        found.clear();
        scanner.scan(piece, &mut found).expect("a scan");
        found.len()
    });
    let bodies: Vec<Bytes> = pieces.iter().map(|piece| text::request(piece)).collect();
    let key = TokenKey::from_bytes([7; 32]);
    row(&mut group, "decode", &bodies, |body| decode(body).text_bytes);
    row(&mut group, "mask", &bodies, |body| mask(&mut scanner, &key, body));
    if kind.is_stream {
        stream(&mut group, &pieces, &mut scanner);
    }
    row(&mut group, "regex_set", &pieces, |piece| set.count(piece));
    row(&mut group, "aho_corasick", &pieces, |piece| literals.count(piece));
    group.finish();
}

/// One row of the table: `work` done on each of `inputs`.
fn row<I: AsRef<[u8]>, T>(group: &mut Group<'_>, name: &str, inputs: &[I], mut work: impl FnMut(&I) -> T) {
    let bytes: usize = inputs.iter().map(|input| input.as_ref().len()).sum();
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            for input in inputs {
                black_box(work(input));
            }
        });
    });
}

/// All pieces are one text, as the pieces of an answer are.
fn stream(group: &mut Group<'_>, pieces: &[&str], scanner: &mut Scanner) {
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("stream", |bencher| {
        bencher.iter(|| {
            let mut stream = Stream::default();
            for piece in pieces {
                black_box(stream.push(scanner, piece).expect("a scan"));
            }
            stream.finish(scanner).expect("a scan")
        });
    });
}

fn read(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks();
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add((*byte).into()))
}

fn decode(body: &[u8]) -> Document<'_> {
    locate_as(Operation::ChatCompletions, Some("application/json"), body).expect("JSON")
}

/// What the daemon does with a body, but for policy and the record.
fn mask(scanner: &mut Scanner, key: &TokenKey, body: &Bytes) -> Bytes {
    let document = decode(body);
    let found = scanner.scan_fields(&document.fields).expect("a scan");
    let actions = vec![Action::Mask; found.len()];
    let orders = Orders { actions: &actions, restore: &[] };
    let masked = rewrite(ExchangeId::new(), body.clone(), &document.fields, &found, orders, key, scanner);
    masked.expect("a rewrite").body().clone()
}
