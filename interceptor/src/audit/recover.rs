//! Opening a log that exists: find its end, tell a torn tail from damage.
//!
//! A frame is known to have been durable when the signed checkpoint covers it or when a valid later frame says so
//! (`durable`). If such a frame cannot be read, the log was damaged: refuse. Otherwise whatever follows the last valid
//! frame was never acknowledged as durable: it is copied to a `.quarantine` file, cut off, and a note of it is appended.
//!
//! The access log is signed before anything of it is acknowledged, so what follows its checkpoint never was: it is cut off
//! like a torn tail, whole or not. Whoever can write the file but not sign could have appended it.
//!
//! What follows the checkpoint of the other log goes on to be part of it, and that is noted: the daemon that ended may not have signed its
//! last frames, but whoever can write the file could have appended some, and the next checkpoint is signed over them. All of
//! it is made durable before anything is signed or acknowledged: the process that wrote it may have been killed before it did so.
//!
//! A checkpoint is signed before the first frame is acknowledged, so frames without a checkpoint are no crash: refuse,
//! unless told to go on, which is noted in the log.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::checkpoint::{Checkpoint, VerifyingKey, read_note};
use super::disk::Disk;
use super::frame::FrameError;
use super::header::{HEADER, Stream};
use super::scan::{Depth, SegmentFile, Step, segments};
use super::tree::chain;
use super::writer::Extent;
use super::{Error, Time};

/// Where an existing log ends.
pub(crate) struct Recovered {
    pub(crate) extent: Extent,
    /// Id of the newest segment; zeros for an empty log.
    pub(crate) newest: [u8; 16],
    /// What had to be cut off.
    pub(crate) torn: Option<Torn>,
    /// A checkpoint that was not there, or not believed.
    pub(crate) unsigned: Option<Unsigned>,
    /// Frames that the checkpoint does not cover.
    pub(crate) late: Option<SignedLate>,
    /// No checkpoint was ever signed, and so nothing acknowledged.
    pub(crate) unused: bool,
}

/// A log that was gone on with though no checkpoint vouches for it: the content of the note about it.
#[derive(Debug, Serialize)]
pub(crate) struct Unsigned {
    event: &'static str,
    time: Time,
    reason: String,
    frames: u64,
    leaves: u64,
}

/// Frames that are signed by another start than the one that wrote them, if a start wrote them: the content of the note about it.
#[derive(Debug, Serialize)]
pub(crate) struct SignedLate {
    event: &'static str,
    time: Time,
    reason: String,
    /// The first of them.
    sequence: u64,
    frames: u64,
}

impl SignedLate {
    fn new(extent: &Extent, checkpoint: &Checkpoint) -> Option<Self> {
        let frames = extent.frames.checked_sub(checkpoint.frames).filter(|&frames| frames > 0)?;
        Some(Self {
            event: "signed-late",
            time: Time::now(),
            reason: format!(
                "frames {} to {} were not signed when the log was opened: whoever wrote them ended before the next checkpoint, or was not \
                 the daemon",
                checkpoint.frames,
                extent.frames - 1
            ),
            sequence: checkpoint.frames,
            frames,
        })
    }
}

/// What to do with frames that no checkpoint vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithoutCheckpoint {
    Refuse,
    Accept,
}

/// A tail that was cut off: the content of the note about it.
#[derive(Debug, Serialize)]
pub(crate) struct Torn {
    event: &'static str,
    time: Time,
    segment: String,
    offset: u64,
    sequence: u64,
    reason: String,
    bytes: u64,
    later_frames: u64,
    quarantine: Vec<String>,
}

/// Where walking through the log stopped.
struct Walk {
    extent: Extent,
    newest: [u8; 16],
    /// The first segment that was walked through.
    first: usize,
    /// The segment and offset behind the last valid frame, and what stands there.
    end: Option<(usize, u64, Option<FrameError>)>,
    /// The first segment that was not walked through.
    next: usize,
    /// What stands at the end is a frame that the access log's checkpoint does not cover.
    unsigned: bool,
}

/// Finds the end of `stream`, cuts off a torn tail.
pub(crate) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    stream: Stream,
    key: &VerifyingKey,
    without: WithoutCheckpoint,
) -> Result<Recovered, Error> {
    let paths = segments(dir, stream).map_err(|e| Error::io("readdir", dir, e))?;
    let (checkpoint, distrust) = match read_checkpoint(dir, stream, key) {
        Err(Error::NoCheckpoint { .. }) if !any_content(&paths)? => (None, None),
        Err(Error::NoCheckpoint { reason, .. }) if without == WithoutCheckpoint::Accept => (None, Some(reason)),
        other => (Some(other?), None),
    };
    let walk = walk(&paths, stream, checkpoint.as_ref())?;
    if let Some(checkpoint) = &checkpoint
        && walk.extent.frames < checkpoint.frames
    {
        let (path, offset, source) = match walk.end {
            Some((index, offset, source)) => (paths[index].clone(), offset, source),
            None => (dir.to_path_buf(), 0, None),
        };
        return Err(match source {
            Some(source) => Error::Damaged { path, offset, sequence: walk.extent.frames, source },
            None => Error::Inconsistent {
                path,
                reason: format!(
                    "the log ends after {} frames, but the signed checkpoint covers {}: records were removed",
                    walk.extent.frames, checkpoint.frames
                ),
            },
        });
    }
    paths[walk.first..walk.next].iter().try_for_each(|path| sync(disk, path))?;
    let torn = cut(disk, dir, &paths, &walk)?;
    let newest = remove_if_empty(disk, &paths, walk.end.map(|(index, offset, _)| (index, offset)), walk.newest)?;
    let unsigned = distrust.map(|reason| Unsigned {
        event: "checkpoint-not-trusted",
        time: Time::now(),
        reason: format!("{reason}, and the log was gone on with as it was: records before this may be missing"),
        frames: walk.extent.frames,
        leaves: walk.extent.tree.size(),
    });
    let unused = checkpoint.is_none() && unsigned.is_none();
    let late = checkpoint.and_then(|checkpoint| SignedLate::new(&walk.extent, &checkpoint));
    Ok(Recovered { extent: walk.extent, newest, torn, unsigned, late, unused })
}

pub(super) fn read_checkpoint(dir: &Path, stream: Stream, key: &VerifyingKey) -> Result<Checkpoint, Error> {
    let path = dir.join(stream.checkpoint());
    let text = match read_note(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoCheckpoint { path, reason: "the signed checkpoint is missing".into() });
        }
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            return Err(Error::NoCheckpoint { path, reason: format!("it is no checkpoint: {e}") });
        }
        Err(e) => return Err(Error::io("read", &path, e)),
    };
    Checkpoint::verify(&text, key, stream).map_err(|e| Error::NoCheckpoint { path, reason: e.to_string() })
}

/// Whether anything was ever written behind the header of a segment.
fn any_content(paths: &[PathBuf]) -> Result<bool, Error> {
    for path in paths {
        let failed = |e| Error::io("read", path, e);
        let mut file = super::auditor::open(path)?;
        file.seek(SeekFrom::Start(HEADER as u64)).map_err(failed)?;
        let mut window = vec![0; 1 << 20];
        loop {
            let got = file.read(&mut window).map_err(failed)?;
            if window[..got].iter().any(|&byte| byte != 0) {
                return Ok(true);
            }
            if got == 0 {
                break;
            }
        }
    }
    Ok(false)
}

/// Whether a segment's header never reached the disk. Then nothing in it was acknowledged as durable.
fn is_unwritten(path: &Path) -> Result<bool, Error> {
    let mut page = Vec::with_capacity(HEADER);
    let file = super::auditor::open(path)?;
    file.take(HEADER as u64).read_to_end(&mut page).map_err(|e| Error::io("read", path, e))?;
    Ok(page.iter().all(|&byte| byte == 0))
}

/// Walks from the segment that the checkpoint points into: what is older was checked before, and is `log verify`'s.
fn walk(paths: &[PathBuf], stream: Stream, checkpoint: Option<&Checkpoint>) -> Result<Walk, Error> {
    let (start, mut walk) = start(paths, checkpoint)?;
    let signed = checkpoint.filter(|_| stream == Stream::Access).map(|checkpoint| checkpoint.frames);
    older(&paths[..start], &walk)?;
    for (index, path) in paths.iter().enumerate().skip(start) {
        walk.next = index;
        if is_unwritten(path)? {
            return Ok(walk);
        }
        let mut segment = SegmentFile::open(path)?;
        let header = &segment.header;
        let fits = header.first_sequence == walk.extent.frames
            && header.chain == walk.extent.chain
            && header.previous_id == walk.newest
            && header.tree == walk.extent.tree;
        if !fits {
            if index == start {
                let reason = "the log's first segment is missing".to_owned();
                return Err(Error::Inconsistent { path: path.clone(), reason });
            }
            // Frames at the end of the segment before are missing: what follows them cannot be reached any more.
            return Ok(walk);
        }
        walk.newest = header.segment_id;
        walk.next = index + 1;
        let mut link = segment.link;
        let mut at = HEADER as u64;
        loop {
            let head = match segment.step(at, Depth::Bodies)? {
                Step::Frame(_) if signed == Some(walk.extent.frames) => {
                    walk.end = Some((index, at, None));
                    walk.unsigned = true;
                    return Ok(walk);
                }
                Step::Frame(head) => head,
                Step::End => {
                    walk.end = Some((index, at, None));
                    break;
                }
                Step::Invalid(error) => {
                    walk.end = Some((index, at, Some(error)));
                    return Ok(walk);
                }
            };
            let value = chain(&link, &head.leaf);
            if head.entry.sequence != walk.extent.frames || head.chain != value {
                let reason = format!("the frame at byte {at} does not continue the chain");
                return Err(Error::Inconsistent { path: path.clone(), reason });
            }
            link = value;
            at += head.length as u64;
            advance(&mut walk.extent, &head, value);
            check(&walk.extent, checkpoint, path)?;
        }
    }
    Ok(walk)
}

fn start(paths: &[PathBuf], checkpoint: Option<&Checkpoint>) -> Result<(usize, Walk), Error> {
    let covered = checkpoint.map_or(0, |c| c.frames);
    for (index, path) in paths.iter().enumerate().skip(1).rev() {
        if is_unwritten(path)? {
            continue;
        }
        let header = SegmentFile::open(path)?.header;
        if header.first_sequence < covered {
            let extent = Extent { frames: header.first_sequence, chain: header.chain, tree: header.tree };
            return Ok((
                index,
                Walk { first: index, extent, newest: header.previous_id, end: None, next: index, unsigned: false },
            ));
        }
    }
    let extent = Extent::default();
    Ok((0, Walk { first: 0, extent, newest: [0; 16], end: None, next: 0, unsigned: false }))
}

/// Segments that are not walked through must be there, and follow each other: going on would sign over what is left.
fn older(paths: &[PathBuf], walk: &Walk) -> Result<(), Error> {
    let (mut first, mut previous) = (0, [0; 16]);
    for path in paths {
        let header = SegmentFile::open(path)?.header;
        if header.previous_id != previous
            || header.first_sequence < first
            || (previous == [0; 16] && header.first_sequence > 0)
        {
            let reason = "it does not continue the segment before it: segments were removed or exchanged".to_owned();
            return Err(Error::Inconsistent { path: path.clone(), reason });
        }
        (first, previous) = (header.first_sequence + 1, header.segment_id);
    }
    match walk.newest == previous {
        true => Ok(()),
        false => {
            let path = paths.last().cloned().unwrap_or_default();
            let reason = "the segment after it does not continue it: segments were removed or exchanged".to_owned();
            Err(Error::Inconsistent { path, reason })
        }
    }
}

fn advance(extent: &mut Extent, head: &super::frame::Head, chain: super::tree::Hash) {
    extent.frames += 1;
    extent.chain = chain;
    if head.entry.kind.is_leaf() {
        extent.tree.push(head.leaf);
    }
}

/// Where the checkpoint was taken, the log must be what it says.
fn check(extent: &Extent, checkpoint: Option<&Checkpoint>, path: &Path) -> Result<(), Error> {
    match checkpoint {
        Some(c) if c.frames == extent.frames => {
            if c.chain == extent.chain && c.size == extent.tree.size() && c.root == extent.tree.root() {
                return Ok(());
            }
            let reason = format!("the first {} frames are not those that the checkpoint was signed over", c.frames);
            Err(Error::Inconsistent { path: path.to_path_buf(), reason })
        }
        _ => Ok(()),
    }
}

/// Quarantines and cuts off what follows the last valid frame, all later segments included.
fn cut(disk: &dyn Disk, dir: &Path, paths: &[PathBuf], walk: &Walk) -> Result<Option<Torn>, Error> {
    let mut torn = Torn {
        event: "recovered",
        time: Time::now(),
        segment: walk.end.map_or_else(String::new, |(index, ..)| name(&paths[index])),
        offset: walk.end.map_or(0, |(_, offset, _)| offset),
        sequence: walk.extent.frames,
        reason: if walk.unsigned { "never signed, nor acknowledged" } else { "unfinished frame" }.to_owned(),
        bytes: 0,
        later_frames: 0,
        quarantine: Vec::new(),
    };
    let mut tail = None;
    if let Some((index, offset, source)) = walk.end {
        let mut segment = SegmentFile::open(&paths[index])?;
        let later = refuse_if_durable(&mut segment, offset, source, walk)?;
        torn.later_frames += later;
        if let Some(source) = source {
            torn.reason = source.to_string();
        }
        tail = Some((segment, offset));
    }
    for path in &paths[walk.next..] {
        if !is_unwritten(path)? {
            torn.later_frames += refuse_if_durable(&mut SegmentFile::open(path)?, HEADER as u64, None, walk)?;
        }
    }
    if let Some((segment, offset)) = &mut tail {
        if segment.first_nonzero(*offset)?.is_some() {
            let length = segment.len()?;
            torn.bytes = length - *offset;
            torn.quarantine.push(copy_tail(disk, segment, *offset, length)?);
        }
        truncate(disk, dir, &segment.path, *offset)?;
    }
    for path in &paths[walk.next..] {
        let target = quarantine_path(path);
        disk.rename(path, &target).map_err(|e| Error::io("rename", path, e))?;
        torn.quarantine.push(name(&target));
    }
    Ok((!torn.quarantine.is_empty()).then_some(torn))
}

/// Counts the valid frames from `offset` on. One that proves that a frame was durable which cannot be reached any more
/// makes this no torn tail.
fn refuse_if_durable(
    segment: &mut SegmentFile,
    offset: u64,
    source: Option<FrameError>,
    walk: &Walk,
) -> Result<u64, Error> {
    let later = segment.later_frames(offset)?;
    // No loss of power leaves so many heads without a body: what they hide was not looked for.
    if segment.is_made_up()? || later.iter().any(|(_, head)| head.entry.durable > walk.extent.frames) {
        return Err(Error::Damaged {
            path: segment.path.clone(),
            offset,
            sequence: walk.extent.frames,
            source: source.unwrap_or(FrameError::Short),
        });
    }
    Ok(later.len() as u64)
}

fn sync(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    disk.sync(&super::auditor::open(path)?).map_err(|e| Error::io("fsync", path, e))
}

fn truncate(disk: &dyn Disk, dir: &Path, path: &Path, length: u64) -> Result<(), Error> {
    let file = File::options().write(true).open(path).map_err(|e| Error::io("open", path, e))?;
    disk.truncate(&file, length).map_err(|e| Error::io("ftruncate", path, e))?;
    disk.sync(&file).map_err(|e| Error::io("fsync", path, e))?;
    let dir_file = File::open(dir).map_err(|e| Error::io("open", dir, e))?;
    disk.sync(&dir_file).map_err(|e| Error::io("fsync", dir, e))
}

/// A segment without frames would have the same name as the next one.
fn remove_if_empty(
    disk: &dyn Disk,
    paths: &[PathBuf],
    end: Option<(usize, u64)>,
    newest: [u8; 16],
) -> Result<[u8; 16], Error> {
    let Some((index, offset)) = end else { return Ok(newest) };
    if offset > HEADER as u64 {
        return Ok(newest);
    }
    let path = &paths[index];
    let previous = SegmentFile::open(path)?.header.previous_id;
    disk.remove(path).map_err(|e| Error::io("unlink", path, e))?;
    Ok(previous)
}

fn copy_tail(disk: &dyn Disk, segment: &mut SegmentFile, from: u64, to: u64) -> Result<String, Error> {
    let target = quarantine_path(&segment.path);
    let file = disk.create(&target).map_err(|e| Error::io("create", &target, e))?;
    let mut at = from;
    while at < to {
        let bytes = segment.bytes(at, 1 << 20)?;
        if bytes.is_empty() {
            break;
        }
        disk.write(&file, bytes).map_err(|e| Error::io("write", &target, e))?;
        at += bytes.len() as u64;
    }
    disk.sync(&file).map_err(|e| Error::io("fsync", &target, e))?;
    Ok(name(&target))
}

fn quarantine_path(path: &Path) -> PathBuf {
    path.with_added_extension(format!("{}.quarantine", Time::now().unix_ns()))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
