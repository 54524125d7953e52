//! Criterion benchmarks live in `benches/`; this half holds the inputs they share.
