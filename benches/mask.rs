//! Masking: scan and rewrite against Hyperscan alone over the same database, in one group for each kind of text.
//!
//! `clean/*`: chat text without findings, in pieces of the size named. `dirty/*`: a finding every 200 bytes.
//! `hs_scan` is the ceiling; `scan` adds the digit gate and verification; `mask` also patches the body.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use interceptor::flow::{Access, Action, ExchangeId, Field, Form, OffsetMap};
use interceptor::mask::{Engine, Orders, Scanner, TokenKey, rewrite};

/// Text enough that caches do not hold all of it for the larger pieces.
const TOTAL: usize = 4 << 20;

fn clean(c: &mut Criterion) {
    let text = chat(TOTAL, None);
    for piece in [100 << 10, 10 << 10, 1448, 256] {
        compare(c, &format!("mask/clean/{piece}"), &text, piece);
    }
}

fn dirty(c: &mut Criterion) {
    let text = chat(TOTAL, Some(200));
    for piece in [100 << 10, 10 << 10] {
        compare(c, &format!("mask/dirty/{piece}"), &text, piece);
    }
}

fn compare(c: &mut Criterion, name: &str, text: &str, piece: usize) {
    let mut scanner = Engine::builtin().and_then(|engine| engine.scanner()).expect("the built-in rules compile");
    let pieces: Vec<&str> = pieces(text, piece);
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes as u64)).sample_size(10);
    group.bench_function(BenchmarkId::from_parameter("hs_scan"), |b| {
        b.iter(|| pieces.iter().map(|piece| scanner.match_only(piece).expect("a scan")).sum::<usize>());
    });
    let mut found = Vec::new();
    group.bench_function(BenchmarkId::from_parameter("scan"), |b| {
        b.iter(|| {
            for piece in &pieces {
                found.clear();
                scanner.scan(piece, &mut found).expect("a scan");
                black_box(&found);
            }
        });
    });
    let key = TokenKey::from_bytes([7; 32]);
    group.bench_function(BenchmarkId::from_parameter("mask"), |b| {
        b.iter(|| pieces.iter().map(|piece| mask(&mut scanner, &key, piece)).sum::<usize>());
    });
    group.finish();
}

fn mask(scanner: &mut Scanner, key: &TokenKey, text: &str) -> usize {
    let fields = [Field {
        path: String::new(),
        text: text.into(),
        map: OffsetMap::identity(0, text.len()),
        form: Form::String { depth: 0 },
        access: Access::Editable,
        name: None,
    }];
    let found = scanner.scan_fields(&fields).expect("a scan");
    let actions = vec![Action::Mask; found.len()];
    let body = bytes::Bytes::copy_from_slice(text.as_bytes());
    let orders = Orders { actions: &actions, restore: &[] };
    rewrite(ExchangeId::new(), body, &fields, &found, orders, key, scanner).expect("a rewrite").body().len()
}

fn pieces(text: &str, size: usize) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while rest.len() > size {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(size));
        out.push(piece);
        rest = tail;
    }
    out
}

/// Chat as people and programs write it: prose, numbers, lists, code. With `every`, a value of some kind about every so
/// many bytes.
fn chat(len: usize, every: Option<usize>) -> String {
    const SENTENCES: &[&str] = &[
        "Could you explain why the second query is so much slower than the first one? ",
        "In 2021 we moved 14 services to the new cluster, and since then the nightly job takes 35 minutes. ",
        "I think that the token budget of 4096 is too small for this conversation; please summarise it. ",
        "Here is the function:\n\n```python\ndef mean(values: list[float]) -> float:\n    total = 0.0\n    for value in values:\n        total += value\n    return total / len(values)\n```\n\n",
        "The password dialog appears twice: once at 09:15 and again when the session times out. ",
        "1. Check that the disk has space.\n2. Restart the service.\n3. Look at the log.\n\n",
        "Das Modell antwortet auf Deutsch, wenn die Frage auf Deutsch gestellt wird – das ist erwünscht. ",
        "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\", \"days\": 3}}\n",
        "My daughter is reading a book about volcanoes, and she wants to know how hot lava is. ",
        "let items = input.iter().filter(|item| item.is_ready()).collect::<Vec<_>>();\n",
        "She paid $1,299.00 for it, which is 15% less than last year. ",
        "error[E0308]: mismatched types\n --> src/main.rs:42:17\n  |\n42 |     let x: u32 = \"five\";\n",
    ];
    const VALUES: &[&str] = &[
        "jane.doe@corp.example",
        "4111 1111 1111 1111",
        "AKIAIOSFODNN7EXAMPLE",
        "+44 20 7946 0958",
        "536-90-4399",
        "203.0.113.77",
        "postgres://app:s3cr3t@db.corp.example:5432/main",
        "DE89 3704 0044 0532 0130 00",
    ];
    let mut text = String::with_capacity(len + 256);
    let mut state = 1u64;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut last = 0;
    while text.len() < len {
        text.push_str(SENTENCES[next(SENTENCES.len())]);
        if every.is_some_and(|every| text.len() - last >= every) {
            text.push_str(VALUES[next(VALUES.len())]);
            text.push_str(". ");
            last = text.len();
        }
    }
    text
}

criterion_group!(benches, clean, dirty);
criterion_main!(benches);
