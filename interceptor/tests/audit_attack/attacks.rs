//! The attacks. Each says what the verdict has to name.

use std::fs;
use std::path::{Path, PathBuf};

use interceptor::flow::ExchangeId;

use super::forge::{Effort, HEADER, frames, rebuild, reseal, reseal_index};
use super::place::Place;

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Place) -> String,
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "edit: one byte of a record", run: |place| edit(place, Effort::Nothing) },
    Attack { name: "edit: checksums recomputed", run: |place| edit(place, Effort::Checksums) },
    Attack { name: "edit: digests and chain of its segment recomputed", run: |place| edit(place, Effort::Chain) },
    Attack { name: "edit: all later links and headers recomputed", run: edit_and_rebuild },
    Attack { name: "edit: a segment's header", run: edit_header },
    Attack { name: "edit: sealed contents of two records exchanged, recomputed", run: exchange_sealed },
    Attack { name: "removal: one record", run: |place| reframe(place, Effort::Nothing, |all| drop(all.remove(2))) },
    Attack {
        name: "removal: one record, recomputed",
        run: |place| reframe(place, Effort::Chain, |all| drop(all.remove(2))),
    },
    Attack { name: "reorder: two records", run: |place| reframe(place, Effort::Nothing, |all| all.swap(0, 2)) },
    Attack {
        name: "reorder: two records, recomputed",
        run: |place| reframe(place, Effort::Chain, |all| all.swap(0, 2)),
    },
    Attack {
        name: "repetition: one record",
        run: |place| reframe(place, Effort::Chain, |all| all.insert(3, all[2].clone())),
    },
    Attack { name: "splice: a frame of another log", run: |place| splice(place, Effort::Nothing) },
    Attack { name: "splice: a frame of another log, recomputed", run: |place| splice(place, Effort::Chain) },
    Attack { name: "truncation: the last records", run: cut_records },
    Attack { name: "truncation: the last segment", run: |place| removed(place, |paths| paths.len() - 1) },
    Attack { name: "truncation: a segment in the middle", run: |place| removed(place, |paths| paths.len() / 2) },
    Attack { name: "truncation: the first segment", run: |place| removed(place, |_| 0) },
    Attack { name: "exchange: two segments' contents", run: exchange_segments },
    Attack { name: "exchange: a segment of another log", run: foreign_segment },
    Attack { name: "rollback: log, checkpoint and marker put back to an earlier state", run: rollback },
    Attack { name: "rollback: the checkpoint alone removed", run: remove_checkpoint },
    Attack { name: "another key: the log rebuilt", run: another_key },
    Attack { name: "access log: removed", run: remove_accesses },
    Attack { name: "access log: put back to an earlier state", run: rollback_accesses },
    Attack { name: "access log: a reason edited, recomputed", run: edit_access },
    Attack { name: "hidden: bytes behind the last record", run: hide_bytes },
    Attack { name: "hidden: a record from those who read through an index", run: lie_in_index },
];

fn name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

/// A segment that is neither the first nor the last, and what is in it.
fn middle(place: &Place) -> (PathBuf, Vec<u8>) {
    let paths = place.segments("log");
    assert!(paths.len() >= 3, "{} segments", paths.len());
    let path = paths[paths.len() / 2].clone();
    let bytes = fs::read(&path).expect("readable");
    (path, bytes)
}

fn id(frame: &[u8]) -> String {
    ExchangeId::from_bytes(frame[72..88].try_into().expect("16 bytes")).to_string()
}

/// Changes the host's name in the JSON of a request; returns the id of its record.
fn edit_json(bytes: &mut [u8]) -> String {
    let all = frames(bytes);
    let frame = all.into_iter().filter(|frame| bytes[frame.start + 41] == 1).nth(1).expect("a request");
    let text = b"attacked";
    let at = bytes[frame.clone()].windows(text.len()).position(|window| window == text).expect("the host");
    bytes[frame.start + at] = b'A';
    id(&bytes[frame])
}

fn edit(place: &Place, effort: Effort) -> String {
    let (path, mut bytes) = middle(place);
    let id = edit_json(&mut bytes);
    reseal(&mut bytes, effort);
    place.write(&path, &bytes);
    match effort {
        // The chain of the segment is right: the next header knows another.
        Effort::Chain => "does not continue the segment before it".into(),
        _ => id,
    }
}

fn edit_and_rebuild(place: &Place) -> String {
    let paths = place.segments("log");
    let paths = &paths[paths.len() - 2..];
    let mut all: Vec<_> = paths.iter().map(|path| fs::read(path).expect("readable")).collect();
    edit_json(&mut all[0]);
    rebuild(&mut all);
    paths.iter().zip(&all).for_each(|(path, bytes)| place.write(path, bytes));
    "Merkle root".into()
}

fn edit_header(place: &Place) -> String {
    let (path, mut bytes) = middle(place);
    bytes[112] ^= 1;
    reseal(&mut bytes, Effort::Checksums);
    place.write(&path, &bytes);
    name(&path)
}

fn exchange_sealed(place: &Place) -> String {
    let (path, mut bytes) = middle(place);
    let requests: Vec<_> = frames(&bytes).into_iter().filter(|frame| bytes[frame.start + 41] == 1).take(2).collect();
    // Rows of 40 bytes: JSON, then the sealed original.
    let sealed = |frame: &std::ops::Range<usize>| {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize;
        let rows = usize::from(bytes[frame.start + 46]);
        let from = frame.start + 120 + 40 * rows + number(frame.start + 124);
        from..from + number(frame.start + 164)
    };
    let (a, b) = (sealed(&requests[0]), sealed(&requests[1]));
    assert_eq!(a.len(), b.len());
    let (first, second) = (bytes[a.clone()].to_vec(), bytes[b.clone()].to_vec());
    bytes[a].copy_from_slice(&second);
    bytes[b].copy_from_slice(&first);
    reseal(&mut bytes, Effort::Chain);
    place.write(&path, &bytes);
    "does not continue the segment before it".into()
}

/// Changes the order of the frames of a segment.
fn reframe(place: &Place, effort: Effort, change: impl Fn(&mut Vec<Vec<u8>>)) -> String {
    let (path, bytes) = middle(place);
    let mut pieces: Vec<_> = frames(&bytes).into_iter().map(|frame| bytes[frame].to_vec()).collect();
    change(&mut pieces);
    let mut changed = [&bytes[..HEADER], &pieces.concat()].concat();
    reseal(&mut changed, effort);
    place.write(&path, &changed);
    "-0".into()
}

fn other() -> Place {
    Place::written(60, 64 << 10)
}

fn splice(place: &Place, effort: Effort) -> String {
    let other = other();
    let (_, theirs) = middle(&other);
    let frame = theirs[frames(&theirs)[0].clone()].to_vec();
    reframe(place, effort, |all| all.insert(1, frame.clone()));
    name(&middle(place).0).split('-').next().expect("log").into()
}

fn cut_records(place: &Place) -> String {
    let path = place.segments("log").pop().expect("a segment");
    let bytes = fs::read(&path).expect("readable");
    let all = frames(&bytes);
    place.write(&path, &bytes[..all[all.len() - 2].start]);
    "removed from its end".into()
}

fn removed(place: &Place, which: impl Fn(&[PathBuf]) -> usize) -> String {
    let paths = place.segments("log");
    let index = which(&paths);
    place.remove(&paths[index]);
    if index + 1 == paths.len() { "removed from its end".into() } else { name(&paths[index + 1]) }
}

fn exchange_segments(place: &Place) -> String {
    let paths = place.segments("log");
    let (first, second) = (&paths[0], &paths[1]);
    let (a, b) = (fs::read(first).expect("readable"), fs::read(second).expect("readable"));
    place.write(first, &b);
    place.write(second, &a);
    name(first)
}

fn foreign_segment(place: &Place) -> String {
    let (path, _) = middle(place);
    let other = other();
    let (_, theirs) = middle(&other);
    place.write(&path, &theirs);
    name(&path)
}

/// Leaves what was there when the earlier checkpoint was signed.
fn rollback(place: &Place) -> String {
    let checkpoint = place.earlier("audit/checkpoint");
    let text = String::from_utf8(checkpoint.clone()).expect("text");
    let frames: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("frames ")?.split(' ').next()?.parse().ok())
        .expect("a number of frames");
    for path in place.segments("log") {
        let name = name(&path);
        let first: u64 = name[4..24].parse().expect("a number");
        if first >= frames {
            place.remove(&path);
        }
    }
    place.write(&place.audit("checkpoint"), &checkpoint);
    rollback_accesses(place);
    place.write(&place.audit("../keys/access.checkpoint"), &place.earlier("keys/access.checkpoint"));
    "the given checkpoint covers".into()
}

fn remove_checkpoint(place: &Place) -> String {
    place.remove(&place.audit("checkpoint"));
    "the signed checkpoint is missing".into()
}

/// The log of another state directory of a host of that name, with a key of its own.
fn another_key(place: &Place) -> String {
    let other = other();
    for path in place.segments("log").into_iter().chain(place.segments("access")) {
        place.remove(&path);
    }
    for path in other.segments("log").into_iter().chain(other.segments("access")) {
        place.write(&place.audit(&name(&path)), &fs::read(&path).expect("readable"));
    }
    for file in ["checkpoint", "access.checkpoint", "../keys/access.checkpoint", "../keys/log-signing.pub"] {
        place.write(&place.audit(file), &fs::read(other.audit(file)).expect("readable"));
    }
    "checkpoint".into()
}

fn remove_accesses(place: &Place) -> String {
    for path in place.segments("access") {
        place.remove(&path);
    }
    place.remove(&place.audit("access.checkpoint"));
    "access.checkpoint".into()
}

fn rollback_accesses(place: &Place) -> String {
    for path in place.segments("access").into_iter().skip(1) {
        place.remove(&path);
    }
    place.write(&place.audit("access.checkpoint"), &place.earlier("audit/access.checkpoint"));
    "removed from its end".into()
}

fn edit_access(place: &Place) -> String {
    let path = place.segments("access").pop().expect("accesses");
    let mut bytes = fs::read(&path).expect("readable");
    let at = bytes.windows(7).position(|window| window == b"case 17").expect("the reason");
    bytes[at] = b'C';
    reseal(&mut bytes, Effort::Chain);
    place.write(&path, &bytes);
    "Merkle root".into()
}

fn hide_bytes(place: &Place) -> String {
    let path = place.segments("log").pop().expect("a segment");
    let mut bytes = fs::read(&path).expect("readable");
    bytes.extend_from_slice(&[0; 64]);
    bytes.extend_from_slice(b"hidden");
    place.write(&path, &bytes);
    name(&path)
}

/// Changes the id of a record in an index, so that nobody who asks for it finds it.
fn lie_in_index(place: &Place) -> String {
    let (segment, bytes) = middle(place);
    let hidden = frames(&bytes).into_iter().find(|frame| bytes[frame.start + 41] == 1).expect("a request");
    let hidden = id(&bytes[hidden]);
    assert!(place.shows(&hidden), "it is found as long as the index is right");
    let path = segment.with_extension("idx");
    let mut index = fs::read(&path).expect("the reader has made it, if nobody had");
    let wanted = hidden.parse::<ExchangeId>().expect("an id");
    let at = index.windows(16).rposition(|window| window == wanted.as_bytes()).expect("the index has it");
    index[at + 15] ^= 1;
    reseal_index(&mut index);
    place.write(&path, &index);
    assert!(!place.shows(&hidden), "the index is believed");
    name(&path)
}
