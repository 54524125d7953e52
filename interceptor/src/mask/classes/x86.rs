//! The classes of bytes on x86: the halves of a byte are looked up, and what both allow is its class.

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{__m128i, _mm_loadu_si128};

use super::{BLOCK, Block};

const DIGIT: u8 = 1;
const SMALL: [u8; 2] = [1 << 1, 1 << 2];
const CAPITAL: [u8; 2] = [1 << 3, 1 << 4];
const SIGN: u8 = 1 << 5;
const UNDERSCORE: u8 = 1 << 6;
const EQUALS: u8 = 1 << 7;

/// What a byte may be whose upper half is the index: rows of the ASCII table. What is not ASCII has a row without classes.
const ROWS: [u8; 16] = {
    let mut rows = [0; 16];
    rows[2] = SIGN;
    rows[3] = DIGIT | EQUALS;
    rows[4] = CAPITAL[0];
    rows[5] = CAPITAL[1] | UNDERSCORE;
    rows[6] = SMALL[0];
    rows[7] = SMALL[1];
    rows
};
/// What a byte may be whose lower half is the index: columns.
const COLUMNS: [u8; 16] = {
    let mut columns = [0; 16];
    let mut i = 0;
    while i < 16 {
        let first = if i > 0 { SMALL[0] | CAPITAL[0] } else { 0 };
        let second = if i < 11 { SMALL[1] | CAPITAL[1] } else { 0 };
        columns[i] = first | second | if i < 10 { DIGIT } else { 0 };
        i += 1;
    }
    columns[0xb] |= SIGN;
    columns[0xd] |= SIGN | EQUALS;
    columns[0xf] |= SIGN | UNDERSCORE;
    columns
};

/// Reads blocks of `text` into as many of `blocks`, if the processor can.
pub(super) fn read(text: &[[u8; BLOCK]], blocks: &mut [Block]) -> bool {
    if is_x86_feature_detected!("avx512bw") {
        // SAFETY: the processor was asked for what the function is compiled for.
        #[expect(unsafe_code, reason = "only a function that the processor was asked about is called")]
        unsafe {
            avx512::read(text, blocks);
        }
        return true;
    }
    if is_x86_feature_detected!("avx2") {
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "only a function that the processor was asked about is called")]
        unsafe {
            avx2::read(text, blocks);
        }
        return true;
    }
    false
}

/// A table of sixteen bytes. Wider registers have it in each of their lanes.
fn table(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: 16 bytes are read of 16, the instruction needs no alignment, and every x86-64 has it.
    #[expect(unsafe_code, reason = "vectors are loaded through pointers")]
    unsafe {
        _mm_loadu_si128(bytes.as_ptr().cast())
    }
}

mod avx512 {
    //! 64 bytes at a time, with a bit for each right from the comparison.

    use std::arch::x86_64::{
        __m512i, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_cmpeq_epi8_mask, _mm512_loadu_si512,
        _mm512_movepi8_mask, _mm512_set1_epi8, _mm512_shuffle_epi8, _mm512_srli_epi16, _mm512_test_epi8_mask,
    };

    use super::{BLOCK, Block, CAPITAL, COLUMNS, DIGIT, EQUALS, ROWS, SIGN, SMALL, UNDERSCORE, table};

    #[target_feature(enable = "avx512bw")]
    fn read_block(text: &[u8; BLOCK], [rows, columns]: [__m512i; 2]) -> Block {
        // SAFETY: 64 bytes are read of 64, and the instruction needs no alignment.
        #[expect(unsafe_code, reason = "vectors are loaded through pointers")]
        let bytes = unsafe { _mm512_loadu_si512(text.as_ptr().cast()) };
        let half = _mm512_set1_epi8(0xf);
        let low = _mm512_shuffle_epi8(columns, _mm512_and_si512(bytes, half));
        let high = _mm512_shuffle_epi8(rows, _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), half));
        let classes = _mm512_and_si512(low, high);
        let bits = |class: u8| _mm512_test_epi8_mask(classes, _mm512_set1_epi8(class.cast_signed()));
        let is = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()));
        Block {
            digits: bits(DIGIT),
            small: bits(SMALL[0] | SMALL[1]),
            capital: bits(CAPITAL[0] | CAPITAL[1]),
            signs: bits(SIGN | UNDERSCORE),
            equals: bits(EQUALS),
            marks: is(b'%') | is(b'&') | is(b'\\'),
            joints: is(b':') | is(b'-') | is(b'.'),
            outside: _mm512_movepi8_mask(bytes),
        }
    }

    #[target_feature(enable = "avx512bw")]
    pub(super) fn read(text: &[[u8; BLOCK]], blocks: &mut [Block]) {
        let tables = [&ROWS, &COLUMNS].map(|bytes| _mm512_broadcast_i32x4(table(bytes)));
        for (block, text) in blocks.iter_mut().zip(text) {
            *block = read_block(text, tables);
        }
    }
}

mod avx2 {
    //! Twice 32 bytes at a time.

    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256,
        _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
    };

    use super::{BLOCK, Block, CAPITAL, COLUMNS, DIGIT, EQUALS, ROWS, SIGN, SMALL, UNDERSCORE, table};

    #[target_feature(enable = "avx2")]
    fn classes(bytes: __m256i, [rows, columns]: [__m256i; 2]) -> __m256i {
        let half = _mm256_set1_epi8(0xf);
        let low = _mm256_shuffle_epi8(columns, _mm256_and_si256(bytes, half));
        let high = _mm256_shuffle_epi8(rows, _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), half));
        _mm256_and_si256(low, high)
    }

    /// The highest bit of each byte.
    #[target_feature(enable = "avx2")]
    fn tops(low: __m256i, high: __m256i) -> u64 {
        let bits = |half| u64::from(_mm256_movemask_epi8(half).cast_unsigned());
        bits(high) << 32 | bits(low)
    }

    #[target_feature(enable = "avx2")]
    fn bits(low: __m256i, high: __m256i, class: u8) -> u64 {
        let class = _mm256_set1_epi8(class.cast_signed());
        let lacks = |half| _mm256_cmpeq_epi8(_mm256_and_si256(half, class), _mm256_setzero_si256());
        !tops(lacks(low), lacks(high))
    }

    #[target_feature(enable = "avx2")]
    fn is(low: __m256i, high: __m256i, byte: u8) -> u64 {
        let byte = _mm256_set1_epi8(byte.cast_signed());
        tops(_mm256_cmpeq_epi8(low, byte), _mm256_cmpeq_epi8(high, byte))
    }

    #[target_feature(enable = "avx2")]
    fn read_block(text: &[u8; BLOCK], tables: [__m256i; 2]) -> Block {
        let pointer = text.as_ptr().cast::<__m256i>();
        // SAFETY: twice 32 bytes are read of 64, and the instruction needs no alignment.
        #[expect(unsafe_code, reason = "vectors are loaded through pointers")]
        let (first, second) = unsafe { (_mm256_loadu_si256(pointer), _mm256_loadu_si256(pointer.add(1))) };
        let (low, high) = (classes(first, tables), classes(second, tables));
        Block {
            digits: bits(low, high, DIGIT),
            small: bits(low, high, SMALL[0] | SMALL[1]),
            capital: bits(low, high, CAPITAL[0] | CAPITAL[1]),
            signs: bits(low, high, SIGN | UNDERSCORE),
            equals: bits(low, high, EQUALS),
            marks: is(first, second, b'%') | is(first, second, b'&') | is(first, second, b'\\'),
            joints: is(first, second, b':') | is(first, second, b'-') | is(first, second, b'.'),
            outside: tops(first, second),
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn read(text: &[[u8; BLOCK]], blocks: &mut [Block]) {
        let tables = [&ROWS, &COLUMNS].map(|bytes| _mm256_broadcastsi128_si256(table(bytes)));
        for (block, text) in blocks.iter_mut().zip(text) {
            *block = read_block(text, tables);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is right for the processor at hand, whichever way it is read there.
    pub(in super::super) fn every_way_tells(text: &[u8; BLOCK], expected: Block) {
        let mut blocks = [expected; 2];
        let [first, second] = &mut blocks;
        if is_x86_feature_detected!("avx512bw") {
            // SAFETY: the processor was asked.
            #[expect(unsafe_code, reason = "only a function that the processor was asked about is called")]
            unsafe {
                avx512::read(&[*text], std::slice::from_mut(first));
            }
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was asked.
            #[expect(unsafe_code, reason = "only a function that the processor was asked about is called")]
            unsafe {
                avx2::read(&[*text], std::slice::from_mut(second));
            }
        }
        assert!(blocks.iter().all(|block| *block == expected), "{blocks:?} of {text:?}");
    }
}
