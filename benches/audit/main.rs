//! Appending to the audit log, beside what the machine can do at best: memcpy, CRC-32C, SHA-256 and a bare msync of the same
//! bytes, in the same run.

#[cfg(feature = "peers")]
mod peers;
mod producers;

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use interceptor::audit::{
    AuditorSecret, Completion, Durability, Exchange, Log, Outgoing, Record, SEGMENT_BYTES, Settings, Worker,
};
use interceptor::flow::ExchangeId;
use interceptor_benches as _;
use tokio::runtime::Runtime;

const SIZES: [usize; 2] = [1024, 10 * 1024];
const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\n\r\n";

/// A log in a directory below `target`, which is on a disk and not in memory as /tmp may be.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        Self { dir: tempfile::tempdir_in(target).expect("a directory below target") }
    }

    /// In memory, where that is to be had: for what does not wait for the disk, so that writing back does not count.
    fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self { dir: tempfile::tempdir_in(memory).expect("memory") } } else { Self::new() }
    }

    fn open(&self, durability: Durability) -> Log {
        Log::open(Settings {
            dir: self.dir.path().join("audit"),
            keys: self.dir.path().join("keys"),
            host: "bench".into(),
            durability,
            auditors: vec![AuditorSecret::generate().public()],
            threshold: 1,
            segment_bytes: SEGMENT_BYTES,
            accept_missing_checkpoint: false,
        })
        .expect("the log opens")
    }

    /// Segments that are full, removed so that a long run does not fill the disk.
    fn prune(&self) {
        let mut full: Vec<_> = std::fs::read_dir(self.dir.path().join("audit"))
            .expect("the log's directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|e| e == "alog"))
            .collect();
        full.sort();
        full.pop();
        for path in full {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn begin(runtime: &Runtime, worker: &mut Worker, body: &[u8]) -> Exchange {
    let record = Record::new(ExchangeId::new());
    runtime.block_on(worker.begin(record, body, Outgoing { head: HEAD, body })).expect("recorded").0
}

fn limits(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit");
    for size in SIZES {
        let bytes = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        let mut target = vec![0; size];
        group.bench_function(BenchmarkId::new("memcpy", size), |b| {
            b.iter(|| black_box(&mut target).copy_from_slice(black_box(&bytes)));
        });
        group.bench_function(BenchmarkId::new("crc32c", size), |b| b.iter(|| crc32c::crc32c(black_box(&bytes))));
        // No leaf is faster: it holds the digest of its content.
        group.bench_function(BenchmarkId::new("sha256", size), |b| b.iter(|| digest(&SHA256, black_box(&bytes))));
    }
    group.finish();
}

/// What a bare msync costs: one dirty range in a preallocated mapped file.
fn bare_msync(c: &mut Criterion) {
    let place = Place::new();
    let path = place.dir.path().join("bare");
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
    file.write_all_at(&vec![0; 64 << 20], 0).and_then(|()| file.sync_all()).expect("allocated");
    let map = memmap2::MmapRaw::map_raw(&file).expect("mapped");
    let mut group = c.benchmark_group("limit");
    for size in SIZES {
        // Head, original and body: what `begin` writes for a body of this size.
        let bytes = vec![b'x'; 2 * size + 1024];
        let mut at = 0;
        group.bench_function(BenchmarkId::new("msync", size), |b| {
            b.iter(|| {
                at = if at + 2 * bytes.len() > map.len() { 0 } else { at + bytes.len() };
                file.write_all_at(&bytes, at as u64).expect("written");
                map.flush_range(at, bytes.len()).expect("synced");
            });
        });
    }
    group.finish();
}

/// A leaf that is not sealed: serialised, hashed, copied.
fn note(c: &mut Criterion) {
    let place = Place::new();
    let log = place.open(Durability::Process);
    let mut group = c.benchmark_group("append");
    for size in SIZES {
        let text = "x".repeat(size);
        group.throughput(Throughput::Bytes(size as u64));
        let mut count = 0_u64;
        group.bench_function(BenchmarkId::new("unsealed leaf, process", size), |b| {
            b.iter(|| {
                log.note(black_box(&text)).expect("recorded");
                count += 1;
                if count.is_multiple_of(16_384) {
                    place.prune();
                }
            });
        });
    }
    group.finish();
    log.close().expect("closed");
}

/// A part of a response: one frame, sealed, at `process` level.
fn chunk(c: &mut Criterion) {
    let place = Place::new();
    let log = place.open(Durability::Process);
    let (runtime, mut worker) = (runtime(), log.worker().expect("a worker"));
    let mut group = c.benchmark_group("append");
    for size in SIZES {
        let bytes = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        let mut exchange = begin(&runtime, &mut worker, b"{}");
        let mut count = 0_u64;
        group.bench_function(BenchmarkId::new("sealed part, process", size), |b| {
            b.iter(|| {
                runtime.block_on(exchange.chunk(black_box(&bytes))).expect("recorded");
                count += 1;
                if count.is_multiple_of(16_384) {
                    place.prune();
                }
            });
        });
        let end = Completion::default();
        let durable = runtime.block_on(exchange.complete(&end)).expect("recorded");
        runtime.block_on(durable).expect("recorded");
    }
    group.finish();
    log.close().expect("closed");
}

/// A whole exchange: two leaves, original sealed and masked request stored.
fn exchange(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for (name, durability) in [("request and end, process", Durability::Process), ("request, power", Durability::Power)]
    {
        let place = Place::new();
        let log = place.open(durability);
        let (runtime, mut worker) = (runtime(), log.worker().expect("a worker"));
        for size in SIZES {
            let bytes = vec![b'x'; size];
            group.throughput(Throughput::Bytes(size as u64));
            let (mut open, end) = (Vec::new(), Completion::default());
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    let exchange = begin(&runtime, &mut worker, black_box(&bytes));
                    match durability {
                        Durability::Process => {
                            let durable = runtime.block_on(exchange.complete(&end)).expect("recorded");
                            runtime.block_on(durable).expect("recorded");
                        }
                        // Its end would be a second commit.
                        Durability::Power => open.push(exchange),
                    }
                });
            });
            open.clear();
            place.prune();
        }
        log.close().expect("closed");
    }
    group.finish();
}

/// Other logs, which are built only to be measured.
fn others(criterion: &mut Criterion) {
    #[cfg(feature = "peers")]
    peers::others(criterion);
    #[cfg(not(feature = "peers"))]
    let _ = criterion;
}

criterion_group!(benches, limits, bare_msync, note, chunk, exchange, producers::appends, producers::durable, others);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    producers::print_latencies();
}
