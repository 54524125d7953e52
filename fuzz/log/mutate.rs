//! What the fuzzer's bytes do to the files.

use super::seal::{Effort, frames, reseal};
use super::{Files, original};

/// At most so many changes: more only hide one another.
const CHANGES: usize = 8;
/// No file gets longer than this.
const LONGEST: usize = 1 << 17;

/// The fuzzer's bytes, read as choices; zeros when they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        let number = [self.byte(), self.byte(), self.byte()];
        (usize::from(number[0]) << 16 | usize::from(number[1]) << 8 | usize::from(number[2])) % end
    }

    fn name(&mut self, files: &Files) -> Option<String> {
        let index = usize::from(self.byte()) % files.len().max(1);
        files.keys().nth(index).cloned()
    }
}

/// The original log's files, changed as `data` says.
pub fn mutated(data: &[u8]) -> Files {
    let mut files = original().files.clone();
    let mut choices = Choices(data);
    for _ in 0..CHANGES {
        if choices.0.is_empty() {
            break;
        }
        change(&mut files, &mut choices);
    }
    files
}

fn change(files: &mut Files, choices: &mut Choices<'_>) {
    let what = choices.byte();
    let effort = match what >> 6 {
        0 => Effort::Nothing,
        1 => Effort::Checksums,
        _ => Effort::Chain,
    };
    let Some(name) = choices.name(files) else { return };
    let other = files[&choices.name(files).expect("there are files")].clone();
    match what & 15 {
        0 => drop(files.remove(&name)),
        1 => drop(files.insert("checkpoint".into(), original().older_checkpoint.clone())),
        2 => {
            let sequence = choices.below(64);
            let bytes = files.remove(&name).expect("it is there");
            files.insert(format!("log-{sequence:020}.alog"), bytes);
        }
        3 => drop(files.insert(name.clone(), other)),
        what => {
            let bytes = files.get_mut(&name).expect("it is there");
            change_bytes(what, bytes, &other, choices);
            bytes.truncate(LONGEST);
        }
    }
    if let Some(bytes) = files.get_mut(&name).filter(|_| name.ends_with(".alog")) {
        reseal(bytes, effort);
    }
}

fn change_bytes(what: u8, bytes: &mut Vec<u8>, other: &[u8], choices: &mut Choices<'_>) {
    let at = choices.below(bytes.len() + 1);
    match what {
        4 => bytes.truncate(at),
        5 => bytes.extend(std::iter::repeat_n(choices.byte(), at)),
        6 => {
            let end = (at + choices.below(600)).min(bytes.len());
            drop(bytes.drain(at..end));
        }
        7 => {
            let from = choices.below(other.len() + 1);
            let to = (from + choices.below(4096)).min(other.len());
            drop(bytes.splice(at..at, other[from..to].iter().copied()));
        }
        8 | 9 => change_frames(bytes, other, choices),
        // A field of a head: most of what is decided is decided there.
        10..=12 => {
            let frames = frames(bytes);
            if let Some(frame) = frames.get(at % frames.len().max(1)) {
                let place = frame.start + choices.below(200.min(frame.len()));
                bytes[place] = choices.byte();
            }
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = choices.byte();
            }
        }
    }
}

/// Removes, repeats, exchanges or brings in whole frames.
fn change_frames(bytes: &mut Vec<u8>, other: &[u8], choices: &mut Choices<'_>) {
    let (mine, theirs) = (frames(bytes), frames(other));
    let (Some(first), Some(end)) = (mine.first(), mine.last().map(|last| last.end)) else { return };
    let mut pieces: Vec<Vec<u8>> = mine.iter().map(|frame| bytes[frame.clone()].to_vec()).collect();
    let (a, b) = (choices.below(pieces.len()), choices.below(pieces.len()));
    match choices.byte() % 4 {
        0 => drop(pieces.remove(a)),
        1 => pieces.swap(a, b),
        2 => pieces.insert(a, pieces[b].clone()),
        _ => {
            if !theirs.is_empty() {
                pieces.insert(a, other[theirs[b % theirs.len()].clone()].to_vec());
            }
        }
    }
    bytes.splice(first.start..end, pieces.concat());
}
