use proptest::collection::vec;
use proptest::prelude::*;

use super::super::frame::{EncodedHead, Seed, check_body, frame_length, parse_head, trailer};
use super::super::tree::sha256;
use super::super::{Content, Entry, Holding, Kind, Section, fuzz_frames};
use crate::flow::ExchangeId;

const ID: [u8; 16] = [9; 16];

fn contents() -> impl Strategy<Value = Vec<(Content, Holding, Vec<u8>)>> {
    let content = prop_oneof![
        Just(Content::Json),
        Just(Content::Original),
        Just(Content::MaskedHead),
        Just(Content::MaskedBody),
        Just(Content::Response),
        Just(Content::Upload)
    ];
    let holding = prop_oneof![Just(Holding::Plain), Just(Holding::Sealed), Just(Holding::Parts)];
    vec((content, holding, vec(any::<u8>(), 0..300)), 0..=8)
}

fn encode(kind: Kind, sequence: u64, contents: &[(Content, Holding, Vec<u8>)]) -> (Entry, Vec<u8>) {
    let sections: Vec<Section> = contents
        .iter()
        .map(|(content, holding, bytes)| Section {
            content: *content,
            holding: *holding,
            length: bytes.len() as u32,
            digest: sha256(bytes),
        })
        .collect();
    let stored = contents.iter().filter(|(_, holding, _)| *holding != Holding::Parts);
    let body: Vec<u8> = stored.flat_map(|(_, _, bytes)| bytes.clone()).collect();
    let entry = Entry {
        kind,
        sequence,
        leaf_index: sequence / 2,
        durable: sequence / 3,
        exchange: ExchangeId::from_bytes([3; 16]),
        wall_ns: 1,
        boottime_ns: 2,
        key_id: [4; 16],
        sections,
    };
    let seed = Seed::new(&ID);
    let length = frame_length(entry.sections.len(), body.len());
    let head = EncodedHead::new(&entry).finish(seed, length, &[5; 32]);
    let (end, end_len) = trailer(seed, head.bytes().len(), body.len(), crc32c::crc32c(&body));
    (entry, [head.bytes(), &body, &end[..end_len]].concat())
}

proptest! {
    #[test]
    fn any_sequence_of_frames_reads_back(
        frames in vec((0..6usize, contents()), 0..10),
    ) {
        let kinds = [Kind::Request, Kind::Part, Kind::Completion, Kind::Refusal, Kind::Note, Kind::Access];
        let written: Vec<(Entry, Vec<u8>)> = frames
            .iter()
            .enumerate()
            .map(|(n, (kind, contents))| encode(kinds[*kind], n as u64, contents))
            .collect();
        let bytes: Vec<u8> = written.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let seed = Seed::new(&ID);
        let mut at = 0;
        for (entry, frame) in &written {
            let head = parse_head(seed, &bytes[at..]).unwrap();
            prop_assert_eq!(&head.entry, entry);
            prop_assert_eq!(head.length, frame.len());
            check_body(seed, &head, &bytes[at..]).unwrap();
            for (row, section) in entry.sections.iter().enumerate() {
                if section.holding != Holding::Parts {
                    prop_assert_eq!(sha256(&frame[head.section_range(row)]), section.digest);
                }
            }
            at += head.length;
        }
        prop_assert_eq!(at, bytes.len());
    }

    #[test]
    fn a_changed_byte_is_noticed(contents in contents(), at in any::<prop::sample::Index>(), change in 1..=255u8) {
        let (_, mut frame) = encode(Kind::Request, 7, &contents);
        let at = at.index(frame.len());
        frame[at] ^= change;
        let seed = Seed::new(&ID);
        let noticed = match parse_head(seed, &frame) {
            Ok(head) => check_body(seed, &head, &frame).is_err(),
            Err(_) => true,
        };
        prop_assert!(noticed);
    }

    #[test]
    fn another_segments_frame_is_none(contents in contents()) {
        let (_, frame) = encode(Kind::Request, 7, &contents);
        prop_assert!(parse_head(Seed::new(&[8; 16]), &frame).is_err());
    }

    #[test]
    fn any_bytes_end(bytes in vec(any::<u8>(), 0..2000)) {
        fuzz_frames(&ID, &bytes);
    }

    #[test]
    fn any_damage_ends(contents in contents(), cut in any::<prop::sample::Index>(), noise in vec(any::<u8>(), 0..64)) {
        let (_, mut frame) = encode(Kind::Part, 7, &contents);
        let cut = cut.index(frame.len());
        frame.splice(cut.., noise);
        fuzz_frames(&ID, &frame);
    }
}
