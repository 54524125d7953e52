//! Reading segments frame by frame with pread: what recovery, reader and verifier share. Works beside a running writer.

use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::Error;
use super::frame::{ALIGN, FrameError, Head, MAX_HEAD, MIN_HEAD, Seed, check_body, parse_head, u32_at};
use super::header::{HEADER, Header, Stream};
use super::tree::{Hash, segment_link};

/// Read at once when walking through a segment.
const WINDOW: usize = 1 << 20;
/// Read at once when looking at a frame here and there.
const GLANCE: usize = 8 << 10;

/// Segments of `stream` in `dir`, in order.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn segments(dir: &Path, stream: Stream) -> io::Result<Vec<PathBuf>> {
    let start = format!("{}-", stream.prefix());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|n| n.starts_with(&start) && n.ends_with(".alog")) {
            paths.push(dir.join(name));
        }
    }
    paths.sort();
    Ok(paths)
}

/// What stands at a place of a segment.
#[derive(Debug)]
pub(crate) enum Step {
    /// A frame, its head and body checksums right.
    Frame(Head),
    /// A length of zero, or the end of the file.
    End,
    /// Something else.
    Invalid(FrameError),
}

/// How much of each frame is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The head alone.
    Heads,
    /// Head, body and padding.
    Bodies,
}

/// A segment open for reading.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) path: PathBuf,
    file: File,
    pub(crate) header: Header,
    pub(crate) seed: Seed,
    /// What the first frame's chain value links to.
    pub(crate) link: Hash,
    window: Vec<u8>,
    window_at: u64,
    /// Bytes to read at once.
    ahead: usize,
    /// Whether each window is larger than the one before it as long as it follows that one.
    adapts: bool,
    known_len: u64,
    /// Bytes of bodies that were read for heads which turned out to begin no frame.
    in_vain: u64,
}

/// Tells a file from another that took its name: retention writes segments anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl From<Metadata> for FileId {
    fn from(metadata: Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl FileId {
    /// Whether the file at `path` is this one.
    pub(crate) fn is_at(self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|there| Self::from(there) == self)
    }
}

impl SegmentFile {
    /// Opens a segment and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = super::auditor::open(path)?;
        let mut page = vec![0; HEADER];
        let got = read_at(&file, &mut page, 0).map_err(|e| Error::io("read", path, e))?;
        let header =
            Header::parse(&page[..got]).map_err(|source| Error::Header { path: path.to_path_buf(), source })?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            seed: Seed::new(&header.segment_id),
            link: segment_link(&header.chain, &page),
            header,
            window: Vec::new(),
            window_at: 0,
            ahead: WINDOW,
            adapts: false,
            known_len: 0,
            in_vain: 0,
        })
    }

    /// Which file it is, whatever its name is by now.
    pub(crate) fn id(&self) -> io::Result<FileId> {
        self.file.metadata().map(FileId::from)
    }

    /// Opens a segment of which frames here and there are wanted, or many in a row: what is read at once adapts to that.
    pub(crate) fn open_at_random(path: &Path) -> Result<Self, Error> {
        let file = Self { ahead: GLANCE, adapts: true, ..Self::open(path)? };
        // An optimisation: errors do not matter.
        let _ = nix::fcntl::posix_fadvise(&file.file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_RANDOM);
        Ok(file)
    }

    /// Bytes of the file now.
    pub(crate) fn len(&self) -> Result<u64, Error> {
        Ok(self.file.metadata().map_err(|e| Error::io("fstat", &self.path, e))?.len())
    }

    /// Up to `len` bytes at `at`, fewer at the end of the file; from the window where it has them.
    pub(crate) fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8], Error> {
        let inside = at >= self.window_at && at + len as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            if self.adapts {
                let end = self.window_at + self.window.len() as u64;
                let follows = (self.window_at..end + self.ahead as u64).contains(&at) && !self.window.is_empty();
                self.ahead = if follows { (self.ahead * 2).min(WINDOW) } else { GLANCE };
            }
            self.fill(at, len.max(self.ahead))?;
        }
        let start = (at - self.window_at) as usize;
        let end = (start + len).min(self.window.len());
        Ok(&self.window[start..end])
    }

    fn fill(&mut self, at: u64, len: usize) -> Result<(), Error> {
        let available = self.len()?.saturating_sub(at);
        let len = usize::try_from(available).unwrap_or(usize::MAX).min(len);
        self.window.resize(len, 0);
        self.window_at = at;
        let got = read_at(&self.file, &mut self.window, at).map_err(|e| Error::io("read", &self.path, e))?;
        self.window.truncate(got);
        Ok(())
    }

    /// Whether the file has bytes that are not zero at `at`, now: no window, and no more than one call.
    pub(crate) fn has_bytes(&self, at: u64) -> bool {
        let mut length = [0; 4];
        read_at(&self.file, &mut length, at).is_ok_and(|_| length != [0; 4])
    }

    /// Forgets what was read ahead: a writer may have gone on, or have cut the file to what it used.
    pub(crate) fn refresh(&mut self) {
        self.window.clear();
        self.known_len = 0;
    }

    /// What stands at `at`.
    pub(crate) fn step(&mut self, at: u64, depth: Depth) -> Result<Step, Error> {
        let seed = self.seed;
        let bytes = self.bytes(at, MAX_HEAD)?;
        if bytes.len() < 4 || u32_at(bytes, 0) == 0 {
            return Ok(Step::End);
        }
        let head = match parse_head(seed, bytes) {
            Ok(head) => head,
            Err(error) => return Ok(Step::Invalid(error)),
        };
        let end = at + head.length as u64;
        if end > self.known_len {
            self.known_len = self.len()?;
        }
        if end > self.known_len {
            return Ok(Step::Invalid(FrameError::Short));
        }
        if depth == Depth::Bodies {
            let frame = self.bytes(at, head.length)?;
            if let Err(error) = check_body(seed, &head, frame) {
                return Ok(Step::Invalid(error));
            }
        }
        Ok(Step::Frame(head))
    }

    /// The first place at or after `from` where bytes are not zero.
    pub(crate) fn first_nonzero(&mut self, from: u64) -> Result<Option<u64>, Error> {
        let mut at = from;
        loop {
            let bytes = self.bytes(at, WINDOW)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(index) = bytes.iter().position(|&byte| byte != 0) {
                return Ok(Some(at + index as u64));
            }
            at += bytes.len() as u64;
        }
    }

    /// Valid frames after a place where there is none: looks at every aligned offset.
    pub(crate) fn later_frames(&mut self, from: u64) -> Result<Vec<(u64, Head)>, Error> {
        let mut found = Vec::new();
        let mut from = from;
        while let Some((at, head)) = self.later_frame(from)? {
            from = at + head.length as u64;
            found.push((at, head));
        }
        Ok(found)
    }

    /// The first valid frame at an aligned offset from `from` on. Heads may be made up, each with a body that reaches to the end
    /// of the file: once there were [too many](Self::is_made_up), a head is believed, and what it claims is gone past.
    pub(crate) fn later_frame(&mut self, from: u64) -> Result<Option<(u64, Head)>, Error> {
        let (end, seed) = (self.len()?, self.seed);
        let mut at = from.next_multiple_of(ALIGN as u64);
        while at + MIN_HEAD as u64 <= end {
            let mut length = ALIGN;
            if let Step::Frame(head) = self.step(at, Depth::Heads)? {
                if check_body(seed, &head, self.bytes(at, head.length)?).is_ok() {
                    return Ok(Some((at, head)));
                }
                self.in_vain += head.length as u64;
                if self.is_made_up()? {
                    length = head.length;
                }
            }
            at += length as u64;
        }
        Ok(None)
    }

    /// Whether more was claimed by heads without their body than the file has: frames do not overlap.
    pub(crate) fn is_made_up(&self) -> Result<bool, Error> {
        Ok(self.in_vain > 2 * self.len()?)
    }
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Fuzz entry: any bytes as a segment file.
pub fn fuzz_segment(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        assert_eq!(Header::parse(&header.encode()).as_ref(), Ok(&header), "what was parsed can be written again");
        fuzz_frames(&header.segment_id, &bytes[HEADER..]);
    }
}

/// Fuzz entry: any bytes as a segment's frames. Whatever they are, parsing ends, and what parses fits its bytes.
pub fn fuzz_frames(segment_id: &[u8; 16], bytes: &[u8]) {
    let seed = Seed::new(segment_id);
    let mut at = 0;
    while at < bytes.len() {
        match parse_head(seed, &bytes[at..]) {
            Ok(head) => {
                assert!(head.length >= MIN_HEAD && head.length.is_multiple_of(ALIGN));
                if check_body(seed, &head, &bytes[at..]).is_ok() {
                    for index in 0..head.entry.sections.len() {
                        assert!(head.section_range(index).end <= head.length);
                    }
                }
                at += head.length;
            }
            Err(_) => at += ALIGN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Content, EncodedHead, Entry, Holding, Kind, Section, frame_length, trailer};
    use super::super::tree::Frontier;
    use super::*;
    use crate::flow::ExchangeId;

    const SEGMENT: usize = 1 << 20;

    fn header() -> Header {
        Header {
            stream: Stream::Log,
            segment_id: [7; 16],
            previous_id: [0; 16],
            generation: [1; 16],
            boot_id: [2; 16],
            first_sequence: 0,
            created_ns: 0,
            allocated: SEGMENT as u64,
            chain: [0; 32],
            tree: Frontier::default(),
        }
    }

    /// A head with this body, and the end of the frame.
    fn frame(seed: Seed, body: usize) -> (Vec<u8>, Vec<u8>) {
        let entry = Entry {
            kind: Kind::Note,
            sequence: 1,
            leaf_index: 1,
            durable: 0,
            exchange: ExchangeId::from_bytes([0; 16]),
            wall_ns: 0,
            boottime_ns: 0,
            key_id: [0; 16],
            sections: vec![Section {
                content: Content::Json,
                holding: Holding::Plain,
                length: u32::try_from(body).unwrap(),
                digest: [0; 32],
            }],
        };
        let head = EncodedHead::new(&entry).finish(seed, frame_length(1, body), &[0; 32]);
        let (end, length) = trailer(seed, head.bytes().len(), body, crc32c::crc32c(&vec![0; body]));
        (head.bytes().to_vec(), end[..length].to_vec())
    }

    /// A segment with as many heads as there is room for, each with a body up to the last frame, which is whole, or to the end.
    fn made_up(heads: usize) -> (tempfile::TempDir, SegmentFile, u64) {
        let header = header();
        let seed = Seed::new(&header.segment_id);
        let (head, end) = frame(seed, 0);
        let last = SEGMENT - head.len() - end.len();
        let mut bytes = vec![0; SEGMENT];
        bytes[..HEADER].copy_from_slice(&header.encode());
        bytes[last..last + head.len()].copy_from_slice(&head);
        bytes[last + head.len()..].copy_from_slice(&end);
        let mut at = HEADER;
        for _ in 0..heads {
            let overhead = frame_length(1, 0);
            if at + 2 * overhead > last {
                break;
            }
            let (head, _) = frame(seed, last - at - overhead);
            bytes[at..at + head.len()].copy_from_slice(&head);
            at += overhead;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(Stream::Log.segment_name(0));
        std::fs::write(&path, bytes).unwrap();
        let file = SegmentFile::open(&path).unwrap();
        (dir, file, last as u64)
    }

    #[test]
    fn heads_without_a_body_do_not_hide_the_frame_behind_them() {
        let (_dir, mut file, last) = made_up(1);
        let found: Vec<u64> = file.later_frames(HEADER as u64).unwrap().into_iter().map(|(at, _)| at).collect();
        assert_eq!((found, file.is_made_up().unwrap()), (vec![last], false));
    }

    #[test]
    fn what_made_up_heads_cost_does_not_grow_with_their_number() {
        let (_dir, mut file, last) = made_up(usize::MAX);
        let found: Vec<u64> = file.later_frames(HEADER as u64).unwrap().into_iter().map(|(at, _)| at).collect();
        // Thousands of bodies of half a segment each, on average, without a bound.
        assert!(file.in_vain <= 4 * SEGMENT as u64, "{} bytes were read in vain", file.in_vain);
        assert_eq!((found, file.is_made_up().unwrap()), (vec![last], true));
        assert_eq!(file.later_frame(HEADER as u64).unwrap().map(|(at, _)| at), Some(last));
        assert!(file.in_vain <= 6 * SEGMENT as u64, "{} bytes were read in vain", file.in_vain);
    }
}
