//! Compression of messages (RFC 7692, section 7.2.1).

use flate2::{Compress, Compression, FlushCompress};

use super::inflate::TAIL;

/// A compressor of our own, whose output takes the place of the client's.
#[derive(Debug)]
pub(super) struct Deflater {
    stream: Option<Compress>,
    window_bits: u8,
    takeover: bool,
}

impl Deflater {
    pub(super) fn new(window_bits: u8, takeover: bool) -> Self {
        Self { stream: None, window_bits, takeover }
    }

    /// The payload of a message with `content`.
    pub(super) fn compress(&mut self, content: &[u8]) -> Vec<u8> {
        // Of nothing new a compressor makes nothing, but an empty block is needed (RFC 7692, 7.2.3.6).
        if content.is_empty() {
            return vec![0];
        }
        let window_bits = self.window_bits;
        let stream = self.stream.get_or_insert_with(|| stream(window_bits));
        let start = stream.total_in();
        let mut out = Vec::with_capacity(content.len() / 2 + 64);
        loop {
            let taken = (stream.total_in() - start) as usize;
            let before = out.len();
            // It fails on misuse only, and then has made no progress.
            let _ = stream.compress_vec(&content[taken..], &mut out, FlushCompress::Sync);
            let done = (stream.total_in() - start) as usize == content.len();
            if done && (out.len() < out.capacity() || out.len() == before) {
                break;
            }
            out.reserve(out.capacity().max(64));
        }
        debug_assert!(out.ends_with(&TAIL), "a flush ends with an empty block");
        out.truncate(out.len() - TAIL.len());
        if !self.takeover {
            stream.reset();
        }
        out
    }
}

/// No compressor looks back less than 2^9 bytes, so for a window of 2^8 bytes it must not look back at all.
fn stream(window_bits: u8) -> Compress {
    let level = if window_bits < 9 { Compression::none() } else { Compression::default() };
    Compress::new_with_window_bits(level, false, window_bits.max(9))
}
