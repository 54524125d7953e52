use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd];
const LIMIT: u64 = 1 << 20;

fn codings(names: &str) -> Codings {
    Codings::parse(std::iter::once(names.as_bytes())).unwrap()
}

fn decode(names: &str, body: &[u8]) -> Result<Decoded, CodingError> {
    codings(names).decode(body, LIMIT, |_| true)
}

fn content(names: &str, body: &[u8]) -> Vec<u8> {
    decode(names, body).unwrap().content.to_vec()
}

/// A gzip member with the optional fields that `flags` names, which are in `optional`.
fn member(flags: u8, optional: &[u8], text: &[u8]) -> Vec<u8> {
    let whole = codings("gzip").encode(text).unwrap();
    [&whole[..3], &[flags], &whole[4..10], optional, &whole[10..]].concat()
}

/// Bare deflated data (RFC 1951).
fn bare(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    Compress::new(Compression::fast(), false).compress_vec(text, &mut out, FlushCompress::Finish).unwrap();
    out
}

#[test]
fn content_encoding_is_read_as_the_rfc_says() {
    let parse = |values: &[&str]| Codings::parse(values.iter().map(|value| value.as_bytes()));
    assert!(parse(&[]).unwrap().is_identity());
    assert!(parse(&["identity", " , Identity"]).unwrap().is_identity());
    assert_eq!(parse(&["GZIP"]).unwrap().0, [Coding::Gzip]);
    assert_eq!(parse(&["x-gzip, br", "zstd"]).unwrap().0, [Coding::Gzip, Coding::Br, Coding::Zstd]);
    assert_eq!(parse(&["deflate,,\tbr ,"]).unwrap().0, [Coding::Deflate, Coding::Br]);
    assert_eq!(parse(&["gzip, gzip, gzip, gzip"]), Err(CodingError::TooMany { limit: 3 }));
}

#[test]
fn an_unknown_coding_is_named_if_it_is_a_name() {
    let message = |value: &[u8]| Codings::parse(std::iter::once(value)).unwrap_err().to_string();
    assert!(message(b"gzip, compress").starts_with("the content coding \"compress\" is not known; send the body with"));
    for value in ["gzip;q=1", "gz\u{e9}p", "a b", &"a".repeat(33)] {
        assert!(message(value.as_bytes()).starts_with("the content coding (not a token)"), "{value}");
    }
}

#[test]
fn what_is_encoded_decodes_to_itself() {
    let text = b"data: {\"a\":\"b\"}\n\n".repeat(5_000);
    for coding in ALL {
        let codings = Codings(vec![coding]);
        let encoded = codings.encode(&text).unwrap();
        assert!(encoded.len() < text.len() / 10, "{coding}");
        let decoded = codings.decode(&encoded, LIMIT, |_| true).unwrap();
        assert!(decoded.content == text && !decoded.extended, "{coding}");
    }
    let stacked = codings("gzip, br, zstd");
    assert_eq!(content("gzip, br, zstd", &stacked.encode(&text).unwrap()), text);
    assert_ne!(
        decode("zstd, br, gzip", &stacked.encode(&text).unwrap()).map(|decoded| decoded.content),
        Ok(text.into())
    );
}

#[test]
fn a_body_without_a_coding_is_as_it_is() {
    let decoded = decode("", b"abc").unwrap();
    assert_eq!((&decoded.content[..], decoded.extended), (&b"abc"[..], false));
    assert_eq!(&Codings::default().encode(b"abc").unwrap()[..], b"abc");
}

#[test]
fn an_empty_body_is_empty_whatever_its_coding() {
    for names in ["", "gzip", "deflate", "br", "zstd", "gzip, zstd"] {
        assert_eq!(content(names, b""), b"");
        assert_eq!(content(names, &codings(names).encode(b"").unwrap()), b"");
    }
    let inner_empty = codings("zstd").encode(b"").unwrap();
    assert_eq!(content("gzip, zstd", &inner_empty), b"", "nothing, gzipped or not, and then zstd");
}

#[test]
fn bodies_that_others_made_are_read() {
    let bodies = [
        ("gzip", "1f8b0800000000000003cb48cdc9c957c840905c003b7c8adf12000000"),
        ("deflate", "789ccb48cdc9c957c840905c0040b50687"),
        ("deflate", "cb48cdc9c957c840905c00"),
        ("br", "8b088068656c6c6f2068656c6c6f2068656c6c6f0a03"),
        ("zstd", "28b52ffd04586d00003868656c6c6f200a0100314a11a3aa74ce"),
    ];
    for (names, body) in bodies {
        assert_eq!(content(names, &hex::decode(body).unwrap()), b"hello hello hello\n", "{names}");
    }
}

#[test]
fn members_of_gzip_follow_one_another() {
    let two = [member(0, b"", b"hello "), member(0, b"", b"world"), member(0, b"", b"")].concat();
    assert_eq!(content("gzip", &two), b"hello world");
    let garbage = [&two[..], b"\0"].concat();
    assert_eq!(decode("gzip", &garbage), Err(CodingError::Trailing { coding: Coding::Gzip }));
    assert_eq!(decode("gzip", &[&two[..], b"\x1f"].concat()), Err(CodingError::Truncated { coding: Coding::Gzip }));
}

#[test]
fn text_beside_the_content_is_reported() {
    let plain = decode("gzip", &member(1, b"", b"x")).unwrap();
    assert!(!plain.extended, "FTEXT is only a hint");
    assert!(!decode("gzip", &member(2, b"ab", b"x")).unwrap().extended, "the header's checksum says nothing");
    for (flags, optional) in [
        (8, &b"name\0"[..]),
        (16, b"comment\0"),
        (4, b"\x03\0abc"),
        (4 | 8 | 16 | 2, b"\x01\0an\0c\0hh"),
        (4 | 8, b"\0\0\0"),
    ] {
        let decoded = decode("gzip", &member(flags, optional, b"x")).unwrap();
        assert!(decoded.content == b"x"[..] && decoded.extended, "{flags}");
    }
    let frame = codings("zstd").encode(b"x").unwrap();
    let skipped = [b"\x5a\x2a\x4d\x18\x06\0\0\0secret", &frame[..]].concat();
    let decoded = decode("zstd", &skipped).unwrap();
    assert!(decoded.content == b"x"[..] && decoded.extended);
    let nothing = [&frame[..], b"\x50\x2a\x4d\x18\0\0\0\0"].concat();
    assert!(!decode("zstd", &nothing).unwrap().extended);
    assert!(decode("br, zstd", &[&skipped[..], b"\x50\x2a\x4d\x18"].concat()).is_err());
}

/// Writes bits, the lowest first, as RFC 7932 has them.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn push(&mut self, value: usize, bits: usize) -> &mut Self {
        for bit in 0..bits {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.count = self.bytes.len() * 8;
        self
    }
}

/// RFC 7932, 9.2: `before` bytes in blocks of their own, then metadata.
fn br_with_metadata(before: usize, metadata: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push(0, 1);
    for _ in 0..before {
        // Not the last, four nibbles of length - 1, uncompressed.
        bits.push(0, 1).push(0, 2).push(0, 16).push(1, 1).bytes(b"x");
    }
    // Not the last, no nibbles, a reserved bit.
    bits.push(0, 1).push(3, 2).push(0, 1);
    match metadata.len() {
        0 => bits.push(0, 2),
        len => bits.push(1, 2).push(len - 1, 8),
    };
    bits.bytes(metadata).push(1, 1).push(1, 1);
    bits.bytes.clone()
}

#[test]
fn metadata_in_br_is_reported() {
    for before in 0..20 {
        for metadata in [&b"12345678"[..], b"4111111111111111", &[b's'; 42]] {
            let decoded = decode("br", &br_with_metadata(before, metadata)).unwrap();
            assert!(decoded.content == "x".repeat(before) && decoded.extended, "{before}, {}", metadata.len());
        }
        assert!(!decode("br", &br_with_metadata(before, b"")).unwrap().extended, "a flush leaves an empty one");
    }
    let text = b"data: {\"a\":\"b\"}\n\n".repeat(500);
    assert!(!decode("br", &codings("br").encode(&text).unwrap()).unwrap().extended);
}

#[test]
fn deflate_is_read_with_and_without_its_frame() {
    let text = b"hello hello hello, this is deflated".repeat(20);
    assert_eq!(content("deflate", &codings("deflate").encode(&text).unwrap()), text);
    assert_eq!(content("deflate", &bare(&text)), text);
    assert_eq!(content("deflate", &bare(b"")), b"");
    let trailing = |mut body: Vec<u8>| {
        body.push(0);
        decode("deflate", &body)
    };
    assert_eq!(trailing(bare(b"x")), Err(CodingError::Trailing { coding: Coding::Deflate }));
    let framed = codings("deflate").encode(b"x").unwrap().to_vec();
    assert_eq!(trailing(framed.clone()), Err(CodingError::Trailing { coding: Coding::Deflate }));
    assert_eq!(decode("deflate", &framed[..1]), Err(CodingError::Truncated { coding: Coding::Deflate }));
    let mut wrong = framed;
    *wrong.last_mut().unwrap() ^= 1;
    assert!(matches!(decode("deflate", &wrong), Err(CodingError::Corrupt { .. })), "Adler-32");
}

#[test]
fn a_body_that_can_be_read_in_two_ways_as_deflate_is_refused() {
    // As it stands: an uncompressed block of 0x019c bytes that is not the last one, and an empty last one. In the
    // zlib format: blocks whose first is what those bytes say.
    let len: u16 = 0x019c;
    let mut body = vec![0x78];
    body.extend_from_slice(&len.to_le_bytes());
    body.extend_from_slice(&(!len).to_le_bytes());
    assert!(body[0] == 0x78 && body[1] == 0x9c);
    // In the zlib format the data begins at 01 63 fe: the last block, uncompressed, its length 0xfe63. The length's
    // complement is what follows.
    let inner: u16 = 0xfe63;
    body.extend_from_slice(&(!inner).to_le_bytes());
    let text = vec![b'a'; usize::from(inner)];
    let mut framed = text.clone();
    // The other way's block is over here, and its last one is made of text.
    let end = usize::from(len) - 2;
    framed[end..end + 5].copy_from_slice(&[1, 0, 0, 0xff, 0xff]);
    body.extend_from_slice(&framed);
    let mut adler = (1u32, 0u32);
    for &byte in &framed {
        adler.0 = (adler.0 + u32::from(byte)) % 65_521;
        adler.1 = (adler.1 + adler.0) % 65_521;
    }
    body.extend_from_slice(&(adler.1 << 16 | adler.0).to_be_bytes());
    // Here the other way has bytes behind its end, so it is no way to read it.
    assert_eq!(content("deflate", &body), framed);
    // And here it goes on to the end.
    let last = body.len() - 5;
    let rest = u16::try_from(body.len() - (5 + usize::from(len)) - 5).unwrap();
    let start = 5 + usize::from(len);
    body[start..start + 5].copy_from_slice(&[1, rest as u8, (rest >> 8) as u8, !rest as u8, (!rest >> 8) as u8]);
    let mut adler = (1u32, 0u32);
    for &byte in &body[7..7 + usize::from(inner)] {
        adler.0 = (adler.0 + u32::from(byte)) % 65_521;
        adler.1 = (adler.1 + adler.0) % 65_521;
    }
    body[last + 1..].copy_from_slice(&(adler.1 << 16 | adler.0).to_be_bytes());
    assert_eq!(decode("deflate", &body), Err(CodingError::Ambiguous));
}

#[test]
fn a_body_that_is_cut_short_or_damaged_is_refused() {
    let text: Vec<u8> = (0..4_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for coding in ALL {
        let codings = Codings(vec![coding]);
        let whole = codings.encode(&text).unwrap();
        for len in [1, 2, 5, 12, whole.len() / 2, whole.len() - 1] {
            let cut = codings.decode(&whole[..len], LIMIT, |_| true);
            assert_eq!(cut, Err(CodingError::Truncated { coding }), "{len} bytes of {coding}");
        }
        let behind = codings.decode(&[&whole[..], b"xyzw"].concat(), LIMIT, |_| true);
        assert!(matches!(behind, Err(CodingError::Trailing { .. } | CodingError::Corrupt { .. })), "{behind:?}");
    }
    let not = [b"{\"a\":1}".as_slice(), b"\x1f\x8b\x07\0\0\0\0\0\0\0", b"\x1f\x8b\x08\xe0\0\0\0\0\0\0"];
    for body in not {
        assert!(matches!(decode("gzip", body), Err(CodingError::Corrupt { coding: Coding::Gzip, .. })), "{body:?}");
    }
    assert!(matches!(decode("zstd", b"{\"a\":1}"), Err(CodingError::Corrupt { coding: Coding::Zstd, .. })));
    let mut member = member(0, b"", b"hello");
    let sum = member.len() - 8;
    member[sum] ^= 1;
    assert!(matches!(decode("gzip", &member), Err(CodingError::Corrupt { .. })), "CRC32");
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let huge = vec![0; 64 << 20];
    for coding in ALL {
        let codings = Codings(vec![coding]);
        let bomb = codings.encode(&huge).unwrap();
        assert!(bomb.len() < huge.len() / 200, "{coding}: {}", bomb.len());
        let mut asked = 0;
        let decoded = codings.decode(&bomb, LIMIT, |more| {
            asked += more;
            true
        });
        assert_eq!(decoded, Err(CodingError::TooLarge { limit: LIMIT }), "{coding}");
        assert!(asked as u64 <= 2 * LIMIT, "{coding}: {asked}");
        let (mut decoder, mut out) = (codings.decoder(LIMIT), Vec::new());
        assert_eq!(decoder.push(&bomb, &mut out), Err(CodingError::TooLarge { limit: LIMIT }), "{coding}");
        assert!(out.len() as u64 <= LIMIT, "{coding}");
    }
    let nested = codings("gzip, gzip").encode(&huge).unwrap();
    assert_eq!(decode("gzip, gzip", &nested), Err(CodingError::TooLarge { limit: LIMIT }));
    let small = codings("gzip").encode(&vec![0; LIMIT as usize]).unwrap();
    assert_eq!(content("gzip", &small).len() as u64, LIMIT, "the limit itself is allowed");
}

#[test]
fn an_inner_bomb_is_stopped_where_it_unpacks() {
    // Many empty members: huge between the codings, nothing at the end.
    let many = member(0, b"", b"").repeat(100_000);
    let bomb = codings("zstd").encode(&many).unwrap();
    assert_eq!(decode("gzip, zstd", &bomb), Err(CodingError::TooLarge { limit: LIMIT }));
}

#[test]
fn memory_is_asked_for_before_it_is_taken() {
    let body = codings("gzip").encode(&[b'a'; 100_000]).unwrap();
    let mut left = 50_000usize;
    let decoded = codings("gzip").decode(&body, LIMIT, |more| match left.checked_sub(more) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    });
    assert_eq!(decoded, Err(CodingError::NoRoom));
}

#[test]
fn a_window_beyond_the_rfc_is_refused() {
    let frame = |header: &[u8]| [b"\x28\xb5\x2f\xfd", header, b"\x01\0\0"].concat();
    let exponent = |log: u8| frame(&[0, (log - 10) << 3]);
    assert_eq!(content("zstd", &exponent(23)), b"");
    let large = Err(CodingError::WindowTooLarge { coding: Coding::Zstd, limit: 8 << 20 });
    assert_eq!(decode("zstd", &exponent(24)), large);
    assert_eq!(decode("zstd", &frame(&[0, 13 << 3 | 1])), large);
    assert_eq!(decode("zstd", &frame(&[0xa0, 1, 0, 0, 1])), large, "one segment");
    assert!(matches!(decode("zstd", &frame(&[1, 0, 7])), Err(CodingError::Corrupt { .. })), "a dictionary");
    let br_large_window = [0x11, 0x1e, 0x03];
    assert!(matches!(decode("br", &br_large_window), Err(CodingError::Corrupt { .. })));
}

/// Two events, each flushed by itself, and the end.
fn flushed(coding: Coding) -> Vec<Vec<u8>> {
    let events = [&b"data: one\n\n"[..], b"data: two\n\n"];
    fn pieces<W: Write>(mut encoder: W, events: &[&[u8]], taken: impl Fn(&W) -> usize) -> (W, Vec<usize>) {
        let ends = events.iter().map(|event| {
            encoder.write_all(event).unwrap();
            encoder.flush().unwrap();
            taken(&encoder)
        });
        let ends = ends.collect();
        (encoder, ends)
    }
    let (all, ends) = match coding {
        Coding::Gzip => {
            let encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
            let (encoder, ends) = pieces(encoder, &events, |encoder| encoder.get_ref().len());
            (encoder.finish().unwrap(), ends)
        }
        Coding::Deflate => {
            let encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
            let (encoder, ends) = pieces(encoder, &events, |encoder| encoder.get_ref().len());
            (encoder.finish().unwrap(), ends)
        }
        Coding::Br => {
            let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 20);
            let (encoder, ends) = pieces(encoder, &events, |encoder| encoder.get_ref().len());
            (encoder.into_inner(), ends)
        }
        Coding::Zstd => {
            let encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            let (encoder, ends) = pieces(encoder, &events, |encoder| encoder.get_ref().len());
            (encoder.finish().unwrap(), ends)
        }
    };
    vec![all[..ends[0]].to_vec(), all[ends[0]..ends[1]].to_vec(), all[ends[1]..].to_vec()]
}

#[test]
fn an_event_that_was_flushed_comes_out_at_once() {
    for coding in ALL {
        let (mut decoder, pieces) = (Codings(vec![coding]).decoder(LIMIT), flushed(coding));
        for (piece, expected) in pieces.iter().zip(["data: one\n\n", "data: two\n\n", ""]) {
            let mut out = Vec::new();
            decoder.push(piece, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{coding}");
        }
        decoder.finish().unwrap();
    }
}

#[test]
fn a_piece_that_unpacks_to_much_is_given_out_in_small_ones() {
    let text = vec![b'a'; 1 << 20];
    let body = codings("gzip, zstd").encode(&text).unwrap();
    let (mut decoder, mut total) = (codings("gzip, zstd").decoder(LIMIT), 0);
    let each = &mut |piece: &[u8]| {
        assert!(piece.len() <= 8 << 10);
        total += piece.len();
        Ok(())
    };
    decoder.each(&body, each).unwrap();
    decoder.finish().unwrap();
    assert_eq!(total, text.len());
}

fn stack() -> impl Strategy<Value = Codings> {
    prop::collection::vec(prop::sample::select(ALL.to_vec()), 1..=3).prop_map(Codings)
}

proptest! {
    #[test]
    fn a_body_decodes_the_same_at_every_cut(codings in stack(), text in prop::collection::vec(0u8..4, 0..200)) {
        let body = codings.encode(&text).unwrap();
        prop_assert_eq!(&codings.decode(&body, LIMIT, |_| true).unwrap().content[..], &text[..]);
        for cut in 0..=body.len() {
            let (mut decoder, mut out) = (codings.decoder(LIMIT), Vec::new());
            decoder.push(&body[..cut], &mut out).unwrap();
            decoder.push(&body[cut..], &mut out).unwrap();
            decoder.finish().unwrap();
            prop_assert_eq!(&out, &text, "cut at {}", cut);
        }
        for len in 1..body.len() {
            prop_assert!(codings.decode(&body[..len], LIMIT, |_| true).is_err(), "{} of {} bytes", len, body.len());
        }
    }

    #[test]
    fn no_bytes_upset_the_decoders(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_coding(&data);
    }

    #[test]
    fn one_wrong_byte_upsets_no_decoder(
        choice in 0u8..32,
        text in prop::collection::vec(0u8..4, 0..100),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let coding = ALL[usize::from(choice & 3)];
        let mut data = [&[choice], &Codings(vec![coding]).encode(&text).unwrap()[..]].concat();
        let at = at.index(data.len());
        data[at] = byte;
        fuzz_coding(&data);
    }
}
