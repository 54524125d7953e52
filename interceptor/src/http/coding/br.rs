//! `br` (RFC 7932).

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, HeapAlloc, HuffmanCode};

use super::decoder::Step;
use super::{Coding, CodingError};

type Stream = BrotliState<HeapAlloc<u8>, HeapAlloc<u32>, HeapAlloc<HuffmanCode>>;

pub(super) struct Br {
    stream: Stream,
    ended: bool,
    watch: bool,
    extended: bool,
}

/// How much a watchful decoder reads at once. Metadata (RFC 7932, 9.2) shows only between two reads, so a run of it that
/// is longer than this cannot hide.
const WATCHED: usize = 8;

impl Default for Br {
    fn default() -> Self {
        // Strict: without the larger windows that are no part of the RFC. The largest left is 16 MiB.
        let stream = BrotliState::new_strict(HeapAlloc::default(), HeapAlloc::default(), HeapAlloc::default());
        Self { stream, ended: false, watch: false, extended: false }
    }
}

impl Br {
    /// Notices metadata, at the price of speed.
    pub(super) fn watch(&mut self) {
        self.watch = true;
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        if self.ended {
            return if input.is_empty() {
                Ok(Step::default())
            } else {
                Err(CodingError::Trailing { coding: Coding::Br })
            };
        }
        let mut step = Step::default();
        loop {
            let more = if self.watch { (input.len() - step.read).min(WATCHED) } else { input.len() - step.read };
            let result = self.read(&input[..step.read + more], output, &mut step)?;
            let stuck = step.read == input.len() || step.written == output.len();
            if stuck || !matches!(result, BrotliResult::NeedsMoreInput) {
                return Ok(step);
            }
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.ended
    }

    /// Whether there was metadata. Only a watchful decoder knows.
    pub(super) fn is_extended(&self) -> bool {
        self.extended
    }

    fn read(&mut self, input: &[u8], output: &mut [u8], step: &mut Step) -> Result<BrotliResult, CodingError> {
        let (mut available_in, mut available_out) = (input.len() - step.read, output.len() - step.written);
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut step.read,
            input,
            &mut available_out,
            &mut step.written,
            output,
            &mut 0,
            &mut self.stream,
        );
        self.extended |= self.stream.is_metadata != 0 && self.stream.meta_block_remaining_len > 0;
        match result {
            BrotliResult::ResultFailure => {
                Err(CodingError::Corrupt { coding: Coding::Br, reason: "the data is damaged" })
            }
            result => {
                self.ended |= matches!(result, BrotliResult::ResultSuccess);
                Ok(result)
            }
        }
    }
}

impl std::fmt::Debug for Br {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Br").field("ended", &self.ended).finish_non_exhaustive()
    }
}
