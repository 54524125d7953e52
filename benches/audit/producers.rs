//! Leaves appended by several threads at once: as they are, sealed, and durable to loss of power.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use interceptor::audit::{BenchLeaves, Durability};

use super::{Place, SIZES, runtime};

const PRODUCERS: [usize; 3] = [1, 2, 8];
/// Appends of which each latency is kept.
const TIMED: usize = 2_000;

/// Runs `appends` calls of `append` on `threads` threads; each has a `start` of its own, which is not measured.
pub(crate) fn spread<S>(
    threads: usize,
    appends: u64,
    start: impl Fn() -> S + Sync,
    append: impl Fn(&mut S) + Sync,
) -> Duration {
    let barrier = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads as u64)
            .map(|thread| {
                let (barrier, start, append) = (&barrier, &start, &append);
                let share = appends / threads as u64 + u64::from(thread < appends % threads as u64);
                scope.spawn(move || {
                    let mut state = start();
                    barrier.wait();
                    (0..share).for_each(|_| append(&mut state));
                })
            })
            .collect();
        barrier.wait();
        let started = Instant::now();
        running.into_iter().for_each(|thread| thread.join().expect("it appends"));
        started.elapsed()
    })
}

/// As many appends as criterion asks for are too few to tell, because it counts the opening of the log: a sample is of so
/// many bytes at least, and its time that of the share asked for.
const SAMPLE: u64 = 256 << 20;

/// A log of its own for each measurement, which begins when it is open and ends before it is closed.
fn measure(place: &Place, threads: usize, appends: u64, bytes: &[u8], sealed: bool, durable: bool) -> Duration {
    let log = place.open(Durability::Process);
    let took = spread(
        threads,
        appends,
        || (runtime(), BenchLeaves::new(&log).expect("a worker")),
        |(runtime, leaves)| runtime.block_on(leaves.append(bytes, sealed, durable)).expect("recorded"),
    );
    log.close().expect("closed");
    took
}

/// In the mapping: what survives the death of the process.
pub(crate) fn appends(c: &mut Criterion) {
    let mut group = c.benchmark_group("leaf");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(3));
    group.warm_up_time(Duration::from_millis(500));
    for (name, sealed) in [("unsealed", false), ("sealed", true)] {
        for (size, threads) in SIZES.into_iter().flat_map(|size| PRODUCERS.map(|threads| (size, threads))) {
            let bytes = vec![b'x'; size];
            group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: size as u64 });
            group.bench_function(BenchmarkId::new(format!("{name}, {threads} producers"), size), |b| {
                b.iter_custom(|asked| {
                    let appends = asked.max(SAMPLE / size as u64);
                    let took = measure(&Place::in_memory(), threads, appends, &bytes, sealed, false);
                    took.mul_f64(asked as f64 / appends as f64)
                });
            });
        }
    }
    group.finish();
}

/// On the disk: what survives the loss of power, committed in groups.
pub(crate) fn durable(c: &mut Criterion) {
    let mut group = c.benchmark_group("durable leaf");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(3));
    for (size, threads) in SIZES.into_iter().flat_map(|size| PRODUCERS.map(|threads| (size, threads))) {
        let bytes = vec![b'x'; size];
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new(format!("sealed, {threads} producers"), size), |b| {
            b.iter_custom(|appends| measure(&Place::new(), threads, appends, &bytes, true, true));
        });
    }
    group.finish();
}

/// How long single appends take to be durable. Criterion tells means; here it is the slowest that matter.
pub(crate) fn print_latencies() {
    if std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    for (size, threads) in SIZES.into_iter().flat_map(|size| PRODUCERS.map(|threads| (size, threads))) {
        let (place, bytes) = (Place::new(), vec![b'x'; size]);
        let log = place.open(Durability::Power);
        let all = std::sync::Mutex::new(Vec::new());
        spread(
            threads,
            TIMED as u64,
            || (runtime(), BenchLeaves::new(&log).expect("a worker")),
            |(runtime, leaves)| {
                let started = Instant::now();
                runtime.block_on(leaves.append(&bytes, true, true)).expect("recorded");
                let took = started.elapsed();
                all.lock().expect("not poisoned").push(took);
            },
        );
        log.close().expect("closed");
        let mut all = all.into_inner().expect("not poisoned");
        all.sort();
        let at = |part: usize| all[(all.len() - 1) * part / 1000];
        eprintln!(
            "durable leaf of {size} bytes, {threads} producers: p50 {:?}, p99 {:?}, max {:?}",
            at(500),
            at(990),
            at(1000)
        );
    }
}
