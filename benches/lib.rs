//! Criterion benchmarks live in `benches/`; this half holds what they share: the allocator of the program.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
