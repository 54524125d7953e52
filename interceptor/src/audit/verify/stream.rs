//! The verification of one stream, frame by frame.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use super::super::act::{Act, Acts};
use super::super::checkpoint::{Checkpoint, read_note};
use super::super::class::Class;
use super::super::frame::{Content, EncodedHead, Entry, Head, Holding, Kind};
use super::super::header::{HEADER, Stream};
use super::super::lock::WriterLock;
use super::super::reader::ReadError;
use super::super::record::Note;
use super::super::scan::{Depth, SegmentFile, Step, segments};
use super::super::seal::{KeyId, UnsealError, WrappedKeys};
use super::super::tiles::TileCheck;
use super::super::tree::{Hash, chain, parts, sha256};
use super::super::writer::Extent;
use super::ahead::{Ahead, Looked};
use super::fault::{Fault, Stop, fault, in_frame, name};
use super::{Report, Trust, access_acts, suspect};
use crate::flow::ExchangeId;

/// A checkpoint that the log must contain, and how to name it.
pub(super) type Known = (&'static str, Checkpoint);

/// A stream in which nothing is wrong.
pub(super) struct Checked {
    pub(super) extent: Extent,
    /// Frames that the signed checkpoint covers.
    pub(super) signed: u64,
    pub(super) acts: Vec<Act>,
}

/// The verification of one stream.
pub(super) struct StreamCheck<'a> {
    dir: &'a Path,
    stream: Stream,
    trust: &'a Trust,
    extent: Extent,
    newest: [u8; 16],
    /// Frames that the signed checkpoint covers.
    signed: u64,
    checkpoints: Vec<Known>,
    open: HashSet<ExchangeId>,
    parts: HashMap<(ExchangeId, Content), (u32, Hash)>,
    /// Under which something is sealed.
    data_keys: HashSet<(KeyId, Class)>,
    /// What may be missing.
    acts: Acts,
    /// Whether those were read again: retention may be at work.
    asked_anew: bool,
    tiles: Option<TileCheck>,
    /// Signed acts that this stream has.
    found_acts: Vec<Act>,
    report: &'a mut Report,
}

impl<'a> StreamCheck<'a> {
    /// Verifies one stream; `None` when there is nothing of it.
    pub(super) fn run(
        dir: &'a Path,
        stream: Stream,
        trust: &'a Trust,
        kept: Vec<Known>,
        acts: Acts,
        report: &'a mut Report,
    ) -> Result<Option<Checked>, Stop> {
        // Before the segments: a running writer only adds to what the checkpoint covers.
        let path = dir.join(stream.checkpoint());
        let note = match read_note(&path) {
            Ok(note) => Some(note),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                return Err(fault(&path, None, format!("it is no checkpoint: {e}")));
            }
            Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => return Err(fault(&path, None, e.to_string())),
            Err(e) => return Err(ReadError::io("read", &path, e).into()),
        };
        let paths = segments(dir, stream).map_err(|e| ReadError::io("readdir", dir, e))?;
        if note.is_none() && paths.is_empty() && kept.is_empty() {
            return Ok(None);
        }
        let note = note.ok_or_else(|| {
            let known = kept.iter().map(|(name, c)| format!(", but {name} covers {} frames", c.frames));
            fault(&path, None, format!("the signed checkpoint is missing{}", known.collect::<String>()))
        })?;
        let current = Checkpoint::verify(&note, &trust.key, stream).map_err(|e| fault(&path, None, e.to_string()))?;
        report.signed_leaves += if stream == Stream::Log { current.size } else { 0 };
        let signed = current.frames;
        let checkpoints = [("the signed checkpoint", current)].into_iter().chain(kept).collect();
        let mut check = Self {
            dir,
            stream,
            trust,
            extent: Extent::default(),
            newest: [0; 16],
            signed,
            checkpoints,
            open: HashSet::new(),
            parts: HashMap::new(),
            data_keys: HashSet::new(),
            acts,
            // Before the frames, as the checkpoint.
            tiles: (stream == Stream::Log).then(|| TileCheck::new(dir)).flatten(),
            asked_anew: false,
            found_acts: Vec::new(),
            report,
        };
        check.compare_checkpoints(&path)?;
        std::thread::scope(|scope| {
            let mut ahead = Ahead::start(scope, &paths);
            let mut all = paths.iter().enumerate();
            all.try_for_each(|(index, path)| check.segment(path, index + 1 == paths.len(), ahead.next()))
        })?;
        check.reached(&path)?;
        check.wrapped_keys()?;
        check.tiles()?;
        check.report.frames += check.extent.frames;
        check.report.segments += paths.len() as u64;
        check.report.unsigned_frames += check.extent.frames - signed;
        Ok(Some(Checked { extent: check.extent, signed, acts: check.found_acts }))
    }

    fn segment(&mut self, path: &Path, last: bool, looked: Looked) -> Result<(), Stop> {
        let mut file = SegmentFile::open(path)?;
        self.header(&file)?;
        self.newest = file.header.segment_id;
        let mut link = file.link;
        let mut at = HEADER as u64;
        for head in looked {
            self.frame(&mut file, at, &head, &link, true)?;
            link = head.chain;
            at += head.length as u64;
        }
        loop {
            match file.step(at, Depth::Bodies)? {
                Step::Frame(head) => {
                    self.frame(&mut file, at, &head, &link, false)?;
                    link = head.chain;
                    at += head.length as u64;
                }
                Step::Invalid(error) => return Err(self.at(&mut file, at, error.to_string())),
                Step::End => match self.rest(&mut file, at, last)? {
                    Rest::Zero => break,
                    Rest::GoneOn => file.refresh(),
                },
            }
        }
        self.report.bytes += at;
        Ok(())
    }

    fn header(&self, file: &SegmentFile) -> Result<(), Stop> {
        let header = &file.header;
        let wrong = |reason: String| Err(fault(&file.path, Some(0), reason));
        if header.stream != self.stream
            || file.path.file_name() != Some(self.stream.segment_name(header.first_sequence).as_ref())
        {
            return wrong("the header belongs to a segment of another name".into());
        }
        if header.first_sequence != self.extent.frames {
            return wrong(format!(
                "starts with frame {}, but frame {} should follow: records were removed or segments exchanged",
                header.first_sequence, self.extent.frames
            ));
        }
        if header.previous_id != self.newest || header.chain != self.extent.chain || header.tree != self.extent.tree {
            return wrong("does not continue the segment before it".into());
        }
        Ok(())
    }

    /// What follows the last frame must be zero, unless a running writer is at it.
    fn rest(&self, file: &mut SegmentFile, at: u64, last: bool) -> Result<Rest, Stop> {
        for attempt in 0.. {
            file.refresh();
            if matches!(file.step(at, Depth::Heads)?, Step::Frame(_)) {
                return Ok(Rest::GoneOn);
            }
            let Some(nonzero) = file.first_nonzero(at)? else { return Ok(Rest::Zero) };
            file.refresh();
            if matches!(file.step(at, Depth::Heads)?, Step::Frame(_)) {
                return Ok(Rest::GoneOn);
            }
            // A frame that is being copied has no length yet. It gets one within microseconds.
            if attempt == 20 || !(last && WriterLock::is_held(self.dir, self.stream)) {
                let reason = format!(
                    "bytes after the last frame are not zero (the first at byte {nonzero}): an unfinished frame that the \
                     next start of the daemon cuts off, or altered bytes"
                );
                return Err(self.at(file, at, reason));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        unreachable!("the loop ends by returning")
    }

    /// A fault in the frame at `at`, named as well as its bytes allow.
    fn at(&self, file: &mut SegmentFile, at: u64, reason: String) -> Stop {
        let id = suspect::exchange(file, at, &self.open).unwrap_or(None);
        Stop::Fault(Box::new(Fault {
            file: name(&file.path),
            offset: Some(at),
            sequence: Some(self.extent.frames),
            id,
            reason,
        }))
    }

    /// A frame whose checksums are right, and its digests too when they were `looked` at.
    fn frame(&mut self, file: &mut SegmentFile, at: u64, head: &Head, link: &Hash, looked: bool) -> Result<(), Stop> {
        let entry = &head.entry;
        let wrong = |reason: &str| Err(in_frame(&file.path, at, entry, reason.to_owned()));
        if entry.sequence != self.extent.frames {
            return wrong("the frame is out of sequence: records were removed, repeated or exchanged");
        }
        if entry.leaf_index != self.extent.tree.size() || entry.durable > entry.sequence {
            return wrong("the frame's place in the Merkle tree is not the one it claims");
        }
        let value = chain(link, &head.leaf);
        if value != head.chain {
            return wrong("the frame does not continue the hash chain");
        }
        if let Err(reason) = self.contents(file, at, head, looked)? {
            return Err(in_frame(&file.path, at, entry, reason));
        }
        self.extent.frames += 1;
        self.extent.chain = value;
        if entry.kind.is_leaf() {
            self.extent.tree.push(head.leaf);
            if let Some(tiles) = &mut self.tiles {
                tiles.push(head.leaf, EncodedHead::new(entry).entry());
            }
        }
        self.compare_checkpoints(&file.path)
    }

    /// Digests, references and order of what a frame holds.
    fn contents(
        &mut self,
        file: &mut SegmentFile,
        at: u64,
        head: &Head,
        looked: bool,
    ) -> Result<Result<(), String>, Stop> {
        let entry = &head.entry;
        let said_here = matches!(entry.kind, Kind::Note | Kind::Act);
        let frame = if looked && !said_here { &[] } else { file.bytes(at, head.length)? };
        self.report.reduced_frames += u64::from(!head.removed.is_empty());
        for (row, section) in entry.sections.iter().enumerate() {
            let class = section.content.class();
            match section.holding {
                _ if head.removed.contains(row) && self.may_be_missing(class, entry.sequence)? => {}
                _ if head.removed.contains(row) => {
                    return Ok(Err(format!("its {class} were removed, but no act on record says so")));
                }
                Holding::Parts => {
                    let expected = self.parts.remove(&(entry.exchange, section.content)).unwrap_or_default();
                    if expected != (section.length, section.digest) {
                        return Ok(Err("the parts of its content are not those that it refers to".into()));
                    }
                }
                Holding::Plain | Holding::Sealed => {
                    // Shorter only when the file is being cut under us: then the digest does not match.
                    let stored = frame.get(head.section_range(row)).unwrap_or_default();
                    // What is read again may be something else by now.
                    if (!looked || said_here) && sha256(stored) != section.digest {
                        return Ok(Err("its content does not match its digest".into()));
                    }
                    if entry.kind == Kind::Note {
                        let note = Note::new(head, stored);
                        self.report.alerts += u64::from(note.is_alert());
                        if note.is_about_log() {
                            self.report.notes.push(note);
                        }
                    }
                    if entry.kind == Kind::Act {
                        match serde_json::from_slice(stored) {
                            // Whoever can write here can append an act, and not sign it.
                            Ok(act) if self.is_signed(entry) => self.found_acts.push(act),
                            Ok(_) => {}
                            Err(error) => return Ok(Err(format!("it is no act: {error}"))),
                        }
                    }
                    // Keys go before contents: these may be about to.
                    if section.holding == Holding::Sealed && !self.acts.removed(class, entry.sequence) {
                        self.data_keys.insert((entry.key_id, class));
                    }
                }
            }
        }
        Ok(self.order(head))
    }

    /// Whether a signed act says that contents of `class` were removed from this frame.
    fn may_be_missing(&mut self, class: Class, sequence: u64) -> Result<bool, Stop> {
        if !self.acts.removed(class, sequence) && self.stream == Stream::Log && !self.asked_anew {
            self.asked_anew = true;
            self.acts = access_acts(self.dir, self.trust, None, &mut Report::default())?;
        }
        Ok(self.acts.removed(class, sequence))
    }

    fn is_signed(&self, entry: &Entry) -> bool {
        entry.sequence < self.signed
    }

    fn order(&mut self, head: &Head) -> Result<(), String> {
        let entry = &head.entry;
        match entry.kind {
            Kind::Part => {
                let [section] = entry.sections[..] else { return Err("a part has one section".into()) };
                let so_far = self.parts.entry((entry.exchange, section.content)).or_default();
                *so_far = (so_far.0 + 1, parts(&so_far.1, &head.leaf));
            }
            Kind::Request => {
                self.report.records += 1;
                self.open.insert(entry.exchange);
            }
            Kind::Refusal => self.report.records += 1,
            Kind::Completion => {
                if !self.open.remove(&entry.exchange) {
                    return Err("it ends an exchange that is not open".into());
                }
            }
            Kind::Access => self.report.accesses += 1,
            Kind::Act if entry.sections.is_empty() => return Err("it is no act: it says nothing".into()),
            Kind::Act => self.report.acts += u64::from(self.is_signed(entry)),
            Kind::Note => {}
        }
        Ok(())
    }

    /// Where a checkpoint was taken, the log must be what it says.
    fn compare_checkpoints(&mut self, path: &Path) -> Result<(), Stop> {
        for (name, checkpoint) in &self.checkpoints {
            if checkpoint.frames != self.extent.frames {
                continue;
            }
            if checkpoint.size != self.extent.tree.size() || checkpoint.root != self.extent.tree.root() {
                let reason = format!("the Merkle root over the first {} leaves is not that of {name}", checkpoint.size);
                return Err(fault(path, None, reason));
            }
            if checkpoint.chain != self.extent.chain {
                let reason = format!("the hash chain after {} frames is not that of {name}", checkpoint.frames);
                return Err(fault(path, None, reason));
            }
        }
        Ok(())
    }

    fn reached(&self, path: &Path) -> Result<(), Stop> {
        for (name, checkpoint) in &self.checkpoints {
            if checkpoint.frames > self.extent.frames {
                let reason = format!(
                    "{name} covers {} frames and {} leaves, but the log has {} and {}: records were removed from its end",
                    checkpoint.frames,
                    checkpoint.size,
                    self.extent.frames,
                    self.extent.tree.size()
                );
                return Err(fault(path, None, reason));
            }
        }
        Ok(())
    }

    /// Last: what the log is made of is right, and a tile that says something else is worth nothing, but somebody may be
    /// reading it.
    fn tiles(&mut self) -> Result<(), Stop> {
        let Some(tiles) = self.tiles.take() else { return Ok(()) };
        self.report.tiles = tiles.finish().map_err(|(path, reason)| {
            let file = path.strip_prefix(self.dir).unwrap_or(&path).display().to_string();
            let reason = format!(
                "{reason}. All else is right: the log itself is intact. Find out what changed this file, then remove the \
                 directory tile/ of the log: the daemon makes it anew when it starts"
            );
            Stop::Fault(Box::new(Fault { file, offset: None, sequence: None, id: None, reason }))
        })?;
        Ok(())
    }

    fn wrapped_keys(&mut self) -> Result<(), Stop> {
        let Some(keys) = &self.trust.keys else { return Ok(()) };
        let mut missing = HashSet::new();
        for (id, class) in &self.data_keys {
            match WrappedKeys::read(keys, id) {
                Ok(wrapped) if wrapped.has(*class) => {}
                Ok(_) | Err(UnsealError::Shredded { .. }) => {
                    missing.insert(id);
                }
                Err(UnsealError::Epoch { path, reason }) => return Err(fault(&path, None, reason)),
                Err(_) => {
                    // The audit role may not look into keys/.
                    self.report.missing_keys = None;
                    return Ok(());
                }
            }
        }
        if !self.data_keys.is_empty() {
            *self.report.missing_keys.get_or_insert(0) += missing.len() as u64;
        }
        Ok(())
    }
}

enum Rest {
    Zero,
    GoneOn,
}
